"""Package databases that are broken, cut off or made to do harm: no owner, perhaps a note, and never a failure."""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nativelib.findings import Code, Severity
from nativelib.read.packages import find_owners
from tests.support.packages import RPM_DATABASE, as_berkeley, as_ndb, machine, rpm_install, rpm_package, write_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nativelib.facts.package import Owners

LIBRARY = "/usr/lib/libevil.so.1"
FORMATS = {"rpmdb.sqlite": "sqlite", "Packages": "Berkeley DB", "Packages.db": "ndb"}
_TAGS = "Version: 1\nRelease: 1\nLicense: MIT\n"
_SECONDS = 20.0


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same package in each format of rpm, by the name of the file."""
    work = tmp_path_factory.mktemp("hostile")
    padding = [f"/usr/share/evil/{'long' * 20}{number}" for number in range(120)]
    source = rpm_install(work / "root", [rpm_package(work, "evil", [LIBRARY, *padding], tags=_TAGS)])
    return {
        "rpmdb.sqlite": (source / "rpmdb.sqlite").read_bytes(),
        "Packages": as_berkeley(source, work / "bdb").read_bytes(),
        "Packages.db": as_ndb(source, work / "ndb").read_bytes(),
    }


def _owners(root: Path, name: str, content: bytes) -> Owners:
    machine(root, [LIBRARY], os_release="ID=evil\n")
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    begin = time.monotonic()
    owners = find_owners({LIBRARY: LIBRARY}, root)
    assert time.monotonic() - begin < _SECONDS
    assert {(f.code, f.severity) for f in owners.findings} <= {(Code.PACKAGES_UNREADABLE, Severity.NOTE)}
    return owners


def _rpm_owners(root: Path, name: str, content: bytes) -> Owners:
    return _owners(root, f"{RPM_DATABASE}/{name}", content)


@pytest.mark.parametrize("name", FORMATS)
def test_the_databases_are_sound_before_they_are_broken(databases: dict[str, bytes], tmp_path: Path, name: str) -> None:
    assert _rpm_owners(tmp_path, name, databases[name]).purl(LIBRARY)


@pytest.mark.parametrize("name", FORMATS)
def test_cut_off(databases: dict[str, bytes], tmp_path: Path, name: str) -> None:
    data = databases[name]
    for part in range(20):
        found = _rpm_owners(tmp_path, name, data[: len(data) * part // 20])
        # What lies behind the last header may be missing without harm, and nobody knows if a bucket was ever there.
        assert found.packages or found.findings or (name == "Packages" and part), f"{part}/20"


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged(databases: dict[str, bytes], tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = bytearray(databases[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 4096))
        new = data.draw(st.binary(min_size=1, max_size=8))
        content[at : at + len(new)] = new
    for package in _rpm_owners(tmp_path, name, bytes(content)).packages.values():
        assert package.sound


@pytest.mark.parametrize(
    "name",
    [
        *(f"{RPM_DATABASE}/{name}" for name in FORMATS),
        "lib/apk/db/installed",
        "var/lib/dpkg/status",
        "var/lib/dpkg/info/x.list",
        "var/lib/dpkg/diversions",
        "etc/os-release",
    ],
)
@given(content=st.binary(max_size=2000))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    root = write_files(tmp_path, {"var/lib/dpkg/info/evil.list": f"{LIBRARY}\n"})
    (root / "var/lib/dpkg/status").touch()
    assert not _owners(root, name, content).packages


def _berkeley_page(number: int, following: int, used: int, kind: int, entries: int = 0) -> bytes:
    return struct.pack("<8x3I2H2B", number, 0, following, entries, used, 0, kind)


def _berkeley(*pages: bytes, size: int = 512) -> bytes:
    meta = struct.pack("<8x4I4B2I", 0, 0x061561, 9, size, 0, 8, 0, 0, 0, len(pages))
    return b"".join(page.ljust(size, b"\0") for page in (meta, *pages))


def _bucket(first: int, length: int, values: int = 1) -> bytes:
    """A page whose *values* all begin on the overflow page *first*."""
    items = b"".join(struct.pack("<2H", 500, 480) for _ in range(values))
    page = _berkeley_page(1, 0, 480, 13, 2 * values) + items
    return page.ljust(480, b"\0") + struct.pack("<B3x2I", 3, first, length)


def _blob(entries: int, size: int) -> bytes:
    return struct.pack(">2I", entries, size)


LOOPS: dict[str, Callable[[], bytes]] = {
    "an overflow page that follows itself": lambda: _berkeley(_bucket(2, 0xFFFFFFFF), _berkeley_page(2, 2, 1, 7)),
    "an overflow page that holds nothing": lambda: _berkeley(_bucket(2, 0xFFFFFFFF), _berkeley_page(2, 2, 0, 7)),
    "a bucket as overflow page": lambda: _berkeley(_bucket(1, 0xFFFFFFFF)),
    "an overflow page that is not there": lambda: _berkeley(_bucket(0xFFFFFFF0, 100)),
    "many values on one page": lambda: _berkeley(_bucket(2, 480, 100), _berkeley_page(2, 0, 480, 7)),
    "more items than fit on a page": lambda: _berkeley(_berkeley_page(1, 0, 0, 13, 0xFFFF)),
    "pages of no size": lambda: _berkeley(_bucket(2, 9), size=512)[:20] + bytes(4) + bytes(1000),
    "an encrypted file": lambda: _berkeley()[:24] + b"\1" + _berkeley()[25:],
}


@pytest.mark.parametrize("what", LOOPS)
def test_berkeley_files_that_lead_nowhere(tmp_path: Path, what: str) -> None:
    owners = _rpm_owners(tmp_path, "Packages", LOOPS[what]())
    assert not owners.packages
    assert owners.findings


@pytest.mark.parametrize(
    "slots",
    [
        [(1, 1 << 28, 10)],
        [(1, 256, 1 << 28)] * 250,
        [(1, 0xFFFFFFFF, 0xFFFFFFFF)],
        [(2, 256, 4)],
    ],
)
def test_ndb_files_that_lead_nowhere(tmp_path: Path, slots: list[tuple[int, int, int]]) -> None:
    index = b"".join(struct.pack("<4s3I", b"Slot", *slot) for slot in slots)
    unused = struct.pack("<4s3I", b"Slot", 0, 0, 0) * (254 - len(slots))
    blob = struct.pack("<4s3I", b"BlbS", 1, 0, 4000).ljust(5000, b"x")
    content = struct.pack("<4s4I12x", b"RpmP", 0, 1, 1, 9) + index + unused + blob
    owners = _rpm_owners(tmp_path, "Packages.db", content)
    assert not owners.packages
    assert owners.findings


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        _blob(0, 0),
        _blob(0xFFFFFFFF, 0xFFFFFFFF),
        _blob(1, 10) + struct.pack(">4I", 1117, 8, 0xFFFFFFFF, 1) + bytes(10),
        _blob(2, 10) + struct.pack(">8I", 1117, 8, 0, 10, 1116, 4, 8, 10) + bytes(10),
        _blob(3, 24)
        + struct.pack(">12I", 1117, 8, 0, 1, 1116, 4, 20, 1, 1118, 8, 0, 9)
        + b"libevil.so.1\0".ljust(24, b"\xff"),
    ],
)
def test_headers_that_are_none(tmp_path: Path, blob: bytes) -> None:
    path = tmp_path / "made.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        database.execute("CREATE TABLE Basenames (key TEXT, hnum INTEGER, idx INTEGER)")
        database.execute("INSERT INTO Packages VALUES (1, ?)", (blob,))
        database.execute("INSERT INTO Basenames VALUES ('libevil.so.1', 1, 0)")
        database.commit()
    assert not _rpm_owners(tmp_path / "root", "rpmdb.sqlite", path.read_bytes()).packages


def test_a_database_whose_index_never_ends(tmp_path: Path) -> None:
    path = tmp_path / "made.sqlite"
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'libevil.so.1' AS key, i AS hnum FROM n"
    )
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
        database.execute(f"CREATE VIEW Basenames AS {numbers}")
        database.commit()
    owners = _rpm_owners(tmp_path / "root", "rpmdb.sqlite", path.read_bytes())
    assert not owners.packages
    assert "interrupted" in owners.findings[0].message


def test_reading_leaves_nothing_behind(databases: dict[str, bytes], tmp_path: Path) -> None:
    _rpm_owners(tmp_path, "rpmdb.sqlite", databases["rpmdb.sqlite"])
    assert [path.name for path in (tmp_path / RPM_DATABASE).iterdir()] == ["rpmdb.sqlite"]


@pytest.mark.parametrize(
    "name", [f"{RPM_DATABASE}/Packages", "lib/apk/db/installed", "var/lib/dpkg/info/x.list", "var/lib/dpkg/diversions"]
)
@pytest.mark.parametrize("kind", ["pipe", "directory", "loop", "huge"])
def test_what_is_no_file(tmp_path: Path, name: str, kind: str) -> None:
    path = machine(tmp_path, [LIBRARY]) / name
    path.parent.mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/info").mkdir(parents=True, exist_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case _:
            path.touch()
            os.truncate(path, 1 << 40)
    owners = find_owners({LIBRARY: LIBRARY}, tmp_path)
    assert not owners.packages
    # A link that leads nowhere is as good as no database.
    assert [finding.code for finding in owners.findings] == [Code.PACKAGES_UNREADABLE] or kind == "loop"


def test_one_broken_database_does_not_hide_another(tmp_path: Path) -> None:
    installed = f"P:fine\nV:1\nF:{LIBRARY[1:].rpartition('/')[0]}\nR:libevil.so.1\n"
    root = write_files(tmp_path, {"lib/apk/db/installed": installed, f"{RPM_DATABASE}/Packages": "no"})
    owners = find_owners({LIBRARY: LIBRARY}, machine(root, [LIBRARY]))
    assert owners.purl(LIBRARY) == "pkg:apk/fine@1"
    assert [finding.where for finding in owners.findings] == ["rpm"]


def test_names_that_would_reach_the_terminal(tmp_path: Path) -> None:
    text = "P:bad\x1b[2J\nV:1\nF:usr/lib\nR:libevil.so.1\n"
    root = write_files(machine(tmp_path, [LIBRARY]), {"lib/apk/db/installed": text})
    assert not find_owners({LIBRARY: LIBRARY}, root).packages


def test_a_python_without_sqlite(databases: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)  # import raises ImportError, as where _sqlite3 was not built
    owners = _rpm_owners(tmp_path, "rpmdb.sqlite", databases["rpmdb.sqlite"])
    assert not owners.packages
    [finding] = owners.findings
    assert finding.where == "rpm"
    assert "sqlite3" in finding.message
