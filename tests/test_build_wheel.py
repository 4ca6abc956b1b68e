"""The library wheel, file by file: what installers, linkers, build systems and importers find in it."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.metadata import Metadata
from packaging.tags import parse_tag
from packaging.utils import parse_wheel_filename

from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.nohost import mapped_files
from tests.support.prefixes import Dynamic, Prefix, dynamic, make_prefix, unpacked
from tests.support.projects import built, nativelib, project
from tests.support.tools import require
from tests.support.toy import consumer, installed, package
from tests.support.venvs import Environment, clean_environment, run_python
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Mapping

FOO = "libfoo-foo_lib.so.1"
BAR = "libbar-bar_lib.so.2"
PROGRAM = "#include <foo.h>\n#include <bar.h>\nint main(void) { return bar_value() - foo_value() - DEEP; }\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """Two library wheels, of which the second needs the first, installed together."""

    prefix: Prefix
    foo: Path
    bar: Path
    dist: Path
    venv: Environment

    @property
    def foo_lib(self) -> Path:
        """Directory of libfoo."""
        return self.venv.site / "foo_lib" / "lib"

    @property
    def bar_lib(self) -> Path:
        """Directory of libbar."""
        return self.venv.site / "bar_lib" / "lib"

    @property
    def search(self) -> dict[str, str]:
        """What a program needs that was linked with both and has no run path."""
        return {"LD_LIBRARY_PATH": f"{self.foo_lib}:{self.bar_lib}"}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    here = tmp_path_factory.mktemp("wheels")
    prefix = make_prefix(here / "prefix")
    common = {"extra": 'description = "Foo, for others"\nrequires-python = ">=3.8"', "version": "1.2.3"}
    tool = """
libraries = ["lib/libfoo.so.1"]
headers = ["include/foo/**/*.h"]
licenses = ["share/doc/foo/copyright"]
pkg-config-names = ["foo"]
cmake-name = "Foo"
compatible = ">={version},<2"
"""
    foo = built(project(here / "foo", "foo-lib", tool, **common), "--prefix", prefix.root, into=here / "dist")
    tool = """
