"""Files that move because something must run before them: extensions and programs. Pure."""

from __future__ import annotations

import keyword
import posixpath
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.facts.wheel import Scheme, behind_loader, behind_script, companion_of, place_of
from nativelib.findings import Code, Finding, error
from nativelib.plan.hook import LOADER_MARK, SCRIPT_MARK, hooked_package, package_texts
from nativelib.plan.needs import Answer, by_requester, reachable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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
    """Member that is generated. Builds of one extension for several Pythons share it."""
    kind: Companion

    @property
    def package(self) -> bool:
        """Whether the extension is the ``__init__`` of a package."""
        return posixpath.basename(self.companion) == "__init__.py"


def goes_first(need: Need, options: RepairOptions) -> bool:
    """Return whether something must run before the file that has *need*: a provider, or a hint for the system's."""
    hinted = need.answer in {Answer.EXCLUDED, Answer.POLICY} and need.soname in options.system_hints
    return need.answer is Answer.PROVIDED or hinted


def plan_moves(
    wheel: WheelFacts, needs: Sequence[Need], options: RepairOptions, callers: Collection[str] = ()
) -> tuple[Move, ...]:
    """Return the files that move, and those that an earlier repair moved.

    Extensions without a regular package move if loader modules are asked for. Programs in the scripts scheme move if a
    run path must lead from them to site-packages: to what they need or, being among *callers*, open by name. Raises
    PlanError if a file of the wheel is in the way.
    """
    groups = by_requester(needs)
    texts = package_texts(wheel)
    moves: list[Move] = []
    for member, facts in sorted(wheel.elf.items()):
        found = reachable(member, groups)
        scheme = place_of(member).scheme
        extension = scheme is Scheme.SITE and _is_imported(member, facts)
        move = _earlier(wheel, member)
        if move is None and scheme is Scheme.SCRIPTS and (member in callers or any(map(_is_in_site, found))):
            new = behind_script(member, wheel.name.distribution)
            move = Move(old=member, new=new, companion=member, kind=Companion.SCRIPT)
        elif move is None and extension and options.loader_modules and hooked_package(member, texts) is None:
            new, companion = behind_loader(member)
            move = Move(old=member, new=new, companion=companion, kind=Companion.LOADER)
        wanted = scheme is Scheme.SCRIPTS or any(goes_first(need, options) for need in found)
        if move is not None and wanted:
            moves.append(move)
    in_the_way = [finding for move in moves for finding in (*_in_the_way(wheel, move), *_needed(needs, move))]
    if in_the_way:
        raise PlanError(in_the_way)
    return tuple(moves)


def _earlier(wheel: WheelFacts, member: str) -> Move | None:
    companion = companion_of(member, wheel.data_dir)
    text = wheel.texts.get(companion or "", b"")
    for kind, mark in ((Companion.LOADER, LOADER_MARK), (Companion.SCRIPT, SCRIPT_MARK)):
        if companion is not None and mark.encode() in text:
            return Move(old=member, new=member, companion=companion, kind=kind)
    return None


def _is_imported(member: str, facts: ElfFacts) -> bool:
    """Return whether ``import`` finds the extension under the name of its file."""
    path = place_of(member).path
    stem = posixpath.basename(path).partition(".")[0]
    name = posixpath.basename(posixpath.dirname(path)) if stem == "__init__" else stem
    wanted = (f"PyInit_{name}", f"_cffi_pypyinit_{name}")
    # Names that are not ASCII are encoded as in PEP 489.
    dotted = [*path.split("/")[:-1], name]
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in dotted):
        return False
    return any(s.name in wanted or s.name.startswith("PyInitU_") for s in facts.exports)


def _is_in_site(need: Need) -> bool:
    if need.answer is Answer.WHEEL:
        return place_of(need.source or "").scheme is Scheme.SITE
    return need.answer in {Answer.PROVIDED, Answer.GRAFT}


def _needed(needs: Sequence[Need], move: Move) -> list[Finding]:
    """Return an error for each file that needs the one that is to move under its present name."""
    if posixpath.basename(move.old) == posixpath.basename(move.new):
        return []
    message = f"{{}} needs {posixpath.basename(move.old)}, which cannot be found once it has moved to {move.new}."
    remedy = "Put the extension into a package, or repair without --loader-modules."
    users = sorted({need.requester for need in needs if need.answer is Answer.WHEEL and need.source == move.old})
    return [error(Code.HOOK_REFUSED, move.old, message.format(user), remedy) for user in users]


def _in_the_way(wheel: WheelFacts, move: Move) -> list[Finding]:
    """Return an error for each member that *move* would overwrite."""
    taken = [name for name in (move.new, move.companion) if name != move.old and wheel.member(name) is not None]
    if move.new == move.old:
        taken = []
    if not taken:
        return []
    message = f"It would move to {move.new} behind {move.companion}, but {' and '.join(taken)} is in the wheel already."
    remedy = "Leave that file out of the wheel, put the extension into a package, or repair without --loader-modules."
    return [error(Code.HOOK_REFUSED, move.old, message, remedy)]
