"""A published wheel as its build left it: the libraries that a repair copied in are taken out again.

They get the names that they had. A repair keeps the name of the file and puts a hash into it; where the library
has version definitions, these still hold the soname that the linker was given.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from typing import TYPE_CHECKING

from tests.conformance.witness import Seen, directories, look
from tests.support.tools import require
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conformance.pins import Pin

_HASH = re.compile(r"-[0-9a-f]{8}(?=\.)")


def without_hash(file: str) -> str:
    """Return the name of a grafted file without the hash that the repair put in: before the first dot, or ``.so``."""
    return _HASH.sub("", file, count=1)


def original_name(file: str, seen: Seen) -> str:
    """Return the soname that the grafted *file* had before, as far as the file tells."""
    plain = without_hash(file)
    # OpenBLAS's own wheel hashes its Fortran library before NumPy's repair does: that name is the original one here.
    return seen.base if seen.base and plain.startswith(seen.base) else plain


def ungraft(pin: Pin, directory: Path) -> tuple[Path, Path]:
    """Return the wheel of *pin* without its grafts, tagged ``linux_*``, and the directory of the grafts, both new."""
    source = pin.fetch()
    contents = members(source)
    prefix = f"{source.name.partition('-')[0]}.libs/"
    grafts = {name: data for name, data in contents.items() if name.startswith(prefix) and not name.endswith("/")}
    known = {posixpath.basename(name): seen for name, data in grafts.items() if (seen := look(data)) is not None}
    names = {file: original_name(file, seen) for file, seen in known.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"two libraries of {source.name} had one soname: {sorted(names.values())}")
    libraries = directory / "libraries"
    libraries.mkdir(parents=True)
    for file, name in names.items():
        (libraries / name).write_bytes(grafts[f"{prefix}{file}"])
        options = ["--set-soname", name, "--remove-rpath"]
        _patch(libraries / name, [*options, *_renamed(known[file], names)])
    kept: dict[str, bytes | str | Path] = {}
    for name, data in contents.items():
        if name in grafts or name.endswith(("/", ".dist-info/RECORD", ".dist-info/WHEEL")) or "/sboms/" in name:
            continue
        kept[name] = _restored(name, data, prefix.rstrip("/"), names, directory)
    head, _, _ = source.stem.rpartition("-")
    machine = pin.kind.split()[-1]
    return make_wheel(directory, f"{head}-linux_{machine}.whl", kept), libraries


def _restored(member: str, data: bytes, grafts: str, names: Mapping[str, str], directory: Path) -> bytes:
    """Return the file of a wheel with the needs and the run path that it had before *grafts* were there."""
    seen = look(data) if data[:4] == b"\x7fELF" else None
    if seen is None:
        return data
    kept = [entry for entry, place in zip(seen.run_path, directories(member, seen), strict=True) if place != grafts]
    options = _renamed(seen, names)
    if tuple(kept) != seen.run_path:
        options += ["--set-rpath", ":".join(kept)] if kept else ["--remove-rpath"]
    if not options:
        return data
    file = directory / "restored.so"
    file.write_bytes(data)
    _patch(file, options)
    restored = file.read_bytes()
    file.unlink()
    return restored


def _renamed(seen: Seen, names: Mapping[str, str]) -> list[str]:
    changed = [name for name in seen.needed if name in names]
    return [word for name in changed for word in ("--replace-needed", name, names[name])]


def _patch(file: Path, options: list[str]) -> None:
    subprocess.run([require("patchelf"), *options, str(file)], check=True, capture_output=True)
