"""Fresh environments, and processes in them that know nothing of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# What a process needs to find programs and to trust a package index; nothing that leads to this environment.
_KEPT = ("HOME", "LANG", "PATH", "SSL_CERT_FILE", "TMPDIR")
_KEPT_PREFIXES = ("PIP_", "UV_", "http", "HTTP", "no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment on disk."""

    path: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    @property
    def site(self) -> Path:
        """Its site-packages."""
        return next(self.path.glob("lib/python*/site-packages"))

    @property
    def bin(self) -> Path:
        """Where console scripts are."""
        return self.path / "bin"

    def install(
        self, *what: Path | str, index: bool = False, links: Path | None = None, flags: Sequence[str] = ()
    ) -> None:
        """Install wheels or requirements with uv: from files alone, unless *index* allows the package index."""
        self.run_installer(self._uv(what, index=index, links=links, flags=flags))

    def pip_install(
        self, *what: Path | str, index: bool = False, links: Path | None = None, flags: Sequence[str] = ()
    ) -> None:
        """Do the same with pip, which is about thirty times slower."""
        argv = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q", "--no-warn-script-location"]
        self.run_installer([*argv, *_sources(index, links), *flags, *map(str, what)])

    def run_installer(self, argv: Sequence[str]) -> None:
        """Run *argv*; raise ``RuntimeError`` with its output if it fails."""
        done = subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")

    def _uv(self, what: Sequence[Path | str], *, index: bool, links: Path | None, flags: Sequence[str]) -> list[str]:
        argv = [
            require("uv"),
            "pip",
            "install",
            "-q",
            "--python",
            str(self.python),
            "--no-config",
            "--link-mode",
            "copy",
        ]
        return [*argv, *_sources(index, links), *flags, *map(str, what)]


def fresh_venv(path: Path, *, borrow: bool = False) -> Environment:
    """Create an empty environment of the running Python at *path*, without pip.

    With *borrow* it can also import the packages that the tests' own environment has, after its own. Editable installs
    and other ``.pth`` files of that environment stay unseen.
    """
    venv.EnvBuilder(symlinks=True).create(path)
    environment = Environment(path=path)
    if borrow:
        (environment.site / "zz_borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def run_python(
    environment: Environment | Path | str,
    code: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    flags: Sequence[str] = ("-I",),
    prefix: Sequence[str] = (),
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run *code* in a new process of *environment* (or of an interpreter's path) and return what it printed.

    The process gets a clean environment plus *env*; with the default flag ``-I`` no ``PYTHON*`` variable counts.
    *prefix* is a command that runs commands, such as the one of ``nohost``. With *check*, failing raises
    ``RuntimeError`` with stderr.
    """
    python = environment.python if isinstance(environment, Environment) else environment
    argv = [*prefix, str(python), *flags, "-c", code]
    done = subprocess.run(
        argv, env=clean_environment(env), cwd=cwd or "/", capture_output=True, text=True, check=False, timeout=600
    )
    if check and done.returncode:
        raise RuntimeError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables that a user's fresh login would have, and *extra*."""
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}
    return {**kept, **(extra or {})}


def _sources(index: bool, links: Path | None) -> list[str]:
    return ([] if index else ["--no-index"]) + (["--find-links", str(links)] if links else [])
