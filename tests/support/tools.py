"""Programs and abilities of the machine that tests need."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip the test because the machine lacks *what*; fail it where ``CI`` is set, because a skip there goes unseen."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is needed here and is missing", pytrace=False)
    pytest.skip(f"{what} is missing")


def require(tool: str) -> str:
    """Return the path of the program *tool*: of the running environment first, then of ``PATH``."""
    beside = Path(sysconfig.get_path("scripts"), tool)
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(tool)
    if found is None:
        lacking(f"the program {tool}")
    return found
