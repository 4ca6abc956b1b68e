"""What follows from what was seen: verdicts and findings. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nativelib.facts.trial import Check, Mapped, Result, Verdict
from nativelib.findings import Code, Finding, error, listing, warning
from nativelib.plan.graft import plain_name
from nativelib.plan.vendored import is_graft

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nativelib.facts.trial import Ended, Expected, Run, Step

# glibc and musl name the symbol in this way.
_UNDEFINED = re.compile(
    r"undefined symbol: (?P<name>[\w.$@]+)(?:, version (?P<version>[\w.]+))?"
    r"|Error relocating [^:]+: (?P<musl>[\w.$@]+): symbol not found"
)
_REPEAT = "Repeat it with --keep DIR, which leaves the environment and the script there."

Judgement = tuple[Verdict, tuple[Finding, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run, and what it is measured by."""

    wheel: str | None
    """Normalised name; ``None`` for all wheels."""
    check: Check
    run: Run
    expected: tuple[Expected, ...]
    mapped: tuple[Mapped, ...]
    """What was mapped in the end."""
    members: Mapping[str, str]
    """Module or path of each step to the member of the wheel, for messages."""
    own: frozenset[str]
    """Normalised names of the wheels that are verified."""


def judge_run(case: Case) -> Judgement:
    """Return the verdict on one probe, with a finding for everything that is wrong."""
    # Files that are opened by path are copies of those that were found by name: that says nothing of real processes.
    by_name = case.check is not Check.SYMBOLS
    findings = [*_steps(case), *(_copies(case) if by_name else ()), *(_families(case) if by_name else ())]
    if not findings and case.run.seen.after is None:
        text = f"The process {case.run.ended.words} where nothing was being imported: {_last(case.run.ended)}."
        findings.append(error(Code.IMPORT_FAILED, case.wheel or "all wheels", text, _remedy(case.run)))
    wrong = [finding for finding in findings if finding.severity == "error"]
    detail = _first_words(wrong) if wrong else _praise(case)
    verdict = Verdict(
        wheel=case.wheel,
        check=case.check,
        result=Result.FAILED if wrong else Result.OK,
        detail=detail,
        seconds=case.run.ended.seconds,
    )
    return verdict, tuple(findings)


def _steps(case: Case) -> list[Finding]:
    """Return a finding for each different error, with all that met it."""
    groups: dict[str, list[Step]] = {}
    for step in case.run.seen.steps:
        if step.error is not None:
            # A package that does not import for want of a symbol says it in other words than the loader.
            undefined = _UNDEFINED.search(step.words)
            groups.setdefault(undefined[0] if undefined else step.words, []).append(step)
    return [_step_finding(case, steps) for steps in groups.values()]


def _step_finding(case: Case, steps: Sequence[Step]) -> Finding:
    steps = sorted(steps, key=lambda step: step.what not in case.members)
    where = case.members.get(steps[0].what, steps[0].what)
    words = steps[0].words.rstrip(".\n ")
    match = _UNDEFINED.search(words)
    if match is not None:
        files = sum(step.what in case.members for step in steps)
        also = f", and that {files - 1} more need" if files > 1 else ""
        name = match["name"] or match["musl"]
        symbol = f"{name}@{match['version']}" if match["version"] else name
        text = f"A symbol that it needs{also} is in no library that is loaded for it: {words}."
        remedy = "Link it with the library that has the symbol, or name a newer release of the provider."
        return error(Code.UNDEFINED_SYMBOL, where, text, remedy, (symbol,))
    if steps[0].what.startswith("/"):
        more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
        return error(Code.NOT_OPENED, where, f"The loader does not open it{more}: {words}.", _remedy(case.run))
    names = [step.what for step in steps]
    return error(Code.IMPORT_FAILED, where, f"{listing(names)} cannot be imported: {words}.", _remedy(case.run))


