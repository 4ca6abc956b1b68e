"""Files of the machine that are read up to a limit: they are no input that the user named, and may be anything."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def open_bounded(path: Path | str, limit: int) -> Iterator[tuple[int, int]]:
    """Give the descriptor and the size of the regular file *path*.

    Raises OSError, and ValueError if it is something else or has more than *limit* bytes.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        known = os.fstat(file)
        if not stat.S_ISREG(known.st_mode):
            raise ValueError(f"{path} is not a regular file")
        if known.st_size > limit:
            raise ValueError(f"{path} has {known.st_size} bytes, and more than {limit} are not read")
        yield file, known.st_size
    finally:
        os.close(file)


def read_bounded(path: Path | str, limit: int) -> bytes:
    """Return the content of the regular file *path*. Raises as :func:`open_bounded` does."""
    with open_bounded(path, limit) as (file, size):
        return os.pread(file, size, 0)
