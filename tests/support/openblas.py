"""Debian's OpenBLAS as a prefix, and the example's library wheel of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.support.downloads import debian_package
from tests.support.projects import built

SPEC = Path(__file__).resolve().parents[2] / "examples" / "openblas" / "openblas-lib" / "pyproject.toml"

_PACKAGES = ("libopenblas0-pthread", "libopenblas-pthread-dev", "libgfortran5", "libquadmath0")
_WANTED = ("usr/lib/**/*.so*", "usr/include/**/*.h", "usr/share/doc/*/copyright")


def openblas_prefix(directory: Path) -> Path:
    """Copy OpenBLAS with pthreads, its headers, its run-time libraries and their licences to *directory*/usr.

    The packages are unpacked as they are for dpkg: relative links stay links.
    """
    packages = [debian_package(name) for name in _PACKAGES]
    # The documentation of GCC's libraries is a link to the directory of a package that is named after GCC's release.
    base = (debian_package("libgfortran5") / "usr/share/doc/libgfortran5").readlink().name
    packages.append(debian_package(base))
    for package in packages:
        for path in sorted({found for pattern in _WANTED for found in package.glob(pattern)}):
            target = directory / path.relative_to(package)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
    (directory / "usr/share/doc/libgfortran5").symlink_to(base)
    return directory / "usr"


def openblas_version(prefix: Path) -> str:
    """Return the release of OpenBLAS in *prefix*, as its own header says it."""
    [header] = prefix.glob("include/*/openblas-pthread/openblas_config.h")
    found = re.search(r'OPENBLAS_VERSION "\s*OpenBLAS (\d+(?:\.\d+)+)', header.read_text())
    if found is None:
        raise ValueError(f"{header} names no version")
    return found[1]


def openblas_wheel(directory: Path) -> Path:
    """Build ``openblas-lib`` by the example's spec, with the version that was found, and return the wheel."""
    prefix = openblas_prefix(directory / "prefix")
    text = re.sub(r'(?m)^version = ".*"$', f'version = "{openblas_version(prefix)}"', SPEC.read_text(), count=1)
    project = directory / "openblas-lib"
    project.mkdir()
    (project / "pyproject.toml").write_text(text)
    return built(project, "--prefix", prefix, into=directory / "libraries")