libraries = ["lib/libbar.so.2", "lib/libplain.so"]
headers = ["include/bar.h"]
programs = ["bin/bar-tool"]
provided-by = ["foo-lib"]
"""
    source = project(here / "bar", "bar-lib", tool, **common)
    bar = built(source, "--prefix", prefix.root, "--provided-by", foo, into=here / "dist")
    venv = installed(here / "venv", bar, links=[here / "dist"])
    return Wheels(prefix=prefix, foo=foo, bar=bar, dist=here / "dist", venv=venv)


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    argv = [str(word) for word in command]
    done = subprocess.run(argv, env=clean_environment(env), cwd=cwd or "/", capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def texts(wheel: Path) -> dict[str, bytes]:
    return {name: content for name, content in members(wheel).items() if not content.startswith(b"\x7fELF")}


def test_members_of_a_wheel_with_everything(wheels: Wheels) -> None:
    lib = ["libbar-bar_lib.so.2", "libbar.so", "libplain-bar_lib.so", "libplain.so", "nativelib_anchor.so"]
    cmake = [f"cmake/bar-lib/bar-lib{kind}.cmake" for kind in ("Config", "ConfigVersion")]
    system = [f"system/{name}" for name in lib if name not in {"libbar.so", "libplain.so"}]
    modules = ["__init__.py", "__main__.py", "_programs.py", "_why.py", "_distributor_init.txt", "py.typed"]
    build = [f"lib/{name}" for name in (*lib, *cmake, *system, "pkgconfig/bar-lib.pc")]
    info = ["METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "nativelib.json"]
    expected = {
        *(f"bar_lib/{name}" for name in (*modules, *build, "bin/bar-tool", "include/bar.h")),
        *(f"bar_lib_cmake/{name}" for name in ("__init__.py", *(f"lib/{name}" for name in cmake))),
        *(f"bar_lib-1.2.3.dist-info/{name}" for name in (*info, "sboms/nativelib.cdx.json")),
    }
    assert set(members(wheels.bar)) == expected


def test_file_names_are_the_sonames(wheels: Wheels) -> None:
    for lib in (wheels.foo_lib, wheels.bar_lib, wheels.foo_lib / "system", wheels.bar_lib / "system"):
        for path in lib.glob("*.so*"):
            if path.name != "nativelib_anchor.so" and path.read_bytes().startswith(b"\x7fELF"):
                assert dynamic(path).soname == path.name


def test_run_paths_stay_inside_the_installation(wheels: Wheels) -> None:
    assert dynamic(wheels.foo_lib / FOO).rpath == ["$ORIGIN"]
    assert dynamic(wheels.bar_lib / BAR).rpath == ["$ORIGIN", "$ORIGIN/../../foo_lib/lib"]
    assert dynamic(wheels.bar_lib / "libplain-bar_lib.so").rpath == ["$ORIGIN"]
    # What libbar needs is found by the run path of libbar.
    assert dynamic(wheels.venv.site / "bar_lib" / "bin" / "bar-tool").rpath == ["$ORIGIN/../lib"]
    elf = [path for path in wheels.venv.site.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    assert len(elf) == 11
    assert not [path for path in elf if dynamic(path).runpath]


def test_anchor_needs_every_library_and_holds_no_code(wheels: Wheels) -> None:
    anchor = wheels.bar_lib / "nativelib_anchor.so"
    assert dynamic(anchor) == Dynamic(
        soname="nativelib-anchor-bar-lib-1.2.3",
        needed=["libbar-bar_lib.so.2", "libplain-bar_lib.so"],
        rpath=["$ORIGIN"],
        runpath=[],
    )
    assert anchor.stat().st_size < 2048
    headers = run(require("readelf"), "-lW", anchor)
    assert "GNU_STACK" in headers
    assert not re.search(r"LOAD.*E\s+0x", headers)


def test_stubs_lead_from_the_unique_to_the_original_soname(wheels: Wheels) -> None:
    system = wheels.bar_lib / "system"
    assert dynamic(system / BAR) == Dynamic(soname=BAR, needed=["libbar.so.2"], rpath=[], runpath=[])
    assert set(dynamic(system / "nativelib_anchor.so").needed) == {BAR, "libplain-bar_lib.so"}


def test_nothing_names_the_place_where_it_was_built(wheels: Wheels) -> None:
    places = [str(path).encode() for path in (wheels.prefix.root, wheels.dist.parent)]
    found = [
        (wheel.name, name)
        for wheel in (wheels.foo, wheels.bar)
        for name, content in members(wheel).items()
        if any(place in content for place in places)
    ]
    assert found == []


# Installers.


def test_metadata_is_valid(wheels: Wheels) -> None:
    content = {name.partition(".dist-info/")[2]: text for name, text in members(wheels.bar).items()}
    metadata = Metadata.from_email(content["METADATA"], validate=True)
    assert (metadata.name, str(metadata.version), metadata.summary) == ("bar-lib", "1.2.3", "Foo, for others")
    assert (metadata.license_expression, metadata.license_files) == ("MIT", ["LICENSE"])
    assert [str(item) for item in metadata.requires_dist or []] == ['foo-lib<2,>=1.2.3; sys_platform == "linux"']
    name, version, build, tags = parse_wheel_filename(wheels.bar.name)
    assert (name, str(version), build) == ("bar-lib", "1.2.3", ())
    header, _, rest = content["WHEEL"].decode().partition("Tag: ")
    assert header == "Wheel-Version: 1.0\nGenerator: nativelib 0.1.0\nRoot-Is-Purelib: false\n".replace(
        "0.1.0",
        re.search(r"nativelib (\S+)", header)[1],  # type: ignore[index]
    )
    said = re.findall(r"^Tag: (.+)$", f"Tag: {rest}", flags=re.MULTILINE)
    assert set().union(*map(parse_tag, said)) == set(tags)
    assert all(tag.platform.startswith("manylinux") for tag in tags)


def test_record_lists_every_member_with_its_digest(wheels: Wheels) -> None:
    for wheel in (wheels.foo, wheels.bar):
        content = members(wheel)
        (record,) = [name for name in content if name.endswith(".dist-info/RECORD")]
        rows = {row[0]: row[1:] for row in csv.reader(content[record].decode().splitlines())}
        assert set(rows) == set(content)
        assert rows.pop(record) == ["", ""]
        for name, (digest, size) in rows.items():
            wanted = base64.urlsafe_b64encode(hashlib.sha256(content[name]).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={wanted}", str(len(content[name])))


def test_the_archive_is_plain(wheels: Wheels, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheels.bar) as opened:
        infos = opened.infolist()
        assert opened.testzip() is None
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert not [info for info in infos if info.is_dir()]
    modes = {info.filename: info.external_attr >> 16 & 0o7777 for info in infos}
    executable = {name for name, mode in modes.items() if mode == 0o755}
    assert {mode for name, mode in modes.items() if name not in executable} == {0o644}
    assert {f"bar_lib/lib/{BAR}", "bar_lib/bin/bar-tool"} <= executable
    assert not [name for name in executable if name.endswith((".py", ".h", ".cmake", "METADATA"))]
    # The reference implementation checks every digest while it unpacks.
    run(sys.executable, "-m", "wheel", "unpack", wheels.bar, "-d", tmp_path)
    assert (tmp_path / "bar_lib-1.2.3" / "bar_lib" / "lib" / BAR).is_file()


def test_bill_of_materials(wheels: Wheels) -> None:
    content = members(wheels.bar)
    bom = json.loads(content["bar_lib-1.2.3.dist-info/sboms/nativelib.cdx.json"])
    assert (bom["bomFormat"], bom["specVersion"], bom["version"]) == ("CycloneDX", "1.6", 1)
    assert bom["metadata"]["component"]["purl"] == "pkg:pypi/bar-lib@1.2.3"
    references = [bom["metadata"]["component"]["bom-ref"], *(item["bom-ref"] for item in bom["components"])]
    assert len(set(references)) == len(references)
    assert bom["dependencies"] == [{"ref": references[0], "dependsOn": references[1:]}]
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels.prefix.lib.glob("*.so*")}
    assert {item["name"] for item in bom["components"]} == {"libbar.so.2", "libplain.so"}
    for item in bom["components"]:
        assert (item["type"], item["version"], item["licenses"]) == ("library", "1.2.3", [{"expression": "MIT"}])
        assert item["hashes"] == [{"alg": "SHA-256", "content": before[item["name"]]}]
        (path,) = [entry["value"] for entry in item["properties"] if entry["name"] == "nativelib:path"]
        assert path in content


def test_manifest_tells_what_the_files_are(wheels: Wheels) -> None:
    for wheel, requires in ((wheels.foo, []), (wheels.bar, [FOO])):
        info = next(name for name in members(wheel) if name.endswith("/nativelib.json"))
        document = json.loads(members(wheel)[info])
        assert (document["schema"], document["version"], document["private"]) == (1, "1.2.3", [])
        assert [soname for item in document["requires"] for soname in item["sonames"]] == requires
        assert set(document["exports"]) == {item["soname"] for item in document["libraries"]}
        for item in document["libraries"]:
            path = wheels.venv.site / item["file"]
            content = path.read_bytes()
            found = dynamic(path)
            assert (item["sha256"], item["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
            assert (item["soname"], item["needed"]) == (found.soname, found.needed)
            notes = run(require("readelf"), "-nW", path)
            assert item["build_id"] == re.search(r"Build ID: (\w+)", notes)[1]  # type: ignore[index]
            assert document["exports"][item["soname"]] == dict.fromkeys(exported(path), "1.2.3")


def exported(path: Path) -> set[str]:
    """Return the defined dynamic symbols as nm shows them, a version node's own symbol apart."""
    names = run(require("nm"), "-D", "--defined-only", "--with-symbol-versions", path).splitlines()
    return {line.split()[2].replace("@@", "@") for line in names if " A " not in line}


