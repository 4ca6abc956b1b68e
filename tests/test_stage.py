"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from nativelib.errors import WriteError
from nativelib.findings import Code
from nativelib.write.archive import NewMember, staged_file, write_wheel

ROOT = str(Path(__file__).resolve().parent.parent)


def run(program: str, *arguments: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run *program* in a process of its own, perhaps with files limited to *limit* bytes."""

    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=set_limit,
        env={**os.environ, "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_nothing_appears_before_commit_and_everything_after(tmp_path: Path) -> None:
    out = tmp_path / "new" / "directory"
    with staged_file(out, "a.whl", durable=True) as staged:
        staged.path.write_bytes(b"content")
        assert not (out / "a.whl").exists()
        assert staged.commit() == out / "a.whl"
    assert [path.name for path in out.iterdir()] == ["a.whl"]
    assert (out / "a.whl").read_bytes() == b"content"


@pytest.mark.parametrize("failure", [None, KeyboardInterrupt, ValueError, SystemExit])
def test_without_commit_nothing_stays(failure: type[BaseException] | None, tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"old")

    def write() -> None:
        with staged_file(tmp_path, "a.whl") as staged:
            staged.path.write_bytes(b"new")
            if failure is not None:
                raise failure

    with pytest.raises(failure) if failure else nullcontext():
        write()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.whl": b"old"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(umask: int, tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from nativelib.write.archive import staged_file\n"
        f"os.umask({umask})\nPath(sys.argv[1], 'plain').touch()\n"
        "with staged_file(Path(sys.argv[1]), 'a.whl') as staged: staged.commit()"
    )
    assert run(program, str(tmp_path)).returncode == 0
    assert (tmp_path / "a.whl").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    def write(number: int) -> str:
        with staged_file(tmp_path, "a.whl") as staged:
            digest = write_wheel(staged.path, [NewMember(f"m{number}", bytes(300_000))], source=None)
            staged.commit()
        return digest.sha256

    with ThreadPoolExecutor(8) as executor:
        digests = set(executor.map(write, range(40)))
    assert len(digests) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl"]


FULL = """
import os, sys
from pathlib import Path
from nativelib.errors import WriteError
from nativelib.write.archive import NewMember, staged_file, write_wheel
try:
    with staged_file(Path(sys.argv[1]), "a.whl") as staged:
        write_wheel(staged.path, [NewMember("a", os.urandom(8_000_000))], source=None)
        staged.commit()
except WriteError as failure:
    [finding] = failure.findings
    print(finding.code, finding.where, finding.message)
"""


def test_a_full_disk_is_a_finding_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(FULL, str(tmp_path), limit=3_000_000)
    assert done.stderr == ""
    assert done.stdout == f"NL108 {tmp_path} It cannot be written: File too large.\n"
    assert list(tmp_path.iterdir()) == []


def test_without_a_limit_the_same_program_writes(tmp_path: Path) -> None:
    assert run(FULL, str(tmp_path)).stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl"]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, threading; from pathlib import Path\n"
        "from nativelib.write.archive import NewMember, staged_file, write_wheel\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "with staged_file(Path(sys.argv[1]), 'a.whl') as staged:\n"
        "    write_wheel(staged.path, [NewMember(str(i), os.urandom(2_000_000)) for i in range(200)], source=None)\n"
    )
    done = run(program, str(tmp_path))
    assert done.returncode == -signal.SIGINT
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_directory_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nativelib")):
        with pytest.raises(WriteError) as caught, staged_file(directory, "a.whl"):
            pytest.fail("the block must not begin")
        assert caught.value.findings[0].code is Code.WRITE_FAILED
    (tmp_path / "a.whl").mkdir()
    with pytest.raises(WriteError, match="directory"), staged_file(tmp_path, "a.whl") as staged:
        staged.commit()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.whl", "file"]


def test_a_target_that_cannot_be_opened_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.whl").mkdir()
    with pytest.raises(WriteError):
        write_wheel(tmp_path / "a.whl", [], source=None)
    assert (tmp_path / "a.whl").is_dir()
