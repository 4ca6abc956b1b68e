"""What environment markers mean: they are evaluated wherever they could differ, and not compared as texts. Pure."""

from __future__ import annotations

import math
import re
from itertools import product
from typing import TYPE_CHECKING, Final

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from nativelib.facts.release import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Environment = Mapping[str, str]

# Real markers have some hundred cases and some hundred characters.
_MOST: Final = 5_000
_MOST_EVALUATIONS: Final = 50_000
_MOST_TEXT: Final = 10_000
_TOKEN = re.compile(r'"([^"]*)"|\'([^\']*)\'|([a-z_]{2,})')
_WORDS: Final = frozenset({"and", "or", "not", "in"})
_OTHER_SYSTEM: Final = {"sys_platform": "other", "platform_system": "Other", "os_name": "posix"}
_PYTHON: Final = ("python_version", "python_full_version")
_IMPLEMENTATIONS: Final = (
    {"platform_python_implementation": "CPython", "implementation_name": "cpython"},
    {"platform_python_implementation": "PyPy", "implementation_name": "pypy"},
)
_UNDECIDED: Final = (InvalidVersion, UndefinedComparison, UndefinedEnvironmentName, RecursionError)


def meanings(markers: Sequence[Marker | None]) -> list[object]:
    """Return for each of *markers* a value that is equal for those that mean the same.

    It is a set: one marker implies another if its set is part of the other's. Of markers that cannot be evaluated, or
    not in reasonable time, it is their text.
    """
    try:
        found = _environments(markers, {})
        if found is not None and len(found) * len(markers) <= _MOST_EVALUATIONS:
            return [frozenset(i for i, where in enumerate(found) if _holds(marker, where)) for marker in markers]
    except _UNDECIDED:
        pass
    return [str(marker) for marker in markers]


def implies(one: Marker | None, other: Marker | None) -> bool:
    """Return whether *other* holds wherever *one* does; of what cannot be evaluated, whether the texts say so."""
    first, second = meanings((one, other))
    if isinstance(first, frozenset) and isinstance(second, frozenset):
        return first <= second
    return other is None or first == second


def may_hold(marker: Marker | None, fixed: Environment) -> bool:
    """Return whether *marker* holds in any environment with the values *fixed*; one that cannot be evaluated may."""
    try:
        found = _environments((marker,), fixed)
        return found is None or any(_holds(marker, environment) for environment in found)
    except _UNDECIDED:
        return True


def narrowed(marker: Marker | None, systems: Iterable[str]) -> Marker:
    """Return *marker* for the values *systems* of ``sys_platform`` only."""
    there = " or ".join(f'sys_platform == "{system}"' for system in sorted(systems))
    if marker is None:
        return Marker(there)
    return Marker(f"({marker}) and ({there})")


def _environments(markers: Iterable[Marker | None], fixed: Environment) -> list[dict[str, str]] | None:
    """Return environments in which *markers* take every value that they can, all of them with *fixed*.

    ``None`` if there are too many.
    """
    text = " ".join(str(marker) for marker in markers if marker is not None)
    if len(text) > _MOST_TEXT:
        return None
    variables, constants = _parts(text)
    groups = [
        [choice for choice in group if _agrees(choice, fixed)] or [{}]
        for group in _groups(variables, constants.union(fixed.values()))
    ]
    if math.prod(map(len, groups)) > _MOST:
        return None
    found = ({key: value for choice in choices for key, value in choice.items()} for choices in product(*groups))
    return [{"extra": "", **environment, **fixed} for environment in found]


def _holds(marker: Marker | None, environment: Environment) -> bool:
    return marker is None or marker.evaluate(dict(environment))


def _agrees(choice: Environment, fixed: Environment) -> bool:
    return all(fixed.get(key, value) == value for key, value in choice.items())


def _parts(text: str) -> tuple[set[str], set[str]]:
    """Return the variables of the markers *text* and their constants; of those in which ``in`` looks, each word."""
    variables: set[str] = set()
    constants: set[str] = set()
    for match in _TOKEN.finditer(text):
        if match[3]:
            variables.add(match[3])
        else:
            constants.add(match[1] or match[2] or "")
    if "in" in variables:
        constants = {word for text in constants for word in re.split(r"[\s,]+", text)}
    return variables - _WORDS, constants - {""}


def _groups(variables: set[str], constants: set[str]) -> Iterator[list[Environment]]:
    """Yield the choices of each group of variables that go together, as names of systems and of Pythons do."""
    pythons = _pythons(constants)
    if not variables.isdisjoint(_OTHER_SYSTEM):
        yield [*SYSTEMS.values(), _OTHER_SYSTEM]
    if not variables.isdisjoint(_PYTHON):
        yield [{"python_version": f"{a}.{b}", "python_full_version": f"{a}.{b}.{c}"} for a, b, c in pythons]
    if not variables.isdisjoint(_IMPLEMENTATIONS[0]):
        yield list(_IMPLEMENTATIONS)
    for variable in sorted(variables.difference(_OTHER_SYSTEM, _PYTHON, _IMPLEMENTATIONS[0])):
        values = ["other", *sorted(constants)]
        if variable == "extra":
            values = ["", *map(canonicalize_name, values)]
        elif variable.endswith(("_version", "_release")):
            values += [".".join(map(str, version)) for version in pythons]
        yield [{variable: value} for value in dict.fromkeys(values)]


def _pythons(constants: Iterable[str]) -> list[tuple[int, int, int]]:
    """Return versions on both sides of every version that *constants* name."""
    found = {(3, 12, 0)}
    for text in constants:
        try:
            major, minor, micro = (*Version(text.removesuffix(".*")).release, 0, 0)[:3]
        except InvalidVersion:
            continue
        found |= {(major, minor, micro), (major, minor, micro + 1), (major, minor, max(micro - 1, 0))}
        found |= {(major, minor + 1, 0), (major, max(minor - 1, 0), 0)}
    return sorted(found)
