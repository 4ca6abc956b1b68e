"""A patchelf that does not do what it was asked: the result is read back, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from nativelib.findings import Code
from nativelib.pipeline.consumer import RepairRequest
from nativelib.pipeline.repair import repair_wheels
from nativelib.write import patch
from tests.support.cc import extension, shared_library, simple_module
from tests.support.tools import require
from tests.support.toy import EXT_SUFFIX, TAG
from tests.support.wheels import make_wheel

# What follows the true edit of the file "$out".
_WRONG = {
    "nothing is edited": 'cp "$last" "$out"',
    "another soname": '"$real" --set-soname libwrong.so.9 "$out"',
    "a need is gone": '"$real" --remove-needed libm.so.6 "$out"',
    "a need too many": '"$real" --add-needed libwrong.so.9 "$out"',
    "no run path": '"$real" --set-rpath /wrong "$out"',
    "cut off": 'truncate -s 200 "$out"',
    "empty": ': > "$out"',
    "no ELF file": 'echo text > "$out"',
    "symbols of other versions": "sed -i 's/OWN_1.0/OWN_2.0/g' \"$out\"",
    "symbols of other names": "sed -i 's/own_value/own_wrong/g' \"$out\"",
    "nothing is there": 'rm "$out"',
}


def _wheel(directory: Path) -> Path:
    own = shared_library(
        directory,
        "libown.so.1",
        "int own_value(void) { return 1; }",
        soname="libown.so.1",
        needed=[Path("-lm")],
        version_script="OWN_1.0 { global: own_value; local: *; };",
    )
    source = simple_module("_ext", "own_value()", "int own_value(void);")
    file = extension(directory, "_ext", source, needed=[own, Path("-lm")])
    return make_wheel(directory, f"wrong-1.0-{TAG}.whl", {"pkg/__init__.py": "", f"pkg/_ext{EXT_SUFFIX}": file})


def _patchelf(directory: Path, then: str, only: str) -> Path:
    """A program that calls patchelf and then does something else if it is called with *only*."""
    program = directory / "patchelf"
    program.write_text(
        f"""#!/bin/sh
real='{require("patchelf")}'
"$real" "$@" || exit
[ "$1" = --version ] && exit
out=
for word; do [ "$previous" = --output ] && out=$word; previous=$word; last=$word; done
[ -n "$out" ] || out=$last
case " $* " in *" {only} "*) {then} ;; esac
"""
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("what", _WRONG)
def test_a_graft_that_became_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    _refused(tmp_path, monkeypatch, _patchelf(tmp_path, _WRONG[what], "--set-soname"))


@pytest.mark.parametrize("what", ["nothing is edited", "a need is gone", "cut off"])
def test_an_extension_that_became_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    _refused(tmp_path, monkeypatch, _patchelf(tmp_path, _WRONG[what], "--replace-needed"))


def test_the_program_is_not_at_fault_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _patchelf(tmp_path, ":", "--set-soname")
    monkeypatch.setattr(patch, "_patchelf", lambda: program)
    [result] = repair_wheels(_request(_wheel(tmp_path), tmp_path))
    assert result.output is not None


def _request(wheel: Path, directory: Path) -> RepairRequest:
    # A run path that is there would leave room for the new names, and patchelf would not be asked.
    return RepairRequest(wheels=(wheel,), wheel_dir=directory / "out", ldpaths_first=str(directory))


def _refused(directory: Path, monkeypatch: pytest.MonkeyPatch, program: Path) -> None:
    monkeypatch.setattr(patch, "_patchelf", lambda: program)
    wheel = _wheel(directory)
    before = wheel.read_bytes()
    [result] = repair_wheels(_request(wheel, directory))
    assert result.failed
    assert {finding.code for finding in result.findings} <= {Code.INTERNAL, Code.WRITE_FAILED, Code.TOOL_FAILED}
    assert list((directory / "out").iterdir()) == []
    assert wheel.read_bytes() == before
