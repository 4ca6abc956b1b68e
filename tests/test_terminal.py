"""Progress: on a terminal, when it takes a while, and nowhere else."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import shared_library
from tests.support.tools import require
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

_HIDE_CURSOR = b"\x1b[?25l"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with a library whose symbols are stripped by a program that takes two seconds."""
    library = shared_library(tmp_path, "libx.so", "int x(void) { return 1; }", rpath="/built/here")
    slow = tmp_path / "slow" / "strip"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nsleep 2\nexec {require("strip")} "$@"\n')
    slow.chmod(0o755)
    return make_wheel(tmp_path, "pkg-1.0-py3-none-linux_x86_64.whl", {"pkg/__init__.py": b"", "pkg/libx.so": library})


def _command(wheel: Path, *options: str) -> tuple[list[str], dict[str, str]]:
    argv = [sys.executable, "-m", "nativelib", "repair", "-w", str(wheel.parent / "out"), *options, str(wheel)]
    path = os.pathsep.join([str(wheel.parent / "slow"), os.environ["PATH"]])
    return argv, {**os.environ, "PATH": path, "TERM": "xterm", "COLUMNS": "100"}


def _on_a_terminal(argv: list[str], env: dict[str, str]) -> bytes:
    """Run *argv* with a pseudo-terminal as its standard error, and return what appears there."""
    master, slave = pty.openpty()
    with subprocess.Popen(argv, env=env, stdin=slave, stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        seen = b""
        try:
            while piece := os.read(master, 4096):
                seen += piece
        except OSError as error:
            if error.errno != errno.EIO:  # Linux says so when the last writer has gone
                raise
        finally:
            with suppress(OSError):
                os.close(master)
    assert process.returncode == 0, seen
    return seen


def test_a_slow_repair_says_what_it_does(wheel: Path) -> None:
    seen = _on_a_terminal(*_command(wheel, "--strip"))
    assert _HIDE_CURSOR in seen
    assert b"writing pkg-1.0" in seen
    assert seen.rstrip().count(b"\x1b[?25h") == 1  # the cursor is back, and what was shown is wiped
    assert b"\x1b[2K" in seen


@pytest.mark.parametrize("options", [("--strip", "--json"), ("--strip", "--quiet")])
def test_nothing_where_nobody_asked(wheel: Path, options: tuple[str, ...]) -> None:
    assert _HIDE_CURSOR not in _on_a_terminal(*_command(wheel, *options))


def test_nothing_when_it_is_quick(wheel: Path, tmp_path: Path) -> None:
    # What is quick depends on the machine: so the wait is made long instead.
    argv, env = _command(wheel)
    script = "import sys; from nativelib.cli import progress, main; progress.DELAY = 60; sys.exit(main(sys.argv[1:]))"
    seen = _on_a_terminal([argv[0], "-c", script, *argv[3:]], env)
    assert b"NL207" in seen
    assert _HIDE_CURSOR not in seen


def test_nothing_in_a_pipe(wheel: Path) -> None:
    argv, env = _command(wheel, "--strip")
    done = subprocess.run(argv, env=env, capture_output=True, check=True)
    assert b"\x1b" not in done.stderr + done.stdout
    assert b"writing" not in done.stderr + done.stdout
