"""What the libraries of foreign providers need themselves, perhaps of another provider. Pure.

A library wheel of nativelib imports what it needs, and a package that is meant to be imported loads it. Where libraries
are opened by path, whoever opens them must know the whole chain: the loader finds a library that was opened before by
its soname, and nothing else says where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.provider import ProviderKind
from nativelib.facts.wheel import Scheme
from nativelib.findings import Code, Finding, error, warning
from nativelib.plan.needs import excluded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What is taken from one provider, directly or by another provider's libraries."""

    provider: Provider
    sonames: tuple[str, ...]
    """In alphabetical order."""
    behind: frozenset[str] = frozenset()
    """Names of the providers whose libraries these need."""


def chain(needs: Sequence[Need], offered: Sequence[Provider]) -> tuple[Link, ...]:
    """Return the providers that *needs* lead to, each after those that it needs, else in order of name.

    *offered* are all providers that the user named.
    """
    links: dict[str, Link] = {}
    queue = [(n.provider, n.library.soname) for n in needs if n.provider is not None and n.library is not None]
    while queue:
        provider, soname = queue.pop(0)
        link = links.get(provider.name, Link(provider=provider, sonames=()))
        if soname in link.sonames:
            continue
        found = [(other, needed) for _, needed in inner_needs(provider, soname) for other in _lenders(needed, offered)]
        links[provider.name] = Link(
            provider=provider,
            sonames=tuple(sorted({*link.sonames, soname})),
            behind=link.behind | {other.name for other, _ in found},
        )
        queue += found
    return tuple(links[name] for name in _in_order(links))


def _in_order(links: Mapping[str, Link]) -> tuple[str, ...]:
    out: dict[str, None] = {}

    def visit(name: str, path: frozenset[str]) -> None:
        if name in out or name in path:
            return
        for other in sorted(links[name].behind):
            visit(other, path | {name})
        out[name] = None

    for name in sorted(links):
        visit(name, frozenset())
    return tuple(out)


def closure(provider: Provider, sonames: Sequence[str]) -> tuple[ProvidedLibrary, ...]:
    """Return the libraries of *provider* that are loaded when *sonames* are."""
    by_soname = {library.soname: library for library in provider.every}
    out: dict[str, ProvidedLibrary] = {}
    queue = list(sonames)
    while queue:
        soname = queue.pop()
        if soname not in out and soname in by_soname:
            out[soname] = by_soname[soname]
            queue.extend(by_soname[soname].facts.needed)
    return tuple(out.values())


def inner_needs(provider: Provider, soname: str) -> Iterator[tuple[ProvidedLibrary, str]]:
    """Yield the library and the soname of each need that loading *soname* of a foreign *provider* has outside of it."""
    if provider.kind is not ProviderKind.FOREIGN:
        return
    own = {library.soname for library in provider.every}
    for library in sorted(closure(provider, [soname]), key=lambda library: library.file):
        yield from ((library, needed) for needed in library.facts.needed if needed not in own)


def outer_sonames(needs: Sequence[Need], offered: Sequence[Provider]) -> frozenset[str]:
    """Return everything that libraries of foreign providers need from outside of them, when *needs* load them."""
    links = chain(needs, offered)
    return frozenset(
        needed for link in links for soname in link.sonames for _, needed in inner_needs(link.provider, soname)
    )


def _lenders(soname: str, offered: Sequence[Provider]) -> list[Provider]:
    """Return the first of *offered* with that very soname: a library of another wheel is not edited."""
    fitting = (p for p in offered if p.only in {None, soname} and any(lib.soname == soname for lib in p.libraries))
    return list(fitting)[:1]


def foreign_findings(
    needs: Sequence[Need], offered: Sequence[Provider], policy: frozenset[str], options: RepairOptions
) -> list[Finding]:
    """Return what keeps libraries of foreign providers from being loaded: their own needs, and those without a name.

    *policy* names the libraries that the platform policies allow.
    """
    out: list[Finding] = []
    for link in chain(needs, offered):
        for soname in link.sonames:
            for library, needed in inner_needs(link.provider, soname):
                known = needed in policy or _lenders(needed, offered) or excluded(needed, None, options.excludes)
                if not known:
                    out.append(_unmet(link.provider, library, needed))
        if link.provider.kind is ProviderKind.FOREIGN:
            nameless = [lib for lib in closure(link.provider, link.sonames) if lib.facts.soname is None]
            out += [_nameless(link.provider, library, options) for library in nameless]
    return list(dict.fromkeys(out))


def _unmet(provider: Provider, library: ProvidedLibrary, needed: str) -> Finding:
    text = f"{library.file} of {provider.label} needs {needed}, which neither it nor another provider has"
    remedy = f"Name who has it (--provided-by), or leave it to the system (--exclude {needed})."
    ways_out = [entry for entry in library.facts.run_path if ".." in entry]
    if ways_out:
        message = f"{text}; it is found only if the library's own run path ({':'.join(ways_out)}) leads to it."
        return warning(Code.MISSING_LIBRARY, provider.origin, message, remedy)
    return error(Code.MISSING_LIBRARY, provider.origin, f"{text}.", remedy)


def _nameless(provider: Provider, library: ProvidedLibrary, options: RepairOptions) -> Finding:
    text = (
        f"{library.file} of {provider.label} has no DT_SONAME, so opening it does not serve those who need it by name"
    )
    if options.run_path and library.scheme is Scheme.SITE:
        message = f"{text}; it is found by run path only."
        return warning(Code.NO_HOOK_POSSIBLE, provider.origin, message, "Install both into the same directory.")
    return error(Code.NO_HOOK_POSSIBLE, provider.origin, f"{text}, and no run path leads to it.")
