"""Adapters as the spec of a library wheel asks for them: ``[[tool.nativelib.adapter]]``. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from nativelib.facts.table import file_stem, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.elf import Libc, Machine
    from nativelib.facts.table import Table
    from nativelib.facts.wheel import WheelFacts

BLAS_INT = ("32", "64")
"""Widths of integers, in bits, that a BLAS can be built for."""

ARCHITECTURES = ("x86_64", "aarch64")
"""Machines that adapters can be written for."""

_KEYS = ("soname", "target", "prefix", "suffix", "symbols", "symbols-file", "from", "rename", "blas-int")
_ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRule:
    """One adapter: which names it has, and whose functions they lead to."""

    soname: str
    """The name that consumers were linked with."""
    target: str
    """Soname, original or kept, of the library that has the functions."""
    prefix: str = ""
    """What the consumers' names have in front of the target's."""
    suffix: str = ""
    """What they have behind them."""
    every: bool = False
    """Whether each function of the target gets such a name."""
    symbols: tuple[str, ...] = ()
    """Names, as consumers use them."""
    symbols_file: str | None = None
    """Path of a file with one name a line, relative to the project's directory."""
    wheels: tuple[str, ...] = ()
    """Paths of consumer wheels whose imports are taken, relative to the project's directory."""
    rename: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Names that lead to another function than *prefix* and *suffix* would say."""
    blas_int: str | None = None
    """Bits of the integers that the consumers pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAdapter:
    """An adapter with the content of the files that its rule names."""

    rule: AdapterRule
    key: str
    """Dotted key of the rule, for messages."""
    names: tuple[str, ...] = ()
    """Names of the symbols file."""
    consumers: tuple[WheelFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenAdapter:
    """An adapter of a finished wheel, and what it must do."""

    file: str
    """Path below site-packages."""
    target: str
    """The same of the library that it leads to."""
    forwards: tuple[tuple[str, str], ...]
    """Pairs of a name and of the target's."""
    blas_int: str | None
    """Declared bits of integers."""
    machine: Machine
    libc: Libc


def adapter_key(index: int) -> str:
    """Return the dotted key of the adapter number *index*."""
    return f"tool.nativelib.adapter[{index}]"


def parse_adapters(table: Table) -> tuple[AdapterRule, ...]:
    """Return the adapters of ``[tool.nativelib]``; what is wrong is remembered by *table*."""
    rules: list[AdapterRule] = []
    for where, value in table.items("adapter"):
        entry = table.subtable(where, value)
        if entry is None:
            table.fail(where, "It must be a table.", "Write [[tool.nativelib.adapter]].")
            continue
        rule = _parse(entry)
        if rule.soname and rule.soname in {other.soname for other in rules}:
            entry.fail("soname", f"Another adapter has the soname {rule.soname!r}.")
        rules.append(rule)
    return tuple(rules)


def _parse(table: Table) -> AdapterRule:
    table.refuse_others(_KEYS)
    for key in ("soname", "target"):
        if key not in table:
            table.fail(key, "An adapter needs it.")
    text = table.holds_text("symbols")
    every = text and table.choice("symbols", [_ALL]) is not None
    renamed = table.table("rename")
    rule = AdapterRule(
        soname=table.text("soname", file_stem) or "",
        target=table.text("target", one_line) or "",
        prefix=table.text("prefix", _affix) or "",
        suffix=table.text("suffix", _affix) or "",
        every=every,
        symbols=() if text else table.texts("symbols", symbol_name),
        symbols_file=table.text("symbols-file", one_line),
        wheels=table.texts("from", _wheel_path),
        rename=MappingProxyType(dict(renamed.pairs(_rename)) if renamed else {}),
        blas_int=table.choice("blas-int", BLAS_INT),
    )
    if all(table.lacks(key) for key in ("symbols", "symbols-file", "from", "rename")):
        remedy = 'Write from = ["consumer.whl"], symbols = [...], symbols-file = "..." or symbols = "all".'
        table.fail("", "Nothing says which names the adapter has.", remedy)
    if every and not (rule.prefix or rule.suffix):
        table.fail("symbols", "Without prefix and suffix all names would lead to themselves.", "Say one of them.")
    return rule


def symbol_name(value: str) -> str:
    """Return *value* if it can be the name of a symbol without a version. Raises ValueError."""
    if not value or any(character.isspace() or not character.isprintable() for character in value) or "@" in value:
        raise ValueError(f"{value!r} is not the name of a symbol (without a version).")
    return value


def _affix(value: str) -> str:
    return symbol_name(value) if value else value


def _rename(name: str, target: str) -> str:
    symbol_name(name)
    return symbol_name(target)


def _wheel_path(value: str) -> str:
    if not one_line(value).endswith(".whl"):
        raise ValueError(f"{value!r} must be the path of a wheel file.")
    return value
