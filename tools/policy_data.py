"""Write or check nativelib/policy/data from the policies of auditwheel.

``python tools/policy_data.py --check`` compares (exit code 1 if the figures differ), ``--write`` replaces. Both take
the auditwheel of the environment, or with ``--newest`` the newest one that pip finds (exit code 2 if it finds none),
which is not installed. Its figures are taken, its code is not used.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "nativelib" / "policy" / "data"

# Where the figures under each key come from. auditwheel collects them; these are what it collects them from.
SOURCES = {
    "manylinux": {
        "name": "PEP 600; priorities in auditwheel's manylinux-policy.json give the order",
        "aliases": "PEP 600, section 'Legacy manylinux tags'",
        "architectures": "PEP 513 (2_5), PEP 571 (2_12), PEP 599 (2_17); since then those of the distributions "
        "that were read",
        "libraries": "PEP 513, 571 and 599; libz, libatomic, libanl, libexpat and libmvec are auditwheel's, "
        "after a comparison of distributions",
        "versions": "version definitions that the libraries of the distributions with this glibc have in common "
        "(GLIBC: glibc; GLIBCXX, CXXABI: libstdc++; GCC: libgcc_s; LIBATOMIC: libatomic; ZLIB: zlib), "
        "as read by auditwheel's scripts/calculate_symbol_versions.py",
        "forbids": "libz: exports that distributions' zlib do not have in common (auditwheel 5.0); libc, libm, "
        "libpthread: symbols of glibc 2.18 whose version node some builds of 2.17 have already (auditwheel 6.5.1)",
        "permits": "as forbids; glibc's symbols from the first policy whose glibc is 2.18 or newer",
    },
    "musllinux": {
        "name": "PEP 656",
        "architectures": "Alpine Linux: 3.12 (musl 1.1), 3.16 and later (musl 1.2)",
        "libraries": "PEP 656 (the C library); libz is auditwheel's",
        "forbids": "exports that Alpine's zlib and others do not have in common (auditwheel 5.0)",
    },
    "android": {
        "name": "PEP 738; the API levels at which the list of libraries changed",
        "architectures": "PEP 738 and auditwheel (aarch64, x86_64); the NDK's 32-bit ABIs have the same libraries",
        "libraries": "NDK guide 'Android NDK Native APIs'; lib*_python.so come with CPython for Android",
    },
}
FAMILIES = tuple(SOURCES)

# Architectures of which auditwheel's file does not speak, though they have the tags and the libraries.
FURTHER_ARCHITECTURES = {"android": {"armv7l", "i686"}}

Versions = dict[str, dict[str, set[str]]]


@dataclass(frozen=True)
class Auditwheel:
    """The policy files of one release of auditwheel."""

    version: str
    texts: dict[str, str]


def installed() -> Auditwheel:
    """Return the policies of the auditwheel in this environment."""
    directory = resources.files("auditwheel") / "policy"
    texts = {family: (directory / f"{family}-policy.json").read_text("utf-8") for family in FAMILIES}
    return Auditwheel(metadata.version("auditwheel"), texts)


def newest() -> Auditwheel:
    """Return the policies of the newest release that pip finds; :class:`SystemExit` with 2 if it finds none."""
    with tempfile.TemporaryDirectory() as directory:
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
        done = subprocess.run([*argv, "--dest", directory, "auditwheel"], capture_output=True, text=True, check=False)
        wheels = list(Path(directory).glob("auditwheel-*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            print(f"the newest auditwheel cannot be had from the package index: {reason}", file=sys.stderr)
            raise SystemExit(2)
        with zipfile.ZipFile(wheels[0]) as archive:
            names = {family: f"auditwheel/policy/{family}-policy.json" for family in FAMILIES}
            texts = {family: archive.read(name).decode("utf-8") for family, name in names.items()}
        return Auditwheel(wheels[0].name.split("-")[1], texts)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts 2.9 before 2.10, and numbers before words."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"[._]", text))


def words(names: Any) -> str:
    """Return *names*, sorted, in one string."""
    return " ".join(sorted(names, key=natural))


def source_policies(text: str) -> list[dict[str, Any]]:
    """Return the policies of auditwheel's file *text*, oldest first, without the catch-all ``linux``."""
    policies = [policy for policy in json.loads(text) if policy["name"] != "linux"]
    return sorted(policies, key=lambda policy: -policy["priority"])


