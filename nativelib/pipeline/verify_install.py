"""The installation of ``verify``: an empty environment, the providers, the wheels, and what these require."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.trial import Check, Result, Verdict
from nativelib.plan.verdicts import judge_install
from nativelib.read.installed import provider_files, provider_wheel
from nativelib.trial.environment import find_pip, install, installed, make_environment, owned, plant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nativelib.facts.provider import Provider
    from nativelib.findings import Finding
    from nativelib.trial.environment import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """An environment with everything in it, or why that could not be."""

    layout: Layout
    distributions: frozenset[str]
    """Normalised names of what is installed."""
    refused: Mapping[Path, Finding]
    """Wheels that are not for this interpreter."""
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    """Why nothing is installed."""


def install_all(
    wheels: Sequence[Path],
    providers: Sequence[Provider],
    more: Sequence[str],
    *,
    directory: Path,
    python: str | None,
    environ: Mapping[str, str],
) -> Installation:
    """Return an environment of *python* below *directory* with *wheels*, *providers* and what pip is told with *more*.

    Providers that are no wheel files are copied from where they are. Wheels that pip says are not for this interpreter
    are left out, and the others go on. Raises ReadError.
    """
    program = python or sys.executable
    layout = make_environment(directory / "plain", program, environ)
    pip = find_pip(layout, program, environ)
    arguments = [*more]
    for provider in providers:
        wheel = provider_wheel(provider)
        if wheel is None:
            plant(layout, provider_files(provider, python=python))
            arguments.append(f"{provider.name}=={provider.version}")
        elif wheel.resolve() not in {path.resolve() for path in wheels}:
            arguments.append(str(wheel.resolve()))
    refused: dict[Path, Finding] = {}
    seconds = 0.0
    while left := [path for path in wheels if path not in refused]:
        named = {path.name: path for path in left}
        files = [str(path.resolve()) for path in left]
        ended = install(pip, [*arguments, *files], environ=environ, directory=directory)
        seconds += ended.seconds
        if ended.status == 0:
            break
        found = judge_install(ended, {name: str(path) for name, path in named.items()}, layout.version)
        if "" in found:
            return Installation(
                layout=layout,
                distributions=frozenset(),
                refused=refused,
                verdict=_verdict(Result.FAILED, f"pip {ended.words}", seconds),
                findings=(found[""],),
            )
        refused |= {named[name]: finding for name, finding in found.items()}
    names = frozenset(installed(layout))
    if left:
        count = f"{len(names)} distribution{'' if len(names) == 1 else 's'}"
        verdict = _verdict(Result.OK, f"{count} for Python {layout.version}", seconds)
    else:
        verdict = _verdict(Result.FAILED, f"none of the wheels is for Python {layout.version} on this machine", seconds)
    return Installation(layout=owned(layout), distributions=names, refused=refused, verdict=verdict)


def _verdict(result: Result, detail: str, seconds: float) -> Verdict:
    return Verdict(wheel=None, check=Check.INSTALL, result=result, detail=detail, seconds=seconds)
