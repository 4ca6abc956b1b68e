"""All that plans are decided from: facts, answers and evidence, gathered before planning begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nativelib.facts.package import Owners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.elf import Libc
    from nativelib.facts.manifest import Manifest
    from nativelib.facts.outside import Included, Outside, SystemMusl
    from nativelib.facts.prefix import PrefixFacts
    from nativelib.facts.project import Project
    from nativelib.facts.provider import Provider
    from nativelib.facts.spec import Spec
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.adapter import PlannedAdapter
    from nativelib.plan.needs import Need
    from nativelib.plan.symbols import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairInput:
    """All that a repair is decided from."""

    wheel: WheelFacts
    libc: Libc
    architecture: str
    needs: tuple[Need, ...]
    """Every need with its final answer."""
    outside: Outside
    evidence: Evidence
    """Linked copies and system libraries, for the proof."""
    generator: str
    """What ``WHEEL`` names as generator: ``nativelib <version>``."""
    offered: tuple[Provider, ...] = ()
    """All providers that the user named: one may have what another needs."""
    owners: Owners = field(default_factory=Owners)
    """Packages of the machine that own what is copied in."""
    musl: SystemMusl | None = None
    """For a wheel that is linked with musl: the copy on the search path."""
    included: tuple[Included, ...] = ()
    """Libraries that are copied in because code opens them at run time."""
    removed: frozenset[str] = frozenset()
    """Members that are left out: providers have them, or nothing needs them any more."""

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The providers that answer a need, in order of name."""
        return providers_of(self.needs)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryInput:
    """All that a library wheel is decided from."""

    project: Project
    """With its version known."""
    spec: Spec
    prefix: PrefixFacts
    libc: Libc
    architecture: str
    needs: tuple[Need, ...]
    """Final answers for the libraries and programs, by path of the real file."""
    outside: Outside
    evidence: Evidence
    earlier: Manifest | None
    """Manifest of an earlier release, for the history of exports."""
    generator: str
    owners: Owners = field(default_factory=Owners)
    """Packages of the machine that own the libraries, and what is copied in for them."""
    musl: SystemMusl | None = None
    """As in :class:`RepairInput`."""
    adapters: tuple[PlannedAdapter, ...] = ()

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The library wheels that answer a need, in order of name."""
        return providers_of(self.needs)


def providers_of(needs: Sequence[Need]) -> tuple[Provider, ...]:
    """Return the providers that answer one of *needs*, in order of name."""
    found = {need.provider.name: need.provider for need in needs if need.provider is not None}
    return tuple(found[name] for name in sorted(found))
