"""Facts of an ABI that symbols do not show: integer width and threading of a BLAS. Pure.

Providers declare them, an OpenBLAS says them of itself, and ``--require-abi`` asks for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nativelib.findings import Code, Finding, error, warning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts, Symbol
    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions

_ILP64 = re.compile(r"(^|_)(cblas_|lapacke?_)?[a-z0-9]+_?64_$", re.IGNORECASE)
_WIDE = "USE64BITINT"
_OPENMP = frozenset({"GOMP_parallel", "__kmpc_fork_call"})


def abi_findings(
    providers: Sequence[Provider], used: Mapping[str, Mapping[str, frozenset[Symbol]]], options: RepairOptions
) -> list[Finding]:
    """Return what is known to clash or not known of ABI facts: ``--require-abi``, and the integer width of BLAS."""
    out: list[Finding] = []
    for provider in providers:
        declared = _declared(provider, *provider.libraries)
        for key, value in options.require_abi.items():
            if key in declared and declared[key] != value:
                text = f"{provider.label} declares {key} = {declared[key]}, and --require-abi asks for {value}."
                out.append(error(Code.ABI_CLASH, provider.origin, text, "Use a provider that is built that way."))
            elif not any(key in _declared(other, *other.libraries) for other in providers):
                text = f"{provider.label} does not declare {key}, and --require-abi asks for {value}."
                out.append(warning(Code.ABI_UNKNOWN, provider.origin, text, f"Ask its maintainers to declare {key}."))
        if "blas-int" in options.require_abi:
            continue
        names = {symbol.name for symbols in used.get(provider.name, {}).values() for symbol in symbols}
        wide = sorted(name for name in names if takes_64_bits(name))
        if wide and declared.get("blas-int") == "32":
            text = (
                f"The wheel calls {wide[0]}, which takes 64-bit integers, and {provider.label} declares blas-int = 32."
            )
            out.append(error(Code.ABI_CLASH, provider.origin, text, "Use the ILP64 provider."))
        elif not wide and declared.get("blas-int") == "64" and any(name.startswith("cblas_") for name in names):
            text = (
                f"{provider.label} takes 64-bit integers under names without suffix; "
                "the wheel does not show which it passes."
            )
            out.append(
                warning(Code.ABI_UNKNOWN, provider.origin, text, "Say so if you know it: --require-abi blas-int=64.")
            )
    return out


def takes_64_bits(name: str) -> bool:
    """Return whether the BLAS or LAPACK function *name* says that its integers have 64 bits."""
    return _ILP64.search(name) is not None


def _declared(provider: Provider, *libraries: ProvidedLibrary) -> dict[str, str]:
    """Return what *libraries* of *provider* say of themselves, and the provider declares, which counts more."""
    own = {key: value for library in libraries for key, value in openblas_abi(library.facts).items()}
    return {**own, **(provider.manifest.abi if provider.manifest else {})}


def copy_findings(needs: Sequence[Need], files: Mapping[str, ElfFacts], options: RepairOptions) -> list[Finding]:
    """Return an error for each vendored copy that differs from what shall replace it, and the user did not ask for it.

    *files* are the facts of members by name.
    """
    replaced = {(need.replaces, need.library.soname): need for need in needs if need.replaces and need.library}
    out: list[Finding] = []
    for (member, soname), need in replaced.items():
        if need.provider is None or need.library is None or member is None:
            continue
        before, after = openblas_abi(files[member]), _declared(need.provider, need.library)
        for key in sorted(before.keys() & after.keys()):
            if before[key] != after[key] != options.require_abi.get(key):
                text = f"The copy has {key} = {before[key]}, and {soname} of {need.provider.label} {after[key]}."
                meant = f"--require-abi {key}={after[key]}"
                remedy = f"Use a provider that is built the same way, or say that this is meant: {meant}"
                out.append(error(Code.ABI_CLASH, member, text, remedy))
    return out


def openblas_abi(facts: ElfFacts) -> dict[str, str]:
    """Return what an OpenBLAS says of itself, under the well-known keys of ``[tool.nativelib.abi]``; else nothing.

    The integer width stands first in its configuration (``openblas_get_config``), which compilers may cut; the threads
    show in what it imports.
    """
    if not facts.openblas:
        return {}
    _, *words = facts.openblas.split()
    out: dict[str, str] = {}
    if words and (len(words) > 1 or not _WIDE.startswith(words[0])):
        out["blas-int"] = "64" if _WIDE in words else "32"
    names = {item.name for item in facts.imports}
    out["threading"] = "openmp" if names & _OPENMP else "pthreads" if "pthread_create" in names else "serial"
    return out
