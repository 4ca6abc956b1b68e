"""Who owns a file: dpkg of this machine and of made ones, apk, and the names under which files are looked for."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from packageurl import PackageURL

from nativelib.facts.package import Package, purl_label
from nativelib.read.packages import find_owners
from tests.support.packages import machine, write_files
from tests.support.tools import lacking, require

LIB = "/usr/lib/x86_64-linux-gnu"
ZLIB = f"{LIB}/libz.so.1.2.13"

STATUS = """\
Package: zlib1g
Status: install ok installed
Maintainer: Some One <one@example.org>
Architecture: i386
Multi-Arch: same
Version: 1:1.2.11

Package: zlib1g
Status: install ok installed
Maintainer: Some One <one@example.org>
Architecture: amd64
Multi-Arch: same
Version: 1:1.2.13.dfsg-1+b1

Package: zlib1g-dev
Status: install ok installed
Architecture: amd64
Version: 9

Package: other
Status: install ok installed
Architecture: amd64
Version: 2
"""
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'


def debian(root: Path, files: list[str], lists: dict[str, list[str]], **texts: str) -> Path:
    """A merged-usr Debian with *files*, and packages that list others; *texts* are further files of dpkg's."""
    machine(root, files, os_release=DEBIAN)
    (root / "lib").symlink_to("usr/lib")
    listed = {
        f"var/lib/dpkg/info/{name}.list": "".join(f"{line}\n" for line in ["/.", *v]) for name, v in lists.items()
    }
    return write_files(
        root, {"var/lib/dpkg/status": STATUS, **listed, **{f"var/lib/dpkg/{k}": v for k, v in texts.items()}}
    )


def owner(root: Path, path: str, found: str | None = None) -> str:
    """Return the purl of the owner of *path*, or why there is none."""
    owners = find_owners({path: found or path}, root)
    return owners.purl(path) or " ".join(finding.message for finding in owners.findings)


# --- dpkg


def test_this_machine() -> None:
    """Every kind of library that is installed here, against dpkg-query."""
    if not Path("/var/lib/dpkg/info").is_dir():
        lacking("dpkg")
    files = {os.path.realpath(path): str(path) for path in Path(LIB).glob("*.so.*")}
    real = sorted(path for path in files if path.startswith("/usr/lib/"))[:300]
    if not real:
        lacking(f"libraries in {LIB}")
    owners = find_owners({path: files[path] for path in real})
    # dpkg-query does not know that /lib has become /usr/lib, so it is asked for both.
    names = [name for path in real for name in (path, path.removeprefix("/usr"))]
    said = subprocess.run([require("dpkg-query"), "-S", *names], capture_output=True, text=True, check=False).stdout
    theirs: dict[str, set[str]] = {}
    for packages, name in re.findall(r"(?m)^(?!diversion)(.+?): (/.*)$", said):
        path = name if name.startswith("/usr") else f"/usr{name}"
        theirs.setdefault(path, set()).update(word.partition(":")[0] for word in packages.split(", "))
    assert {path: package.name in theirs.get(path, ()) for path, package in owners.packages.items()} == dict.fromkeys(
        theirs, True
    )
    versions = {f"{package.name}:{package.architecture}": package.version for package in owners.packages.values()}
    argv = [require("dpkg-query"), "-W", "-f", "${Package}:${Architecture} ${Version}\n", *versions]
    shown = subprocess.run([*argv], capture_output=True, text=True, check=True).stdout
    assert versions == dict(line.split() for line in shown.splitlines())


def test_architectures_of_one_package_are_told_apart(tmp_path: Path) -> None:
    root = debian(tmp_path, [ZLIB], {"zlib1g:amd64": [ZLIB], "zlib1g:i386": ["/usr/lib/i386-linux-gnu/libz.so.1"]})
    assert owner(root, ZLIB) == "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1%2Bb1?arch=amd64&distro=debian-12"


