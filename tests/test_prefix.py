"""What is taken from a prefix: globs, links, libraries, headers, programs, licences."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from nativelib.errors import ReadError, SpecError
from nativelib.facts.prefix import PrefixFacts, header_destinations, license_destinations
from nativelib.facts.spec import HeaderRule, SonameRule, Spec
from nativelib.findings import Code, Finding, Severity
from nativelib.read.prefix import find_prefix, scan_prefix
from nativelib.read.project_files import project_licenses
from nativelib.read.tree import EscapingLinkError, Tree
from tests.support.cc import program, shared_library
from tests.support.tools import lacking, require

SOURCE = "int foo(void) { return 1; }"


def spec(*libraries: str, headers: tuple[HeaderRule, ...] = (), **others: object) -> Spec:
    return Spec(
        import_name="foo_lib",
        libraries=libraries or ("lib/libfoo.so.1",),
        headers=headers,
        pkg_config_names=("foo-lib",),
        cmake_name="foo-lib",
        **others,  # type: ignore[arg-type]
    )


def scan(root: Path, wanted: Spec) -> PrefixFacts:
    return scan_prefix(root, wanted, license_files=["LICENSE"])


def errors(root: Path, wanted: Spec, *, license_files: tuple[str, ...] = ("LICENSE",)) -> tuple[Finding, ...]:
    with pytest.raises(ReadError) as caught:
        scan_prefix(root, wanted, license_files=license_files)
    assert all(finding.severity is Severity.ERROR for finding in caught.value.findings)
    return caught.value.findings


def put(root: Path, *paths: str, content: str = "") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content or f"{path}\n")


def link(root: Path, path: str, target: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(target)


@pytest.fixture(scope="session")
def libfoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_library(tmp_path_factory.mktemp("libfoo"), "libfoo.so.1.2", SOURCE, soname="libfoo.so.1")


@pytest.fixture
def prefix(tmp_path: Path, libfoo: Path) -> Path:
    """A prefix with one library below ``lib`` and the usual links to it."""
    root = tmp_path / "prefix"
    (root / "lib").mkdir(parents=True)
    shutil.copy(libfoo, root / "lib")
    link(root, "lib/libfoo.so.1", "libfoo.so.1.2")
    link(root, "lib/libfoo.so", "libfoo.so.1")
    return root


# Libraries


def test_links_lead_to_one_real_file(prefix: Path) -> None:
    facts = scan(prefix, spec("lib/libfoo.so*", "lib/libfoo.so.1"))
    (library,) = facts.libraries
    assert library.source == str(prefix / "lib/libfoo.so.1.2")
    assert (library.matched, library.also) == ("lib/libfoo.so", ("lib/libfoo.so.1", "lib/libfoo.so.1.2"))
    assert (library.file_name, library.soname) == ("libfoo.so.1.2", "libfoo.so.1")
    assert library.elf.exports
    assert library.sha256 == library.elf.sha256
    assert facts.findings == ()


def test_hard_links_are_one_file(prefix: Path) -> None:
    os.link(prefix / "lib/libfoo.so.1.2", prefix / "lib/libfoo.so.1.hard")
    assert len(scan(prefix, spec("lib/libfoo.so.1*")).libraries) == 1


def test_a_library_without_soname_goes_by_its_file_name(prefix: Path) -> None:
    shared_library(prefix / "lib", "libbar-3.so", SOURCE)
    (library,) = scan(prefix, spec("lib/libbar-*.so")).libraries
    assert (library.elf.soname, library.soname) == (None, "libbar-3.so")


def test_a_soname_that_is_a_path_is_refused(prefix: Path) -> None:
    shared_library(prefix / "lib", "libevil.so", SOURCE, soname="../../evil.so")
    (finding,) = errors(prefix, spec("lib/libevil.so"))
    assert finding.code is Code.BAD_ELF


def test_what_is_no_library_is_left_out_with_a_note(prefix: Path) -> None:
    put(prefix, "lib/libfoo.so.ld", content="/* GNU ld script */\nINPUT(libfoo.so.1)\n")
    put(prefix, "lib/libfoo.so.1.2-gdb.py", content="import gdb\n")
    put(prefix, "lib/libfoo.so.txt", content="hello\n")
    (prefix / "lib/libfoo.so.a").write_bytes(b"!<arch>\n")
    put(prefix, "lib/libfoo.so.la", content="# libtool\n")
    link(prefix, "lib/libfoo.so.9", "libfoo.so.9.9")
    program(prefix / "lib", "libfoo.so.exe", "int main(void) { return 0; }")
    os.mkfifo(prefix / "lib/libfoo.so.pipe")
    facts = scan(prefix, spec("lib/libfoo.so*"))
    assert [library.file_name for library in facts.libraries] == ["libfoo.so.1.2"]
    said = {Path(finding.where).name: finding.message for finding in facts.findings}
    assert {finding.code for finding in facts.findings} == {Code.SKIPPED_FILE}
    for name, reason in {
        "libfoo.so.ld": "linker script",
        "libfoo.so.1.2-gdb.py": "GDB",
        "libfoo.so.txt": "not an ELF file",
        "libfoo.so.a": "static = true",
        "libfoo.so.la": "libtool",
        "libfoo.so.9": "leads to nothing",
        "libfoo.so.exe": "program",
        "libfoo.so.pipe": "not a regular file",
    }.items():
        assert reason in said[name]


def test_no_library_lists_what_was_matched(prefix: Path) -> None:
    put(prefix, "lib/libbar.so", content="INPUT(libbar.so.1)\n")
    (finding,) = errors(prefix, spec("lib/libbar.so", "lib/**/libfoo.so.2"))
    assert finding.code is Code.NO_LIBRARY
    assert finding.where == "tool.nativelib.libraries"
    assert "lib/libbar.so is left out: it is a linker script" in finding.message
    assert "'lib/**/libfoo.so.2' matches no file" in finding.message
    assert "lib/libfoo.so.1" in finding.remedy


def test_a_glob_that_matches_nothing_is_named_with_what_is_near(prefix: Path) -> None:
    wanted = spec("lib/libfoo.so.1", "lib/libfooo.so.1", headers=(HeaderRule(glob="include/*.h"),), programs=("bin/f",))
    found = {finding.where: finding for finding in errors(prefix, wanted)}
    assert found["tool.nativelib.libraries[1]"].code is Code.NO_LIBRARY
    assert "lib/libfoo.so.1" in found["tool.nativelib.libraries[1]"].remedy
    assert found["tool.nativelib.headers[0]"].code is Code.NOT_FOUND
    assert found["tool.nativelib.programs[0]"].code is Code.NOT_FOUND
    assert len(found) == 3


def test_a_directory_is_no_file(prefix: Path) -> None:
    put(prefix, "include/foo/foo.h")
    (finding,) = errors(prefix, spec(headers=(HeaderRule(glob="include/foo"),)))
    assert "it is a directory" in finding.message


def test_two_files_with_one_soname_are_listed(prefix: Path) -> None:
    other = shared_library(prefix / "lib/openmp", "libfoo-omp.so", "int foo(void) { return 2; }", soname="libfoo.so.1")
    (finding,) = errors(prefix, spec("lib/**/libfoo*.so*"))
    assert finding.code is Code.DUPLICATE_SONAME
    for words in ("libfoo.so.1", str(other), str(prefix / "lib/libfoo.so.1.2")):
        assert words in finding.message


def test_a_broken_library_is_an_error(prefix: Path) -> None:
    whole = (prefix / "lib/libfoo.so.1.2").read_bytes()
    (prefix / "lib/libcut.so").write_bytes(whole[: len(whole) // 3])
    found = errors(prefix, spec("lib/lib*.so*"))
    assert [finding.code for finding in found] == [Code.BAD_ELF]
    assert found[0].where.endswith("libcut.so")


def test_two_architectures_are_refused(prefix: Path) -> None:
    require("aarch64-linux-gnu-gcc")
    shared_library(
        prefix / "lib", "libarm.so", SOURCE, soname="libarm.so", cc="aarch64-linux-gnu-gcc", flags=["-nostdlib"]
    )
    (finding,) = errors(prefix, spec("lib/lib*.so*"))
    assert finding.code is Code.MIXED_MACHINES
    assert "aarch64" in finding.message


def test_static_archives_on_request(prefix: Path) -> None:
    (prefix / "lib/libfoo.a").write_bytes(b"!<arch>\n")
    facts = scan(prefix, spec("lib/libfoo.so.1", "lib/*.a", static=True))
    assert [archive.name for archive in facts.archives] == ["libfoo.a"]
    (finding,) = errors(prefix, spec(static=True))
    assert (finding.code, finding.where) == (Code.NO_LIBRARY, "tool.nativelib.static")


def test_no_prefix(tmp_path: Path) -> None:
    (finding,) = errors(tmp_path / "nowhere", spec())
    assert "does not exist" in finding.message
    put(tmp_path, "file")
    (finding,) = errors(tmp_path / "file", spec())
    assert "is not a directory" in finding.message


def test_all_errors_at_once(prefix: Path) -> None:
    link(prefix, "lib/libout.so", "../../outside.so")
    found = errors(
        prefix, spec("lib/libfoo.so.1", "lib/libout.so", "lib/none.so", programs=("bin/*",)), license_files=()
    )
    assert {finding.code for finding in found} == {
        Code.ESCAPING_LINK,
        Code.NO_LIBRARY,
        Code.NOT_FOUND,
        Code.NO_LICENCE,
    }


# Links and globs


def test_a_double_star_follows_no_links_and_ends(prefix: Path) -> None:
    for number in range(40):
        base = f"lib/llvm-{number}/build"
        put(prefix, f"{base}/x")
        link(prefix, f"{base}/Release", "..")
        link(prefix, f"{base}/Debug", "../..")
    inner = prefix / "lib/x86_64-linux-gnu/openblas-pthread"
    inner.mkdir(parents=True)
    shutil.copy(prefix / "lib/libfoo.so.1.2", inner / "libopenblasp-r0.3.21.so")
    link(inner, "libopenblas.so.0", "libopenblasp-r0.3.21.so")
    begin = time.monotonic()
    (library,) = scan(prefix, spec("lib/**/openblas-pthread/libopenblas.so.0")).libraries
    assert library.source == str(inner / "libopenblasp-r0.3.21.so")
    assert time.monotonic() - begin < 5


def test_a_double_star_is_quick_on_this_system() -> None:
    begin = time.monotonic()
    list(Tree.at(Path("/usr")).match("lib/**/openblas-pthread/libopenblas.so.0"))
    assert time.monotonic() - begin < 30


def test_named_parts_of_a_glob_may_be_links(prefix: Path) -> None:
    link(prefix, "lib64", "lib")
    (library,) = scan(prefix, spec("lib64/libfoo.so.1")).libraries
    assert library.matched == "lib64/libfoo.so.1"
    assert library.source == str(prefix / "lib/libfoo.so.1.2")
    assert [match.path for match in Tree.at(prefix).match("**/libfoo.so.1")] == ["lib/libfoo.so.1"]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("**", ["a", "b/a", "b/c/a", "b/c/d.h"]),
        ("**/a", ["a", "b/a", "b/c/a"]),
        ("**/**/a", ["a", "b/a", "b/c/a"]),
        ("b/**/a", ["b/a", "b/c/a"]),
        ("**/c/**", ["b/c/a", "b/c/d.h"]),
        ("*", ["a"]),
        ("*/*", ["b/a"]),
        ("?/[cx]/?.h", ["b/c/d.h"]),
        ("?/[!c]/?.h", []),
        (".*", [".hidden"]),
        (".git/a", [".git/a"]),
        ("b/c/nothing", []),
    ],
)
def test_globs(tmp_path: Path, pattern: str, paths: list[str]) -> None:
    put(tmp_path, "a", "b/a", "b/c/a", "b/c/d.h", ".hidden", ".git/a", "b/.x/a")
    assert sorted(match.path for match in Tree.at(tmp_path).match(pattern) if match.real and not match.problem) == paths


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/usr/lib/libfoo.so.1.2", "stage/usr"),  # an unpacked package, its usr as the prefix
        ("/usr/lib/libfoo.so.1.2", "stage"),  # the same, its root as the prefix
        ("/opt/foo/lib/libfoo.so.1.2", "stage/opt/foo"),  # DESTDIR=stage, --prefix=/opt/foo
        ("/lib/libfoo.so.1.2", "stage"),
    ],
)
def test_an_absolute_link_starts_at_the_prefix(tmp_path: Path, libfoo: Path, target: str, place: str) -> None:
    where = tmp_path / "stage" / target.lstrip("/")
    where.parent.mkdir(parents=True)
    shutil.copy(libfoo, where)
    root = tmp_path / place
    link(root, "links/libfoo.so", target)
    (library,) = scan(root, spec("links/libfoo.so")).libraries
    assert library.source == str(where)


def test_an_absolute_link_may_name_the_prefix_itself(prefix: Path, tmp_path: Path) -> None:
    link(tmp_path, "alias", str(prefix))
    link(prefix, "lib/a.so", str(prefix / "lib/libfoo.so"))
    link(prefix, "lib/b.so", str(tmp_path / "alias/lib/libfoo.so"))
    facts = scan(tmp_path / "alias", spec("lib/a.so", "lib/b.so"))
    assert facts.root == str(prefix)
    assert [library.source for library in facts.libraries] == [str(prefix / "lib/libfoo.so.1.2")]


@pytest.mark.parametrize("target", ["../../outside.so", "../../nowhere.so", "inner/../../../outside.so"])
def test_a_link_that_leaves_the_prefix_is_an_error(prefix: Path, tmp_path: Path, libfoo: Path, target: str) -> None:
    shutil.copy(libfoo, tmp_path / "outside.so")
    put(prefix, "lib/inner/x")
    link(prefix, "lib/libout.so", target)
    (finding,) = errors(prefix, spec("lib/libfoo.so.1", "lib/*.so"))
    assert finding.code is Code.ESCAPING_LINK
    assert finding.where == str(prefix / "lib/libout.so")


def test_a_directory_link_that_leaves_the_prefix_is_an_error(prefix: Path, tmp_path: Path, libfoo: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(libfoo, tmp_path / "other" / "libother.so")
    link(prefix, "more", "../other")
    (finding,) = errors(prefix, spec("lib/libfoo.so.1", "more/libother.so"))
    assert finding.code is Code.ESCAPING_LINK
    # An outside file with the name of the prefix in front is not inside it.
    (tmp_path / "prefix-2").mkdir()
    shutil.copy(libfoo, tmp_path / "prefix-2" / "libother.so")
    link(prefix, "lib/libnear.so", "../../prefix-2/libother.so")
    (finding,) = errors(prefix, spec("lib/libfoo.so.1", "lib/libnear.so"))
    assert finding.code is Code.ESCAPING_LINK


def test_a_circle_of_links_is_left_out(prefix: Path) -> None:
    link(prefix, "lib/a.so", "b.so")
    link(prefix, "lib/b.so", "a.so")
    facts = scan(prefix, spec("lib/libfoo.so.1", "lib/libfoo.so", "lib/*.so"))
    assert [Path(finding.where).name for finding in facts.findings] == ["a.so", "b.so"]


def test_alternatives_are_followed_in_a_live_usr() -> None:
    tree = Tree.at(Path("/usr"))
    for name in ("awk", "cc", "pager", "editor", "which"):
        path = Path("/usr/bin") / name
        if path.is_symlink() and str(path.readlink()).startswith("/etc/alternatives/"):
            break
    else:
        lacking("a command of /usr/bin that is a link through /etc/alternatives")
    (match,) = tree.match(f"bin/{name}")
    assert match.real == os.path.realpath(path)
    assert not match.problem


def test_other_links_may_not_leave_a_live_usr() -> None:
    for path in sorted([*Path("/usr/lib").glob("*/*"), *Path("/usr/share").glob("*/*")]):
        if path.is_symlink() and str(path.readlink()).startswith("/etc/") and path.exists():
            real = Path(os.path.realpath(path))
            if not real.is_relative_to("/usr"):
                break
    else:
        lacking("a link from /usr into /etc")
    with pytest.raises(EscapingLinkError):
        Tree.at(Path("/usr")).resolve(str(path))
    # From the root directory nothing can leave.
    assert Tree.at(Path("/")).resolve(str(path)) == str(real)


# Headers


HEADERS = ("include/x86_64-linux-gnu/openblas-pthread/cblas.h", "include/x86_64-linux-gnu/openblas-pthread/sub/f77.h")


@pytest.mark.parametrize(
    ("rule", "files", "expected"),
    [
        (HeaderRule(glob="include/x86_64-linux-gnu/openblas-pthread/*.h"), HEADERS, ["cblas.h"]),
        (HeaderRule(glob="include/**/openblas-pthread/*.h"), HEADERS, ["cblas.h"]),
        (HeaderRule(glob="include/**/*.h"), HEADERS, ["cblas.h", "sub/f77.h"]),
        (HeaderRule(glob="include/**/*.h"), ("include/z.h", "include/a/b/c.h"), ["a/b/c.h", "z.h"]),
        (HeaderRule(glob="include/*/*.h", to="x/y"), ("include/a/b.h",), ["x/y/b.h"]),
        (HeaderRule(glob="include/**/*.h", to="foo"), ("include/z.h", "include/a/b.h"), ["foo/a/b.h", "foo/z.h"]),
        (HeaderRule(glob="*.h"), ("z.h", "a/z.h"), ["z.h"]),
    ],
)
def test_headers_are_found_by_their_name(
    prefix: Path, rule: HeaderRule, files: tuple[str, ...], expected: list[str]
) -> None:
    put(prefix, *files)
    headers = scan(prefix, spec(headers=(rule,))).headers
    assert [header.destination for header in headers] == expected
    assert all(Path(header.source).read_text() == f"{header.matched}\n" for header in headers)


def test_headers_that_would_become_one_file(prefix: Path) -> None:
    put(prefix, "include/a/x.h", "include/b/x.h")
    wanted = spec(headers=(HeaderRule(glob="include/a/*.h"), HeaderRule(glob="include/b/*.h")))
    (finding,) = errors(prefix, wanted)
    assert (finding.code, finding.where) == (Code.BAD_SPEC, "tool.nativelib.headers[1]")
    put(prefix, "include/a/x.h", "include/b/x.h", content="same")
    assert len(scan(prefix, wanted).headers) == 1


def test_header_destinations_are_per_file() -> None:
    found = header_destinations(["include/a/x.h", "include/b/y.h", "include/b/c/z.h"], None)
    assert found == {"include/a/x.h": "x.h", "include/b/y.h": "y.h", "include/b/c/z.h": "c/z.h"}


# Programs


def test_programs_are_elf_files_and_scripts(prefix: Path) -> None:
    program(prefix / "bin", "tool-1", "int main(void) { return 0; }")
    link(prefix, "bin/tool", "tool-1")
    put(prefix, "bin/script", content="#!/bin/sh\nexec tool\n")
    put(prefix, "bin/data", content="nothing to run")
    facts = scan(prefix, spec(programs=("bin/tool", "bin/script", "bin/d*")))
    assert [(p.name, p.elf is not None) for p in facts.programs] == [("script", False), ("tool", True)]
    assert facts.programs[1].source.endswith("/tool-1")
    assert [finding.code for finding in facts.findings] == [Code.SKIPPED_FILE]


def test_a_script_that_holds_the_prefix_is_refused(prefix: Path) -> None:
    put(prefix, "bin/config", content=f"#!/bin/sh\necho -L{prefix}/lib\n")
    put(prefix, "bin/fine", content=f"#!/bin/sh\necho {prefix}-other\n")
    found = errors(prefix, spec(programs=("bin/*",)))
    assert [(finding.code, Path(finding.where).name) for finding in found] == [(Code.NOT_RELOCATABLE, "config")]


def test_two_programs_with_one_name(prefix: Path) -> None:
    put(prefix, "bin/x", "sbin/x", content="#!/bin/sh\n")
    (finding,) = errors(prefix, spec(programs=("*bin/x",)))
    assert "bin/x and sbin/x" in finding.message


# Licences


def test_equal_names_of_licences_get_the_directory_in_front(prefix: Path) -> None:
    put(prefix, "share/doc/libfoo/copyright", "share/doc/gcc-base/copyright", "share/doc/libfoo/NOTICE")
    link(prefix, "share/doc/libgomp1", "gcc-base")
    facts = scan(prefix, spec(licenses=("share/doc/libgomp1/copyright", "share/doc/libfoo/*")))
    assert [licence.destination for licence in facts.licenses] == ["NOTICE", "libfoo/copyright", "libgomp1/copyright"]
    assert facts.licenses[2].source == str(prefix / "share/doc/gcc-base/copyright")


def test_a_licence_makes_room_for_that_of_the_project() -> None:
    found = license_destinations(["share/a/LICENSE", "share/b/COPYING"], ["LICENSE"])
    assert found == {"share/a/LICENSE": "a/LICENSE", "share/b/COPYING": "COPYING"}
    deep = license_destinations(["x/doc/COPYING", "y/doc/COPYING"], [])
    assert deep == {"x/doc/COPYING": "x/doc/COPYING", "y/doc/COPYING": "y/doc/COPYING"}


def test_no_licence_at_all_is_an_error(prefix: Path) -> None:
    (finding,) = errors(prefix, spec(), license_files=())
    assert finding.code is Code.NO_LICENCE
    assert scan_prefix(prefix, spec(), license_files=["LICENSE"]).licenses == ()


def test_licences_of_the_project_keep_their_paths(tmp_path: Path) -> None:
    put(tmp_path, "LICENSE", "third/COPYING")
    found = project_licenses(tmp_path, ["LICENSE", "third/COPYING"])
    assert [(licence.destination, Path(licence.source).name) for licence in found] == [
        ("LICENSE", "LICENSE"),
        ("third/COPYING", "COPYING"),
    ]
    with pytest.raises(ReadError, match="cannot be read"):
        project_licenses(tmp_path, ["gone"])


# Where the prefix is


def test_where_the_prefix_is(tmp_path: Path) -> None:
    assert find_prefix(tmp_path, spec(prefix="stage"), None) == tmp_path / "stage"
    assert find_prefix(tmp_path, spec(prefix="/usr"), None) == Path("/usr")
    assert find_prefix(tmp_path, spec(prefix="stage"), Path("here")) == Path("here")
    assert find_prefix(tmp_path, spec(build_script="b.sh"), None) is None
    with pytest.raises(SpecError, match="Nothing says"):
        find_prefix(tmp_path, spec(), None)


def test_the_prefix_of_pkg_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("pkg-config")
    put(tmp_path, "foo.pc", content="prefix=/opt/foo\nName: foo\nDescription: d\nVersion: 1\n")
    monkeypatch.setenv("PKG_CONFIG_PATH", str(tmp_path))
    assert find_prefix(tmp_path, spec(pkg_config="foo"), None) == Path("/opt/foo")


def test_two_scans_are_equal(prefix: Path) -> None:
    put(prefix, *(f"include/{name}.h" for name in "zyxabc"), "share/LICENSE")
    wanted = spec("lib/*", headers=(HeaderRule(glob="include/*"),), licenses=("share/*",), soname=SonameRule.KEEP)
    assert scan(prefix, wanted) == scan(prefix, wanted)
