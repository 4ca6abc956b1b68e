"""Programs that reading needs: pkg-config, a build script, another Python."""

from __future__ import annotations

import codecs
import json
import os
import selectors
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.findings import Code, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

VERSION_FILE = ".nativelib-version"
"""A build script may write the version of what it built into this file of the prefix."""

_TIMEOUT = 60.0
"""Seconds that a query may take."""
_TAIL_LINES = 30
_TAIL_BYTES = 64 * 1024


def pkg_config(name: str, *query: str) -> str:
    """Return what pkg-config says to *query* (``--variable=prefix``) about the package *name*.

    Raises :class:`ReadError` if there is no pkg-config, or it does not know the package or the answer.
    """
    program = shutil.which("pkg-config") or shutil.which("pkgconf")
    if program is None:
        remedy = "Install pkg-config or pkgconf, or name the prefix with --prefix."
        raise _failed("pkg-config", "pkg-config is not installed.", remedy)
    answer = _ask([program, *query, name], remedy=f"Install the development files of {name}, or use --prefix.").strip()
    if not answer:
        raise _failed(
            name, f"pkg-config has no answer to {' '.join(query)} for {name}.", "Name the prefix with --prefix."
        )
    return answer


def python_paths(executable: str) -> tuple[str, ...]:
    """Return ``sys.path`` of another Python, environment and user directory included, without the empty entry.

    *executable* is a path or a name to be found on ``PATH``. Raises :class:`ReadError` if it is no Python that runs.
    """
    remedy = "--python takes the path of a Python interpreter."
    program = shutil.which(executable)
    if program is None:
        raise _failed(executable, f"{executable} is not a program.", remedy)
    # The last line counts: a sitecustomize may print.
    said = _ask([program, "-c", "import json, sys; print(); print(json.dumps(sys.path))"], remedy=remedy)
    try:
        paths = json.loads(said.strip().rpartition("\n")[2])
    except ValueError:
        paths = None
    if not isinstance(paths, list):
        raise _failed(executable, f"{executable} is not a Python interpreter.", remedy)
    return tuple(path for path in paths if isinstance(path, str) and path)


def run_python(script: Path, *arguments: str) -> str:
    """Return what *script* prints, run by this interpreter without settings and packages.

    Raises :class:`ReadError` if it fails, crashes or takes too long.
    """
    return _ask([sys.executable, "-I", "-S", str(script), *arguments], remedy="")


def run_build_script(
    script: Path,
    directory: Path,
    *,
    prefix: Path,
    jobs: int,
    environ: Mapping[str, str],
    log: Callable[[str], object] | None = None,
) -> None:
    """Run *script* in *directory* so that it fills *prefix*, an empty directory that is made if need be.

    The script gets *environ* with ``NATIVELIB_PREFIX`` and ``NATIVELIB_JOBS``. It is run by the interpreter of its
    first line, executable or not, and by ``sh`` without one. What it prints goes to *log* (default: standard error) as
    it comes. Raises :class:`ReadError` if it cannot be run, fails (with the last lines of its output) or leaves the
    prefix empty.
    """
    if not script.is_file():
        raise ReadError([error(Code.NOT_FOUND, str(script), "The build script does not exist.")])
    prefix.mkdir(parents=True, exist_ok=True)
    environment = {**environ, "NATIVELIB_PREFIX": str(prefix.absolute()), "NATIVELIB_JOBS": str(jobs)}
    try:
        status, tail = _run(_script_command(script.absolute()), directory, environment, log or _to_stderr)
    except OSError as problem:
        raise _script_failed(script, f"The build script cannot be run: {problem.strerror or problem}.", "") from problem
    if status != 0:
        how = f"ended with exit code {status}" if status > 0 else f"was ended by signal {-status}"
        raise _script_failed(script, f"The build script {how}.", tail)
    if not any(prefix.iterdir()):
        raise _script_failed(script, "The build script left its prefix, NATIVELIB_PREFIX, empty.", tail)


def read_built_version(prefix: Path) -> str | None:
    """Return the version that a build script left in *prefix*, as written, or ``None``."""
    try:
        return (prefix / VERSION_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        where = str(prefix / VERSION_FILE)
        raise ReadError([error(Code.NOT_FOUND, where, f"The version cannot be read: {problem}.")]) from problem


def _script_command(script: Path) -> list[str]:
    with script.open("rb") as stream:
        first = stream.readline(256)
    if first.startswith(b"#!"):
        # As the kernel splits it: an interpreter and at most one argument (execve(2)). Archives lose the x bit.
        return [*os.fsdecode(first[2:]).strip().split(maxsplit=1), str(script)]
    return [str(script)] if first.startswith(b"\x7fELF") else ["sh", str(script)]


def _run(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], log: Callable[[str], object]
) -> tuple[int, str]:
    """Return exit status and the last lines of the output of *command*."""
    decoder, tail = codecs.getincrementaldecoder("utf-8")("replace"), b""
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            for chunk in _chunks(process):
                log(decoder.decode(chunk))
                tail = (tail + chunk)[-_TAIL_BYTES:]
            log(decoder.decode(b"", final=True))
        except BaseException:
            _end(process)
            raise
    return process.returncode, "\n".join(tail.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()


def _chunks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield the output of *process* until it ends; a daemon that it leaves behind may keep the pipe open."""
    if process.stdout is None:
        return
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None
            if selector.select(0 if ended else 0.2):
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    return
                yield chunk
            elif ended:
                return


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _ask(command: Sequence[str], *, remedy: str) -> str:
    """Return the standard output of *command*."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIMEOUT, encoding="utf-8",
            errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as problem:
        raise _failed(name, f"{name} did not answer in {_TIMEOUT:.0f} seconds.", remedy) from problem
    except OSError as problem:
        raise _failed(name, f"{name} cannot be run: {problem.strerror or problem}.", remedy) from problem
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip() or "It said nothing."
        raise _failed(name, f"{name} ended with exit code {done.returncode}: {said}", remedy)
    return done.stdout


def _failed(where: str, message: str, remedy: str) -> ReadError:
    return ReadError([error(Code.TOOL_FAILED, where, message, remedy)])


def _script_failed(script: Path, message: str, tail: str) -> ReadError:
    said = f"\nThe end of its output:\n{tail}" if tail else ""
    return ReadError([error(Code.BUILD_SCRIPT_FAILED, str(script), message + said)])
