"""Names that would steer a terminal, or look like a line of the tool's own: people see escapes, programs the name."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import shared_library
from tests.support.projects import nativelib
from tests.support.wheels import make_wheel
from tests.test_hostile_names import library

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "lib\x1b[31m\x9b2Jevil\nerror NL901 \u202e.so"
ESCAPED = (r"lib\x1b[31m\x9b2Jevil", r"error NL901 \u202e.so")  # findings may have lines, but indented ones


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    """An extension module that needs a library with that name."""
    needed = library(tmp_path, EVIL)
    source = "int count_one(void); void *PyInit__e(void) { return (void *)(long)count_one(); }"
    return shared_library(tmp_path / "e", "_e.abi3.so", source, needed=[needed])


def _seen(*arguments: str | Path) -> str:
    argv = [sys.executable, "-m", "nativelib", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("command", ["show", "show --tree", "show -v", "repair", "repair -v", "lddtree"])
def test_what_people_see(command: str, extension: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "ev-1.0-cp311-abi3-linux_x86_64.whl", {"ev/_e.abi3.so": extension})
    options: list[str | Path] = ["-w", tmp_path / "out"] if command.startswith("repair") else []
    text = _seen(*command.split(), *options, extension if command == "lddtree" else wheel)
    assert all(piece in text for piece in ESCAPED)
    assert all(sign.isprintable() for sign in text.replace("\n", ""))
    assert not any(line.startswith("error NL901") for line in text.splitlines())


def test_what_programs_see(extension: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "ev-1.0-cp311-abi3-linux_x86_64.whl", {"ev/_e.abi3.so": extension})
    [elf] = nativelib("show", wheel).document["wheels"][0]["elf"]
    assert EVIL in [need["soname"] for need in elf["needed"]]
