"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from nativelib.errors import WriteError
from nativelib.findings import Code, error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUFFER: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A temporary file that can take the place of its final name."""

    path: Path
    """The temporary file, in the directory of the final one."""
    final: Path
    """The name that it gets."""
    durable: bool
    """Whether it must survive a crash of the machine right after :meth:`commit`."""

    def commit(self) -> Path:
        """Give the file its final name, in one step, and return that; a file that was there is replaced.

        Raises :class:`WriteError` (``WRITE_FAILED``).
        """
        try:
            if self.durable:
                _synchronise(self.path)
            os.replace(self.path, self.final)  # noqa: PTH105 - this is the function that POSIX promises to be atomic
            if self.durable:
                _synchronise(self.final.parent)
        except OSError as failure:
            raise write_failed(str(self.final), failure) from None
        return self.final


@contextmanager
def staged_file(directory: Path, final_name: str, *, durable: bool = False) -> Iterator[StagedFile]:
    """Make an empty temporary file in *directory*, which is created, for the content of *final_name*.

    Without :meth:`StagedFile.commit` it is removed when the block ends, however it ends. Its name is random, so runs at
    the same time do not meet. The permissions are those of any new file (0666 less the umask). ``durable`` waits for
    the disk. Raises :class:`WriteError` (``WRITE_FAILED``) if the directory cannot be written to.
    """
    path = directory / f".nativelib-{secrets.token_hex(16)}.tmp"
    try:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # The kernel applies the umask; asking Python for it would change it for other threads.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        except OSError as failure:
            raise write_failed(str(directory), failure) from None
        yield StagedFile(path=path, final=directory / final_name, durable=durable)
    finally:
        with suppress(OSError):
            path.unlink()


@contextmanager
def removed_on_failure(target: Path) -> Iterator[BinaryIO]:
    """Open *target* for writing, and remove it if the block fails. A file that cannot be opened is left as it is.

    Raises :class:`WriteError` (``WRITE_FAILED``) instead of ``OSError``.
    """
    opened = False
    try:
        with target.open("wb", buffering=_BUFFER) as file:
            opened = True
            yield file
    except BaseException as failure:
        if opened:
            with suppress(OSError):
                target.unlink()
        if isinstance(failure, OSError):
            raise write_failed(str(target.parent), failure) from None
        raise


def write_failed(where: str, failure: OSError) -> WriteError:
    """Return the error for a file or directory *where* that the system refuses to write."""
    full = failure.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    remedy = "Free some space, or choose another directory." if full else "Choose another directory, or mend this one."
    return WriteError(
        [error(Code.WRITE_FAILED, where, f"It cannot be written: {failure.strerror or failure}.", remedy)]
    )


def _synchronise(path: Path) -> None:
    """Wait until *path* is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