def _copies(case: Case) -> list[Finding]:
    """Return what is wrong with the libraries that must come from a provider."""
    out: list[Finding] = []
    before = case.run.seen.before
    for expected in case.expected:
        found = [item for item in case.mapped if is_copy(item, expected)]
        theirs = [item for item in found if item.path == expected.path]
        others = [item for item in found if item.path != expected.path and not (theirs and item.path in before)]
        if others:
            out.append(_copy_finding(case, expected, others[0], alone=not theirs))
    return out


def _copy_finding(case: Case, expected: Expected, other: Mapped, *, alone: bool) -> Finding:
    soname, provider = expected.soname, expected.provider
    owner = f"of {other.owner}" if other.owner is not None else "of this machine"
    where = case.wheel or soname
    if alone:
        text = f"{soname} came from {other.shown}, a copy {owner}, and not from {provider}."
        # Whoever loads a singleton first decides for all, and there is one copy in any case.
        if expected.singleton and other.owner is not None:
            return warning(Code.OTHER_COPY, where, text, f"Import {provider} first, if its copy is the better one.")
        remedy = "Repair the wheel with --provided-by, so that its hook loads the provider's library before."
        return error(Code.OTHER_COPY, where, text, remedy)
    text = f"{soname} was loaded from {provider}, and {other.shown}, a copy {owner}, as well."
    remedy = "Repair the wheel that brings the other copy, too."
    # What is only a requirement of the wheels was not promised to share anything.
    bystander = other.owner is not None and other.owner not in case.own and other.owner != provider
    return (warning if bystander else error)(Code.SECOND_COPY, where, text, remedy)


def _families(case: Case) -> list[Finding]:
    """Return a warning for each library of which the wheels carry several copies into one process."""
    families: dict[str, dict[str, Mapped]] = {}
    for item in case.mapped:
        if item.owner is not None and not any(is_copy(item, expected) for expected in case.expected):
            families.setdefault(_family(item), {})[item.path] = item
    return [
        warning(
            Code.SECOND_COPY,
            name,
            f"The process has {len(items)} copies: {listing([item.shown for item in items.values()], 3)}.",
            "Repair the wheels with one provider of it.",
        )
        for name, items in sorted(families.items())
        if len(items) > 1
        and any(_vendored(item) for item in items.values())
        # What only its requirements bring is not for a wheel to answer for.
        and case.wheel in (None, *(item.owner for item in items.values()))
    ]


def _family(item: Mapped) -> str:
    """Return one name for all copies of a library: up to its major version, as sonames have it."""
    name = _bare(posixpath.basename(item.path))
    match = re.match(r"(.+?\.so)(\.\d+)?", name)
    return match[0] if match else name


def _vendored(item: Mapped) -> bool:
    name = posixpath.basename(item.path)
    return is_graft(item.path) or plain_name(name) != name


def is_copy(item: Mapped, expected: Expected) -> bool:
    """Return whether *item* is the expected library or another copy of it, whatever hash its name has."""
    plain = {_bare(name) for name in item.names}
    return any(_same(name, wanted) for name in plain for wanted in expected.names)


def _same(name: str, wanted: str) -> bool:
    """Return whether a file *name* is *wanted*, perhaps with more of its version; without a version it means itself."""
    return name == wanted or (".so." in wanted and name.startswith(f"{wanted}."))


def _bare(name: str) -> str:
    """Return *name* without any hash: copies of copies have two."""
    while (shorter := plain_name(name)) != name:
        name = shorter
    return name


def judge_fork(said: Mapping[str, tuple[Ended, str]]) -> Judgement:
    """Return the verdict on programs that computed, forked and computed in the child, by the way in which they forked.

    *said* has how each process ended, and the line that it left.
    """
    groups: dict[str, list[str]] = {}
    for method, (ended, words) in said.items():
        if words == "hang":
            groups.setdefault("the child that computes after its parent has computed hangs", []).append(method)
        elif words != "ok":
            failure = f"the child fails: {words}" if words else f"the parent {ended.words}: {_last(ended)}"
            groups.setdefault(failure, []).append(method)
    remedy = "Take a runtime that survives fork(2): GCC's libgomp does not, LLVM's libomp does, also as libgomp.so.1."
    findings = [
        error(Code.FORK_FAILED, "all wheels", f"With {listing(methods, 3)}, {what.rstrip('.')}.", remedy)
        for what, methods in groups.items()
    ]
    seconds = sum(ended.seconds for ended, _ in said.values())
    detail = "; ".join(f"{method} {words or 'failed'}" for method, (_, words) in said.items())
    result = Result.FAILED if findings else Result.OK
    return Verdict(wheel=None, check=Check.FORK, result=result, detail=detail, seconds=seconds), tuple(findings)


