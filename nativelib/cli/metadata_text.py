"""What ``nativelib metadata`` prints of a release, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nativelib.plan.release import all_requires, canonical_texts, is_of_extra
from nativelib.plan.release_sync import changes, written_by_repair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.cli.terminal import Terminal
    from nativelib.facts.release import DistFile
    from nativelib.findings import Finding
    from nativelib.pipeline.release import ReleaseReport


def print_report(item: ReleaseReport, terminal: Terminal) -> None:
    """Print what is known of one release, and what became of its wheels."""
    release = item.release
    wheels = f"{len(release.wheels)} {'wheel' if len(release.wheels) == 1 else 'wheels'}"
    terminal.line((release.label, "bold"), (f": {wheels}{' and an sdist' if release.sdist else ''}", ""))
    if item.outputs:
        _print_outputs(item, terminal)
    else:
        _print_requires(item, terminal)
        terminal.table([[(tool, ""), (text, "")] for tool, text in item.tools])
    if item.declaration is not None:
        terminal.result()
        terminal.result("For the sdist, in pyproject.toml: either the requirements, which every build then has,")
        _print_block(item.declaration.dependencies, terminal)
        terminal.result("or, for a build backend that fills them in, the promise that a build may add some:")
        _print_block(item.declaration.dynamic, terminal)


def _print_requires(item: ReleaseReport, terminal: Terminal) -> None:
    """Print requirements with the number of files that have them; of those of extras only what differs."""
    release = item.release
    files = [*release.wheels, *([release.sdist] if release.sdist else [])]
    texts = canonical_texts(all_requires(release))
    counts = Counter(text for file in files for text in {texts[value] for value in file.metadata.requires})
    extras = {text for text in counts if counts[text] == len(files) and is_of_extra(text)}
    rows = [(text, f"in {counts[text]} of {len(files)} files") for text in sorted(counts.keys() - extras)]
    terminal.table([[(text, ""), (count, "dim")] for text, count in rows])
    if extras:
        terminal.line((f"  and {len(extras)} of extras in all files", "dim"))


def _print_outputs(item: ReleaseReport, terminal: Terminal) -> None:
    for wheel in item.release.wheels:
        gone, new = _changes(wheel, item)
        terminal.result(item.outputs[wheel.path], style="bold" if gone or new else None)
        for word, values in (("without", gone), ("requires", new)):
            for value in values:
                terminal.result(f"  {word:<9} {value}")


def _changes(file: DistFile, item: ReleaseReport) -> tuple[list[str], list[str]]:
    """Return what was taken from a wheel that was written, and what was added."""
    found = changes(file.metadata.requires, item.common) if item.common and file.path in item.outputs else None
    return found or ([], [])


def _print_block(text: str, terminal: Terminal) -> None:
    terminal.result()
    for line in text.splitlines():
        terminal.result(f"    {line}")
    terminal.result()


def to_json(reports: Sequence[ReleaseReport], findings: Sequence[Finding] = ()) -> dict[str, Any]:
    """Return the JSON document (schema 1); *findings* are those of a command that could not run."""
    return {
        "schema": 1,
        "name": reports[0].release.name if reports else None,
        "releases": [_release(item) for item in reports],
        "findings": [
            finding.to_json() for finding in (*findings, *(found for item in reports for found in item.findings))
        ],
    }


def _release(item: ReleaseReport) -> dict[str, Any]:
    release = item.release
    files = [*release.wheels, *([release.sdist] if release.sdist else [])]
    return {
        "version": release.version,
        "requires": list(item.common.requires) if item.common is not None else None,
        "files": [_file(file, item) for file in files],
        "tools": [behaviour._asdict() for behaviour in item.tools],
        "declare": asdict(item.declaration) if item.declaration is not None else None,
    }


def _file(file: DistFile, item: ReleaseReport) -> dict[str, Any]:
    gone, new = _changes(file, item)
    return {
        "file": file.path,
        "kind": "sdist" if file.wheel is None else "wheel",
        "platforms": list(file.platforms),
        "metadata_version": file.metadata.metadata_version,
        "requires": list(file.metadata.requires),
        "extras": list(file.metadata.extras),
        "requires_python": file.metadata.requires_python or None,
        "dynamic": list(file.metadata.dynamic),
        "written": list(written_by_repair(file)),
        "output": item.outputs.get(file.path),
        "removed": gone,
        "added": new,
    }
