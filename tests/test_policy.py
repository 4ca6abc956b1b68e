from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nativelib.facts.elf import MACHINES, ElfFacts, Import, Libc, VersionNeed
from nativelib.facts.wheel import WheelName
from nativelib.policy.judge import (
    ObstacleKind,
    Policy,
    is_loader,
    judge,
    lookup,
    obstacles_to,
    policies_for,
    policy_libraries,
)

NOTHING: dict[str, frozenset[str]] = {}


def elf(architecture: str = "x86_64", **values: Any) -> ElfFacts:
    """Return facts of an extension that needs nothing, but for *values*."""
    plain: dict[str, Any] = {
        "machine": MACHINES[architecture],
        "e_type": 3,
        "e_flags": 0x05000400 if architecture == "armv7l" else 0,
        "dynamic": True,
        "interpreter": None,
        "soname": None,
        "needed": (),
        "rpath": (),
        "runpath": (),
        "version_needs": (),
        "version_definitions": (),
        "version_base": None,
        "imports": frozenset(),
        "exports": frozenset(),
        "build_id": None,
        "isa_needed": frozenset(),
        "relr": False,
        "sections": True,
        "load_end": 0,
        "size": 0,
        "sha256": "",
    }
    return ElfFacts(**(plain | values))


def needing(*versions: str, library: str = "libc.so.6", architecture: str = "x86_64", **values: Any) -> ElfFacts:
    """Return facts of a file that needs *versions* of *library*."""
    needs = tuple(VersionNeed(library, version) for version in versions)
    return elf(architecture, needed=(library,), version_needs=needs, **values)


def policy(tag: str) -> Policy:
    found = lookup(tag)
    assert found is not None
    return found


def tag_of(*files: ElfFacts, libc: Libc = Libc.GLIBC, architecture: str = "x86_64", **options: Any) -> str:
    """Return the tag of *files*, all of whose needs come from the system."""
    named = {f"pkg/{number}.so": facts for number, facts in enumerate(files)}
    external = {name: frozenset(facts.needed) for name, facts in named.items()}
    return judge(named, external, libc=libc, architecture=architecture, **options).tag


# --- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "tag"),
    [
        ([], "manylinux_2_5_x86_64"),
        (["GLIBC_2.2.5"], "manylinux_2_5_x86_64"),
        (["GLIBC_2.2.5", "GLIBC_2.6"], "manylinux_2_12_x86_64"),
        (["GLIBC_2.14"], "manylinux_2_17_x86_64"),
        (["GLIBC_2.34"], "manylinux_2_34_x86_64"),
        (["GLIBC_2.999"], "linux_x86_64"),
        (["GLIBC_PRIVATE"], "linux_x86_64"),
        (["GLIBC_ABI_DT_RELR"], "manylinux_2_36_x86_64"),
        (["SOMETHING_9.9"], "manylinux_2_5_x86_64"),
        (["GLIBC"], "linux_x86_64"),
    ],
)
def test_glibc_versions(versions: list[str], tag: str) -> None:
    assert tag_of(needing(*versions)) == tag


@pytest.mark.parametrize(
    ("library", "version", "tag"),
    [
        ("libstdc++.so.6", "GLIBCXX_3.4.21", "manylinux_2_24_x86_64"),
        ("libstdc++.so.6", "CXXABI_TM_1", "manylinux_2_17_x86_64"),
        ("libgcc_s.so.1", "GCC_4.3.0", "manylinux_2_12_x86_64"),
        ("libz.so.1", "ZLIB_1.2.9", "manylinux_2_27_x86_64"),
        ("libatomic.so.1", "LIBATOMIC_1.0", "manylinux_2_24_x86_64"),
        ("ld-linux-x86-64.so.2", "GLIBC_2.3", "manylinux_2_5_x86_64"),
        ("ld-linux-x86-64.so.2", "GLIBC_2.35", "manylinux_2_35_x86_64"),
    ],
)
def test_versions_of_other_libraries(library: str, version: str, tag: str) -> None:
    assert tag_of(needing(version, library=library)) == tag


def test_other_architectures_have_versions_of_their_own() -> None:
    assert tag_of(needing("GLIBC_2.18", architecture="aarch64"), architecture="aarch64") == "manylinux_2_17_aarch64"
    assert tag_of(needing("GLIBC_2.4", architecture="aarch64"), architecture="aarch64") == "linux_aarch64"
    assert tag_of(needing("GLIBC_2.27", architecture="riscv64"), architecture="riscv64") == "manylinux_2_31_riscv64"


