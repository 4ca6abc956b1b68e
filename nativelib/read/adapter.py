"""The files that adapters of a spec name: lists of symbols, and consumer wheels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.errors import NativelibError, ReadError
from nativelib.facts.adapter import AskedAdapter, adapter_key, symbol_name
from nativelib.findings import Code, error
from nativelib.read.bounded import read_bounded
from nativelib.read.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nativelib.facts.adapter import AdapterRule
    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding

_MOST_BYTES = 16 << 20


def read_adapters(rules: Sequence[AdapterRule], directory: Path) -> tuple[AskedAdapter, ...]:
    """Return *rules* with the content of the files that they name, relative to the project's *directory*.

    Raises ReadError with all that is wrong at once.
    """
    findings: list[Finding] = []
    wheels: dict[str, WheelFacts] = {}
    for path in dict.fromkeys(path for rule in rules for path in rule.wheels):
        try:
            # What is in it counts, as for providers, and not whether RECORD says the same.
            wheels[path] = read_wheel(directory / path, check_record=False)
        except NativelibError as problem:
            findings += problem.findings
    asked = [
        AskedAdapter(
            rule=rule,
            key=adapter_key(index),
            names=_listed(rule, adapter_key(index), directory, findings),
            consumers=tuple(wheels[path] for path in rule.wheels if path in wheels),
        )
        for index, rule in enumerate(rules)
    ]
    if findings:
        raise ReadError(findings)
    return tuple(asked)


def _listed(rule: AdapterRule, key: str, directory: Path, findings: list[Finding]) -> tuple[str, ...]:
    """Return the names of the symbols file; empty lines and what follows ``#`` are left out."""
    if rule.symbols_file is None:
        return ()
    path, where = directory / rule.symbols_file, f"{key}.symbols-file"
    try:
        lines = (line.partition("#")[0].strip() for line in read_bounded(path, _MOST_BYTES).decode().splitlines())
        return tuple(symbol_name(line) for line in lines if line)
    except OSError as problem:
        findings.append(error(Code.NOT_FOUND, where, f"{path} cannot be read: {problem.strerror or problem}."))
    except ValueError as problem:  # also UnicodeDecodeError
        reason = str(problem).removesuffix(".")
        findings.append(error(Code.BAD_SPEC, where, f"{path} is no list of symbols: {reason}.", "One name a line."))
    return ()
