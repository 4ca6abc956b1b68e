"""What a hook for a source tree is to name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.findings import Code
from nativelib.plan.hook import HOOK, around_block
from nativelib.plan.values import HOOK_BEGIN, HOOK_END

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.elf import Symbol
    from nativelib.facts.provider import Provider
    from nativelib.plan.needs import Need


def used_of(provider: Provider) -> dict[str, frozenset[Symbol]]:
    """Return all exports of *provider* by soname: a source tree does not say which it will use."""
    if provider.manifest is None:
        return {}
    return {soname: frozenset(symbols) for soname, symbols in provider.manifest.exports.items()}


def needed_of(provider: Provider, needs: Sequence[Need] | None) -> list[str]:
    """Return the sonames that *needs* take from *provider*, or without needs all that it offers.

    Raises PlanError if the needs take nothing from it.
    """
    if needs is None:
        return [library.soname for library in provider.libraries]
    sonames = sorted({n.library.soname for n in needs if n.provider is provider and n.library is not None})
    if not sonames:
        message = f"{provider.label} has nothing that the wheel needs."
        raise PlanError.of(Code.UNUSED_PROVIDER, provider.origin, message, "Leave this --provided-by out.")
    return sonames


def with_block(present: bytes, shim: str, where: str) -> str:
    """Return the file *present* with its block replaced by that of *shim*, the text of a whole hook file.

    Bytes that are not UTF-8 come out as surrogates. Raises PlanError if there is no block: the file is the author's.
    """
    begin, end = HOOK_BEGIN.encode(), HOOK_END.encode()
    if not 0 <= present.find(begin) < present.find(end):
        message = "The file is there already and has no block of nativelib's, so it is left alone."
        remedy = f"Write to another file, and import that from this one, as in: from . import {HOOK}"
        raise PlanError.of(Code.HOOK_REFUSED, where, message, remedy)
    splice = around_block(present, where)
    block = shim[shim.index(HOOK_BEGIN) : shim.index(HOOK_END) + len(HOOK_END)]
    return splice.before + f"{block}\n".replace("\n", splice.newline) + splice.after