def test_the_neediest_file_decides() -> None:
    assert tag_of(needing("GLIBC_2.5"), needing("GLIBC_2.28"), elf()) == "manylinux_2_28_x86_64"


def test_versions_of_a_library_in_the_wheel_are_not_the_systems() -> None:
    grafted = needing("GLIBCXX_3.4.33", library="libstdc++-0a1b2c3d.so.6")
    verdict = judge({"a.so": grafted}, NOTHING, libc=Libc.GLIBC, architecture="x86_64")
    assert verdict.tag == "manylinux_2_5_x86_64"
    assert not verdict.versioned_symbols


def test_versions_of_a_policy_library_count_even_if_the_wheel_has_one() -> None:
    verdict = judge({"a.so": needing("GLIBC_2.28")}, NOTHING, libc=Libc.GLIBC, architecture="x86_64")
    assert verdict.tag == "manylinux_2_28_x86_64"


def test_versions_of_any_library_from_the_system_count() -> None:
    files, external = {"a.so": needing("GLIBC_2.28", library="libdriver.so.1")}, {"a.so": frozenset({"libdriver.so.1"})}
    verdict = judge(files, external, libc=Libc.GLIBC, architecture="x86_64")
    assert verdict.versioned_symbols == {"libdriver.so.1": {"GLIBC_2.28"}}
    refused = {o.policy for o in verdict.obstacles if o.kind is ObstacleKind.VERSION}
    assert refused == {p.name for p in policies_for(Libc.GLIBC, "x86_64") if p.version < (2, 28)}


def test_weak_version_needs_count() -> None:
    facts = elf(needed=("libc.so.6",), version_needs=(VersionNeed("libc.so.6", "GLIBC_2.18", weak=True),))
    assert tag_of(facts) == "manylinux_2_24_x86_64"


def test_versioned_symbols_are_collected_over_all_files() -> None:
    files = {
        "a.so": needing("GLIBC_2.5", "GLIBC_2.28"),
        "b.so": needing("GLIBC_2.14"),
        "c.so": needing("CXXABI_1.3", library="libstdc++.so.6"),
        "d.so": needing("GLIBC_2.3", library="ld-linux-x86-64.so.2"),
        "e.so": needing("GFORTRAN_8", library="libgfortran-040039e1.so.5"),
    }
    verdict = judge(files, NOTHING, libc=Libc.GLIBC, architecture="x86_64")
    assert verdict.versioned_symbols == {
        "libc.so.6": {"GLIBC_2.5", "GLIBC_2.14", "GLIBC_2.28"},
        "libstdc++.so.6": {"CXXABI_1.3"},
    }


# --- why not ----------------------------------------------------------------------------------------------------------


def test_obstacles_say_who_needs_what_for_every_older_policy() -> None:
    imports = frozenset(Import(f"f{n}", "GLIBC_2.14", "libc.so.6") for n in range(5))
    old = {Import("memcpy", "GLIBC_2.2.5", "libc.so.6"), Import("g", "GLIBC_2.14", "libm.so.6")}
    verdict = judge(
        {"pkg/a.so": needing("GLIBC_2.2.5", "GLIBC_2.14", imports=imports | old), "pkg/b.so": needing("GLIBC_2.5")},
        NOTHING,
        libc=Libc.GLIBC,
        architecture="x86_64",
    )
    assert verdict.policy is policy("manylinux2014_x86_64")
    assert [o.policy for o in verdict.obstacles] == ["manylinux_2_12", "manylinux_2_5"]
    assert {o.member for o in verdict.obstacles} == {"pkg/a.so"}
    first = verdict.obstacles[0]
    assert first.kind is ObstacleKind.VERSION
    assert first.detail == "needs GLIBC_2.14 of libc.so.6 (f0, f1, f2 and 2 more)"
    assert first.symbols == ("f0", "f1", "f2", "f3", "f4")


