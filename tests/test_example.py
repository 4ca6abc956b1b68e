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
    sys.modules.pop("report")


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
        rewritten=(),
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


@pytest.mark.long
@pytest.mark.network
def test_demo_twice_and_from_a_prefix(tmp_path: Path) -> None:
    need_demo_tools()
    work = tmp_path / "work"
    run_to_report(work)
    again, found = run_to_report(work)
    assert "apt-get" not in again
    assert "pip -q wheel" not in again
    assert [len(item["processes"]) for item in found["scenarios"]] == [2, 2, 2]
    own, *shared = found["scenarios"]
    for item in shared:
        assert item["installed"] * 1.8 < own["installed"]
        assert all(path.startswith(str(work)) for process in item["processes"] for path in process["mapped"]["OpenMP"])

    prefix = tmp_path / "opt"
    triplet = next((work / "tree" / "usr" / "lib").iterdir()).name
    shutil.copytree(work / "tree" / "usr" / "include" / triplet / "openblas-openmp", prefix / "include")
    (prefix / "lib").mkdir()
    for library in (work / "tree" / "usr" / "lib" / triplet).glob("lib*.so*"):
        shutil.copy(library, prefix / "lib")
    openblas = work / "tree" / "usr" / "lib" / triplet / "openblas-openmp" / "libopenblas.so.0"
    shutil.copy(openblas, prefix / "lib" / "libopenblas.so.0")
    subprocess.run([require("patchelf"), "--set-rpath", "$ORIGIN", prefix / "lib" / "libopenblas.so.0"], check=True)
    licence = work / "tree" / "usr" / "share" / "doc" / "libopenblas0-openmp" / "copyright"
    _, found = run_to_report(tmp_path / "other", "--prefix", prefix, "--license", licence)
    assert [item["title"] for item in found["scenarios"]] == ["own copies", "shared"]
    assert [library["wheel"]["name"] for library in found["libraries"]] == ["openmp_lib", "openblas_openmp_lib"]
