"""Real wheels for four systems, before and after ``nativelib metadata sync``: what uv and pip make of them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from nativelib import ReleaseRequest, check_release, sync_release
from tests.support.counting import PYTHON
from tests.support.release import Published, publish, served
from tests.support.tools import require
from tests.support.venvs import clean_environment, fresh_venv
from tests.support.wheels import make_wheel
from tests.test_docs import run_shown
from tests.test_release_files import BLAS, WIN, X86, wheel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.long

COUNT = {"name": "count-lib", "marker": "sys_platform == 'linux'"}
PACKAGING = {"name": "packaging"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    found = publish(tmp_path_factory.mktemp("published"))
    make_wheel(found.links, "packaging-25.0-py3-none-any.whl", {"packaging/__init__.py": ""})
    return found


@pytest.fixture(scope="module")
def synced(published: Published) -> list[Path]:
    out = published.dist.parent / "release"
    request = ReleaseRequest(files=(*published.wheels, published.sdist), find_links=(published.links,), wheel_dir=out)
    [report] = sync_release(request)
    assert not report.failed
    return sorted(out.iterdir())


def uv(project: Path, *words: str) -> None:
    foreign = ("UV_", "PIP_", "VIRTUAL_ENV")
    env = {key: value for key, value in clean_environment().items() if not key.startswith(foreign)}
    argv = [require("uv"), *words, "--no-config", "--no-cache", "--python", sys.executable, "--no-python-downloads"]
    done = subprocess.run(argv, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def project(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True)
    text = f'[project]\nname = "user"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = ["{name}"]\n'
    (directory / "pyproject.toml").write_text(text)
    return directory


def recorded(directory: Path, name: str) -> list[dict[str, Any]]:
    """Return the dependencies that the lock file of a project has for *name*."""
    lock = tomllib.loads((directory / "uv.lock").read_text())
    [package] = [package for package in lock["package"] if package["name"] == name]
    found: list[dict[str, Any]] = package.get("dependencies", [])
    return found


def locked(tmp_path: Path, files: Sequence[Path], name: str = "counter") -> tuple[list[dict[str, Any]], set[str]]:
    """Return what uv records for *name* from an index with *files*, and what it then installs on this machine."""
    user = project(tmp_path / "user", name)
    with served(tmp_path / "index", files) as address:
        uv(user, "lock", "--default-index", address)
        uv(user, "sync", "--frozen", "--default-index", address)
    installed = {path.name.partition("-")[0] for path in user.glob(".venv/lib/*/site-packages/*.dist-info")}
    return recorded(user, name), installed


def test_before_the_provider_is_lost(published: Published, tmp_path: Path) -> None:
    [report] = check_release(ReleaseRequest(files=tuple(published.wheels)))
    [said] = [behaviour.text for behaviour in report.tools if behaviour.tool == "uv lock"]
    assert f"Here it is {PYTHON}-{PYTHON}-macosx_11_0_arm64: 'packaging>=20'" in said
    assert "'count-lib<2,>=1.0; sys_platform == \"linux\"' is lost" in said
    files = [*published.wheels, published.sdist, *published.links.glob("*.whl")]
    assert locked(tmp_path, files) == ([PACKAGING], {"counter", "packaging"})


def test_after_it_is_locked_with_its_marker(published: Published, synced: list[Path], tmp_path: Path) -> None:
    assert [report.failed for report in check_release(ReleaseRequest(files=tuple(synced)))] == [False]
    files = [*synced, published.sdist, *published.links.glob("*.whl")]
    assert locked(tmp_path, files) == ([COUNT, PACKAGING], {"counter", "count_lib", "packaging"})


def test_a_directory_of_wheels_locks_the_same(published: Published, synced: list[Path], tmp_path: Path) -> None:
    user = project(tmp_path / "user", "counter")
    links = [word for place in (synced[0].parent, published.links) for word in ("--find-links", str(place))]
    uv(user, "lock", "--no-index", *links)
    assert recorded(user, "counter") == [COUNT, PACKAGING]


def test_a_provider_without_a_marker_is_locked_for_all_until_it_gets_one(tmp_path: Path) -> None:
    bare = BLAS.partition(";")[0]
    files = [wheel(tmp_path / "dist", X86, bare, ours=True), wheel(tmp_path / "dist", WIN)]
    provider = make_wheel(tmp_path, "blas_lib-1.0-py3-none-any.whl", {})

    def of(which: Sequence[Path], place: str) -> list[dict[str, Any]]:
        user = project(tmp_path / place / "user", "numx")
        with served(tmp_path / place / "index", [*which, provider]) as address:
            uv(user, "lock", "--default-index", address)
        return recorded(user, "numx")

    assert of(files, "before") == [{"name": "blas-lib"}]
    sync_release(ReleaseRequest(files=tuple(files), wheel_dir=tmp_path / "out"))
    marked = {"name": "blas-lib", "marker": "sys_platform == 'linux'"}
    assert of(sorted((tmp_path / "out").iterdir()), "after") == [marked]


def test_pip_installs_the_linux_wheel_with_its_provider(
    published: Published, synced: list[Path], tmp_path: Path
) -> None:
    environment = fresh_venv(tmp_path / "venv")
    flags = ["--find-links", str(published.links)]
    environment.pip_install("counter", links=synced[0].parent, flags=flags)
    assert {path.name.partition("-")[0] for path in environment.site.glob("*.dist-info")} == {
        "counter",
        "count_lib",
        "packaging",
    }


def test_the_page_shows_what_the_commands_print(published: Published, checkout: Path, tmp_path: Path) -> None:
    for name in ("dist", "links"):
        (tmp_path / name).symlink_to(published.dist.parent / name)
    text = (checkout / "docs" / "release.md").read_text(encoding="utf-8")
    wrong = run_shown(text, tmp_path, tmp_path)
    assert not wrong, "\n".join(wrong)