# Builders.


# mold looks for what a linker script names in the directories of -L only, so that the link name's path is not enough.
@pytest.mark.parametrize(
    ("linker", "how"),
    [
        (linker, how)
        for linker in ("bfd", "gold", "lld", "mold")
        for how in ("-lbar -lplain", "-l: from pkg-config", "the files")
        if (linker, how) != ("mold", "the files")
    ],
)
def test_linkers_take_the_libraries(wheels: Wheels, tmp_path: Path, linker: str, how: str) -> None:
    if linker in {"lld", "mold"} and not any(
        os.access(Path(directory, f"ld.{linker}"), os.X_OK) for directory in os.environ["PATH"].split(":")
    ):
        pytest.skip(f"{linker} is not installed; it is not required")
    (tmp_path / "p.c").write_text(
        "int bar_value(void), plain_value(void); int main(void) { return bar_value() - 43 + plain_value() - 5; }\n"
    )
    flags = {
        "-lbar -lplain": f"-L{wheels.bar_lib} -lbar -lplain",
        "-l: from pkg-config": flags_of(wheels, "bar-lib", "--libs"),
        "the files": f"{wheels.bar_lib}/libbar.so {wheels.bar_lib}/libplain-bar_lib.so",
    }[how]
    command = f"{require('gcc')} p.c -fuse-ld={linker} {flags} -o p"
    run("sh", "-c", command, cwd=tmp_path)
    assert set(dynamic(tmp_path / "p").needed) >= {BAR, "libplain-bar_lib.so"}
    assert run(tmp_path / "p", env=wheels.search) == ""


