"""Get OpenBLAS and GCC's OpenMP runtime: from Debian's packages without root, or from a prefix of the user.

Either way the result is one tree in Debian's layout, which the specs of the library wheels describe.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steps import DemoError, Runner, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FLAVOURS = ("pthread", "openmp")
PACKAGES = (
    *(f"libopenblas0-{flavour}" for flavour in FLAVOURS),
    *(f"libopenblas-{flavour}-dev" for flavour in FLAVOURS),
    "libgfortran5",
    "libquadmath0",
    "libgomp1",
)
WANTED = re.compile(
    r"\./usr/((lib/.*|[^/]+-linux-[^/]+/lib)/lib(openblas|gfortran|quadmath|gomp)[^/]*\.so[^/]*|include/.*\.h|share/doc/[^/]+(/copyright)?)"
)
RUNTIMES = re.compile(r"lib(gfortran|quadmath|gomp)\.so")


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
        return (openblas, *other, _one(self.prefix.glob("lib/*/libgomp.so.1"), "libgomp").parent)

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


# Debian's packages


def from_debian(runner: Runner, cache: Path, tree: Path) -> Tree:
    """Download the packages to `cache` unless they are there, unpack what is needed to `tree` and return it.

    Raise `DemoError` when there is no apt or the download fails.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise DemoError(
            "there is no apt here to get OpenBLAS with. Install or compile OpenBLAS and name its prefix:\n"
            "  python examples/openblas/demo.py --prefix /opt/openblas\n"
            "The prefix needs lib/libopenblas.so.0 and include/cblas.h."
        )
    architecture = runner.run(["dpkg", "--print-architecture"]).stdout.strip()
    debs = cache / f"{_release()}-{architecture}"
    files = _cached(debs)
    if files is None:
        _download(debs, architecture)
        files = _cached(debs)
    if files is None:
        raise DemoError(f"apt-get downloaded, but {debs} does not hold one file of each package")
    _unpack(files, tree)
    version = re.match(
        r"libgomp1_(?:\d+%3a)?(\d+(?:\.\d+)*)", next(f.name for f in files if f.name.startswith("libgomp1_"))
    )
    return Tree(
        prefix=tree / "usr",
        flavours=FLAVOURS,
        openmp_version=version[1] if version else "0",
        other_openmp=next((path.parent for path in tree.glob("usr/*-linux-*/lib/libgomp.so.1")), None),
    )


def _release() -> str:
    text = Path("/etc/os-release").read_text(encoding="utf-8") if Path("/etc/os-release").exists() else ""
    values = dict(re.findall(r'^(ID|VERSION_ID)="?([\w.]+)"?$', text, re.MULTILINE))
    return f"{values.get('ID', 'unknown')}-{values.get('VERSION_ID', 'rolling')}"


def _cached(debs: Path) -> tuple[Path, ...] | None:
    """Return the package files, or None if one is missing. The licence of GCC's libraries lies in gcc-N-base."""
    patterns = [*(f"{name}_*.deb" for name in PACKAGES), "gcc-*-base_*.deb"]
    found = [sorted(debs.glob(pattern)) for pattern in patterns]
    if not all(found):
        return None
    return (*(files[-1] for files in found), *sorted(debs.glob("libgomp1-*-cross_*.deb")))


