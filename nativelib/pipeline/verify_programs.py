"""Programs that ``verify`` runs in the plain installation: compute and fork, and the user's own command."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError
from nativelib.facts.trial import Check, Ended
from nativelib.findings import Code, error, note
from nativelib.plan.verdicts import judge_command, judge_fork, left_out
from nativelib.trial.probe import run_script
from nativelib.trial.runner import installer_environment, run
from nativelib.write.render import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.progress import Report
    from nativelib.pipeline.verify_runs import Trial
    from nativelib.plan.verdicts import Judgement

_METHODS = ("os.fork", "multiprocessing", "concurrent.futures")

_MATMUL = """\
import numpy
ones = numpy.ones((512, 512))
assert (ones @ ones == 512.0).all()
"""


def try_fork(
    trial: Trial, packages: Sequence[str], snippets: Sequence[str], *, asked: bool, timeout: float, report: Report
) -> Judgement:
    """Run programs that import *packages*, compute, fork and compute in the child, and judge them.

    They compute *snippets*, or a matrix product if there is numpy; with neither nothing is tried, which is an error if
    it was *asked* for.
    """
    code = "\n".join(snippets) or (_MATMUL if "numpy" in trial.distributions else "")
    if not code:
        text = "There is nothing to compute before and after fork(2): numpy is not installed, and no snippet was given."
        remedy = "Say what to compute: --fork-snippet 'import package; package.function()', or leave it out: --no-fork."
        finding = (error if asked else note)(Code.NOT_TRIED, "fork", text, remedy)
        return left_out(None, Check.FORK, "nothing to compute: --fork-snippet says what"), (finding,)
    said: dict[str, tuple[Ended, str]] = {}
    for number, method in enumerate(_METHODS):
        report(f"computing and forking with {method}", number, len(_METHODS))
        values = {"modules": tuple(packages), "code": code, "method": method, "timeout": int(timeout)}
        text = render("verify/fork.py.j2", values)
        script = trial.scripts / f"fork-{method.replace('.', '-')}.py"
        # One thread cannot lose the others: a machine with one processor would prove nothing.
        variables = {"OMP_NUM_THREADS": "2"} if (os.cpu_count() or 1) < 2 else {}
        said[method] = run_script(script, text, trial.plain, trial.variables(variables), trial.timeout + timeout)
    return judge_fork(said)


def try_command(command: Sequence[str], trial: Trial) -> Judgement:
    """Run the user's *command* in an empty directory, with the environment's programs first on PATH, and judge it."""
    directory = trial.directory / "empty"
    directory.mkdir()
    environ = installer_environment(trial.environ)
    binaries = trial.plain.root / "bin"
    environ["PATH"] = os.pathsep.join([str(binaries), environ.get("PATH", os.defpath)])
    environ["VIRTUAL_ENV"] = str(trial.plain.root)
    words = [*command]
    if (binaries / words[0]).is_file():  # PATH of this process counts for the first word, and is another
        words[0] = str(binaries / words[0])
    try:
        ended = run(words, environ=environ, directory=directory)
    except NativelibError as problem:
        ended = Ended(status=127, output=problem.findings[0].message)
    return judge_command(shlex.join(command), ended)
