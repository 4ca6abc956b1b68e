"""``nativelib verify`` on small wheels: sound ones, and ones with each fault that only running them shows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension, simple_module
from tests.support.projects import Answer, nativelib
from tests.support.toy import Toy, consumer, package
from tests.support.wheels import make_wheel, members
from tests.test_json import check

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one call said."""

    answer: Answer
    keep: Path

    def result(self, wheel: str | None, name: str) -> str:
        """Return the result of a check."""
        return str(self.row(wheel, name)["result"])

    def row(self, wheel: str | None, name: str) -> dict[str, Any]:
        """Return the JSON object of a check."""
        rows = [row for row in self.answer.document["checks"] if (row["wheel"], row["check"]) == (wheel, name)]
        assert len(rows) == 1, (wheel, name, self.answer.document["checks"])
        return dict(rows[0])

    def checks(self, wheel: str | None) -> dict[str, str]:
        """Return check and result of all that was tried with a wheel."""
        return {row["check"]: row["result"] for row in self.answer.document["checks"] if row["wheel"] == wheel}

    def findings(self, wheel: str | None) -> list[dict[str, Any]]:
        """Return the findings of a wheel, or of none."""
        if wheel is None:
            return list(self.answer.document["findings"])
        [found] = [entry for entry in self.answer.document["wheels"] if entry["name"] == wheel]
        return list(found["findings"])

    def finding(self, wheel: str | None, code: str) -> dict[str, Any]:
        """Return the one finding of that code."""
        [found] = [finding for finding in self.findings(wheel) if finding["code"] == code]
        return dict(found)


def verify(directory: Path, wheels: Sequence[Path], *options: str | Path) -> Said:
    """Verify *wheels* without an index; environments are left in ``directory/kept``."""
    keep = directory / "kept"
    answer = nativelib("verify", "--no-index", "--keep", keep, *options, *wheels)
    check("verify", answer.document)
    return Said(answer=answer, keep=keep)


def rewritten(wheel: Path, directory: Path, name: str, **changes: bytes) -> Path:
    """Return a copy of *wheel* in which the members that end with the keys of *changes* are other bytes."""
    content = {member: data for member, data in members(wheel).items() if not member.endswith("/RECORD")}
    [old] = {member.partition("-")[0] for member in content if ".dist-info/" in member}
    files = {}
    for member, data in content.items():
        stem = member.rpartition("/")[2].partition(".")[0]
        files[member.replace(old, name)] = changes.get(stem, data.replace(old.encode(), name.encode()))
    return make_wheel(directory, wheel.name.replace(old, name), files)


# Sound wheels