def test_packages_name_files_as_before_usr_was_merged(tmp_path: Path) -> None:
    root = debian(tmp_path, [ZLIB], {"zlib1g:amd64": [ZLIB.removeprefix("/usr")]})
    assert owner(root, ZLIB).startswith("pkg:deb/debian/zlib1g@")
    assert owner(root, ZLIB, "/lib/x86_64-linux-gnu/libz.so.1.2.13").startswith("pkg:deb/debian/zlib1g@")


def test_where_usr_is_not_merged_the_two_are_different_files(tmp_path: Path) -> None:
    root = debian(tmp_path, [ZLIB], {"zlib1g:amd64": [ZLIB.removeprefix("/usr")]})
    (root / "lib").unlink()
    machine(root, [ZLIB.removeprefix("/usr")], os_release=DEBIAN)
    assert owner(root, ZLIB) == ""
    assert owner(root, ZLIB.removeprefix("/usr")).startswith("pkg:deb/debian/zlib1g@")


def test_a_package_that_names_a_file_by_a_link_to_its_directory(tmp_path: Path) -> None:
    root = debian(tmp_path, ["/srv/real/libx.so.1"], {"other": ["/opt/x/libx.so.1"]})
    (root / "opt").mkdir()
    (root / "opt/x").symlink_to("../srv/real")
    assert owner(root, "/srv/real/libx.so.1", "/opt/x/libx.so.1").startswith("pkg:deb/debian/other@2?")
    assert owner(root, "/srv/real/libx.so.1") == ""


def test_the_owner_of_a_link_is_not_that_of_the_file(tmp_path: Path) -> None:
    root = debian(tmp_path, ["/opt/own/libz.so.1"], {"zlib1g:amd64": [f"{LIB}/libz.so.1"]})
    (root / LIB[1:]).mkdir(parents=True)
    (root / LIB[1:] / "libz.so.1").symlink_to("../../../opt/own/libz.so.1")
    assert owner(root, "/opt/own/libz.so.1", f"{LIB}/libz.so.1") == ""


def test_diversions(tmp_path: Path) -> None:
    aside = f"{ZLIB}.distrib"
    root = debian(
        tmp_path,
        [ZLIB, aside],
        {"zlib1g:amd64": [ZLIB], "other": [ZLIB]},
        diversions=f"{ZLIB}\n{aside}\nother\n",
    )
    assert purl_label(owner(root, ZLIB)) == "other 2"
    assert purl_label(owner(root, aside)) == "zlib1g 1:1.2.13.dfsg-1+b1"


def test_what_the_administrator_pushed_aside(tmp_path: Path) -> None:
    aside = f"{ZLIB}.old"
    root = debian(tmp_path, [ZLIB, aside], {"zlib1g:amd64": [ZLIB]}, diversions=f"{ZLIB}\n{aside}\n:\n")
    assert owner(root, ZLIB) == ""
    assert owner(root, aside).startswith("pkg:deb/debian/zlib1g@")


def test_a_part_of_a_name_is_not_the_name(tmp_path: Path) -> None:
    root = debian(tmp_path, [ZLIB], {"other": [f"{ZLIB}.gz", f"/opt{ZLIB}", "/usr/libz.so.1.2.13"]})
    assert owner(root, ZLIB) == ""


def test_licences_of_a_machine_readable_copyright(tmp_path: Path) -> None:
    root = debian(tmp_path, [ZLIB], {"zlib1g:amd64": [ZLIB]})
    copyright_file = "usr/share/doc/zlib1g/copyright"
    text = """\
    Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
    Upstream-Name: zlib

    Files: *
    Copyright: some
    License: Zlib
     and its text

    Files: contrib/*
    License:   GPL-2+   or Artistic

    Files: debian/*
    License: Expat

    License: Zlib
     This software is provided as it is.
    """
    write_files(root, {copyright_file: text})
    assert find_owners({ZLIB: ZLIB}, root).packages[ZLIB].licences == ("Zlib", "GPL-2+ or Artistic")
    write_files(root, {copyright_file: "This is zlib.\n\nLicense: free\n"})
    assert find_owners({ZLIB: ZLIB}, root).packages[ZLIB].licences == ()


# --- apk

