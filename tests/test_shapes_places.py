"""Files that are installed elsewhere than in site-packages: programs, and libraries of the data scheme."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.matrix import record
from tests.support.shapes import again
from tests.support.toy import EXT_SUFFIX, PLATFORM, Toy, World, consumer, installed, package
from tests.support.venvs import clean_environment
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.venvs import Environment

pytestmark = pytest.mark.long

TOY = "toy_lib/lib/libtoy-toy_lib.so.1"
PROGRAM = """
#include <stdio.h>
#include <string.h>
int toy_value(void), upper_value(void);
int main(int argc, char **argv) {
    printf("%s %d %d", strrchr(argv[0], '/') + 1, toy_value(), argc);
    for (int i = 1; i < argc; i++) printf(" [%s]", argv[i]);
    puts("");
    char line[4096];
    for (FILE *maps = fopen("/proc/self/maps", "r"); fgets(line, sizeof line, maps);)
        if (strstr(line, "libtoy")) fputs(strchr(line, '/'), stderr);
    return argc;
}
"""


def tool(toy: Toy, directory: Path, *libraries: Path) -> Path:
    needed = libraries or (toy.host / "libtoy.so.1",)
    return program(directory, "toy-tool", PROGRAM, needed=needed, flags=[f"-Wl,-rpath-link,{toy.host}"])


def start(file: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [str(file), *arguments]
    return subprocess.run(argv, env=clean_environment(env), capture_output=True, text=True, check=False, cwd="/")


def used(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {os.path.realpath(line) for line in done.stderr.splitlines()}


# --- programs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tools(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repaired wheel with a program in the scripts scheme, linked with a provided library, and a shell script."""
    root = tmp_path_factory.mktemp("tools")
    shell = root / "other"
    shell.write_text("#!/bin/sh\necho untouched\n")
    shell.chmod(0o755)
    data = "tools-1.0.data/scripts"
    files = {f"{data}/toy-tool": tool(toy, root), f"{data}/other": shell, **package("tools", toy.plain)}
    wheel = toy.repaired(consumer(root, "tools", files))
    again(toy, wheel)
    return wheel


@pytest.mark.parametrize("pip", [True, False], ids=["pip", "uv"])
def test_program(toy: Toy, tools: Path, tmp_path: Path, pip: bool) -> None:
    found = members(tools)
    assert found["tools-1.0.data/scripts/toy-tool"].startswith(b"#!python\n")
    assert found["tools-1.0.data/scripts/other"] == b"#!/bin/sh\necho untouched\n"
    assert found["tools.scripts/toy-tool"].startswith(b"\x7fELF")
    environment = installed(tmp_path / "venv", "tools", links=[tools.parent, toy.wheels], pip=pip)
    for env in ({}, {"LD_LIBRARY_PATH": "/opt/x"}, {"PYTHONSAFEPATH": "1"}):
        done = start(environment.bin / "toy-tool", "a b", "$x", **env)
        assert (done.returncode, done.stdout) == (3, "toy-tool 42 3 [a b] [$x]\n")
        assert used(done) == {os.path.realpath(environment.site / TOY)}
    assert start(environment.bin / "other").stdout == "untouched\n"
    record(
        "Shapes", "program in `.data/scripts`", "installed by pip and by uv, started", "works; 2nd repair: same bytes"
    )


def test_program_and_library_wheel_in_two_directories(toy: Toy, tools: Path, tmp_path: Path) -> None:
    home, other = installed(tmp_path / "home", "--no-deps", tools), installed(tmp_path / "other", toy.toy)
    done = start(home.bin / "toy-tool", PYTHONPATH=str(other.site))
    assert (done.returncode, done.stdout) == (1, "toy-tool 42 1\n")
    assert used(done) == {os.path.realpath(other.site / TOY)}


def test_program_in_a_target_directory(toy: Toy, tools: Path, tmp_path: Path) -> None:
    """Nothing but the directory above the script leads there."""
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", str(toy.wheels)]
    subprocess.run([*argv, "--target", str(tmp_path / "t"), str(tools)], env=clean_environment(), check=True)
    done = start(tmp_path / "t" / "bin" / "toy-tool")
    assert (done.returncode, done.stdout) == (1, "toy-tool 42 1\n")
    assert used(done) == {os.path.realpath(tmp_path / "t" / TOY)}


