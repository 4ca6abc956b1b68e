"""The page about verify: its commands print what it shows. And what is left behind when a call is interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nativelib.facts.trial import Check
from tests.support.cc import extension, simple_module
from tests.support.nohost import host_files
from tests.support.projects import built, project
from tests.support.threads import threaded_extension
from tests.support.tools import lacking
from tests.support.toy import consumer, package
from tests.test_docs import first_column, run_shown, section

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "verify.md").read_text(encoding="utf-8")


def test_every_check_is_described() -> None:
    assert set(first_column(section(PAGE, "## The checks"))) >= {check.value for check in Check}


@pytest.mark.long
def test_the_page_can_be_repeated(tmp_path: Path) -> None:
    found = [path for path in host_files(("libgomp",)) if path.name == "libgomp.so.1"]
    if not found:
        lacking("the host's libgomp.so.1")
    prefix = tmp_path / "prefix" / "lib"
    prefix.mkdir(parents=True)
    shutil.copy(found[0].resolve(), prefix / "libgomp.so.1")
    tool = (
        f'prefix = "{prefix.parent}"\nlibraries = ["lib/libgomp.so.1"]\nsingleton = true\ncompatible = ">={{version}}"'
    )
    built(project(tmp_path / "openmp", "openmp-lib", tool, version="12.2.0"), into=tmp_path / "page" / "wheels")
    consumer(tmp_path / "page" / "dist", "adder", package("adder", threaded_extension(tmp_path / "ext")))
    wrong = run_shown(PAGE, tmp_path / "page", tmp_path)
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
def test_an_interrupted_call_leaves_nothing(tmp_path: Path) -> None:
    source = simple_module("_ext", "1").replace("return PyModule_Create", "for (;;); return PyModule_Create")
    wheel = consumer(tmp_path / "in", "endless", package("endless", extension(tmp_path, "_ext", source)))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    argv = [sys.executable, "-m", "nativelib", "verify", "--no-index", str(wheel)]
    process = subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(scratch.glob("*/scripts/import-endless.txt")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert list(scratch.iterdir()) == []
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(scratch) in _text(path)]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # gone meanwhile
        return ""
