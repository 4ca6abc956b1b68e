"""In which order the members of a wheel stand. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def member_order(names: Iterable[str], dist_info: str, *, new: Collection[str] = ()) -> tuple[str, ...]:
    """Return *names* and *new* in the order that nativelib writes.

    ``names`` are the members that the wheel had, in its own order, which is kept. Members of the directory
    ``dist_info`` (no slash) go last, as PEP 427 recommends, and RECORD last of all: it can be written only when
    everything else is. ``new`` members go, sorted, behind the old ones of their group. Applied to its own result it
    changes nothing.
    """
    old = tuple(dict.fromkeys(names))
    everything = old + tuple(sorted(set(new).difference(old)))
    record = f"{dist_info}/RECORD"
    inside = [name for name in everything if name.startswith(f"{dist_info}/") and name != record]
    outside = [name for name in everything if not name.startswith(f"{dist_info}/")]
    return (*outside, *inside, *((record,) if record in everything else ()))