def test_a_library_that_no_policy_allows() -> None:
    facts = elf(needed=("libc.so.6", "libfoo.so.1"))
    files, external = {"a.so": facts}, {"a.so": frozenset({"libc.so.6", "libfoo.so.1"})}
    verdict = judge(files, external, libc=Libc.GLIBC, architecture="x86_64")
    assert (verdict.policy, verdict.tag) == (None, "linux_x86_64")
    assert [o.policy for o in verdict.obstacles] == [p.name for p in reversed(policies_for(Libc.GLIBC, "x86_64"))]
    assert {(o.member, o.kind) for o in verdict.obstacles} == {("a.so", ObstacleKind.LIBRARY)}
    assert "libfoo.so.1" in verdict.obstacles[0].detail
    inside = judge(files, {"a.so": frozenset({"libc.so.6"})}, libc=Libc.GLIBC, architecture="x86_64")
    assert inside.tag == "manylinux_2_5_x86_64"


def test_libraries_that_came_later() -> None:
    assert tag_of(elf(needed=("libexpat.so.1",))) == "manylinux_2_12_x86_64"
    assert tag_of(elf(needed=("libmvec.so.1",))) == "manylinux_2_24_x86_64"
    assert tag_of(elf(needed=("ld-linux-x86-64.so.2",))) == "manylinux_2_5_x86_64"


@pytest.mark.parametrize(
    ("imported", "tag"),
    [
        (Import("deflate_copyright"), "linux_x86_64"),
        (Import("crc_fold_init"), "manylinux_2_36_x86_64"),
        (Import("deflate_copyright", weak=True), "manylinux_2_5_x86_64"),
        (Import("deflate_copyright", "MY_1", "libmine.so"), "manylinux_2_5_x86_64"),
        (Import("inflate"), "manylinux_2_5_x86_64"),
    ],
)
def test_forbidden_symbols(imported: Import, tag: str) -> None:
    assert tag_of(elf(needed=("libz.so.1",), imports=frozenset({imported}))) == tag
    assert tag_of(elf(needed=("libc.so.6",), imports=frozenset({imported}))) == "manylinux_2_5_x86_64"


def test_forbidden_symbols_are_named() -> None:
    facts = elf(needed=("libz.so.1",), imports=frozenset({Import("crc_fold_init"), Import("inflate")}))
    (obstacle,) = obstacles_to(policy("manylinux1_x86_64"), {"a.so": facts}, NOTHING)
    assert (obstacle.kind, obstacle.symbols) == (ObstacleKind.FORBIDDEN, ("crc_fold_init",))
    assert obstacle.detail == "needs symbols that not every libz.so.1 exports (crc_fold_init)"
    assert obstacles_to(policy("manylinux_2_36_x86_64"), {"a.so": facts}, NOTHING) == ()


@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_instruction_sets(level: str) -> None:
    facts = elf(isa_needed=frozenset({"x86-64-baseline", level}))
    assert tag_of(facts) == "linux_x86_64"
    assert tag_of(facts, ignore_isa=True) == "manylinux_2_5_x86_64"
    assert tag_of(elf(isa_needed=frozenset({"x86-64-baseline"}))) == "manylinux_2_5_x86_64"


def test_the_highest_instruction_set_is_named() -> None:
    facts = elf(isa_needed=frozenset({"x86-64-v2", "x86-64-v4", "x86-64-v3"}))
    (obstacle,) = obstacles_to(policy("manylinux1_x86_64"), {"a.so": facts}, NOTHING)
    assert (obstacle.kind, obstacle.detail) == (ObstacleKind.ISA, "needs the instruction set x86-64-v4")
    assert obstacles_to(policy("manylinux1_x86_64"), {"a.so": facts}, NOTHING, ignore_isa=True) == ()


def test_relative_relocations() -> None:
    assert tag_of(elf(relr=True)) == "manylinux_2_36_x86_64"
    both = needing("GLIBC_ABI_DT_RELR", relr=True)
    (obstacle,) = obstacles_to(policy("manylinux_2_35_x86_64"), {"a.so": both}, NOTHING)
    assert obstacle.kind is ObstacleKind.RELR
    # musl knows them since 1.2.4, and a tag says no more than 1.2.
    assert tag_of(elf(relr=True), libc=Libc.MUSL) == "musllinux_1_2_x86_64"
    (obstacle,) = obstacles_to(policy("musllinux_1_1_x86_64"), {"a.so": elf(relr=True)}, NOTHING)
    assert obstacle.kind is ObstacleKind.RELR


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PyFPE_jbuf", ObstacleKind.PYFPE),
        ("PyFPE_counter", ObstacleKind.PYFPE),
        ("PyUnicodeUCS2_AsASCIIString", ObstacleKind.UCS2),
    ],
)
def test_symbols_of_odd_pythons(name: str, kind: ObstacleKind) -> None:
    facts = elf(imports=frozenset({Import(name), Import("PyUnicode_New")}))
    verdict = judge({"a.so": facts}, NOTHING, libc=Libc.GLIBC, architecture="x86_64")
    assert verdict.tag == "linux_x86_64"
    assert {(o.kind, o.symbols) for o in verdict.obstacles} == {(kind, (name,))}


