"""Real wheels, from a dictionary. Written with the standard library alone, so that they are an independent witness."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATE = (2024, 2, 29, 12, 34, 56)


def make_wheel(
    directory: Path,
    filename: str,
    files: Mapping[str, bytes | str | Path],
    *,
    metadata_extra: str = "",
    purelib: bool = False,
) -> Path:
    """Write the wheel *directory*/*filename* and return its path.

    *files* maps members to their content: bytes, a text, or a file whose permissions are kept. ``METADATA``, ``WHEEL``
    and ``RECORD`` are added, the first two unless *files* has them; *metadata_extra* are further header lines.
    """
    distribution, version, *_, pythons, abis, platforms = filename.removesuffix(".whl").split("-")
    dist_info = f"{distribution}-{version}.dist-info"
    tags = [f"Tag: {p}-{a}-{f}\n" for p in pythons.split(".") for a in abis.split(".") for f in platforms.split(".")]
    metadata = f"Metadata-Version: 2.1\nName: {distribution.replace('_', '-')}\nVersion: {version}\n{metadata_extra}"
    wheel = f"Wheel-Version: 1.0\nGenerator: tests (1)\nRoot-Is-Purelib: {str(purelib).lower()}\n{''.join(tags)}\n"
    members = {**files}
    members.setdefault(f"{dist_info}/METADATA", metadata.rstrip("\n") + "\n")
    members.setdefault(f"{dist_info}/WHEEL", wheel)

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / filename
    rows = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in members.items():
            content, mode = _content(source)
            _add(archive, name, content, mode)
            rows.append((name, f"sha256={record_digest(content)}", str(len(content))))
        rows.append((f"{dist_info}/RECORD", "", ""))
        record = io.StringIO()
        csv.writer(record, lineterminator="\n").writerows(rows)
        _add(archive, f"{dist_info}/RECORD", record.getvalue().encode(), 0o644)
    return path


def record_digest(content: bytes) -> str:
    """Return the SHA-256 of *content* as ``RECORD`` has it: URL-safe base64 without padding (PEP 427)."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def members(wheel: Path) -> dict[str, bytes]:
    """Return the content of every member of *wheel*, read by the standard library."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _content(source: bytes | str | Path) -> tuple[bytes, int]:
    if isinstance(source, Path):
        return source.read_bytes(), source.stat().st_mode & 0o777
    return (source if isinstance(source, bytes) else source.encode()), 0o644


def _add(archive: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = (0o100000 | mode) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
