"""``repair`` of both tools on a wheel whose grafts were taken out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.wheel import WheelName
from tests.conformance.explained import Difference
from tests.conformance.tools import auditwheel_repair, auditwheel_show, nativelib_repair, nativelib_show
from tests.conformance.ungraft import ungraft, without_hash
from tests.conformance.witness import Seen, directories, elf_members, resolved
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.conformance.pins import Pin

FIELDS = (
    "platform tags",
    "WHEEL",
    "grafts",
    "soname",
    "needed",
    "run path",
    "run path tag",
    "found by run path",
    "audit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regraft:
    """Both results, and all that is not the same."""

    theirs: Path
    ours: Path
    grafts: int
    """How many libraries were taken out."""
    differences: tuple[Difference, ...]

    @property
    def their_tags(self) -> str:
        """The platform tags in the file name, joined by dots."""
        return _platforms(self.theirs)

    @property
    def our_tags(self) -> str:
        """The same of our file."""
        return _platforms(self.ours)


def regraft(pin: Pin, directory: Path) -> Regraft:
    """Take the grafts out of *pin*, and let both tools put them in again, below *directory*."""
    wheel, libraries = ungraft(pin, directory / "before")
    theirs = auditwheel_repair(wheel, libraries, directory / "theirs")
    ours = nativelib_repair(wheel, libraries, directory / "ours")
    assert theirs.wheel is not None, theirs.said
    assert ours.wheel is not None, ours.said
    found = [*_tags(theirs.wheel, ours.wheel), *_elf(elf_members(theirs.wheel), elf_members(ours.wheel))]
    found += _audit(ours.wheel)
    grafts = sum(1 for _ in libraries.iterdir())
    # What is to be installed must not find them.
    libraries.rename(libraries.with_name("gone"))
    return Regraft(theirs=theirs.wheel, ours=ours.wheel, grafts=grafts, differences=tuple(found))


def _platforms(wheel: Path) -> str:
    return ".".join(sorted(WheelName.parse(wheel.name).platforms))


def _tags(theirs: Path, ours: Path) -> Iterator[Difference]:
    yield from _unequal("platform tags", "", _platforms(theirs), _platforms(ours))
    yield from _unequal("WHEEL", "", *(" ".join(sorted(_wheel_lines(wheel))) for wheel in (theirs, ours)))


def _wheel_lines(wheel: Path) -> set[str]:
    [text] = [data.decode() for name, data in members(wheel).items() if name.endswith(".dist-info/WHEEL")]
    return {line for line in text.splitlines() if line.startswith(("Tag:", "Root-Is-Purelib:"))}


def _elf(theirs: dict[str, Seen], ours: dict[str, Seen]) -> Iterator[Difference]:
    grafts = [sorted((name for name in files if ".libs/" in name), key=without_hash) for files in (theirs, ours)]
    yield from _each("grafts", "", *grafts)
    led = resolved(theirs), resolved(ours)
    for name in sorted(theirs.keys() & ours.keys()):
        pair = theirs[name], ours[name]
        yield from _unequal("soname", name, *(str(seen.soname) for seen in pair))
        yield from _each("needed", name, *(seen.needed for seen in pair))
        # The order of directories counts only where two have one name, which the field after next shows.
        yield from _unequal("run path", name, *(" ".join(sorted(set(directories(name, seen)))) for seen in pair))
        if all(seen.run_path for seen in pair):
            yield from _unequal("run path tag", name, *("rpath" if seen.legacy else "runpath" for seen in pair))
        yield from _each("found by run path", name, *(list(found[name].values()) for found in led))


def _audit(ours: Path) -> Iterator[Difference]:
    """Yield where the audits of our result do not agree with the tag that we gave it."""
    theirs, own = auditwheel_show(ours), nativelib_show(ours)
    for verdict, external in ((theirs["overall_tag"], theirs["external_libs"]), (own["tag"], own["external"])):
        deserved = verdict in WheelName.parse(ours.name).platforms
        yield from _unequal("audit", "", "" if deserved else verdict, "")
        yield from _unequal("audit", "external", " ".join(external), "")


def _each(field: str, item: str, theirs: Sequence[str], ours: Sequence[str]) -> Iterator[Difference]:
    """Yield what differs of two lists: pair by pair, unless one is longer."""
    pairs = zip(theirs, ours, strict=True) if len(theirs) == len(ours) else [(" ".join(theirs), " ".join(ours))]
    for their, our in pairs:
        yield from _unequal(field, item, their, our)


def _unequal(field: str, item: str, theirs: str, ours: str) -> Iterator[Difference]:
    if theirs != ours:
        yield Difference(field=field, item=item, theirs=theirs, ours=ours)
