"""Programs that reading runs: pkg-config, a build script, another Python."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from nativelib.errors import ReadError
from nativelib.findings import Code
from nativelib.read.command import pkg_config, python_paths, read_built_version, run_build_script
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path


def script(directory: Path, text: str, *, mode: int = 0o644) -> Path:
    path = directory / "build.sh"
    path.write_text(text)
    path.chmod(mode)
    return path


def run(path: Path, prefix: Path, **environ: str) -> str:
    """Run the script and return what it printed."""
    said: list[str] = []
    run_build_script(
        path, path.parent, prefix=prefix, jobs=3, environ={"PATH": os.environ["PATH"], **environ}, log=said.append
    )
    return "".join(said)


def failure(path: Path, prefix: Path) -> str:
    with pytest.raises(ReadError) as caught:
        run(path, prefix)
    (finding,) = caught.value.findings
    assert finding.code is Code.BUILD_SCRIPT_FAILED
    assert finding.where == str(path)
    return finding.message


@pytest.mark.parametrize("mode", [0o644, 0o755])
@pytest.mark.parametrize("first", ["", "#!/bin/sh -e\n", "#!/usr/bin/env sh\n"])
def test_a_script_fills_the_prefix(tmp_path: Path, first: str, mode: int) -> None:
    text = f"{first}pwd\necho jobs $NATIVELIB_JOBS extra $EXTRA >&2\ntouch $NATIVELIB_PREFIX/made\n"
    said = run(script(tmp_path, text, mode=mode), tmp_path / "new" / "prefix", EXTRA="yes")
    assert said == f"{tmp_path}\njobs 3 extra yes\n"
    assert (tmp_path / "new/prefix/made").is_file()


def test_another_interpreter(tmp_path: Path) -> None:
    text = f"#!{sys.executable}\nimport os, pathlib\npathlib.Path(os.environ['NATIVELIB_PREFIX'], 'x').touch()\n"
    assert run(script(tmp_path, text), tmp_path / "prefix") == ""
    assert (tmp_path / "prefix/x").is_file()


def test_a_failure_tells_the_end_of_the_output(tmp_path: Path) -> None:
    message = failure(script(tmp_path, "for i in $(seq 100); do echo line $i; done; exit 7\n"), tmp_path / "prefix")
    lines = message.splitlines()
    assert "exit code 7" in lines[0]
    assert lines[-30:] == [f"line {number}" for number in range(71, 101)]
    assert "line 70" not in message


def test_other_ways_to_fail(tmp_path: Path) -> None:
    assert "signal 9" in failure(script(tmp_path, "kill -9 $$\n"), tmp_path / "prefix")
    assert "empty" in failure(script(tmp_path, "echo done\n"), tmp_path / "prefix")
    assert "cannot be run" in failure(script(tmp_path, "#!/no/such/interpreter\n"), tmp_path / "prefix")
    with pytest.raises(ReadError, match="does not exist"):
        run(tmp_path / "gone.sh", tmp_path / "prefix")


def test_output_comes_while_the_script_runs(tmp_path: Path) -> None:
    path = script(tmp_path, "printf working\nwhile [ ! -e go ]; do sleep 0.05; done\ntouch $NATIVELIB_PREFIX/x\n")
    heard = threading.Event()

    def log(text: str) -> None:
        heard.set()
        if "working" in text:
            (tmp_path / "go").touch()

    run_build_script(path, tmp_path, prefix=tmp_path / "prefix", jobs=1, environ=os.environ, log=log)
    assert heard.is_set()


def test_the_default_log_is_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = script(tmp_path, "echo höre; touch $NATIVELIB_PREFIX/x\n")
    run_build_script(path, tmp_path, prefix=tmp_path / "prefix", jobs=1, environ=os.environ)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "höre\n")


def test_a_daemon_that_is_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    begin = time.monotonic()
    said = run(script(tmp_path, "sleep 20 &\necho $!; touch $NATIVELIB_PREFIX/x\n"), tmp_path / "prefix")
    os.kill(int(said), 9)
    assert time.monotonic() - begin < 10


def test_an_interruption_ends_the_script(tmp_path: Path) -> None:
    path = script(tmp_path, "echo $$\nexec sleep 60\n")
    numbers: list[int] = []

    def log(text: str) -> None:
        numbers.append(int(text))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_build_script(path, tmp_path, prefix=tmp_path / "prefix", jobs=1, environ=os.environ, log=log)
    with pytest.raises(ProcessLookupError):
        os.kill(numbers[0], 0)


def test_the_version_that_a_script_leaves(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    run(script(tmp_path, "echo 1.2.3 > $NATIVELIB_PREFIX/.nativelib-version\n"), prefix)
    assert read_built_version(prefix) == "1.2.3"
    assert read_built_version(tmp_path) is None
    (prefix / ".nativelib-version").write_bytes(b"\xff")
    with pytest.raises(ReadError, match="version"):
        read_built_version(prefix)


def test_pkg_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("pkg-config")
    (tmp_path / "foo.pc").write_text(
        "prefix=/opt/foo\nName: foo\nDescription: d\nVersion: 1.5\nCflags: -I${prefix}/i\n"
    )
    monkeypatch.setenv("PKG_CONFIG_PATH", str(tmp_path))
    assert pkg_config("foo", "--modversion") == "1.5"
    assert pkg_config("foo", "--variable=prefix") == "/opt/foo"
    for name, query in [("no-such-package", "--modversion"), ("foo", "--variable=nothing")]:
        with pytest.raises(ReadError) as caught:
            pkg_config(name, query)
        (finding,) = caught.value.findings
        assert finding.code is Code.TOOL_FAILED
        assert name in finding.message
        assert finding.remedy


def test_no_pkg_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ReadError, match="pkg-config is not installed"):
        pkg_config("foo", "--modversion")


def test_the_path_of_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    paths = python_paths(sys.executable)
    assert str(tmp_path) in paths
    assert "" not in paths
    assert os.__file__.rpartition("/")[0] in paths


def test_a_sitecustomize_that_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nprint('hello')\nsys.stdout.write('no end')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert str(tmp_path) in python_paths(sys.executable)


@pytest.mark.parametrize("executable", ["no-such-python", "/bin/true", "/bin/false", "/bin/echo"])
def test_what_is_no_python(executable: str) -> None:
    with pytest.raises(ReadError) as caught:
        python_paths(executable)
    assert [finding.code for finding in caught.value.findings] == [Code.TOOL_FAILED]
