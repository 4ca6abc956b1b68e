"""A consumer wheel is read, and every need of it gets its final answer: the first half of an audit and of a repair."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError, PlanError
from nativelib.facts.elf import Libc
from nativelib.facts.outside import Outside
from nativelib.facts.package import Owners
from nativelib.facts.progress import silent
from nativelib.findings import Code, error, note
from nativelib.pipeline.answers import answer_all, included_target, read_included
from nativelib.plan.included import with_needs
from nativelib.plan.needs import Ground, by_file_name, index_inside
from nativelib.plan.options import RepairOptions
from nativelib.plan.platform import architecture_of, check_provider, foreign_note, libc_of, own_policy
from nativelib.policy.judge import policy_libraries
from nativelib.read.musl import find_musl
from nativelib.read.provider import read_provider
from nativelib.read.search import SearchPath, search_path
from nativelib.read.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.outside import Included, SystemMusl
    from nativelib.facts.progress import Report
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding
    from nativelib.plan.needs import Need
    from nativelib.plan.options import Include


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRequest:
    """What is to be repaired, and from what."""

    wheels: tuple[Path, ...]
    provided_by: tuple[str, ...] = ()
    import_providers: frozenset[str] = frozenset()
    """Normalised names of foreign providers whose package is meant to be imported."""
    options: RepairOptions = field(default_factory=RepairOptions)
    wheel_dir: Path = Path("wheelhouse")
    python: str | None = None
    """Interpreter whose installed distributions count; ``None`` for the running one."""
    ldpaths: str | None = None
    ldpaths_first: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables of the search path and ``SOURCE_DATE_EPOCH``."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelNeeds:
    """A wheel that was read, with the final answer for each need."""

    wheel: WheelFacts
    libc: Libc = Libc.GLIBC
    architecture: str = ""
    needs: tuple[Need, ...] = ()
    outside: Outside = field(default_factory=Outside)
    path: SearchPath | None = None
    policy: frozenset[str] = frozenset()
    """Libraries that the policies allow from the system."""
    musl: SystemMusl | None = None
    offered: tuple[Provider, ...] = ()
    """All providers that the user named."""
    owners: Owners = field(default_factory=Owners)
    """Packages of the machine that own what is copied in."""
    included: tuple[Included, ...] = ()
    """Libraries that are copied in although no file needs them."""
    findings: tuple[Finding, ...] = ()
    """What finding these passed over."""


def read_providers(request: RepairRequest) -> tuple[Provider, ...]:
    """Return the providers of *request*; all unreadable ones are reported at once."""
    providers: list[Provider] = []
    findings: list[Finding] = []
    for text in dict.fromkeys(request.provided_by):
        try:
            providers.append(read_provider(text, python=request.python, imported=request.import_providers))
        except NativelibError as problem:
            findings += problem.findings
    releases: dict[str, Provider] = {}
    for provider in providers:
        first = releases.setdefault(provider.name, provider)
        if first.version != provider.version:
            message = f"{first.label} and {provider.label} cannot be installed together."
            findings.append(error(Code.AMBIGUOUS_PROVIDER, provider.origin, message, "Name one release of it."))
    for name in sorted(request.import_providers.difference(releases)) if not findings else ():
        message = f"--import-provider {name} names no provider; they are {', '.join(sorted(releases)) or 'none'}."
        findings.append(error(Code.UNUSED_PROVIDER, name, message, f"Add --provided-by {name}, or leave it out."))
    if findings:
        raise PlanError(findings)
    return tuple(providers)


def read_needs(
    path: Path, providers: Sequence[Provider], request: RepairRequest, *, report: Report = silent
) -> WheelNeeds:
    """Return the facts of the wheel at *path* with all answers final."""
    options = request.options
    wheel = read_wheel(path, hints=bool(options.includes), skip=options.skips, report=report)
    return answer_needs(wheel, providers, request)


def answer_needs(
    wheel: WheelFacts,
    providers: Sequence[Provider],
    request: RepairRequest,
    *,
    platform: tuple[str, Libc] | None = None,
) -> WheelNeeds:
    """Return *wheel* with all answers final.

    *platform* is the architecture and the C library of the wheel, if its files are not to decide.
    """
    # What a library wheel carries was settled by the build.
    includes = () if wheel.is_library_wheel else request.options.includes
    if not (wheel.elf or includes):
        ignored = request.options.includes if wheel.is_library_wheel else ()
        text = "It is a library wheel: what it carries was settled by the build, and --include adds nothing."
        notes = tuple(note(Code.UNUSED_INCLUDE, item.glob, text) for item in ignored)
        return WheelNeeds(wheel=wheel, findings=notes)
    architecture, fallback = platform or _machine(wheel, includes)
    # A glob over dist/ also takes in a provider itself, and nothing can be installed before itself.
    providers = [provider for provider in providers if provider.name != wheel.name.normalized]
    files = {name: facts for name, facts in with_needs(wheel).items() if facts.architecture == architecture}
    libc = fallback if platform else libc_of(files, wheel.name.platforms, providers) or fallback
    directories = search_path(
        architecture, libc, ldpaths=request.ldpaths, first=request.ldpaths_first, environ=request.environ
    )
    inside = index_inside(files)
    included, known, findings = read_included(includes, directories, inside)
    ground = Ground(
        files=files,
        inside=inside,
        providers=providers,
        # Machines without a policy have libraries of the same names.
        policy=policy_libraries(libc, architecture, own_policy(request.options, libc, architecture))
        or policy_libraries(libc, "x86_64"),
        excludes=request.options.excludes,
        replace=request.options.replace,
        libc=libc,
        included=[item.path for item in included],
        unread=by_file_name(wheel.skipped),
    )
    needs, outside = answer_all(ground, directories, known)
    for provider in {need.provider.name: need.provider for need in needs if need.provider is not None}.values():
        check_provider(provider, architecture, libc)
    others = [name for name, facts in wheel.elf.items() if facts.architecture != architecture]
    wheel = replace(wheel, elf=files, findings=(*wheel.findings, *foreign_note(wheel, others, architecture)))
    return WheelNeeds(
        wheel=wheel,
        libc=libc,
        architecture=architecture,
        needs=needs,
        outside=outside,
        path=directories,
        policy=ground.policy,
        musl=find_musl(directories) if libc is Libc.MUSL else None,
        offered=tuple(providers),
        included=included,
        findings=findings,
    )


def _machine(wheel: WheelFacts, includes: Sequence[Include]) -> tuple[str, Libc]:
    """Return the architecture of *wheel*, and its C library if nothing else tells it."""
    if wheel.elf or wheel.name.platforms != ("any",):
        return architecture_of(wheel.elf, wheel.name), Libc.GLIBC
    architecture, libc = included_target(includes)
    return architecture, libc or Libc.GLIBC
