"""The project as others get it: wheel, sdist, editable install, checkout. Templates must be found in all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from nativelib import __version__
from tests.support.tools import require
from tests.support.venvs import Environment, clean_environment, fresh_venv, run_python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PARTS = (
    "nativelib", "templates", "tests", "examples", "docs", "benchmarks", "tools",
    "Makefile", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", ".gitignore",
)  # fmt: skip
_PROBE = "probe/zz_probe.py.j2"
_RENDER = f"""
from nativelib.write.render import render, template_names
assert {_PROBE!r} in template_names(), template_names()
print(render({_PROBE!r}, {{"value": ("a", 1)}}), end="")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """A copy of the checkout with one more template, so that something is known to be there."""
    copy = tmp_path_factory.mktemp("packaging") / "project"
    copy.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis", "dist", "wheelhouse")
    for part in _PARTS:
        source = checkout / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=ignore)
        elif source.exists():
            shutil.copy2(source, copy / part)
    (copy / "templates" / "probe").mkdir(parents=True)
    (copy / "templates" / _PROBE).write_text("VALUE = {{ value | py }}\n")
    return copy


@pytest.fixture(scope="module")
def built(project: Path) -> tuple[Path, Path]:
    """The wheel and the sdist of the project, made by the hooks of PEP 517."""
    return _build(project, "wheel"), _build(project, "sdist")


@pytest.fixture(scope="module")
def from_sdist(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the sdist gives."""
    unpacked = tmp_path_factory.mktemp("sdist")
    subprocess.run([require("tar"), "-xf", str(built[1]), "-C", str(unpacked)], check=True)
    [root] = unpacked.iterdir()
    return _build(root, "wheel")


def _build(root: Path, what: str) -> Path:
    (root / "dist").mkdir(exist_ok=True)
    hook = f"from hatchling.build import build_{what} as build; print(build('dist'))"
    done = subprocess.run(
        [sys.executable, "-c", hook], cwd=root, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return root / "dist" / done.stdout.split()[-1]


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _assert_renders(environment: Environment, outside: Path, **options: Any) -> None:
    assert run_python(environment, _RENDER, cwd=outside, **options).stdout == 'VALUE = ("a", 1)\n'


def test_the_wheel_has_the_package_and_nothing_else(built: tuple[Path, Path], project: Path) -> None:
    names = _names(built[0])
    assert {name.split("/")[0] for name in names} == {"nativelib", f"pynativelib-{__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    templates = {f"nativelib/_templates/{p.relative_to(project / 'templates')}" for p in _files(project / "templates")}
    assert {name for name in names if name.startswith("nativelib/_templates/")} == templates
    package = {f"nativelib/{p.relative_to(project / 'nativelib')}" for p in _files(project / "nativelib")}
    assert {name for name in names if name.startswith("nativelib/")} - templates == package
    info = {name.split("/", 1)[1] for name in names if ".dist-info/" in name}
    assert info == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_has_the_whole_project(built: tuple[Path, Path], project: Path) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    present = {part for part in _PARTS if (project / part).is_file() or any(_files(project / part))}
    assert {name.split("/")[0] for name in names} == present | {"PKG-INFO"}
    assert {name for name in names if name.startswith("templates/")} >= {f"templates/{_PROBE}"}
    for part in ("nativelib", "templates", "tests"):
        expected = {str(p.relative_to(project)) for p in _files(project / part)}
        assert {name for name in names if name.startswith(f"{part}/")} == expected


def test_the_sdist_gives_the_same_wheel(built: tuple[Path, Path], from_sdist: Path) -> None:
    assert from_sdist.read_bytes() == built[0].read_bytes()


def test_templates_are_found_in_an_installed_wheel(
    built: tuple[Path, Path], make_venv: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = make_venv(borrow=True)
    environment.install(built[0], flags=["--no-deps"])
    _assert_renders(environment, tmp_path)
    where = run_python(environment, "import nativelib; print(nativelib.__file__)").stdout
    assert where.startswith(str(environment.site))


def test_templates_are_found_inside_a_zip(
    built: tuple[Path, Path], make_venv: Callable[..., Environment], tmp_path: Path
) -> None:
    _assert_renders(make_venv(borrow=True), tmp_path, env={"PYTHONPATH": str(built[0])}, flags=("-P",))


def test_templates_are_found_in_an_editable_install(
    project: Path, make_venv: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = make_venv(borrow=True)
    environment.install("--editable", project, flags=["--no-deps", "--no-build-isolation"])
    _assert_renders(environment, tmp_path)
    late = project / "templates" / "late.py.j2"
    late.write_text("LATE = {{ value | py }}\n")
    try:
        code = "from nativelib.write.render import render; print(render('late.py.j2', {'value': 1}), end='')"
        assert run_python(environment, code, cwd=tmp_path).stdout == "LATE = 1\n"
    finally:
        late.unlink()


def test_templates_are_found_in_a_checkout(
    project: Path, make_venv: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = make_venv(borrow=True)
    _assert_renders(environment, tmp_path, env={"PYTHONPATH": str(project)}, flags=("-P",))


def test_somebody_elses_templates_are_not_taken_for_ours(
    built: tuple[Path, Path], make_venv: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = make_venv(borrow=True)
    environment.install(built[0], flags=["--no-deps"])
    shutil.rmtree(environment.site / "nativelib" / "_templates")
    foreign = environment.site / "templates" / _PROBE
    foreign.parent.mkdir(parents=True)
    foreign.write_text("VALUE = 'foreign'\n")
    done = run_python(environment, _RENDER, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "WriteError" in done.stderr
    assert "installed without its templates" in done.stderr


def test_a_build_without_templates_fails(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("dist", "tests"))
    shutil.rmtree(copy / "templates")
    with pytest.raises(AssertionError, match="Forced include not found"):
        _build(copy, "wheel")


@pytest.mark.long
@pytest.mark.network
def test_an_isolated_build_installs_with_all_dependencies(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "build", "--outdir", str(out), str(project)]
    done = subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.suffix for p in out.iterdir()) == [".gz", ".whl"]
    [wheel] = out.glob("*.whl")
    environment = fresh_venv(tmp_path / "venv")
    environment.pip_install(wheel, index=True)
    _assert_renders(environment, tmp_path)
    assert os.access(environment.bin / "nativelib", os.X_OK)


def _files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
