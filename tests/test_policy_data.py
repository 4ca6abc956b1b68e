"""The packaged policies, beside those of auditwheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nativelib.facts.elf import MACHINES, Libc
from nativelib.facts.tags import PlatformTag
from nativelib.policy.judge import Policy, all_tags, lookup, platform_tags, policies_for, policy_libraries
from nativelib.policy.load import data_source

ROOT = Path(__file__).resolve().parent.parent


def found(tag: str) -> Policy:
    policy = lookup(tag)
    assert policy is not None
    return policy


def test_oldest_first_and_every_architecture() -> None:
    names = [p.name for p in policies_for(Libc.GLIBC, "x86_64")]
    assert names[:4] == ["manylinux_2_5", "manylinux_2_12", "manylinux_2_17", "manylinux_2_24"]
    for libc in Libc:
        for architecture in MACHINES:
            versions = [p.version for p in policies_for(libc, architecture)]
            assert versions == sorted(set(versions))
            assert versions or (libc, architecture) == (Libc.MUSL, "ppc64") or libc is Libc.BIONIC
    assert [p.name for p in policies_for(Libc.GLIBC, "ppc64")] == ["manylinux_2_17"]
    assert policies_for(Libc.GLIBC, "riscv64")[0].name == "manylinux_2_31"
    assert policies_for(Libc.GLIBC, "mips64") == ()


def test_aliases_and_lookup() -> None:
    assert platform_tags(found("manylinux_2_5_x86_64")) == ("manylinux1_x86_64", "manylinux_2_5_x86_64")
    assert platform_tags(found("musllinux_1_2_aarch64")) == ("musllinux_1_2_aarch64",)
    assert found("manylinux2014_s390x") is found("manylinux_2_17_s390x")
    for unknown in ("manylinux2014_riscv64", "manylinux_2_18_x86_64", "linux_x86_64", "any", "win32", "nonsense", ""):
        assert lookup(unknown) is None


def test_every_tag_is_found_again() -> None:
    tags = all_tags()
    assert list(tags) == sorted(set(tags))
    assert {"manylinux1_i686", "manylinux_2_28_aarch64", "musllinux_1_1_x86_64"} <= set(tags)
    for tag in tags:
        assert tag in platform_tags(found(tag))


def test_policy_libraries_have_the_c_library_by_all_its_names() -> None:
    glibc = policy_libraries(Libc.GLIBC, "x86_64")
    assert {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libmvec.so.1", "ld-linux-x86-64.so.2"} <= glibc
    musl = policy_libraries(Libc.MUSL, "armv7l")
    assert musl == {"libc.so", "libc.musl-armv7.so.1", "ld-musl-armhf.so.1", "libz.so.1"}
    assert policy_libraries(Libc.GLIBC, "mips64") == frozenset()


@pytest.mark.parametrize("abi", ["arm64_v8a", "x86_64"])
@pytest.mark.parametrize("level", [21, 22, 24, 25, 26, 27, 30, 35])
def test_android_allows_what_auditwheel_does(level: int, abi: str) -> None:
    from auditwheel.architecture import Architecture  # type: ignore[import-untyped]
    from auditwheel.libc import Libc as TheirLibc  # type: ignore[import-untyped]
    from auditwheel.policy import WheelPolicies  # type: ignore[import-untyped]

    require_same_auditwheel()
    tag = f"android_{level}_{abi}"
    architecture = Architecture[PlatformTag.parse(tag).policy_architecture]
    wheel = Path(f"a-1-cp313-cp313-{tag}.whl")
    [their] = [p for p in WheelPolicies(libc=TheirLibc.ANDROID, arch=architecture, wheel_fn=wheel) if p.priority]
    our = found(tag)
    assert (our.tag, our.version, our.libraries) == (their.name, (level,), their.whitelist)
    assert (dict(our.symbol_versions), dict(our.forbidden)) == (their.symbol_versions, their.blacklist)


def test_android_begins_with_level_21() -> None:
    assert [p.name for p in policies_for(Libc.BIONIC, "aarch64")] == [
        "android_21",
        "android_24",
        "android_26",
        "android_27",
    ]
    for abi in ("arm64_v8a", "armeabi_v7a", "x86", "x86_64"):
        assert lookup(f"android_20_{abi}") is None
        assert platform_tags(found(f"android_26_{abi}")) == (f"android_26_{abi}",)
    assert lookup("android_26_aarch64") is None
    assert policies_for(Libc.BIONIC, "s390x") == ()


def auditwheel_policies(libc: Libc, architecture: str) -> list[Any]:
    """Return the policies of the installed auditwheel, oldest first, without ``linux``."""
    from auditwheel.architecture import Architecture
    from auditwheel.libc import Libc as TheirLibc
    from auditwheel.policy import WheelPolicies

    if architecture not in Architecture.__members__:
        return []
    theirs: list[Any] = []
    if libc is Libc.GLIBC:
        theirs += WheelPolicies(libc=TheirLibc.GLIBC, arch=Architecture[architecture])
    else:
        for name in ("musllinux_1_1", "musllinux_1_2"):
            if lookup(f"{name}_{architecture}"):
                theirs += WheelPolicies(libc=TheirLibc.MUSL, arch=Architecture[architecture], musl_policy=name)
    return sorted((p for p in theirs if p.priority), key=lambda p: -p.priority)


@pytest.mark.parametrize("architecture", sorted(MACHINES))
@pytest.mark.parametrize("libc", [Libc.GLIBC, Libc.MUSL])
def test_expanded_data_is_auditwheels(libc: Libc, architecture: str) -> None:
    require_same_auditwheel()
    ours, theirs = policies_for(libc, architecture), auditwheel_policies(libc, architecture)
    assert [p.tag for p in ours] == [p.name for p in theirs]
    further = {"libc.so"} | {name for name in policy_libraries(libc, architecture) if name.startswith("ld-musl-")}
    for our, their in zip(ours, theirs, strict=True):
        assert {f"{alias}_{architecture}" for alias in our.aliases} == set(their.aliases)
        assert our.libraries - (further if libc is Libc.MUSL else set()) == their.whitelist
        assert dict(our.symbol_versions) == their.symbol_versions
        assert dict(our.forbidden) == their.blacklist


def test_the_maintainers_command_finds_no_difference() -> None:
    require_same_auditwheel()
    command = [sys.executable, str(ROOT / "tools" / "policy_data.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def require_same_auditwheel() -> None:
    """Skip unless auditwheel is the version that the figures come from: another one may rightly differ."""
    from importlib import metadata

    installed = f"auditwheel {metadata.version('auditwheel')}"
    if installed != data_source(Libc.GLIBC):
        pytest.skip(f"the data is of {data_source(Libc.GLIBC)}, installed is {installed}")


def test_loading_is_quick() -> None:
    code = (
        "import time; from nativelib.policy.judge import *; t = time.process_time(); policies_for('glibc', 'x86_64');"
        "policies_for('musl', 'x86_64'); policy_libraries('glibc', 'x86_64'); print(time.process_time() - t)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(runs) < 0.1  # expanding everything anew for each question took seconds
