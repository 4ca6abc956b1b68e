"""What the tests found, one file for each row of the table, so that processes side by side do not meet."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.explained import Judged

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "build" / "conformance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One wheel, audited or repaired by both tools."""

    section: str
    """``show`` or ``repair``."""
    wheel: str
    theirs: str
    """Their tag, or tags."""
    ours: str
    details: str = ""
    differences: dict[str, int]
    """Reason, or what is not explained, to the number of differences."""
    fails: bool

    @property
    def agrees(self) -> bool:
        """Whether there is no difference at all."""
        return not self.differences


def record(section: str, wheel: str, theirs: str, ours: str, judged: Judged, details: str = "") -> None:
    """Keep the row of *wheel* for the table."""
    texts = [found.reason for found in judged.explained]
    texts += [f"UNEXPLAINED {found.field} {found.item}: {found.theirs} / {found.ours}" for found in judged.unexplained]
    texts += [f"NO LONGER SO {', '.join(entry.fields)}: {entry.reason}" for entry in judged.stale]
    row = Row(
        section=section,
        wheel=wheel,
        theirs=theirs,
        ours=ours,
        details=details,
        differences={text: texts.count(text) for text in dict.fromkeys(texts)},
        fails=bool(judged.unexplained or judged.stale),
    )
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{section}-{wheel.replace(' ', '_')}.json"
    path.write_text(json.dumps(asdict(row)), encoding="utf-8")


def recorded(section: str, wheel: str) -> Row | None:
    """Return the row of *wheel*, or ``None`` if no test has recorded it."""
    path = DIRECTORY / f"{section}-{wheel.replace(' ', '_')}.json"
    return Row(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