def judge_command(command: str, ended: Ended) -> Judgement:
    """Return the verdict on the user's own command."""
    lines = [line for line in ended.output.splitlines() if line.strip()]
    verdict = Verdict(
        wheel=None,
        check=Check.COMMAND,
        result=Result.FAILED if ended.status else Result.OK,
        detail=lines[-1].strip() if lines else f"it {ended.words}",
        seconds=ended.seconds,
        output="\n".join(lines[-20:]),
    )
    if not ended.status:
        return verdict, ()
    shown = "\n".join(lines[-60:])
    return verdict, (error(Code.COMMAND_FAILED, command, f"It {ended.words}:\n{shown}"),)


def judge_install(ended: Ended, wheels: Mapping[str, str], python: str) -> dict[str, Finding]:
    """Return a finding for each of *wheels* (file name to path) that pip refuses, or one for the call under ``""``."""
    out: dict[str, Finding] = {}
    for filename, path in wheels.items():
        if f"{filename} is not a supported wheel on this platform" in ended.output:
            text = f"It is not for this Python ({python}) on this machine, so that nothing of it can be tried here."
            remedy = "Verify it where it can be installed; --python names another interpreter."
            out[filename] = error(Code.NOT_INSTALLABLE, path, text, remedy)
    if not out:
        lines = [line for line in ended.output.splitlines() if line.strip()]
        text = f"pip {ended.words}:\n" + "\n".join(lines[-20:])
        remedy = "Name what is missing with --find-links or --index-url."
        out[""] = error(Code.NOT_INSTALLABLE, ", ".join(wheels), text, remedy)
    return out


def left_out(wheel: str | None, check: Check, why: str) -> Verdict:
    """Return the verdict on a check that was not made."""
    return Verdict(wheel=wheel, check=check, result=Result.LEFT_OUT, detail=why)


def merged(judgements: Iterable[Judgement]) -> tuple[Finding, ...]:
    """Return the findings of *judgements*, each once, with the checks that met it."""
    first: dict[Finding, Finding] = {}
    checks: dict[Finding, list[str]] = {}
    for verdict, findings in judgements:
        for finding in findings:
            same = replace(finding, remedy="")  # it may name the script of its check
            first.setdefault(same, finding)
            checks.setdefault(same, []).append(verdict.check.value)
    return tuple(
        replace(finding, message=f"{finding.message} (check: {listing(list(dict.fromkeys(checks[same])), 9)})")
        for same, finding in first.items()
    )


def _praise(case: Case) -> str:
    count = sum(step.what in case.members for step in case.run.seen.steps)
    what = "ELF file" if case.check is Check.SYMBOLS else "module"
    if not count:
        count, what = len(case.run.seen.steps), "package"
    what += "" if count == 1 else "s"
    names = {item.path for item in case.mapped} if case.check is not Check.SYMBOLS else set()
    came = [f"{item.soname} from {item.provider}" for item in case.expected if item.path in names]
    return "; ".join([f"{count} {what}", *([listing(came, 4)] if came else [])])


def _first_words(findings: Sequence[Finding]) -> str:
    first = findings[0].message.partition("\n")[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return (first if len(first) <= 200 else f"{first[:197]}...") + more


def _remedy(run: Run) -> str:
    return f"Repeat it: {run.again}" if run.again else _REPEAT


def _last(ended: Ended) -> str:
    lines: Collection[str] = [line for line in ended.output.splitlines() if line.strip()]
    return [*lines][-1].strip() if lines else "it printed nothing"
