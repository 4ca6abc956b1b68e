"""Library wheels with adapters: built, checked, and used by consumers that were linked with other names."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nativelib.facts.elf import MACHINES
from nativelib.facts.manifest import ANCHOR
from nativelib.plan.serial import plan_from_json, plan_to_json
from nativelib.read.elf import read_elf_file
from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.foreign import FOREIGN
from tests.support.prefixes import unpacked
from tests.support.projects import built, nativelib, project, repaired
from tests.support.toy import STRICT, TAG, installed, package
from tests.support.venvs import run_python
from tests.support.wheels import make_wheel, members
from tests.test_json import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.projects import Answer
    from tests.support.venvs import Environment

TARGET, ADAPTER = "libtarget-blas_lib.so.1", "libpre64_-blas_lib.so"
BLAS = """
double cblas_ddot({int} n, const double *x, {int} ix, const double *y, {int} iy) {{
    double sum = 0; for ({int} i = 0; i < n; i++) sum += x[i * ix] * y[i * iy]; return sum;
}}
double ddot_(const {int} *n, const double *x, const {int} *ix, const double *y, const {int} *iy) {{
    return cblas_ddot(*n, x, *ix, y, *iy);
}}
int dgemm_(void) {{ return {value}; }}
const char *openblas_get_config(void) {{ return "made for a test"; }}
"""
ADAPT = """
[[tool.nativelib.adapter]]
soname = "libpre64_.so"
target = "libtarget.so.1"
prefix = "pre_"
suffix = "64_"
symbols = ["pre_cblas_ddot64_", "pre_dgemm_64_", "pre_openblas_get_config64_"]
blas-int = "64"
"""
ABI = '[tool.nativelib.abi]\nblas-int = "64"\n'
CALLS = (
    "int pre_dgemm_64_(void); const char *pre_openblas_get_config64_(void);"
    "double pre_cblas_ddot64_(long, const double *, long, const double *, long);"
    "static const double x[] = {1, 2, 3};"
)
VALUE = "pre_dgemm_64_() + 100 * pre_cblas_ddot64_(3, x, 1, x, 1) + (pre_openblas_get_config64_()[0] == 'm')"


def _prefix(root: Path, value: int = 42, *, integer: str = "long", cc: str = "gcc") -> Path:
    source = BLAS.format(value=value, int=integer)
    shared_library(root / "lib", "libtarget.so.1", source, soname="libtarget.so.1", cc=cc)
    return root


def _project(
    directory: Path, tool: str = f"{ABI}{ADAPT}", *, name: str = "blas-lib", glob: str = "target.so.1"
) -> Path:
    return project(directory, name, f'libraries = ["lib/lib{glob}"]\n{tool}')


def _consumer(directory: Path) -> Path:
    """Return a wheel whose extension was linked with another library, whose functions return less."""
    source = "int pre_dgemm_64_(void) { return -1; } double pre_cblas_ddot64_(void) { return -1; }"
    source += 'const char *pre_openblas_get_config64_(void) { return "another"; }'
    linked = shared_library(directory / "host", "libpre64_.so", source, soname="libpre64_.so")
    module = extension(directory, "_ext", simple_module("_ext", VALUE, CALLS), needed=[linked])
    return make_wheel(directory, f"con-1.0-{TAG}.whl", package("con", module))


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A library wheel with an adapter, a consumer that was repaired with it, and both installed."""

    prefix: Path
    library: Path
    consumer: Path
    venv: Environment


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Built:
    here = tmp_path_factory.mktemp("adapters")
    prefix = _prefix(here / "prefix")
    library = built(_project(here / "blas-lib"), "--prefix", prefix, into=here / "dist")
    consumer = repaired(_consumer(here / "con"), "--provided-by", library, into=here / "repaired")
    venv = installed(here / "venv", library, consumer, links=[library.parent])
    return Built(prefix=prefix, library=library, consumer=consumer, venv=venv)


