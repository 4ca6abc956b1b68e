"""A TOML table that is read key by key: every mistake becomes a finding, and none stops the reading."""

from __future__ import annotations

import difflib
import re
from functools import partial
from typing import TYPE_CHECKING

from nativelib.findings import Code, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nativelib.findings import Finding

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class Table:
    """One table of a TOML document, and the list that takes what is wrong with it.

    A *check* is a function that returns the value to use, or raises ``ValueError`` with a message for people.
    """

    __slots__ = ("_findings", "_values", "_where")

    def __init__(self, values: Mapping[str, object], where: str, findings: list[Finding]) -> None:
        """Read *values*, whose dotted key is *where* (empty for a document); mistakes go to *findings*."""
        self._values = values
        self._where = where
        self._findings = findings

    def __contains__(self, key: str) -> bool:
        """Return whether the table has *key*."""
        return key in self._values

    def at(self, key: str) -> str:
        """Return the dotted key of *key*, quoted where TOML wants it."""
        name = key if _BARE_KEY.fullmatch(key) else f'"{key}"'
        return f"{self._where}.{name}" if self._where else name

    def fail(self, key: str, message: str, remedy: str = "") -> None:
        """Remember that *key* is wrong: ``libraries[1]`` means an item, an empty key the table itself."""
        name, bracket, index = key.partition("[")
        where = (self.at(name) if name else self._where) + bracket + index
        self._findings.append(error(Code.BAD_SPEC, where, message, remedy))

    def refuse_others(self, known: Iterable[str]) -> None:
        """Remember every key that is not in *known*, with the nearest one that is."""
        names = sorted(known)
        for key in self._values:
            if key not in names:
                near = difflib.get_close_matches(key.lower().replace("_", "-"), names, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(names)}."
                self._findings.append(error(Code.BAD_SPEC, self.at(key), f"There is no key {key!r} here.", hint))

    def lacks(self, key: str) -> bool:
        """Return whether *key* is absent or an empty array."""
        return self._values.get(key, []) == []

    def holds_table(self, key: str) -> bool:
        """Return whether the value at *key* is a table."""
        return isinstance(self._values.get(key), dict)

    def holds_text(self, key: str) -> bool:
        """Return whether the value at *key* is a string."""
        return isinstance(self._values.get(key), str)

    def table(self, key: str) -> Table | None:
        """Return the table at *key*, or ``None`` if it is absent or something else."""
        value = self._values.get(key)
        if isinstance(value, dict):
            return Table(value, self.at(key), self._findings)
        if key in self:
            self.fail(key, f"It must be a table, not {_kind(value)}.")
        return None

    def text(self, key: str, check: Callable[[str], str]) -> str | None:
        """Return the checked string at *key*, or ``None`` if it is absent or wrong."""
        return self.item(key, self._values[key], check) if key in self else None

    def texts(self, key: str, check: Callable[[str], str]) -> tuple[str, ...]:
        """Return the checked strings of the array at *key*; an absent array is empty."""
        found = (self.item(where, value, check) for where, value in self.items(key))
        return tuple(value for value in found if value is not None)

    def flag(self, key: str) -> bool:
        """Return the boolean at *key*; absent means false."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            self.fail(key, f"It must be true or false, not {_kind(value)}.")
            return False
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """Return the string at *key*, which must be one of *choices*, or ``None``."""

        def one_of(value: str) -> str:
            if value in choices:
                return value
            raise ValueError(f"It must be one of {', '.join(map(repr, choices))}, not {value!r}.")

        return self.text(key, one_of)

    def items(self, key: str) -> Iterator[tuple[str, object]]:
        """Yield ``key[index]`` and value for each item of the array at *key*; an absent array is empty."""
        value = self._values.get(key, [])
        if isinstance(value, list):
            yield from ((f"{key}[{index}]", item) for index, item in enumerate(value))
        else:
            example = f'Write ["{value}"].' if isinstance(value, str) else ""
            self.fail(key, f"It must be an array, not {_kind(value)}.", example)

    def item(self, key: str, value: object, check: Callable[[str], str]) -> str | None:
        """Return the checked string *value*, an item that ``items`` named *key*, or ``None`` if it is wrong."""
        if not isinstance(value, str):
            plain = isinstance(value, (int, float)) and not isinstance(value, bool)
            remedy = f'Write "{value}", with quotes.' if plain else ""
            self.fail(key, f"It must be a string, not {_kind(value)}.", remedy)
            return None
        try:
            return check(value)
        except ValueError as problem:
            self.fail(key, str(problem))
            return None

    def pairs(self, check: Callable[[str, str], str]) -> tuple[tuple[str, str], ...]:
        """Return all keys with their checked strings; *check* gets key and value."""
        found = ((key, self.item(key, value, partial(check, key))) for key, value in self._values.items())
        return tuple((key, value) for key, value in found if value is not None)

    def names(self) -> tuple[str, ...]:
        """Return the keys in the order of the document."""
        return tuple(self._values)

    def subtable(self, key: str, value: object) -> Table | None:
        """Return the item *value*, named *key* as ``items`` gave it, as a table; ``None`` if it is not one."""
        name, bracket, index = key.partition("[")
        return Table(value, self.at(name) + bracket + index, self._findings) if isinstance(value, dict) else None


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


def one_line(value: str) -> str:
    """Return *value* if it is one line with something in it: what a header of core metadata can hold."""
    if not value.strip():
        raise ValueError("It must not be empty.")
    if len(value.splitlines()) > 1 or any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("It must be a single line without control characters.")
    return value


def file_stem(value: str) -> str:
    """Return *value* if it is a name that files and words of build systems can have without quoting."""
    if not _FILE_STEM.fullmatch(value):
        raise ValueError(f"{value!r} must begin with a letter or digit and go on with these, '.', '_', '+', '-'.")
    return value


def relative_path(value: str) -> str:
    """Return *value* if it is a path with ``/`` that stays below where it starts: nothing absolute, no ``..``."""
    one_line(value)
    if value.startswith("/"):
        raise ValueError(f"{value!r} must be relative.")
    if "\\" in value:
        raise ValueError(f"{value!r} must be written with '/'.")
    if {"", ".", ".."} & set(value.removesuffix("/").split("/")):
        raise ValueError(f"{value!r} must not contain '..', '.' or empty parts.")
    return value.removesuffix("/")


def glob_pattern(value: str) -> str:
    """Return *value* if it is a glob below a directory: ``*``, ``?``, ``[...]``, and ``**`` between two ``/``."""
    relative_path(value)
    if value.endswith("/"):
        raise ValueError(f"{value!r} names a directory. Name the files in it: {value}*")
    for part in value.split("/"):
        if "**" in part and part != "**":
            raise ValueError(f"'**' must stand alone between two '/', not as in {part!r}.")
    return value
