"""Where the boxes and lines of a layered drawing go. Pure.

Boxes of a layer stand in one column. Lines run straight through columns, in places that are theirs, and bend between
them only: so no line crosses a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nativelib.plan.graph_layers import layered

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nativelib.plan.graph_layers import Layers

_BETWEEN_BOXES = 14
_BETWEEN_LINES = 9
_NARROWEST_GAP, _WIDEST_GAP = 56, 160
_SWEEPS = 12
_STRAIGHT = 6.0
"""How much more a line's own places pull it straight than boxes pull each other."""


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


class Line(NamedTuple):
    """The way of an edge, from left to right; between points of different height it bends."""

    points: tuple[tuple[float, float], ...]
    flipped: bool
    """Whether the edge runs against its line, from right to left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A drawing whose upper left corner is the origin."""

    boxes: tuple[Box, ...]
    """One for each node."""
    lines: tuple[Line, ...]
    """One for each edge."""
    width: float
    height: float


def lay_out(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], last: Collection[int] = ()
) -> Layout:
    """Return where nodes of these *sizes* (width, height) and the *edges* between them go.

    *last* are nodes without edges of their own that share the last column. Raises PlanError if there is more than a
    picture can show.
    """
    layers = layered(len(sizes), edges, last)
    sides = _Sides.of(layers)
    heights = {place: sizes[place][1] if place < len(sizes) else 0.0 for column in layers.columns for place in column}
    middles = _middles(layers, sides, heights)
    spans = _spans(layers, sides, sizes, middles)
    boxes: dict[int, Box] = {}
    for column, (begin, _) in zip(layers.columns, spans, strict=True):
        for place in column:
            if place < len(sizes):
                width, height = sizes[place]
                boxes[place] = Box(begin, middles[place] - height / 2, width, height)
    return Layout(
        boxes=tuple(boxes[node] for node in range(len(sizes))),
        lines=_lines(layers, sides, spans, boxes, middles),
        width=spans[-1][1] if spans else 0,
        height=max((box.y + box.height for box in boxes.values()), default=0),
    )


@dataclass(frozen=True, slots=True)
class _Sides:
    """The neighbours of each place in the columns beside its own."""

    left: Mapping[int, Sequence[int]]
    right: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, layers: Layers) -> _Sides:
        left: dict[int, list[int]] = {}
        right: dict[int, list[int]] = {}
        for start, end in sorted(layers.hops):
            right.setdefault(start, []).append(end)
            left.setdefault(end, []).append(start)
        return cls(left, right)


def _middles(layers: Layers, sides: _Sides, heights: Mapping[int, float]) -> dict[int, float]:
    """Return the height of the middle of each place: near those that it is joined with, and never on another."""
    middles: dict[int, float] = {}
    for column in layers.columns:
        _settle(column, dict.fromkeys(column, 0.0), heights, middles)
    for sweep in range(_SWEEPS):
        rightwards = sweep % 2 == 0
        both = sweep >= _SWEEPS - 4
        for column in layers.columns if rightwards else reversed(layers.columns):
            wanted: dict[int, float] = {}
            for place in column:
                near = [*(sides.left.get(place, ()) if rightwards or both else ())]
                near += sides.right.get(place, ()) if not rightwards or both else ()
                pulls = [(middles[other], 1.0 if heights[place] or heights[other] else _STRAIGHT) for other in near]
                total = sum(pull for _, pull in pulls)
                wanted[place] = sum(y * pull for y, pull in pulls) / total if pulls else middles[place]
            _settle(column, wanted, heights, middles)
    top = min((middle - heights[place] / 2 for place, middle in middles.items()), default=0)
    return {place: middle - top for place, middle in middles.items()}


def _settle(
    column: Sequence[int], wanted: Mapping[int, float], heights: Mapping[int, float], middles: dict[int, float]
) -> None:
    """Set *middles* of a column as near to those *wanted* as order and distances allow.

    Least squares under an order: pooling of adjacent violators. Places that would overlap move as one block.
    """
    offsets: list[float] = []
    for number, place in enumerate(column):
        if number:
            before = column[number - 1]
            free = _BETWEEN_LINES if not heights[place] and not heights[before] else _BETWEEN_BOXES
            offsets.append(offsets[-1] + (heights[before] + heights[place]) / 2 + free)
        else:
            offsets.append(0.0)
    blocks: list[tuple[float, int]] = []  # sum and number of the wishes, less offsets
    for place, offset in zip(column, offsets, strict=True):
        total, count = wanted[place] - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            more, others = blocks.pop()
            total, count = total + more, count + others
        blocks.append((total, count))
    starts = [total / count for total, count in blocks for _ in range(count)]
    for place, offset, start in zip(column, offsets, starts, strict=True):
        middles[place] = start + offset


def _spans(
    layers: Layers, sides: _Sides, sizes: Sequence[tuple[float, float]], middles: Mapping[int, float]
) -> list[tuple[float, float]]:
    """Return where each column begins and ends; the steeper its lines, the wider the gap to the next."""
    out: list[tuple[float, float]] = []
    begin = 0.0
    for column in layers.columns:
        width = max((sizes[place][0] for place in column if place < len(sizes)), default=0.0)
        out.append((begin, begin + width))
        rises = [abs(middles[place] - middles[other]) for place in column for other in sides.right.get(place, ())]
        begin += width + min(max(max(rises, default=0) / 5, _NARROWEST_GAP), _WIDEST_GAP)
    return out


def _ports(
    layers: Layers, sides: _Sides, boxes: Mapping[int, Box], middles: Mapping[int, float]
) -> dict[object, float]:
    """Return the height at which a box is left towards each neighbour on its right."""
    out: dict[object, float] = {}
    for column in layers.columns:
        for place in column:
            if place not in boxes:
                continue
            ends = sorted(sides.right.get(place, ()), key=lambda end: (middles[end], end))
            step = min(7.0, (boxes[place].height - 10) / max(len(ends) - 1, 1))
            for number, end in enumerate(ends):
                out[place, end] = middles[place] + (number - (len(ends) - 1) / 2) * step
    return out


def _lines(
    layers: Layers,
    sides: _Sides,
    spans: Sequence[tuple[float, float]],
    boxes: Mapping[int, Box],
    middles: Mapping[int, float],
) -> tuple[Line, ...]:
    ports = _ports(layers, sides, boxes, middles)
    number_of = {place: number for number, column in enumerate(layers.columns) for place in column}
    out: list[Line] = []
    for path in layers.paths:
        start, *between, end = path.places
        port = ports[start, path.places[1]]
        box = boxes[start]
        points = [(box.x + box.width, port), (spans[number_of[start]][1], port)]
        for place in between:
            begin, finish = spans[number_of[place]]
            points += [(begin, middles[place]), (finish, middles[place])]
        points.append((boxes[end].x, middles[end]))
        out.append(Line(tuple(dict.fromkeys(points)), path.flipped))
    return tuple(out)
