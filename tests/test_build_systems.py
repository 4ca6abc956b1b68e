"""Consumers of library wheels, by every build system and linker: built in isolation, repaired, installed apart, run."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.build_systems import (
    MESON_RUN_PATHS,
    NOTHING,
    VALUE,
    Build,
    cc_wheel,
    cmake_project,
    cmake_wheel,
    find_links,
    installed_apart,
    linked_by,
    meson_project,
    repaired_cleanly,
    run_build,
    scikit_build_project,
    setuptools_project,
    with_build,
    with_pip,
    with_uv,
)
from tests.support.cc import shared_library, simple_module
from tests.support.matrix import record
from tests.support.prefixes import unpacked
from tests.support.tools import require
from tests.support.toy import PLATFORM, STRICT, Toy, World, library_wheel
from tests.support.venvs import Environment, fresh_venv, run_python

if TYPE_CHECKING:
    from pathlib import Path

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


def linkers(wheel: Path, into: Path) -> set[str]:
    return {linked_by(file) for file in unpacked(wheel, into).rglob("*.so")}


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
    dropped = MESON_RUN_PATHS if system == "meson-python" else NOTHING
    wheel = repaired_cleanly(build.wheel, [toy.upper, toy.toy], tmp_path / "wheelhouse", dropped=dropped)
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
    record(
        "Build systems", f"{row}, program pkg-config", "a build with library wheels", "refused: pkgconf sees no wheels"
    )
    record(
        "Build systems",
        f"{row}, program pkgconf-pypi",
        "builds by pip, uv and build, also from an activated environment",
        "works; build only with VIRTUAL_ENV unset",
    )


def broken_wheels(directory: Path) -> dict[str, Path]:
    """Library wheels that can be installed here and cannot be loaded: for another processor, and without its driver."""
    cc = "aarch64-linux-gnu-gcc" if os.uname().machine != "aarch64" else "x86_64-linux-gnu-gcc"
    source = "int other_value(void) { return 1; }"
    shared_library(directory / "other" / "lib", "libother.so.1", source, soname="libother.so.1", cc=cc)
    other = library_wheel(directory, "other-lib", "1.0", directory / "other", ["lib/libother.so.1"])
    retag = ["-m", "wheel", "tags", "--remove", "--platform-tag", PLATFORM, other]
    renamed = run_build([sys.executable, *map(str, retag)]).splitlines()[-1]

    driver = shared_library(
        directory / "driver", "libdriver.so.1", "int driver(void) { return 1; }", soname="libdriver.so.1"
    )
    source = "int driver(void); int gpu_value(void) { return 40 + driver(); }"
    shared_library(directory / "gpu" / "lib", "libgpu.so.1", source, soname="libgpu.so.1", needed=[driver])
    options = ["--exclude", "libdriver.so.1"]
    gpu = library_wheel(
        directory,
        "gpu-lib",
        "1.0",
        directory / "gpu",
        ["lib/libgpu.so.1"],
        arguments=options,
        spec='compatible = ">={version}"',
    )
    return {"other-lib": other.parent / renamed, "gpu-lib": gpu}


def test_library_wheels_that_cannot_be_loaded(toy: Toy, world: World, tmp_path: Path) -> None:
    broken = broken_wheels(tmp_path)
    links = find_links(tmp_path / "links", toy.toy, toy.upper, *broken.values())
    environment = fresh_venv(tmp_path / "venv")
    environment.install(*broken, links=links)
    for name, why in (("other_lib", "is built for"), ("gpu_lib", "need libdriver.so.1, which is neither there")):
        assert why in world.refused(environment, f"import {name}", hosted=False)

    makers = {"scikit-build-core": scikit_build_project, "meson-python": meson_project}
    for system, make in makers.items():
        # A project that has nothing to do with them, in an environment that has them.
        project = make(*BOTH).beside(*broken)
        build = with_uv(project.write(tmp_path / system), links, project.env)
        dropped = MESON_RUN_PATHS if system == "meson-python" else NOTHING
        wheel = repaired_cleanly(build.wheel, [toy.upper, toy.toy], tmp_path / system / "wheelhouse", dropped=dropped)
        fit, places = installed_apart([wheel, toy.upper, toy.toy], tmp_path / system / "apart")
        env = {"PYTHONPATH": ":".join(map(str, places))}
        assert world.see(fit, "import adder; out = adder.value()", env=env, flags=STRICT) == VALUE

        # Nor need a library be loaded where something is linked with it.
        project = make("gpu-lib")
        source = project.write(tmp_path / f"gpu-{system}", GPU)
        build = with_uv(source, links, project.env)
        wheel = repaired_cleanly(build.wheel, [broken["gpu-lib"]], source / "wheelhouse", dropped=dropped)
        fit, places = installed_apart([wheel, broken["gpu-lib"]], source / "apart")
        env = {"PYTHONPATH": ":".join(map(str, places))}
        assert "Install the package of your system that has libdriver.so.1" in world.refused(
            fit, "import adder", hosted=False, env=env, flags=STRICT
        )
        env["LD_LIBRARY_PATH"] = str(tmp_path / "driver")
        assert run_python(fit, "import adder; print(adder.value())", env=env, flags=STRICT).stdout == "41\n"
        record(
            "Build systems",
            f"{system}: library wheels that cannot be loaded",
            "for another processor, and without its driver: in the environment of a build that does not use them; the "
            "second also linked with",
            "works",
        )


GPU = simple_module("_adder", "gpu_value()", "int gpu_value(void);")
