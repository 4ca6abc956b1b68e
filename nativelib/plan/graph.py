"""The dependency graph of wheels: which files there are, where their libraries come from, who needs what. Pure.

Files with the same needs and the same users become one node, because a picture of a hundred ELF files is read only if
it says what differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from nativelib.plan.needs import Answer
from nativelib.plan.vendored import is_graft
from nativelib.policy.judge import is_libc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.needs import Need

C_LIBRARY = "C library"
"""Name of the node that stands for all files of glibc, musl or bionic together."""


class Kind(StrEnum):
    """What a node is. The order is that of the legend."""

    WHEEL = "wheel"
    EXTENSION = "extension"
    PROGRAM = "program"
    LIBRARY = "library"
    """A library of the wheel that the project built."""
    VENDORED = "vendored"
    """A library of the wheel that an earlier repair copied in."""
    PROVIDED = "provided"
    GRAFT = "graft"
    """A library outside that a repair would copy in."""
    MISSING = "missing"
    EXCLUDED = "excluded"
    PYTHON = "python"
    SYSTEM = "system"


_OUTSIDE = {
    Answer.POLICY: Kind.SYSTEM,
    Answer.EXCLUDED: Kind.EXCLUDED,
    Answer.MISSING: Kind.MISSING,
    Answer.PYTHON: Kind.PYTHON,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One wheel and the answers to its needs."""

    wheel: WheelFacts
    needs: tuple[Need, ...] = ()
    tag: str | None = None
    """The platform tag that it deserves, ``None`` for a pure wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One box of the picture: files that nothing in the graph tells apart."""

    kind: Kind
    names: tuple[str, ...]
    """Members, paths or sonames, sorted."""
    detail: str = ""
    """The provider of a provided library, the tag of a wheel, or ``C library``."""
    wheel: int | None = None
    """Which of the wheels it belongs to; ``None`` outside of them."""


class Edge(NamedTuple):
    """The node *user* needs the node *used*; from a wheel, it holds it. Both are indices."""

    user: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes and edges, in a fixed order."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class _Item(NamedTuple):
    """What may share a node with others."""

    kind: Kind
    name: str
    detail: str = ""
    wheel: int | None = None


_LIBC = _Item(Kind.SYSTEM, C_LIBRARY, C_LIBRARY)


def dependency_graph(audits: Sequence[Audit]) -> Graph:
    """Return the graph of *audits*. Wheels share the nodes of what lies outside of them."""
    links: dict[_Item, set[_Item]] = {}
    names: dict[_Item, set[str]] = {}
    for index, audit in enumerate(audits):
        files = {name: _Item(_kind(name, facts), name, wheel=index) for name, facts in audit.wheel.elf.items()}
        links.update((item, set()) for item in files.values())
        for need in audit.needs:
            user = files.get(need.requester) or _Item(Kind.GRAFT, need.requester)
            used = _used(need, files)
            names.setdefault(used, set()).add(need.soname if used == _LIBC else used.name)
            links.setdefault(used, set())
            if used != user:
                links.setdefault(user, set()).add(used)
    groups = _groups(links)
    nodes = [_node(group, names) for group in groups]
    for index, audit in enumerate(audits):
        nodes.append(Node(kind=Kind.WHEEL, names=(audit.wheel.filename,), detail=audit.tag or "", wheel=index))
    home = {item: number for number, group in enumerate(groups) for item in group}
    edges = {Edge(home[user], home[used]) for user, all_used in links.items() for used in all_used}
    edges |= _held(nodes, edges)
    return _sorted(nodes, edges)


def _kind(member: str, facts: ElfFacts) -> Kind:
    if facts.python_extension:
        return Kind.EXTENSION
    if facts.e_type == 2 or (facts.interpreter is not None and facts.soname is None):
        return Kind.PROGRAM
    return Kind.VENDORED if is_graft(member) else Kind.LIBRARY


def _used(need: Need, files: Mapping[str, _Item]) -> _Item:
    if need.answer is Answer.WHEEL and need.source is not None:
        return files[need.source]
    if need.answer is Answer.GRAFT and need.source is not None:
        return _Item(Kind.GRAFT, need.source)
    if need.provider is not None and need.library is not None:
        return _Item(Kind.PROVIDED, need.library.soname, need.provider.label)
    if need.answer is Answer.POLICY and is_libc(need.soname):
        return _LIBC
    return _Item(_OUTSIDE[need.answer], need.soname)


def _groups(links: Mapping[_Item, Collection[_Item]]) -> list[list[_Item]]:
    """Return the items in groups of one kind and place that have the same needs and the same users."""
    users: dict[_Item, set[_Item]] = {item: set() for item in links}
    for user, all_used in links.items():
        for used in all_used:
            users[used].add(user)
    groups: dict[object, list[_Item]] = {}
    for item, all_used in links.items():
        key = (item.kind, item.detail, item.wheel, frozenset(all_used), frozenset(users[item]))
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def _node(group: Sequence[_Item], names: Mapping[_Item, Collection[str]]) -> Node:
    every = {name for item in group for name in names.get(item, (item.name,))}
    first = group[0]
    return Node(kind=first.kind, names=tuple(sorted(every)), detail=first.detail, wheel=first.wheel)


def _held(nodes: Sequence[Node], edges: Iterable[Edge]) -> set[Edge]:
    """Return edges from each wheel to those of its nodes from which all others of it are reached."""
    needs: dict[int, list[int]] = {}
    for user, used in edges:
        needs.setdefault(user, []).append(used)
    used_ones = {used for _, used in edges}
    # Nodes that need each other in a circle have no beginning: the first of them by name is one.
    order = sorted(range(len(nodes)), key=lambda number: (number in used_ones, _rank(nodes[number])))
    wheels = {node.wheel: number for number, node in enumerate(nodes) if node.kind is Kind.WHEEL}
    out: set[Edge] = set()
    reached = set(wheels.values())
    for number in order:
        wheel = nodes[number].wheel
        if number in reached or wheel is None:
            continue
        out.add(Edge(wheels[wheel], number))
        queue = [number]
        reached.add(number)
        while queue:
            fresh = set(needs.get(queue.pop(), ())) - reached
            reached |= fresh
            queue += fresh
    return out


def _rank(node: Node) -> tuple[int, int, tuple[str, ...], str]:
    return (list(Kind).index(node.kind), -1 if node.wheel is None else node.wheel, node.names, node.detail)


def _sorted(nodes: Sequence[Node], edges: Iterable[Edge]) -> Graph:
    order = sorted(range(len(nodes)), key=lambda number: _rank(nodes[number]))
    place = {number: position for position, number in enumerate(order)}
    moved = sorted(Edge(place[user], place[used]) for user, used in edges)
    return Graph(nodes=tuple(nodes[number] for number in order), edges=tuple(moved))
