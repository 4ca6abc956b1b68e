"""Libraries of the data scheme that move into site-packages, where a run path can lead to them. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code
from nativelib.plan.needs import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions


def relocations(wheel: WheelFacts, needs: Sequence[Need], options: RepairOptions) -> dict[str, str]:
    """Return old member to new member for the ELF files that ``--relocate-data`` moves.

    Those are the files of ``.data/data`` between which and site-packages a need crosses, with all that they need, or
    that need them, in their own scheme. They go where grafts go, under their soname. Raises PlanError if two would get
    one name.
    """
    data = {name for name in wheel.elf if place_of(name).scheme is Scheme.DATA}
    if not options.relocate_data or not data:
        return {}
    inner = [(need.requester, need.source or "") for need in needs if need.answer is Answer.WHEEL]
    moving = {need.requester for need in needs if need.answer in {Answer.PROVIDED, Answer.GRAFT}} & data
    moving |= {name for pair in inner for name in pair if name in data and not data.issuperset(pair)}
    while joined := {name for pair in inner if moving & set(pair) and data.issuperset(pair) for name in pair} - moving:
        moving |= joined
    directory = f"{wheel.name.distribution}{options.lib_sdir}"
    out: dict[str, str] = {}
    for name in sorted(moving):
        new = f"{directory}/{wheel.elf[name].soname or posixpath.basename(name)}"
        if new in out.values() or wheel.member(new) is not None:
            message = f"It would move to {new}, where another file of the wheel is."
            raise PlanError.of(Code.CROSS_SCHEME, name, message, "Leave one of the two out of the wheel.")
        out[name] = new
    return out
