"""The table in docs/support.md: how rows get there, and that it has a row for each test that records one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.matrix import calls, record, recorded, rendered, written

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_support_has_a_row_for_every_record_and_no_other(checkout: Path) -> None:
    table = written((checkout / "docs" / "support.md").read_text(encoding="utf-8"))
    tests = [path for path in checkout.glob("tests/**/*.py") if path.name not in {"matrix.py", "test_matrix.py"}]
    known = calls(tests)
    hint = "run the long tests, then: python -m tests.support.matrix --write docs/support.md"
    absent = [
        call.where
        for call in known
        if not any(call.section.fullmatch(section) and call.row.fullmatch(row) for section, row in table)
    ]
    assert known
    assert not absent, f"no row for {absent}; {hint}"
    idle = [
        key for key in table if not any(call.section.fullmatch(key[0]) and call.row.fullmatch(key[1]) for call in known)
    ]
    assert not idle, f"no test records {idle}; {hint} --fresh"


def test_records_become_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "sub" / "log.jsonl"
    monkeypatch.setenv("NATIVELIB_MATRIX", str(log))
    record("Zoo", "b | c", "ran\nit", "works")
    record("Shapes", "one", "first", "works")
    record("Shapes", "one", "again", "refused: NL301")
    rows = recorded([log])
    assert rows == {("Zoo", "b \\| c"): ("ran it", "works"), ("Shapes", "one"): ("again", "refused: NL301")}
    text = rendered("# Support\n\nProse.\n", rows)
    assert text.startswith("# Support\n\nProse.\n\n<!-- matrix: begin")
    assert text.index("### Shapes") < text.index("### Zoo")
    assert written(text) == rows
    assert rendered(text, rows) == text


def test_the_command_keeps_prose_and_rows_of_other_runs(tmp_path: Path, checkout: Path) -> None:
    target = tmp_path / "support.md"
    target.write_text(rendered("# Support\n", {("Shapes", "old"): ("x", "works")}) + "\nAfter.\n", encoding="utf-8")
    log = tmp_path / "log.jsonl"
    log.write_text('{"section": "Shapes", "row": "new", "run": "y", "result": "works"}\n', encoding="utf-8")
    argv = [sys.executable, "-m", "tests.support.matrix", "--write", str(target)]
    environment = {**os.environ, "NATIVELIB_MATRIX": str(log)}
    subprocess.run(argv, cwd=checkout, env=environment, check=True, capture_output=True)
    text = target.read_text(encoding="utf-8")
    assert list(written(text)) == [("Shapes", "new"), ("Shapes", "old")]
    assert text.endswith("\nAfter.\n")
    subprocess.run([*argv, "--fresh"], cwd=checkout, env=environment, check=True, capture_output=True)
    assert list(written(target.read_text(encoding="utf-8"))) == [("Shapes", "new")]


def test_calls_are_found_in_sources(tmp_path: Path) -> None:
    source = tmp_path / "test_x.py"
    source.write_text('record("Shapes", f"abi3 {version}", run, "works")\nmatrix.record(name, "a|b", "", "")\n')
    first, second = calls([source])
    assert first.section.fullmatch("Shapes")
    assert first.row.fullmatch("abi3 3.11")
    assert not first.row.fullmatch("other")
    assert second.section.fullmatch("Machines")
    assert second.row.fullmatch("a\\|b")