def _value(venv: Environment, code: str = "pass", env: Mapping[str, str] | None = None) -> list[object]:
    """Return what the consumer computes, and the files of libraries of ours that are mapped."""
    code = f"import con, json; value = con.value(); {code}; maps = open('/proc/self/maps').read().split('\\n')\n"
    code += "print(json.dumps([value, sorted({line.rsplit('/')[-1] for line in maps if '.so' in line})]))"
    done = run_python(venv.python, code, flags=STRICT, env=env)
    found: list[object] = json.loads(done.stdout)
    return found


# --- the wheel


def test_it_is_a_library_like_any_other(both: Built) -> None:
    contents = members(both.library)
    manifest = json.loads(contents["blas_lib-1.0.dist-info/nativelib.json"])
    target, adapter = manifest["libraries"]
    assert (target["soname"], target["original_soname"]) == (TARGET, "libtarget.so.1")
    assert (adapter["soname"], adapter["original_soname"]) == (ADAPTER, "libpre64_.so")
    assert adapter["needed"] == [TARGET]
    assert adapter["size"] == len(contents[adapter["file"]])
    assert manifest["exports"][ADAPTER] == {
        "pre_cblas_ddot64_": "1.0",
        "pre_dgemm_64_": "1.0",
        "pre_openblas_get_config64_": "1.0",
    }


def test_the_anchor_loads_it(both: Built, tmp_path: Path) -> None:
    lib = unpacked(both.library, tmp_path) / "blas_lib" / "lib"
    assert read_elf_file(lib / ANCHOR).needed == (TARGET, ADAPTER)
    assert read_elf_file(lib / ADAPTER).run_path == ("$ORIGIN",)


def test_new_programs_are_not_linked_with_it(both: Built) -> None:
    contents = members(both.library)
    assert b"libpre64_" not in contents["blas_lib/lib/pkgconfig/blas-lib.pc"]
    assert b"libpre64_" not in contents["blas_lib/lib/cmake/blas-lib/blas-libConfig.cmake"]
    assert b"libpre64_" not in contents["blas_lib-1.0.dist-info/sboms/nativelib.cdx.json"]


def test_equal_input_gives_equal_bytes(both: Built, tmp_path: Path) -> None:
    again = built(_project(tmp_path / "blas-lib"), "--prefix", both.prefix, into=tmp_path)
    assert again.read_bytes() == both.library.read_bytes()


def test_the_plan_can_be_saved_and_read(both: Built, tmp_path: Path) -> None:
    source = _project(tmp_path / "blas-lib")
    answer = nativelib("build", source, "--prefix", both.prefix, "--dry-run", "--plan-out", tmp_path / "plan.json")
    assert answer.code == 0, answer.stderr
    document = json.loads((tmp_path / "plan.json").read_text())
    adapt = next(action for action in document["actions"] if action["kind"] == "adapt")
    assert ["pre_dgemm_64_", "dgemm_"] in adapt["forwards"]
    assert plan_to_json(plan_from_json(document)) == document
    check("plan", document)


# --- consumers


def test_a_consumer_uses_it(both: Built) -> None:
    value, mapped = _value(both.venv)
    assert value == 1443
    assert isinstance(mapped, list)
    assert {TARGET, ADAPTER, ANCHOR} <= set(mapped)


def test_the_requirement_and_the_need(both: Built, tmp_path: Path) -> None:
    [found] = unpacked(both.consumer, tmp_path).glob("con/_ext*.so")
    assert ADAPTER in read_elf_file(found).needed
    assert b"Requires-Dist: blas-lib==1.0" in members(both.consumer)["con-1.0.dist-info/METADATA"]


