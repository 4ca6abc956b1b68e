"""Source distributions (PEP 517, PEP 625): a directory -> a ``.tar.gz`` that has the same bytes every time."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nativelib.errors import WriteError
from nativelib.findings import Code
from nativelib.write.stage import staged_file, write_failed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_OUTPUT_DIRECTORIES = ("build", "dist", "wheelhouse")
_PKG_INFO = "PKG-INFO"


def write_sdist(
    directory: Path, target_directory: Path, stem: str, *, pkg_info: str, named: Collection[str] = (), mtime: int
) -> Path:
    """Write ``<stem>.tar.gz`` to *target_directory*, with the files of *directory* and *pkg_info*; return its path.

    Left out are hidden directories, caches, virtual environments, what builds leave behind and *target_directory*
    itself, except on the way to the paths *named* in the spec. Links to files are stored as files. All dates are
    *mtime*, in seconds since 1970. Raises :class:`WriteError`.
    """
    try:
        with staged_file(target_directory, f"{stem}.tar.gz") as staged:
            with staged.path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime) as stream:
                _fill(stream, directory, stem, list(_paths(directory, target_directory, named)), pkg_info, mtime)
            return staged.commit()
    except OSError as problem:
        raise write_failed(problem.filename or str(target_directory), problem) from problem


def _fill(stream: gzip.GzipFile, directory: Path, stem: str, paths: list[str], pkg_info: str, mtime: int) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        content = pkg_info.encode("utf-8")
        archive.addfile(_entry(f"{stem}/{_PKG_INFO}", len(content), 0o644, mtime), io.BytesIO(content))
        for path in sorted(paths):
            with (directory / path).open("rb") as file:
                status = os.fstat(file.fileno())
                mode = 0o755 if status.st_mode & 0o100 else 0o644
                archive.addfile(_entry(f"{stem}/{path}", status.st_size, mode, mtime), file)


def _entry(name: str, size: int, mode: int, mtime: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, mode, mtime
    return entry


def _paths(directory: Path, target_directory: Path, named: Collection[str]) -> Iterator[str]:
    """Yield the paths of the files that belong to the project, relative to its *directory*."""
    target = target_directory.resolve()
    needed = {str(parent) for path in named for parent in (PurePosixPath(path), *PurePosixPath(path).parents)}
    for where, directories, files in os.walk(directory):
        here = Path(where)
        relative = here.relative_to(directory)
        for name in directories:
            if (here / name).is_symlink():
                message = "A link to a directory cannot be stored in a source distribution."
                raise WriteError.of(Code.WRITE_FAILED, str(here / name), message, "Put the directory in its place.")
        directories[:] = [
            name
            for name in directories
            if str(relative / name) in needed
            or (not _is_left_behind(here / name, top=here == directory) and (here / name).resolve() != target)
        ]
        for name in files:
            path = here / name
            if path.is_file() and path.suffix not in {".pyc", ".pyo"} and str(relative / name) != _PKG_INFO:
                yield (relative / name).as_posix()


def _is_left_behind(path: Path, *, top: bool) -> bool:
    if path.name.startswith(".") or path.name == "__pycache__" or path.name.endswith(".egg-info"):
        return True
    if top and path.name in _OUTPUT_DIRECTORIES:
        return True
    return (path / "pyvenv.cfg").is_file() or (path / "CACHEDIR.TAG").is_file()
