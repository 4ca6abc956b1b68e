"""Android wheels: what their files are known by, what the tag allows, and how they are repaired."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nativelib.facts.elf import Libc
from nativelib.facts.hint import How
from nativelib.plan import audit, needs, opened
from nativelib.plan.platform import libc_of
from nativelib.policy.values import ObstacleKind
from nativelib.read.elf import read_elf, read_elf_file
from tests.support.android import COMPILERS, Ndk
from tests.support.cc import shared_library
from tests.support.downloads import pypi_wheel
from tests.support.projects import Answer, nativelib, project
from tests.support.tools import require
from tests.support.wheels import make_wheel, members

EXTENSION = "int malloc_usable(void);\nint PyInit__ext(void) { return malloc_usable(); }"
TRIPLETS = {"arm64_v8a": "aarch64", "x86_64": "x86_64"}


@pytest.fixture(params=sorted(COMPILERS))
def ndk(request: pytest.FixtureRequest, tmp_path: Path) -> Ndk:
    return Ndk(tmp_path, request.param)


@pytest.fixture
def arm(tmp_path: Path) -> Ndk:
    return Ndk(tmp_path)


def wheel_of(directory: Path, ndk: Ndk, extension: Path, platform: str = "android_24", **more: Path | str) -> Path:
    """Return a wheel with *extension*, and the files *more* under their own names in the package."""
    name = f"pkg/_ext.cpython-313-{TRIPLETS[ndk.abi]}-linux-android.so"
    platform = platform if platform.startswith("linux") else f"{platform}_{ndk.abi}"
    files: dict[str, bytes | str | Path] = {"pkg/__init__.py": "", name: extension}
    files |= {f"pkg/{key}.so": value for key, value in more.items()}
    return make_wheel(directory / "in", f"pkg-1.0-cp313-cp313-{platform}.whl", files)


def repair(wheel: Path, *options: str | Path, into: Path, env: dict[str, str] | None = None) -> Answer:
    return nativelib("repair", wheel, "-w", into, *options, env=env)


def dynamic(directory: Path, content: bytes) -> list[tuple[str, str]]:
    """Return what readelf says of needs, names and run paths: (tag, value)."""
    path = directory / "read-back.so"
    path.write_bytes(content)
    text = subprocess.run([require("readelf"), "-dW", path], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\((NEEDED|SONAME|RPATH|RUNPATH)\).*\[(.*)\]", text)


# --- evidence ---------------------------------------------------------------------------------------------------------


def test_the_note_says_android_and_the_api_level(ndk: Ndk, tmp_path: Path) -> None:
    facts = read_elf_file(ndk.library(tmp_path, "libfoo.so", "int foo(void) { return 1; }", level=26))
    assert (facts.libc, facts.android_api, facts.needed) == (Libc.BIONIC, 26, ("libc.so",))


def test_without_the_note_version_needs_tell_android_from_musl(arm: Ndk, tmp_path: Path) -> None:
    source = "int malloc_usable(void);\nint foo(void) { return malloc_usable(); }"
    versioned = read_elf_file(arm.library(tmp_path, "libfoo.so", source, level=None))
    assert (versioned.libc, versioned.android_api) == (Libc.BIONIC, None)
    # Nothing of libc.so is used, so that nothing tells them apart.
    plain = read_elf_file(arm.library(tmp_path, "libbar.so", "int bar(void) { return 1; }", level=None))
    assert plain.libc is Libc.MUSL
    assert plain.suits(Libc.BIONIC)
    assert plain.suits(Libc.MUSL)
    assert not plain.suits(Libc.GLIBC)


def test_files_of_debians_musl_gcc_are_not_androids(tmp_path: Path) -> None:
    facts = read_elf_file(shared_library(tmp_path, "libm1.so", "int f(void) { return 1; }", cc="musl-gcc"))
    assert facts.needed == ("libc.so",)
    assert (facts.libc, libc_of({"m.so": facts}, ["linux_x86_64"])) == (Libc.MUSL, Libc.MUSL)


def test_the_loader_of_a_program_says_android(arm: Ndk, tmp_path: Path) -> None:
    flags = ["-Wl,-dynamic-linker,/system/bin/linker64", "-pie", "-Wl,-e,foo"]
    path = arm.library(tmp_path, "program", "int foo(void) { return 1; }", level=None, needed=())
    argv = [require(arm.cc), "-nostdlib", *flags, "-o", str(path), str(tmp_path / "program.c")]
    subprocess.run(argv, check=True, capture_output=True)
    facts = read_elf_file(path)
    assert (facts.interpreter, facts.libc) == ("/system/bin/linker64", Libc.BIONIC)


def test_the_tag_or_another_file_decides_what_libc_so_is(arm: Ndk, tmp_path: Path) -> None:
    plain = read_elf_file(arm.library(tmp_path, "libbar.so", "int bar(void) { return 1; }", level=None))
    noted = read_elf_file(arm.library(tmp_path, "libfoo.so", "int foo(void) { return 1; }"))
    assert libc_of({"a.so": plain}, ["android_24_arm64_v8a"]) is Libc.BIONIC
    assert libc_of({"a.so": plain}, ["musllinux_1_2_aarch64"]) is Libc.MUSL
    assert libc_of({"a.so": plain, "b.so": noted}) is Libc.BIONIC


# --- repair -----------------------------------------------------------------------------------------------------------


def test_a_graft_is_found_by_runpath(ndk: Ndk, tmp_path: Path) -> None:
    runtime = ndk.library(tmp_path / "sysroot", "libc++_shared.so", "int cxx(void) { return 7; }", level=21)
    extension = ndk.library(
        tmp_path, "_ext.so", EXTENSION, soname="_ext.so", needed=("libc.so", "libm.so", "libpython3.13.so", runtime)
    )
    wheel = wheel_of(tmp_path, ndk, extension)
    answer = repair(wheel, "--ldpaths", runtime.parent, into=tmp_path / "out")
    assert answer.code == 0, answer.stdout
    [found] = answer.document["wheels"]
    assert found["tags"] == [f"android_24_{ndk.abi}"]
    [graft] = found["grafted"]
    assert re.fullmatch(r"pkg\.libs/libc\+\+_shared-[0-9a-f]{8}\.so", graft["path"])
    name = graft["path"].rpartition("/")[2]

    content = members(Path(found["output"]))
    [member] = [item for item in content if "_ext" in item]
    assert sorted(dynamic(tmp_path, content[member])) == sorted(
        [
            *(("NEEDED", needed) for needed in ("libc.so", "libm.so", "libpython3.13.so", name)),
            ("SONAME", "_ext.so"),
            ("RUNPATH", "$ORIGIN/../pkg.libs"),
        ]
    )
    assert sorted(dynamic(tmp_path, content[graft["path"]])) == [("NEEDED", "libc.so"), ("SONAME", name)]
    assert read_elf(content[graft["path"]], where=name).android_api == 21

    again = repair(Path(found["output"]), into=tmp_path / "again")
    assert again.code == 0, again.stdout
    assert Path(again.document["wheels"][0]["output"]).read_bytes() == Path(found["output"]).read_bytes()


def test_a_run_path_of_the_old_kind_becomes_one_that_android_reads(arm: Ndk, tmp_path: Path) -> None:
    runtime = arm.library(tmp_path / "sysroot", "libfoo.so", "int foo(void) { return 7; }")
    flags = ["-Wl,--disable-new-dtags"]
    extension = arm.library(tmp_path, "_ext.so", EXTENSION, needed=("libc.so", runtime), rpath="$ORIGIN", flags=flags)
    assert read_elf_file(extension).rpath == ("$ORIGIN",)
    answer = repair(wheel_of(tmp_path, arm, extension), "--ldpaths", runtime.parent, into=tmp_path / "out")
    assert answer.code == 0, answer.stdout
    content = members(Path(answer.document["wheels"][0]["output"]))
    [member] = [item for item in content if "_ext" in item]
    paths = [item for item in dynamic(tmp_path, content[member]) if item[0] in {"RPATH", "RUNPATH"}]
    assert paths == [("RUNPATH", "$ORIGIN:$ORIGIN/../pkg.libs")]


def test_before_level_24_no_run_path_is_read(arm: Ndk, tmp_path: Path) -> None:
    runtime = arm.library(tmp_path / "sysroot", "libfoo.so", "int foo(void) { return 7; }", level=21)
    extension = arm.library(tmp_path, "_ext.so", EXTENSION, level=21, needed=("libc.so", runtime))
    answer = repair(
        wheel_of(tmp_path, arm, extension, "android_21"), "--ldpaths", runtime.parent, into=tmp_path / "out"
    )
    assert answer.code == 1
    [said] = answer.errors().values()
    assert "NL601 It finds its libraries by a run path, which Android reads from API level 24 on" in said
    assert not list((tmp_path / "out").glob("*"))
    alone = wheel_of(tmp_path / "alone", arm, arm.library(tmp_path, "_e.so", EXTENSION, level=21), "android_21")
    assert repair(alone, into=tmp_path / "out").document["wheels"][0]["tags"] == ["android_21_arm64_v8a"]


def test_the_level_of_the_tag_decides_which_libraries_the_system_has(arm: Ndk, tmp_path: Path) -> None:
    extension = arm.library(tmp_path, "_ext.so", EXTENSION, level=21, needed=("libc.so", "libvulkan.so"))
    wheel = wheel_of(tmp_path, arm, extension, "android_22")
    answer = repair(wheel, into=tmp_path / "out")
    assert answer.code == 1
    [(where, said)] = answer.errors().items()
    assert "_ext" in where
    assert "does not comply with android_22_arm64_v8a" in said
    assert "needs libvulkan.so" in said
    shown = nativelib("show", wheel).document["wheels"][0]
    assert (shown["tag"], shown["libc"], shown["architecture"]) == ("android_24_arm64_v8a", "bionic", "aarch64")
    raised = repair(wheel, "--plat", "android_24_arm64_v8a", into=tmp_path / "out")
    assert raised.document["wheels"][0]["tags"] == ["android_24_arm64_v8a"]
    # A level without an entry of its own has what the last one before it has.
    later = repair(wheel_of(tmp_path, arm, extension, "android_33"), into=tmp_path / "later")
    assert later.document["wheels"][0]["tags"] == ["android_33_arm64_v8a"]


def test_a_file_for_a_newer_android_breaks_the_promise_of_the_tag(arm: Ndk, tmp_path: Path) -> None:
    extension = arm.library(tmp_path, "_ext.so", EXTENSION, level=26)
    answer = repair(wheel_of(tmp_path, arm, extension), into=tmp_path / "out")
    assert answer.code == 1
    [said] = answer.errors().values()
    assert "was built for Android API level 26" in said
    assert not list((tmp_path / "out").glob("*"))


def test_without_an_android_tag_the_files_say_for_what_they_were_built(arm: Ndk, tmp_path: Path) -> None:
    newer = arm.library(tmp_path, "libnewer.so", "int newer(void) { return 1; }", level=28)
    extension = arm.library(tmp_path, "_ext.so", EXTENSION, level=24)
    wheel = wheel_of(tmp_path, arm, extension, "linux_aarch64", libnewer=newer)
    assert repair(wheel, into=tmp_path / "out").document["wheels"][0]["tags"] == ["android_28_arm64_v8a"]
    silent = arm.library(tmp_path, "libsilent.so", EXTENSION, level=None)
    wheel = wheel_of(tmp_path / "2", arm, extension, "linux_aarch64", libsilent=silent)
    answer = repair(wheel, into=tmp_path / "out2")
    assert answer.code == 1
    assert "does not say for which API level of Android it was built" in "".join(answer.errors().values())
    named = repair(wheel, "--plat", "android_24_arm64_v8a", into=tmp_path / "out2")
    assert named.document["wheels"][0]["tags"] == ["android_24_arm64_v8a"]


def test_nothing_of_this_machine_is_searched(tmp_path: Path) -> None:
    ndk = Ndk(tmp_path, "x86_64")
    library = shared_library(tmp_path / "host", "libhost.so", "int host(void) { return 1; }", soname="libhost.so")
    extension = ndk.library(tmp_path, "_ext.so", EXTENSION, needed=("libc.so", library))
    wheel = wheel_of(tmp_path, ndk, extension)
    answer = repair(wheel, into=tmp_path / "out", env={"LD_LIBRARY_PATH": str(library.parent)})
    assert "libhost.so, which was not found; searched: nothing" in "".join(answer.errors().values())
    told = repair(wheel, into=tmp_path / "out", env={"NATIVELIB_LD_LIBRARY_PATH": str(library.parent)})
    assert [graft["soname"] for graft in told.document["wheels"][0]["grafted"]] == ["libhost.so"]


def test_arm_of_32_bits_passes_floats_in_integer_registers(tmp_path: Path) -> None:
    ndk = Ndk(tmp_path, "armeabi_v7a", compiler="arm-linux-gnueabihf-gcc")
    extension = ndk.library(tmp_path, "_ext.so", EXTENSION, flags=["-mfloat-abi=softfp"])
    wheel = make_wheel(tmp_path / "in", "pkg-1.0-cp313-cp313-android_24_armeabi_v7a.whl", {"pkg/_ext.so": extension})
    shown = nativelib("show", wheel).document["wheels"][0]
    assert (shown["tag"], shown["architecture"]) == ("android_24_armeabi_v7a", "armv7l")
    glibc = make_wheel(tmp_path / "in", "pkg-1.0-cp313-cp313-linux_armv7l.whl", {"pkg/_ext.so": extension})
    assert nativelib("show", glibc).document["wheels"][0]["tag"] == "android_24_armeabi_v7a"


def test_a_library_wheel_for_android(arm: Ndk, tmp_path: Path) -> None:
    lib = tmp_path / "prefix" / "lib"
    inner = arm.library(lib, "libinner.so", "int inner(void) { return 1; }")
    arm.library(lib, "libouter.so", "int outer(void) { return 2; }", needed=("libc.so", inner))
    source = project(tmp_path / "src", "outer-lib", 'libraries = ["lib/lib*.so"]')
    answer = nativelib("build", source, "--prefix", tmp_path / "prefix", "-w", tmp_path / "dist")
    assert answer.code == 0, answer.stdout
    assert answer.document["tags"] == ["android_24_arm64_v8a"]
    with zipfile.ZipFile(answer.document["wheel"]) as archive:
        files = [name for name in archive.namelist() if "/lib/" in name and ".so" in name]
        found = {name: dynamic(tmp_path, archive.read(name)) for name in files if archive.read(name)[:4] == b"\x7fELF"}
    assert any(name.endswith("nativelib_anchor.so") for name in found)
    assert any(tag == "RUNPATH" for entries in found.values() for tag, _ in entries)
    assert not [name for name, entries in found.items() for tag, _ in entries if tag == "RPATH"]
    early = nativelib(
        "build", source, "--prefix", tmp_path / "prefix", "-w", tmp_path / "no", "--plat", f"android_23_{arm.abi}"
    )
    assert early.code == 1
    assert "built for Android API level 24" in "".join(early.errors().values())


def test_a_library_wheel_needs_a_loader_that_reads_run_paths(arm: Ndk, tmp_path: Path) -> None:
    arm.library(tmp_path / "prefix" / "lib", "libouter.so", "int outer(void) { return 2; }", level=21)
    source = project(tmp_path / "src", "outer-lib", 'libraries = ["lib/lib*.so"]')
    options = ("--prefix", tmp_path / "prefix", "-w", tmp_path / "dist")
    refused = nativelib("build", source, *options)
    assert refused.code == 1
    assert "which Android reads from API level 24 on; the tag is android_21_arm64_v8a" in "".join(
        refused.errors().values()
    )
    assert nativelib("build", source, *options, "--plat", "android_24_arm64_v8a").document["tags"] == [
        "android_24_arm64_v8a"
    ]


def test_a_provider_of_android(arm: Ndk, tmp_path: Path) -> None:
    """The consumer's requirement counts on Android, and its run path leads to the provider."""
    library = arm.library(tmp_path / "prefix" / "lib", "libouter.so", "int outer(void) { return 2; }")
    tool = 'libraries = ["lib/lib*.so"]\ncompatible = "<2"'
    source = project(tmp_path / "src", "outer-lib", tool)
    built = nativelib("build", source, "--prefix", tmp_path / "prefix", "-w", tmp_path / "dist").document["wheel"]
    extension = arm.library(
        tmp_path,
        "_ext.so",
        "extern int outer(void);\nint PyInit__ext(void) { return outer(); }",
        needed=("libc.so", library),
    )
    answer = repair(wheel_of(tmp_path, arm, extension), "--provided-by", built, into=tmp_path / "out")
    assert answer.code == 0, answer.stdout
    [done] = answer.document["wheels"]
    assert done["requires"] == ['outer-lib<2,>=1.0; sys_platform == "linux" or sys_platform == "android"']
    assert done["tags"] == ["android_24_arm64_v8a"]
    content = members(Path(done["output"]))
    [member] = [item for item in content if item.endswith("-android.so")]
    entries = dynamic(tmp_path, content[member])
    assert ("NEEDED", "libouter-outer_lib.so") in entries
    assert ("RUNPATH", "$ORIGIN/../outer_lib/lib") in entries


