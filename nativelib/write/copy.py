"""A file as it is, under its own name in another directory."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from nativelib.write.stage import staged_file, write_failed

if TYPE_CHECKING:
    from pathlib import Path


def copy_whole(source: Path, directory: Path) -> Path:
    """Copy *source* into *directory*, which is created, and return the copy's absolute path.

    It appears whole or not at all. A file that is *source* itself is left alone. Raises
    :class:`~nativelib.errors.WriteError`.
    """
    final = directory.absolute() / source.name
    try:
        if final.exists() and final.samefile(source):
            return final
        with staged_file(directory, source.name) as staged:
            shutil.copyfile(source, staged.path)
            staged.commit()
    except OSError as cause:
        raise write_failed(str(final), cause) from None
    return final
