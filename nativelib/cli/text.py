"""Small pieces of text that commands print or save."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import WriteError
from nativelib.findings import Code
from nativelib.plan.values import Adapt, Assemble, Describe, Drop, Generate, Graft, Move, Patch, Write

if TYPE_CHECKING:
    from nativelib.facts.elf import ElfEdit
    from nativelib.plan.values import Action


def describe(action: Action) -> str:
    """Return one line that says what *action* does."""
    match action:
        case Patch(member=name, edit=edit):
            return f"{name}: {describe_edit(edit)}"
        case Graft(member=name, source=source, edit=edit):
            return f"{name} from {source}" + (f": {describe_edit(edit)}" if edit else "")
        case Generate(member=name, template=template):
            return f"{name} from the template {template}"
        case Write(member=name) | Describe(member=name):
            return name
        case Assemble(member=name, needed=needed):
            return f"{name} over {', '.join(needed)}"
        case Adapt(member=name, needed=needed, forwards=forwards):
            return f"{name}: {len(forwards)} names for functions of {', '.join(needed)}"
        case Move(member=name, renamed_from=old):
            return f"{name}, which was {old}"
        case Drop(member=name):
            return name


def describe_edit(edit: ElfEdit) -> str:
    """Return what *edit* changes, in a few words."""
    parts = [f"soname {edit.soname}"] if edit.soname is not None else []
    parts += [f"needs {new} instead of {old}" for old, new in edit.replace_needed]
    parts += [f"no longer needs {name}" for name in edit.remove_needed]
    if edit.run_path is not None:
        parts.append(f"run path {':'.join(edit.run_path) or 'removed'}")
    return "; ".join(parts) or "stripped"


def save_text(path: Path, text: str) -> None:
    """Write *text* to *path*, whole or not at all. Raises WriteError.

    A file that is there keeps its permissions. Surrogates in *text* stand for bytes that are not UTF-8.
    """
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(handle, mode)
                stream.write(text.encode("utf-8", "surrogateescape"))
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as cause:
        raise WriteError.of(Code.WRITE_FAILED, str(path), f"It cannot be written: {cause.strerror}.") from cause


def printable(text: str) -> str:
    """Return *text* with escapes for controls, changes of direction and bytes that are not UTF-8."""
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # surrogateescape (PEP 383)
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode("ascii")
