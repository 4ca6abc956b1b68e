"""Layered drawings: what overlaps, crosses or is lost, whatever the graph."""

from __future__ import annotations

import time
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nativelib.cli.graph_text import fitted, text_width
from nativelib.errors import PlanError
from nativelib.findings import Code
from nativelib.plan.graph_layout import lay_out

if TYPE_CHECKING:
    from nativelib.plan.graph_layout import Box, Layout, Line

_SIZES = st.tuples(st.integers(20, 300).map(float), st.integers(20, 80).map(float))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]], list[int]]:
    sizes = draw(st.lists(_SIZES, min_size=1, max_size=14))
    nodes = st.integers(0, len(sizes) - 1)
    edges = draw(st.lists(st.tuples(nodes, nodes).filter(lambda edge: edge[0] != edge[1]), unique=True, max_size=40))
    users = {user for user, _ in edges}
    last = [node for node in range(len(sizes)) if node not in users and draw(st.booleans())]
    return sizes, edges, last


def problems(layout: Layout) -> list[str]:
    """Return where boxes overlap, or lines cross boxes."""
    pairs = combinations(enumerate(layout.boxes), 2)
    found = [f"boxes {a} and {b} overlap" for (a, one), (b, other) in pairs if _overlap(one, other)]
    for number, line in enumerate(layout.lines):
        found += [f"line {number} crosses box {box}" for box, it in enumerate(layout.boxes) if _crosses(line, it)]
    return found


def _overlap(one: Box, other: Box) -> bool:
    beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    return not beside and one.y < other.y + other.height and other.y < one.y + one.height


def _crosses(line: Line, box: Box) -> bool:
    for (x, y), (next_x, next_y) in pairwise(line.points):
        # A bend stays between the heights of its ends.
        low, high = sorted((y, next_y))
        apart = next_x <= box.x or box.x + box.width <= x
        if not apart and low < box.y + box.height and box.y < high + 1e-9:
            return True
    return False


@settings(deadline=None)
@given(graphs())
def test_nothing_overlaps_and_no_line_crosses_a_box(
    graph: tuple[list[tuple[float, float]], list[tuple[int, int]], list[int]],
) -> None:
    sizes, edges, last = graph
    layout = lay_out(sizes, edges, last)
    assert [(box.width, box.height) for box in layout.boxes] == sizes
    assert not problems(layout)
    assert min(box.y for box in layout.boxes) >= -1e-9
    assert all(box.x + box.width <= layout.width + 1e-9 for box in layout.boxes)
    for (user, used), line in zip(edges, layout.lines, strict=True):
        left, right = (used, user) if line.flipped else (user, used)
        (x, y), end = line.points[0], line.points[-1]
        start, target = layout.boxes[left], layout.boxes[right]
        assert x == start.x + start.width
        assert start.y < y < start.y + start.height
        assert end[0] == target.x
        assert end[1] == pytest.approx(target.y + target.height / 2)
    assert lay_out(sizes, edges, last) == layout


def test_without_circles_all_lines_run_from_left_to_right() -> None:
    edges = [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)]
    assert not any(line.flipped for line in lay_out([(50.0, 20.0)] * 4, edges).lines)


def test_a_circle_has_one_line_that_is_read_backwards() -> None:
    layout = lay_out([(50.0, 20.0)] * 3, [(0, 1), (1, 2), (2, 0)])
    assert [line.flipped for line in layout.lines] == [False, False, True]


def test_the_last_column_is_theirs() -> None:
    layout = lay_out([(50.0, 20.0)] * 5, [(0, 1), (1, 2), (0, 3), (0, 4)], last=[3, 4])
    assert layout.boxes[3].x == layout.boxes[4].x > max(box.x for box in layout.boxes[:3])


def test_crossings_that_need_not_be_are_none() -> None:
    """Two columns of twelve, joined in a scrambled order: each line can be straight."""
    partners = [(node, 12 + (node * 5) % 12) for node in range(12)]
    layout = lay_out([(50.0, 20.0)] * 24, partners)
    heights = [layout.boxes[node].y for node in range(12)]
    assert [layout.boxes[partner].y for _, partner in partners] == pytest.approx(heights)


def test_what_nobody_could_read_is_refused_at_once() -> None:
    chain = [(node, node + 1) for node in range(999)]
    everything = [*chain, *((0, node) for node in range(2, 999))]
    begin = time.process_time()
    with pytest.raises(PlanError) as caught:
        lay_out([(50.0, 20.0)] * 1000, everything)
    assert [finding.code for finding in caught.value.findings] == [Code.GRAPH_TOO_LARGE]
    assert time.process_time() - begin < 5


def test_a_graph_at_the_limit_takes_seconds() -> None:
    edges = [(user, 60 + used) for user in range(60) for used in range(300)]
    begin = time.process_time()
    assert len(lay_out([(50.0, 20.0)] * 360, edges).lines) == 18_000
    assert time.process_time() - begin < 30


@given(st.text(max_size=60), st.integers(20, 400))
def test_shortened_text_fits_and_keeps_both_ends(text: str, room: int) -> None:
    short = fitted(text, 12, room)
    assert text_width(short, 12) <= room
    if short != text:
        head, _, tail = short.partition("…")
        assert text.startswith(head)
        assert text.endswith(tail)
