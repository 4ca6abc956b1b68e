"""The example: its refusals, its own checks, and the whole demo on real libraries."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.downloads import cache_directory
from tests.support.tools import lacking, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "openblas"
BUILDS = {"OpenBLAS": 2, "OpenMP": 2}


def run_demo(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE / "demo.py"), *map(str, arguments)]
    values = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(EXAMPLE.parents[1]),
        **(environment or {}),
    }
    return subprocess.run(command, env=values, capture_output=True, text=True, check=False)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield importlib.import_module("report")
    sys.modules.pop("report", None)


def scenario(report: Any, title: str, *, blas: Sequence[str], openmp: Sequence[str], tests: int = 10) -> Any:
    wheel = report.Wheel(name="numpy_like", size=1000, tag="manylinux_2_34_x86_64")
    process = {
        "mapped": {"OpenBLAS": list(blas), "OpenMP": list(openmp)},
        "threads": 3,
        "resident": 10**7,
        "import_seconds": 0.01,
    }
    return report.Scenario(
        title=title,
        consumers=(wheel, wheel),
        providers=(),
        rewritten=(("numpy_like", "hook: _distributor_init.py"),),
        installed=1,
        processes=(process,),
        tests=tests,
    )


def test_demo_is_content_with_one_copy_of_each(report: Any) -> None:
    own = scenario(report, "own copies", blas=["a", "b"], openmp=["c", "d"])
    assert report.shortcomings([own, scenario(report, "shared", blas=["a"], openmp=["c"])], BUILDS) == []


def test_demo_notices_a_second_copy(report: Any) -> None:
    own = scenario(report, "own copies", blas=["a", "b"], openmp=["c", "d"])
    [line] = report.shortcomings([own, scenario(report, "shared", blas=["a", "b"], openmp=["c"])], BUILDS)
    assert "shared" in line
    assert "OpenBLAS" in line


def test_demo_notices_that_no_number_was_tested(report: Any) -> None:
    own = scenario(report, "own copies", blas=["a", "b"], openmp=["c", "d"], tests=0)
    [line] = report.shortcomings([own], BUILDS)
    assert "no test" in line


def test_the_report_says_once_what_is_the_same(report: Any) -> None:
    own = scenario(report, "own copies", blas=["a", "b"], openmp=["c", "d"])
    wheel = report.Wheel(name="numpy_like", size=1000, tag="linux_x86_64")
    library = report.Library(wheel=wheel, sonames=(("liba.so.1", "liba-a.so.1"),), private=(), requires=())
    shared = scenario(report, "shared", blas=["a"], openmp=["c"])
    text = report.render([library], [wheel], [own, shared], 2)
    assert text.count("hook: _distributor_init.py") == 1
    assert "liba.so.1 -> liba-a.so.1" in text
    assert "manylinux_2_34 " in text
    assert "instead of 2 OpenBLAS and 2 OpenMP" in report.verdict([own, shared])
    assert "instead of" not in report.verdict([shared, shared])


def test_without_apt_a_prefix_is_asked_for(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gcc").symlink_to(require("gcc"))
    done = run_demo("--work", tmp_path / "work", environment={"PATH": str(programs), "NATIVELIB_CACHE": str(tmp_path)})
    assert done.returncode == 1
    assert "--prefix" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_compiler_the_line_that_installs_it_is_printed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = run_demo("--work", tmp_path / "work", environment={"PATH": str(tmp_path / "bin")})
    assert done.returncode == 1
    assert "apt-get install gcc" in done.stderr
    assert not (tmp_path / "work").exists()


def test_a_working_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    require("gcc")
    (tmp_path / "libraries").mkdir()
    (tmp_path / "libraries" / "mine").touch()
    done = run_demo("--work", tmp_path)
    assert done.returncode == 1
    assert "--work" in done.stderr
    assert (tmp_path / "libraries" / "mine").exists()


def test_the_demos_own_tree_is_no_prefix(tmp_path: Path) -> None:
    require("gcc")
    work = tmp_path / "work"
    (work / "tree" / "usr" / "lib").mkdir(parents=True)
    (work / ".nativelib-demo").touch()
    done = run_demo("--work", work, "--prefix", work / "tree" / "usr")
    assert done.returncode == 1
    assert "copy it first" in done.stderr
    assert (work / "tree" / "usr" / "lib").is_dir()


def test_a_working_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    require("gcc")
    (tmp_path / "file").touch()
    done = run_demo("--work", tmp_path / "file" / "work")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_prefix_without_openblas_is_refused(tmp_path: Path) -> None:
    require("gcc")
    done = run_demo("--work", tmp_path / "work", "--prefix", tmp_path)
    assert done.returncode == 1
    assert "libopenblas.so.0" in done.stderr
    assert "Traceback" not in done.stderr


def need_demo_tools() -> None:
    for tool in ("gcc", "apt-get", "dpkg-deb"):
        require(tool)
    # The demo's commands run outside the checkout, as a user's do.
    found = subprocess.run([sys.executable, "-m", "nativelib", "--version"], cwd="/", capture_output=True, check=False)
    if found.returncode:
        lacking("an installed nativelib")


def run_to_report(work: Path, *arguments: str | Path) -> tuple[str, Any]:
    done = run_demo("--work", work, *arguments, environment={"NATIVELIB_CACHE": str(cache_directory() / "demo")})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return done.stdout, json.loads((work / "report.json").read_text(encoding="utf-8"))


def mapped(item: Any, family: str) -> set[int]:
    return {len(process["mapped"][family]) for process in item["processes"]}


def user_prefix(tree: Path, prefix: Path) -> Path:
    """Make what ``make install`` of an OpenBLAS with OpenMP threads leaves, with GCC's run-time libraries beside it."""
    [libraries] = [path.parent for path in (tree / "lib").glob("*/openblas-openmp")]
    [headers] = (tree / "include").glob("*/openblas-openmp")
    shutil.copytree(headers, prefix / "include")
    (prefix / "lib").mkdir()
    for library in (*libraries.glob("lib*.so*"), libraries / "openblas-openmp" / "libopenblas.so.0"):
        shutil.copy(library, prefix / "lib")
    return prefix


