"""Package databases of other distributions, in a directory that stands for a machine."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import subprocess
import textwrap
from contextlib import closing
from typing import TYPE_CHECKING

from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RPM_DATABASE = "var/lib/rpm"


def machine(root: Path, files: Sequence[str] = (), *, os_release: str = "") -> Path:
    """Make *files* below *root*, and an os-release, and return *root*."""
    for name in files:
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc" / "os-release").write_text(os_release)
    return root


def write_files(root: Path, texts: Mapping[str, str]) -> Path:
    """Write *texts* below *root* and return it."""
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def rpm_package(directory: Path, name: str, files: Sequence[str], *, tags: str = "") -> Path:
    """Build the rpm package *name* with *files* of its own; *tags* are further lines of its spec. Return its path."""
    top = directory / name
    top.mkdir(parents=True)
    spec = top / f"{name}.spec"
    install = "".join(
        f"mkdir -p $(dirname %{{buildroot}}{file})\necho {name} > %{{buildroot}}{file}\n" for file in files
    )
    listed = "\n".join(files)
    spec.write_text(
        f"Name: {name}\nSummary: {name}\n{tags}\n%description\n{name}\n%install\n{install}\n%files\n{listed}\n"
    )
    # Nothing of what a distribution does to the files of its packages.
    plain = {"_topdir": str(top), "_build_id_links": "none", "__os_install_post": "%nil", "debug_package": "%nil"}
    defined = [word for key, value in plain.items() for word in ("--define", f"{key} {value}")]
    done = subprocess.run(
        [require("rpmbuild"), "-bb", *defined, str(spec)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    [path] = top.glob("RPMS/*/*.rpm")
    return path


def rpm_install(root: Path, packages: Sequence[Path]) -> Path:
    """Enter *packages* into a new database (SQLite) below *root* and return its directory."""
    directory = root / RPM_DATABASE
    directory.mkdir(parents=True)
    rpm(directory, "--initdb")
    rpm(directory, "-i", "--justdb", "--nodeps", "--noscripts", "--ignorearch", *map(str, packages))
    return directory


def rpm(directory: Path, *arguments: str, backend: str = "sqlite") -> str:
    """Return what rpm prints about the database in *directory*."""
    argv = [require("rpm"), "--dbpath", str(directory), "--define", f"_db_backend {backend}", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def rpm_headers(directory: Path) -> list[tuple[int, bytes]]:
    """Return number and header of each package in the SQLite database in *directory*."""
    with closing(sqlite3.connect(directory / "rpmdb.sqlite")) as database:
        return list(database.execute("SELECT hnum, blob FROM Packages ORDER BY hnum"))


def as_berkeley(source: Path, root: Path, *, page_size: int = 4096, big_endian: bool = False) -> Path:
    """Write the database in *source* as the Berkeley DB file of RHEL 8 below *root*, by the library's own tool."""
    directory = _empty(root)
    entries = [(0, struct.pack("=I", 99)), *rpm_headers(source)]  # number 0 holds the next number
    lines = [f" {struct.pack('=I', number).hex()}\n {blob.hex()}" for number, blob in entries]
    order = f"db_lorder={4321 if big_endian else 1234}"
    head = ["VERSION=3", "format=bytevalue", "type=hash", f"db_pagesize={page_size}", order, "HEADER=END"]
    dump = "\n".join([*head, *lines, "DATA=END", ""])
    argv = [require("db_load"), str(directory / "Packages")]
    subprocess.run(argv, input=dump, capture_output=True, text=True, check=True)
    return directory / "Packages"


def as_ndb(source: Path, root: Path) -> Path:
    """Write the database in *source* as an ndb file below *root*, by the layout in rpm's rpmpkg.c."""
    directory = _empty(root)
    slots, blobs = [], b""
    for number, blob in rpm_headers(source):
        whole = struct.pack("<4s3I", b"BlbS", number, 0, len(blob)) + blob
        whole += bytes(-(len(whole) + 12) % 16) + struct.pack("<2I4s", 0, len(blob), b"BlbE")
        slots.append(struct.pack("<4s3I", b"Slot", number, (4096 + len(blobs)) // 16, len(whole) // 16))
        blobs += whole
    unused = [struct.pack("<4s3I", b"Slot", 0, 0, 0)] * (254 - len(slots))
    head = struct.pack("<4s4I12x", b"RpmP", 0, 1, 1, 99)
    (directory / "Packages.db").write_bytes(b"".join([head, *slots, *unused, blobs]))
    return directory / "Packages.db"


def _empty(root: Path) -> Path:
    directory = root / RPM_DATABASE
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
