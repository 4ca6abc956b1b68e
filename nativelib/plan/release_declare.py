"""What a project has to declare so that its source distribution agrees with its wheels, as lines to paste. Pure.

A source distribution is not edited: build backends write its PKG-INFO anew from ``pyproject.toml`` whenever they build
from it (measured with setuptools, hatchling and flit).
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nativelib.plan.release import canonical_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.release import DistFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """Lines of ``[project]`` in ``pyproject.toml``, of which one block is needed."""

    dependencies: str
    """The requirements, with their markers: every build has them, from the sdist, too."""
    dynamic: str
    """The promise that builds may add requirements: for build backends that fill ``dependencies`` in."""


def declaration(sdist: DistFile | None, requires: Sequence[str], written: Sequence[str]) -> Declaration | None:
    """Return what to declare so that *sdist* goes with wheels that have *requires*, or ``None`` if it does already.

    *written* are those that repairs wrote: without a sdist nothing is known of the project but that it has not these.
    """
    project = _project(sdist)
    present = [value for value in project.get("dependencies", []) if isinstance(value, str)]
    if sdist is None:
        missing = list(written)
    elif "requires-dist" in {field.lower() for field in sdist.metadata.dynamic}:
        return None
    else:
        texts = canonical_texts([*requires, *present, *sdist.metadata.requires])
        there = {texts[value] for value in (*present, *sdist.metadata.requires)}
        present = present or list(sdist.metadata.requires)
        missing = [value for value in requires if texts[value] not in there]
    if not missing:
        return None
    dynamic = [value for value in project.get("dynamic", []) if isinstance(value, str) and value != "dependencies"]
    lines = "".join(f"    {_toml(value)},\n" for value in (*present, *missing))
    return Declaration(
        dependencies=f"[project]\ndependencies = [\n{lines}]\n",
        dynamic=f"[project]\ndynamic = [{', '.join(map(_toml, (*dynamic, 'dependencies')))}]\n",
    )


def _project(sdist: DistFile | None) -> dict[str, Any]:
    """Return the ``[project]`` table of *sdist*; of what has none or none that can be read, an empty one."""
    raw = sdist.texts.get("pyproject.toml") if sdist is not None else None
    try:
        found = tomllib.loads(raw.decode()) if raw else {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return {}
    project = found.get("project", {})
    lists = ("dependencies", "dynamic")
    return {key: project[key] for key in lists if isinstance(project, dict) and isinstance(project.get(key), list)}


def _toml(text: str) -> str:
    """Return *text* as a TOML string; a literal one where it has double quotes, as markers do."""
    return f"'{text}'" if '"' in text and "'" not in text and text.isprintable() else json.dumps(text)
