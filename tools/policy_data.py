"""Write or check nativelib/policy/data from the policies of an installed auditwheel.

``python tools/policy_data.py --check`` compares (exit code 1 if they differ), ``--write`` replaces.
Needs auditwheel in the environment; its figures are taken, its code is not used.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections import defaultdict
from importlib import metadata, resources
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "nativelib" / "policy" / "data"
FAMILIES = ("manylinux", "musllinux")

Versions = dict[str, dict[str, set[str]]]


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts 2.9 before 2.10, and numbers before words."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"[._]", text))


def words(names: Any) -> str:
    """Return *names*, sorted, in one string."""
    return " ".join(sorted(names, key=natural))


def source_policies(family: str) -> list[dict[str, Any]]:
    """Return auditwheel's policies of *family*, oldest first, without the catch-all ``linux``."""
    text = resources.files("auditwheel").joinpath("policy", f"{family}-policy.json").read_text("utf-8")
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


def compact(family: str) -> dict[str, Any]:
    """Return our document for *family*: each policy says only what it adds to the older ones."""
    policies = source_policies(family)
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
            "architectures": words(policy["symbol_versions"]),
            "libraries": words(set(policy["lib_whitelist"]) - libraries),
            "versions": added_versions(policy, known),
            **forbidden_changes(policy, forbidden, first=position == 0),
        }
        libraries.update(policy["lib_whitelist"])
        entries.append({key: value for key, value in entry.items() if value})
    source = f"auditwheel {metadata.version('auditwheel')}"
    return {"source": source, "prefixes": words(prefixes), "policies": entries}


def render(document: dict[str, Any]) -> str:
    """Return the text of the data file."""
    return json.dumps(document, indent=1) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0 equal or written, 1 different."""
    parser = argparse.ArgumentParser(description="Write or check nativelib/policy/data from an installed auditwheel.")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="compare, and exit with 1 if they differ")
    mode.add_argument("--write", action="store_true", help="replace the data files")
    options = parser.parse_args(arguments)
    different = False
    for family in FAMILIES:
        path = DATA / f"{family}.json"
        text = render(compact(family))
        if options.write:
            path.write_text(text, "utf-8")
            continue
        ours = path.read_text("utf-8") if path.exists() else ""
        diff = list(difflib.unified_diff(ours.splitlines(), text.splitlines(), str(path), "installed", lineterm=""))
        different = different or bool(diff)
        for line in diff:
            print(line)
    return int(different)


if __name__ == "__main__":
    sys.exit(main())
