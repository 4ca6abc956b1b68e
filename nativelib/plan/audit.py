"""What an audit says of a wheel: why no older tag, which libraries from where, which run paths leak. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.tags import PlatformTag
from nativelib.facts.wheel import place_of
from nativelib.findings import Code, Finding, listing, warning
from nativelib.plan.graft import inside
from nativelib.plan.needs import Answer
from nativelib.plan.retag import deserved
from nativelib.plan.vendored import is_graft
from nativelib.policy.judge import ObstacleKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.wheel import WheelName
    from nativelib.plan.needs import Need
    from nativelib.policy.values import Obstacle, Verdict

# What weighs most comes first: what no build on an older system would change, then what one would.
_WEIGHT = (
    ObstacleKind.MACHINE,
    ObstacleKind.API_LEVEL,
    ObstacleKind.PYFPE,
    ObstacleKind.UCS2,
    ObstacleKind.ISA,
    ObstacleKind.LIBRARY,
    ObstacleKind.VERSION,
    ObstacleKind.RELR,
    ObstacleKind.FORBIDDEN,
    ObstacleKind.UNVERSIONED,
)
_ORDER = (
    Answer.MISSING,
    Answer.GRAFT,
    Answer.EXCLUDED,
    Answer.PROVIDED,
    Answer.WHEEL,
    Answer.PYTHON,
    Answer.POLICY,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a row of policies is not met; what stands in the way of a newer one stands in the way of these, too."""

    policies: tuple[str, ...]
    """Names without architecture, the newest first."""
    member: str
    """The file that stands for all; empty if it is about none."""
    reason: str
    """``needs GLIBC_2.27 of libm.so.6``."""
    symbols: tuple[str, ...]
    """The names behind it, all of them, sorted."""
    files: tuple[str, ...]
    """All files that keep the wheel from the newest of these policies, sorted."""

    def __str__(self) -> str:
        """Return it as part of a sentence."""
        # Mangled C++ names can fill a screen each.
        short = [name if len(name) <= 40 else f"{name[:37]}..." for name in self.symbols]
        shown = listing(short)
        text = " ".join(filter(None, (self.member, self.reason, f"({shown})" if shown else "")))
        others = len(self.files) - 1
        return f"{text}, and {others} more file{'s' if others > 1 else ''}" if others > 0 else text


def reasons(obstacles: Iterable[Obstacle]) -> tuple[Why, ...]:
    """Return why each policy is not met, beginning with the newest, in as few pieces as say all that is new.

    *obstacles* are those of a verdict: of every unmet policy, the newest first. A policy that nothing new keeps the
    wheel from shares the reason of the newer one.
    """
    of_policy: dict[str, list[Obstacle]] = {}
    for obstacle in obstacles:
        of_policy.setdefault(obstacle.policy, []).append(obstacle)
    out: list[Why] = []
    known: set[tuple[str, str]] = set()
    for policy, group in of_policy.items():
        fresh = [obstacle for obstacle in group if (obstacle.member, _reason(obstacle)) not in known]
        known.update((obstacle.member, _reason(obstacle)) for obstacle in fresh)
        if fresh:
            out.append(_heaviest(policy, fresh, files={o.member for o in group if o.member}))
        elif out:
            last = out.pop()
            out.append(
                Why(
                    policies=(*last.policies, policy),
                    member=last.member,
                    reason=last.reason,
                    symbols=last.symbols,
                    files=last.files,
                )
            )
    return tuple(out)


def _heaviest(policy: str, obstacles: Sequence[Obstacle], files: set[str]) -> Why:
    """Return what to say first: of the gravest kind, the reason that most files have."""
    kind = min((obstacle.kind for obstacle in obstacles), key=_WEIGHT.index)
    count: dict[str, int] = {}
    for obstacle in obstacles:
        if obstacle.kind is kind:
            count[_reason(obstacle)] = count.get(_reason(obstacle), 0) + 1
    reason = max(sorted(count), key=lambda text: count[text])
    alike = [obstacle for obstacle in obstacles if _reason(obstacle) == reason]
    # The project's own files are those that its maintainer can build again.
    first = min(alike, key=lambda obstacle: (is_graft(obstacle.member), obstacle.member))
    return Why(
        policies=(policy,),
        member=first.member,
        reason=reason,
        symbols=first.symbols,
        files=tuple(sorted(files)),
    )


