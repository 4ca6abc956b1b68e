"""The exception tree. Every error that input can cause derives from :class:`NativelibError`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from nativelib.findings import error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nativelib.findings import Code, Finding


class NativelibError(Exception):
    """It cannot be done; the findings say why. Nothing was written."""

    exit_code: ClassVar[int] = 1

    def __init__(self, findings: Iterable[Finding]) -> None:
        """Take the findings that explain the failure, errors first in importance."""
        self.findings: tuple[Finding, ...] = tuple(findings)
        super().__init__("\n".join(f"{f.where}: {f.message}" for f in self.findings))

    @classmethod
    def of(cls, code: Code, where: str, message: str, remedy: str = "", symbols: tuple[str, ...] = ()) -> Self:
        """Return an error with a single finding."""
        return cls([error(code, where, message, remedy, symbols)])


class ReadError(NativelibError):
    """An input is missing, unreadable, unsafe or not what it claims to be."""


class SpecError(NativelibError):
    """The ``[tool.nativelib]`` table is wrong; all its errors at once."""


class PlanError(NativelibError):
    """The inputs are readable, but what was asked for cannot be done correctly."""


class WriteError(NativelibError):
    """The output could not be written, or did not read back as planned."""
