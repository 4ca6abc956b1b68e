"""The page for those who build against library wheels: its projects are built and its commands print what it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests.support.build_systems import (
    MESON_RUN_PATHS,
    NOTHING,
    find_links,
    installed_apart,
    only,
    repaired_cleanly,
    with_build,
    with_pip,
)
from tests.support.matrix import record
from tests.support.openblas import openblas_wheel
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.toy import STRICT
from tests.support.venvs import clean_environment, fresh_venv, run_python
from tests.support.wheels import members
from tests.test_docs import run_shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.nohost import Hiding

pytestmark = [pytest.mark.long, pytest.mark.network]


def section(text: str, heading: str) -> str:
    """Return what stands below a heading of the second level; comments in code begin with one number sign."""
    return text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


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
        parts = [page_files(section(self.text, "## The project")), *files]
        for name, text in [item for part in parts for item in part.items()]:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        return directory

    def run(self, text: str, directory: Path) -> None:
        """Run the commands of the section *text* in *directory*; they must print what the page shows."""
        wrong = run_shown(text, directory, directory, env=only(self.links))
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
names = sorted({line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps") if ".so" in line})
print(json.dumps([name for name in names if re.search("blas", name.rpartition("/")[2])]))
"""


def computes(page: Page, wheel: Path, tmp_path: Path, hiding: Hiding, dropped: str = NOTHING) -> None:
    """The wheel, once repaired, computes with the library wheel's OpenBLAS; before repair it cannot be imported."""
    result = repaired_cleanly(wheel, [page.library], tmp_path / "result", dropped=dropped, newer_provider=True)
    environment, (one, two) = installed_apart([result, page.library], tmp_path / "apart")
    raw = tmp_path / "apart" / "raw"
    environment.install(wheel, flags=["--no-deps", "--target", str(raw)])

    def run(*parts: Path, code: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {**hiding.env, "PYTHONPATH": ":".join(map(str, parts))}
        return run_python(environment, code, env=env, flags=STRICT, prefix=hiding.prefix, check=check)

    files = json.loads(run(one, two, code=DOT).stdout)
    assert files == [str(two / "openblas_lib/lib/libopenblas-openblas_lib.so.0")]
    before = run(raw, two, code="import dot", check=False)
    assert "libopenblas-openblas_lib.so.0: cannot open shared object file" in before.stderr


def test_meson_python_page(page: Page, tmp_path: Path, no_host_libraries: Hiding) -> None:
    text = section(page.text, "## meson-python")
    files = page_files(text)
    other = files.pop("meson.build without pkg-config")
    page.run(text, page.write(tmp_path / "dot", files))
    [wheel] = (tmp_path / "dot" / "dist").glob("*.whl")
    computes(page, wheel, tmp_path / "first", no_host_libraries, dropped=MESON_RUN_PATHS)
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


def test_what_the_page_says_of_tags_and_requirements(page: Page, tmp_path: Path) -> None:
    files = page_files(section(page.text, "## setuptools"))
    version = page.library.name.split("-")[1]
    requirement = f"openblas-lib<0.4,>={version}; sys_platform == 'linux'"
    files["pyproject.toml"] += f'dependencies = ["{requirement}"]\n'
    [tag] = re.findall(r"--plat (\w+) --only-plat", page.text)
    wheel = with_pip(page.write(tmp_path / "dot", files), page.links).wheel
    options = ["--provided-by", page.library, "--plat", tag, "--only-plat", "-w", tmp_path / "wheelhouse"]
    answer = nativelib("repair", wheel, *options)
    assert answer.code == 0, answer.stdout
    [found] = answer.document["wheels"]
    assert found["tags"] == [tag]
    [metadata] = (text for name, text in members(Path(found["output"])).items() if name.endswith("/METADATA"))
    written = message_from_bytes(metadata).get_all("Requires-Dist") or []
    assert [str(Requirement(item)) for item in written] == [str(Requirement(requirement))]
    # NL402 where this machine's OpenBLAS is for newer systems than that of the page.
    expected = {"NL207"} if tag in page.library.name else {"NL207", "NL402"}
    assert {finding["code"] for finding in answer.findings} <= expected


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
    (bin_directory / "pip").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m pip --python "{environment.python}" "$@"\n'
    )
    # pipx is on the images of cibuildwheel; what it would fetch is the project at hand.
    (bin_directory / "pipx").write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "run --spec pynativelib" ] || exit 9\nshift 3\nexec {sys.executable} -m "$@"\n'
    )
    for name in ("pip", "pipx"):
        (bin_directory / name).chmod(0o755)
    env = clean_environment(only(page.links))
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
