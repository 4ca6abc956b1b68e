"""Columns of a layered drawing and the order within them. Pure.

The method is that of Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures"
(IEEE Transactions on Systems, Man, and Cybernetics 11, 1981): layers by longest path, places for long edges in every
layer that they pass, and barycentre sweeps against crossings.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from nativelib.errors import PlanError
from nativelib.findings import Code

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_SWEEPS = 24
_MOST = 20_000
"""Places and edges that are still drawn: far beyond what anybody could read, and a second or two of work."""


class Path(NamedTuple):
    """An edge as it is drawn: from left to right, through one place of each column."""

    edge: int
    """Index of the edge."""
    flipped: bool
    """Whether it was turned round, to break a circle."""
    places: tuple[int, ...]
    """Its places, ends included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Places in columns. Those below the number of nodes are the nodes; the others are where long edges pass."""

    columns: tuple[tuple[int, ...], ...]
    """Places of each column, from top to bottom."""
    paths: tuple[Path, ...]

    @property
    def hops(self) -> frozenset[tuple[int, int]]:
        """The pairs of places in neighbouring columns that a path joins."""
        return frozenset(hop for path in self.paths for hop in pairwise(path.places))


def layered(count: int, edges: Sequence[tuple[int, int]], last: Collection[int]) -> Layers:
    """Return the layers of a graph with the nodes 0 to *count* - 1; the nodes *last* share the last column.

    Raises PlanError if there is more than a picture can show.
    """
    flipped = _backward(count, edges)
    forward = [(used, user) if index in flipped else (user, used) for index, (user, used) in enumerate(edges)]
    layer = _longest(count, forward, last)
    _check(count, forward, layer)
    layer, paths = _paths(forward, flipped, layer)
    columns: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for place, number in enumerate(layer):
        columns[number].append(place)
    layers = Layers(columns=tuple(map(tuple, columns)), paths=tuple(paths))
    return Layers(columns=_ordered(layers), paths=layers.paths)


def _check(count: int, forward: Sequence[tuple[int, int]], layer: Sequence[int]) -> None:
    passed = sum(layer[end] - layer[start] for start, end in forward)
    if count + passed > _MOST:
        text = f"It has {count} nodes and {len(forward)} edges over {max(layer) + 1} columns: too many for a picture."
        raise PlanError.of(Code.GRAPH_TOO_LARGE, "graph", text, "Save it as .dot, and draw a part of it.")


def _targets(edges: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    out: dict[int, list[int]] = {}
    for start, end in edges:
        out.setdefault(start, []).append(end)
    return out


def _backward(count: int, edges: Sequence[tuple[int, int]]) -> frozenset[int]:
    """Return the indices of edges that lead back to a node on the way to them, depth first."""
    leaving: dict[int, list[tuple[int, int]]] = {}
    for index, (start, end) in enumerate(edges):
        leaving.setdefault(start, []).append((index, end))
    back: set[int] = set()
    done, open_nodes = set[int](), set[int]()
    for root in range(count):
        if root in done:
            continue
        stack = [(root, iter(leaving.get(root, ())))]
        open_nodes.add(root)
        while stack:
            node, rest = stack[-1]
            for index, end in rest:
                if end in open_nodes:
                    back.add(index)
                elif end not in done:
                    open_nodes.add(end)
                    stack.append((end, iter(leaving.get(end, ()))))
                    break
            else:
                stack.pop()
                open_nodes.discard(node)
                done.add(node)
    return frozenset(back)


def _longest(count: int, forward: Sequence[tuple[int, int]], last: Collection[int]) -> list[int]:
    """Return the layer of each node: one more than the highest of those that lead to it, or beyond all for *last*."""
    targets = _targets(forward)
    waiting = [0] * count
    for _, end in forward:
        waiting[end] += 1
    layer = [0] * count
    ready = [node for node in range(count) if not waiting[node]]
    while ready:
        node = ready.pop()
        for end in targets.get(node, ()):
            layer[end] = max(layer[end], layer[node] + 1)
            waiting[end] -= 1
            if not waiting[end]:
                ready.append(end)
    outermost = max([layer[node] + 1 for node in set(range(count)).difference(last)], default=0)
    for node in last:
        layer[node] = outermost
    return layer


def _paths(
    forward: Sequence[tuple[int, int]], flipped: Collection[int], layer: Sequence[int]
) -> tuple[list[int], list[Path]]:
    """Return the layers of all places, and the path of each edge.

    Edges that end, or begin, at one node share their places on the way to it: they are read as one line that branches.
    """
    places = list(layer)
    shared: dict[tuple[int, bool, int], int] = {}
    paths: list[Path] = []
    for index, (start, end) in enumerate(forward):
        turned = index in flipped
        way = [start]
        for number in range(layer[start] + 1, layer[end]):
            key = (start if turned else end, turned, number)
            if key not in shared:
                shared[key] = len(places)
                places.append(number)
            way.append(shared[key])
        paths.append(Path(index, turned, (*way, end)))
    return places, paths


def _ordered(layers: Layers) -> tuple[tuple[int, ...], ...]:
    """Return the columns in an order with few crossings: the best that barycentre sweeps come by."""
    right = _targets(sorted(layers.hops))
    left = _targets(sorted((end, start) for start, end in layers.hops))
    columns = [list(column) for column in layers.columns]
    best, fewest = layers.columns, _crossings(columns, right)
    for sweep in range(_SWEEPS):
        rightwards = sweep % 2 == 0
        numbers = range(1, len(columns)) if rightwards else range(len(columns) - 2, -1, -1)
        for number in numbers:
            fixed = columns[number - 1 if rightwards else number + 1]
            _sort_by_barycentre(columns[number], fixed, left if rightwards else right)
        found = _crossings(columns, right)
        if found < fewest:
            best, fewest = tuple(map(tuple, columns)), found
    return best


def _sort_by_barycentre(column: list[int], fixed: Sequence[int], neighbours: Mapping[int, Sequence[int]]) -> None:
    position = {place: number for number, place in enumerate(fixed)}
    scale = len(fixed) / max(len(column), 1)
    means = {}
    for number, place in enumerate(column):
        beside = neighbours.get(place, ())
        # Without neighbours it stays about where it is.
        means[place] = sum(position[other] for other in beside) / len(beside) if beside else number * scale
    column.sort(key=means.__getitem__)


def _crossings(columns: Sequence[Sequence[int]], right: Mapping[int, Sequence[int]]) -> int:
    total = 0
    for column, following in pairwise(columns):
        position = {place: number for number, place in enumerate(following)}
        seen: list[int] = []
        for place in column:
            ends = sorted(position[end] for end in right.get(place, ()))
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total
