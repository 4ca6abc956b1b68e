"""What all processes of a test run use, made by the first that needs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support.downloads import locked, staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a directory that *make* has filled, once for all the processes of a parallel run.

    *make* must not leave the directory's path in what it writes: it is renamed when it is complete.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    target = factory.getbasetemp().parent / f"{name}-{run}" if run else factory.mktemp(name) / "it"
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage:
                make(stage)
    return target
