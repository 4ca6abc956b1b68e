"""Hints at libraries that code opens at run time, which no ``DT_NEEDED`` names. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class How(StrEnum):
    """What says that a library is opened."""

    NOTE = "note.dlopen"
    """The ELF note ``.note.dlopen``, which was written to say it."""
    STRING = "string"
    """A constant of an ELF file that looks like a soname."""
    PYTHON = "python"
    """A call with a literal name in a Python source, such as ``ctypes.CDLL("libfoo.so.1")``."""


@dataclass(frozen=True, slots=True, order=True)
class Opened:
    """One library that one member of a wheel seems to open at run time."""

    name: str
    """Soname or file name; ``find_library("foo")`` counts as ``libfoo.so``, which stands for every version of it."""
    member: str
    """The file that opens it."""
    how: How
    purpose: str = ""
    """What ``.note.dlopen`` says that it is for."""
