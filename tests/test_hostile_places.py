"""Directories and files around a run that are not what they should be."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.bombs import Repeated, bomb_wheel
from tests.support.cc import shared_library
from tests.support.counting import consumer_wheel, count_library, plain_extension
from tests.support.limits import costly
from tests.support.projects import nativelib

COMMANDS = ("show", "repair")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with an ELF file that goes through a temporary file, because it is too large for the memory."""
    root = tmp_path_factory.mktemp("large")
    big = count_library(root).read_bytes() + random.Random(3).randbytes(12 << 20)
    return consumer_wheel(root, plain_extension(root / "obj", functions=()), files={"counter/big.so": big})


def options(command: str, directory: Path) -> tuple[str | Path, ...]:
    return ("-w", directory / "out") if command == "repair" else ()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_for_temporary_files_that_is_not_there(command: str, large: Path, tmp_path: Path) -> None:
    answer = nativelib(command, large, *options(command, tmp_path), env={"TMPDIR": str(tmp_path / "nowhere")})
    assert answer.code == 0, answer.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("room", [0, 1 << 20])
def test_no_room_for_temporary_files(command: str, room: int, large: Path, tmp_path: Path) -> None:
    limits = {resource.RLIMIT_FSIZE: room}
    before = large.read_bytes()
    found = costly(command, large, *options(command, tmp_path), limits=limits, env={"TMPDIR": str(tmp_path)})
    assert found.answer.code == 1
    assert {f["code"] for f in found.answer.findings if f["severity"] == "error"} == {"NL108"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert large.read_bytes() == before


def opened(process: int) -> set[str]:
    """The files that a process has open."""
    out = set()
    with suppress(OSError):
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                out.add(str(link.readlink()))
    return out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_audit_that_is_stopped(number: signal.Signals, tmp_path: Path) -> None:
    wheel = bomb_wheel(tmp_path, {f"bomb/{n}.bin": [Repeated(bytes(1 << 20), 15)] for n in range(60)})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    argv = [sys.executable, "-m", "nativelib", "show", str(wheel), str(wheel), "--json"]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"TMPDIR": str(scratch)}
    )
    deadline = time.monotonic() + 60
    while str(wheel) not in opened(process.pid) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    if process.returncode:  # a fast machine may have been done
        assert process.returncode in {128 + number, -number}
        assert "Traceback" not in stderr
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("needed", ["/proc/kcore", "/proc/kmsg", "/sys/kernel/notes", "/dev/zero", "/proc/self/exe"])
def test_a_need_that_is_no_file_of_a_disk(needed: str, tmp_path: Path) -> None:
    """Reading some of these never ends. The program behind the link at the end is a file like any other."""
    library = shared_library(tmp_path, "libx.so", "int count_one(void) { return 1; }", soname=needed)
    wheel = consumer_wheel(tmp_path, plain_extension(tmp_path / "obj", library, functions=("count_one",)))
    begin = time.monotonic()
    shown = nativelib("show", wheel)
    assert shown.code == 0
    [need] = [n for elf in shown.document["wheels"][0]["elf"] for n in elf["needed"] if n["soname"] == needed]
    assert need["answer"] == ("graft" if needed == "/proc/self/exe" else "missing")
    assert time.monotonic() - begin < 60
