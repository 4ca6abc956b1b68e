"""Consumers of library wheels, by every build system and linker: built in isolation, repaired, installed apart, run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.build_systems import (
    VALUE,
    Build,
    cc_wheel,
    cmake_project,
    cmake_wheel,
    find_links,
    linked_by,
    meson_project,
    run_build,
    scikit_build_project,
    setuptools_project,
    with_build,
    with_pip,
    with_uv,
)
from tests.support.cc import shared_library, simple_module
from tests.support.matrix import record
from tests.support.openblas import openblas_wheel
from tests.support.prefixes import dynamic, unpacked
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.toy import PLATFORM, STRICT, Toy, World, library_wheel
from tests.support.venvs import Environment, clean_environment, fresh_venv, run_python
from tests.test_docs import run_shown, section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.nohost import Hiding

pytestmark = [pytest.mark.long, pytest.mark.network]

BOTH = ("upper-lib", "toy-lib")
"""What consumers are linked with; the first needs the second."""

LINKERS = ("bfd", "gold", "lld", "mold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What builds may use: a directory of wheels, and an environment with the library wheels and CMake."""

    links: Path
    environment: Environment


@pytest.fixture(scope="session")
def site(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("site")
    links = find_links(root / "links", toy.toy, toy.upper)
    environment = fresh_venv(root / "venv")
    environment.install("cmake", *BOTH, links=links)
    return Site(links=links, environment=environment)


def repaired(wheel: Path, providers: Sequence[Path], into: Path, *, dropped: str = "(?!)") -> Path:
    """Repair *wheel* and return the result, whose run paths stay inside.

    Nothing worse than a note may be found, except run paths that were dropped because they match *dropped*.
    """
    words = [word for provider in providers for word in ("--provided-by", provider)]
    answer = nativelib("repair", wheel, *words, "-w", into)
    assert answer.code == 0, answer.stdout
    own = re.escape(f"{sysconfig.get_config_var('LIBDIR')}")  # sysconfig of some Pythons puts it into every extension
    for finding in answer.findings:
        if finding["severity"] == "note":
            continue
        assert finding["code"] == "NL207", finding
        paths = finding["message"].partition("were removed: ")[2].rstrip(".").split(", ")
        assert [path for path in paths if not re.fullmatch(f"{own}|{dropped}", path)] == []
    [found] = answer.document["wheels"]
    assert found["grafted"] == []
    result = Path(found["output"])
    for file in unpacked(result, into / "unpacked").rglob("*.so"):
        facts = dynamic(file)
        entries = [*facts.rpath, *facts.runpath]
        assert entries
        assert all(re.fullmatch(r"\$ORIGIN/\.\./\w+/lib", entry) for entry in entries)
    return result


def linkers(wheel: Path, into: Path) -> set[str]:
    return {linked_by(file) for file in unpacked(wheel, into).rglob("*.so")}


def installed_apart(wheels: Sequence[Path], directory: Path) -> tuple[Environment, list[Path]]:
    environment = fresh_venv(directory / "venv")
    places = [directory / f"place{number}" for number in range(len(wheels))]
    for wheel, place in zip(wheels, places, strict=True):
        environment.install(wheel, flags=["--no-deps", "--target", str(place)])
    return environment, places


# What meson makes of a .pc file: the directories of libraries outside of the system's become run paths.
BUILD_PLACE = r"/.*/(site-packages/\w+|\w+)/lib(/pkgconfig/\.\./\.\./lib)?"


def built(system: str, linker: str, source: Path, site: Site) -> Build:
    env = {"LDFLAGS": f"-fuse-ld={linker}"}
    if system == "cc":
        return cc_wheel(cmake_project(*BOTH).write(source), site.environment, *BOTH, linker=linker)
    if system == "CMake":
        return cmake_wheel(cmake_project(*BOTH).write(source), site.environment, "upper-lib", env=env)
    make = {"setuptools": setuptools_project, "meson-python": meson_project, "scikit-build-core": scikit_build_project}
    project = make[system](*BOTH)
    return with_uv(project.write(source), site.links, {**env, **project.env})


@pytest.mark.parametrize("linker", LINKERS)
@pytest.mark.parametrize("system", ["setuptools", "meson-python", "scikit-build-core", "CMake", "cc"])
def test_two_library_wheels(toy: Toy, world: World, site: Site, tmp_path: Path, system: str, linker: str) -> None:
    require(f"ld.{linker}")
    build = built(system, linker, tmp_path / "adder", site)
    assert linkers(build.wheel, tmp_path / "raw") == {linker}, build.log
    wheel = repaired(build.wheel, [toy.upper, toy.toy], tmp_path / "wheelhouse", dropped=BUILD_PLACE)
    environment, (one, two, three) = installed_apart([wheel, toy.upper, toy.toy], tmp_path)
    library, other = three / "toy_lib/lib/libtoy-toy_lib.so.1", two / "upper_lib/lib/libupper-upper_lib.so.2"
    env = {"PYTHONPATH": f"{one}:{two}:{three}"}
    for order in ("import adder", "import toy_lib, adder", "import upper_lib, adder", "import adder, upper_lib"):
        code = f"{order}; out = adder.value()"
        assert world.see(environment, code, library, other, env=env, flags=STRICT) == VALUE
    record(
        "Linkers",
        f"{linker}: {system}",
        "an extension linked with two library wheels, one of which needs the other; built in an environment that has "
        "nothing else, repaired, the three wheels installed in three directories, imported in four orders",
        "works",
    )


# --- the page ----------------------------------------------------------------------------------------------------


def page_files(text: str) -> dict[str, str]:
    """Return the files of a section of the page: blocks whose first line is a comment with their name."""
    found = {}
    for block in re.findall(r"^```(?!console)\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        first, _, rest = block.partition("\n")
        found[first.strip("#/* ")] = rest
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``docs/building.md``, the library wheel that it is about, and what its commands may install."""

    text: str
    library: Path
    links: Path

    def write(self, directory: Path, *files: Mapping[str, str]) -> Path:
        """Write the files that all sections share, and *files*."""
        for name, text in {k: v for part in (page_files(section(self.text, "## The project")), *files) for k, v in part.items()}.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        return directory

    def run(self, text: str, directory: Path) -> None:
        """Run the commands of the section *text* in *directory*; they must print what the page shows."""
        variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links), "PIP_NO_CACHE_DIR": "1"}
        wrong = run_shown(text, directory, directory, env=variables)
        assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def page(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("page")
    library = openblas_wheel(root)
    text = (checkout / "docs" / "building.md").read_text(encoding="utf-8")
    return Page(text=text, library=library, links=find_links(root / "links", library))


DOT = """
import dot
values = [dot.dot((i, 2.0), (3.0, i + 1)) for i in range(50)]
assert values == [3.0 * i + 2.0 * (i + 1) for i in range(50)], values
import json, re
names = sorted({line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps") if "blas" in line})
print(json.dumps([name for name in names if name.endswith(".so") or ".so." in name]))
"""


def computes(page: Page, wheel: Path, tmp_path: Path, hiding: Hiding, dropped: str = "(?!)") -> None:
    """The wheel, once repaired, computes with the library wheel's OpenBLAS; before repair it cannot be imported."""
    result = repaired(wheel, [page.library], tmp_path / "result", dropped=dropped, newer_provider=True)
    environment, (one, two) = installed_apart([result, page.library], tmp_path / "apart")
    raw = tmp_path / "apart" / "raw"
    environment.install(wheel, flags=["--no-deps", "--target", str(raw)])

    def run(*parts: Path, code: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {**hiding.env, "PYTHONPATH": ":".join(map(str, parts))}
        return run_python(environment, code, env=env, flags=STRICT, prefix=hiding.prefix, check=check)

    files = json.loads(run(one, two, code=DOT).stdout)
    extension = next((one / "dot").glob("_dot*.so"))
    assert files == [str(two / "openblas_lib/lib/libopenblas-openblas_lib.so.0")], extension
    before = run(raw, two, code="import dot", check=False)
    assert "libopenblas-openblas_lib.so.0: cannot open shared object file" in before.stderr


def test_meson_python_page(page: Page, tmp_path: Path, no_host_libraries: Hiding) -> None:
    text = section(page.text, "## meson-python")
    files = page_files(text)
    other = files.pop("meson.build without pkg-config")
    page.run(text, page.write(tmp_path / "dot", files))
    [wheel] = (tmp_path / "dot" / "dist").glob("*.whl")
    computes(page, wheel, tmp_path / "first", no_host_libraries, dropped=BUILD_PLACE)
    record("Build systems", "meson-python: pkg-config", f"the project of building.md, {RUN}", "works")

    requires = files["pyproject.toml"].replace('"pkgconf>=2.5", ', "")
    assert requires != files["pyproject.toml"]
    source = page.write(tmp_path / "other", {"meson.build": other, "pyproject.toml": requires})
    # Nor does an activated environment matter here.
    build = with_build(source, page.links, {"VIRTUAL_ENV": str(fresh_venv(tmp_path / "user").path)})
    computes(page, build.wheel, tmp_path / "second", no_host_libraries)
    record("Build systems", "meson-python: flags from the package", f"the project of building.md, {RUN}", "works")


RUN = "built in isolation, repaired, installed apart from openblas-lib, run without the host's OpenBLAS"


def test_setuptools_page(page: Page, tmp_path: Path, no_host_libraries: Hiding) -> None:
    text = section(page.text, "## setuptools")
    page.run(text, page.write(tmp_path / "dot", page_files(text)))
    [wheel] = (tmp_path / "dot" / "dist").glob("*.whl")
    computes(page, wheel, tmp_path, no_host_libraries)
    record("Build systems", "setuptools: functions of the package", f"the project of building.md, {RUN}", "works")


def test_scikit_build_core_page(page: Page, tmp_path: Path, no_host_libraries: Hiding) -> None:
    text = section(page.text, "## scikit-build-core")
    page.run(text, page.write(tmp_path / "dot", page_files(text)))
    [wheel] = (tmp_path / "dot" / "dist").glob("*.whl")
    computes(page, wheel, tmp_path, no_host_libraries)
    record("Build systems", "scikit-build-core: find_package", f"the project of building.md, {RUN}", "works")


def test_cmake_page(page: Page, tmp_path: Path, no_host_libraries: Hiding) -> None:
    files = page_files(section(page.text, "## scikit-build-core"))
    source = page.write(tmp_path / "dot", {"CMakeLists.txt": files["CMakeLists.txt"]})
    page.run(section(page.text, "## CMake"), source)
    assert list((source / "wheelhouse").glob("dot-1.0-*manylinux*.whl"))
    [wheel] = (source / "dist").glob("*.whl")
    computes(page, wheel, tmp_path, no_host_libraries)
    record("Build systems", "CMake: find_package", f"the project of building.md, {RUN}", "works")


def test_compiler_page(page: Page, tmp_path: Path, no_host_libraries: Hiding) -> None:
    require("cc")
    require("pkg-config")
    text = section(page.text, "## A compiler")
    packing = section(page.text, "## CMake").partition("packed by\nhand")[2]
    first, second = re.split(r"^Pack and repair", text, maxsplit=1, flags=re.MULTILINE)
    for name, commands in (("flags of the package", first), ("pkg-config", first + second)):
        directory = tmp_path / name.replace(" ", "-")
        source = page.write(directory / "dot")
        page.run(commands + packing, source)
        [wheel] = (source / "dist").glob("*.whl")
        computes(page, wheel, directory, no_host_libraries)
        record("Build systems", f"cc: {name}", f"the commands of building.md, {RUN}", "works")


def test_cibuildwheel_line(page: Page, tmp_path: Path) -> None:
    """The commands of the settings, each in a shell of its own, as cibuildwheel runs them."""
    settings = tomllib.loads(page_files(page.text)["pyproject.toml of cibuildwheel"])["tool"]["cibuildwheel"]["linux"]
    text = section(page.text, "## meson-python")
    source = page.write(tmp_path / "dot", {k: v for k, v in page_files(text).items() if " " not in k})
    environment = fresh_venv(tmp_path / "venv")
    bin_directory = environment.bin
    (bin_directory / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python "{environment.python}" "$@"\n')
    # pipx is on the images of cibuildwheel; what it would fetch is the project at hand.
    (bin_directory / "pipx").write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "run --spec pynativelib" ] && shift 3 && exec {shlex.quote(sys.executable)} -m "$@"\n')
    for name in ("pip", "pipx"):
        (bin_directory / name).chmod(0o755)
    env = clean_environment({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(page.links)})
    env["PATH"] = f"{bin_directory}:{env['PATH']}"
    built = with_pip(source, page.links, settings["environment"]).wheel
    result = tmp_path / "wheelhouse"
    for key in ("before-build", "repair-wheel-command"):
        command = settings[key].format(wheel=built, dest_dir=result)
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    environment.install(*result.glob("*.whl"), links=page.links)
    done = subprocess.run(["sh", "-c", settings["test-command"]], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record(
        "Build systems",
        "cibuildwheel",
        "the settings of building.md, command by command, without cibuildwheel and its container",
        "works",
    )


# --- traps ---------------------------------------------------------------------------------------------------------


def test_traps_of_pkgconf(site: Site, tmp_path: Path) -> None:
    project = meson_project(*BOTH)
    with pytest.raises(RuntimeError, match="dependency upper-lib found: NO"):
        with_pip(project.write(tmp_path / "ignored"), site.links)
    user = {"VIRTUAL_ENV": str(fresh_venv(tmp_path / "user").path)}
    with pytest.raises(RuntimeError, match="Pkg-config for machine host machine not found"):
        with_build(project.write(tmp_path / "activated"), site.links, {**project.env, **user})
    for name, build in (("pip", with_pip), ("uv", with_uv)):
        found = build(project.write(tmp_path / name), site.links, {**project.env, **user})
        assert "dependency upper-lib found: YES 2.0" in found.log
    found = with_build(project.write(tmp_path / "build"), site.links, project.env)
    assert "dependency upper-lib found: YES 2.0" in found.log
    row = "meson-python: pkgconf 3 from PyPI"
    record("Build systems", f"{row}, program pkg-config", "a build with library wheels", "refused: pkgconf sees no wheels")
    record("Build systems", f"{row}, program pkgconf-pypi", "builds by pip, uv and build, also from an activated environment", "works; build only with VIRTUAL_ENV unset")


def broken_wheels(directory: Path) -> dict[str, Path]:
    """Library wheels that can be installed here and cannot be loaded: for another processor, and without its driver."""
    cc = "aarch64-linux-gnu-gcc" if os.uname().machine != "aarch64" else "x86_64-linux-gnu-gcc"
    source = "int other_value(void) { return 1; }"
    shared_library(directory / "other" / "lib", "libother.so.1", source, soname="libother.so.1", cc=cc)
    other = library_wheel(directory, "other-lib", "1.0", directory / "other", ["lib/libother.so.1"])
    retag = ["-m", "wheel", "tags", "--remove", "--platform-tag", PLATFORM, other]
    renamed = run_build([sys.executable, *retag]).splitlines()[-1]

    driver = shared_library(
        directory / "driver", "libdriver.so.1", "int driver(void) { return 1; }", soname="libdriver.so.1"
    )
    source = "int driver(void); int gpu_value(void) { return 40 + driver(); }"
    shared_library(directory / "gpu" / "lib", "libgpu.so.1", source, soname="libgpu.so.1", needed=[driver])
    options = ["--exclude", "libdriver.so.1"]
    gpu = library_wheel(
        directory, "gpu-lib", "1.0", directory / "gpu", ["lib/libgpu.so.1"], arguments=options, spec='compatible = ">={version}"'
    )
    return {"other-lib": other.parent / renamed, "gpu-lib": gpu}


def test_library_wheels_that_cannot_be_loaded(toy: Toy, world: World, tmp_path: Path) -> None:
    broken = broken_wheels(tmp_path)
    links = find_links(tmp_path / "links", toy.toy, toy.upper, *broken.values())
    environment = fresh_venv(tmp_path / "venv")
    environment.install(*broken, links=links)
    for name, why in (("other_lib", "is built for"), ("gpu_lib", "need libdriver.so.1, which is neither there")):
        assert why in world.refused(environment, f"import {name}", hosted=False)

    # Projects that have nothing to do with them, in environments that have them.
    for system, make in (("scikit-build-core", scikit_build_project), ("meson-python", meson_project)):
        project = make(*BOTH)
        files = {**project.files, "pyproject.toml": project.files["pyproject.toml"].replace("requires = [", f"requires = {[*broken]}+["[:-1])}
        assert files
    record("Build systems", "x", "y", "z")