def _reason(obstacle: Obstacle) -> str:
    """Return the obstacle's line without the symbols, of which it has some only."""
    return obstacle.detail.partition(" (")[0] if obstacle.symbols else obstacle.detail


def undeserved(name: WheelName, verdict: Verdict) -> tuple[Finding, ...]:
    """Return a warning if the wheel has a platform tag that it does not deserve; ``linux_*`` promises nothing."""
    promises = [tag for tag in name.platforms if PlatformTag.parse(tag).libc is not None]
    bad = [tag for tag in promises if verdict.policy is None or not deserved(tag, verdict.policy)]
    if not bad:
        return ()
    policies = {PlatformTag.parse(tag).text.removesuffix(f"_{PlatformTag.parse(tag).architecture}") for tag in bad}
    why = reasons(obstacle for obstacle in verdict.obstacles if obstacle.policy in policies)
    because = f": {why[0]}" if why else ""
    return (
        warning(
            Code.POLICY_NOT_MET,
            str(name),
            f"It has the tag {', '.join(bad)}, and does not deserve it{because}. It deserves {verdict.tag}.",
            "Repair it, so that it gets what it needs and the tag that it deserves; or build it on an older system.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One library from one place, and the files that need it."""

    soname: str
    answer: Answer
    source: str | None
    """Member, path, or name and version of the provider."""
    files: tuple[str, ...]


def uses(needs: Iterable[Need]) -> tuple[Use, ...]:
    """Return each library that *needs* name, what asks for attention first."""
    files: dict[tuple[str, Answer, str | None], dict[str, None]] = {}
    for need in needs:
        source = need.provider.label if need.provider is not None else need.source
        files.setdefault((need.soname, need.answer, source), {})[need.requester] = None
    found = [Use(soname=s, answer=a, source=where, files=tuple(f)) for (s, a, where), f in files.items()]
    return tuple(sorted(found, key=lambda use: (_ORDER.index(use.answer), -len(use.files), use.soname)))


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """A run path entry that leads out of the installation."""

    entry: str
    member: str
    kind: str
    """``empty`` (the working directory), ``absolute``, or ``outside``: it leaves the installation."""


_LEAKS = {
    "empty": "is empty, which means the working directory of whoever runs it",
    "absolute": "is a directory of the machine that built it, and may be anything on others",
    "outside": "leaves the place where wheels are installed",
}


def leaks(files: Mapping[str, ElfFacts]) -> tuple[Leak, ...]:
    """Return the run path entries of *files* that an installer cannot keep true, by entry."""
    return tuple(
        sorted(
            Leak(entry, member, "empty" if not entry else "outside" if "$" in entry[:2] else "absolute")
            for member, facts in files.items()
            for entry in dict.fromkeys((*facts.rpath, *facts.runpath))
            if not inside(place_of(member), entry)
        )
    )


def leak_findings(found: Iterable[Leak]) -> tuple[Finding, ...]:
    """Return one warning for each entry that leaks, with the files that have it."""
    members: dict[tuple[str, str], list[str]] = {}
    for leak in found:
        members.setdefault((leak.entry, leak.kind), []).append(leak.member)
    return tuple(
        warning(
            Code.RUN_PATH_LEAK,
            files[0],
            f"The run path entry '{entry}' {_LEAKS[kind]}{_also(files[1:])}.",
            "Build without it, or let repair remove it.",
        )
        for (entry, kind), files in members.items()
    )


def _also(files: Sequence[str]) -> str:
    return f"; {listing(files)} {'has' if len(files) == 1 else 'have'} it too" if files else ""
