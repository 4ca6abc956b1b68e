"""rpm databases in all their formats: what rpm itself says is what we say."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from nativelib.read.packages import find_owners
from tests.support.packages import RPM_DATABASE, as_berkeley, as_ndb, machine, rpm, rpm_install, rpm_package

if TYPE_CHECKING:
    from pathlib import Path

    from nativelib.facts.package import Package

FOO = "/usr/lib64/libfoo.so.1.2"
BAR = "/opt/bar/lib/libbar.so.3"
QUERY = "%{NAME}|%{VERSION}-%{RELEASE}|%{ARCH}|%{EPOCH}|%{VENDOR}|%{LICENSE}"

_FOO_TAGS = """\
Version: 1.2
Release: 3.el8
Epoch: 2
License: MIT AND (GPL-2.0-or-later)
Vendor: Example Linux
"""
_BAR_TAGS = "Version: 12.0~rc1\nRelease: 1^git5\nLicense: GPLv3+ and GPLv3+ with exceptions\n"


@pytest.fixture(scope="module")
def rpm_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with two packages; the header of one fills many pages."""
    work = tmp_path_factory.mktemp("rpm")
    padding = [f"/usr/share/foo/{'long' * 20}{number}" for number in range(300)]
    packages = [
        rpm_package(work, "libfoo", [FOO, "/usr/lib64/both.so", *padding], tags=_FOO_TAGS),
        rpm_package(work, "libbar", [BAR, "/opt/bar/both.so"], tags=_BAR_TAGS),
    ]
    release = 'NAME="AlmaLinux"\nID="almalinux"\nVERSION_ID="8.10"\nPLATFORM_ID="platform:el8"\n'
    files = [FOO, BAR, "/usr/lib64/both.so", "/opt/bar/both.so", "/opt/bar/lib/own.so"]
    root = machine(work / "root", files, os_release=release)
    rpm_install(root, packages)
    return root


@pytest.fixture(params=["sqlite", "berkeley", "berkeley-64k", "berkeley-big-endian", "ndb"])
def root(request: pytest.FixtureRequest, rpm_root: Path, tmp_path: Path) -> Path:
    """The same machine, with its database in every format."""
    if request.param == "sqlite":
        return rpm_root
    copy = machine(tmp_path, [FOO, BAR, "/usr/lib64/both.so", "/opt/bar/both.so", "/opt/bar/lib/own.so"])
    (copy / "etc/os-release").write_text((rpm_root / "etc/os-release").read_text())
    source = rpm_root / RPM_DATABASE
    if request.param == "ndb":
        as_ndb(source, copy)
    else:
        # Pages of 64 KiB take the small header in, those of 4 KiB send both to pages of their own.
        page_size = 65536 if "64k" in request.param else 4096
        as_berkeley(source, copy, page_size=page_size, big_endian="big" in request.param)
    return copy


def _as_rpm_says(package: Package) -> str:
    values = (package.epoch or "(none)", package.supplier or "(none)", *package.licences)
    return "|".join((package.name, package.version, package.architecture, *values))


@pytest.mark.parametrize("file", [FOO, BAR, "/usr/lib64/both.so", "/opt/bar/both.so"])
def test_we_say_what_rpm_says(root: Path, rpm_root: Path, file: str) -> None:
    found = find_owners({file: file}, root)
    assert not found.findings
    assert _as_rpm_says(found.packages[file]) == rpm(rpm_root / RPM_DATABASE, "-q", "--path", "--qf", QUERY, file)


def test_a_file_of_no_package_has_no_owner(root: Path) -> None:
    found = find_owners(dict.fromkeys(["/opt/bar/lib/own.so"], "/opt/bar/lib/own.so"), root)
    assert (found.packages, found.findings) == ({}, ())


def test_purls(root: Path) -> None:
    owners = find_owners({FOO: FOO, BAR: BAR}, root)
    machine_name = owners.packages[FOO].architecture
    assert owners.purl(FOO) == (f"pkg:rpm/almalinux/libfoo@1.2-3.el8?arch={machine_name}&distro=almalinux-8.10&epoch=2")
    assert owners.purl(BAR) == f"pkg:rpm/almalinux/libbar@12.0~rc1-1%5Egit5?arch={machine_name}&distro=almalinux-8.10"


def test_rpm_reads_the_berkeley_file_as_well(rpm_root: Path, tmp_path: Path) -> None:
    """So the file that the tests are made with is one that an older rpm could have written."""
    file = as_berkeley(rpm_root / RPM_DATABASE, tmp_path)
    listed = rpm(file.parent, "-qa", "--qf", f"{QUERY}\n", backend="bdb_ro").splitlines()
    owners = find_owners({FOO: FOO, BAR: BAR}, machine(tmp_path, [FOO, BAR]))
    assert {_as_rpm_says(package) for package in owners.packages.values()} == set(listed)
    # The larger header takes more than one page, else the chain of pages would not be tested.
    kinds = [page[25] for page in _pages(file.read_bytes())]
    assert kinds.count(7) > 10


def _pages(data: bytes) -> list[bytes]:
    (size,) = struct.unpack_from("=I", data, 20)
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_directories_that_have_moved(rpm_root: Path, tmp_path: Path) -> None:
    """A package names ``/lib64``, which has become a link to ``/usr/lib64``; and the other way round."""
    package = rpm_package(tmp_path / "work", "old", ["/lib64/libold.so.1"], tags="Version: 1\nRelease: 1\nLicense: X\n")
    root = machine(tmp_path / "root", ["/usr/lib64/libold.so.1"])
    (root / "lib64").symlink_to("usr/lib64")
    rpm_install(root, [package])
    for found in ("/usr/lib64/libold.so.1", "/lib64/libold.so.1"):
        owners = find_owners({"/usr/lib64/libold.so.1": found}, root)
        assert owners.packages["/usr/lib64/libold.so.1"].name == "old"


def test_files_that_another_package_replaced_have_another_owner(rpm_root: Path, tmp_path: Path) -> None:
    """rpm keeps the name in both packages, and notes the state of the file."""
    one, two = (
        rpm_package(
            tmp_path / name, name, ["/usr/lib64/libtwice.so"], tags=f"Version: {name[-1]}\nRelease: 1\nLicense: X\n"
        )
        for name in ("first1", "second2")
    )
    root = machine(tmp_path / "root", ["/usr/lib64/libtwice.so"])
    directory = rpm_install(root, [one])
    rpm(directory, "-i", "--justdb", "--nodeps", "--replacefiles", str(two))
    states = {name: rpm(directory, "-q", "--qf", "%{FILESTATES}", name) for name in ("first1", "second2")}
    assert states == {"first1": "1", "second2": "0"}
    owners = find_owners({"/usr/lib64/libtwice.so": "/usr/lib64/libtwice.so"}, root)
    assert owners.packages["/usr/lib64/libtwice.so"].name == "second2"