@pytest.mark.parametrize(
    ("abi", "tag"),
    [("cp27m", "manylinux_2_5_x86_64"), ("cp27mu", "linux_x86_64"), ("none", "linux_x86_64")],
)
def test_a_wheel_may_say_that_it_is_for_narrow_unicode(abi: str, tag: str) -> None:
    facts = elf(imports=frozenset({Import("PyUnicodeUCS2_AsASCIIString")}))
    name = WheelName.parse(f"pkg-1.0-cp27-{abi}-linux_x86_64.whl")
    assert tag_of(facts, narrow=name.narrow_unicode) == tag


@pytest.mark.parametrize("flags", [0, 0x05000000, 0x05000200, 0x04000400])
def test_soft_float_arm_is_not_armv7l(flags: int) -> None:
    assert tag_of(elf("armv7l"), architecture="armv7l") == "manylinux_2_17_armv7l"
    facts = elf("armv7l", e_flags=flags)
    verdict = judge({"a.so": facts}, NOTHING, libc=Libc.GLIBC, architecture="armv7l")
    assert verdict.tag == "linux_armv7l"
    assert {o.kind for o in verdict.obstacles} == {ObstacleKind.MACHINE}


# --- musl, mixtures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["libc.so", "libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1", "libz.so.1"])
def test_names_of_musl(name: str) -> None:
    assert tag_of(elf(needed=(name,)), libc=Libc.MUSL) == "musllinux_1_2_x86_64"


def test_loaders_are_known_by_name() -> None:
    loaders = ["ld-linux-x86-64.so.2", "ld-linux.so.2", "ld64.so.1", "ld64.so.2", "ld.so.1", "ld-musl-aarch64.so.1"]
    assert all(map(is_loader, loaders))
    assert not any(map(is_loader, ["libc.so.6", "libld-linux.so", "ldap.so", "libc.so"]))


def test_an_older_musl_must_be_vouched_for() -> None:
    facts = elf(needed=("libc.musl-x86_64.so.1",))
    verdict = judge({"a.so": facts}, NOTHING, libc=Libc.MUSL, architecture="x86_64")
    assert [(o.policy, o.member, o.kind) for o in verdict.obstacles] == [
        ("musllinux_1_1", "", ObstacleKind.UNVERSIONED)
    ]
    old = policy("musllinux_1_1_x86_64")
    assert tag_of(facts, libc=Libc.MUSL, vouched=old) == "musllinux_1_1_x86_64"
    assert obstacles_to(old, {"a.so": facts}, NOTHING) == ()
    assert tag_of(elf(needed=("libfoo.so.1",)), libc=Libc.MUSL, vouched=old) == "linux_x86_64"


def test_files_of_another_architecture_or_libc_are_not_judged() -> None:
    files = {
        "a.so": needing("GLIBC_2.5"),
        "arm.so": needing("GLIBC_2.38", architecture="aarch64"),
        "musl.so": elf(needed=("libc.musl-x86_64.so.1", "libfoo.so")),
    }
    external = {name: frozenset(facts.needed) for name, facts in files.items()}
    verdict = judge(files, external, libc=Libc.GLIBC, architecture="x86_64")
    assert verdict.tag == "manylinux_2_5_x86_64"
    assert verdict.ignored == ("arm.so", "musl.so")


@pytest.mark.parametrize("files", [{}, {"arm.so": elf("aarch64")}])
def test_nothing_to_judge_meets_nothing(files: dict[str, ElfFacts]) -> None:
    verdict = judge(files, NOTHING, libc=Libc.GLIBC, architecture="x86_64")
    assert (verdict.policy, verdict.tag) == (None, "linux_x86_64")
    assert verdict.obstacles[0].kind is ObstacleKind.MACHINE
    assert obstacles_to(policy("manylinux_2_41_x86_64"), files, NOTHING)


