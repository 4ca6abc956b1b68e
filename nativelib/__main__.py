"""Run the command line as ``python -m nativelib``."""

from __future__ import annotations

from nativelib.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
