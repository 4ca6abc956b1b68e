"""The parts of the showcase that need no wheels: what it reads, its tables, its verdict and its plot."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MODULES = ("measure", "results", "plot", "stacks", "steps", "debian", "tree")


@pytest.fixture
def showcase(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the importer of the example's modules, whose names others may have, too."""
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(EXAMPLES / "openblas"))
    monkeypatch.syspath_prepend(str(EXAMPLES / "showcase"))
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


def process(openmp: int) -> dict[str, Any]:
    mapped = {"OpenBLAS": ["a", "b"], "OpenMP": [f"libgomp{n}" for n in range(openmp)], "Fortran": []}
    report = {"mapped": mapped, "threads_idle": 3, "threads": 4, "import_seconds": 0.5}
    return {"forward": report, "backward": report}


def suite(passed: int, *bad: str) -> dict[str, Any]:
    counts = {"passed": passed, **({"failed": len(bad)} if bad else {}), "xfailed": 1}
    return {"counts": counts, "bad": list(bad)}


def results(**changes: Any) -> dict[str, Any]:
    times = {"untouched": [9.0, 8.0, 30.0], "passive": [4.0], "shared": [2.0, 1.0, 3.0]}
    return {
        "process": {"untouched": process(3), "shared": process(1)},
        "installed": {"untouched": 10**8, "shared": 9 * 10**7},
        "workloads": [
            {"title": "a & b", "parts": ["a", "b"], "ms": times},
            {"title": "a alone", "parts": ["a"], "ms": times},
        ],
        "suites": [{"title": "a's tests", "untouched": suite(10), "shared": suite(10)}],
        "forks": [{"part": "a", "method": "os", "untouched": [True], "shared": [True]}],
        "wheels": [{"name": "a 1", "before": 10**7, "after": 10**6, "from": ["b-lib"]}],
        **changes,
    }


def test_what_pytest_says_is_counted(showcase: Any) -> None:
    outcome = showcase("measure").outcome
    text = "FAILED a/test_b.py::test_c[1] - assert\nERROR a/test_d.py\n2 failed, 3 passed, 1 error, 4 xpassed in 5s"
    assert outcome(text) == (
        {"failed": 2, "passed": 3, "errors": 1, "xpassed": 4},
        ["a/test_b.py::test_c[1]", "a/test_d.py"],
    )
    assert outcome("Fatal Python error: Segmentation fault") == ({}, [])


def test_tables_have_medians_and_even_columns(showcase: Any) -> None:
    text = showcase("results").render(results(forks=[]))
    assert re.search(r"\| a & b +\| +9\.00 \| +4\.00 \| +2\.00 \| +4\.5 \|", text)
    assert re.search(r"\| OpenMP libraries mapped +\| +3 \| +1 \|", text)
    assert re.search(r"\| a's tests +\| +10 passed, 1 xfailed \| +10 passed, 1 xfailed \|", text)
    for table in text.split("\n\n"):
        assert len({len(line) for line in table.splitlines()}) == 1
    assert "fork" not in text


def test_a_showcase_that_holds_has_no_shortcomings(showcase: Any) -> None:
    assert showcase("results").shortcomings(results()) == []
    # A test that is expected to fail and passes by rounding is no difference.
    lucky = {"counts": {"passed": 10, "xpassed": 1}, "bad": []}
    same = [{"title": "t", "untouched": suite(10), "shared": lucky}]
    assert showcase("results").shortcomings(results(suites=same)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"process": {"shared": process(2)}}, "2 OpenMP runtimes are mapped"),
        ({"suites": [{"title": "t", "untouched": suite(10), "shared": suite(9, "x")}]}, "in the shared stack only: x"),
        ({"suites": [{"title": "t", "untouched": suite(10), "shared": suite(9)}]}, "9 passed, 1 xfailed shared"),
        ({"suites": [{"title": "t", "untouched": suite(0), "shared": suite(0)}]}, "0 passed"),
        ({"forks": [{"part": "a", "method": "os", "untouched": [True], "shared": [False]}]}, "a, os.fork: survives"),
    ],
)
def test_what_sharing_makes_worse_is_said(showcase: Any, changes: dict[str, Any], said: str) -> None:
    line, *_ = showcase("results").shortcomings(results(**changes))
    assert said in line


def test_a_failure_with_another_reason_counts_as_passed(showcase: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = showcase("results")
    monkeypatch.setitem(module.EXPLAINED, "x", "the version of OpenBLAS")
    both = [{"title": "t", "untouched": suite(10), "shared": suite(9, "x")}]
    assert module.shortcomings(results(suites=both)) == []


def test_the_plot_has_a_bar_for_each_mode_of_each_alternation(showcase: Any) -> None:
    text = showcase("plot").draw(results()["workloads"], "2 cores < 4")
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    bars = [rect for rect in root.iter(f"{space}rect") if rect.get("x") == "260"]
    widths = [float(bar.get("width", "0")) for bar in bars]
    assert len(widths) == 3  # the part alone is no alternation
    assert widths[0] / widths[2] == pytest.approx(4.5, rel=0.01)
    words = [element.text for element in root.iter(f"{space}text")]
    assert "a & b" in words
    assert "9.00 (4.5 x)" in words
    assert any("2 cores < 4" in (word or "") for word in words)


def test_the_version_comes_from_the_package(showcase: Any) -> None:
    version = showcase("stacks")._version
    files = [Path("libgomp1_12.2.0-14+deb12u1_amd64.deb"), Path("libomp5-19_1%3a19.1.7-3~deb12u1_amd64.deb")]
    assert version(files, "libomp5-") == "19.1.7"
    assert version(files, "libgomp1") == "12.2.0"