def test_program_without_its_library_wheel(toy: Toy, tools: Path, tmp_path: Path) -> None:
    environment = installed(tmp_path / "venv", "--no-deps", tools)
    done = start(environment.bin / "toy-tool", LD_LIBRARY_PATH=str(toy.host))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "toy-tool needs toy-lib<2,>=1.0.0, but toy-lib is not installed.\n"
        "Try: python -m pip install 'toy-lib<2,>=1.0.0'\n"
    )
    environment.install(toy.toy)
    init = environment.site / "toy_lib" / "__init__.py"
    text = init.read_text()
    init.write_text(text.replace('__version__ = "1.2.0"', '__version__ = "0.5"').replace("(1, 2, 0)", "(0, 5)"))
    assert init.read_text() != text
    done = start(environment.bin / "toy-tool")
    assert done.stderr.startswith("toy-tool needs toy-lib<2,>=1.0.0, but toy-lib is 0.5.\n")
    (environment.site / "tools.scripts" / "toy-tool").unlink()
    done = start(environment.bin / "toy-tool")
    assert (done.returncode, done.stderr) == (
        1,
        "toy-tool: the program is not installed for this Python; reinstall tools\n",
    )
    record("Shapes", "program in `.data/scripts`, library wheel missing or too old", "started", "refused in words")


def test_script_of_an_earlier_repair_follows_the_provider(toy: Toy, tmp_path: Path) -> None:
    """Repaired for an older release of the library wheel first, for the newer one then."""
    source = PROGRAM.replace("toy_value(), argc", "toy_new() + 40, argc").replace("int toy_value", "int toy_new")
    made = program(tmp_path, "toy-tool", source, needed=[toy.host / "libtoy.so.1"])
    files = {"tools-1.0.data/scripts/toy-tool": made}
    wheel = consumer(tmp_path, "tools", files, tag=f"py3-none-{PLATFORM}")
    first = toy.repaired(wheel, toy.toy, arguments=["--pin", "==1.2.0"])
    again(toy, first, toy.toy, arguments=["--pin", "==1.2.0"])
    second = toy.repaired(first, toy.toy, arguments=["--pin", ">=1.1,<3"])
    text = members(second)["tools-1.0.data/scripts/toy-tool"]
    assert b"toy-lib<3,>=1.1" in text
    assert b"==1.2.0" not in text


