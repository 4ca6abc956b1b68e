"""Every key of ``[tool.nativelib]`` and every option of ``nativelib build``, through the command, on real libraries."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension, shared_library, simple_module
from tests.support.prefixes import FOO, FOO_1, FOO_2, Prefix, dynamic, make_prefix, unpacked
from tests.support.projects import built, nativelib, project, repaired
from tests.support.toy import consumer, installed, package
from tests.support.venvs import clean_environment, fresh_venv, run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Sequence

FOO_LIBRARY = 'libraries = ["lib/libfoo.so.1"]\n'


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Prefix:
    return make_prefix(tmp_path_factory.mktemp("prefix"))


def wheel_of(prefix: Prefix, here: Path, tool: str, *options: str | Path, name: str = "foo-lib", **more: Any) -> Path:
    """Build the library wheel *name* in *here* and return it."""
    return built(project(here / name, name, tool, **more), "--prefix", prefix.root, *options, into=here / "dist")


def manifest(wheel: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dist_info(wheel, "nativelib.json"))
    return found


def dist_info(wheel: Path, name: str) -> bytes:
    return next(content for member, content in members(wheel).items() if member.endswith(f".dist-info/{name}"))


def requirements(wheel: Path) -> list[str]:
    return message_from_bytes(dist_info(wheel, "METADATA")).get_all("Requires-Dist", [])


def foo_consumer(here: Path, prefix: Prefix, expression: str = "foo_value()", *, library: Path | None = None) -> Path:
    """Return a consumer whose ``value()`` is *expression*, linked with libfoo or *library*."""
    source = simple_module("_ext", expression, "int foo_value(void), foo_old(void), foo_new(void);")
    built_extension = extension(here / "ext", "_ext", source, needed=[library or prefix.lib / "libfoo.so.1"])
    return consumer(here, "cons", package("cons", built_extension))


# Where the libraries come from.


def test_names_follow_the_distribution_unless_they_are_said(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY, name="Foo.Native-Lib")
    assert wheel.name.startswith("foo_native_lib-1.0-py3-none-manylinux")
    found = set(members(wheel))
    assert "Foo_Native_Lib/lib/libfoo-Foo_Native_Lib.so.1" in found
    assert "Foo_Native_Lib/lib/pkgconfig/Foo.Native-Lib.pc" in found
    assert manifest(wheel)["name"] == "foo-native-lib"
    wheel = wheel_of(prefix, tmp_path, 'import-name = "foo_native"\n' + FOO_LIBRARY)
    assert wheel.name.startswith("foo_lib-1.0-py3-none-")
    assert {name.split("/")[0] for name in members(wheel)} == {
        "foo_native",
        "foo_native_cmake",
        "foo_lib-1.0.dist-info",
    }
    assert "foo_native/lib/libfoo-foo_native.so.1" in members(wheel)


def test_prefix_of_the_spec_is_beside_the_project_and_the_option_beside_the_caller(
    prefix: Prefix, tmp_path: Path
) -> None:
    other = make_prefix(tmp_path / "caller" / "tree", foo=FOO.replace("42", "7"))
    shutil.copytree(prefix.root, tmp_path / "a" / "tree", symlinks=True)
    here = project(tmp_path / "a" / "project", "foo-lib", 'prefix = "../tree"\n' + FOO_LIBRARY)
    for number, (options, expected) in enumerate((([], prefix), (["--prefix", "tree"], other))):
        out = tmp_path / f"out{number}"
        answer = nativelib("build", here, *options, "-w", out, cwd=tmp_path / "caller")
        assert answer.code == 0, answer.stderr
        site = unpacked(Path(answer.document["wheel"]), out / "site")
        code = f"import ctypes; print(ctypes.CDLL('{site}/foo_lib/lib/libfoo-foo_lib.so.1').foo_value())"
        assert run_python(sys.executable, code).stdout.strip() == ("42" if expected is prefix else "7")


def test_prefix_of_pkg_config(prefix: Prefix, tmp_path: Path) -> None:
    here = project(tmp_path / "project", "foo-lib", 'pkg-config = "foo"\n' + FOO_LIBRARY)
    env = {"PKG_CONFIG_PATH": str(prefix.lib / "pkgconfig")}
    answer = nativelib("build", here, "-w", tmp_path, env=env)
    assert answer.code == 0, answer.stderr
    assert answer.document["libraries"] == [
        {"file": "foo_lib/lib/libfoo-foo_lib.so.1", "soname": "libfoo-foo_lib.so.1", "original_soname": "libfoo.so.1"}
    ]
    answer = nativelib("build", here, "-w", tmp_path, env={"PKG_CONFIG_PATH": str(tmp_path)})
    assert answer.code == 1
    assert "NL109" in next(iter(answer.errors().values()))


def test_nothing_says_where_the_libraries_are(tmp_path: Path) -> None:
    answer = nativelib("build", project(tmp_path / "p", "foo-lib", FOO_LIBRARY), "-w", tmp_path / "out")
    assert (answer.code, list(answer.errors())) == (1, ["tool.nativelib"])
    assert not (tmp_path / "out").exists()


SCRIPT = """#!/bin/sh -e
test -n "$NATIVELIB_JOBS" && test "$NATIVELIB_JOBS" -ge 1
test -z "$(ls -A "$NATIVELIB_PREFIX")"
test -f pyproject.toml
echo "this must not disturb the document"
mkdir -p "$NATIVELIB_PREFIX/lib"
echo 'int foo_value(void) { return 9; }' > "$NATIVELIB_PREFIX/foo.c"
gcc -shared -fPIC -Wl,-soname,libfoo.so.1 -o "$NATIVELIB_PREFIX/lib/libfoo.so.1" "$NATIVELIB_PREFIX/foo.c"
"""


def scripted(here: Path, script: str, *, version: str | None = None) -> Path:
    source = project(here / "p", "foo-lib", 'build-script = "make/build.sh"\n' + FOO_LIBRARY, version=version)
    (source / "make").mkdir(exist_ok=True)
    (source / "make" / "build.sh").write_text(script)
    return source


def test_build_script_fills_the_prefix_and_says_the_version(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    script = SCRIPT + 'echo 3.1.0 > "$NATIVELIB_PREFIX/.nativelib-version"\n'
    answer = nativelib("build", scripted(tmp_path, script), "-w", tmp_path / "out", env={"TMPDIR": str(temporary)})
    assert answer.code == 0, answer.stderr
    assert Path(answer.document["wheel"]).name.startswith("foo_lib-3.1.0-py3-none-")
    assert "this must not disturb" in answer.stderr
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "where", "said"),
    [
        (SCRIPT, "project.version", "NL701 The version is dynamic"),
        (
            f"{SCRIPT}echo 'x y' > $NATIVELIB_PREFIX/.nativelib-version",
            "project.version",
            "NL701 'x y' is not a version",
        ),
        ("#!/bin/sh\necho the compiler broke\nexit 3\n", "build.sh", "NL708 The build script ended with exit code 3"),
        ("#!/bin/sh\n", "build.sh", "NL708 The build script left its prefix, NATIVELIB_PREFIX, empty"),
        ("#!/no/such/shell\n", "build.sh", "NL708 The build script cannot be run"),
    ],
    ids=["no version", "bad version", "failure", "nothing built", "no interpreter"],
)
def test_build_script_that_does_not_do_its_work(tmp_path: Path, script: str, where: str, said: str) -> None:
    answer = nativelib("build", scripted(tmp_path, script), "-w", tmp_path / "out")
    assert (answer.code, answer.document["wheel"]) == (1, None)
    ((place, text),) = answer.errors().items()
    assert place.endswith(where)
    assert text.startswith(said)
    assert "the compiler broke" in text or "exit 3" not in script
    assert not (tmp_path / "out").exists()


# What is taken.


def test_links_lead_to_one_library_and_what_is_none_is_said(prefix: Prefix, tmp_path: Path) -> None:
    source = project(tmp_path / "p", "foo-lib", 'libraries = ["lib/libfoo*", "lib/*.so.1"]')
    answer = nativelib("build", source, "--prefix", prefix.root, "-w", tmp_path)
    assert [library["soname"] for library in answer.document["libraries"]] == ["libfoo-foo_lib.so.1"]
    notes = {Path(f["where"]).name: f["message"] for f in answer.findings if f["severity"] == "note"}
    assert "static = true" in notes["libfoo.a"]
    assert "libtool" in notes["libfoo.la"]
    names = [name for name in members(Path(answer.document["wheel"])) if "/lib/" in name]
    assert not [name for name in names if name.endswith((".la", ".a"))]


def test_two_files_with_one_soname(prefix: Prefix, tmp_path: Path) -> None:
    tree = make_prefix(tmp_path / "tree")
    shared_library(tree.lib / "threads", "libfoo.so.1", FOO, soname="libfoo.so.1")
    source = project(tmp_path / "p", "foo-lib", 'libraries = ["lib/**/libfoo.so*"]')
    answer = nativelib("build", source, "--prefix", tree.root, "-w", tmp_path / "out")
    assert answer.code == 1
    (text,) = answer.errors().values()
    assert text.startswith("NL703 ")
    assert "lib/libfoo.so.1" in text
    assert "lib/threads/libfoo.so.1" in text
    assert not (tmp_path / "out").exists()


def test_headers_are_found_from_the_include_directory(prefix: Prefix, tmp_path: Path) -> None:
    def headers(globs: str) -> list[str]:
        found = members(wheel_of(prefix, tmp_path, FOO_LIBRARY + f"headers = {globs}"))
        return sorted(name.removeprefix("foo_lib/include/") for name in found if name.startswith("foo_lib/include/"))

    assert headers('["include/foo/**/*.h"]') == ["foo.h", "sub/deep.h"]
    assert headers('["include/**/*.h"]') == ["bar.h", "foo/foo.h", "foo/sub/deep.h"]
    assert headers('[{ glob = "include/foo/*.h", to = "foo" }, { glob = "include/bar.h", to = "." }]') == [
        "bar.h",
        "foo/foo.h",
    ]


def test_licences_of_project_and_prefix(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY + 'licenses = ["share/doc/*/copyright"]')
    found = {name.split("/licenses/")[1]: content for name, content in members(wheel).items() if "/licenses/" in name}
    assert found == {
        "LICENSE": b"Permission is hereby granted.\n",
        "bar/copyright": b"licence of bar\n",
        "foo/copyright": b"licence of foo\n",
    }
    assert message_from_bytes(dist_info(wheel, "METADATA")).get_all("License-File") == sorted(found)


def test_no_licence(prefix: Prefix, tmp_path: Path) -> None:
    source = project(tmp_path / "p", "foo-lib", FOO_LIBRARY)
    text = (source / "pyproject.toml").read_text().replace('license-files = ["LICENSE"]', "")
    (source / "pyproject.toml").write_text(text)
    answer = nativelib("build", source, "--prefix", prefix.root, "-w", tmp_path / "out")
    assert answer.code == 1
    assert answer.errors()["tool.nativelib.licenses"].startswith("NL704 ")


def test_static_archives_on_request(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, 'libraries = ["lib/libfoo.so.1", "lib/libfoo.a"]\nstatic = true')
    assert members(wheel)["foo_lib/lib/libfoo.a"] == (prefix.lib / "libfoo.a").read_bytes()
    assert [library["soname"] for library in manifest(wheel)["libraries"]] == ["libfoo-foo_lib.so.1"]


# Sonames.


def test_libraries_of_one_wheel_are_renamed_together(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, 'libraries = ["lib/*.so*"]')
    lib = unpacked(wheel, tmp_path / "site") / "foo_lib" / "lib"
    assert dynamic(lib / "libbar-foo_lib.so.2").needed[0] == "libfoo-foo_lib.so.1"
    assert dynamic(lib / "libplain-foo_lib.so").soname == "libplain-foo_lib.so"
    for name in ("libbar-foo_lib.so.2", "libfoo-foo_lib.so.1", "libplain-foo_lib.so"):
        found = dynamic(lib / name)
        assert (found.soname, found.rpath, found.runpath) == (name, ["$ORIGIN"], [])
    code = "import ctypes, foo_lib as p; print(ctypes.CDLL(p.get_lib_dir() + '/libbar-foo_lib.so.2').bar_value())"
    assert run_python(installed(tmp_path / "venv", wheel), code).stdout == "43\n"
    original = {library["soname"]: library["original_soname"] for library in manifest(wheel)["libraries"]}
    assert original["libplain-foo_lib.so"] == "libplain.so"
    # libfoo.so.1 is needed by another library of the wheel, so it comes first.
    assert list(original).index("libfoo-foo_lib.so.1") < list(original).index("libbar-foo_lib.so.2")


@pytest.mark.parametrize(("spec", "singleton"), [('soname = "keep"', False), ("singleton = true", True)])
def test_sonames_that_stay(prefix: Prefix, tmp_path: Path, spec: str, *, singleton: bool) -> None:
    wheel = wheel_of(prefix, tmp_path, f'libraries = ["lib/libfoo.so.1", "lib/libbar.so.2"]\n{spec}')
    lib = unpacked(wheel, tmp_path / "site") / "foo_lib" / "lib"
    assert dynamic(lib / "libbar.so.2").needed[0] == "libfoo.so.1"
    assert dynamic(lib / "libfoo.so.1").soname == "libfoo.so.1"
    assert not (lib / "system").exists()
    assert manifest(wheel)["singleton"] is singleton
    result = repaired(foo_consumer(tmp_path, prefix), "--provided-by", wheel, into=tmp_path / "out")
    venv = installed(tmp_path / "venv", result, links=[tmp_path / "dist"])
    assert run_python(venv, "import cons; print(cons.value())").stdout == "42\n"
    assert dynamic(next(venv.site.glob("cons/_ext*"))).needed[0] == "libfoo.so.1"


def test_a_consumer_is_served_by_an_alias(prefix: Prefix, tmp_path: Path) -> None:
    old = shared_library(
        tmp_path / "old", "libfoo-old.so.1", FOO.replace("42", "-1"), soname="libfoo-old.so.1", version_script=FOO_1
    )
    linked = foo_consumer(tmp_path, prefix, library=old)
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY + 'alias = ["libfoo-old.so.1"]\ncompatible = ">={version}"')
    assert manifest(wheel)["libraries"][0]["aliases"] == ["libfoo-old.so.1"]
    answer = nativelib("repair", linked, "--provided-by", wheel, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stderr
    (result,) = answer.document["wheels"]
    assert result["provided"] == [{"soname": "libfoo-old.so.1", "provider": "foo-lib", "as": "libfoo-foo_lib.so.1"}]
    venv = installed(tmp_path / "venv", result["output"], links=[tmp_path / "dist"])
    assert run_python(venv, "import cons; print(cons.value())").stdout == "42\n"


def test_an_alias_of_several_libraries_is_that_of_the_same_stem(prefix: Prefix, tmp_path: Path) -> None:
    tool = 'libraries = ["lib/libfoo.so.1", "lib/libbar.so.2"]\nalias = ["libbar.so.1"]'
    wheel = wheel_of(prefix, tmp_path, tool)
    aliases = {library["original_soname"]: library["aliases"] for library in manifest(wheel)["libraries"]}
    assert aliases == {"libfoo.so.1": [], "libbar.so.2": ["libbar.so.1"]}


def test_an_alias_that_belongs_to_no_library(prefix: Prefix, tmp_path: Path) -> None:
    tool = 'libraries = ["lib/libfoo.so.1", "lib/libbar.so.2"]\nalias = ["libqux.so.1"]'
    source = project(tmp_path / "p", "foo-lib", tool)
    answer = nativelib("build", source, "--prefix", prefix.root, "-w", tmp_path / "out")
    assert answer.code == 1
    assert "libqux.so.1" in answer.errors()["tool.nativelib.alias"]


def test_a_kept_name_that_is_the_link_name(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, 'libraries = ["lib/libplain.so"]\nsoname = "keep"')
    lib = unpacked(wheel, tmp_path / "site") / "foo_lib" / "lib"
    assert dynamic(lib / "libplain.so").soname == "libplain.so"
    assert dynamic(lib / "nativelib_anchor.so").needed == ["libplain.so"]
    assert (
        run_python(installed(tmp_path / "venv", wheel), "import foo_lib; print(foo_lib.get_library())").stdout
        == "plain\n"
    )


def test_a_soname_that_no_linker_line_can_carry(tmp_path: Path) -> None:
    shared_library(tmp_path / "tree", "x.so.1", "int f(void) { return 1; }", soname="lib x;y.so.1")
    source = project(tmp_path / "p", "foo-lib", 'libraries = ["*.so.1"]')
    answer = nativelib("build", source, "--prefix", tmp_path / "tree", "-w", tmp_path / "out")
    assert answer.code == 1
    assert "is not a plain file name" in next(iter(answer.errors().values()))


def test_any_description_will_do(prefix: Prefix, tmp_path: Path) -> None:
    text = "C# for $5, 100% ${free} \\"
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY, extra=f"description = {json.dumps(text)}")
    assert message_from_bytes(dist_info(wheel, "METADATA"))["Summary"] == text
    assert b"Description: foo-lib, from a library wheel\n" in members(wheel)["foo_lib/lib/pkgconfig/foo-lib.pc"]


# Programs.


def test_programs_run_together_and_apart(prefix: Prefix, tmp_path: Path) -> None:
    foo = wheel_of(prefix, tmp_path, FOO_LIBRARY)
    tool = 'libraries = ["lib/libbar.so.2"]\nprograms = ["bin/*"]\nprovided-by = ["foo-lib"]'
    bar = wheel_of(prefix, tmp_path, tool, "--provided-by", foo, name="bar-lib")
    venv = installed(tmp_path / "venv", bar, links=[tmp_path / "dist"])
    done = subprocess.run([venv.bin / "bar-tool", "a b", "$x"], capture_output=True, text=True, env={}, check=False)
    assert (done.stdout, done.returncode) == ("43 [a b] [$x]\n", 2)
    done = subprocess.run(
        [venv.bin / "foo-script", "y"], capture_output=True, text=True, check=True, env=clean_environment()
    )
    assert done.stdout == "script y\n"
    program = venv.site / "bar_lib" / "bin" / "bar-tool"
    assert os.access(program, os.X_OK)
    assert dynamic(program).rpath == ["$ORIGIN/../lib"]
    # Without the console script too: the libraries lie side by side.
    assert subprocess.run([program], capture_output=True, text=True, env={}, check=False).stdout == "43\n"
    sites = [unpacked(wheel, tmp_path / wheel.name.partition("-")[0]) for wheel in (foo, bar)]
    alone = subprocess.run(
        [sites[1] / "bar_lib" / "bin" / "bar-tool"], capture_output=True, text=True, env={}, check=False
    )
    assert "libfoo-foo_lib.so.1" in alone.stderr
    code = "import sys; sys.argv[1:] = ['z']; from bar_lib._programs import run_bar_tool; run_bar_tool()"
    env = {"PYTHONPATH": os.pathsep.join(map(str, sites))}
    apart = run_python(sys.executable, code, env=env, flags=("-B",), check=False)
    assert (apart.stdout, apart.returncode) == ("43 [z]\n", 1)


def test_programs_whose_names_differ_in_a_sign_only(tmp_path: Path) -> None:
    tree = make_prefix(tmp_path / "tree")
    for name in ("do-it", "do_it", "do.it", "g++"):
        (tree.root / "bin" / name).write_text(f"#!/bin/sh\necho {name}\n")
    wheel = wheel_of(tree, tmp_path, FOO_LIBRARY + 'programs = ["bin/do*it", "bin/g++"]')
    venv = installed(tmp_path / "venv", wheel)
    for name in ("do-it", "do_it", "do.it", "g++"):
        argv = [venv.bin / name]
        assert (
            subprocess.run(argv, capture_output=True, text=True, env=clean_environment(), check=True).stdout
            == f"{name}\n"
        )


def test_programs_that_installers_would_refuse(tmp_path: Path) -> None:
    tree = make_prefix(tmp_path / "tree")
    for name in ("a=b", "[", "with space", "-x"):
        (tree.root / "bin" / name).write_text("#!/bin/sh\n")
    source = project(tmp_path / "p", "foo-lib", FOO_LIBRARY + 'programs = ["bin/*"]')
    answer = nativelib("build", source, "--prefix", tree.root, "-w", tmp_path / "out")
    assert answer.code == 1
    messages = [finding["message"] for finding in answer.findings if finding["severity"] == "error"]
    assert len(messages) == 4
    assert all("console script" in message for message in messages)


def test_what_only_a_program_needs_is_private(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, 'libraries = ["lib/libplain.so"]\nprograms = ["bin/bar-tool"]', name="tool-lib")
    assert sorted(item["original_soname"] for item in manifest(wheel)["private"]) == ["libbar.so.2", "libfoo.so.1"]
    venv = installed(tmp_path / "venv", wheel)
    done = subprocess.run([venv.bin / "bar-tool"], capture_output=True, text=True, env={}, check=True)
    assert done.stdout == "43\n"


# Other library wheels.


def test_provided_by_a_wheel_file_beside_the_project(prefix: Prefix, tmp_path: Path) -> None:
    foo = wheel_of(prefix, tmp_path, FOO_LIBRARY)
    tool = f'libraries = ["lib/libbar.so.2"]\nprovided-by = ["../dist/{foo.name}"]'
    bar = wheel_of(prefix, tmp_path, tool, name="bar-lib")
    assert requirements(bar) == ['foo-lib==1.0; sys_platform == "linux"']
    (needed,) = manifest(bar)["requires"]
    assert needed == {
        "name": "foo-lib",
        "import_name": "foo_lib",
        "requirement": 'foo-lib==1.0; sys_platform == "linux"',
        "sonames": ["libfoo-foo_lib.so.1"],
    }
    lib = unpacked(bar, tmp_path / "site") / "bar_lib" / "lib"
    assert dynamic(lib / "libbar-bar_lib.so.2").needed[0] == "libfoo-foo_lib.so.1"
    assert dynamic(lib / "libbar-bar_lib.so.2").rpath == ["$ORIGIN", "$ORIGIN/../../foo_lib/lib"]
    pc = (lib / "pkgconfig" / "bar-lib.pc").read_text()
    assert "Requires: foo-lib\n" in pc


def test_provided_by_an_installed_distribution(prefix: Prefix, tmp_path: Path) -> None:
    foo = wheel_of(prefix, tmp_path, FOO_LIBRARY, version="1.4")
    venv = installed(tmp_path / "venv", foo)
    source = project(tmp_path / "bar", "bar-lib", 'libraries = ["lib/libbar.so.2"]\nprovided-by = ["foo-lib>=1,<3"]')
    answer = nativelib("build", source, "--prefix", prefix.root, "--python", venv.python, "-w", tmp_path)
    assert answer.code == 0, answer.stderr
    assert answer.document["requires"] == ['foo-lib<3,>=1; sys_platform == "linux"']
    answer = nativelib("build", source, "--prefix", prefix.root, "-w", tmp_path / "no")
    assert answer.code == 1
    assert "foo-lib is not installed" in next(iter(answer.errors().values()))


def test_provided_by_the_option_alone(prefix: Prefix, tmp_path: Path) -> None:
    foo = wheel_of(prefix, tmp_path, FOO_LIBRARY)
    bar = wheel_of(prefix, tmp_path, 'libraries = ["lib/libbar.so.2"]', "--provided-by", foo, name="bar-lib")
    assert requirements(bar) == ['foo-lib==1.0; sys_platform == "linux"']
    assert manifest(bar)["private"] == []


def test_the_same_provider_for_two_sonames(prefix: Prefix, tmp_path: Path) -> None:
    both = wheel_of(prefix, tmp_path, 'libraries = ["lib/libfoo.so.1", "lib/libplain.so"]', name="both-lib")
    source = "int foo_value(void), plain_value(void); int top_value(void) { return foo_value() + plain_value(); }"
    tree = tmp_path / "top_tree" / "lib"
    shared_library(tree, "libtop.so.1", source, soname="libtop.so.1", needed=[prefix.lib / "libfoo.so.1"])
    # As a linker would that was given -l:libplain.so
    libraries = [prefix.lib / "libfoo.so.1"]
    flags = [f"-L{prefix.lib}", "-Wl,--no-as-needed", "-lplain"]
    shared_library(tree, "libtop.so.1", source, soname="libtop.so.1", needed=libraries, flags=flags)
    options = [word for name in ("libfoo.so.1", "libplain.so") for word in ("--provided-by", f"{name}={both}")]
    top = built(
        project(tmp_path / "top", "top-lib", 'libraries = ["lib/libtop.so.1"]'),
        "--prefix",
        tree.parent,
        *options,
        into=tmp_path / "out",
    )
    lib = unpacked(top, tmp_path / "site") / "top_lib" / "lib"
    assert set(dynamic(lib / "libtop-top_lib.so.1").needed) >= {"libfoo-both_lib.so.1", "libplain-both_lib.so"}


def test_providers_that_are_none(prefix: Prefix, tmp_path: Path) -> None:
    foo = wheel_of(prefix, tmp_path, FOO_LIBRARY)
    plain = wheel_of(prefix, tmp_path, 'libraries = ["lib/libplain.so"]', name="plain-lib")
    foreign = make_wheel(
        tmp_path,
        "foreign-1.0-py3-none-any.whl",
        {"foreign/__init__.py": "", "foreign/libfoo.so.1": prefix.lib / "libfoo.so.1"},
    )
    source = project(tmp_path / "p", "bar-lib", 'libraries = ["lib/libbar.so.2"]')
    cases: list[tuple[list[str | Path], str, str]] = [
        (["--provided-by", foreign], "NL107", "was not built by nativelib"),
        (["--provided-by", foo, "--provided-by", plain], "NL202", "libplain.so"),
        (["--provided-by", tmp_path / "gone.whl"], "NL101", "gone.whl"),
    ]
    for options, code, said in cases:
        answer = nativelib("build", source, "--prefix", prefix.root, *options, "-w", tmp_path / "out")
        assert answer.code == 1
        ((where, text),) = answer.errors().items()
        assert text.startswith(code)
        assert said in text or said in where
    assert not (tmp_path / "out").exists()


def test_what_nobody_provides_is_private(prefix: Prefix, tmp_path: Path) -> None:
    source = prefix.lib / "libfoo.so.1.2"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    wheel = wheel_of(prefix, tmp_path, 'libraries = ["lib/libbar.so.2"]', name="bar-lib")
    private = f"bar_lib/lib/libfoo-{digest[:8]}.so.1"
    content = members(wheel)[private]
    assert manifest(wheel)["private"] == [
        {
            "file": private,
            "soname": f"libfoo-{digest[:8]}.so.1",
            "original_soname": "libfoo.so.1",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    ]
    bom = json.loads(dist_info(wheel, "sboms/nativelib.cdx.json"))
    component = next(item for item in bom["components"] if item["name"] == "libfoo.so.1")
    assert component["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert "version" not in component  # the wheel's version says nothing about somebody else's library
    assert f"foo-{digest[:8]}" not in members(wheel)["bar_lib/lib/pkgconfig/bar-lib.pc"].decode()
    venv = installed(tmp_path / "venv", wheel)
    code = "import ctypes, bar_lib as p; print(ctypes.CDLL(p.get_lib_dir() + '/' + p.get_library(True)).bar_value())"
    assert run_python(venv, code).stdout == "43\n"
    answer = nativelib("repair", foo_consumer(tmp_path, prefix), "--provided-by", wheel, "-w", tmp_path / "out")
    assert answer.code == 1
    assert any(text.startswith("NL202") for text in answer.errors().values())


def test_grafts_come_from_the_search_path_or_are_refused(prefix: Prefix, tmp_path: Path) -> None:
    tree = tmp_path / "tree" / "lib"
    tree.mkdir(parents=True)
    shutil.copy(prefix.lib / "libbar.so.2", tree)
    source = project(tmp_path / "p", "bar-lib", 'libraries = ["lib/libbar.so.2"]')
    build: list[str | Path] = ["build", source, "--prefix", tree.parent, "-w", tmp_path / "out"]
    answer = nativelib(*build)
    assert answer.code == 1
    text = next(iter(answer.errors().values()))
    assert text.startswith("NL201 ")
    assert "libfoo.so.1" in text
    assert str(tree) in text
    answer = nativelib(*build, "--no-graft", "--ldpaths", prefix.lib)
    assert answer.code == 1
    assert next(iter(answer.errors().values())).startswith("NL209 ")
    for found in (
        nativelib(*build, "--ldpaths", prefix.lib),
        nativelib(*build, env={"LD_LIBRARY_PATH": str(prefix.lib)}),
        nativelib(*build, env={"NATIVELIB_LD_LIBRARY_PATH": str(prefix.lib)}),
    ):
        assert found.code == 0, found.stderr
        assert [re.sub("-.{8}", "-*", name) for name in found.document["private"]] == ["bar_lib/lib/libfoo-*.so.1"]
    answer = nativelib(*build, "--exclude", "libfoo.so.*")
    assert answer.code == 0, answer.stderr
    assert answer.document["private"] == []
    lib = unpacked(Path(answer.document["wheel"]), tmp_path / "site") / "bar_lib" / "lib"
    assert "libfoo.so.1" in dynamic(lib / "libbar-bar_lib.so.2").needed


# What consumers inherit.


@pytest.mark.parametrize(
    ("tool", "required"),
    [
        ("", "foo-lib==1.2.3"),
        ('compatible = ">={version},<2"', "foo-lib<2,>=1.2.3"),
        ('compatible = ">=1,!=1.3,<=4"', "foo-lib!=1.3,<=4,>=1.2.3"),
        ('compatible = "~=1.2"', "foo-lib~=1.2"),
        ('compatible = "=={version}"', "foo-lib==1.2.3"),
    ],
)
def test_consumers_inherit_the_declared_compatibility(prefix: Prefix, tmp_path: Path, tool: str, required: str) -> None:
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY + tool, version="1.2.3+local")
    result = repaired(foo_consumer(tmp_path, prefix), "--provided-by", wheel, into=tmp_path / "out")
    assert requirements(result) == [f'{required}; sys_platform == "linux"']
    site = unpacked(wheel, tmp_path / "site")
    code = "import foo_lib as p; print(p.get_requirement(), p.__version_info__)"
    assert (
        run_python(sys.executable, code, env={"PYTHONPATH": str(site)}, flags=("-B",)).stdout
        == f'{required}; sys_platform == "linux" (1, 2, 3)\n'
    )


def test_abi_facts(prefix: Prefix, tmp_path: Path) -> None:
    tool = FOO_LIBRARY + '[tool.nativelib.abi]\nblas-int = "64"\nflavour = "plain"'
    wheel = wheel_of(prefix, tmp_path, tool)
    assert manifest(wheel)["abi"] == {"blas-int": "64", "flavour": "plain"}
    linked = foo_consumer(tmp_path, prefix)
    for wanted, code, errors in (("blas-int=64", 0, []), ("flavour=plain", 0, []), ("blas-int=32", 1, ["NL303"])):
        options: list[str | Path] = ["--provided-by", wheel, "--require-abi", wanted, "-w", tmp_path / "out"]
        answer = nativelib("repair", linked, *options)
        assert (answer.code, [text[:5] for text in answer.errors().values()]) == (code, errors)


def test_names_for_pkg_config_and_cmake(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY + 'pkg-config-names = ["foo", "foo-1"]\ncmake-name = "Foo"')
    names = {name.removeprefix("foo_lib/lib/") for name in members(wheel)}
    assert {"pkgconfig/foo.pc", "pkgconfig/foo-1.pc", "cmake/Foo/FooConfig.cmake"} <= names
    assert not [name for name in names if name.endswith("foo-lib.pc")]
    assert "foo_lib_cmake/lib/cmake/Foo/FooConfigVersion.cmake" in members(wheel)
    assert (manifest(wheel)["pkg_config_names"], manifest(wheel)["cmake_name"]) == (["foo", "foo-1"], "Foo")
    # Those who need it find it under these names.
    bar = wheel_of(prefix, tmp_path, 'libraries = ["lib/libbar.so.2"]', "--provided-by", wheel, name="bar-lib")
    assert b"Requires: foo\n" in members(bar)["bar_lib/lib/pkgconfig/bar-lib.pc"]
    assert b'find_dependency("Foo" CONFIG HINTS ' in members(bar)["bar_lib/lib/cmake/bar-lib/bar-libConfig.cmake"]


# History.


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory, prefix: Prefix) -> dict[str, Path]:
    """Releases of foo-lib: 2.0 has a further symbol, 3.0 has a library less, 4.0 has it again."""
    here = tmp_path_factory.mktemp("releases")
    newer = make_prefix(here / "newer", foo=FOO + "int foo_new(void) { return 2; }", version_script=FOO_2)
    found: dict[str, Path] = {}
    both = '"lib/libfoo.so.1", "lib/libplain.so"'
    for version, tree, names in (
        ("1.0", prefix, both),
        ("2.0", newer, both),
        ("3.0", newer, '"lib/libfoo.so.1"'),
        ("4.0", newer, both),
    ):
        since: Sequence[str | Path] = ["--since", list(found.values())[-1]] if found else []
        found[version] = wheel_of(tree, here, f"libraries = [{names}]", *since, version=version)
    return found


def test_symbols_keep_their_first_release(releases: dict[str, Path]) -> None:
    versions = {version: manifest(wheel)["exports"] for version, wheel in releases.items()}
    foo, plain = "libfoo-foo_lib.so.1", "libplain-foo_lib.so"
    assert versions["1.0"][foo] == {"foo_old@FOO_1.0": "1.0", "foo_value@FOO_1.0": "1.0"}
    assert versions["2.0"][foo] == {"foo_new@FOO_2.0": "2.0", "foo_old@FOO_1.0": "1.0", "foo_value@FOO_1.0": "1.0"}
    assert versions["4.0"][foo] == versions["2.0"][foo]
    assert versions["2.0"][plain] == {"plain_value": "1.0"}
    assert plain not in versions["3.0"]
    assert versions["4.0"][plain] == {"plain_value": "4.0"}


@pytest.mark.parametrize(
    ("expression", "lower"), [("foo_value()", "1.0"), ("foo_value() + foo_new()", "2.0"), ("foo_old()", "1.0")]
)
def test_consumers_need_the_release_that_first_had_their_symbols(
    releases: dict[str, Path], tmp_path: Path, expression: str, lower: str
) -> None:
    newer = Prefix(root=releases["2.0"].parent.parent / "newer")
    linked = foo_consumer(tmp_path, newer, expression)
    result = repaired(linked, "--provided-by", releases["4.0"], into=tmp_path / "out")
    assert requirements(result) == [f'foo-lib>={lower}; sys_platform == "linux"']


def test_history_from_a_manifest_and_refused_from_others(
    releases: dict[str, Path], prefix: Prefix, tmp_path: Path
) -> None:
    saved = tmp_path / "nativelib.json"
    saved.write_bytes(dist_info(releases["1.0"], "nativelib.json"))
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY, "--since", saved, version="9")
    assert set(manifest(wheel)["exports"]["libfoo-foo_lib.so.1"].values()) == {"1.0"}
    other = wheel_of(prefix, tmp_path, FOO_LIBRARY, name="other-lib")
    plain = make_wheel(tmp_path, "foo_lib-0.1-py3-none-any.whl", {"foo_lib/__init__.py": ""})
    (tmp_path / "list.json").write_text("[1, 2]")
    source = project(tmp_path / "p", "foo-lib", FOO_LIBRARY)
    for since, said in (
        (other, "is the manifest of other-lib"),
        (plain, "it was not built by nativelib"),
        (tmp_path / "gone.json", "cannot be read"),
        (tmp_path / "list.json", "manifest"),
        (tmp_path / "gone.whl", "gone.whl"),
        (releases["2.0"], "It is release 2.0, and 1.0, which is being built, is earlier"),
    ):
        answer = nativelib("build", source, "--prefix", prefix.root, "--since", since, "-w", tmp_path / "out")
        assert answer.code == 1
        ((where, text),) = answer.errors().items()
        assert said in f"{where} {text}"


# Errors and output.


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    tool = """
import-name = "a b"
library = []
prefix = 3
pkg-config = "foo"
build-script = "../b.sh"
headers = [{ to = "x" }]
programs = ["/bin/x"]
licenses = ["../LICENSE"]
soname = "other"
alias = ["a/b"]
provided-by = ["not a name"]
compatible = "about 2"
pkg-config-names = ["a/b"]
cmake-name = "a b"
static = "yes"
[tool.nativelib.abi]
blas-int = "48"
"""
    source = project(tmp_path / "p", "foo-lib", tool, version="one", extra='nmae = "x"')
    answer = nativelib("build", source, "-w", tmp_path / "out")
    assert answer.code == 1
    assert answer.stdout.count('"where"') == len(answer.findings)
    keys = {f["where"].removeprefix("tool.nativelib.") for f in answer.findings}
    assert keys >= {
        *("import-name", "library", "libraries", "prefix", "build-script", "headers[0].glob", "programs[0]"),
        *("licenses[0]", "soname", "alias[0]", "provided-by[0]", "compatible", "pkg-config-names[0]", "cmake-name"),
        *("static", "abi.blas-int", "project.version", "project.nmae"),
    }
    assert {f["code"] for f in answer.findings} == {"NL701"}
    assert not (tmp_path / "out").exists()


def test_all_that_is_missing_in_the_prefix_is_told_at_once(prefix: Prefix, tmp_path: Path) -> None:
    tool = (
        'libraries = ["lib/libgone.so.1"]\nheaders = ["include/gone.h"]\nprograms = ["bin/gone"]\nlicenses = ["gone"]'
    )
    source = project(tmp_path / "p", "foo-lib", tool)
    answer = nativelib("build", source, "--prefix", prefix.root, "-w", tmp_path / "out")
    assert answer.code == 1
    keys = ("libraries", "headers[0]", "programs[0]", "licenses[0]")
    assert set(answer.errors()) == {f"tool.nativelib.{key}" for key in keys}
    answer = nativelib("build", source, "--prefix", tmp_path / "gone", "-w", tmp_path / "out")
    assert answer.errors()[str(tmp_path / "gone")].startswith("NL101 ")


def test_dry_run_writes_nothing_and_the_plan_can_be_saved(prefix: Prefix, tmp_path: Path) -> None:
    source = project(tmp_path / "p", "foo-lib", FOO_LIBRARY)
    plan = tmp_path / "plan.json"
    build: list[str | Path] = ["build", source, "--prefix", prefix.root, "-w", tmp_path / "out"]
    answer = nativelib(*build, "--dry-run", "--plan-out", plan)
    assert answer.code == 0, answer.stderr
    assert answer.document["wheel"] is None
    assert not (tmp_path / "out").exists()
    assert json.loads(plan.read_text()) == answer.document["plan"]
    done = nativelib(*build)
    assert done.document["libraries"] == answer.document["libraries"]
    assert done.document["tags"] == answer.document["tags"]
    assert Path(done.document["wheel"]).name == answer.document["plan"]["output"]
    planned = {action["member"] for action in answer.document["plan"]["actions"]}
    assert planned == {name for name in members(Path(done.document["wheel"])) if not name.endswith("/RECORD")}


def test_where_the_wheel_goes(prefix: Prefix, tmp_path: Path) -> None:
    source = project(tmp_path / "p", "foo-lib", FOO_LIBRARY)
    (tmp_path / "cwd").mkdir()
    answer = nativelib("build", "../p", "--prefix", prefix.root, cwd=tmp_path / "cwd")
    wheel = Path(answer.document["wheel"])
    assert wheel.parent == tmp_path / "cwd" / "dist"
    answer = nativelib("build", "--prefix", prefix.root, "-w", "new/deep", cwd=source)
    assert Path(answer.document["wheel"]).parent == source / "new" / "deep"
    assert Path(answer.document["wheel"]).read_bytes() == wheel.read_bytes()
    # Building again into the same directory replaces the wheel.
    wheel.write_bytes(b"old")
    assert nativelib("build", "../p", "--prefix", prefix.root, cwd=tmp_path / "cwd").code == 0
    assert wheel.read_bytes() != b"old"
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]
    (tmp_path / "file").write_text("")
    assert nativelib("build", source, "--prefix", prefix.root, "-w", tmp_path / "file").code == 2


def test_same_bytes_whatever_the_umask_the_zone_and_the_directory(prefix: Prefix, tmp_path: Path) -> None:
    source = project(
        tmp_path / "p", "foo-lib", 'libraries = ["lib/*.so*"]\nheaders = ["include/**/*.h"]\nprograms = ["bin/*"]'
    )

    def digest(number: int, umask: int, tree: Path, **env: str) -> str:
        out = tmp_path / f"out{number}"
        words = [sys.executable, "-m", "nativelib", "build", str(source), "--prefix", str(tree), "-w", str(out), "-q"]
        cwd = tmp_path / f"cwd{number}"
        cwd.mkdir()
        subprocess.run(words, check=True, umask=umask, cwd=cwd, env={**clean_environment(), **env})
        (wheel,) = out.iterdir()
        return hashlib.sha256(wheel.read_bytes()).hexdigest()

    first = digest(0, 0o022, prefix.root, TZ="UTC", LC_ALL="C")
    assert digest(1, 0o077, prefix.root, TZ="Asia/Kathmandu", LC_ALL="C.UTF-8", PYTHONHASHSEED="7") == first
    moved = tmp_path / "moved"
    shutil.copytree(prefix.root, moved, symlinks=True)
    for path in moved.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (1, 1))
    assert digest(2, 0o002, moved, COLUMNS="20", NO_COLOR="1") == first
    assert digest(3, 0o022, prefix.root, SOURCE_DATE_EPOCH="1700000000") != first


def test_a_library_that_the_host_has_is_not_named_in_the_spec(prefix: Prefix, tmp_path: Path) -> None:
    """Libraries that every platform tag allows are neither copied nor asked for."""
    tree = tmp_path / "tree" / "lib"
    source = "#include <math.h>\ndouble m_value(double x) { return cos(x); }"
    shared_library(tree, "libm_user.so.1", source, soname="libm_user.so.1", flags=["-Wl,--no-as-needed", "-lm", "-ldl"])
    wheel = built(
        project(tmp_path / "p", "m-lib", 'libraries = ["lib/*.so.1"]'), "--prefix", tree.parent, into=tmp_path / "dist"
    )
    assert manifest(wheel)["private"] == []
    assert "libm.so.6" in manifest(wheel)["libraries"][0]["needed"]
    assert run_python(installed(tmp_path / "venv", wheel), "import m_lib").returncode == 0


def test_platform_tag_that_is_asked_for(prefix: Prefix, tmp_path: Path) -> None:
    source = project(tmp_path / "p", "foo-lib", FOO_LIBRARY)
    build: list[str | Path] = ["build", source, "--prefix", prefix.root, "-w", tmp_path / "out"]
    machine = os.uname().machine
    answer = nativelib(*build, "--plat", f"manylinux_2_28_{machine}")
    assert answer.code == 0, answer.stderr
    assert f"manylinux_2_28_{machine}" in answer.document["tags"]
    answer = nativelib(*build, "--plat", "manylinux_2_28_s390x")
    assert answer.code == 1
    assert next(iter(answer.errors().values())).startswith("NL205 ")


def test_fresh_environments_need_nothing_but_the_wheel(prefix: Prefix, tmp_path: Path) -> None:
    wheel = wheel_of(prefix, tmp_path, FOO_LIBRARY)
    venv = fresh_venv(tmp_path / "venv")
    venv.pip_install(wheel)
    code = "import foo_lib, sys; print(foo_lib.loaded(), 'nativelib' in sys.modules)"
    path = venv.site / "foo_lib" / "lib" / "libfoo-foo_lib.so.1"
    assert run_python(venv, code).stdout == f"{{'libfoo-foo_lib.so.1': '{path}'}} False\n"