APK = """\
C:Q1xyz=
P:musl
V:1.2.4-r2
A:x86_64
L:MIT
m:Some One <one@example.org>
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1abc=
R:libc.musl-x86_64.so.1

P:libgomp
V:13.2.1_git20231014-r0
A:x86_64
L:GPL-2.0-or-later AND LGPL-2.1-or-later
F:usr
F:usr/lib
R:libgomp.so.1
R:libgomp.so.1.0.0
F:
R:top.so
"""


def alpine(root: Path, database: str = "lib/apk/db/installed") -> Path:
    files = ["/usr/lib/libgomp.so.1.0.0", "/lib/ld-musl-x86_64.so.1", "/lib/libgomp.so.1.0.0", "/top.so"]
    machine(root, files, os_release="ID=alpine\nVERSION_ID=3.19.1\n")
    return write_files(root, {database: APK})


@pytest.mark.parametrize("database", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_apk(tmp_path: Path, database: str) -> None:
    root = alpine(tmp_path, database)
    gomp = "/usr/lib/libgomp.so.1.0.0"
    assert find_owners({gomp: gomp}, root).packages[gomp] == Package(
        kind="apk",
        name="libgomp",
        version="13.2.1_git20231014-r0",
        architecture="x86_64",
        vendor="alpine",
        release="3.19.1",
        licences=("GPL-2.0-or-later AND LGPL-2.1-or-later",),
    )
    assert owner(root, "/lib/ld-musl-x86_64.so.1") == "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=alpine-3.19.1"
    assert owner(root, "/top.so").startswith("pkg:apk/alpine/libgomp@")
    assert owner(root, "/lib/libgomp.so.1.0.0") == ""


def test_nothing_is_read_if_nothing_is_asked(tmp_path: Path) -> None:
    (tmp_path / "var/lib/rpm/rpmdb.sqlite").mkdir(parents=True)
    assert find_owners({"/x": "/x"}, tmp_path).findings != ()
    assert find_owners({}, tmp_path).findings == ()


def test_several_managers_on_one_machine(tmp_path: Path) -> None:
    """Debian has packages of rpm and apk, whose databases are mostly empty; what one does not know the next may."""
    root = alpine(tmp_path)
    write_files(root, {"var/lib/dpkg/status": STATUS, "var/lib/dpkg/info/other.list": "/usr/lib/libgomp.so.1.0.0\n"})
    assert owner(root, "/usr/lib/libgomp.so.1.0.0").startswith("pkg:deb/alpine/other@2?")
    assert owner(root, "/lib/ld-musl-x86_64.so.1").startswith("pkg:apk/alpine/musl@")


# --- purls


@pytest.mark.parametrize(
    "package",
    [
        Package(kind="deb", name="libopenblas0-pthread", version="0.3.21+ds-4", architecture="amd64", vendor="debian"),
        Package(kind="deb", name="libstdc++6", version="1:12~rc1-2+b1", vendor="ubuntu", release="22.04"),
        Package(
            kind="rpm", name="compat-libstdc++-33", version="3.2.3-72.el7^x", epoch="1", vendor="centos", release="7"
        ),
        Package(
            kind="apk", name="so_x", version="1.2_p3-r0", architecture="x86", vendor="alpine", release="3.19_alpha1"
        ),
        Package(kind="rpm", name="n", version="1-1"),
    ],
)
def test_purls_are_canonical(package: Package) -> None:
    parsed = PackageURL.from_string(package.purl)
    assert parsed.to_string() == package.purl
    assert (parsed.type, parsed.name, parsed.version) == (package.kind, package.name, package.version)
    assert package.sound
    assert purl_label(package.purl) == f"{package.name} {package.version}"


@pytest.mark.parametrize(
    "package",
    [
        Package(kind="deb", name="", version="1"),
        Package(kind="deb", name="a", version=""),
        Package(kind="deb", name="a/b", version="1"),
        Package(kind="deb", name="a", version="1\x1b[2J"),
        Package(kind="rpm", name="a", version="1-1", architecture="x y"),
        Package(kind="rpm", name="a" * 300, version="1-1"),
    ],
)
def test_what_no_package_manager_would_allow_is_not_sound(package: Package) -> None:
    assert not package.sound