def test_the_systems_copy_is_reached_through_it(both: Built, tmp_path: Path) -> None:
    system = _prefix(tmp_path, 7) / "lib"
    env = {"NATIVELIB_SYSTEM": "blas-lib", "LD_LIBRARY_PATH": str(system)}
    value, mapped = _value(both.venv, env=env)
    assert value == 1408
    assert isinstance(mapped, list)
    assert "libtarget.so.1" in mapped
    code = f"import blas_lib; assert blas_lib.loaded()['{ADAPTER}'].endswith('/system/{ADAPTER}')"
    _value(both.venv, code, env=env)


def test_the_target_in_another_library_wheel(both: Built, tmp_path: Path) -> None:
    """The wheel with the adapter requires it, and the consumer comes to it through two wheels."""
    prefix = tmp_path / "prefix"
    shared_library(prefix / "lib", "libextra.so.1", "int extra(void) { return 1; }", soname="libextra.so.1")
    source = _project(
        tmp_path / "wide-lib",
        f'provided-by = ["{both.library}"]\n{ADAPT.replace("libpre64_.so", "libpre64_w.so")}',
        name="wide-lib",
        glob="extra.so.1",
    )
    answer = nativelib("build", source, "--prefix", prefix, "-w", tmp_path / "dist")
    assert answer.code == 0, answer.stdout
    assert answer.findings == []  # loaded and followed, together with the other wheel
    assert answer.document["requires"] == ['blas-lib==1.0; sys_platform == "linux"']
    wide = Path(answer.document["wheel"])
    venv = installed(tmp_path / "venv", wide, links=[both.library.parent])
    code = "import ctypes, wide_lib; print(ctypes.CDLL('libpre64_w-wide_lib.so').pre_dgemm_64_())"
    assert run_python(venv.python, code, flags=STRICT).stdout == "42\n"


def test_a_kept_soname(both: Built, tmp_path: Path) -> None:
    library = built(
        _project(tmp_path / "blas-lib", f'soname = "keep"\n{ABI}{ADAPT}'), "--prefix", both.prefix, into=tmp_path
    )
    consumer = repaired(_consumer(tmp_path / "con"), "--provided-by", library, into=tmp_path / "repaired")
    venv = installed(tmp_path / "venv", library, consumer, links=[tmp_path])
    value, mapped = _value(venv)
    assert value == 1443
    assert isinstance(mapped, list)
    assert "libpre64_.so" in mapped
    system = _prefix(tmp_path / "system", 7) / "lib"
    assert _value(venv, env={"NATIVELIB_SYSTEM": "all", "LD_LIBRARY_PATH": str(system)})[0] == 1408


# --- the check


def _refused(answer: Answer, directory: Path) -> list[dict[str, object]]:
    assert answer.code == 1
    assert not list(directory.glob("*"))
    return [finding for finding in answer.findings if finding["severity"] == "error"]


@pytest.mark.parametrize("name", ["cblas_ddot64_", "ddot_64_"])
@pytest.mark.parametrize(("integer", "declared", "found"), [("int", "64", "32"), ("long", "32", "64")])
def test_the_width_is_tried(tmp_path: Path, name: str, integer: str, declared: str, found: str) -> None:
    """By a call, because both declarations may be wrong. The prefix hides from the names that they say 64."""
    prefix = _prefix(tmp_path / "prefix", integer=integer)
    adapter = ADAPT.replace('"64"', f'"{declared}"').replace("64_", "").replace("pre_cblas_ddot", f"pre_{name[:-3]}")
    source = _project(tmp_path / "blas-lib", f"{ABI.replace('64', declared)}{adapter}")
    answer = nativelib("build", source, "--prefix", prefix, "-w", tmp_path / "dist")
    [finding] = _refused(answer, tmp_path / "dist")
    assert finding["code"] == "NL711"
    assert f"shows integers of {found} bits, and {declared} are declared" in str(finding["message"])


