"""PyInstaller collects repaired consumers with their libraries, and what comes out runs without this environment."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension, shared_library, simple_module
from tests.support.downloads import pypi_wheels
from tests.support.matrix import record
from tests.support.shapes import module_source
from tests.support.toy import EXT_SUFFIX, PLATFORM, Toy, World, consumer, installed, package
from tests.support.venvs import clean_environment
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.venvs import Environment

pytestmark = [pytest.mark.long, pytest.mark.network]

FREEZER = "pyinstaller==6.22.3"

MAIN = """
import os, sys
import {names}
modules = {names},
maps = [line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if ".so" in line]
used = sorted({{os.path.realpath(path) for path in maps if "libtoy" in path or "libupper" in path or "libfar" in path}})
print([m.value() for m in modules])
for path in used:
    print(os.path.relpath(path, os.path.realpath(sys._MEIPASS)))
"""


@pytest.fixture(scope="module")
def environment(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with PyInstaller and a repaired consumer of each shape, which have hooks and run paths."""
    root = tmp_path_factory.mktemp("freezer")
    flags = [f"-Wl,-rpath-link,{toy.host}"]
    built = {
        full: extension(
            root / full,
            full.rpartition(".")[2],
            module_source(full, "upper_value()"),
            needed=[toy.host / "libupper.so.2"],
            flags=flags,
        )
        for full in ("hooked._ext", "alone", "space.fast", "compiled")
    }
    files: dict[str, Any] = {
        **package("hooked", built["hooked._ext"]),
        f"alone{EXT_SUFFIX}": built["alone"],
        f"space/fast{EXT_SUFFIX}": built["space.fast"],
        f"compiled/__init__{EXT_SUFFIX}": built["compiled"],
    }
    wheel = toy.repaired(consumer(root, "shapes", files), toy.upper, arguments=["--loader-modules"])
    environment = installed(root / "venv", wheel, links=[toy.wheels])
    environment.install(FREEZER, links=pypi_wheels(FREEZER))
    return environment


def frozen(environment: Environment, directory: Path, code: str, *words: str) -> Path:
    """Return the program that PyInstaller makes of *code*."""
    directory.mkdir()
    (directory / "main.py").write_text(code)
    argv = [str(environment.bin / "pyinstaller"), "--noconfirm", "--log-level", "WARN", *words, "main.py"]
    env = clean_environment({"PYINSTALLER_CONFIG_DIR": str(directory / "config")})
    done = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = directory / "dist" / "main"
    return found / "main" if found.is_dir() else found


def started(world: World, program: Path) -> list[str]:
    """Start *program* where the host's copies are in reach, and where there are none; return its one output."""
    found = []
    for prefix, env in (((), {"LD_LIBRARY_PATH": str(world.host)}), (world.hiding.prefix, dict(world.hiding.env))):
        argv = [*prefix, str(program)]
        done = subprocess.run(argv, cwd="/", env=clean_environment(env), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        found.append(done.stdout.splitlines())
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("form", ["--onedir", "--onefile"])
def test_pyinstaller(environment: Environment, world: World, tmp_path: Path, form: str) -> None:
    names = "alone, compiled, hooked, space.fast"
    program = frozen(environment, tmp_path / "build", MAIN.format(names=names), form)
    moved = tmp_path / "moved"
    shutil.move(program.parent, moved)
    values, *used = started(world, moved / "main")
    assert values == "[142, 142, 142, 142]"
    assert used == ["toy_lib/lib/libtoy-toy_lib.so.1", "upper_lib/lib/libupper-upper_lib.so.2"]
    record(
        "Shapes", f"PyInstaller, `{form}`", "hook, and loader modules; moved, host's copies in reach and not", "works"
    )


def test_pyinstaller_without_loader_modules_and_with_a_foreign_provider(toy: Toy, world: World, tmp_path: Path) -> None:
    """The run path is what PyInstaller follows; the package of the foreign provider is not collected."""
    far = shared_library(tmp_path, "libfar.so.4", "int far(void) { return 66; }", soname="libfar.so.4")
    files: dict[str, Any] = {"distant/__init__.py": "1 / 0\n", "distant/lib/libfar.so.4": far}
    foreign = make_wheel(tmp_path / "wheels", f"distant-4.5-py3-none-{PLATFORM}.whl", files)
    guest = extension(tmp_path / "guest", "_ext", simple_module("_ext", "far()", "int far(void);"), needed=[far])
    alone = extension(tmp_path / "alone", "alone", module_source("alone"), needed=[toy.host / "libtoy.so.1"])
    wheel = consumer(tmp_path, "guest", {**package("guest", guest), alone.name: alone})
    repaired = toy.repaired(wheel, toy.toy, foreign)
    environment = installed(tmp_path / "venv", repaired, links=[toy.wheels, foreign.parent])
    environment.install(FREEZER, links=pypi_wheels(FREEZER))
    program = frozen(environment, tmp_path / "build", MAIN.format(names="alone, guest"), "--onedir")
    shutil.move(environment.path, tmp_path / "gone")
    values, *used = started(world, program)
    assert values == "[42, 66]"
    assert used == ["distant/lib/libfar.so.4", "toy_lib/lib/libtoy-toy_lib.so.1"]
    record("Shapes", "PyInstaller, run path alone, and a foreign provider", "`--onedir`", "works")
