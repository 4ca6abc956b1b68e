"""The tree of what needs what, as rows in the order in which they are drawn. Pure.

Rows are flat, since the depth of a tree is the depth of a chain of libraries, and a file may claim any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nativelib.plan.needs import Answer, by_requester

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.plan.needs import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A library that a file needs, and where it comes from."""

    name: str
    """As ``DT_NEEDED`` has it."""
    answer: Answer
    source: str | None = None
    """Member, path, or name and version of the provider."""
    key: str | None = None
    """The file that is drawn below it, or ``None`` if nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the tree: a root, or a library below what needs it."""

    depth: int
    """0 for a root."""
    name: str
    """The root's file, else as ``DT_NEEDED`` has it."""
    answer: Answer | None = None
    """``None`` for a root."""
    source: str | None = None
    again: bool = False
    """Whether what is below it has been drawn further up."""
    alike: tuple[str, ...] = ()
    """Further roots that need the same."""


def grow(roots: Sequence[str], edges: Callable[[str], Sequence[Edge]]) -> tuple[Row, ...]:
    """Return the rows of the trees of *roots*; *edges* says what a file needs.

    What stands in several places is drawn once, and so a cycle ends.
    """
    rows: list[Row] = []
    drawn: set[str] = set()
    for root in roots:
        stack = [(0, Edge(name=root, answer=Answer.WHEEL, key=root))]
        while stack:
            depth, edge = stack.pop()
            below = edges(edge.key) if edge.key is not None else ()
            again = bool(below) and edge.key in drawn
            answer = edge.answer if depth else None
            rows.append(Row(depth=depth, name=edge.name, answer=answer, source=edge.source, again=again))
            if edge.key is not None and not again:
                drawn.add(edge.key)
                stack += [(depth + 1, child) for child in reversed(below)]
    return tuple(rows)


def needs_tree(roots: Sequence[str], needs: Sequence[Need]) -> tuple[Row, ...]:
    """Return the rows of the trees of *roots*, whose *needs*, and those of what they lead to, have their answers."""
    below = {file: [_edge(need) for need in group] for file, group in by_requester(needs).items()}
    return grow(roots, lambda key: below.get(key, ()))


def wheel_tree(
    files: Sequence[str], needs: Sequence[Need], providers: Sequence[Provider], policy: frozenset[str]
) -> tuple[Row, ...]:
    """Return the rows for the ELF *files* of a wheel, whose *needs* have their answers.

    Roots are the files that no other file of the wheel needs: extensions, programs, and what is opened at run time. Of
    those that need the same one is drawn. *providers* are all that the user named, *policy* the system's libraries.
    """
    below = {file: [_edge(need) for need in group] for file, group in by_requester(needs).items()}
    offers = _Offers(providers, policy)

    def edges(key: str) -> Sequence[Edge]:
        found = below[key] if key in below else offers.edges(key)
        return sorted(found, key=lambda edge: edge.answer is Answer.POLICY)

    wanted = {edge.key for file, group in below.items() for edge in group if edge.key != file}
    roots = [file for file in files if file not in wanted]
    reached = _reached(roots, below)
    for file in files:
        if file not in reached:  # it is part of a circle that nothing leads into
            roots.append(file)
            reached |= _reached([file], below)
    alike: dict[tuple[Edge, ...], list[str]] = {}
    for root in roots:
        alike.setdefault(tuple(below.get(root, ())), []).append(root)
    others = {group[0]: tuple(group[1:]) for group in alike.values()}
    rows = grow(tuple(others), edges)
    return tuple(replace(row, alike=others[row.name]) if row.depth == 0 else row for row in rows)


def _edge(need: Need) -> Edge:
    if need.provider is not None and need.library is not None:
        return _provided(need.soname, need.provider, need.library)
    follows = need.answer in {Answer.WHEEL, Answer.GRAFT}
    return Edge(name=need.soname, answer=need.answer, source=need.source, key=need.source if follows else None)


def _reached(roots: Sequence[str], below: Mapping[str, Sequence[Edge]]) -> set[str]:
    reached, queue = set(roots), list(roots)
    while queue:
        keys = {edge.key for edge in below.get(queue.pop(), ()) if edge.key is not None} - reached
        reached |= keys
        queue += keys
    return reached


def _provided(name: str, provider: Provider, library: ProvidedLibrary) -> Edge:
    # No member of a wheel is called so, and no absolute path.
    key = f"{provider.label}: {library.file}"
    return Edge(name=name, answer=Answer.PROVIDED, source=provider.label, key=key)


class _Offers:
    """What the libraries of providers need themselves."""

    def __init__(self, providers: Sequence[Provider], policy: frozenset[str]) -> None:
        self._providers = providers
        self._policy = policy
        self._files = {
            _provided("", provider, library).key: (provider, library)
            for provider in providers
            for library in provider.every
        }

    def edges(self, key: str) -> list[Edge]:
        """Return what the provider's file *key* needs; nothing for what is no file of a provider."""
        provider, library = self._files.get(key, (None, None))
        if provider is None or library is None:
            return []
        return [self._answer(provider, soname) for soname in library.facts.needed]

    def _answer(self, provider: Provider, soname: str) -> Edge:
        own = next((library for library in provider.every if library.soname == soname), None)
        if own is not None:
            return _provided(soname, provider, own)
        if soname in self._policy:
            return Edge(name=soname, answer=Answer.POLICY)
        for other in self._providers:
            lent = other.find(soname)
            if lent is not None:
                return _provided(soname, other, lent)
        return Edge(name=soname, answer=Answer.MISSING)


def tree_to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the JSON array of a tree: its rows in order, each with its depth."""
    return [
        {
            "depth": row.depth,
            "name": row.name,
            "answer": row.answer.value if row.answer is not None else None,
            "source": row.source,
            "again": row.again,
            "alike": list(row.alike),
        }
        for row in rows
    ]
