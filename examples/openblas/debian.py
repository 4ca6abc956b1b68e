"""Get OpenBLAS and GCC's OpenMP runtime from the packages of Debian or Ubuntu, without root."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from steps import DemoError, Runner, say
from tree import BY_PREFIX, FLAVOURS, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def from_debian(runner: Runner, cache: Path, tree: Path) -> Tree:
    """Download the packages to `cache` unless they are there, unpack what is needed to `tree` and return it.

    Raise `DemoError` when there is no apt or the download fails.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise DemoError(
            "there is no apt here to get OpenBLAS with. Install or compile OpenBLAS and name its prefix:\n"
            f"{BY_PREFIX}\n"
            "The prefix needs lib/libopenblas.so.0 and include/cblas.h."
        )
    files = fetch(runner, cache, PACKAGES, optional=(f"libgomp1-{_architecture(runner)}-cross",))
    unpack(files, tree, WANTED)
    version = re.match(
        r"libgomp1_(?:\d+%3a)?(\d+(?:\.\d+)*)", next(f.name for f in files if f.name.startswith("libgomp1_"))
    )
    return Tree(
        prefix=tree / "usr",
        flavours=FLAVOURS,
        openmp_version=version[1] if version else "0",
        other_openmp=next((path.parent for path in tree.glob("usr/*-linux-*/lib/libgomp.so.1")), None),
    )


def fetch(
    runner: Runner, cache: Path, packages: Sequence[str], *, newest: str = "", optional: Sequence[str] = ()
) -> tuple[Path, ...]:
    """Return the files of `packages`, downloaded below `cache` unless they are there.

    With them comes gcc-N-base, in which the licences of GCC's libraries lie. `newest` is the beginning of a package's
    name that ends in a number: of those the highest is taken, too. What is `optional` may be missing. Raise `DemoError`
    if a download fails.
    """
    architecture = _architecture(runner)
    debs = cache / f"{_release()}-{architecture}"
    wanted = [*packages, "gcc-*-base", *([f"{newest}*"] if newest else [])]
    files = _cached(debs, wanted, optional)
    if files is None:
        _download(runner, debs, architecture, packages, newest, optional)
        files = _cached(debs, wanted, optional)
    if files is None:
        raise DemoError(f"apt-get downloaded, but {debs} does not hold one file of each package")
    return files


def _architecture(runner: Runner) -> str:
    return runner.run(["dpkg", "--print-architecture"]).stdout.strip()


def _release() -> str:
    text = Path("/etc/os-release").read_text(encoding="utf-8") if Path("/etc/os-release").exists() else ""
    values = dict(re.findall(r'^(ID|VERSION_ID)="?([\w.]+)"?$', text, re.MULTILINE))
    return f"{values.get('ID', 'unknown')}-{values.get('VERSION_ID', 'rolling')}"


def _cached(debs: Path, wanted: Sequence[str], optional: Sequence[str]) -> tuple[Path, ...] | None:
    """Return a file for each pattern of `wanted`, and what there is of `optional`; None if one is missing."""
    found = [sorted(debs.glob(f"{name}_*.deb")) for name in wanted]
    if not all(found):
        return None
    return (*(files[-1] for files in found), *(file for name in optional for file in debs.glob(f"{name}_*.deb")))


def _download(
    runner: Runner, debs: Path, architecture: str, packages: Sequence[str], newest: str, optional: Sequence[str]
) -> None:
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
    here = replace(runner, directory=debs)
    # A source of the host that does not answer is no reason to stop: the download shows whether Debian's did.
    _apt(here, ["apt-get", "update"], "apt-get update", may_fail=True)
    try:
        text = _apt(here, ["apt-cache", "show", "libgomp1"], "apt-cache show libgomp1").stdout
        base = re.search(r"\bgcc-\d+-base\b", text)
        names = [*packages, *([base[0]] if base else []), *_newest(here, newest)]
        first = f"apt-get download {names[0]} {names[1]} ... ({len(names)} packages)"
        _apt(here, ["apt-get", "download", *names], first)
    except DemoError as problem:
        raise DemoError(
            f"{problem}\n\napt cannot fetch the packages of OpenBLAS. Is the network there? If apt's sources do not "
            f"have them, name the prefix of an OpenBLAS:\n{BY_PREFIX}"
        ) from problem
    # Such as another build of the same runtime, which the cross compilers of other machines use: not in every release.
    for other in optional:
        _apt(here, ["apt-get", "download", other], f"apt-get download {other}", may_fail=True)
    shutil.rmtree(state)
    (debs / "apt.conf").unlink()


def _newest(here: Runner, beginning: str) -> list[str]:
    if not beginning:
        return []
    names = _apt(here, ["apt-cache", "pkgnames", beginning], f"apt-cache pkgnames {beginning}").stdout.split()
    numbers = [int(name[len(beginning) :]) for name in names if name[len(beginning) :].isdecimal()]
    return [f"{beginning}{max(numbers)}"] if numbers else []


def _apt(
    runner: Runner, command: Sequence[str], show: str, *, may_fail: bool = False
) -> subprocess.CompletedProcess[str]:
    return runner.run([command[0], "-c", "apt.conf", "-q", *command[1:]], show=show, may_fail=may_fail)


def unpack(files: Sequence[Path], tree: Path, wanted: re.Pattern[str]) -> None:
    """Unpack the members whose names are `wanted` to `tree`; nothing happens if it was done.

    So the 100 MB of static libraries stay packed. Raise `DemoError` for a damaged package, which is removed.
    """
    mark, content = tree / ".unpacked", "\n".join(file.name for file in files)
    if mark.exists() and mark.read_text(encoding="utf-8") == content:
        say(f"  {tree.name}: {len(files)} packages are unpacked already")
        return
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    say(f"  unpack {len(files)} packages to {tree.name}")
    for file in files:
        try:
            _extract(file, tree, wanted)
        except (tarfile.TarError, EOFError, subprocess.CalledProcessError) as problem:
            file.unlink()
            raise DemoError(f"{file} was damaged and has been removed; start again") from problem
    mark.write_text(content, encoding="utf-8")


def _extract(file: Path, tree: Path, wanted: re.Pattern[str]) -> None:
    """Raise `tarfile.TarError`, `EOFError` or `CalledProcessError` if `file` is not a whole package."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        # Python before 3.11.4 has no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        for member in archive:
            if wanted.fullmatch(member.name) and not (member.isdir() and "/doc/" not in member.name):
                archive.extract(member, tree)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
