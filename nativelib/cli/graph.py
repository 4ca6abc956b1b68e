"""``nativelib show --graph FILE``: the dependency graph as a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.cli.text import save_text
from nativelib.errors import NativelibError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.findings import Finding
    from nativelib.pipeline.inspect import WheelReport
    from nativelib.plan.graph import Graph

_SVG, _DOT, _MERMAID = {".svg"}, {".dot", ".gv"}, {".mmd", ".mermaid"}


def graph_file(text: str) -> Path:
    """Parse the file of ``--graph`` for argparse: its suffix says the format."""
    path = Path(text)
    if path.suffix.lower() not in _SVG | _DOT | _MERMAID:
        known = ", ".join(sorted(_SVG | _DOT | _MERMAID))
        raise argparse.ArgumentTypeError(f"{text!r} does not say the format; its suffix can be {known}")
    return path


def save_graph(path: Path, reports: Sequence[WheelReport]) -> tuple[Finding, ...]:
    """Write the graph of the wheels that could be read to *path*, whole or not at all; return why it cannot be."""
    from nativelib.plan.graph import Audit, dependency_graph

    audits = [
        Audit(wheel=report.wheel, needs=report.needs, tag=report.verdict.tag if report.verdict else None)
        for report in reports
        if report.wheel is not None
    ]
    if not audits:
        return ()
    try:
        save_text(path, _written(dependency_graph(audits), path.suffix.lower()))
    except NativelibError as problem:  # the report is there all the same
        return problem.findings
    return ()


def _written(graph: Graph, suffix: str) -> str:
    if suffix in _SVG:
        from nativelib.cli.graph_svg import to_svg

        return to_svg(graph)
    from nativelib.cli.graph_script import to_dot, to_mermaid

    return to_dot(graph) if suffix in _DOT else to_mermaid(graph)