def flags_of(wheels: Wheels, *words: str) -> str:
    env = {"PKG_CONFIG_PATH": f"{wheels.foo_lib}/pkgconfig:{wheels.bar_lib}/pkgconfig", "PKG_CONFIG_LIBDIR": "/nowhere"}
    return run(require("pkg-config"), *words, env=env)


def test_pkg_config_knows_the_package_and_what_it_needs(wheels: Wheels, tmp_path: Path) -> None:
    assert flags_of(wheels, "--modversion", "bar-lib") == "1.2.3"
    assert flags_of(wheels, "--print-requires", "bar-lib") == "foo"
    assert flags_of(wheels, "--validate", "bar-lib", "foo") == ""
    flags = flags_of(wheels, "--cflags", "--libs", "bar-lib")
    assert "rpath" not in flags
    compile_and_run(wheels, tmp_path, flags)


def test_flags_of_the_module_in_a_command_substitution(wheels: Wheels, tmp_path: Path) -> None:
    substitution = f"$({wheels.venv.python} -m bar_lib --cflags --libs)"
    compile_and_run(wheels, tmp_path, f"{substitution} -L{wheels.foo_lib} -l:{FOO}")


def compile_and_run(wheels: Wheels, here: Path, flags: str) -> None:
    (here / "p.c").write_text(PROGRAM)
    assert run("sh", "-c", f"{require('gcc')} p.c {flags} -o p", cwd=here) == ""
    assert run(here / "p", env=wheels.search) == ""
    assert dynamic(here / "p").rpath == dynamic(here / "p").runpath == []


CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(test C)
find_package(bar-lib 1.2 CONFIG REQUIRED)
find_package(Foo CONFIG REQUIRED)
add_executable(p p.c)
target_link_libraries(p PRIVATE bar-lib::bar Foo::foo)
"""


@pytest.mark.parametrize("place", ["directory", "entry point"])
def test_cmake_finds_the_packages(wheels: Wheels, tmp_path: Path, place: str) -> None:
    if place == "directory":
        # The other package is found beside it.
        prefixes = [Path(run(wheels.venv.python, "-m", "bar_lib", "--cmake-dir"))]
        assert prefixes == [wheels.bar_lib / "cmake"]
    else:
        # What a build back end does: load the entry points of the environment and look where they are.
        code = """
