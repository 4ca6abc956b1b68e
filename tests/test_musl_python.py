"""What a user sees when something is amiss, from one Python for glibc and one for musl, each with wheels of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import shared_library, simple_module
from tests.support.matrix import record
from tests.support.musl_python import musl_python
from tests.support.nohost import mapped_files
from tests.support.once import made_once
from tests.support.projects import built, project, repaired
from tests.support.tools import require
from tests.support.wheels import make_wheel
from tests.support_templates import python

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

MACHINE = os.uname().machine
OLD = "FOO_1.0 { global: gfoo_value; local: *; };\n"
NEW = f"{OLD}FOO_2.0 {{ global: gfoo_new; }} FOO_1.0;\n"
FOO = "libgfoo-gfoo_lib.so.1"
BAR = "libgbar-gbar_lib.so.2"
ONE = "libgone.so.1"
PIP = "Try: python -m pip install"

DECLARATIONS = "int gfoo_value(void), gfoo_new(void), gbar_value(void), gone_new(void), deep_value(void);"
CONSUMERS = {
    # name: expression, library that it is linked with, providers, further options
    "cons": ("gfoo_value()", "libgfoo.so.1", ["gfoo"], []),
    "consn": ("gfoo_value()", "libgfoo.so.1", ["gfoo"], ["--no-run-path"]),
    "cons2": ("gfoo_new()", "libgfoo.so.1", ["gfoo2"], []),
    "consbar": ("gbar_value()", "libgbar.so.2", ["gbar"], ["--no-run-path"]),
    "consone": ("gone_new()", ONE, ["gone"], []),
    "consdeep": ("deep_value()", "libdeep.so.1", ["deep"], []),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One C library: an interpreter, library wheels and consumers, each unpacked into a directory of its own."""

    libc: str
    executable: str
    root: Path

    def site(self, name: str) -> Path:
        """Return the directory in which the wheel *name* lies."""
        return self.root / "sites" / name

    @property
    def system(self) -> Path:
        """Directory of the system's copies, whose functions return negative numbers."""
        return self.root / "system"

    def run(
        self, code: str, *sites: str | Path, env: dict[str, str] | None = None, flags: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run *code* with *sites* (names of wheels, or directories) on ``sys.path``."""
        path = [self.site(site) if isinstance(site, str) else site for site in sites]
        return python(code, *path, env=env, flags=["-s", *flags], executable=self.executable)

    def number(
        self, module: str, *sites: str | Path, env: dict[str, str] | None = None, before: str = "", warns: str = ""
    ) -> tuple[int, dict[str, int]]:
        """Import *module*; return what its ``value()`` is and the mapped files, after checking what was warned of."""
        code = f"{before}\nimport {module}, json; print(json.dumps([{module}.value(), open('/proc/self/maps').read()]))"
        done = self.run(code, *sites, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        if warns:
            assert f"RuntimeWarning: {warns}" in done.stderr
        else:
            assert done.stderr == ""
        value, maps = json.loads(done.stdout)
        return value, mapped_files(maps)

    def refusal(self, module: str, *sites: str | Path, env: dict[str, str] | None = None, before: str = "") -> str:
        """Import *module*, which must end with an ImportError, and return its text."""
        done = self.run(f"{before}\nimport {module}", *sites, env=env)
        _, found, text = done.stderr.rpartition("\nImportError: ")
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        assert found, done.stderr
        return text.strip()

    def copy(self, name: str, target: Path) -> Path:
        """Return a copy of the site *name* that a test may spoil."""
        return Path(shutil.copytree(self.site(name), target / name))


@pytest.fixture(scope="module", params=["glibc", pytest.param("musl", marks=pytest.mark.network)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    libc: str = request.param
    found = musl_python() if libc == "musl" else None
    compiler = "musl-gcc" if found else "gcc"
    include = found.include if found else Path(sysconfig.get_path("include"))
    suffix = found.suffix if found else str(sysconfig.get_config_var("EXT_SUFFIX"))
    tag = found.tag if found else f"cp{sys.version_info[0]}{sys.version_info[1]}"
    tags = f"{tag}-{tag}-linux_{MACHINE}"
    root = made_once(
        tmp_path_factory, f"libc-{libc}", lambda stage: _make(stage, compiler, include, f"_ext{suffix}", tags)
    )
    return World(libc=libc, executable=str(found.python) if found else sys.executable, root=root)


def _make(root: Path, cc: str, include: Path, file: str, tag: str) -> None:
    for name, sign, script in (("old", 1, OLD), ("new", 1, NEW), ("system", -1, NEW), ("poor", -1, "")):
        _libraries(root / name, cc, sign, script)
    new, dist = root / "new", root / "dist"
    foo = {"libraries": [FOO.replace("-gfoo_lib", "")], "compatible": ">={version},<3"}
    first = _library(root, "gfoo-lib", "1.0", root / "old", foo)
    wheels = {"gfoo1": first, "gfoo2": _library(root, "gfoo-lib", "2.0", new, foo, "--since", first)}
    wheels["gfoo"] = wheels["gfoo2"]
    wheels["gbar"] = _library(root, "gbar-lib", "2.0", new, {"libraries": ["libgbar.so.2"]}, "--provided-by", first)
    wheels["gone"] = _library(root, "gone-lib", "1.0", new, {"libraries": [ONE], "singleton": True})
    wheels["deep"] = _library(
        root, "deep-lib", "1.0", new, {"libraries": ["libdeep.so.1"]}, "--exclude", "libneversys.so.3"
    )
    flags = [f"-I{include}", f"-Wl,-rpath-link,{new}"]
    for name, (expression, library, providers, options) in CONSUMERS.items():
        source = simple_module("_ext", expression, DECLARATIONS)
        built_file = shared_library(root / name, file, source, needed=[new / library], cc=cc, flags=flags)
        files: dict[str, str | Path] = {
            f"{name}/__init__.py": "from ._ext import value\n",
            f"{name}/{file}": built_file,
        }
        linked = make_wheel(root / "linked", f"{name}-1.0-{tag}.whl", files)
        words = [word for provider in providers for word in ("--provided-by", wheels[provider])]
        wheels[name] = repaired(linked, *words, *options, into=dist)
    foo_file = new / "libgfoo.so.1"
    files = {"foreign/__init__.py": "raise RuntimeError('imported')\n", f"foreign/libs/{foo_file.name}": foo_file}
    wheels["foreign"] = make_wheel(root / "linked", f"foreign-3.0-py3-none-linux_{MACHINE}.whl", files)
    for name, provider, option in (("topcons", "gfoo", "--loader-modules"), ("forcons", "foreign", "--pin=exact")):
        source = simple_module(name, "gfoo_value()", DECLARATIONS)
        where = (
            f"{name}{file.removeprefix('_ext')}" if name == "topcons" else f"{name}/{name}{file.removeprefix('_ext')}"
        )
        built_file = shared_library(
            root / name, where.rpartition("/")[2], source, needed=[foo_file], cc=cc, flags=flags
        )
        files = {where: built_file}
        if name != "topcons":
            files[f"{name}/__init__.py"] = f"from .{name} import value\n"
        linked = make_wheel(root / "linked", f"{name}-1.0-{tag}.whl", files)
        wheels[name] = repaired(linked, "--provided-by", wheels[provider], option, into=dist)
    for name, wheel in wheels.items():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / "sites" / name)


def _library(
    root: Path, name: str, version: str, prefix: Path, spec: Mapping[str, object], *options: str | Path
) -> Path:
    tool = "\n".join(f"{key} = {json.dumps(value)}" for key, value in spec.items())
    source = project(root / "specs" / f"{name}-{version}", name, tool, version=version)
    return built(source, "--prefix", prefix, *options, into=root / "dist")


def _libraries(directory: Path, cc: str, sign: int, script: str) -> None:
    """Make the libraries of one prefix; without *script* they have neither symbol versions nor what came later."""
    versions = script or None
    source = f"int gfoo_value(void) {{ return {sign} * 42; }}"
    source += f" int gfoo_new(void) {{ return {sign} * 43; }}" if "FOO_2.0" in script else ""
    foo = shared_library(directory, "libgfoo.so.1", source, soname="libgfoo.so.1", version_script=versions, cc=cc)
    source = "int gfoo_value(void); int gbar_value(void) { return 2 * gfoo_value(); }"
    shared_library(directory, "libgbar.so.2", source, soname="libgbar.so.2", needed=[foo], cc=cc)
    source = f"int gone_value(void) {{ return {sign} * 7; }}"
    source += f" int gone_new(void) {{ return {sign} * 8; }}" if script else ""
    script = "ONE_1.0 { global: gone_value; local: *; };\nONE_2.0 { global: gone_new; } ONE_1.0;\n" if script else ""
    shared_library(directory, ONE, source, soname=ONE, version_script=script or None, cc=cc)
    never = shared_library(
        directory, "libneversys.so.3", "int never(void) { return 1; }", soname="libneversys.so.3", cc=cc
    )
    # A library that takes nothing from the C library does not show which one it is for.
    source = '#include <stdlib.h>\nint never(void); int deep_value(void) { return getenv("NO_WORD") ? 0 : never(); }'
    shared_library(directory, "libdeep.so.1", source, soname="libdeep.so.1", needed=[never], cc=cc)
    # A copy of the system that carries the name of the wheel's.
    source = f"int gfoo_value(void) {{ return {sign} * 40; }}"
    shared_library(directory / "same", FOO, source, soname=FOO, version_script=OLD, cc=cc)


def says(text: str, *words: str) -> None:
    """Check that each of *words* stands in *text*."""
    assert not [word for word in words if word not in text], text


pytestmark = pytest.mark.long


def test_wheels_apart_serve_each_other(world: World) -> None:
    for consumer, expected in (("cons", 42), ("consn", 42), ("cons2", 43)):
        value, mapped = world.number(consumer, consumer, "gfoo2")
        file = world.site("gfoo2") / "gfoo_lib" / "lib" / FOO
        assert value == expected
        assert mapped[str(file)] == file.stat().st_ino
    value, mapped = world.number("consbar", "consbar", "gbar", "gfoo1")
    assert value == 84
    assert {str(world.site("gbar") / "gbar_lib" / "lib" / BAR)} <= set(mapped)
    done = world.run("import gfoo_lib; print(*gfoo_lib.loaded().values())", "gfoo2")
    assert done.stdout.strip() == str(world.site("gfoo2") / "gfoo_lib" / "lib" / FOO), done.stderr
    record(
        "C libraries",
        f"wheels in directories of their own, {world.libc}",
        "consumers without run path; a chain of two library wheels",
        "works",
    )


def test_loader_module(world: World) -> None:
    value, mapped = world.number("topcons", "topcons", "gfoo2")
    assert value == 42
    assert str(world.site("gfoo2") / "gfoo_lib" / "lib" / FOO) in mapped
    says(world.refusal("topcons", "topcons"), "topcons needs", FOO, "gfoo-lib", "not installed", f"{PIP} 'gfoo-lib")
    record(
        "C libraries",
        f"top-level extension module with a loader module, {world.libc}",
        "consumer and library wheel in different directories; library wheel missing",
        "works; ImportError with consumer, library, distribution and pip command",
    )


def test_foreign_provider(world: World, tmp_path: Path) -> None:
    for site in ("forcons", "foreign"):
        shutil.copytree(world.site(site), tmp_path, dirs_exist_ok=True)
    value, mapped = world.number("forcons", tmp_path)
    assert value == 42
    assert str(tmp_path / "foreign" / "libs" / "libgfoo.so.1") in mapped
    result = "works, together and apart"
    if world.libc == "glibc":
        assert world.number("forcons", "forcons", "foreign")[0] == 42
    else:
        says(world.refusal("forcons", "forcons", "foreign"), "Error loading shared library libgfoo.so.1")
        result = "works by the run path alone: consumer and library in one directory"
    text = world.refusal("forcons", "forcons")
    says(text, "forcons needs libgfoo.so.1 of foreign, which is not installed", f"{PIP} 'foreign==3.0'")
    record(
        "C libraries",
        f"provider that nativelib did not build, {world.libc}",
        "its library opened without importing it; consumer in the same and in another directory; missing",
        result,
    )


def test_library_wheel_missing(world: World, tmp_path: Path) -> None:
    (tmp_path / "gfoo_lib").mkdir()
    for others in ([], [tmp_path]):
        text = world.refusal("cons", "cons", *others)
        says(
            text,
            "cons needs",
            FOO,
            "gfoo-lib",
            "not installed",
            f"{PIP} 'gfoo-lib",
            sys.prefix if world.libc == "glibc" else "",
        )
    text = world.refusal("consbar", "consbar", "gbar")
    says(text, "gbar-lib 2.0", "gfoo-lib", "not installed", f"{PIP} 'gfoo-lib")
    record(
        "C libraries",
        f"library wheel missing, {world.libc}",
        "also: a stray directory of its name; missing further down the chain",
        "ImportError with consumer, library, distribution and pip command",
    )


def test_library_wheel_too_old(world: World) -> None:
    text = world.refusal("cons2", "cons2", "gfoo1")
    says(text, "cons2 needs gfoo-lib", ">=2.0", "1.0 is installed", str(world.site("gfoo1")), f"{PIP} 'gfoo-lib")
    record(
        "C libraries",
        f"library wheel too old, {world.libc}",
        "1.0 where 2.0 is needed",
        "ImportError with both versions and pip command",
    )


@pytest.mark.parametrize("file", [FOO, "nativelib_anchor.so"])
def test_wrong_machine(world: World, tmp_path: Path, file: str) -> None:
    require("aarch64-linux-gnu-gcc")
    other = shared_library(
        tmp_path, "other.so", "int gfoo_value(void) { return 1; }", cc="aarch64-linux-gnu-gcc", soname=FOO
    )
    small = shared_library(
        tmp_path, "small.so", "int gfoo_value(void) { return 1; }", soname=FOO, flags=["-m32", "-nostdlib"]
    )
    for made, machine in ((other, "aarch64"), (small, "i686")):
        spoilt = world.copy("gfoo2", tmp_path / machine)
        shutil.copy(made, spoilt / "gfoo_lib" / "lib" / file)
        text = world.refusal("cons", "cons", spoilt)
        says(
            text,
            "gfoo-lib 2.0",
            str(spoilt / "gfoo_lib" / "lib" / file),
            f"built for {machine}",
            f"this Python for {MACHINE}",
            "--force-reinstall",
        )
    record(
        "C libraries",
        f"library of another machine, {world.libc}",
        "library or anchor built for aarch64, for i686",
        "ImportError with both machines and pip command",
    )


@pytest.mark.parametrize("damage", ["empty", "text", "deleted", "cut off"])
def test_damaged_library(world: World, tmp_path: Path, damage: str) -> None:
    spoilt = world.copy("gfoo2", tmp_path)
    file = spoilt / "gfoo_lib" / "lib" / FOO
    content = {
        "empty": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\n",
        "cut off": file.read_bytes()[:9000],
    }
    file.unlink()
    if damage in content:
        file.write_bytes(content[damage])
    text = world.refusal("cons", "cons", spoilt)
    cause = {"deleted": "is missing", "cut off": "is cut off after 9000 bytes"}
    says(
        text,
        "gfoo-lib 2.0",
        str(file),
        cause.get(damage, "is not a shared library"),
        "--force-reinstall",
        "gfoo-lib==2.0",
    )
    record(
        "C libraries",
        f"library file {damage}, {world.libc}",
        "the file in an installed library wheel",
        "ImportError with file and pip command",
    )


def test_system_dependency_missing(world: World) -> None:
    text = world.refusal("consdeep", "consdeep", "deep")
    says(text, "deep-lib 1.0", "need libneversys.so.3", "Install the package of your system that has libneversys.so.3")
    value, _ = world.number("consdeep", "consdeep", "deep", env={"LD_LIBRARY_PATH": str(world.root / "new")})
    assert value == 1
    record(
        "C libraries",
        f"system library missing that a library wheel needs, {world.libc}",
        "--exclude'd while it was built",
        "ImportError with library wheel, library and what to do",
    )


def test_another_copy_is_loaded_first(world: World) -> None:
    same = world.system / "same" / FOO
    ours = world.site("gfoo2") / "gfoo_lib" / "lib" / FOO
    warned = f"gfoo-lib 2.0: {FOO} was already loaded from {same}; {ours} is not used"
    by_path = f"import ctypes; ctypes.CDLL({str(same)!r})"
    by_name = f"import ctypes; ctypes.CDLL({FOO!r})"
    reach = {"LD_LIBRARY_PATH": str(same.parent)}
    # musl: a library that was opened by its path serves nobody else, and the wheel's own is used.
    first = world.number("cons", "cons", "gfoo2", before=by_path, warns=warned if world.libc == "glibc" else "")
    assert first[0] == (-40 if world.libc == "glibc" else 42)
    assert world.number("cons", "cons", "gfoo2", before=by_name, env=reach, warns=warned)[0] == -40
    done = world.run(f"{by_name}\nimport cons", "cons", "gfoo2", env=reach, flags=["-W", "error"])
    assert done.returncode == 1
    assert f"RuntimeWarning: {warned}" in done.stderr
    record(
        "C libraries",
        f"another file of the same soname loaded first, {world.libc}",
        "opened by path, by name; -W error",
        "RuntimeWarning with both files"
        if world.libc == "glibc"
        else "by name: RuntimeWarning with both files; by path: not in the way",
    )


def test_library_path_and_preload(world: World) -> None:
    same = world.system / "same" / FOO
    reach = {"LD_LIBRARY_PATH": str(same.parent)}
    warned = f"gfoo-lib 2.0: {FOO} was already loaded from {same}"
    if world.libc == "glibc":
        # The anchor's DT_RPATH is searched before LD_LIBRARY_PATH.
        assert world.number("cons", "cons", "gfoo2", env=reach)[0] == 42
        assert world.number("cons", "cons", "gfoo2", env={"LD_PRELOAD": str(same)}, warns=warned)[0] == -40
        result = "LD_LIBRARY_PATH: the wheel's is used; LD_PRELOAD: the other with a RuntimeWarning"
    else:
        # LD_LIBRARY_PATH comes before every run path there, and what LD_PRELOAD names by path is not known by name.
        assert world.number("cons", "cons", "gfoo2", env=reach, warns=warned)[0] == -40
        assert world.number("cons", "cons", "gfoo2", env={"LD_PRELOAD": str(same)})[0] == -40
        result = "LD_LIBRARY_PATH: the other with a RuntimeWarning; LD_PRELOAD: the other, unnoticed"
    record(
        "C libraries", f"LD_LIBRARY_PATH and LD_PRELOAD, {world.libc}", "another file of the wheel's own soname", result
    )


def test_the_systems_copy_when_asked_for(world: World) -> None:
    reach = {"LD_LIBRARY_PATH": str(world.system)}
    for asked in ("gfoo-lib", "all"):
        value, mapped = world.number("cons", "cons", "gfoo2", env={**reach, "NATIVELIB_SYSTEM": asked})
        assert value == -42
        assert str(world.system / "libgfoo.so.1") in mapped
        assert str(world.site("gfoo2") / "gfoo_lib" / "lib" / FOO) not in mapped
    assert world.number("consone", "consone", "gone", env={**reach, "NATIVELIB_SYSTEM": "all"})[0] == -8
    text = world.refusal("cons", "cons", "gfoo2", env={"NATIVELIB_SYSTEM": "all"})
    says(text, "gfoo-lib 2.0", "NATIVELIB_SYSTEM asks for the system's libgfoo.so.1", "Unset NATIVELIB_SYSTEM")
    poor = {"LD_LIBRARY_PATH": str(world.root / "poor"), "NATIVELIB_SYSTEM": "gone-lib"}
    text = world.refusal("consone", "consone", "gone", env=poor)
    says(text, "gone-lib 1.0", f"the system's {ONE}", str(world.root / "poor" / ONE), "Unset NATIVELIB_SYSTEM")
    record(
        "C libraries",
        f"NATIVELIB_SYSTEM, {world.libc}",
        "own and kept soname; absent; a system library without what is needed",
        "the system's copy, or ImportError with the way back",
    )


def test_the_systems_copy_instead_of_a_missing_wheel(world: World) -> None:
    reach = {"LD_LIBRARY_PATH": str(world.system)}
    warned = f"consone uses the system's {ONE}, because gone-lib is not installed."
    assert world.number("consone", "consone", env=reach, warns=warned)[0] == -8
    assert world.number("consone", "consone", env={**reach, "NATIVELIB_SYSTEM": "gone-lib"})[0] == -8
    text = world.refusal("cons", "cons", env=reach)
    says(text, "cons needs", FOO, "gfoo-lib", PIP)
    record(
        "C libraries",
        f"library wheel missing, the system has the soname, {world.libc}",
        "a kept soname; a soname of the wheel alone",
        "kept: the system's copy with a RuntimeWarning; own: ImportError",
    )


def test_singleton_with_an_incumbent(world: World) -> None:
    ours = world.site("gone") / "gone_lib" / "lib" / ONE
    for directory, expected in ((world.system, -8), (world.root / "poor", None)):
        reach, first = {"LD_LIBRARY_PATH": str(directory)}, f"import ctypes; ctypes.CDLL({ONE!r})"
        if expected is not None:
            assert world.number("consone", "consone", "gone", env=reach, before=first)[0] == expected
            continue
        text = world.refusal("consone", "consone", "gone", env=reach, before=first)
        lack = "has no symbol versions" if world.libc == "glibc" else "has no gone_new@ONE_2.0"
        says(
            text,
            "gone-lib 1.0",
            f"{ONE} was already loaded from {directory / ONE}",
            lack,
            str(ours),
            "Import gone_lib before",
        )
    record(
        "C libraries",
        f"singleton, and another file has the soname already, {world.libc}",
        "one with all symbols; one without",
        "used; ImportError with both files, before the process dies",
    )


def test_anchor_missing(world: World, tmp_path: Path) -> None:
    spoilt, chain = world.copy("gfoo2", tmp_path), world.copy("gbar", tmp_path)
    for site, package in ((spoilt, "gfoo_lib"), (chain, "gbar_lib")):
        (site / package / "lib" / "nativelib_anchor.so").unlink()
    together = tmp_path / "together"
    for site in (spoilt, world.site("cons")):
        shutil.copytree(site, together, dirs_exist_ok=True)
    assert world.number("cons", together)[0] == 42
    if world.libc == "glibc":
        assert world.number("consn", "consn", spoilt)[0] == 42
        assert world.number("consbar", "consbar", chain, spoilt)[0] == 84
        result = "works"
    else:
        says(world.refusal("consn", "consn", spoilt), f"Error loading shared library {FOO}")
        says(world.refusal("consbar", "consbar", chain, "gfoo1"), f"Error loading shared library {BAR}")
        says(world.refusal("consbar", "consbar", chain, spoilt), "gbar-lib 2.0", FOO)
        result = "works by the run path alone: consumer and library in one directory"
    record(
        "C libraries",
        f"anchor missing, as freezers leave it, {world.libc}",
        "consumers with and without run path",
        result,
    )