def test_program_with_a_grafted_library(toy: Toy, tmp_path: Path) -> None:
    """A library that no provider has goes into site-packages; the program follows it there."""
    library = shared_library(
        tmp_path / "lib", "libextra.so.1", "int toy_value(void) { return 8; }", soname="libextra.so.1"
    )
    made = program(tmp_path, "toy-tool", PROGRAM, needed=[library])
    wheel = consumer(tmp_path, "tools", {"tools-1.0.data/scripts/toy-tool": made}, tag=f"py3-none-{PLATFORM}")
    arguments = ["--ldpaths", str(library.parent)]
    answer = toy.repair(wheel, arguments=["--ldpaths", str(library.parent)])
    assert answer.code == 1  # toy-lib is not needed
    done = subprocess.run(
        [sys.executable, "-m", "nativelib", "repair", str(wheel), *arguments, "-w", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [repaired] = tmp_path.glob("out/*.whl")
    subprocess.run(
        [sys.executable, "-m", "nativelib", "repair", str(repaired), "-w", str(tmp_path / "again")],
        capture_output=True,
        check=True,
    )
    [twice] = tmp_path.glob("again/*.whl")
    assert (twice.name, twice.read_bytes()) == (repaired.name, repaired.read_bytes())
    environment = installed(tmp_path / "venv", repaired)
    done = start(environment.bin / "toy-tool", "x")
    assert (done.returncode, done.stdout) == (2, "toy-tool 8 2 [x]\n")
    record("Shapes", "program in `.data/scripts` that needs a grafted library", "installed, started", "works")


def test_program_that_another_tool_moved_keeps_its_script(toy: Toy, tmp_path: Path) -> None:
    """auditwheel does the same with programs; its script stays."""
    script = "#!python\nimport os, sys, sysconfig\n"
    script += "os.execv(sysconfig.get_path('platlib') + '/tools.scripts/toy-tool', sys.argv)\n"
    files: dict[str, Any] = {"tools-1.0.data/scripts/toy-tool": script, "tools.scripts/toy-tool": tool(toy, tmp_path)}
    wheel = toy.repaired(consumer(tmp_path, "tools", files))
    assert members(wheel)["tools-1.0.data/scripts/toy-tool"].decode() == script
    again(toy, wheel)


# --- libraries of the data scheme ---------------------------------------------------------------------------------


def data_consumer(toy: Toy, tmp_path: Path) -> Path:
    """A wheel whose extension needs a library of the data scheme, which needs another one there, and that toy-lib."""
    flags = [f"-Wl,-rpath-link,{toy.host}", f"-Wl,-rpath-link,{tmp_path}"]
    source = "int toy_value(void); int inner(void) { return toy_value(); }"
    inner = shared_library(tmp_path, "libinner.so.1", source, soname="libinner.so.1", needed=[toy.host / "libtoy.so.1"])
    source = "int inner(void); int helper(void) { return inner() + 1; }"
    helper = shared_library(tmp_path, "libhelper.so", source, soname="libhelper.so", needed=[inner], flags=flags)
    init = simple_module("_ext", "helper()", "int helper(void);")
    built = extension(tmp_path / "ext", "_ext", init, needed=[helper], flags=flags)
    data = "apart-1.0.data/data/lib"
    files = {**package("apart", built), f"{data}/libhelper.so": helper, f"{data}/libinner.so.1": inner}
    return consumer(tmp_path, "apart", files)


def test_library_in_the_data_scheme_of_the_consumer_is_refused(toy: Toy, tmp_path: Path) -> None:
    """No run path leads from one scheme to another in every installation."""
    answer = toy.repair(data_consumer(toy, tmp_path))
    assert answer.code == 1
    errors = answer.errors()
    assert set(errors) == {f"apart/_ext{EXT_SUFFIX}", "apart-1.0.data/data/lib/libinner.so.1"}
    assert all(text.startswith("NL208 ") and "repair with --relocate-data." in text for text in errors.values())
    assert not list(tmp_path.glob("repaired/*"))
    record(
        "Shapes",
        "consumer with libraries in `.data/data`",
        "needed from site-packages, needing a provider",
        "refused: NL208",
    )


def test_library_in_the_data_scheme_is_relocated(toy: Toy, world: World, tmp_path: Path) -> None:
    wheel = toy.repaired(data_consumer(toy, tmp_path), arguments=["--relocate-data"])
    moved = {"apart.libs/libhelper.so", "apart.libs/libinner.so.1"}
    names = set(members(wheel))
    assert moved <= names
    assert not [name for name in names if ".data/" in name]
    again(toy, wheel, arguments=["--relocate-data"])
    again(toy, wheel)
    code = "import apart._ext; out = apart._ext.value()"
    beside = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    own = [beside.site / name for name in sorted(moved)]
    assert world.see(beside, code, *own, beside.site / TOY) == 43
    record(
        "Shapes",
        "consumer with libraries in `.data/data`, by `--relocate-data`",
        "two libraries, one needed from site-packages, one needing a provider",
        "works; 2nd repair: same bytes",
    )


@pytest.fixture(scope="module")
def outer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel as Intel's: libraries in the data scheme, no package at all; one needs the other."""
    root = tmp_path_factory.mktemp("outer")
    low = shared_library(root, "liblow.so.1", "int low(void) { return 20; }", soname="liblow.so.1")
    source = "int low(void); int outer_value(void) { return low() + 3; }"
    high = shared_library(root, "libouter.so.2", source, soname="libouter.so.2", needed=[low])
    data = "Outer_RT-2.5.data/data/lib"
    files: dict[str, Any] = {f"{data}/liblow.so.1": low, f"{data}/libouter.so.2": high}
    return make_wheel(root / "wheels", f"Outer_RT-2.5-py2.py3-none-manylinux1_{os.uname().machine}.whl", files)


def outer_extension(directory: Path, outer: Path, module: str = "_ext") -> Path:
    source = simple_module(module, "outer_value()", "int outer_value(void);")
    needed = [outer.parent.parent / "libouter.so.2"]
    return extension(directory, module, source, needed=needed, flags=[f"-Wl,-rpath-link,{needed[0].parent}"])


def libraries(environment: Environment) -> list[Path]:
    return [environment.path / "lib" / name for name in ("libouter.so.2", "liblow.so.1")]


@pytest.mark.parametrize("given", ["wheel", "pip", "uv"])
def test_provider_in_the_data_scheme(toy: Toy, world: World, outer: Path, tmp_path: Path, given: str) -> None:
    """Given as a wheel, and as it is installed by one or the other."""
    wheel = consumer(tmp_path, "guest", package("guest", outer_extension(tmp_path, outer)))
    if given == "wheel":
        arguments: Sequence[Path | str] = ()
        repaired = toy.repaired(wheel, outer)
        again(toy, repaired, outer)
    else:
        build = installed(tmp_path / "build", outer, pip=given == "pip")
        arguments = ["--python", build.python]
        repaired = toy.repaired(wheel, "outer-rt", arguments=arguments)
        again(toy, repaired, "outer-rt", arguments=arguments)
    environment = installed(tmp_path / "venv", repaired, links=[outer.parent], pip=given != "uv")
    code = "import guest; out = guest.value()"
    assert world.see(environment, code, *libraries(environment)) == 23
    done = subprocess.run(
        [str(environment.python), "-I", "-S", "-c", f"import sys; sys.path.append({str(environment.site)!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if given == "wheel":
        alone = installed(tmp_path / "alone", "--no-deps", repaired)
        text = world.refused(alone, code, hosted=False)
        assert text.startswith("guest needs libouter.so.2 of outer-rt, which is not installed")
        record("Shapes", "provider with its libraries in `.data/data`", "as Intel's wheels; in a venv", "works")


def test_provider_in_the_data_scheme_of_the_user_or_outside(
    toy: Toy, world: World, outer: Path, tmp_path: Path
) -> None:
    """The ``.dist-info`` beside which Python would find a package says where."""
    wheel = consumer(tmp_path, "guest", package("guest", outer_extension(tmp_path, outer)))
    repaired = toy.repaired(wheel, outer)
    environment = installed(tmp_path / "venv", "--no-deps", repaired)
    elsewhere = installed(tmp_path / "elsewhere", outer)
    code = "import guest; out = guest.value()"
    env = {"PYTHONPATH": str(elsewhere.site)}
    assert world.see(environment, code, *libraries(elsewhere), env=env, flags=("-B", "-W", "error")) == 23
    # A stray file of that name in the prefix is nobody's library.
    stray = environment.path / "lib" / "libouter.so.2"
    stray.write_bytes(b"not a library")
    assert world.see(environment, code, *libraries(elsewhere), env=env, flags=("-B", "-W", "error")) == 23
    assert "is not installed" in world.refused(environment, code, hosted=False)


def test_provider_in_the_data_scheme_needs_a_hook(toy: Toy, world: World, outer: Path, tmp_path: Path) -> None:
    built = outer_extension(tmp_path, outer, "alone")
    answer = toy.repair(consumer(tmp_path, "alone", {built.name: built}), outer)
    assert answer.code == 1
    assert "--loader-modules" in answer.errors()[built.name]
    arguments = ["--loader-modules"]
    repaired = toy.repaired(consumer(tmp_path / "two", "alone", {built.name: built}), outer, arguments=arguments)
    again(toy, repaired, outer, arguments=arguments)
    environment = installed(tmp_path / "venv", repaired, links=[outer.parent])
    assert world.see(environment, "import alone; out = alone.value()", *libraries(environment)) == 23
    record(
        "Shapes",
        "extension without a package, provider in `.data/data`",
        "by loader module",
        "works; without it refused: NL502",
    )


def test_program_with_a_provider_in_the_data_scheme(toy: Toy, outer: Path, tmp_path: Path) -> None:
    source = '#include <stdio.h>\nint outer_value(void);\nint main(void) { printf("%d\\n", outer_value()); return 0; }'
    library = outer.parent.parent / "libouter.so.2"
    made = program(tmp_path, "outer-tool", source, needed=[library], flags=[f"-Wl,-rpath-link,{library.parent}"])
    files = {"guest-1.0.data/scripts/outer-tool": made}
    repaired = toy.repaired(consumer(tmp_path, "guest", files, tag=f"py3-none-{PLATFORM}"), outer)
    again(toy, repaired, outer)
    environment = installed(tmp_path / "venv", repaired, links=[outer.parent])
    done = start(environment.bin / "outer-tool")
    assert (done.returncode, done.stdout, done.stderr) == (0, "23\n", "")


# --- hints for what the system has to have ------------------------------------------------------------------------


def test_hint_for_a_library_of_the_system(toy: Toy, world: World, tmp_path: Path) -> None:
    hint = "Install Toy Drivers: apt install 'toys' {really}"
    arguments = ["--exclude", "libkept.so.*", "--system-hint", f"libkept.so.3={hint}"]
    both = toy.extension("toy_value() + kept_value()", ["libtoy.so.1", "libkept.so.3"])
    wheel = toy.repaired(consumer(tmp_path, "driven", package("driven", both)), arguments=arguments)
    again(toy, wheel, arguments=arguments)
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    code = "import driven; out = driven.value()"
    text = world.refused(environment, code, hosted=False)
    assert text.startswith("driven needs libkept.so.3 of this system (libkept.so.3: cannot open shared object file")
    assert text.endswith(f"\n{hint}")
    assert world.look(environment, code, hosted=True).out == 42 - 7
    record("Shapes", "hint for an excluded library of the system", "in a package, system with and without it", "works")


def test_hint_alone_makes_a_hook(toy: Toy, world: World, tmp_path: Path) -> None:
    arguments = ["--exclude", "libkept.so.3", "--system-hint", "libkept.so.3=Install it.", "--loader-modules"]
    files: dict[str, Any] = package("driven", toy.extension("kept_value()", ["libkept.so.3"]))
    top = toy.extension("kept_value()", ["libkept.so.3"], module="top")
    files[top.name] = top
    wheel = consumer(tmp_path, "driven", files)
    out = tmp_path / "out"
    for source, target in ((wheel, out), (out / wheel.name.replace(PLATFORM, "*"), tmp_path / "again")):
        [path] = source.parent.glob(source.name)
        argv = [sys.executable, "-m", "nativelib", "repair", str(path), *arguments, "-w", str(target)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    [first], [second] = out.glob("*.whl"), tmp_path.glob("again/*.whl")
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    environment = installed(tmp_path / "venv", first)
    for name in ("driven", "top"):
        code = f"import {name}; out = {name}.value()"
        text = world.refused(environment, code, hosted=False)
        assert text.startswith(f"{name} needs libkept.so.3 of this system (")
        assert text.endswith("\nInstall it.")
        assert world.look(environment, code, hosted=True).out == -7


def test_hint_that_nobody_can_say(toy: Toy, tmp_path: Path) -> None:
    both = toy.extension("toy_value() + kept_value()", ["libtoy.so.1", "libkept.so.3"], module="top")
    arguments = ["--exclude", "libkept.so.3", "--system-hint", "libkept.so.3=X", "--system-hint", "libtoy.so.1=Y"]
    answer = toy.repair(consumer(tmp_path, "top", {both.name: both}), arguments=arguments)
    found = {(f["code"], f["severity"], f["where"]) for f in answer.findings}
    assert ("NL502", "note", both.name) in found
    assert ("NL203", "warning", "libtoy.so.1") in found
    assert any("nothing says the hint for libkept.so.3" in f["message"] for f in answer.findings)