@pytest.fixture(scope="module")
def sound(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Said:
    directory = tmp_path_factory.mktemp("sound")
    counter = toy.repaired(consumer(directory / "in", "counter", package("counter", toy.plain)))
    both = toy.extension("upper_value() + toy_value()", ("libupper.so.2", "libtoy.so.1"))
    second = toy.repaired(consumer(directory / "in", "second", package("second", both)), toy.toy, toy.upper)
    command = "python -c 'import os, counter, second; print(counter.value(), second.value(), os.listdir())'"
    providers = ("--provided-by", toy.toy, "--provided-by", toy.upper)
    return verify(directory, [counter, second], *providers, "--command", command)


def test_sound_wheels_pass_everything(sound: Said) -> None:
    assert sound.answer.code == 0
    assert sound.answer.findings == []
    every = ("import", "symbols", "split", "provider-first", "run-paths", "poisoned")
    assert sound.checks("counter") == sound.checks("second") == dict.fromkeys(every, "ok")
    assert sound.checks(None) == dict.fromkeys(("install", "together", "reversed", "command"), "ok")


def test_the_report_says_who_provides_what(sound: Said) -> None:
    [counter, second] = sound.answer.document["wheels"]
    assert counter["provided"] == [{"soname": "libtoy-toy_lib.so.1", "provider": "toy-lib"}]
    assert {item["provider"] for item in second["provided"]} == {"toy-lib", "upper-lib"}
    detail = sound.row("second", "split")["detail"]
    assert "1 module" in detail
    assert "libupper-upper_lib.so.2 from upper-lib" in detail


def test_the_command_runs_in_an_empty_directory(sound: Said) -> None:
    assert sound.row(None, "command")["output"] == "42 184 []"


def test_a_script_that_was_kept_runs_again(sound: Said) -> None:
    script = sound.keep / "scripts" / "split-second.py"
    python = sound.keep / "split" / ".environment" / "bin" / "python"
    done = subprocess.run([python, "-I", script], capture_output=True, text=True, check=True, env={})
    last = json.loads(done.stdout.splitlines()[-1])
    mapped = [Path(path) for path in last["files"] if "libupper" in path]
    assert [path.relative_to(sound.keep.resolve()).parts[:2] for path in mapped] == [("split", "upper-lib")]


def test_decoys_have_the_names_that_consumers_know(sound: Said) -> None:
    names = {path.name for path in (sound.keep / "poison").iterdir()}
    assert names == {"libtoy.so.1", "libtoy-toy_lib.so.1", "libupper.so.2", "libupper-upper_lib.so.2"}


# Faults


CRASHES = simple_module("_ext", "1").replace("return PyModule_Create", "abort(); return PyModule_Create")
RAISES = simple_module("_ext", "1").replace(
    "return PyModule_Create", 'PyErr_SetString(PyExc_ImportError, "no flux"); return 0; return PyModule_Create'
)
LAZY = b"import os, sys\nsys.setdlopenflags(os.RTLD_LAZY)\nfrom lazy import _ext\n"


@pytest.fixture(scope="module")
def faulty(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Said:
    directory = tmp_path_factory.mktemp("faulty")
    good = toy.repaired(consumer(directory / "in", "counter", package("counter", toy.plain)))
    hookless = rewritten(good, directory / "in", "hookless", _distributor_init=b"")
    wheels = [hookless]
    for name, source, init in (
        ("crashes", CRASHES, b""),
        ("raises", RAISES, b""),
        ("lazy", simple_module("_ext", "nowhere()", "int nowhere(void);"), LAZY),
    ):
        ext = extension(directory / name, "_ext", source)
        wheels.append(consumer(directory / "in", name, package(name, ext, init)))
    failing = f"{sys.executable} -c 'print(\"three failed\"); raise SystemExit(3)'"
    return verify(directory, wheels, "--provided-by", toy.toy, "--command", failing)


def test_faults_count(faulty: Said) -> None:
    assert faulty.answer.code == 1


def test_a_wheel_without_its_hook_works_by_run_path_alone(faulty: Said) -> None:
    results = faulty.checks("hookless")
    assert results["import"] == "ok"
    assert {name for name, result in results.items() if result == "failed"} == {"split", "run-paths"}
    finding = faulty.finding("hookless", "NL802")
    assert "libtoy-toy_lib.so.1: cannot open shared object file" in finding["message"]
    assert "(check: split, run-paths)" in finding["message"]


def test_a_crash_is_told_with_the_module(faulty: Said) -> None:
    finding = faulty.finding("crashes", "NL802")
    assert finding["where"].startswith("crashes/_ext.")
    assert "was ended by signal 6" in finding["message"]
    assert faulty.checks("crashes") == {"import": "failed", "symbols": "ok"}


def test_an_exception_is_told_with_the_module(faulty: Said) -> None:
    assert "raises._ext cannot be imported: ImportError: no flux" in faulty.finding("raises", "NL802")["message"]


def test_a_symbol_that_is_missed_later_is_found_now(faulty: Said) -> None:
    assert faulty.result("lazy", "import") == "ok"
    finding = faulty.finding("lazy", "NL803")
    assert finding["symbols"] == ["nowhere"]
    assert finding["where"].startswith("lazy/_ext.")


def test_a_command_that_fails_is_shown(faulty: Said) -> None:
    assert faulty.row(None, "command")["output"] == "three failed"
    assert "ended with exit code 3" in faulty.finding(None, "NL806")["message"]


# Usage


@pytest.mark.parametrize(
    "options",
    [
        ("--without", "import"),
        ("--timeout", "0"),
        ("--fork-timeout", "soon"),
        ("--command", "'"),
        ("--command", ""),
        ("--fork-snippet", "if"),
    ],
)
def test_wrong_usage(options: tuple[str, ...]) -> None:
    assert nativelib("verify", *options, "a.whl").code == 2


def test_a_file_that_is_no_wheel(tmp_path: Path) -> None:
    bad = tmp_path / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip file")
    said = verify(tmp_path, [bad])
    assert said.answer.code == 1
    assert [finding["code"] for finding in said.answer.findings] == ["NL102"]
    assert said.answer.document["checks"] == []


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine").write_text("mine")
    wheel = make_wheel(tmp_path, "pure-1.0-py3-none-any.whl", {"pure.py": ""})
    said = verify(tmp_path, [wheel])
    assert [finding["code"] for finding in said.answer.findings] == ["NL108"]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine"]


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "pure-1.0-py3-none-any.whl", {"pure.py": ""})
    said = verify(tmp_path, [wheel], "--python", "/bin/true")
    assert [finding["code"] for finding in said.answer.findings] == ["NL109"]
    assert said.answer.document["python"] is None
