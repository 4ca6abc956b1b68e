"""The command line: one module for each command, one for what they print."""

from __future__ import annotations

from nativelib.cli.main import main

__all__ = ["main"]
