"""Files that move because something must run before them: extensions and programs. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nativelib.facts.wheel import Scheme, loader_of, place_of
from nativelib.plan.hook import hooked_package
from nativelib.plan.needs import Answer, by_requester, reachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions


class Companion(StrEnum):
    """What stands where the file was."""

    LOADER = "loader"
    """A module that preloads and then becomes the extension."""
    SCRIPT = "script"
    """A script that sets up the search and then becomes the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One file that moves."""

    old: str
    """Member where it is."""
    new: str
    """Member where it goes; the same if an earlier repair moved it."""
    companion: str
    """Member that is generated."""
    kind: Companion

    @property
    def package(self) -> bool:
        """Whether the extension is the ``__init__`` of a package."""
        return posixpath.basename(self.new).startswith("__init__.")


def plan_moves(wheel: WheelFacts, needs: Sequence[Need], options: RepairOptions) -> tuple[Move, ...]:
    """Return the files that move.

    Extensions without a regular package move if loader modules are asked for, and stay behind those that an earlier
    repair wrote. Programs in the scripts scheme move if a run path must lead from them to site-packages.
    """
    groups = by_requester(needs)
    out: list[Move] = []
    for member, facts in sorted(wheel.elf.items()):
        answers = {need.answer for need in reachable(member, groups)}
        scheme = place_of(member).scheme
        if scheme is Scheme.SCRIPTS and answers & {Answer.PROVIDED, Answer.GRAFT}:
            new = f"{wheel.name.distribution}.scripts/{posixpath.basename(member)}"
            out.append(Move(old=member, new=new, companion=member, kind=Companion.SCRIPT))
        elif Answer.PROVIDED in answers and facts.python_extension and scheme is Scheme.SITE:
            move = _behind_loader(wheel, member, wanted=options.loader_modules)
            if move is not None:
                out.append(move)
    return tuple(out)


def _behind_loader(wheel: WheelFacts, member: str, *, wanted: bool) -> Move | None:
    companion = loader_of(member)
    if companion is not None and wheel.member(companion) is not None:
        return Move(old=member, new=member, companion=companion, kind=Companion.LOADER)
    if not wanted or hooked_package(member, dict(wheel.texts)) is not None:
        return None
    directory, file = posixpath.split(member)
    stem = file.partition(".")[0]
    private = f"_{posixpath.basename(directory) if stem == '__init__' else stem}_nl"
    return Move(
        old=member,
        new=posixpath.join(directory, private, file),
        companion=posixpath.join(directory, f"{stem}.py"),
        kind=Companion.LOADER,
    )


def with_moves(files: dict[str, ElfFacts], moves: Sequence[Move]) -> dict[str, ElfFacts]:
    """Return *files* under the names that they get."""
    new = {move.old: move.new for move in moves}
    return {new.get(name, name): facts for name, facts in files.items()}
