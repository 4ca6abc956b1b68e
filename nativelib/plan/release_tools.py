"""What installers, lockers and the package index make of a release as it is. Pure.

Sources. uv 0.13 and poetry 2.5 were run against an index on loopback (docs/release.md says how). Of the wheels for
Pythons that the project allows, uv reads the one whose file name comes first, poetry the one that the index lists
first, and each records its requirements for all platforms. pip reads the wheel that it installs. PyPI keeps the
metadata of the first file of a release: its JSON API says that they come from the upload and need not match others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nativelib.plan.release import all_requires, canonical_texts, fields_of, is_of_extra, wheels_named

if TYPE_CHECKING:
    from collections.abc import Collection

    from nativelib.plan.release import Release


class Behaviour(NamedTuple):
    """What one tool does, in a few sentences."""

    tool: str
    text: str


def behaviours(release: Release) -> tuple[Behaviour, ...]:
    """Return what pip, uv, poetry and PyPI make of the wheels of *release*."""
    texts = canonical_texts(all_requires(release))
    requires = {wheel: fields_of(wheel, texts).requires for wheel in release.wheels}
    if not requires:
        return ()
    union = sorted(frozenset().union(*requires.values()))
    first = release.wheels[0]
    apart = [value for value in union if not all(value in found for found in requires.values())]
    if not apart:
        return _agreed(release, union)
    plain = [value for value in requires[first] if not is_of_extra(value)]
    comes = "; ".join(f"{v!r} comes with {wheels_named([w for w in requires if v in requires[w]])}" for v in apart)
    lost = [value for value in apart if value not in requires[first]]
    if lost:
        needing = [wheel for wheel, found in requires.items() if not found.isdisjoint(lost)]
        consequence = f"{_quoted(lost)} is lost, and {wheels_named(needing)} would need it."
    else:
        consequence = f"So {_quoted(apart)} counts for all wheels, as far as its marker says."
    return (
        Behaviour("pip", f"reads the wheel that it installs, so what it installs depends on the machine: {comes}."),
        Behaviour(
            "uv lock",
            "reads one wheel, of an index the first by name that is for a Python of the user, and records what "
            f"that one requires for all platforms. Here it is {first.label}: {_quoted(plain)}. {consequence} "
            "'uv sync' installs what is recorded.",
        ),
        Behaviour("poetry lock", "does the same with the wheel that the index lists first."),
        Behaviour("PyPI", "shows, on its page and in its JSON, the requirements of the file that was uploaded first."),
    )


def _agreed(release: Release, requires: Collection[str]) -> tuple[Behaviour, ...]:
    plain = [value for value in requires if not is_of_extra(value)]
    upload = "shows the requirements of the file that was uploaded first; the wheels agree."
    sdist = release.sdist
    if sdist is not None and fields_of(sdist, canonical_texts(all_requires(release))).requires != frozenset(requires):
        upload = "shows the requirements of the file that was uploaded first: upload a wheel before the sdist."
    return (
        Behaviour("pip", f"installs {_quoted(plain)} with every wheel, where the markers hold."),
        Behaviour("uv lock", "records the same, with the markers, whichever wheel it reads."),
        Behaviour("poetry lock", "records the same, with the markers, whichever wheel it reads."),
        Behaviour("PyPI", upload),
    )


def _quoted(values: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(values))) or "nothing"
