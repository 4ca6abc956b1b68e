"""Published wheels: nativelib and auditwheel agree, or ``differences.toml`` says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance import audit, regraft
from tests.conformance.cases import REGRAFTED
from tests.conformance.explained import Judged, judge_differences
from tests.conformance.imports import interpreter, use
from tests.conformance.pins import PINS, Pin, pin
from tests.conformance.rows import record

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.conformance, pytest.mark.network]


def check(judged: Judged) -> None:
    assert not judged.unexplained, "differences that differences.toml does not explain"
    assert not judged.stale, "entries of differences.toml that are no longer so"


# The slow ones first: what is left at the end is then short, and both workers end together.
@pytest.mark.parametrize("label", REGRAFTED)
def test_repair(label: str, tmp_path: Path) -> None:
    wheel = pin(label)
    done = regraft.regraft(wheel, tmp_path)
    judged = judge_differences(wheel, done.differences, regraft.FIELDS)
    details = f"{done.grafts} grafts"
    python = interpreter() if wheel.kind == "glibc x86_64" else None
    if python is not None:
        use(wheel, done.theirs, tmp_path / "venv-theirs", python)
        use(wheel, done.ours, tmp_path / "venv-ours", python)
        details += ", both import"
    record("repair", label, done.their_tags, done.our_tags, judged, details)
    check(judged)


@pytest.mark.parametrize("wheel", PINS, ids=lambda wheel: wheel.label)
def test_show(wheel: Pin) -> None:
    done = audit.audit(wheel.fetch())
    judged = judge_differences(wheel, done.differences, audit.FIELDS)
    record("show", wheel.label, done.theirs, done.ours, judged)
    check(judged)
