"""The PEP 517 hooks that need no libraries: source distributions and requirements of a build."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_sdist_filename

from nativelib import backend

SPEC = """
[project]
name = "Foo.Bar-lib"
version = "1.2"
readme = "README.md"
license = "MIT"
license-files = ["LICENSE"]
dependencies = ["other>=1"]
[tool.nativelib]
build-script = "build/build.sh"
libraries = ["lib/libfoo.so.1"]
provided-by = ["openmp-lib>=12", "wheels/baz-1-py3-none-any.whl"]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, as the working directory."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    for name, text in {
        "pyproject.toml": SPEC,
        "README.md": "# Über\n",
        "LICENSE": "MIT\n",
        "build/build.sh": "#!/bin/sh\n",
        "patches/fix.patch": "x",
        ".gitignore": "dist\n",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    Path("build/build.sh").chmod(0o755)
    return project


def litter() -> None:
    """Add what no source distribution should have."""
    for name in (
        ".git/config",
        ".venv/pyvenv.cfg",
        "env/pyvenv.cfg",
        "env/lib/big.py",
        "dist/old.whl",
        "wheelhouse/old.whl",
        "__pycache__/a.pyc",
        "patches/__pycache__/b.pyc",
        "foo.egg-info/PKG-INFO",
        "cache/CACHEDIR.TAG",
        "PKG-INFO",
        "setup.pyc",
    ):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).write_text("litter")


def test_an_sdist_holds_the_project(here: Path, tmp_path: Path) -> None:
    litter()
    os.mkfifo("pipe")
    name = backend.build_sdist(str(tmp_path / "out"))
    assert name == "foo_bar_lib-1.2.tar.gz"
    assert parse_sdist_filename(name)[0] == "foo-bar-lib"
    with tarfile.open(tmp_path / "out" / name) as archive:
        entries = {entry.name.removeprefix("foo_bar_lib-1.2/"): entry for entry in archive.getmembers()}
        assert sorted(entries) == [
            ".gitignore",
            "LICENSE",
            "PKG-INFO",
            "README.md",
            "build/build.sh",
            "patches/fix.patch",
            "pyproject.toml",
        ]
        assert entries["build/build.sh"].mode == 0o755
        assert {entry.mode for key, entry in entries.items() if key != "build/build.sh"} == {0o644}
        assert {(entry.mtime, entry.uid, entry.uname) for entry in entries.values()} == {(315532800, 0, "")}
        info = archive.extractfile(entries["PKG-INFO"])
        assert info is not None
        metadata = Metadata.from_email(info.read(), validate=True)
    assert metadata.name == "Foo.Bar-lib"
    assert metadata.description == "# Über\n"
    assert metadata.license_files == ["LICENSE"]
    assert metadata.dynamic == ["license-file", "requires-dist"]
    assert [str(requirement) for requirement in metadata.requires_dist or []] == ["other>=1"]


def test_an_sdist_has_the_same_bytes_every_time(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(where: str) -> str:
        return hashlib.sha256(Path(where, backend.build_sdist(where)).read_bytes()).hexdigest()

    first = digest("one")
    for path in Path().rglob("*"):
        os.utime(path, (1, 1))
        if path.is_file():
            path.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
    # The first result must not become part of the second.
    Path("one/foo_bar_lib-1.2.tar.gz").unlink()
    Path("one").rmdir()
    assert digest("two") == first
    assert digest("two") == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert digest("two") != first


def test_a_link_to_a_file_becomes_a_file(here: Path, tmp_path: Path) -> None:
    (tmp_path / "COPYING").write_text("outside")
    Path("COPYING").symlink_to("../COPYING")
    name = backend.build_sdist(str(tmp_path / "out"))
    with tarfile.open(tmp_path / "out" / name) as archive:
        entry = archive.getmember("foo_bar_lib-1.2/COPYING")
        content = archive.extractfile(entry)
        assert entry.isreg()
        assert content is not None
        assert content.read() == b"outside"


def failed(capsys: pytest.CaptureFixture[str], settings: dict[str, str | list[str]] | None = None) -> str:
    with pytest.raises(SystemExit) as caught:
        backend.build_sdist("out", settings)
    assert caught.value.code == 1
    assert not Path("out").exists() or not list(Path("out").iterdir())
    return capsys.readouterr().err


def test_what_is_wrong_is_said_without_a_traceback(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pyproject.toml").write_text(SPEC.replace("libraries", "library"))
    said = failed(capsys)
    assert "error NL701: tool.nativelib.library: " in said
    assert "Did you mean libraries?" in said
    assert "Traceback" not in said


def test_a_dynamic_version_is_too_late_for_an_sdist(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("pyproject.toml").write_text(SPEC.replace('version = "1.2"', 'dynamic = ["version"]'))
    assert "needs a version before anything is built" in failed(capsys)


def test_a_config_setting_that_there_is_not(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no config setting prefx" in failed(capsys, {"prefx": "/usr"})


def test_a_link_to_a_directory_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("loop").symlink_to(".")
    assert "link to a directory" in failed(capsys)


def test_a_build_needs_its_library_wheels(here: Path) -> None:
    assert backend.get_requires_for_build_sdist() == []
    assert backend.get_requires_for_build_wheel() == ["openmp-lib>=12"]
    assert backend.get_requires_for_build_wheel({"provided-by": ["./w/openmp_lib-12.2-py3-none-any.whl"]}) == []
    assert backend.get_requires_for_build_wheel({"provided-by": "w/other-1-py3-none-any.whl"}) == ["openmp-lib>=12"]
