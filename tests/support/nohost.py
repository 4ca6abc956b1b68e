"""Processes in which the host's own copies of shared libraries cannot be found by name.

A test that shows where a library comes from proves nothing on a machine that has the library anyway. Three ways are
tried, and the chosen one is checked with the libraries that the host really has:

* there is no host copy: nothing to do;
* a mount namespace in which each library directory is a view of itself without those files (root, or user namespaces);
* an rtld-audit library (rtld-audit(7)) that answers "not there" for those names in the loader's cache and default
  directories.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.cc import shared_library
from tests.support.tools import lacking
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEMS = (
    "libgomp",
    "libomp",
    "libiomp5",
    "libgfortran",
    "libquadmath",
    "libopenblas",
    "libblas",
    "liblapack",
    "libcblas",
)
"""Libraries that library wheels of the tests carry."""

_DEFAULT_DIRECTORIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiding:
    """How to start a process without the host's libraries: *prefix* before its command, *env* in its variables."""

    how: str
    prefix: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def hide_host_libraries(directory: Path, stems: Sequence[str] = STEMS) -> Hiding:
    """Return a way to start processes that cannot find libraries of *stems* on the host; *directory* is for its files.

    Where no way works, the test is skipped, or fails if ``CI`` is set.
    """
    files = host_files(stems)
    if not files:
        return Hiding(how="the host has none")
    directory.mkdir(parents=True, exist_ok=True)
    for make in (_by_mounts, _by_audit):
        hiding = make(directory, stems, files)
        if hiding is not None and _works(hiding, files):
            return hiding
    lacking("a way to hide libraries of the host (mount namespaces, or an audit library)")


def host_files(stems: Sequence[str] = STEMS) -> tuple[Path, ...]:
    """Return the files that the dynamic loader of the host finds by name for *stems*."""
    wanted = re.compile(rf"({'|'.join(map(re.escape, stems))})[-.].*so(\.|$)")
    ldconfig = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    listing = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout if ldconfig else ""
    cached = [Path(line.split(" => ")[1]) for line in listing.splitlines() if " => " in line]
    triplet = f"{os.uname().machine}-linux-gnu"
    directories = [Path(d, sub) for d in _DEFAULT_DIRECTORIES for sub in ("", triplet)]
    directories += [path.parent for path in cached]
    unique = {d.resolve() for d in directories if d.is_dir()}
    return tuple(sorted(f for d in unique for f in d.iterdir() if wanted.match(f.name)))


def mapped_files(maps: str | int) -> dict[str, int]:
    """Return path and inode of every file that a process has mapped: of a pid, or from the text of its ``maps``."""
    text = Path(f"/proc/{maps}/maps").read_text() if isinstance(maps, int) else maps
    rows = [line.split(maxsplit=5) for line in text.splitlines()]
    return {row[5]: int(row[4]) for row in rows if len(row) == 6 and row[5].startswith("/")}


def _by_mounts(directory: Path, stems: Sequence[str], files: Sequence[Path]) -> Hiding | None:
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    # The view is made complete before it covers the directory: mount, ln and rm need libraries from there themselves.
    lines = ["set -e"]
    for number, covered in enumerate(sorted({str(f.parent) for f in files})):
        real, view = directory / f"real{number}", directory / f"view{number}"
        real.mkdir(exist_ok=True)
        view.mkdir(exist_ok=True)
        gone = [view / f.name for f in files if str(f.parent) == covered]
        lines += [
            shlex.join(["mount", "--rbind", covered, str(real)]),
            shlex.join(["mount", "-t", "tmpfs", "view", str(view)]),
            f"ln -s {shlex.quote(str(real))}/* {shlex.quote(str(view))}/",
            shlex.join(["rm", *map(str, gone)]),
            shlex.join(["mount", "--bind", str(view), covered]),
        ]
    script = directory / "without-host-libraries.sh"
    script.write_text("\n".join([*lines, 'exec "$@"', ""]))
    namespaces = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    return Hiding(how="mount namespace", prefix=(unshare, *namespaces, "sh", str(script)))


def _by_audit(directory: Path, stems: Sequence[str], files: Sequence[Path]) -> Hiding | None:
    if shutil.which("gcc") is None:
        return None
    names = ", ".join(f'"{stem}"' for stem in stems)
    source = f"""
    #define _GNU_SOURCE
    #include <link.h>
    #include <string.h>
    static const char *stems[] = {{{names}}};
    unsigned int la_version(unsigned int version) {{ return LAV_CURRENT; }}
    char *la_objsearch(const char *name, uintptr_t *cookie, unsigned int flag) {{
        const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
        if (flag == LA_SER_CONFIG || flag == LA_SER_DEFAULT)
            for (unsigned i = 0; i < sizeof stems / sizeof *stems; i++) {{
                size_t n = strlen(stems[i]);
                if (!strncmp(base, stems[i], n) && (base[n] == '.' || base[n] == '-')) return 0;
            }}
        return (char *)name;
    }}
    """
    audit = shared_library(directory, "without_host_libraries.so", source)
    return Hiding(how="audit library", env={"LD_AUDIT": str(audit)})


def _works(hiding: Hiding, files: Sequence[Path]) -> bool:
    """Return whether a process that is started so still runs, and finds none of *files* that it finds without."""
    names = sorted({f.name for f in files if ".so." in f.name})
    code = f"""
import ctypes, json, socket, zlib
found = []
for name in {names!r}:
    try: ctypes.CDLL(name)
    except OSError as problem: pass
    else: found.append(name)
print(json.dumps(found))
"""
    argv = [*hiding.prefix, sys.executable, "-I", "-c", code]
    done = subprocess.run(argv, env=clean_environment(hiding.env), capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == "[]"
