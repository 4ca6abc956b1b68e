"""Published NumPy and SciPy on a distribution's OpenMP OpenBLAS, by way of adapters; nothing is compiled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nativelib.read.elf import read_elf_file
from tests.support.downloads import debian_package, pypi_wheel
from tests.support.projects import nativelib, project, repaired
from tests.support.venvs import fresh_venv, run_python

if TYPE_CHECKING:
    from tests.support.venvs import Environment

# For another Python than this one the wheels could not be run.
_NUMPY, _SCIPY = ("numpy", "2.4.6"), ("scipy", "1.17.1")

_CALLS = """
import json
import numpy as np, scipy.linalg as sl
r = np.random.default_rng(7)
a, b = r.standard_normal((256, 256)), r.standard_normal(256)
z = a[:64, :64] + 1j * a[64:128, 64:128]
found = {
    "solve": np.linalg.solve(a, b), "svd": np.linalg.svd(a)[1], "matmul": a @ a, "vdot": np.vdot(z[0], z[1]).real,
    "eig": np.sort(np.abs(np.linalg.eigvals(a))), "lstsq": np.linalg.lstsq(a[:, :50], b)[0],
    "complex": np.abs(np.linalg.solve(z, z[0])), "float32": (a.astype("f") @ a.astype("f"))[0],
    "cholesky": np.linalg.cholesky(a @ a.T + 256 * np.eye(256))[-1], "eigh": sl.eigh(a + a.T)[0],
    "schur": np.sort(np.abs(np.diag(sl.schur(z, output="complex")[0]))), "qr": np.abs(np.diag(sl.qr(a)[1])),
    "zdotc": abs(sl.blas.zdotc(z[0], z[1])), "expm": sl.expm(a / 100)[0],
    "pivoting": sl.lu_factor(a)[1].tolist(),
}
maps = sorted({line.rsplit("/")[-1].strip() for line in open("/proc/self/maps") if "/lib" in line})
print(json.dumps([{key: np.asarray(value, float).ravel().tolist() for key, value in found.items()}, maps]))
"""


def _library(directory: Path, name: str, package: str, soname: str, width: str, consumer: Path) -> Path:
    """Build the library wheel of a Debian package with the adapter for *consumer*, and return it."""
    root = directory / name / "root"
    for needed in (package, "libgomp1", "libgfortran5", "libquadmath0"):
        for path in debian_package(needed).glob("usr/lib/x86_64-linux-gnu/**/*.so*"):
            target = root / path.relative_to(debian_package(needed))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
    [library] = root.glob(f"usr/lib/*/*-openmp/{soname}")
    suffix, wanted = ("64_", "libscipy_openblas64_.so") if width == "64" else ("", "libscipy_openblas.so")
    spec = f"""
    libraries = ["{library.relative_to(root / "usr")}"]
    abi = {{ blas-int = "{width}", threading = "openmp" }}
    [[tool.nativelib.adapter]]
    soname = "{wanted}"
    target = "{soname}"
    prefix = "scipy_"
    suffix = "{suffix}"
    from = ["{consumer}"]
    blas-int = "{width}"
    """
    source = project(directory / name / "spec", name, spec, version="0.3.21")
    answer = nativelib("build", source, "--prefix", root / "usr", "-w", directory / "dist")
    assert answer.code == 0, answer.stdout
    assert not [finding for finding in answer.findings if finding["code"].startswith("NL7")]  # loaded and followed
    return Path(answer.document["wheel"])


def _results(venv: Environment) -> tuple[dict[str, list[float]], list[str]]:
    values, maps = json.loads(run_python(venv.python, _CALLS).stdout)
    return values, maps


@pytest.mark.long
@pytest.mark.network
def test_numpy_and_scipy(tmp_path: Path) -> None:
    numpy, scipy = pypi_wheel(*_NUMPY), pypi_wheel(*_SCIPY)
    wide = _library(tmp_path, "openblas-ilp64-lib", "libopenblas64-0-openmp", "libopenblas64.so.0", "64", numpy)
    narrow = _library(tmp_path, "openblas-lp64-lib", "libopenblas0-openmp", "libopenblas.so.0", "32", scipy)
    meant = ("--require-abi", "threading=openmp")
    ours = [
        repaired(numpy, "--provided-by", wide, *meant, into=tmp_path / "repaired"),
        repaired(scipy, "--provided-by", narrow, *meant, into=tmp_path / "repaired"),
    ]
    published, shared = fresh_venv(tmp_path / "published"), fresh_venv(tmp_path / "shared")
    published.install(numpy, scipy)
    shared.install(*ours, links=wide.parent)
    before, their_maps = _results(published)
    after, our_maps = _results(shared)
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert after[name] == pytest.approx(values, rel=1e-4 if name == "float32" else 1e-7, abs=1e-4), name
    assert len([name for name in their_maps if "openblas" in name]) == 2
    assert [name for name in our_maps if name.startswith("lib") and "blas" in name.partition("-")[0]] == [
        "libopenblas-openblas_lp64_lib.so.0",
        "libopenblas64-openblas_ilp64_lib.so.0",
        "libscipy_openblas-openblas_lp64_lib.so",
        "libscipy_openblas64_-openblas_ilp64_lib.so",
    ]
    lib = shared.site / "openblas_lp64_lib" / "lib"
    assert len(read_elf_file(lib / "libscipy_openblas-openblas_lp64_lib.so").exports) == 1644
