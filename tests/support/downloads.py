"""Published files, downloaded once into a cache.

The cache is ``NATIVELIB_TEST_CACHE``, else ``~/.cache/nativelib-tests``. Without a network a test that needs a file is
skipped, or fails if ``CI`` is set.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.tools import lacking, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def cache_directory() -> Path:
    """Return the directory that downloads are kept in; it exists."""
    chosen = os.environ.get("NATIVELIB_TEST_CACHE")
    path = Path(chosen) if chosen else Path.home() / ".cache" / "nativelib-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path


def pypi_wheel(
    name: str,
    version: str,
    *,
    platform: str | None = None,
    python: str | None = None,
    abi: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Return the wheel of *name* *version* from the package index.

    *platform* is a platform tag (``manylinux_2_27_x86_64``), *python* a version without a dot (``311``), *abi* a tag
    (``cp27m``); the default of each is the running interpreter's, or what fits *python*. *sha256*, if given, must be
    that of the file.
    """
    parts = [name, version, platform or "host", python or "host", *([abi] if abi else [])]
    target = cache_directory() / "pypi" / "-".join(parts)
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", f"{name}=={version}"]
    argv += [f"--platform={platform}"] if platform else []
    argv += [f"--python-version={python}", "--implementation=cp"] if python else []
    argv += [f"--abi={abi}"] if abi else []
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage:
                _twice([*argv, "--dest", str(stage)], f"{name} {version} from the package index")
    [wheel] = target.glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if sha256 is not None and found != sha256:
        raise ValueError(f"{wheel} has SHA-256 {found}, not {sha256}")
    return wheel


def pypi_sdist(name: str, version: str, *, backend: str, sha256: str) -> Path:
    """Return the source distribution of *name* *version* from the package index; its SHA-256 must be *sha256*.

    pip asks the project's build backend for metadata before it keeps an sdist, which for many means to configure the
    whole build. So *backend*, the module that the project names, is a stand-in here that says only name and version.
    """
    target = cache_directory() / "pypi-sources" / f"{name}-{version}"
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:", "--no-build-isolation"]
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage, tempfile.TemporaryDirectory() as scratch:
                Path(scratch, f"{backend}.py").write_text(_METADATA_ALONE.format(name=name, version=version))
                environment = {**os.environ, "PYTHONPATH": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
                what = f"the sources of {name} {version} from the package index"
                _twice([*argv, "--dest", str(stage), f"{name}=={version}"], what, env=environment)
    [sdist] = target.iterdir()
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{sdist} has SHA-256 {found}, not {sha256}")
    return sdist


_METADATA_ALONE = """
from pathlib import Path

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    path = Path(directory, "{name}-{version}.dist-info")
    path.mkdir()
    (path / "METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return path.name

build_wheel = None
"""


def pypi_wheels(*requirements: str) -> Path:
    """Return a directory with the wheels of *requirements* and of all that they require, for the running Python.

    For builds that must not ask an index: ``pip wheel --no-index --find-links DIRECTORY``.
    """
    words = " ".join([sys.version, *sorted(requirements)])
    target = cache_directory() / "pypi-sets" / hashlib.sha256(words.encode()).hexdigest()[:16]
    argv = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", *requirements]
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage:
                _twice([*argv, "--dest", str(stage)], f"{', '.join(requirements)} from the package index")
    return target


def debian_package(name: str, *, architecture: str | None = None) -> Path:
    """Return the directory of the Debian package *name*, unpacked as it lies in the root of a file system.

    Needs no root: apt works on lists, caches and a status file of its own. *architecture* is Debian's name (``arm64``).
    """
    apt, dpkg_deb = require("apt-get"), require("dpkg-deb")
    own = architecture or "host"
    target = cache_directory() / "debian" / own / name
    state = cache_directory() / "apt" / own
    with locked(state):
        if not target.is_dir():
            options = apt_options(state, architecture)
            if not any((state / "lists").glob("*_Packages*")):
                _twice([apt, *options, "update", "-qq"], "the list of Debian packages")
            with staged(target) as stage:
                _twice([apt, *options, "download", "-qq", name], f"the Debian package {name}", cwd=state / "downloads")
                [deb] = (state / "downloads").glob(f"{name}_*.deb")
                subprocess.run([dpkg_deb, "-x", str(deb), str(stage)], check=True)
                deb.unlink()
    return target


def apt_options(state: Path, architecture: str | None) -> list[str]:
    for directory in ("lists/partial", "cache/archives/partial", "downloads"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Cache::archives": state / "cache" / "archives",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "true",
    }
    if architecture:
        settings |= {"APT::Architecture": architecture, "APT::Architectures": architecture}
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _twice(argv: Sequence[str], what: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run *argv*, and once more if it fails: networks do."""
    problem = ""
    for _ in range(2):
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        problem = (done.stderr or done.stdout).strip()
    lacking(f"{what} ({problem[-300:]})")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of *target*, a directory of the cache that is about to be made or used."""
    # Test processes run side by side and share the cache.
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a directory to fill, which becomes *target* unless something is raised."""
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=target.parent))
    try:
        yield stage
        stage.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
