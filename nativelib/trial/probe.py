"""Probes: a script is run by an interpreter, and what it wrote down is read."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nativelib.facts.trial import Run, Step, parse_seen
from nativelib.trial.runner import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from threading import Event

    from nativelib.facts.trial import Ended
    from nativelib.trial.environment import Layout

_MOST_CRASHES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one process is to do."""

    name: str
    """What its script is called."""
    load_first: tuple[str, ...] = ()
    """Libraries that are opened by path before anything is imported."""
    modules: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """ELF files that are opened in the end."""
    environ: Mapping[str, str]


def run_probe(
    probe: Probe,
    layout: Layout,
    scripts: Path,
    render: Callable[[Mapping[str, object]], str],
    *,
    timeout: float,
    stop: Event,
    kept: bool,
) -> Run:
    """Run *probe* in *layout*; what follows a step that kills the process is tried in another one.

    *render* makes the script of the values that it is to have; it is left in *scripts*. The process has no variables
    but those of the probe, and ``-I`` keeps it from the user's site-packages.
    """
    steps: list[Step] = []
    rest, crashes, seconds = probe, 0, 0.0
    while True:
        script = scripts / f"{rest.name}.py"
        script.write_text(render({"load_first": rest.load_first, "modules": rest.modules, "files": rest.files}))
        ended, text = _start(script, layout, rest.environ, timeout, stop)
        seconds += ended.seconds
        seen = parse_seen(text)
        steps += seen.steps
        dead = seen.unfinished
        if dead is None:
            break
        last = ended.output.strip().rpartition("\n")[2]
        steps.append(Step(what=dead, error=f"the process {ended.words}" + (f" ({last})" if last else "")))
        crashes += 1
        done = {step.what for step in steps}
        left = replace(
            rest,
            name=f"{probe.name}-{crashes + 1}",
            modules=tuple(name for name in rest.modules if name not in done),
            files=tuple(name for name in rest.files if name not in done),
        )
        if ended.status is None or crashes == _MOST_CRASHES or not (left.modules or left.files):
            break
        rest = left
    ended = replace(ended, seconds=seconds)
    return Run(
        ended=ended, seen=replace(seen, steps=tuple(steps)), again=_again(probe, layout, scripts) if kept else ""
    )


def _again(probe: Probe, layout: Layout, scripts: Path) -> str:
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in probe.environ.items() if name[:3] == "LD_")
    return variables + shlex.join([str(layout.python), "-I", str(scripts / f"{probe.name}.py")])


def run_script(
    script: Path, text: str, layout: Layout, environ: Mapping[str, str], timeout: float
) -> tuple[Ended, str]:
    """Write *text* to *script*, run it, and return how it ended and what it left in its result file."""
    script.write_text(text)
    return _start(script, layout, environ, timeout)


def _start(
    script: Path, layout: Layout, environ: Mapping[str, str], timeout: float, stop: Event | None = None
) -> tuple[Ended, str]:
    result = script.with_suffix(".txt")
    result.unlink(missing_ok=True)
    empty = script.with_suffix(".cwd")
    empty.mkdir(exist_ok=True)
    command: Sequence[str] = (str(layout.python), "-I", str(script), str(result))
    ended = run(command, environ=environ, directory=empty, timeout=timeout, stop=stop)
    return ended, result.read_text(encoding="utf-8", errors="replace") if result.exists() else ""
