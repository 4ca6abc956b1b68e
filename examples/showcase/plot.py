"""The workloads as an SVG: a group of three bars for each. Pure, and drawn by hand: it is a page of rectangles."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from results import median

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, LEFT, RIGHT, TOP = 860, 260, 130, 64
BAR, GAP = 15, 16
# Middle tones: readable on white and on black, because a reader's page may be either.
TEXT = "#7d8590"
MODES = {
    "untouched": ("#cf5b4c", "as published"),
    "passive": ("#b98a2f", "as published, OMP_WAIT_POLICY=PASSIVE"),
    "shared": ("#2f9e6e", "sharing one OpenMP runtime"),
}
_TITLE = "Milliseconds per turn of programs that alternate between libraries (less is better)"
_NOTE = "In brackets: times as long as when shared. "


def draw(workloads: Sequence[Mapping[str, Any]], subtitle: str) -> str:
    """Return an SVG of the workloads that have several parts; `subtitle` says where they were measured."""
    rows = [workload for workload in workloads if len(workload["parts"]) > 1]
    most = max(median(workload, mode) for workload in rows for mode in MODES)
    scale = (WIDTH - LEFT - RIGHT) / most
    group = BAR * len(MODES) + GAP
    height = TOP + group * len(rows) + 28
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
        f'  font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}" role="img">',
        f"<title>{escape(_TITLE)}</title>",
        f'<text x="0" y="18" font-size="15" font-weight="600">{escape(_TITLE)}</text>',
        *_legend(),
    ]
    for number, workload in enumerate(rows):
        out += _group(workload, TOP + number * group, scale)
    out.append(f'<text x="0" y="{height - 6}" font-size="11">{escape(_NOTE + subtitle)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def _legend() -> list[str]:
    out, x = [], 0
    for colour, label in MODES.values():
        out.append(f'<rect x="{x}" y="32" width="12" height="12" rx="2" fill="{colour}"/>')
        out.append(f'<text x="{x + 18}" y="43">{escape(label)}</text>')
        x += 44 + round(7.4 * len(label))
    return out


def _group(workload: Mapping[str, Any], top: float, scale: float) -> list[str]:
    middle = top + BAR * len(MODES) / 2 + 4
    out = [f'<text x="{LEFT - 12}" y="{middle:.0f}" text-anchor="end">{escape(workload["title"])}</text>']
    best = median(workload, "shared")
    for number, (mode, (colour, _label)) in enumerate(MODES.items()):
        value = median(workload, mode)
        y = top + number * BAR
        length = max(1.0, value * scale)
        times = f" ({value / best:.1f} x)" if mode != "shared" else ""
        out.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 3}" rx="2" fill="{colour}"/>')
        out.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 10}" font-size="11">{value:.2f}{times}</text>')
    return out
