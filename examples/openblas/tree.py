"""The libraries that the demo turns into wheels: one tree in Debian's layout, wherever they came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steps import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FLAVOURS = ("pthread", "openmp")
"""The kinds of OpenBLAS, by what its threads are."""

BY_PREFIX = (
    "  make demo PREFIX=/opt/openblas LICENSE=/opt/openblas/LICENSE\n"
    "or, the same without make,\n"
    "  python examples/openblas/demo.py --prefix /opt/openblas --license /opt/openblas/LICENSE"
)
"""How to name an OpenBLAS that is not Debian's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The libraries that the demo turns into wheels."""

    prefix: Path
    """The tree, with ``lib``, ``include`` and ``share/doc`` as below Debian's ``/usr``."""
    flavours: tuple[str, ...]
    """The kinds of OpenBLAS in it: ``pthread``, ``openmp`` or both."""
    openmp_version: str
    """The release of GCC that libgomp is from."""
    other_openmp: Path | None = None
    """The directory of another build of libgomp."""

    def search_path(self, maintainer: int) -> tuple[Path, ...]:
        """Return where the libraries are on the machine of one of two maintainers (0 or 1).

        Two packages are hardly ever built with the same files: the second maintainer has other builds, if there are.
        """
        openblas = self.openblas(self.flavours[maintainer % len(self.flavours)])
        other = (self.other_openmp,) if maintainer and self.other_openmp else ()
        return (openblas, *other, _one(self.prefix.glob("lib/**/libgomp.so.1"), "libgomp").parent)

    @property
    def builds(self) -> dict[str, int]:
        """How many builds of each library the two maintainers have between them."""
        return {"OpenBLAS": len(self.flavours), "OpenMP": 2 if self.other_openmp else 1}

    def openblas(self, flavour: str) -> Path:
        """Return the directory of one flavour of OpenBLAS."""
        return _one(self.prefix.glob(f"lib/*/openblas-{flavour}/libopenblas.so.0"), f"OpenBLAS ({flavour})").parent

    def headers(self, flavour: str) -> Path:
        """Return the directory of the headers of one flavour of OpenBLAS."""
        return _one(self.prefix.glob(f"include/*/openblas-{flavour}/cblas.h"), "cblas.h").parent

    def openblas_version(self, flavour: str) -> str:
        """Return the release of OpenBLAS, as its own header says it."""
        text = (self.headers(flavour) / "openblas_config.h").read_text(encoding="utf-8")
        found = re.search(r'OPENBLAS_VERSION "\s*OpenBLAS (\d+(?:\.\d+)+)', text)
        if found is None:
            raise DemoError(f"{self.headers(flavour) / 'openblas_config.h'} names no version")
        return found[1]


def _one(paths: Iterable[Path], what: str) -> Path:
    found = sorted(paths)
    if not found:
        raise DemoError(f"{what} is not where it was expected; remove the demo's directory and start again")
    return found[0]
