"""What the user should know of the answers: needs that nothing answers, providers and excludes that answer nothing.

Pure.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.facts.tags import is_extension
from nativelib.facts.wheel import skipped_members
from nativelib.findings import Code, Finding, Severity, error, listing, note, warning
from nativelib.plan.foreign import chain
from nativelib.plan.needs import Answer

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nativelib.facts.outside import Included, Outside
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions


def answer_findings(
    needs: Sequence[Need], outside: Outside, options: RepairOptions, included: Sequence[Included] = ()
) -> list[Finding]:
    """Return an error for each need that nothing answers, and for each graft that was forbidden."""
    out = missing_findings(needs, outside, Severity.ERROR)
    for need in needs:
        if need.answer is Answer.GRAFT and not options.graft:
            message = f"It needs {need.soname}, which --no-graft keeps from being copied in from {need.source}."
            remedy = "Name a provider that has it (--provided-by), or allow the graft."
            out.append(error(Code.GRAFT_REFUSED, need.requester, message, remedy))
    if not options.graft:
        message = "--include asks for it, and --no-graft keeps it from being copied in."
        out += [error(Code.GRAFT_REFUSED, item.name, message, "Leave out one of the two.") for item in included]
    return list(dict.fromkeys(out))


def missing_findings(
    needs: Sequence[Need], outside: Outside, severity: Severity, *, once: bool = False
) -> list[Finding]:
    """Return a finding of *severity* for each need that nothing answers, with every directory that was searched.

    With *once* there is one for each library, which names further files that need it.
    """
    out: list[Finding] = []
    requesters: dict[tuple[str, str], list[str]] = {}
    for need in needs:
        if need.answer is not Answer.MISSING:
            continue
        if need.unread is not None:
            out.append(_unread_finding(need, severity))
        else:
            requesters.setdefault(("" if once else need.requester, need.soname), []).append(need.requester)
    for (_, soname), files in requesters.items():
        where, *others = dict.fromkeys(files)
        searched = (
            ", ".join(outside.tried.get((where, soname), outside.searched)) or "nothing: the search path is empty"
        )
        passed = f" ({outside.rejected[soname]})" if soname in outside.rejected else ""
        also = f"; so {'does' if len(others) == 1 else 'do'} {listing(others)}" if others else ""
        out.append(
            Finding(
                code=Code.MISSING_LIBRARY,
                severity=severity,
                where=where,
                message=f"It needs {soname}, which was not found{passed}{also}; searched: {searched}.",
                remedy="Name who has it (--provided-by), where it is (--ldpaths), or leave it to the system "
                f"(--exclude {soname}).",
            )
        )
    return out


def _unread_finding(need: Need, severity: Severity) -> Finding:
    message = f"It needs {need.soname}, which the loader would find as {need.unread}, and --skip leaves that unread."
    remedy = f"Narrow the glob, or say that {need.soname} need not be looked at (--exclude {need.soname})."
    return Finding(code=Code.MISSING_LIBRARY, severity=severity, where=need.requester, message=message, remedy=remedy)


def skip_findings(wheel: WheelFacts, needs: Sequence[Need]) -> list[Finding]:
    """Return a warning for each library that is copied in though an unread file of *wheel* has its name."""
    skipped = {posixpath.basename(name): name for name in wheel.skipped}
    text = "It needs {0}, which is copied in from {1}; {2}, a file of that name, is left unread by --skip."
    remedy = "Narrow the glob if that file is meant."
    return [
        warning(Code.SKIPPED_MEMBER, n.requester, text.format(n.soname, n.source, skipped[n.soname]), remedy)
        for n in needs
        if n.answer is Answer.GRAFT and n.soname in skipped
    ]


def unused_skips(wheels: Sequence[WheelFacts], skips: Sequence[str]) -> list[Finding]:
    """Return a warning for each glob of *skips* that matches no file of any of *wheels*."""
    names = [(wheel.dist_info, [member.name for member in wheel.members]) for wheel in wheels]
    text = "--skip {} matches no file of any wheel of the call."
    return [
        warning(Code.UNUSED_SKIP, glob, text.format(glob), "Write the path as it stands in the archive; * matches /.")
        for glob in dict.fromkeys(skips)
        if not any(skipped_members(members, [glob], dist_info) for dist_info, members in names)
    ]


def forgotten_findings(needs: Sequence[Need], earlier: Mapping[str, str]) -> list[Finding]:
    """Return an error for each need that an earlier repair left to a provider which was not named again.

    *earlier* maps such sonames to the providers. Nothing is wrong as long as the wheel stays as it is; but a second
    copy beside the provider's, or a hook that no longer loads it, would be.
    """
    rewritten = any(need.answer is Answer.PROVIDED for need in needs)
    out: list[Finding] = []
    for need in needs:
        lost = need.answer is Answer.GRAFT or (rewritten and need.answer in {Answer.POLICY, Answer.EXCLUDED})
        if lost and need.soname in earlier:
            name = earlier[need.soname]
            message = f"It needs {need.soname}, which an earlier repair left to {name}; {name} was not named this time."
            out.append(error(Code.MISSING_LIBRARY, need.requester, message, f"Add --provided-by {name}."))
    return list(dict.fromkeys(out))


def passed_note(wheel: WheelFacts, *, asked: bool = False, allowed: bool = False) -> Finding:
    """Return what is to be said of a wheel that has nothing to repair: without ELF files, or a library wheel.

    A wheel for one platform that has no ELF files has lost them: an error where a platform tag was *asked* for, unless
    that is *allowed*.
    """
    if wheel.is_library_wheel:
        message = "It is a library wheel of nativelib: what it needs was settled by the build. It is passed through."
        return note(Code.LIBRARY_WHEEL, wheel.filename, message)
    what = "no ELF file that was read" if wheel.unread else "no ELF files"
    if allowed or wheel.name.platforms == ("any",):
        return note(Code.PURE_WHEEL, wheel.filename, f"It has {what}: there is nothing to repair.")
    message = f"It has {what}, so that nothing shows whether it deserves {' and '.join(wheel.name.platforms)}."
    remedy = "If it should have extension modules, find out why the build left them out."
    say = error if asked else warning
    return say(Code.PURE_WHEEL, wheel.filename, message, remedy)


def broken_findings(wheel: WheelFacts, needs: Sequence[Need]) -> list[Finding]:
    """Return the findings of *wheel*; a broken ELF file is an error if a file needs it or Python would import it."""
    wanted = {posixpath.basename(need.soname) for need in needs}
    out: list[Finding] = []
    for finding in wheel.findings:
        name = posixpath.basename(finding.where)
        loaded = finding.code is Code.BAD_ELF and (name in wanted or is_extension(name))
        out.append(replace(finding, severity=Severity.ERROR) if loaded else finding)
    return out


def unused_providers(needs: Sequence[Need], providers: Sequence[Provider]) -> list[Finding]:
    """Return an error for each of *providers* that answers none of *needs*."""
    used = {need.provider.origin for need in needs if need.provider is not None} | _needed_by_others(needs, providers)
    settled = {Answer.POLICY, Answer.WHEEL, Answer.PYTHON}
    asked = ", ".join(sorted({need.soname for need in needs if need.answer not in settled})) or "no library"
    out: list[Finding] = []
    for provider in providers:
        if provider.origin in used:
            continue
        names = sorted({name for library in provider.libraries for name in library.names})
        offers = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        out.append(
            error(
                Code.UNUSED_PROVIDER,
                provider.origin,
                f"{provider.label} has nothing that is needed: it offers {offers}; needed from outside the wheel and "
                f"the system: {asked}.",
                "Leave this --provided-by out, or check that the file was linked with the library.",
            )
        )
    return out


def _needed_by_others(needs: Sequence[Need], providers: Sequence[Provider]) -> set[str]:
    """Return the origins of providers that only other providers need, directly or not."""
    known = {provider.name: provider for provider in providers}
    queue = [need.provider for need in needs if need.provider is not None]
    seen = {link.provider.origin for link in chain(needs, providers)}
    while queue:
        manifest = queue.pop().manifest
        for require in manifest.requires if manifest is not None else ():
            other = known.get(require.name)
            if other is not None and other.origin not in seen:
                seen.add(other.origin)
                queue.append(other)
    return seen


def unused_findings(
    needs: Sequence[Need], providers: Sequence[Provider], excludes: Sequence[str], matched: frozenset[str]
) -> list[Finding]:
    """Return findings for providers and excludes that matched nothing in any wheel of the call.

    *needs* are those of all wheels, *matched* the globs of *excludes* that matched something. An exclude whose library
    would then be grafted is an error: one that silently matched nothing once shipped 890 MB.
    """
    out = unused_providers(needs, providers)
    grafted = sorted({need.soname for need in needs if need.answer is Answer.GRAFT})
    for glob in excludes:
        if glob in matched:
            continue
        stem = posixpath.basename(glob).partition(".so")[0].strip("*")
        near = [soname for soname in grafted if stem and soname.startswith(stem)]
        text = f"--exclude {glob} matches no library that the wheel needs"
        if near:
            message = f"{text}, and {', '.join(near)} would be copied into it."
            remedy = f"Write --exclude '{near[0]}' or --exclude '{stem}*'."
            out.append(error(Code.UNUSED_EXCLUDE, glob, message, remedy))
        else:
            out.append(warning(Code.UNUSED_EXCLUDE, glob, f"{text}.", "Leave it out."))
    return out


def unused_hints(needs: Sequence[Need], hints: Collection[str]) -> list[Finding]:
    """Return a warning for each soname of *hints* that no wheel of the call leaves to the system."""
    left = {need.soname for need in needs if need.answer in {Answer.EXCLUDED, Answer.POLICY}}
    text = "--system-hint {} names no library that is left to the system."
    remedy = "Write the soname as the wheel has it, and exclude it with --exclude."
    return [warning(Code.UNUSED_EXCLUDE, name, text.format(name), remedy) for name in hints if name not in left]


def raise_errors(findings: Sequence[Finding], options: RepairOptions) -> None:
    """Raise PlanError with all *findings* if one of them is an error; ``--strict`` makes errors of warnings."""
    judged = [_strict(finding) for finding in findings] if options.strict else list(findings)
    errors = [finding for finding in judged if finding.severity is Severity.ERROR]
    if errors:
        raise PlanError([*errors, *(finding for finding in judged if finding not in errors)])


def _strict(finding: Finding) -> Finding:
    return replace(finding, severity=Severity.ERROR) if finding.severity is Severity.WARNING else finding