import importlib.metadata, sys
for entry in importlib.metadata.entry_points().select(group="cmake.prefix"):
    print(*entry.load().__path__)
assert not {"ctypes", "foo_lib", "bar_lib"} & set(sys.modules)
assert "foo_lib/lib" not in open("/proc/self/maps").read()
"""
        prefixes = [Path(line) for line in run_python(wheels.venv, code).stdout.splitlines()]
        assert {path.name for path in prefixes} == {"foo_lib_cmake", "bar_lib_cmake"}
    (tmp_path / "p.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    joined = ";".join(map(str, prefixes))
    run(require("cmake"), "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={joined}")
    run(require("cmake"), "--build", tmp_path / "b")
    assert run(tmp_path / "b" / "p", env=wheels.search) == ""
    assert set(dynamic(tmp_path / "b" / "p").needed) >= {BAR, FOO}


def test_entry_points_name_what_is_there(wheels: Wheels) -> None:
    code = """
import importlib.metadata, importlib.resources, os
for entry in importlib.metadata.distribution("bar-lib").entry_points:
    found = entry.load()
    names = sorted(os.listdir(next(iter(found.__path__)))) if hasattr(found, "__path__") else found.__name__
    print(entry.group, entry.name, names)
"""
    said = run_python(wheels.venv, code, flags=("-I", "-B")).stdout.splitlines()
    assert sorted(line.replace("'__pycache__', ", "") for line in said) == [
        "cmake.prefix bar-lib ['__init__.py', 'lib']",
        "console_scripts bar-tool run_bar_tool",
        "pkg_config bar-lib ['bar-lib.pc']",
    ]


# Importers.


def test_import_maps_the_files_of_the_wheel(wheels: Wheels) -> None:
    code = """
import json, bar_lib, foo_lib
print(json.dumps([bar_lib.loaded(), foo_lib.loaded(), bar_lib.__version__, bar_lib.__version_info__,
                  bar_lib.get_requirement(), foo_lib.get_requirement(), bar_lib.get_include_dir(),
                  bar_lib.get_lib_dir(), bar_lib.get_library(), foo_lib.get_library(fullname=True),
                  open("/proc/self/maps").read()]))