def added_versions(policy: dict[str, Any], known: Versions) -> dict[str, dict[str, str]]:
    """Return what *policy* adds to *known*, as prefix -> architectures -> versions, and update *known*."""
    holders: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for architecture, prefixes in policy["symbol_versions"].items():
        have = known.setdefault(architecture, defaultdict(set))
        for prefix, versions in prefixes.items():
            lost = have[prefix] - set(versions)
            if lost:
                raise SystemExit(f"{policy['name']}_{architecture} lacks {prefix} {sorted(lost)} of an older policy")
            for version in set(versions) - have[prefix]:
                holders[prefix][version].add(architecture)
            have[prefix].update(versions)
    everyone = words(policy["symbol_versions"])
    out: dict[str, dict[str, str]] = {}
    for prefix, by_version in sorted(holders.items()):
        groups: dict[str, set[str]] = defaultdict(set)
        for version, architectures in by_version.items():
            group = words(architectures)
            groups["all" if group == everyone else group].add(version)
        out[prefix] = {group: words(versions) for group, versions in sorted(groups.items())}
    return out


def forbidden_changes(policy: dict[str, Any], forbidden: dict[str, set[str]], *, first: bool) -> dict[str, Any]:
    """Return what *policy* forbids (the oldest) or permits again (the others), and update *forbidden*."""
    now = {soname: set(names) for soname, names in policy["blacklist"].items()}
    if first:
        forbidden.update(now)
        return {"forbids": {soname: words(names) for soname, names in sorted(now.items())}}
    permits = {}
    for soname in sorted(forbidden | now):
        more = now.get(soname, set()) - forbidden.get(soname, set())
        if more:
            raise SystemExit(f"{policy['name']} forbids {sorted(more)} of {soname}, which an older policy allows")
        if fewer := forbidden[soname] - now.get(soname, set()):
            permits[soname] = words(fewer)
            forbidden[soname] -= fewer
    return {"permits": permits}


def compact(family: str, source: Auditwheel) -> dict[str, Any]:
    """Return our document for *family*: each policy says only what it adds to the older ones."""
    policies = source_policies(source.texts[family])
    prefixes = {prefix for p in policies for versions in p["symbol_versions"].values() for prefix in versions}
    known: Versions = {}
    forbidden: dict[str, set[str]] = {}
    libraries: set[str] = set()
    entries = []
    for position, policy in enumerate(policies):
        if lost := libraries - set(policy["lib_whitelist"]):
            raise SystemExit(f"{policy['name']} does not allow {sorted(lost)}, which an older policy does")
        entry = {
            "name": policy["name"],
            "aliases": words(policy["aliases"]),
            "architectures": words({*policy["symbol_versions"], *FURTHER_ARCHITECTURES.get(family, ())}),
            "libraries": words(set(policy["lib_whitelist"]) - libraries),
            "versions": added_versions(policy, known),
            **forbidden_changes(policy, forbidden, first=position == 0),
        }
        libraries.update(policy["lib_whitelist"])
        entries.append({key: value for key, value in entry.items() if value})
    return {
        "source": f"auditwheel {source.version}",
        "sources": SOURCES[family],
        "prefixes": words(prefixes),
        "policies": entries,
    }


def render(document: dict[str, Any]) -> str:
    """Return the text of the data file."""
    return json.dumps(document, indent=1) + "\n"


def stale(family: str, source: Auditwheel) -> list[str]:
    """Return the differences between our file of *family* and *source*, as a diff; the release's number is none."""
    path = DATA / f"{family}.json"
    ours: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    theirs = compact(family, source)
    old, new = (render({**document, "source": ""}).splitlines() for document in (ours, theirs))
    return list(difflib.unified_diff(old, new, path.name, f"auditwheel {source.version}", lineterm=""))


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0 equal or written, 1 different."""
    parser = argparse.ArgumentParser(description="Write or check nativelib/policy/data from auditwheel's policies.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="compare, and exit with 1 if the figures differ")
    mode.add_argument("--write", action="store_true", help="replace the data files")
    parser.add_argument("--newest", action="store_true", help="the newest auditwheel that pip finds, not the installed")
    options = parser.parse_args(arguments)
    source = newest() if options.newest else installed()
    if options.write:
        for family in FAMILIES:
            (DATA / f"{family}.json").write_text(render(compact(family, source)), "utf-8")
        return 0
    differences = [line for family in FAMILIES for line in stale(family, source)]
    for line in differences:
        print(line)
    print(f"compared with auditwheel {source.version}: {'stale' if differences else 'the same'}", file=sys.stderr)
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
