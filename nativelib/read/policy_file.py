"""The file of ``--policy``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.findings import Code
from nativelib.policy.user import parse_policies

if TYPE_CHECKING:
    from pathlib import Path

    from nativelib.policy.values import Policy


def read_policies(path: Path) -> tuple[Policy, ...]:
    """Return the user's policy in the file at *path*, once for each architecture.

    Raises ReadError: ``NL101`` if the file cannot be read, ``NL603`` with all that is wrong in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise ReadError.of(Code.NOT_FOUND, str(path), f"It cannot be read: {reason}.") from problem
    except UnicodeDecodeError as problem:
        raise ReadError.of(Code.BAD_POLICY, str(path), "It is not UTF-8 text.") from problem
    return parse_policies(text, str(path))
