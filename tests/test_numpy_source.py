"""NumPy from its own sources: built against a library wheel, repaired, and put to NumPy's own tests."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.matrix import record
from tests.support.numpy_source import ADDED_REQUIREMENTS, SETUP, SHORTER, VARIABLES, VERSION, numpy_wheel
from tests.support.openblas import openblas_wheel
from tests.support.prefixes import dynamic, unpacked
from tests.support.projects import nativelib
from tests.support.venvs import Environment, fresh_venv, run_python
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.nohost import Hiding

SONAME = "libopenblas-openblas_lib.so.0"
USERS = ("numpy/_core/_multiarray_umath", "numpy/linalg/_umath_linalg", "numpy/linalg/lapack_lite")
"""NumPy's extension modules that call BLAS or LAPACK."""

LINALG = ("numpy.linalg",)
CORE = tuple(f"numpy._core.tests.test_{name}" for name in ("multiarray", "einsum", "numeric"))
"""The tests of the array object, dot, matmul, vdot, einsum, inner and tensordot: what of the core calls BLAS."""

MAPPED = """
import json, re
found = {line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps")}
print(json.dumps(sorted(f for f in found if re.search("blas|lapack|gfortran|quadmath|nativelib", f, re.I))))
"""

NUMBERS = """
a = numpy.arange(9.0).reshape(3, 3) + 5 * numpy.eye(3)
x = numpy.array([1.0, -2.0, 3.0])
assert numpy.allclose(numpy.linalg.solve(a, a @ x), x)
assert numpy.allclose(numpy.linalg.eigvalsh(a + a.T).sum(), numpy.trace(a + a.T))
assert numpy.show_config("dicts")["Build Dependencies"]["blas"]["name"] == "openblas-lib"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a run of pytest said."""

    passed: int
    skipped: int
    """Skipped, or expected to fail and failing."""
    wrong: tuple[str, ...]
    """Tests that failed or could not be run."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the two wheels are installed, apart from each other, and an interpreter that has pytest."""

    environment: Environment
    numpy: Path
    openblas: Path
    hiding: Hiding

    def run(self, code: str, *, parts: Sequence[Path] = (), check: bool = True, cwd: Path | None = None) -> Any:
        """Run *code* with *parts* (default: both) on ``PYTHONPATH`` and without the host's libraries."""
        path = ":".join(map(str, parts or (self.numpy, self.openblas)))
        variables = {**self.hiding.env, "PYTHONPATH": path}
        flags = ("-B", "-P")
        return run_python(
            self.environment, code, env=variables, cwd=cwd, flags=flags, prefix=self.hiding.prefix, check=check
        )

    def put_to_tests(self, modules: Sequence[str], directory: Path) -> tuple[Counts, list[str]]:
        """Run NumPy's tests of *modules* as ``numpy.test()`` does, without those marked slow; return what was mapped.

        The slow ones need gigabytes of memory.
        """
        directory.mkdir()
        (directory / "pytest.ini").write_text("[pytest]\n")
        report = directory / "report.xml"
        arguments = ["-q", "-p", "no:cacheprovider", "-m", "not slow", f"--junitxml={report}", "--pyargs", *modules]
        code = f"""
import pytest
code = pytest.main({arguments!r})
import numpy
print(numpy.__file__)
{MAPPED}
raise SystemExit(code)
"""
        done = self.run(code, check=False, cwd=directory)
        assert report.is_file(), done.stdout[-3000:] + done.stderr[-3000:]
        suite = ET.parse(report).getroot().find("testsuite")
        assert suite is not None
        total, skipped, failures, errors = (
            int(suite.get(key, "0")) for key in ("tests", "skipped", "failures", "errors")
        )
        wrong = tuple(
            f"{case.get('classname')}::{case.get('name')}"
            for case in suite.iter("testcase")
            if case.find("failure") is not None or case.find("error") is not None
        )
        assert len(wrong) == failures + errors
        assert done.returncode == (1 if wrong else 0), done.stdout[-3000:]
        where, mapped = done.stdout.splitlines()[-2:]
        assert where == str(self.numpy / "numpy" / "__init__.py")
        passed = total - skipped - len(wrong)
        seconds = round(float(suite.get("time", "0")), 1)
        return Counts(passed=passed, skipped=skipped, wrong=wrong, seconds=seconds), json.loads(mapped)


def install_apart(wheel: Path, library: Path, directory: Path, hiding: Hiding) -> Place:
    environment = fresh_venv(directory / "venv", borrow=True)
    place = Place(environment=environment, numpy=directory / "one", openblas=directory / "other", hiding=hiding)
    for what, where in ((wheel, place.numpy), (library, place.openblas)):
        environment.install(what, flags=["--no-deps", "--target", str(where)])
    return place


