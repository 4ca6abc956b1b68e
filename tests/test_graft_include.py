"""Libraries that no file needs, and that are copied in because code opens them at run time (``--include``)."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import program, shared_library
from tests.support.outside import OPENS_FOO, Outside, make_outside
from tests.support.projects import nativelib
from tests.support.toy import TAG, consumer
from tests.support.venvs import run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

CTYPES = "import ctypes\ndef value(): return ctypes.CDLL('libfoo.so.1').foo()\n"
RUN = "import os, subprocess, sys; print(subprocess.run([os.path.join(sys.prefix, 'bin', 'prog')]).returncode)"


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """The libraries of this test."""
    return make_outside(tmp_path)


def opener(outside: Outside, module: str = "_ext") -> Path:
    """Return an extension that opens ``libfoo.so.1`` by its name."""
    return outside.extension(module, "opened()", OPENS_FOO, needed=[])


def test_an_extension_that_opens_it_gets_a_run_path(outside: Outside) -> None:
    file, other = opener(outside), outside.extension("_other", "3", "", needed=[])
    files = {f"p/{file.name}": file, f"p/{other.name}": other}
    wheel = consumer(outside.root, "p", {"p/__init__.py": "from ._ext import value\n", **files})
    result = outside.repaired(wheel, "--include", "libfoo.so.1", allow=["NL212"])
    found = members(result)
    assert found["p.libs/libfoo.so.1"] == outside.foo.read_bytes()
    # It is opened when it is wanted, and not before; what does not open it is left alone.
    assert found["p/__init__.py"] == b"from ._ext import value\n"
    assert found[f"p/{other.name}"] == other.read_bytes()
    assert outside.value(result) == "5"


def test_a_top_level_extension(outside: Outside) -> None:
    file = opener(outside)
    wheel = consumer(outside.root, "p", {file.name: file})
    result = outside.repaired(wheel, "--include", "libfoo.so.1", allow=["NL212"])
    assert outside.value(result, "import _ext; print(_ext.value())") == "5"


def test_a_name_that_is_put_together_at_run_time(outside: Outside) -> None:
    text = OPENS_FOO.replace('dlopen("libfoo.so.1"', 'dlopen(strcat(strcpy(name, "lib"), "foo.so.1")')
    text = text.replace("static int opened(void) {", "#include <string.h>\nstatic int opened(void) { char name[99];")
    file = outside.extension("_ext", "opened()", text, needed=[])
    wheel = consumer(outside.root, "p", {"p/__init__.py": "from ._ext import value\n", f"p/{file.name}": file})
    result = outside.repaired(wheel, "--include", "libfoo.so.1", allow=["NL212"])
    assert outside.value(result) == "5"


@pytest.mark.parametrize("pure", [True, False])
def test_python_code_finds_it_because_the_hook_has_loaded_it(outside: Outside, *, pure: bool) -> None:
    files: dict[str, bytes | str | Path] = {"p/__init__.py": CTYPES}
    if pure:
        wheel = make_wheel(outside.root, "p-1.0-py3-none-any.whl", files, purelib=True)
    else:
        file = outside.extension("_ext", "3", "", needed=[])
        wheel = consumer(outside.root, "p", {**files, f"p/{file.name}": file})
    result = outside.repaired(wheel, "--include", "libfoo.so.1", allow=["NL212"])
    assert result.name.startswith("p-1.0-py3-none-manylinux" if pure else "p-1.0-cp")
    assert {"p.libs/libfoo.so.1", "p.libs/nativelib_anchor.so", "p/_distributor_init.py"} <= set(members(result))
    environment = outside.installed(result)
    assert run_python(environment, "import p; print(p.value())").stdout == "5\n"
    # Freezers leave the anchor out; the code then says itself what is missing.
    (environment.site / "p.libs" / "nativelib_anchor.so").unlink()
    code = "import p\ntry: p.value()\nexcept OSError as error: print(error)"
    assert "libfoo.so.1: cannot open" in run_python(environment, code, flags=("-I", "-W", "error")).stdout


def test_a_library_that_cannot_be_loaded_says_why(outside: Outside) -> None:
    wheel = make_wheel(outside.root, f"p-1.0-{TAG}.whl", {"p/__init__.py": CTYPES.replace("foo", "bar")})
    options = ("--include", "libbar.so.1", "--exclude", "libfoo.so.1")
    [found] = outside.repair(wheel, *options).document["wheels"]
    result = outside.root / "out" / found["output"]
    seen = run_python(outside.installed(result), "import p; print('imported')", flags=("-I", "-W", "always"))
    assert seen.stdout == "imported\n"
    assert "RuntimeWarning: p cannot load libbar.so.1, which it carries: libfoo.so.1: cannot open" in seen.stderr


def test_packages_below_namespaces_and_what_the_library_needs(outside: Outside) -> None:
    files = {f"ns/{name}/__init__.py": CTYPES.replace("foo", "bar") for name in ("one", "two")}
    wheel = make_wheel(outside.root, "p-1.0-py3-none-any.whl", files)
    answer = outside.repair(wheel, "--include", "libba[r].so.1")
    assert {item["soname"] for item in answer.document["wheels"][0]["grafted"]} == {"libbar.so.1", "libfoo.so.1"}
    names = [name for name in members(outside.root / "out" / answer.document["wheels"][0]["output"]) if "libs/" in name]
    # What it needs is grafted as ever, under a name of its own.
    assert [name.partition("-")[0] for name in sorted(names)][:2] == ["p.libs/libbar.so.1", "p.libs/libfoo"]
    result = outside.repaired(wheel, "--include", "libba[r].so.1", allow=["NL212"])
    code = "import ns.two; print(ns.two.value())\nimport ns.one; print(ns.one.value())"
    assert outside.value(result, code) == "15\n15"


@pytest.mark.parametrize("scheme", ["scripts", "data/bin"])
def test_a_program_that_opens_it(outside: Outside, scheme: str) -> None:
    file = outside.program("prog", "opened()", OPENS_FOO)
    wheel = consumer(outside.root, "p", {"p.py": "", f"p-1.0.data/{scheme}/prog": file})
    result = outside.repaired(wheel, "--include", "libfoo.so.1", allow=["NL212"])
    assert outside.value(result, RUN).split() == ["5", "0"]


def test_it_is_needed_as_well_and_there_is_one_copy(outside: Outside) -> None:
    file = outside.extension("_ext", "bar() + 100 * opened()", f"int bar(void);{OPENS_FOO}")
    wheel = consumer(outside.root, "p", {"p/__init__.py": "from ._ext import value\n", f"p/{file.name}": file})
    result = outside.repaired(wheel, "--include", "libfoo.so.1", allow=["NL212"])
    assert sum("libfoo" in name for name in members(result)) == 1
    assert outside.value(result) == "515"


def test_a_file_a_directory_and_another_name(outside: Outside) -> None:
    plugin = shared_library(outside.root / "plugins", "build.so", "int foo(void) { return 7; }", soname="other.so")
    text = CTYPES.replace("libfoo.so.1", "plugin.so") + "def more(): return ctypes.CDLL('libfoo.so.1').foo()\n"
    wheel = make_wheel(outside.root, "p-1.0-py3-none-any.whl", {"p/__init__.py": text})
    moved = outside.root / "elsewhere"
    shutil.copytree(outside.directory, moved)
    options = ("--include", f"plugin.so={plugin}", "--include", f"libf*.so.1={moved}")
    result = outside.repaired(wheel, *options, allow=["NL212"])
    for directory in (moved, plugin.parent):
        shutil.rmtree(directory)
    assert outside.value(result, "import p; print(p.value(), p.more())") == "7 5"


def test_links_give_one_library_its_soname(outside: Outside) -> None:
    for name in ("libfoo.so", "libfoo.so.1.0.0"):
        (outside.directory / name).symlink_to("libfoo.so.1")
    (outside.directory / "libfoo.a").write_text("no ELF file")
    wheel = make_wheel(outside.root, "p-1.0-py3-none-any.whl", {"p/__init__.py": CTYPES})
    result = outside.repaired(wheel, "--include", "libfoo*", allow=["NL212"])
    assert [name for name in members(result) if "libfoo" in name] == ["p.libs/libfoo.so.1"]


def test_more_is_included_later(outside: Outside) -> None:
    text = f"{CTYPES}def more(): return ctypes.CDLL('libbar.so.1').bar()\n"
    wheel = make_wheel(outside.root, "p-1.0-py3-none-any.whl", {"p/__init__.py": text})
    first = outside.repaired(wheel, "--include", "libfoo.so.1", allow=["NL212"])
    first = first.rename(outside.root / first.name)
    result = outside.repaired(first, "--include", "libbar.so.1", allow=["NL212"])
    assert outside.value(result, "import p; print(p.value(), p.more())") == "5 15"


def test_the_wheel_has_it_already(outside: Outside) -> None:
    file = opener(outside)
    wheel = consumer(outside.root, "p", {f"p/{file.name}": file, "p/lib/libfoo.so.1": outside.foo})
    answer = outside.repair(wheel, "--include", "libfoo.so.1")
    [found] = answer.findings
    assert (answer.code, found["code"], found["severity"]) == (0, "NL211", "note")
    assert "p/lib/libfoo.so.1" in found["message"]
    assert answer.document["wheels"][0]["grafted"] == []


def test_nothing_leads_to_it(outside: Outside) -> None:
    wheel = make_wheel(outside.root, "p-1.0-py3-none-any.whl", {"p.py": CTYPES})
    answer = outside.repair(wheel, "--include", "libfoo.so.1")
    assert {f["code"] for f in answer.findings} == {"NL502", "NL212"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["libfoo.so"], "There is libfoo.so.1"),
        (["libfou.so.1"], "There is libfoo.so.1"),
        (["no-such-thing.so"], "--include no-such-thing.so=PATH"),
        (["libfoo.so.1=/no/such/place"], "searched: /no/such/place"),
    ],
)
def test_nothing_is_found(outside: Outside, words: list[str], says: str) -> None:
    file = opener(outside)
    wheel = consumer(outside.root, "p", {f"p/{file.name}": file})
    answer = outside.repair(wheel, *[part for word in words for part in ("--include", word)])
    [text] = answer.errors().values()
    assert answer.code == 1
    assert text.startswith("NL211 ")
    assert says in text
    assert not (outside.root / "out").exists()


def test_one_file_under_two_names_is_refused(outside: Outside) -> None:
    (outside.foo.parent / "libother.so.1").symlink_to(outside.foo)
    file = opener(outside)
    wheel = consumer(outside.root, "p", {f"p/{file.name}": file})
    answer = outside.repair(wheel, "--include", "libfoo.so.1", "--include", "libother.so.1")
    [text] = answer.errors().values()
    assert answer.code == 1
    assert text.startswith("NL211 libfoo.so.1 and libother.so.1 are one file, ")


def test_another_machine_is_passed_over(outside: Outside) -> None:
    text = "int foo(void) { return 5; }"
    other = shared_library(outside.root / "arm", "libfoo.so.1", text, cc="aarch64-linux-gnu-gcc")
    file = opener(outside)
    wheel = consumer(outside.root, "p", {f"p/{file.name}": file})
    answer = outside.repair(wheel, "--include", f"libfoo.so.1={other}")
    assert "is for aarch64" in answer.errors()["libfoo.so.1"]
    pure = make_wheel(outside.root, "q-1.0-py3-none-any.whl", {"q/__init__.py": CTYPES})
    result = outside.repaired(pure, "--include", f"libfoo.so.1={other}", allow=["NL212"])
    assert result.name.endswith("_aarch64.whl")


MUSL = """
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words) {
    void *found = 0;
    for (int i = 1; i < count; i++) found = dlopen(words[i], RTLD_NOW | RTLD_LOCAL);
    printf("%d\\n", found ? ((int (*)(void))dlsym(found, "foo"))() : -1);
    return 0;
}
"""


def test_the_anchor_serves_what_is_opened_by_name_on_musl(tmp_path: Path) -> None:
    library = shared_library(
        tmp_path / "host", "libfoo.so.1", "int foo(void) { return 5; }", soname="libfoo.so.1", cc="musl-gcc"
    )
    platform = TAG.rpartition("-")[2].replace("linux", "musllinux_1_2", 1)
    wheel = make_wheel(tmp_path, f"p-1.0-py3-none-{platform}.whl", {"p/__init__.py": CTYPES})
    answer = nativelib("repair", wheel, "--include", f"libfoo.so.1={library}", "-w", tmp_path / "out")
    assert answer.code == 0, answer.stdout
    [entry] = answer.document["wheels"]
    assert platform in entry["tags"]
    for name, content in members(tmp_path / "out" / entry["output"]).items():
        (tmp_path / "u" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "u" / name).write_bytes(content)
    driver = program(tmp_path, "driver", MUSL, cc="musl-gcc")
    home = tmp_path / "u" / "p.libs"
    for first, expected in (("nativelib_anchor.so", "5\n"), ("libfoo.so.1", "-1\n")):
        argv = [str(driver), str(home / first), "libfoo.so.1"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == expected


def test_two_files_of_one_name(outside: Outside) -> None:
    other = make_outside(outside.root, 6, "more")
    wheel = make_wheel(outside.root, "p-1.0-py3-none-any.whl", {"p/__init__.py": CTYPES})
    answer = outside.repair(wheel, "--include", "libfoo.so.1", "--include", f"libfoo.so.*={other.directory}")
    assert answer.code == 1
    assert [f["code"] for f in answer.findings if f["severity"] == "error"] == ["NL212"]


def test_wrong_usage(outside: Outside) -> None:
    for word in ("", "=x", "a/b.so", "libfoo.so.1="):
        assert nativelib("repair", outside.root / "no.whl", "--include", word).code == 2