def _download(debs: Path, architecture: str) -> None:
    """Fetch the packages with an apt state of our own: an empty status file and private lists need no root."""
    state = debs / "apt"
    for directory in ("lists/partial", "cache/archives/partial"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    (state / "status").write_text("", encoding="utf-8")
    settings = {
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state / "cache",
        "Dir::State::status": state / "status",
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    lines = [f'{name} "{value}";\n' for name, value in settings.items()]
    (debs / "apt.conf").write_text("#clear APT::Architectures;\n" + "".join(lines), encoding="utf-8")
    runner = Runner(directory=debs)
    # A source of the host that does not answer is no reason to stop: the download shows whether Debian's did.
    runner.run(["apt-get", "-c", "apt.conf", "-q", "update"], may_fail=True)
    base = re.search(r"\bgcc-\d+-base\b", runner.run(["apt-cache", "-c", "apt.conf", "show", "libgomp1"]).stdout)
    runner.run(["apt-get", "-c", "apt.conf", "-q", "download", *PACKAGES, *([base[0]] if base else [])])
    # Another build of the same runtime, which the cross compilers of other machines use. Not every release has it.
    runner.run(["apt-get", "-c", "apt.conf", "-q", "download", f"libgomp1-{architecture}-cross"], may_fail=True)
    shutil.rmtree(state)
    (debs / "apt.conf").unlink()


def _unpack(files: Sequence[Path], tree: Path) -> None:
    """Unpack libraries, headers and licences, not the 100 MB of static libraries. Nothing happens if it was done."""
    mark, content = tree / ".unpacked", "\n".join(file.name for file in files)
    if mark.exists() and mark.read_text(encoding="utf-8") == content:
        return
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for file in files:
        say(f"    unpack {file.name}")
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as archive,
        ):
            for member in archive:
                if WANTED.fullmatch(member.name) and not (member.isdir() and "/doc/" not in member.name):
                    archive.extract(member, tree, filter="data")
        if process.returncode:
            file.unlink()
            raise DemoError(f"{file} was damaged and has been removed; start again")
    mark.write_text(content, encoding="utf-8")


# A prefix of the user


def from_prefix(runner: Runner, prefix: Path, tree: Path, licenses: Sequence[Path]) -> Tree:
    """Copy the user's OpenBLAS and what it runs on to `tree`, in Debian's layout, and return it.

    `licenses` are licence files for a prefix that has none. Raise `DemoError` that says what is missing.
    """
    libraries = {path.resolve() for path in _candidates(prefix, "libopenblas.so.0")}
    headers = sorted(path.parent for path in _candidates(prefix, "cblas.h", top="include"))
    if not libraries or not headers:
        missing = "libopenblas.so.0" if not libraries else "cblas.h"
        raise DemoError(
            f"{missing} is nowhere below {prefix}. An OpenBLAS built with `make install PREFIX=...` has it."
        )
    shutil.rmtree(tree, ignore_errors=True)
    flavours, runtimes = set(), {}
    for library in sorted(libraries):
        needed = _runtimes(runner, library)
        flavour = "openmp" if "libgomp.so.1" in needed else "pthread"
        if flavour in flavours:
            continue
        flavours.add(flavour)
        runtimes.update(needed)
        _copy(library, tree / f"lib/local/openblas-{flavour}/libopenblas.so.0")
        (tree / f"lib/local/openblas-{flavour}/libopenblas.so").symlink_to("libopenblas.so.0")
        include = next((path for path in headers if path.name == f"openblas-{flavour}"), headers[0])
        shutil.copytree(include, tree / f"include/local/openblas-{flavour}", ignore=_other_headers)
        _licence(tree, f"libopenblas0-{flavour}", licenses or _licences(prefix, f"*openblas*{flavour}*", "*openblas*"))
    runtimes.setdefault("libgomp.so.1", _gcc_library(runner, "libgomp.so.1"))
    for name, path in runtimes.items():
        _copy(path, tree / "lib/local" / name)
    for package in ("libgomp1", "libgfortran5"):
        found = _licences(Path("/usr"), package, "gcc-*-base", "libgomp", "libgfortran", "gcc*")
        _licence(tree, package, found or licenses)
    gcc = runner.run(["gcc", "-dumpfullversion", "-dumpversion"]).stdout.strip()
    return Tree(prefix=tree, flavours=tuple(name for name in FLAVOURS if name in flavours), openmp_version=gcc)


def _candidates(prefix: Path, name: str, top: str = "lib*") -> list[Path]:
    """Return the files called `name` at the places where an installation has them; never a walk through /usr."""
    return [path for depth in ("", "*/", "*/*/") for path in prefix.glob(f"{top}/{depth}{name}")]


def _runtimes(runner: Runner, library: Path) -> dict[str, Path]:
    """Return soname and file of GCC's run-time libraries that `library` loads."""
    lines = [line.split() for line in runner.run(["ldd", str(library)]).stdout.splitlines()]
    found = {words[0]: " ".join(words[2:]) for words in lines if len(words) > 2 and RUNTIMES.match(words[0])}
    lost = [name for name, path in found.items() if not path.startswith("/")]
    if lost:
        raise DemoError(f"{library} needs {', '.join(lost)}, which the loader does not find here")
    return {name: Path(text.rpartition(" (")[0]) for name, text in found.items()}


def _gcc_library(runner: Runner, name: str) -> Path:
    path = Path(runner.run(["gcc", f"-print-file-name={name}"]).stdout.strip())
    if not path.is_absolute():
        raise DemoError(f"gcc has no {name}; install GCC's OpenMP runtime (libgomp1, libgomp)")
    return path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.resolve(), target)


def _other_headers(_directory: str, names: list[str]) -> set[str]:
    wanted = {"cblas.h", "f77blas.h", "openblas_config.h"}
    return {name for name in names if name not in wanted}


def _licences(prefix: Path, *owners: str) -> list[Path]:
    """Return the licence files of the first of `owners` (patterns) that has one in a documentation directory."""
    own = [path for pattern in ("LICENSE*", "COPYING*") for path in prefix.glob(pattern)]
    for owner in owners:
        for name in ("copyright", "LICENSE*", "COPYING*"):
            found = [path for top in ("doc", "licenses") for path in prefix.glob(f"share/{top}/{owner}/{name}")]
            if found:
                return sorted(found)
    return own


def _licence(tree: Path, package: str, files: Sequence[Path]) -> None:
    if not files:
        raise DemoError(
            f"no licence text was found for {package}, and a wheel that carries a library carries its licence. "
            "Name the file with --license."
        )
    target = tree / "share/doc" / package / "copyright"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"\n".join(file.read_bytes() for file in files))
