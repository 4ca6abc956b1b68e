"""What fuzzing once found, again; and the fuzzing itself, as far as it can be tested."""

from __future__ import annotations

import random
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.fuzz.mutate import mutate_member
from tests.fuzz.seeds import elf_files, wheels
from tests.fuzz.targets import TARGETS, archive, elf

_CASES = Path(__file__).parent / "fuzz" / "cases"
_KEPT = sorted(path for path in _CASES.glob("*/*") if path.is_file())
_SECONDS = 2


@pytest.mark.parametrize("case", _KEPT, ids=[f"{path.parent.name}/{path.name}" for path in _KEPT])
def test_kept_cases(case: Path) -> None:
    begin = time.process_time()
    TARGETS[case.parent.name](case.read_bytes())
    assert time.process_time() - begin < _SECONDS


def test_every_kept_case_belongs_to_a_target() -> None:
    assert {path.name for path in _CASES.iterdir() if path.is_dir()} == set(TARGETS)
    assert _KEPT


def test_what_fuzzing_begins_with_is_sound(tmp_path: Path) -> None:
    files = list(elf_files(tmp_path))
    assert len(files) > 8
    for content in files:
        elf(content)
    for content in wheels(tmp_path, files[-1]):
        archive(content)


def test_a_target_notices_a_broken_promise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = next(wheels(tmp_path, b""))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: "demo/__init__.py")
    with pytest.raises(AssertionError, match="damaged member"):
        archive(content)


def test_a_member_can_change_while_the_archive_stays_whole(tmp_path: Path) -> None:
    content = next(wheels(tmp_path, b"\x7fELF"))
    changed = set()
    for seed in range(20):
        new = mutate_member(content, lambda data, _: data + b"\n", random.Random(seed))
        assert new is not None
        archive(new)
        with zipfile.ZipFile(BytesIO(new)) as after, zipfile.ZipFile(BytesIO(content)) as before:
            changed |= {name for name in after.namelist() if after.read(name) == before.read(name) + b"\n"}
    assert len(changed) > 3
    assert mutate_member(b"PK", lambda data, _: data, random.Random(0)) is None
