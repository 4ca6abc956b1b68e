"""NumPy and SciPy as published, with the OpenBLAS of scipy-openblas64 and scipy-openblas32 instead of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.pins import PINS
from tests.support.downloads import pypi_wheel
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.venvs import clean_environment, fresh_venv, run_python
from tests.support.wheels import members
from tests.test_docs import run_shown

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pinned wheels are for Python 3.11"),
]

# What the wheels were built with, byte for byte, and the newest: of another build, with fewer exported symbols.
SAME = {"scipy-openblas64": "0.3.31.188.0", "scipy-openblas32": "0.3.30.0.8"}
NEWEST = {"scipy-openblas64": "0.3.34.481.3", "scipy-openblas32": "0.3.34.481.3"}

PROGRAM = """
import json, numpy, scipy.linalg, scipy.special
a = numpy.arange(36.0).reshape(6, 6) % 7 + numpy.eye(6) * 9
found = {
    "numpy": numpy.linalg.eigvalsh(a @ a.T).round(9).tolist(),
    "scipy": scipy.linalg.lu(a)[2].round(9).tolist(),
    "solved": numpy.allclose(a @ scipy.linalg.solve(a, numpy.ones(6)), 1),
    "version": numpy.__version__,
}
with open("/proc/self/maps") as maps:
    mapped = {path for line in maps if "openblas" in (path := line.split()[-1]).rpartition("/")[2]}
print(json.dumps([found, sorted(mapped)]))
"""


def published(name: str) -> Path:
    """Return the wheel of *name* for this machine from the package index."""
    return next(pin for pin in PINS if pin.label.startswith(f"{name} ") and pin.label.endswith("glibc x86_64")).fetch()


def wheel_of(name: str, version: str) -> Path:
    """Return the provider's wheel."""
    return pypi_wheel(name, version)


@pytest.mark.parametrize("versions", [SAME, NEWEST], ids=["same", "newest"])
def test_numpy_and_scipy_take_their_blas_from_the_providers(tmp_path: Path, versions: dict[str, str]) -> None:
    wide, narrow = (wheel_of(name, version) for name, version in versions.items())
    index = tmp_path / "index"
    answer = nativelib("repair", published("numpy"), "--provided-by", wide, "-w", index)
    assert answer.code == 0, answer.stderr
    answer = nativelib("repair", published("scipy"), "--provided-by", narrow, "-w", index)
    assert answer.code == 0, answer.stderr
    numpy, scipy = sorted(index.glob("*.whl"))
    # NumPy's directory goes whole; four extensions of SciPy have a Fortran library of their own.
    assert not [name for name in members(numpy) if name.startswith("numpy.libs/")]
    left = [name for name in members(scipy) if name.startswith("scipy.libs/")]
    assert sorted(name.rpartition("/")[2].partition("-")[0] for name in left) == ["libgfortran", "libquadmath"]
    [licence] = [text for name, text in members(numpy).items() if name.endswith(".dist-info/licenses/LICENSE.txt")]
    assert b"libscipy_openblas" not in licence

    environment = fresh_venv(tmp_path / "env")
    environment.install(published("numpy"), published("scipy"))
    before, own = json.loads(run_python(environment, PROGRAM).stdout)
    assert len(own) == 2
    assert all(".libs/" in path for path in own)
    environment.install("numpy==2.4.6", "scipy", "--upgrade", flags=links(index, wide.parent, narrow.parent))
    after, mapped = json.loads(run_python(environment, PROGRAM).stdout)
    assert {**after, "version": ""} == {**before, "version": ""}
    site = environment.site
    assert mapped == [
        str(site / "scipy_openblas32/lib/libscipy_openblas.so"),
        str(site / "scipy_openblas64/lib/libscipy_openblas64_.so"),
    ]


def links(*directories: Path) -> list[str]:
    """Return the options that name *directories* as indexes."""
    return [word for directory in directories for word in ("--find-links", str(directory))]


def test_a_lock_file_takes_it(tmp_path: Path) -> None:
    provider = wheel_of("scipy-openblas64", SAME["scipy-openblas64"])
    answer = nativelib("repair", published("numpy"), "--provided-by", provider, "-w", tmp_path / "index")
    assert answer.code == 0, answer.stderr
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = "==3.11.*"\ndependencies = ["numpy==2.4.6"]\n'
    )
    flags = ["--no-index", *links(tmp_path / "index", provider.parent, published("numpy").parent)]
    argv = [require("uv"), "lock", "--no-config", "--python", sys.executable, *flags]
    subprocess.run(argv, cwd=project, env=clean_environment(), check=True, capture_output=True)
    text = (project / "uv.lock").read_text()
    [numpy] = [part for part in text.split("[[package]]") if '\nname = "numpy"\n' in part]
    assert 'version = "2.4.6+nl.' in numpy
    assert 'name = "scipy-openblas64", marker = "sys_platform == \'linux\'"' in numpy


def test_a_wheel_for_the_other_integer_width_is_refused(tmp_path: Path) -> None:
    narrow = wheel_of("scipy-openblas32", SAME["scipy-openblas32"])
    name = next(n for n in members(published("numpy")) if "openblas64_" in n).rpartition("/")[2]
    answer = nativelib("repair", published("numpy"), "--provided-by", f"{name}={narrow}", "-w", tmp_path / "out")
    assert answer.code == 1
    codes = {finding["code"] for finding in answer.findings if finding["severity"] == "error"}
    assert codes >= {"NL301", "NL303"}
    assert not list((tmp_path / "out").glob("*"))


def test_a_package_with_libraries_of_its_own_stays_as_it_is(tmp_path: Path) -> None:
    wheel = published("pyarrow")
    answer = nativelib("repair", wheel, "--provided-by", wheel_of("scipy-openblas64", SAME["scipy-openblas64"]))
    assert answer.code == 1
    assert [f["code"] for f in answer.findings if f["severity"] == "error"] == ["NL202"]


def test_the_page_says_what_happens(tmp_path: Path) -> None:
    for wheel in (published("numpy"), wheel_of("scipy-openblas64", SAME["scipy-openblas64"])):
        shutil.copy(wheel, tmp_path)
    text = (Path(__file__).parents[1] / "docs" / "unvendor.md").read_text(encoding="utf-8")
    page = text.replace("$ pip download -q --no-deps numpy==2.4.6 scipy-openblas64==0.3.31.188.0\n", "")
    assert page != text
    assert not run_shown(page, tmp_path, tmp_path)
