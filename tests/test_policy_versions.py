"""Symbol versions at the borders of policies, in files that a linker made; newer policies only ever allow more."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from nativelib.facts.elf import MACHINES, Libc
from nativelib.policy.judge import ObstacleKind, judge, lookup, obstacles_to, policies_for
from nativelib.read.elf import read_elf_file
from tests.support.cc import shared_library

if TYPE_CHECKING:
    from pathlib import Path

    from nativelib.facts.elf import ElfFacts

LIBRARIES = {
    "GLIBC": "libc.so.6",
    "GLIBCXX": "libstdc++.so.6",
    "CXXABI": "libstdc++.so.6",
    "GCC": "libgcc_s.so.1",
    "ZLIB": "libz.so.1",
    "LIBATOMIC": "libatomic.so.1",
}
"""Every prefix that is judged, with the library that defines it."""


def needing(directory: Path, library: str, node: str, *, weak: bool = False) -> ElfFacts:
    """Link a file against a *library* that defines its only symbol under the version *node*."""
    here = directory / f"{library}-{node}"
    stub = shared_library(
        here,
        library,
        "int taken(void) { return 1; }",
        soname=library,
        version_script=f"{node} {{ global: taken; local: *; }};",
        flags=["-nostdlib"],
    )
    attribute = "__attribute__((weak)) " if weak else ""
    source = f"extern {attribute}int taken(void); int use(void) {{ return taken(); }}"
    return read_elf_file(shared_library(here, "user.so", source, needed=[stub], flags=["-nostdlib"]))


def borders(prefix: str) -> list[tuple[str, str, str]]:
    """Return (older policy, newer policy, a version that the newer adds) wherever x86_64 has such a border."""
    found = []
    for older, newer in pairwise(policies_for(Libc.GLIBC, "x86_64")):
        added = newer.symbol_versions[prefix] - older.symbol_versions[prefix]
        found += [(older.name, newer.name, min(added))] if added else []
    return found


def test_every_prefix_of_the_data_is_tried() -> None:
    prefixes = {prefix for policy in policies_for(Libc.GLIBC, "x86_64") for prefix in policy.symbol_versions}
    assert prefixes == set(LIBRARIES)
    assert all(borders(prefix) for prefix in LIBRARIES)


@pytest.mark.parametrize("prefix", sorted(LIBRARIES))
def test_a_version_that_a_policy_adds_needs_this_policy(prefix: str, tmp_path: Path) -> None:
    library = LIBRARIES[prefix]
    for older, newer, number in borders(prefix):
        node = f"{prefix}_{number}"
        facts = needing(tmp_path, library, node)
        assert [(need.library, need.version) for need in facts.version_needs] == [(library, node)]
        verdict = judge({"a.so": facts}, {"a.so": frozenset({library})}, libc=Libc.GLIBC, architecture="x86_64")
        assert verdict.tag == f"{newer}_x86_64"
        assert verdict.versioned_symbols == {library: {node}}
        first = verdict.obstacles[0]
        assert (first.policy, first.member, first.kind, first.symbols) == (
            older,
            "a.so",
            ObstacleKind.VERSION,
            ("taken",),
        )
        assert first.detail == f"needs {node} of {library} (taken)"


@pytest.mark.parametrize("prefix", sorted(LIBRARIES))
def test_a_version_of_the_future_meets_no_policy(prefix: str, tmp_path: Path) -> None:
    library = LIBRARIES[prefix]
    facts = needing(tmp_path, library, f"{prefix}_99.9", weak=True)
    verdict = judge({"a.so": facts}, {"a.so": frozenset({library})}, libc=Libc.GLIBC, architecture="x86_64")
    assert (verdict.policy, verdict.tag) == (None, "linux_x86_64")


# --- monotone ---------------------------------------------------------------------------------------------------------

KINDS = [(libc, architecture) for libc in Libc for architecture in sorted(MACHINES) if policies_for(libc, architecture)]


@pytest.mark.parametrize(("libc", "architecture"), KINDS)
def test_a_newer_policy_allows_all_that_an_older_one_does(libc: Libc, architecture: str) -> None:
    policies = policies_for(libc, architecture)
    assert policies
    for older, newer in pairwise(policies):
        assert older.version < newer.version
        assert older.libraries <= newer.libraries
        assert older.symbol_versions.keys() == newer.symbol_versions.keys()
        assert all(versions <= newer.symbol_versions[prefix] for prefix, versions in older.symbol_versions.items())
        assert newer.forbidden.keys() <= older.forbidden.keys()
        assert all(names <= older.forbidden[soname] for soname, names in newer.forbidden.items())
        assert older.relr <= newer.relr


def test_an_architecture_keeps_its_policies_once_it_has_one() -> None:
    """Of manylinux, ppc64 alone has one policy and no more: its last distribution is gone."""
    names = {libc: sorted({p.version for a in MACHINES for p in policies_for(libc, a)}) for libc in Libc}
    for libc, architecture in KINDS:
        have = [policy.version for policy in policies_for(libc, architecture)]
        if (libc, architecture) != (Libc.GLIBC, "ppc64"):
            assert have == names[libc][names[libc].index(have[0]) :], (libc, architecture)


def test_levels_of_android_between_those_of_the_data_are_monotone_too() -> None:
    policies = [policy for level in range(21, 40) if (policy := lookup(f"android_{level}_x86_64")) is not None]
    assert len(policies) == 19
    assert all(older.libraries <= newer.libraries for older, newer in pairwise(policies))
    assert [policy.version[0] for policy in policies if policy.relr] == list(range(30, 40))


def test_what_one_policy_forbids_is_told_from_a_real_file(tmp_path: Path) -> None:
    """glibc 2.17 of some distributions has the version node GLIBC_2.18 for other symbols."""
    stub = shared_library(
        tmp_path,
        "libc.so.6",
        "int __cxa_thread_atexit_impl(void) { return 1; }",
        soname="libc.so.6",
        version_script="GLIBC_2.18 { global: *; };",
        cc="aarch64-linux-gnu-gcc",
        flags=["-nostdlib"],
    )
    for attribute, met in (("", False), ("__attribute__((weak))", True)):
        declared = f"extern int {attribute} __cxa_thread_atexit_impl(void);"
        source = f"{declared} int f(void) {{ return __cxa_thread_atexit_impl(); }}"
        path = shared_library(
            tmp_path, "user.so", source, needed=[stub], cc="aarch64-linux-gnu-gcc", flags=["-nostdlib"]
        )
        policy = lookup("manylinux_2_17_aarch64")
        assert policy is not None
        obstacles = obstacles_to(policy, {"a.so": read_elf_file(path)}, {"a.so": frozenset({"libc.so.6"})})
        assert (not obstacles) == met
        assert all(obstacle.kind is ObstacleKind.FORBIDDEN for obstacle in obstacles)
