"""The PEP 517 hooks, called as they are and by the front ends that users have: pip and build."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_sdist_filename

from nativelib import backend
from tests.support.prefixes import Prefix, make_prefix
from tests.support.projects import built, project
from tests.support.toy import installed
from tests.support.venvs import clean_environment, run_python
from tests.support.wheels import members

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


# Front ends.

BUILD_SYSTEM = '[build-system]\nrequires = ["pynativelib"]\nbuild-backend = "nativelib.backend"\n'
FOO_SPEC = 'libraries = ["lib/libfoo.so.1"]\nheaders = ["include/foo/**/*.h"]'
BAR_SPEC = 'libraries = ["lib/libbar.so.2"]\nprovided-by = ["foo-lib"]'


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Prefix:
    return make_prefix(tmp_path_factory.mktemp("backend") / "prefix")


def front_end(*words: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a module of this environment, such as ``pip`` or ``build``."""
    argv = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(argv, cwd=cwd, env=clean_environment(env), capture_output=True, text=True, check=False)


def only(directory: Path, pattern: str = "*") -> Path:
    """Return the one file of *directory* that matches."""
    (found,) = directory.glob(pattern)
    return found


def test_build_makes_the_wheel_of_the_command(prefix: Prefix, tmp_path: Path) -> None:
    shutil.copytree(prefix.root, tmp_path / "tree", symlinks=True)
    source = project(tmp_path / "p", "foo-lib", f'prefix = "../tree"\n{FOO_SPEC}', build_system=BUILD_SYSTEM)
    done = front_end("build", "-w", "--no-isolation", "-x", "-o", tmp_path / "out", source, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = only(tmp_path / "out")
    assert wheel.name in done.stdout
    assert wheel.read_bytes() == built(source, into=tmp_path / "again").read_bytes()
    assert run_python(installed(tmp_path / "venv", wheel), "import foo_lib").stderr == ""


def test_pip_passes_config_settings(prefix: Prefix, tmp_path: Path) -> None:
    foo = built(project(tmp_path / "foo", "foo-lib", FOO_SPEC), "--prefix", prefix.root, into=tmp_path / "dist")
    source = project(tmp_path / "bar", "bar-lib", BAR_SPEC, build_system=BUILD_SYSTEM)
    words: list[str | Path] = [
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "-w",
        tmp_path / "out",
        ".",
    ]
    # pip runs the hooks in the project's directory, where a relative path starts.
    settings = [f"--config-settings=prefix={os.path.relpath(prefix.root, source)}"]
    settings += [f"--config-settings=provided-by=../dist/{foo.name}"]
    done = front_end(*words, *settings, cwd=source)
    assert done.returncode == 0, done.stdout + done.stderr
    venv = installed(tmp_path / "venv", only(tmp_path / "out"), links=[tmp_path / "dist"])
    code = "import bar_lib as p, ctypes; print(ctypes.CDLL(p.get_lib_dir() + '/' + p.get_library(True)).bar_value())"
    assert run_python(venv, code).stdout == "43\n"


def test_since_is_a_config_setting(prefix: Prefix, tmp_path: Path) -> None:
    first = built(project(tmp_path / "1", "foo-lib", FOO_SPEC), "--prefix", prefix.root, into=tmp_path / "dist")
    source = project(tmp_path / "2", "foo-lib", FOO_SPEC, version="2.0", build_system=BUILD_SYSTEM)
    words: list[str | Path] = [
        "build",
        "-w",
        "-n",
        "-x",
        "-o",
        tmp_path / "out",
        f"-Cprefix={prefix.root}",
        f"-Csince={first}",
        source,
    ]
    done = front_end(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = members(only(tmp_path / "out"))["foo_lib-2.0.dist-info/nativelib.json"]
    assert b'"foo_value@FOO_1.0": "1.0"' in manifest


@pytest.mark.parametrize(
    ("front", "spec", "said"),
    [
        ("build", 'prefix = "gone"\n' + FOO_SPEC, "error NL101: "),
        ("pip", 'prefix = "gone"\n' + FOO_SPEC, "error NL101: "),
        ("pip", "library = []", "error NL701: tool.nativelib.library: "),
        ("pip", FOO_SPEC, "Nothing says where the libraries are."),
    ],
)
def test_front_ends_show_findings_without_our_traceback(tmp_path: Path, front: str, spec: str, said: str) -> None:
    source = project(tmp_path / "p", "foo-lib", spec, build_system=BUILD_SYSTEM)
    lines: dict[str, list[str | Path]] = {
        "build": ["build", "-w", "-n", "-x", "-o", tmp_path / "out", source],
        "pip": ["pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", tmp_path / "out", source],
    }
    done = front_end(*lines[front], cwd=tmp_path)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "nativelib/pipeline" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list((tmp_path / "out").glob("*.whl"))


BUILD_SCRIPT = """#!/bin/sh -e
mkdir -p "$NATIVELIB_PREFIX/lib"
gcc -shared -fPIC -O1 -Wl,-soname,libfoo.so.1 -o "$NATIVELIB_PREFIX/lib/libfoo.so.1" src/foo.c
"""


def test_wheel_of_the_sdist_is_the_wheel_of_the_project(tmp_path: Path) -> None:
    spec = 'build-script = "build.sh"\nlibraries = ["lib/libfoo.so.1"]'
    source = project(tmp_path / "p", "foo-lib", spec, build_system=BUILD_SYSTEM)
    (source / "build.sh").write_text(BUILD_SCRIPT)
    (source / "src").mkdir()
    (source / "src" / "foo.c").write_text("int foo_value(void) { return 6; }\n")
    # Without options, build makes the sdist, and the wheel from it.
    done = front_end("build", "-n", "-x", "-o", tmp_path / "out", source, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(only(tmp_path / "out", "*.tar.gz")) as archive:
        assert {"foo_lib-1.0/build.sh", "foo_lib-1.0/src/foo.c"} <= set(archive.getnames())
    wheel = only(tmp_path / "out", "*.whl")
    assert wheel.read_bytes() == built(source, into=tmp_path / "again").read_bytes()
    code = "import foo_lib as p, ctypes; print(ctypes.CDLL(p.get_lib_dir() + '/' + p.get_library(True)).foo_value())"
    assert run_python(installed(tmp_path / "venv", wheel), code).stdout == "6\n"


def test_an_installation_from_the_project_itself(prefix: Prefix, tmp_path: Path) -> None:
    source = project(tmp_path / "p", "foo-lib", f'prefix = "{prefix.root}"\n{FOO_SPEC}', build_system=BUILD_SYSTEM)
    words: list[str | Path] = ["--no-build-isolation", "--no-deps", "--no-index", "--target", tmp_path / "site", source]
    done = front_end("pip", "install", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    code = "import foo_lib; print(sorted(foo_lib.loaded()))"
    done = run_python(sys.executable, code, env={"PYTHONPATH": str(tmp_path / "site")}, flags=("-B",))
    assert done.stdout == "['libfoo-foo_lib.so.1']\n"


@pytest.mark.long
@pytest.mark.network
def test_isolated_builds_find_the_tool_and_needed_library_wheels(
    checkout: Path, prefix: Prefix, tmp_path: Path
) -> None:
    """pip makes an environment with the tool, its dependencies from the index, and the library wheel that is needed."""
    links = tmp_path / "links"
    tool = tmp_path / "tool"
    tool.mkdir()
    for name in ("nativelib", "templates"):
        shutil.copytree(checkout / name, tool / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, tool / name)
    done = front_end("build", "-w", "-n", "-x", "-o", links, tool, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    foo = project(tmp_path / "foo", "foo-lib", f'prefix = "{prefix.root}"\n{FOO_SPEC}', build_system=BUILD_SYSTEM)
    bar = project(tmp_path / "bar", "bar-lib", f'prefix = "{prefix.root}"\n{BAR_SPEC}', build_system=BUILD_SYSTEM)
    for source in (foo, bar):
        done = front_end("pip", "wheel", "-q", "--find-links", links, "-w", links, ".", cwd=source)
        assert done.returncode == 0, done.stdout + done.stderr
    venv = installed(tmp_path / "venv", only(links, "bar_lib-*.whl"), links=[links])
    code = "import bar_lib as p, ctypes; print(ctypes.CDLL(p.get_lib_dir() + '/' + p.get_library(True)).bar_value())"
    assert run_python(venv, code).stdout == "43\n"
