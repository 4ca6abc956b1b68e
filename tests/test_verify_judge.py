"""What ``verify`` expects of a wheel, and what it concludes from what was seen: decisions, without environments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nativelib.facts.trial import Check, Ended, Expected, Mapped, Result, Run, Seen, Step, parse_seen
from nativelib.plan.expected import modules, openable, packages, without_ways_out
from nativelib.plan.verdicts import Case, is_copy, judge_fork, judge_install, judge_run, merged
from nativelib.read.wheel import read_wheel
from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.toy import EXT_SUFFIX, TAG
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OURS = "/env/site/toy_lib/lib/libtoy.so.1"
HOST = "/usr/lib/libtoy.so.1.0.3"


def expected(**changes: Any) -> Expected:
    """Return libtoy of toy-lib."""
    given = {"soname": "libtoy.so.1", "names": frozenset({"libtoy.so.1"}), "provider": "toy-lib", "path": OURS}
    return Expected(**{**given, **changes})


def mapped(path: str, owner: str | None = None, *names: str) -> Mapped:
    """Return a mapped file with its file name, and *names*."""
    return Mapped(path=path, shown=path, names=frozenset({path.rpartition("/")[2], *names}), owner=owner)


def case(files: Sequence[Mapped], *steps: Step, before: Sequence[str] = (), **changes: Any) -> Case:
    """Return a run of the wheel ``counter`` in which *files* were mapped in the end."""
    seen = Seen(before=frozenset(before), after=frozenset(item.path for item in files), threads=1, steps=steps)
    given = {
        "wheel": "counter",
        "check": Check.IMPORT,
        "run": Run(ended=Ended(status=0), seen=seen),
        "expected": (expected(),),
        "mapped": tuple(files),
        "members": {step.what: f"{step.what}.so" for step in steps},
        "own": frozenset({"counter", "other"}),
    }
    return Case(**{**given, **changes})


def codes(of: Case) -> list[tuple[str, str]]:
    """Return code and severity of what is found."""
    return [(finding.code.value, finding.severity.value) for finding in judge_run(of)[1]]


@pytest.mark.parametrize(
    ("name", "wanted", "same"),
    [
        ("libtoy.so.1", "libtoy.so.1", True),
        ("libtoy.so.1.0.3", "libtoy.so.1", True),
        ("libtoy-0123abcd.so.1.0.3", "libtoy.so.1", True),
        ("libtoy-0123abcd-89abcdef.so.1", "libtoy.so.1", True),
        ("libtoy.so.11", "libtoy.so.1", False),
        ("libtoy.so.2", "libtoy.so.1", False),
        ("libtoys.so.1", "libtoy.so.1", False),
        ("libtoy-0123abcd.so", "libtoy.so", True),
        ("libtoy.so.2", "libtoy.so", False),
    ],
)
def test_copies_are_known_by_their_names(name: str, wanted: str, same: bool) -> None:
    assert is_copy(mapped(f"/x/{name}"), expected(names=frozenset({wanted}))) is same


def test_a_copy_under_any_file_name_is_known_by_its_soname() -> None:
    assert is_copy(mapped("/usr/lib/blas/libopenblasp-r0.3.21.so", None, "libtoy.so.1"), expected())


def test_the_provider_alone_is_right() -> None:
    verdict, findings = judge_run(case([mapped(OURS, "toy-lib")], Step(what="counter._ext")))
    assert findings == ()
    assert (verdict.result, verdict.detail) == (Result.OK, "1 module; libtoy.so.1 from toy-lib")


@pytest.mark.parametrize(
    ("owner", "singleton", "found"),
    [
        (None, False, ("NL804", "error")),
        (None, True, ("NL804", "error")),  # the machine's is never meant
        ("torch", False, ("NL804", "error")),
        ("torch", True, ("NL804", "warning")),
    ],
)
def test_another_copy_instead(owner: str | None, singleton: bool, found: tuple[str, str]) -> None:
    assert codes(case([mapped(HOST, owner)], expected=(expected(singleton=singleton),))) == [found]


@pytest.mark.parametrize(
    ("owner", "severity"), [(None, "error"), ("other", "error"), ("toy-lib", "error"), ("numpy", "warning")]
)
def test_another_copy_beside(owner: str | None, severity: str) -> None:
    assert codes(case([mapped(OURS, "toy-lib"), mapped(HOST, owner)])) == [("NL805", severity)]


def test_what_the_interpreter_has_loaded_is_its_own_affair() -> None:
    both = [mapped(OURS, "toy-lib"), mapped(HOST)]
    assert codes(case(both, before=[HOST])) == []
    assert codes(case(both[1:], before=[HOST])) == [("NL804", "error")]


def test_several_copies_that_nobody_provides() -> None:
    names = ("/s/a.libs/libz-0123abcd.so.1", "/s/b.libs/libz-89abcdef.so.1.2", "/s/c.libs/libz-89abcdef.so.2")
    verdict, [finding] = judge_run(case([mapped(name, name[3]) for name in names], expected=(), wheel="a"))
    assert verdict.result is Result.OK
    assert (finding.code.value, finding.severity.value) == ("NL805", "warning")
    assert finding.where == "libz.so.1"
    assert "2 copies: /s/a.libs" in finding.message


def test_copies_that_only_requirements_bring_are_not_the_wheels_affair() -> None:
    both = [mapped("/s/numpy.libs/libz-0123abcd.so.1", "numpy"), mapped("/s/scipy.libs/libz-89abcdef.so.1", "scipy")]
    assert codes(case(both, expected=())) == []
    assert codes(case(both, expected=(), wheel="scipy")) == codes(case(both, expected=(), wheel=None)) != []


def test_files_that_are_opened_by_path_are_no_copies() -> None:
    assert codes(case([mapped(HOST)], check=Check.SYMBOLS)) == []


@pytest.mark.parametrize(
    ("words", "symbol"),
    [
        ("ImportError: /x/a.so: undefined symbol: foo", "foo"),
        ("OSError: /x/a.so: undefined symbol: foo_new, version FOO_2.0", "foo_new@FOO_2.0"),
        ("ImportError: Error relocating /x/a.so: foo: symbol not found", "foo"),
    ],
)
def test_symbols_are_named_as_both_loaders_say_them(words: str, symbol: str) -> None:
    _, [finding] = judge_run(case([], Step(what="counter._ext", error=words), expected=()))
    assert finding.code.value == "NL803"
    assert finding.symbols == (symbol,)


def test_modules_that_fail_alike_are_one_finding() -> None:
    steps = [Step(what=f"counter.m{i}", error="ImportError: gone", cause="OSError: really gone") for i in range(9)]
    verdict, [finding] = judge_run(case([], *steps, expected=()))
    assert (
        "counter.m0, counter.m1 and 7 more cannot be imported: ImportError: gone (at first: OSError" in finding.message
    )
    assert verdict.result is Result.FAILED


def test_a_process_that_dies_between_steps() -> None:
    run = Run(ended=Ended(status=-11, output="boom\n"), seen=Seen())
    verdict, [finding] = judge_run(case([], expected=(), run=run))
    assert verdict.result is Result.FAILED
    assert "was ended by signal 11" in finding.message
    assert "boom" in finding.message


def test_findings_of_several_checks_are_one() -> None:
    step = Step(what="counter._ext", error="ImportError: gone")
    judgements = [judge_run(case([], step, expected=(), check=check)) for check in (Check.SPLIT, Check.RUN_PATHS)]
    [finding] = merged(judgements)
    assert finding.message.endswith("gone. (check: split, run-paths)")


def test_a_fork_that_fails_is_told_with_its_reason() -> None:
    said = {
        "os.fork": (Ended(status=0), "ok"),
        "multiprocessing": (Ended(status=0), "the child ended with exit code 1"),
        "concurrent.futures": (Ended(status=1, output="NameError: x\n"), ""),
    }
    verdict, findings = judge_fork(said)
    assert verdict.result is Result.FAILED
    assert [finding.message for finding in findings] == [
        "With multiprocessing, the child fails: the child ended with exit code 1.",
        "With concurrent.futures, the parent ended with exit code 1: NameError: x.",
    ]


def test_the_words_of_pip() -> None:
    ended = Ended(status=1, output="ERROR: a-1-py3-none-any.whl is not a supported wheel on this platform.\n")
    found = judge_install(ended, {"a-1-py3-none-any.whl": "/x/a", "b-1-py3-none-any.whl": "/x/b"}, "3.11")
    assert list(found) == ["a-1-py3-none-any.whl"]


def test_what_a_probe_wrote_before_it_died() -> None:
    lines = [
        {"mapped": "before", "files": ["/a.so"], "threads": 1},
        {"begin": "one"},
        {"end": "one"},
        {"begin": "two"},
        {"end": "two", "error": "E: x", "cause": "F: y"},
        {"begin": "three"},
    ]
    seen = parse_seen("\n".join(map(json.dumps, lines)) + '\n{"end": "thr')
    assert seen.before == {"/a.so"}
    assert seen.after is None
    assert [step.what for step in seen.steps] == ["one", "two"]
    assert seen.steps[1].words == "E: x (at first: F: y)"
    assert seen.unfinished == "three"
    assert parse_seen("") == Seen()


# What is expected of a wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("expected")
    ways = "$ORIGIN:$ORIGIN/../mixed.libs:/opt/build/lib:$ORIGIN/../toy_lib/lib:$ORIGIN/../../.."
    ext = extension(root, "_ext", simple_module("_ext", "1"), rpath=ways)
    behind = extension(root / "behind", "fast", simple_module("fast", "1"))
    plain = shared_library(root, "libmine.so.1", "int mine;", soname="libmine.so.1")
    files: dict[str, bytes | str | Path] = {
        "mixed/__init__.py": "",
        f"mixed/{ext.name}": ext,
        "mixed/_ext.cpython-31-nowhere.so": ext,
        "mixed/fast.py": "# loads what it needs\n",
        f"mixed/_fast_nl{EXT_SUFFIX}": behind,
        "mixed.libs/libmine.so.1": plain,
        "mixed/bin/tool": program(root, "tool", "int main(void) { return 0; }"),
        f"mixed-1.0.data/platlib/top{EXT_SUFFIX}": extension(root, "top", simple_module("top", "1")),
        "tests/__init__.py": "",
    }
    return read_wheel(make_wheel(root, f"mixed-1.0-{TAG}.whl", files))


def test_modules_are_named_as_python_imports_them(wheel: Any) -> None:
    assert modules(wheel, [EXT_SUFFIX, ".abi3.so", ".so"]) == {
        "mixed._ext": f"mixed/_ext{EXT_SUFFIX}",
        "mixed.fast": f"mixed/_fast_nl{EXT_SUFFIX}",
        "top": f"mixed-1.0.data/platlib/top{EXT_SUFFIX}",
    }


def test_packages_with_native_code_are_imported(wheel: Any) -> None:
    assert packages(wheel) == ("mixed",)


def test_libraries_open_and_programs_do_not(wheel: Any) -> None:
    names = openable(wheel, next(iter(wheel.elf.values())).architecture)
    assert "mixed.libs/libmine.so.1" in names
    assert "mixed/bin/tool" not in names


def test_run_paths_that_stay_inside_are_kept(wheel: Any) -> None:
    edits = without_ways_out(wheel)
    assert edits[f"mixed/_ext{EXT_SUFFIX}"].run_path == ("$ORIGIN", "$ORIGIN/../mixed.libs")
    assert edits[f"mixed/_ext{EXT_SUFFIX}"].run_path_tag == "runpath"
    assert "mixed.libs/libmine.so.1" not in edits
