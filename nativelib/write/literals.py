"""Write values so that they mean themselves in Python, pkg-config and CMake files, or refuse them. Pure functions.

Each raises ``ValueError`` for a value that it cannot write and ``TypeError`` for a value of a wrong type.
"""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WIDTH = 80
# No character of these is special to a shell, pkg-config, CMake, GNU ld or a path list, and none is a space.
_WORD = re.compile(r"[A-Za-z0-9_.+/@%,=:~-]+", re.ASCII)
# PEP 263: such a comment in one of the first two lines would change the encoding of the whole file.
_CODING = re.compile(r"coding[:=]")


class Inserted(str):
    """Text that was made safe for the file that it goes into."""

    __slots__ = ()


def python_literal(value: Any, indent: int = 0) -> Inserted:
    """Return *value* as a Python literal in ASCII.

    *value* is made of ``str``, ``int``, ``bool``, ``None``, tuples, lists (written as tuples: JSON has no tuples) and
    dictionaries; nothing else, subclasses neither, because their ``repr`` is not a literal. A literal that would be
    longer than 80 characters has one entry on each line, with its bracket *indent* columns from the left. Dictionaries
    keep their order.
    """
    return Inserted(_literal(value, indent))


def python_name(value: Any) -> Inserted:
    """Return *value* if it is a name that can be imported: identifiers that are no keywords, with dots between them."""
    text = _string(value)
    parts = text.split(".")
    if not text.isascii() or not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise ValueError(f"{text!r} is not a Python name")
    return Inserted(text)


def line(value: Any) -> Inserted:
    """Return *value* if it is one printable line for a comment, without backslashes and encoding declaration."""
    text = _string(value)
    if not text.isprintable() or "\\" in text or _CODING.search(text):
        raise ValueError(f"{text!r} cannot stand in a line of comment")
    return Inserted(text)


def word(value: Any) -> Inserted:
    """Return *value* if it is one word of letters, digits and ``_.+/@%,=:~-``, which nothing interprets."""
    text = _string(value)
    if not _WORD.fullmatch(text):
        raise ValueError(f"{text!r} cannot be written here: only letters, digits and _.+/@%,=:~- are safe")
    return Inserted(text)


def words(value: Any) -> Inserted:
    """Return *value*, a word or a tuple or list of words, with spaces between."""
    if isinstance(value, tuple | list):
        return Inserted(" ".join(word(item) for item in value))
    return word(value)


def text_line(value: Any) -> Inserted:
    """Return *value* if it is one line of prose for a field of a ``.pc`` file.

    ``$`` begins a variable there, ``#`` a comment, and a backslash continues the line.
    """
    text = _string(value)
    if not text.isprintable() or any(c in text for c in "$#\\"):
        raise ValueError(f"{text!r} cannot stand in a line of text")
    return Inserted(text)


def cmake_argument(value: Any) -> Inserted:
    """Return *value* as a quoted argument (cmake-language(7), "Quoted Argument").

    A semicolon is refused: it would split the value where it is used as a list.
    """
    text = _string(value)
    if not text.isprintable() or ";" in text:
        raise ValueError(f"{text!r} cannot be one argument of CMake")
    return Inserted('"' + re.sub(r'([\\"$@])', r"\\\1", text) + '"')


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is {type(value).__name__}, not str")
    return value


def _literal(value: Any, indent: int) -> str:
    flat = _flat(value)
    if len(flat) <= _WIDTH or not isinstance(value, tuple | list | dict):
        return flat
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        lines = [f"{pad}{_flat(key)}: {_literal(item, indent + 4)},\n" for key, item in value.items()]
        return "{\n" + "".join(lines) + " " * indent + "}"
    lines = [f"{pad}{_literal(item, indent + 4)},\n" for item in value]
    return "(\n" + "".join(lines) + " " * indent + ")"


def _flat(value: Any) -> str:
    kind = type(value)
    if value is None or kind in (bool, int):
        return repr(value)
    if kind is str:
        return _quoted(value)
    if kind in (tuple, list):
        items = [_flat(item) for item in value]
        return f"({items[0]},)" if len(items) == 1 else "(" + ", ".join(items) + ")"
    if kind is dict:
        return "{" + ", ".join(f"{_flat(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"{value!r} is {kind.__name__}, which has no literal")


def _quoted(value: str) -> str:
    if '"' in value:
        return ascii(value)
    # With one ' and no " inside, ascii() chooses double quotes.
    return '"' + ascii("'" + value)[2:]


PYTHON_FILTERS: Mapping[str, Callable[..., Inserted]] = {"py": python_literal, "ident": python_name, "comment": line}
PC_FILTERS: Mapping[str, Callable[..., Inserted]] = {"pc": words, "text": text_line}
CMAKE_FILTERS: Mapping[str, Callable[..., Inserted]] = {"cmake": cmake_argument, "word": word}
OTHER_FILTERS: Mapping[str, Callable[..., Inserted]] = {"word": word, "text": text_line}
