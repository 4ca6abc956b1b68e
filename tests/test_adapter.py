"""The adapter as a file: calls pass through it as they are, loaders take it, tools understand it."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nativelib.errors import WriteError
from nativelib.facts.adapter import ARCHITECTURES
from nativelib.facts.elf import MACHINES, Machine, identity
from nativelib.findings import Code
from nativelib.plan.adapter import predicted_facts
from nativelib.read.elf import read_elf
from nativelib.write.adapter import build_adapter
from tests.support.adapters import ADAPTER, FUNCTIONS, PROGRAM, SONAME, TARGET, adapter, renamed
from tests.support.cc import program, shared_library
from tests.support.foreign import FOREIGN
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

_X86_64 = MACHINES["x86_64"]


def _programs(directory: Path, machine: Machine, cc: str) -> list[Path]:
    """Return a program that calls the target, and one that calls it through an adapter."""
    target = shared_library(directory, SONAME, TARGET, soname=SONAME, cc=cc)
    between = directory / ADAPTER
    between.write_bytes(adapter(machine))
    flags = ["-Wl,-rpath,$ORIGIN", f"-Wl,-rpath-link,{directory}"]
    direct = program(directory, "direct", PROGRAM, needed=[target], cc=cc, flags=flags)
    return [direct, program(directory, "through", renamed(PROGRAM), needed=[between], cc=cc, flags=flags)]


def _outputs(programs: list[Path], *emulator: str) -> list[str]:
    done = [subprocess.run([*emulator, path], capture_output=True, text=True, check=True) for path in programs]
    return [one.stdout for one in done]


# --- calls


@pytest.mark.parametrize("cc", ["gcc", "musl-gcc"])
def test_calls_pass_through_as_they_are(tmp_path: Path, cc: str) -> None:
    direct, through = _outputs(_programs(tmp_path, _X86_64, cc))
    assert direct == through
    assert through.count("|") == 5
    assert "abcdeabcde.." in through


@pytest.mark.parametrize("page", [4096, 65536])
def test_calls_pass_through_on_aarch64(tmp_path: Path, page: int) -> None:
    foreign = FOREIGN["aarch64"]
    programs = _programs(tmp_path, MACHINES["aarch64"], foreign.compiler)
    direct, through = _outputs(programs, *foreign.emulated(foreign.sysroot, page=page))
    assert direct == through
    assert "abcdeabcde.." in through


def test_a_function_that_is_chosen_when_it_is_loaded(tmp_path: Path) -> None:
    """STT_GNU_IFUNC, as libraries choose kernels by processor: the slot gets what the resolver returns."""
    source = """
    static int one(void) { return 1; } static int two(void) { return 2; }
    static int (*choose(void))(void) { return 1 ? two : one; }
    int kernel(void) __attribute__((ifunc("choose")));
    """
    shared_library(tmp_path, "libk.so", source, soname="libk.so")
    path = tmp_path / "liba.so"
    path.write_bytes(build_adapter(_X86_64, soname="liba.so", needed=["libk.so"], forwards=[("my_kernel", "kernel")]))
    main = "int my_kernel(void); int main(void) { return my_kernel() - 2; }"
    subprocess.run([program(tmp_path, "main", main, needed=[path], flags=[f"-Wl,-rpath,{tmp_path}"])], check=True)


def test_what_the_loader_wrote_is_read_only_afterwards(tmp_path: Path) -> None:
    """Nothing of it stays writable, and nothing is writable and executable at any time."""
    shared_library(tmp_path, SONAME, TARGET, soname=SONAME)
    (tmp_path / ADAPTER).write_bytes(adapter(_X86_64))
    main = f"""
    #include <stdio.h>
    #include <string.h>
    int pre_add64_(int, int);
    int main(void) {{
        char line[4096]; FILE *maps = fopen("/proc/self/maps", "r");
        while (fgets(line, sizeof line, maps)) if (strstr(line, "{ADAPTER}")) printf("%.4s ", strchr(line, ' ') + 1);
        return pre_add64_(1, 2) - 3;
    }}
    """
    path = program(tmp_path, "main", main, needed=[tmp_path / ADAPTER], flags=[f"-Wl,-rpath,{tmp_path}"])
    assert _outputs([path]) == ["r--p r-xp r--p "]


def test_many_names(tmp_path: Path) -> None:
    """More than fit into one page of anything, several for one function, and each finds its own."""
    count = 3000
    source = "".join(f"int f{i}(void) {{ return {i}; }}\n" for i in range(count))
    shared_library(tmp_path, SONAME, source, soname=SONAME, flags=["-O0"])
    forwards = [(f"name_{i}_{n}", f"f{i}") for i in range(count) for n in range(1 + i % 2)]
    path = tmp_path / ADAPTER
    path.write_bytes(build_adapter(_X86_64, soname=ADAPTER, needed=[SONAME], forwards=forwards))
    names = ",".join(f'"{name}"' for name, _ in forwards)
    numbers = ",".join(function[1:] for _, function in forwards)
    main = f"""
    #include <dlfcn.h>
    const char *names[] = {{{names}}}; const int numbers[] = {{{numbers}}};
    int main(int count, char **words) {{
        void *handle = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
        for (int i = 0; i < {len(forwards)}; i++)
            if (((int (*)(void))dlsym(handle, names[i]))() != numbers[i]) return 1;
        return dlsym(handle, "name_0") != 0;
    }}
    """
    subprocess.run([program(tmp_path, "main", main), path], check=True)


@pytest.mark.parametrize(
    "tool",
    [
        ["strip", "--strip-all"],
        ["objcopy"],
        ["patchelf", "--set-soname", "a_name_that_is_a_good_deal_longer_than_the_old_one.so"],
        ["patchelf", "--add-needed", "libm.so.6"],
        ["patchelf", "--force-rpath", "--set-rpath", "$ORIGIN:$ORIGIN/../../other_package/lib"],
    ],
    ids=" ".join,
)
def test_tools_keep_it_working(tmp_path: Path, tool: list[str]) -> None:
    programs = _programs(tmp_path, _X86_64, "gcc")
    subprocess.run([require(tool[0]), *tool[1:], tmp_path / ADAPTER], check=True, capture_output=True)
    direct, through = _outputs(programs)
    assert direct == through


# --- form


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_readers_have_nothing_to_complain_about(tmp_path: Path, architecture: str) -> None:
    path = tmp_path / ADAPTER
    path.write_bytes(adapter(MACHINES[architecture]))
    done = subprocess.run([require("readelf"), "-aW", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "arning" not in done.stdout
    marks = {"x86_64": "IBT, SHSTK", "aarch64": "BTI, PAC"}
    for text in (f"[{SONAME}]", f"[{ADAPTER}]", "Library rpath: [$ORIGIN]", "BIND_NOW", "Flags: NOW"):
        assert text in done.stdout
    assert marks[architecture] in done.stdout
    segments = {line.split()[0]: line.split() for line in done.stdout.splitlines() if re.match(r"  GNU_\w+ ", line)}
    assert "".join(segments["GNU_STACK"][6:-1]) == "RW"
    start, size = (int(segments["GNU_RELRO"][index], 16) for index in (2, 5))
    page = 0x1000 if architecture == "x86_64" else 0x10000
    assert (start + size) % page == 0  # a loader protects whole pages
    slots = re.findall(rf"R_{architecture.upper()}_GLOB_DAT .* (\w+) \+ 0", done.stdout)
    assert sorted(slots) == sorted(FUNCTIONS)


@pytest.mark.parametrize(("architecture", "binutils"), [("x86_64", ""), ("aarch64", "aarch64-linux-gnu-")])
def test_its_code_is_one_jump_for_each_name(tmp_path: Path, architecture: str, binutils: str) -> None:
    path = tmp_path / ADAPTER
    path.write_bytes(adapter(MACHINES[architecture]))
    argv = [require(f"{binutils}objdump"), "-d", "--no-show-raw-insn", str(path)]
    code = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = {name: body.split("\n\n")[0] for name, body in re.findall(r"<(pre_\w+)>:\n((?:.+\n)+)", code)}
    assert found.keys() == {f"pre_{name}64_" for name in FUNCTIONS}
    words = {"x86_64": ["endbr64", "jmp"], "aarch64": ["bti", "adrp", "ldr", "br"]}[architecture]
    for body in found.values():
        assert [line.split()[1] for line in body.splitlines()][: len(words)] == words


_NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    machine=st.sampled_from([MACHINES[name] for name in ARCHITECTURES]),
    pairs=st.dictionaries(_NAMES.map("in_{}".format), _NAMES.map("out_{}".format), min_size=1, max_size=40),
    run_path=st.lists(_NAMES, min_size=1, max_size=3).map(tuple),
    tag=st.sampled_from(["rpath", "runpath"]),
)
def test_it_is_what_was_planned(machine: Machine, pairs: dict[str, str], run_path: tuple[str, ...], tag: str) -> None:
    forwards = tuple(pairs.items())
    content = build_adapter(
        machine, soname="a.so", needed=["b.so"], forwards=forwards, run_path=run_path, run_path_tag=tag
    )
    planned = predicted_facts(
        machine, soname="a.so", needed=("b.so",), forwards=forwards, run_path=run_path, run_path_tag=tag
    )
    assert identity(read_elf(content, where="a.so")) == identity(planned)
    again = tuple(reversed(forwards))
    assert content == build_adapter(
        machine, soname="a.so", needed=["b.so"], forwards=again, run_path=run_path, run_path_tag=tag
    )


def test_machines_without_adapters() -> None:
    for name in set(MACHINES) - set(ARCHITECTURES):
        with pytest.raises(WriteError) as caught:
            build_adapter(MACHINES[name], soname="a.so", needed=["b.so"], forwards=[("x", "y")])
        assert caught.value.findings[0].code is Code.WRONG_ARCHITECTURE


@pytest.mark.parametrize("pair", [("a\0b", "c"), ("a", ""), ("\udcff", "c")])
def test_names_that_cannot_be_written(pair: tuple[str, str]) -> None:
    with pytest.raises(WriteError) as caught:
        build_adapter(_X86_64, soname="a.so", needed=["b.so"], forwards=[pair])
    assert caught.value.findings[0].code is Code.WRITE_FAILED