@pytest.mark.parametrize("level", [21, 24])
def test_an_anchor_over_what_is_opened_has_a_run_path_that_android_reads(level: int, arm: Ndk, tmp_path: Path) -> None:
    library = arm.library(tmp_path, "libzbar.so", "int zbar(void) { return 1; }", level=21)
    extension = arm.library(tmp_path, "_ext.so", EXTENSION, level=21)
    name = f"pkg-1.0-cp313-cp313-android_{level}_arm64_v8a.whl"
    files: dict[str, bytes | str | Path] = {
        "pkg/__init__.py": 'import ctypes\nctypes.CDLL("libzbar.so")\n',
        "pkg/_ext.so": extension,
    }
    wheel = make_wheel(tmp_path / "in", name, files)
    answer = repair(wheel, "--include", f"libzbar.so={library}", into=tmp_path / "out")
    if level < 24:
        assert answer.code == 1
        [(where, said)] = answer.errors().items()
        assert "anchor" in where
        assert "which Android reads from API level 24 on" in said
        return
    content = members(Path(answer.document["wheels"][0]["output"]))
    [anchor] = [item for item in content if "anchor" in item]
    assert [item for item in dynamic(tmp_path, content[anchor]) if "PATH" in item[0]] == [("RUNPATH", "$ORIGIN")]


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_says_what_a_tag_that_is_too_old_lacks(arm: Ndk, tmp_path: Path) -> None:
    newer = wheel_of(tmp_path, arm, arm.library(tmp_path, "_new.so", EXTENSION), "android_21")
    extension = arm.library(tmp_path, "_ext.so", EXTENSION, level=21, needed=("libc.so", "libvulkan.so"))
    vulkan = wheel_of(tmp_path / "2", arm, extension, "android_21")
    for wheel, reason in ((newer, "was built for Android API level 24"), (vulkan, "needs libvulkan.so")):
        answer = nativelib("show", wheel)
        assert answer.code == 0, answer.stdout
        [found] = answer.document["wheels"]
        [said] = found["findings"]
        assert (said["code"], found["tag"]) == ("NL601", "android_24_arm64_v8a")
        assert "It has the tag android_21_arm64_v8a, and does not deserve it" in said["message"]
        assert reason in said["message"]
        assert found["why"][0]["reason"].startswith(reason)