def test_an_architecture_without_policies() -> None:
    verdict = judge({"a.so": elf("ppc64")}, NOTHING, libc=Libc.MUSL, architecture="ppc64")
    assert (verdict.policy, verdict.tag, verdict.obstacles) == (None, "linux_ppc64", ())


# --- properties -------------------------------------------------------------------------------------------------------

VERSION_NODES = sorted(
    {
        f"{prefix}_{number}"
        for architecture in MACHINES
        for p in policies_for(Libc.GLIBC, architecture)
        for prefix, numbers in p.symbol_versions.items()
        for number in numbers
    }
    | {"GLIBC_PRIVATE", "GLIBC_2.99", "OTHER_1"}
)
LIBRARIES = sorted(policy_libraries(Libc.GLIBC, "x86_64") | {"libfoo.so.1", "libc.so"})
SUSPECTS = sorted(
    {name for p in policies_for(Libc.GLIBC, "x86_64") for names in p.forbidden.values() for name in names}
)


@st.composite
def wheels(draw: st.DrawFn) -> tuple[Libc, str, dict[str, ElfFacts], dict[str, frozenset[str]]]:
    libc, architecture = draw(st.sampled_from(list(Libc))), draw(st.sampled_from(sorted(MACHINES)))
    files, external = {}, {}
    for number in range(draw(st.integers(1, 3))):
        needed = tuple(draw(st.lists(st.sampled_from(LIBRARIES), max_size=3, unique=True)))
        versions = draw(st.lists(st.sampled_from(VERSION_NODES), max_size=3, unique=True))
        names = draw(st.lists(st.sampled_from(SUSPECTS), max_size=2, unique=True))
        files[f"{number}.so"] = elf(
            architecture,
            needed=needed,
            version_needs=tuple(VersionNeed(needed[0] if needed else "libc.so.6", version) for version in versions),
            imports=frozenset(Import(name, weak=draw(st.booleans())) for name in names),
            relr=draw(st.booleans()),
        )
        external[f"{number}.so"] = frozenset(needed)
    return libc, architecture, files, external


@given(wheels())
def test_what_an_older_policy_accepts_a_newer_accepts(wheel: Any) -> None:
    libc, architecture, files, external = wheel
    met = [not obstacles_to(p, files, external) for p in policies_for(libc, architecture)]
    assert met == sorted(met)


@given(wheels())
def test_the_verdict_is_the_oldest_policy_that_is_met(wheel: Any) -> None:
    libc, architecture, files, external = wheel
    policies = policies_for(libc, architecture)
    verdict = judge(files, external, libc=libc, architecture=architecture, vouched=policies[0] if policies else None)
    met = [p for p in policies if not obstacles_to(p, files, external)]
    if any(facts.libc in (None, libc) for facts in files.values()):
        assert verdict.policy is (met[0] if met else None)
    older = [p.name for p in policies[: policies.index(met[0])]] if met else [p.name for p in policies]
    assert list(dict.fromkeys(o.policy for o in verdict.obstacles)) == older[::-1]


@given(wheels(), st.integers(0, 2))
def test_fewer_files_never_deserve_less(wheel: Any, which: int) -> None:
    libc, architecture, files, external = wheel
    names = sorted(files)
    kept = {name: files[name] for name in names if name != names[which % len(names)]}
    everything = judge(files, external, libc=libc, architecture=architecture).policy
    if everything is None or all(facts.libc not in (None, libc) for facts in kept.values()):
        return
    fewer = judge(kept, external, libc=libc, architecture=architecture).policy
    assert fewer is not None
    assert fewer.version <= everything.version


def test_the_price_of_judging_grows_with_the_number_of_files_and_no_faster() -> None:
    imports = frozenset(Import(f"f{n}", "GLIBC_2.28", "libc.so.6") for n in range(2000))
    needed = ("libc.so.6", "libm.so.6", "libz.so.1", "libpthread.so.0")
    facts = needing("GLIBC_2.2.5", "GLIBC_2.14", "GLIBC_2.28", imports=imports)

    def price(count: int) -> float:
        files = {f"{n}.so": facts for n in range(count)}
        external = dict.fromkeys(files, frozenset(needed))
        start = time.thread_time()
        assert judge(files, external, libc=Libc.GLIBC, architecture="x86_64").tag == "manylinux_2_28_x86_64"
        return time.thread_time() - start

    price(10)
    assert min(price(100) for _ in range(3)) < 40 * max(price(10) for _ in range(3))
