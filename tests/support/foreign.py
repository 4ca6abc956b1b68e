"""Other machines: cross compilers, the distribution's packages for them, and their Pythons under qemu-user."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.downloads import cache_directory, locked, staged
from tests.support.tools import lacking, require
from tests.support.venvs import clean_environment

ROOT = Path(__file__).resolve().parents[2]


def debian_source(package: str, *, needed: bool = True) -> Path | None:
    """Return the upstream archive of the distribution's source package *package*, fetched once into the cache.

    Without it the test is skipped, or fails if ``CI`` is set; with *needed* false, ``None`` is returned.
    """
    require("apt-get")
    target = cache_directory() / "sources" / package
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage:
                script = ROOT / "examples" / "lz4" / "fetch.sh"
                for _ in range(2):
                    done = subprocess.run(["sh", script, package, stage], capture_output=True, text=True, check=False)
                    if done.returncode == 0:
                        break
                if done.returncode:
                    if needed:
                        lacking(f"the source package {package} ({done.stderr.strip()[-300:]})")
                    return None
    [archive] = target.iterdir()
    return archive
