from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nativelib.facts.elf import MACHINES, Libc
from nativelib.facts.tags import Family, PlatformTag, aliases, libc_of_extension

ARCHITECTURES = st.sampled_from(sorted(MACHINES))
VERSIONS = st.tuples(st.integers(1, 3), st.integers(0, 99))


@pytest.mark.parametrize(
    ("text", "family", "version", "architecture"),
    [
        ("manylinux_2_17_x86_64", Family.MANYLINUX, (2, 17), "x86_64"),
        ("manylinux_2_5_i686", Family.MANYLINUX, (2, 5), "i686"),
        ("musllinux_1_2_aarch64", Family.MUSLLINUX, (1, 2), "aarch64"),
        ("android_21_arm64_v8a", Family.ANDROID, (21,), "arm64_v8a"),
        ("linux_x86_64", Family.LINUX, (), "x86_64"),
        ("linux_armv6l", Family.LINUX, (), "armv6l"),
        ("any", Family.ANY, (), ""),
        ("macosx_11_0_arm64", Family.FOREIGN, (), ""),
        ("win_amd64", Family.FOREIGN, (), ""),
        ("win32", Family.FOREIGN, (), ""),
        ("ios_13_0_arm64_iphoneos", Family.FOREIGN, (), ""),
        ("manylinux_2_x86_64", Family.FOREIGN, (), ""),
        ("manylinux2015_x86_64", Family.FOREIGN, (), ""),
        ("manylinux_2_17_", Family.FOREIGN, (), ""),
        ("", Family.FOREIGN, (), ""),
    ],
)
def test_parts(text: str, family: Family, version: tuple[int, ...], architecture: str) -> None:
    tag = PlatformTag.parse(text)
    assert (tag.family, tag.version, tag.architecture, tag.text) == (family, version, architecture, text)


@pytest.mark.parametrize(
    ("legacy", "modern"),
    [
        ("manylinux1_i686", "manylinux_2_5_i686"),
        ("manylinux2010_x86_64", "manylinux_2_12_x86_64"),
        ("manylinux2014_ppc64le", "manylinux_2_17_ppc64le"),
    ],
)
def test_legacy_names_are_the_same_tag(legacy: str, modern: str) -> None:
    assert PlatformTag.parse(legacy) == PlatformTag.parse(modern)
    assert PlatformTag.parse(legacy).text == modern
    assert aliases(legacy) == (modern,)
    assert aliases(modern) == (legacy,)


@pytest.mark.parametrize("tag", ["manylinux_2_28_x86_64", "musllinux_1_2_x86_64", "linux_x86_64", "any", "win32"])
def test_no_aliases(tag: str) -> None:
    assert aliases(tag) == ()


def test_libc_of_a_tag() -> None:
    assert PlatformTag.parse("manylinux1_x86_64").libc is Libc.GLIBC
    assert PlatformTag.parse("musllinux_1_1_x86_64").libc is Libc.MUSL
    assert PlatformTag.parse("linux_x86_64").libc is None
    assert PlatformTag.parse("android_24_x86_64").libc is Libc.BIONIC


def test_newer_within_one_family_and_architecture_only() -> None:
    old, new = PlatformTag.parse("manylinux_2_9_x86_64"), PlatformTag.parse("manylinux_2_28_x86_64")
    assert new.newer_than(old)
    assert not old.newer_than(new)
    assert not new.newer_than(new)
    assert not new.newer_than(PlatformTag.parse("manylinux_2_9_aarch64"))
    assert not new.newer_than(PlatformTag.parse("musllinux_1_1_x86_64"))
    assert not new.newer_than(PlatformTag.parse("linux_x86_64"))


def test_sorting_puts_the_oldest_first() -> None:
    tags = ["manylinux_2_28_x86_64", "any", "manylinux_2_5_x86_64", "manylinux_2_17_aarch64", "manylinux_2_9_x86_64"]
    ordered = sorted(map(PlatformTag.parse, tags), key=lambda tag: tag.sort_key)
    assert [tag.text for tag in ordered if tag.architecture == "x86_64"] == [
        "manylinux_2_5_x86_64",
        "manylinux_2_9_x86_64",
        "manylinux_2_28_x86_64",
    ]


def test_32_bit_arm_is_judged_as_armv7l() -> None:
    assert PlatformTag.parse("linux_armv6l").policy_architecture == "armv7l"
    assert PlatformTag.parse("manylinux_2_31_armv7l").policy_architecture == "armv7l"
    assert PlatformTag.parse("manylinux_2_31_aarch64").policy_architecture == "aarch64"
    assert PlatformTag.parse("linux_armv8l").policy_architecture == "armv7l"


@pytest.mark.parametrize(
    ("abi", "architecture"),
    [
        ("arm64_v8a", "aarch64"),
        ("armeabi_v7a", "armv7l"),
        ("x86", "i686"),
        ("x86_64", "x86_64"),
        ("mips", ""),
        ("aarch64", ""),
    ],
)
def test_android_has_names_of_its_own_for_architectures(abi: str, architecture: str) -> None:
    tag = PlatformTag.parse(f"android_24_{abi}")
    assert (tag.architecture, tag.policy_architecture) == (abi, architecture)


@pytest.mark.parametrize(
    ("name", "libc"),
    [
        ("_x.cpython-312-x86_64-linux-musl.so", Libc.MUSL),
        ("_x.cpython-312-x86_64-linux-gnu.so", Libc.GLIBC),
        ("_x.cpython-313t-aarch64-linux-gnu.so", Libc.GLIBC),
        ("pkg/_x.cpython-311-arm-linux-gnueabihf.so", Libc.GLIBC),
        ("pkg/_x.cpython-312-arm-linux-musleabihf.so", Libc.MUSL),
        ("_x.cpython-313-aarch64-linux-android.so", Libc.BIONIC),
        ("_x.cpython-310-x86_64-linux-gnu.so", None),
        ("_x.abi3.so", None),
        ("_x.so", None),
        ("libfoo.so.1", None),
    ],
)
def test_libc_of_an_extension_suffix(name: str, libc: Libc | None) -> None:
    assert libc_of_extension(name) is libc


@given(st.sampled_from(["manylinux", "musllinux"]), VERSIONS, ARCHITECTURES)
def test_round_trip(family: str, version: tuple[int, int], architecture: str) -> None:
    text = f"{family}_{version[0]}_{version[1]}_{architecture}"
    tag = PlatformTag.parse(text)
    assert (tag.family.value, tag.version, tag.architecture, tag.text) == (family, version, architecture, text)
    for alias in aliases(text):
        assert PlatformTag.parse(alias) == tag
        assert aliases(alias) == (text,)


@given(VERSIONS, VERSIONS, ARCHITECTURES)
def test_newer_is_a_strict_order(a: tuple[int, int], b: tuple[int, int], architecture: str) -> None:
    first, second = (PlatformTag.parse(f"manylinux_{x}_{y}_{architecture}") for x, y in (a, b))
    assert first.newer_than(second) == (a > b)
    assert [first.newer_than(second), second.newer_than(first), first == second].count(True) == 1


@given(st.text())
def test_any_text_is_some_tag(text: str) -> None:
    tag = PlatformTag.parse(text)
    assert tag.text == text or aliases(text) == (tag.text,)
    libc_of_extension(text)
