"""The anchor: what it is for (loaders find libraries through it), and what tools make of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nativelib.errors import WriteError
from nativelib.facts.elf import MACHINES, Machine
from nativelib.findings import Code
from nativelib.read.elf import read_elf, read_elf_file
from nativelib.write.anchor import build_anchor
from tests.support.cc import program, shared_library
from tests.support.tools import lacking, require

_X86_64 = MACHINES["x86_64"]
_KNOWN = [name for name in MACHINES if name != "ppc64"]

# Opens its arguments in turn and prints, for each, ok or the loader's words.
_DRIVER = """
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        void *handle = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        printf("%s\\n", handle ? "ok" : dlerror());
        int (*answer)(void) = handle ? (int (*)(void))dlsym(handle, "answer") : 0;
        if (answer) printf("answer %d\\n", answer());
    }
    return 0;
}
"""


def _family(directory: Path, machine: Machine, cc: str = "gcc") -> dict[str, str]:
    """Make a library, an anchor beside it, and elsewhere a consumer that has nothing but DT_NEEDED."""
    library = shared_library(
        directory / "lib", "libfoo.so.1", "int foo(void) { return 42; }", soname="libfoo.so.1", cc=cc
    )
    source = "int foo(void); int answer(void) { return foo(); }"
    consumer = shared_library(directory / "elsewhere", "consumer.so", source, needed=[library], cc=cc)
    assert read_elf_file(consumer).run_path == ()
    anchor = directory / "lib" / "nativelib_anchor.so"
    anchor.write_bytes(build_anchor(machine, soname="nativelib_anchor-foo-1.0.so", needed=["libfoo.so.1"]))
    return {"library": str(library), "consumer": str(consumer), "anchor": str(anchor)}


def _run(*argv: str | Path) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


# --- loading


@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_glibc(tmp_path: Path, tag: str) -> None:
    family = _family(tmp_path, _X86_64)
    driver = program(tmp_path, "driver", _DRIVER)
    (refused,) = _run(driver, family["consumer"])
    assert "libfoo.so.1" in refused
    anchor = build_anchor(_X86_64, soname="a-1.so", needed=["libfoo.so.1"], run_path_tag=tag)
    Path(family["anchor"]).write_bytes(anchor)
    assert _run(driver, family["anchor"], family["consumer"]) == ["ok", "ok", "answer 42"]


def test_musl(tmp_path: Path) -> None:
    family = _family(tmp_path, _X86_64, "musl-gcc")
    driver = program(tmp_path, "driver", _DRIVER, cc="musl-gcc")
    opened, refused = _run(driver, family["library"], family["consumer"])
    assert opened == "ok"
    assert "libfoo.so.1" in refused
    assert _run(driver, family["anchor"], family["consumer"]) == ["ok", "ok", "answer 42"]


@pytest.mark.parametrize("page", [4096, 65536])
def test_aarch64(tmp_path: Path, page: int) -> None:
    compiler, sysroot = "aarch64-linux-gnu-gcc", Path("/usr/aarch64-linux-gnu")
    if not sysroot.is_dir():
        lacking("the C library for aarch64")
    family = _family(tmp_path, MACHINES["aarch64"], compiler)
    driver = program(tmp_path, "driver", _DRIVER, cc=compiler)
    emulated = [require("qemu-aarch64-static"), "-p", str(page), "-L", str(sysroot), str(driver)]
    (refused,) = _run(*emulated, family["consumer"])
    assert "libfoo.so.1" in refused
    assert _run(*emulated, family["anchor"], family["consumer"]) == ["ok", "ok", "answer 42"]


def test_python_process(tmp_path: Path) -> None:
    """Two anchors live side by side; the stack stays as it was; each library is mapped once."""
    one, two = _family(tmp_path / "one", _X86_64), tmp_path / "two"
    shared_library(two, "libbar.so.2", "int bar(void) { return 7; }", soname="libbar.so.2")
    second = two / "nativelib_anchor.so"
    second.write_bytes(build_anchor(_X86_64, soname="nativelib_anchor-bar-2.0.so", needed=["libbar.so.2"]))
    code = """