def test_a_name_that_leads_elsewhere_is_found(both: Built, tmp_path: Path) -> None:
    """As it would if another library with the target's names were in the way: here in the process that checks."""
    other = shared_library(tmp_path, "libother.so", "int dgemm_(void) { return 0; }")
    source = _project(tmp_path / "blas-lib")
    env = {"LD_PRELOAD": str(other)}
    answer = nativelib("build", source, "--prefix", both.prefix, "-w", tmp_path / "dist", env=env)
    [finding] = _refused(answer, tmp_path / "dist")
    assert finding["code"] == "NL712"
    assert "1 of its names lead elsewhere: pre_dgemm_64_" in str(finding["message"])


def test_a_target_that_cannot_be_loaded_is_not_called(tmp_path: Path) -> None:
    """It needs something that only systems have that it is meant for."""
    driver = shared_library(tmp_path / "gone", "libdriver.so.1", "int driver;", soname="libdriver.so.1")
    source = BLAS.format(value=1, int="long")
    shared_library(tmp_path / "lib", "libtarget.so.1", source, soname="libtarget.so.1", needed=[driver])
    spec = _project(tmp_path / "blas-lib")
    answer = nativelib("build", spec, "--prefix", tmp_path, "-w", tmp_path / "dist", "--exclude", "libdriver.so.1")
    assert answer.code == 0, answer.stdout
    assert [finding["code"] for finding in answer.findings] == ["NL712"]
    assert "libdriver.so.1" in answer.findings[0]["message"]


def test_a_target_that_crashes_is_an_error(tmp_path: Path) -> None:
    source = BLAS.format(value=1, int="long")
    source += "__attribute__((constructor)) static void die(void) { __builtin_trap(); }"
    shared_library(tmp_path / "lib", "libtarget.so.1", source, soname="libtarget.so.1")
    answer = nativelib("build", _project(tmp_path / "blas-lib"), "--prefix", tmp_path, "-w", tmp_path / "dist")
    [finding] = _refused(answer, tmp_path / "dist")
    assert finding["code"] == "NL712"


# --- other machines and C libraries

DRIVER = """
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        void *handle = dlopen(words[i], RTLD_NOW | RTLD_LOCAL);
        if (!handle) { puts(dlerror()); return 1; }
        int (*answer)(void) = (int (*)(void))dlsym(handle, "answer");
        if (answer) printf("%d\\n", answer());
    }
    return 0;
}
"""


def _elsewhere(directory: Path, cc: str) -> tuple[Answer, list[str]]:
    """Build the wheel for another system; return the answer, and a program with what it opens: anchor, consumer."""
    prefix = _prefix(directory / "prefix", cc=cc)
    answer = nativelib("build", _project(directory / "blas-lib"), "--prefix", prefix, "-w", directory / "dist")
    lib = unpacked(Path(answer.document["wheel"]), directory / "site") / "blas_lib" / "lib"
    source = f"{CALLS} int answer(void) {{ return {VALUE}; }}"
    consumer = shared_library(directory, "consumer.so", source, needed=[lib / ADAPTER], cc=cc, flags=[f"-L{lib}"])
    driver = program(directory, "driver", DRIVER, cc=cc)
    return answer, [str(driver), str(lib / ANCHOR), str(consumer)]


def test_aarch64(tmp_path: Path) -> None:
    foreign = FOREIGN["aarch64"]
    answer, words = _elsewhere(tmp_path, foreign.compiler)
    [finding] = answer.findings
    assert (finding["code"], finding["severity"]) == ("NL712", "note")
    assert "they are for aarch64" in finding["message"]
    for page in (4096, 65536):
        argv = [*foreign.emulated(foreign.sysroot, page=page), *words]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "1443\n"
    assert read_elf_file(Path(words[1])).machine == MACHINES["aarch64"]


def test_musl(tmp_path: Path) -> None:
    answer, words = _elsewhere(tmp_path, "musl-gcc")
    [finding] = [finding for finding in answer.findings if finding["code"] == "NL712"]
    assert "they are for musl" in finding["message"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "1443\n"
