"""The published wheels that both tools are held against."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.support.downloads import pypi_wheel

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One file on the package index."""

    file: str
    sha256: str

    @property
    def project(self) -> str:
        """The distribution's name, as the index spells it."""
        return self.file.partition("-")[0].replace("_", "-")

    @property
    def platforms(self) -> list[str]:
        """Its platform tags."""
        return self.file.removesuffix(".whl").rpartition("-")[2].split(".")

    @property
    def kind(self) -> str:
        """C library and machine in two words, as the table has them."""
        machine = next((name for name in ("x86_64", "aarch64") if self.file.endswith(f"{name}.whl")), "any")
        return f"{'musl' if '-musllinux' in self.file else 'glibc'} {machine}" if machine != "any" else machine

    @property
    def label(self) -> str:
        """Name, version and kind: what the table and the tests call it."""
        return " ".join([*self.file.split("-")[:2], *self.kind.split()[-2:]])

    def fetch(self) -> Path:
        """Return the file, downloaded once; skip or fail the test that asks if it cannot be had."""
        _, version, python, abi, _ = self.file.removesuffix(".whl").split("-")
        numbered = re.fullmatch(r"cp(\d+)", python)
        # Of several abi3 wheels pip takes the newest that fits: asked as the Python of the name, it takes this one.
        return pypi_wheel(
            self.project,
            version,
            platform=self.platforms[0],
            python=numbered[1] if numbered else None,
            abi=abi if numbered else None,
            sha256=self.sha256,
        )


def _pins() -> tuple[Pin, ...]:
    document = tomllib.loads((HERE / "wheels.toml").read_text(encoding="utf-8"))
    return tuple(Pin(**entry) for entry in document["wheel"])


PINS = _pins()


def pin(label: str) -> Pin:
    """Return the wheel that is called *label*."""
    return next(found for found in PINS if found.label == label)
