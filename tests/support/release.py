"""A release as a project builds it: wheels for four systems, of which the Linux ones are repaired, and its sdist."""

from __future__ import annotations

import io
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.support.counting import PYTHON, consumer_wheel, count_library, library_wheel, plain_extension
from tests.support.projects import repaired
from tests.support.tools import require
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MACHINES = {
    "linux_x86_64": "gcc",
    "linux_aarch64": "aarch64-linux-gnu-gcc",
    "musllinux_1_2_x86_64": "musl-gcc",
}
"""Platform tag that a build gives a wheel, and the compiler for it."""

ELSEWHERE = ("macosx_11_0_arm64", "win_amd64")

_MACH_O = b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01" + bytes(24)
_PE = b"MZ" + bytes(62)

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "counter"
version = "1.0"
dependencies = ["packaging>=20"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What lies in two directories before a release."""

    dist: Path
    """The wheels of ``counter`` 1.0, repaired where they are for Linux, and its sdist."""
    links: Path
    """The library wheels of ``count-lib`` 1.0 that they need."""

    @property
    def wheels(self) -> list[Path]:
        """The wheels, by name."""
        return sorted(self.dist.glob("*.whl"))

    @property
    def sdist(self) -> Path:
        """The source distribution."""
        return self.dist / "counter-1.0.tar.gz"


def publish(root: Path, machines: Mapping[str, str] = MACHINES) -> Published:
    """Build a library wheel and a repaired consumer for each of *machines*, wheels for other systems, and the sdist.

    All repairs write the same requirement.
    """
    for compiler in machines.values():
        require(compiler)
    extra = "Requires-Dist: packaging>=20\n"
    dist, links = root / "dist", root / "links"
    for platform, cc in machines.items():
        place = root / platform
        library = count_library(place, cc=cc)
        provider = library_wheel(links, library, tool='compatible = ">={version},<2"')
        module = plain_extension(place / "obj", library, cc=cc)
        built = consumer_wheel(place / "in", module, platform=platform, metadata_extra=extra)
        repaired(built, "--provided-by", provider, "--ldpaths", str(library.parent), into=dist)
    for platform in ELSEWHERE:
        files: dict[str, bytes | str | Path] = {"counter/__init__.py": "", "counter/_counter.abi3.so": _MACH_O}
        if platform.startswith("win"):
            files = {"counter/__init__.py": "", "counter/_counter.pyd": _PE}
        make_wheel(dist, f"counter-1.0-{PYTHON}-{PYTHON}-{platform}.whl", files, metadata_extra=extra)
    make_sdist(dist, f"Metadata-Version: 2.4\nName: counter\nVersion: 1.0\n{extra}")
    return Published(dist=dist, links=links)


def make_sdist(directory: Path, pkg_info: str, *, pyproject: str = PYPROJECT, name: str = "counter-1.0") -> Path:
    """Write the source distribution *name* with PKG-INFO and pyproject.toml, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in (("PKG-INFO", pkg_info), ("pyproject.toml", pyproject)):
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(root: Path, files: Sequence[Path]) -> Iterator[str]:
    """Serve *files* as a package index (PEP 503) on loopback, from below *root*, and give its address."""
    for file in files:
        page = root / "simple" / file.name.partition("-")[0].replace("_", "-")
        page.mkdir(parents=True, exist_ok=True)
        (page / file.name).symlink_to(file)
    for page in (root / "simple").iterdir():
        links = "".join(f'<a href="{name.name}">{name.name}</a>\n' for name in sorted(page.iterdir()))
        (page / "index.html").write_text(f"<!DOCTYPE html><html><body>\n{links}</body></html>\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