import ctypes, json, os, sys
stack = lambda: [line.split()[1] for line in open("/proc/self/maps") if line.rstrip().endswith("[stack]")]
before = stack()
first, second, consumer = (ctypes.CDLL(path, mode=os.RTLD_LOCAL | os.RTLD_NOW) for path in sys.argv[1:])
mapped = sorted({line.split()[-1] for line in open("/proc/self/maps") if sys.argv[1].split("/one/")[0] in line})
print(json.dumps([before, stack(), consumer.answer(), second.bar(), mapped]))
"""
    argv = [sys.executable, "-c", code, one["anchor"], str(second), one["consumer"]]
    before, after, answer, other, mapped = json.loads(_run(*argv)[0])
    assert before == after == ["rw-p"]
    assert (answer, other) == (42, 7)
    assert mapped == sorted([one["anchor"], one["library"], one["consumer"], str(second), str(two / "libbar.so.2")])


def test_stub_leads_to_another_name(tmp_path: Path) -> None:
    """A stub has the soname that consumers want, and needs the library under the name that the system has."""
    family = _family(tmp_path, _X86_64)
    library = Path(family["library"])
    library.rename(library.with_name("libfoo-system.so.1"))
    library.write_bytes(build_anchor(_X86_64, soname="libfoo.so.1", needed=["libfoo-system.so.1"]))
    driver = program(tmp_path, "driver", _DRIVER)
    assert _run(driver, family["anchor"], family["consumer"]) == ["ok", "ok", "answer 42"]


@pytest.mark.parametrize(
    "tool",
    [
        ["strip"],
        ["strip", "--strip-all", "--remove-section=.comment"],
        ["objcopy"],
        ["patchelf", "--set-soname", "a_name_that_is_a_good_deal_longer_than_the_old_one.so"],
        ["patchelf", "--add-needed", "libm.so.6"],
        ["patchelf", "--force-rpath", "--set-rpath", "$ORIGIN:$ORIGIN/../../other_package/lib"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("cc", ["gcc", "musl-gcc"])
def test_tools_keep_it_loading(tmp_path: Path, tool: list[str], cc: str) -> None:
    family = _family(tmp_path, _X86_64, cc)
    if "libm.so.6" in tool and cc == "musl-gcc":
        tool = [*tool[:-1], "libc.so"]  # musl has no library of that name
    driver = program(tmp_path, "driver", _DRIVER, cc=cc)
    _run(require(tool[0]), *tool[1:], family["anchor"])
    assert _run(driver, family["anchor"], family["consumer"]) == ["ok", "ok", "answer 42"]


# --- form


@pytest.mark.parametrize("architecture", _KNOWN)
def test_readers_have_nothing_to_complain_about(tmp_path: Path, architecture: str) -> None:
    machine = MACHINES[architecture]
    path = tmp_path / "anchor.so"
    path.write_bytes(build_anchor(machine, soname="a-1.so", needed=["libfoo.so.1", "libbar.so.2"]))
    readelf = require("readelf")
    done = subprocess.run([readelf, "-aW", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "arning" not in done.stdout
    for text in ("[a-1.so]", "[libfoo.so.1]", "[libbar.so.2]", "Library rpath: [$ORIGIN]", "GNU_HASH"):
        assert text in done.stdout
    assert ("(HASH)" in done.stdout) is (architecture != "s390x")
    segments = [line.split() for line in done.stdout.splitlines()]
    load, stack = (next(s for s in segments if s[:1] == [kind]) for kind in ("LOAD", "GNU_STACK"))
    assert "".join(load[6:-1]) == "".join(stack[6:-1]) == "RW"
    large = architecture in {"aarch64", "armv7l", "ppc64le", "loongarch64"}
    assert int(load[-1], 16) == (0x10000 if large else 0x1000)
    facts = read_elf_file(path)
    assert facts.machine == machine
    flags = {"armv7l": 0x05000000, "ppc64le": 2, "riscv64": 5, "loongarch64": 0x43}
    assert facts.e_flags == flags.get(architecture, 0)
    assert facts.sections
    assert facts.size < 1100


_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0:"), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(
    machine=st.sampled_from([MACHINES[name] for name in _KNOWN]),
    soname=_NAMES,
    needed=st.lists(_NAMES, max_size=12),
    run_path=st.lists(_NAMES, max_size=4),
    tag=st.sampled_from(["rpath", "runpath"]),
)
def test_it_says_what_was_asked_for(
    machine: Machine, soname: str, needed: list[str], run_path: list[str], tag: str
) -> None:
    arguments = {"soname": soname, "needed": needed, "run_path": run_path, "run_path_tag": tag}
    content = build_anchor(machine, **arguments)  # type: ignore[arg-type]
    facts = read_elf(content, where="anchor")
    assert (facts.machine, facts.soname, facts.needed) == (machine, soname, tuple(needed))
    assert facts.rpath == (tuple(run_path) if tag == "rpath" else ())
    assert facts.runpath == (tuple(run_path) if tag == "runpath" else ())
    assert not facts.imports
    assert not facts.exports
    assert content == build_anchor(machine, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a\0b", "\udcff"])
def test_names_that_cannot_be_written(name: str) -> None:
    for soname, needed in ((name, ["libfoo.so"]), ("a.so", [name])):
        with pytest.raises(WriteError) as caught:
            build_anchor(_X86_64, soname=soname, needed=needed)
        assert caught.value.findings[0].code is Code.WRITE_FAILED


@pytest.mark.parametrize("machine", [Machine(8, 32, False), MACHINES["ppc64"], Machine(62, 32, True)])
def test_unknown_machine(machine: Machine) -> None:
    with pytest.raises(WriteError) as caught:
        build_anchor(machine, soname="a.so", needed=[])
    (finding,) = caught.value.findings
    assert finding.code is Code.WRONG_ARCHITECTURE
    assert "aarch64" in finding.remedy


def test_unknown_tag() -> None:
    with pytest.raises(WriteError, match="no run path tag 'both'"):
        build_anchor(_X86_64, soname="a.so", needed=[], run_path_tag="both")