"""
    said = json.loads(run_python(wheels.venv, code, flags=("-I", "-W", "error")).stdout)
    mapped = mapped_files(said.pop())
    bar, plain, foo = (wheels.bar_lib / BAR, wheels.bar_lib / "libplain-bar_lib.so", wheels.foo_lib / FOO)
    assert said == [
        {BAR: str(bar), "libplain-bar_lib.so": str(plain)},
        {FOO: str(foo)},
        "1.2.3",
        [1, 2, 3],
        'bar-lib==1.2.3; sys_platform == "linux"',
        'foo-lib<2,>=1.2.3; sys_platform == "linux"',
        str(wheels.venv.site / "bar_lib" / "include"),
        str(wheels.bar_lib),
        "bar",
        FOO,
    ]
    for path in (foo, bar, plain):
        assert mapped[str(path)] == path.stat().st_ino
    assert not [path for path in mapped if str(wheels.prefix.root) in path]


def test_needed_wheel_is_found_in_another_directory(wheels: Wheels, tmp_path: Path) -> None:
    sites = [unpacked(wheel, tmp_path / wheel.name.partition("-")[0]) for wheel in (wheels.foo, wheels.bar)]
    code = "import bar_lib as p, ctypes; print(ctypes.CDLL(p.get_lib_dir() + '/' + p.get_library(True)).bar_value())"
    env = {"PYTHONPATH": os.pathsep.join(map(str, sites))}
    assert run_python(sys.executable, code, env=env, flags=("-B", "-W", "error")).stdout == "43\n"
    done = run_python(sys.executable, code, env={"PYTHONPATH": str(sites[1])}, flags=("-B",), check=False)
    assert "ImportError: " in done.stderr
    assert "pip install 'foo-lib<2,>=1.2.3'" in done.stderr


def test_generated_python_is_for_3_8_and_imports_nothing_else(wheels: Wheels) -> None:
    found = [name for name in members(wheels.bar) if name.endswith(".py")]
    assert len(found) == 5
    for name in found:
        tree = ast.parse(members(wheels.bar)[name], feature_version=(3, 8))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert imported - sys.stdlib_module_names <= {".", "bar_lib", "foo_lib"}


def test_maintainers_write_the_hook_while_they_build(wheels: Wheels, tmp_path: Path) -> None:
    """An extension that is linked with the installed library wheel works without a repair."""
    flags = run(wheels.venv.python, "-m", "bar_lib", "--cflags", "--libs").split()
    source = simple_module("_ext", "bar_value()", "#include <bar.h>")
    linked = extension(tmp_path, "_ext", source, flags=["-Wl,--no-as-needed", *flags])
    assert BAR in dynamic(linked).needed
    code = f"import bar_lib; print(bar_lib.write_distributor_init({str(tmp_path)!r}))"
    hook = Path(run_python(wheels.venv, code).stdout.strip())
    init = "from . import _distributor_init\nfrom ._ext import value\n"
    files = {**package("mine", linked, init), "mine/_distributor_init.py": hook}
    venv = installed(tmp_path / "venv", consumer(tmp_path, "mine", files), wheels.bar, links=[wheels.dist])
    code = "import mine, json; print(json.dumps([mine.value(), open('/proc/self/maps').read()]))"
    value, maps = json.loads(run_python(venv, code, flags=("-I", "-W", "error")).stdout)
    assert value == 43
    path = venv.site / "bar_lib" / "lib" / BAR
    assert mapped_files(maps)[str(path)] == path.stat().st_ino
    # Without the hook nothing finds the library.
    (venv.site / "mine" / "__init__.py").write_text("from ._ext import value\n")
    assert BAR in run_python(venv, "import mine", check=False).stderr


@pytest.mark.parametrize("compiler", ["aarch64-linux-gnu-gcc"])
def test_another_machine(tmp_path: Path, compiler: str) -> None:
    require(compiler)
    lib = tmp_path / "prefix" / "lib"
    shared_library(lib, "libfoo.so.1", "int foo_value(void) { return 1; }", soname="libfoo.so.1", cc=compiler)
    (tmp_path / "prefix" / "bin").mkdir()
    program(tmp_path / "prefix" / "bin", "foo-tool", "int main(void) { return 0; }", cc=compiler)
    tool = 'libraries = ["lib/libfoo.so.1"]\nprograms = ["bin/foo-tool"]'
    wheel = built(project(tmp_path / "p", "foo-lib", tool), "--prefix", tmp_path / "prefix", into=tmp_path / "dist")
    assert all(tag.platform.endswith("_aarch64") for tag in parse_wheel_filename(wheel.name)[3])
    machines = {
        int.from_bytes(content[18:20], "little")
        for content in members(wheel).values()
        if content.startswith(b"\x7fELF")
    }
    assert machines == {183}


def test_libraries_and_programs_of_two_machines(tmp_path: Path) -> None:
    require("aarch64-linux-gnu-gcc")
    prefix = make_prefix(tmp_path / "prefix")
    program(prefix.root / "bin", "foreign-tool", "int main(void) { return 0; }", cc="aarch64-linux-gnu-gcc")
    tool = 'libraries = ["lib/libfoo.so.1"]\nprograms = ["bin/foreign-tool"]'
    answer = nativelib("build", project(tmp_path / "p", "foo-lib", tool), "--prefix", prefix.root, "-w", tmp_path / "o")
    assert answer.code == 1
    assert next(iter(answer.errors().values())).startswith(("NL205 ", "NL210 "))