def check_repaired(before: Path, found: dict[str, Any], directory: Path) -> None:
    """The repaired wheel has one requirement, one hook, nothing new to carry, and run paths that stay inside."""
    wheel = Path(found["output"])
    assert found["provided"] == [{"soname": SONAME, "provider": "openblas-lib", "as": SONAME}]
    assert (found["grafted"], found["removed"]) == ([], [])
    assert found["hooks"] == ["numpy/_distributor_init.py"]
    assert all(tag.startswith("manylinux_2_") for tag in found["tags"])
    old, new = members(before), members(wheel)
    assert not [name for name in new if name.startswith("numpy.libs/")]
    [metadata] = (content for name, content in new.items() if name.endswith(".dist-info/METADATA"))
    assert message_from_bytes(metadata).get_all("Requires-Dist") == found["requires"]
    assert len(found["requires"]) == 1
    assert re.fullmatch(r'openblas-lib<0\.4,>=0\.3\.\d+; sys_platform == "linux"', found["requires"][0])
    assert b"import openblas_lib" in new["numpy/_distributor_init.py"]
    assert b"_distributor_init_local" in new["numpy/_distributor_init.py"]  # NumPy's own lines stay

    root = unpacked(wheel, directory)
    changed = {name.split(".")[0] for name in new if name.endswith(".so") and new[name] != old[name]}
    assert changed == set(USERS)
    for user in USERS:
        [file] = root.glob(f"{user}.*.so")
        facts = dynamic(file)
        depth = "/".join([".."] * (user.count("/")))
        assert SONAME in facts.needed
        assert facts.runpath + facts.rpath == [f"$ORIGIN/{depth}/openblas_lib/lib"]


def check_environment(place: Place, wheel: Path, unrepaired: Path, directory: Path) -> list[str]:
    """Both import orders use the library wheel's one file; without the library wheel the import says what to do."""
    library = place.openblas / "openblas_lib" / "lib"
    mapped: list[str] = []
    for order in ("import numpy, openblas_lib", "import openblas_lib, numpy", "import numpy"):
        mapped = json.loads(place.run(f"{order}\n{NUMBERS}{MAPPED}").stdout)
        assert [f for f in mapped if "blas" in Path(f).name.lower()] == [str(library / SONAME)]
        assert {Path(f).parent for f in mapped} == {library}
    alone = place.run("import numpy", parts=[place.numpy], check=False)
    assert alone.returncode == 1
    assert "numpy needs libopenblas-openblas_lib.so.0 of openblas-lib, which is not installed" in alone.stderr
    assert "python -m pip install 'openblas-lib<0.4,>=0.3." in alone.stderr
    # The wheel before repair shows what repair does: the loader finds the library neither in an environment that has
    # it, nor where the build found it.
    as_built = directory / "as-built"
    place.environment.install(unrepaired, flags=["--no-deps", "--target", str(as_built)])
    bare = place.run("import numpy", parts=[as_built, place.openblas], check=False)
    assert bare.returncode == 1
    assert f"{SONAME}: cannot open shared object file" in bare.stderr
    return mapped


def check_resolution(wheel: Path, library: Path, directory: Path, hiding: Hiding) -> None:
    """``pip install numpy`` brings the library wheel along."""
    wheels = directory / "index"
    wheels.mkdir()
    for file in (wheel, library):
        (wheels / file.name).symlink_to(file)
    environment = fresh_venv(directory / "user")
    environment.install("numpy", links=wheels)
    done = run_python(environment, f"import numpy\n{NUMBERS}{MAPPED}", env=hiding.env, prefix=hiding.prefix)
    assert str(environment.site / "openblas_lib" / "lib" / SONAME) in json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.network
def test_numpy_from_its_own_sources(tmp_path: Path, no_host_libraries: Hiding, checkout: Path) -> None:
    library = openblas_wheel(tmp_path)
    built = numpy_wheel(library)
    assert re.search(r"Run-time dependency openblas-lib found: YES", built.log)

    answer = nativelib("repair", built.wheel, "--provided-by", library, "-w", tmp_path / "wheelhouse")
    assert answer.code == 0, answer.stdout
    [found] = answer.document["wheels"]
    wheel = Path(found["output"])
    check_repaired(built.wheel, found, tmp_path / "unpacked")
    again = nativelib("repair", wheel, "--provided-by", library, "-w", tmp_path / "again")
    assert Path(again.document["wheels"][0]["output"]).read_bytes() == wheel.read_bytes()

    place = install_apart(wheel, library, tmp_path / "apart", no_host_libraries)
    mapped = check_environment(place, wheel, built.wheel, tmp_path)
    check_resolution(wheel, library, tmp_path, no_host_libraries)

    counts = {}
    for name, modules, least in (("linalg", LINALG, 400), ("core", CORE, 10_000)):
        counts[name], used = place.put_to_tests(modules, tmp_path / name)
        assert counts[name].wrong == ()
        assert counts[name].passed >= least
        assert [f for f in used if "blas" in Path(f).name] == [str(place.openblas / "openblas_lib" / "lib" / SONAME)]

    figures = {
        "build": {"seconds": built.seconds, "processor seconds": built.processor_seconds},
        "bytes": {file.name: file.stat().st_size for file in (library, built.wheel, wheel)},
        "tags": found["tags"],
        "tests": {name: asdict(count) for name, count in counts.items()},
        "mapped": [str(Path(file).relative_to(place.openblas)) for file in mapped],
        "host": no_host_libraries.how,
    }
    report = checkout / "build" / "numpy.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(figures, indent=2) + "\n")
    record(
        "Build systems",
        "meson-python: NumPy from its own sources",
        f"NumPy {VERSION} built with build isolation against openblas-lib through its .pc file, repaired, installed "
        "apart from it, imported in both orders; NumPy's own tests of linalg and of parts of the core",
        "works",
    )


def test_the_document_shows_what_is_run(checkout: Path) -> None:
    text = (checkout / "docs" / "numpy.md").read_text(encoding="utf-8")
    shown = [
        VERSION,
        *ADDED_REQUIREMENTS,
        *SETUP,
        *SHORTER,
        *(f"{k}={v}" for k, v in VARIABLES.items()),
        *LINALG,
        *CORE,
    ]
    assert not [word for word in shown if word not in text]