def test_every_kind_has_its_place_in_the_order() -> None:
    assert sorted(audit._WEIGHT) == sorted(ObstacleKind)
    assert sorted(audit._ORDER) == sorted(needs.Answer)
    assert sorted(opened._STRONGEST) == sorted(How)


# --- published wheels -------------------------------------------------------------------------------------------------

PUBLISHED = [
    ("lru-dict", "1.4.1", "android_21_arm64_v8a"),
    ("lru-dict", "1.4.1", "android_21_x86_64"),
    ("curl-cffi", "0.16.0", "android_24_arm64_v8a"),
]


@pytest.mark.network
@pytest.mark.parametrize(("name", "version", "platform"), PUBLISHED)
def test_published_wheels_keep_their_tag(name: str, version: str, platform: str, tmp_path: Path) -> None:
    wheel = pypi_wheel(name, version, platform=platform, python="313")
    argv = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    theirs = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    shown = nativelib("show", wheel).document["wheels"][0]
    assert f'"{shown["tag"]}"' in theirs
    assert shown["tag"] == platform
    done = repair(wheel, into=tmp_path / "out").document["wheels"][0]
    assert (done["tags"], done["grafted"], done["findings"]) == ([platform], [], [])


@pytest.mark.network
def test_a_published_runtime_is_grafted_again(tmp_path: Path) -> None:
    """What auditwheel put in is taken out and put back: the same run path, and the need of libpython stays."""
    published = members(pypi_wheel("curl-cffi", "0.16.0", platform="android_24_arm64_v8a", python="313"))
    [runtime] = [name for name in published if name.startswith("curl_cffi.libs/")]
    library, extension = tmp_path / "sysroot" / "libc++_shared.so", tmp_path / "_wrapper.abi3.so"
    library.parent.mkdir()
    library.write_bytes(published[runtime])
    extension.write_bytes(published["curl_cffi/_wrapper.abi3.so"])
    vendored = runtime.rpartition("/")[2]
    patchelf = require("patchelf")
    subprocess.run([patchelf, "--set-soname", "libc++_shared.so", library], check=True)
    edit = ["--replace-needed", vendored, "libc++_shared.so", "--remove-rpath"]
    subprocess.run([patchelf, *edit, extension], check=True)
    wheel = make_wheel(
        tmp_path / "in",
        "curl_cffi-0.16.0-cp313-abi3-android_24_arm64_v8a.whl",
        {"curl_cffi/_wrapper.abi3.so": extension},
    )
    missing = repair(wheel, into=tmp_path / "out")
    assert "It needs libc++_shared.so, which was not found" in "".join(missing.errors().values())
    done = repair(wheel, "--ldpaths", library.parent, into=tmp_path / "out").document["wheels"][0]
    [graft] = done["grafted"]
    result = members(Path(done["output"]))
    entries = dynamic(tmp_path, result["curl_cffi/_wrapper.abi3.so"])
    assert ("RUNPATH", "$ORIGIN/../curl_cffi.libs") in entries
    assert {("NEEDED", "libpython3.13.so"), ("NEEDED", graft["path"].rpartition("/")[2])} <= set(entries)
    assert ("SONAME", graft["path"].rpartition("/")[2]) in dynamic(tmp_path, result[graft["path"]])