@pytest.mark.long
@pytest.mark.network
def test_demo_twice_and_from_a_prefix(tmp_path: Path) -> None:
    need_demo_tools()
    # Users have blanks in their paths.
    work = tmp_path / "a work"
    first, found = run_to_report(work)
    assert set(found) == {"cores", "libraries", "consumers", "scenarios", "findings"}
    names = [library["wheel"]["name"] for library in found["libraries"]]
    assert names == ["openmp_lib", "openblas_lib", "openblas_openmp_lib"]
    own, *shared = found["scenarios"]
    assert own["title"] == "own copies"
    assert [item["title"] for item in shared] == ["shared", "shared, OpenMP"]
    for family in ("OpenBLAS", "OpenMP"):
        assert mapped(own, family) == {2}
        assert [mapped(item, family) for item in shared] == [{1}, {1}]
    for item in shared:
        assert item["installed"] * 1.8 < own["installed"]
        paths = [path for process in item["processes"] for family in process["mapped"].values() for path in family]
        assert all(path.startswith(str(work)) for path in paths)
    # Every test of the two packages, in every environment.
    assert {item["tests"] for item in found["scenarios"]} == {10}
    assert not [finding for finding in found["findings"] if finding["severity"] == "error"]
    check_what_a_reader_sees(first)

    again, found_again = run_to_report(work)
    assert "apt-get" not in again
    assert "pip wheel" not in again
    assert [wheels_of(item) for item in found_again["scenarios"]] == [wheels_of(item) for item in found["scenarios"]]

    prefix = user_prefix(work / "tree" / "usr", tmp_path / "an opt")
    licence = work / "tree" / "usr" / "share" / "doc" / "libopenblas0-openmp" / "copyright"
    _, found = run_to_report(tmp_path / "other", "--prefix", prefix, "--license", licence)
    assert [item["title"] for item in found["scenarios"]] == ["own copies", "shared"]
    assert [library["wheel"]["name"] for library in found["libraries"]] == ["openmp_lib", "openblas_openmp_lib"]
    assert [mapped(found["scenarios"][1], family) for family in ("OpenBLAS", "OpenMP")] == [{1}, {1}]
    assert {item["tests"] for item in found["scenarios"]} == {10}


def wheels_of(item: Any) -> list[tuple[str, int, str]]:
    return [(wheel["name"], wheel["size"], wheel["tag"]) for wheel in (*item["consumers"], *item["providers"])]


def check_what_a_reader_sees(text: str) -> None:
    steps, report = text.split("\nLibrary wheels", 1)
    assert len(report.splitlines()) <= 50
    assert max(map(len, report.splitlines()[:-1])) <= 105  # the last line names the working directory
    warnings = [line.split()[1] for line in steps.splitlines() if line.lstrip().startswith("warning")]
    assert len(warnings) == len(set(warnings))
    assert "instead of 2 OpenBLAS and 2 OpenMP" in report
