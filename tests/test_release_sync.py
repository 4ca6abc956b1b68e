"""What all wheels of a release get, and what the project has to declare: decisions, from values."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from nativelib.errors import PlanError
from nativelib.facts.metadata import parse_metadata
from nativelib.findings import Code
from nativelib.plan.dist_info import NOTE
from nativelib.plan.release_declare import declaration
from nativelib.plan.release_sync import changes, common_requires, intersected
from tests.test_release import ARM, BLAS, LINUX, MAC, MUSL, WIN, X86, dist, only

if TYPE_CHECKING:
    from nativelib.facts.release import DistFile

ANDROID = f'{LINUX} or sys_platform == "android"'


def repaired(platform: str, *requires: str, ours: tuple[str, ...] = (BLAS,), python: str = "cp311-cp311") -> DistFile:
    """Return a wheel with *requires*, and *ours* as an earlier repair noted them."""
    note = json.dumps({"schema": 1, "requires": list(ours), "provided": [], "grafted": []}).encode()
    return replace(dist(platform, *requires, *ours, python=python), texts={NOTE: note})


def common(*wheels: DistFile) -> list[str]:
    """Return what all wheels get; the result must be such that nothing is left to do for any of them."""
    found = common_requires(only(list(wheels)))
    done = []
    for wheel in wheels:
        gone, new = changes(wheel.metadata.requires, found) or ([], [])
        values = [value for value in wheel.metadata.requires if value not in gone] + new
        metadata = replace(wheel.metadata, requires=tuple(values))
        done.append(replace(wheel, metadata=metadata, texts=wheel.texts))
    again = common_requires(only(done))
    assert not [wheel for wheel in done if changes(wheel.metadata.requires, again)]
    return list(found.requires)


def refused(*wheels: DistFile) -> Code:
    with pytest.raises(PlanError) as caught:
        common_requires(only(list(wheels)))
    [code] = {finding.code for finding in caught.value.findings}
    return code


def test_what_repairs_wrote_goes_to_all() -> None:
    assert common(repaired(X86, "a"), repaired(ARM, "a"), dist(MAC, "a"), dist(WIN, "a")) == ["a", BLAS]


def test_it_counts_for_linux_as_a_whole() -> None:
    # The repair of one Linux wheel, too: lockers cannot tell architectures apart, and nobody wants them to.
    assert common(repaired(X86), dist(ARM), dist(MUSL), dist(MAC)) == [BLAS]


def test_what_was_written_without_a_marker_gets_one() -> None:
    bare = "blas-lib<2,>=1"
    assert common(repaired(X86, ours=(bare,)), dist(ARM), dist(MAC)) == [BLAS]
    assert common(repaired(X86, ours=(bare,)), dist(ARM)) == [bare]
    assert common(repaired(X86, ours=(bare,)), repaired(ARM), dist(MAC)) == [BLAS]


def test_bounds_of_several_repairs_are_joined() -> None:
    newer = f"blas-lib<2,>=1.3; {LINUX}"
    assert common(repaired(X86), repaired(ARM, ours=(newer,)), dist(MAC)) == [newer]
    pinned = f"blas-lib==1.4; {LINUX}"
    assert common(repaired(X86), repaired(ARM, ours=(pinned,))) == [f"blas-lib<2,==1.4,>=1; {LINUX}"]


def test_several_providers_are_all_required() -> None:
    openmp = f"omp-lib==1; {LINUX}"
    assert common(repaired(X86, ours=(BLAS, openmp)), repaired(ARM), dist(MAC)) == [BLAS, openmp]


def test_pins_that_contradict_are_refused() -> None:
    one, other = f"blas-lib==1.4; {LINUX}", f"blas-lib==1.5; {LINUX}"
    assert refused(repaired(X86, ours=(one,)), repaired(ARM, ours=(other,))) is Code.REQUIREMENT_CLASH
    wide = f"blas-lib==1.5; {ANDROID}"
    assert refused(repaired(X86, ours=(one,)), repaired(ARM, ours=(wide,))) is Code.REQUIREMENT_CLASH


def test_the_marker_for_android_includes_that_for_linux() -> None:
    wide = f"blas-lib<2,>=1; {ANDROID}"
    assert common(repaired(X86), repaired("android_24_arm64_v8a", ours=(wide,)), dist(MAC)) == [wide]


def test_what_the_project_requires_on_one_system_gets_its_marker() -> None:
    found = common(dist(X86, "a"), dist(MAC, "a"), dist(WIN, "a", "pywin32>=300"))
    assert found == ["a", 'pywin32>=300; sys_platform == "win32"']
    found = common(dist(X86, "b"), dist(MAC, "b"), dist(WIN))
    assert found == ['b; sys_platform == "darwin" or sys_platform == "linux"']


def test_markers_of_the_project_that_explain_a_difference_stay() -> None:
    old = 'tomli; python_version < "3.11"'
    assert common(dist(X86, old, python="cp310-cp310"), dist(X86)) == [old]
    intel = 'mkl; platform_machine == "x86_64"'
    assert common(dist(X86, intel), dist(ARM)) == [intel]


@pytest.mark.parametrize(
    "wheels",
    [
        (dist(X86, "a"), dist(ARM)),
        (dist(X86, "a"), dist("any", python="py3-none")),
        (dist("any", "a", python="py3-none"), dist(X86)),
        (dist(X86, "a", python="cp310-cp310"), dist(X86)),
        (dist(X86), dist("solaris_5_sparc", "a")),
        (dist(X86, "a>=1"), dist(X86, "a>=2", python="cp310-cp310")),
    ],
    ids=["architectures", "pure beside", "pure with", "pythons", "unknown system", "bounds"],
)
def test_what_no_system_tells_apart_is_refused(wheels: tuple[DistFile, ...]) -> None:
    assert refused(*wheels) is Code.RELEASE_DIFFERS


def test_what_is_no_requirement_is_refused() -> None:
    assert refused(dist(X86, "a b c"), dist(MAC)) is Code.BAD_METADATA


def test_the_spelling_of_a_wheel_is_no_reason_to_change_it() -> None:
    loose = "Blas.Lib (>=1,<2) ; 'linux' == sys_platform"
    found = common_requires(only([repaired(X86), dist(MAC, loose)]))
    assert changes((loose,), found) is None
    assert changes((BLAS,), found) is None


_VERSIONS = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda pair: f"{pair[0]}.{pair[1]}")
_CLAUSES = st.lists(st.tuples(st.sampled_from([">=", "<", "!=", "<="]), _VERSIONS).map("".join), max_size=4)
_SETS = _CLAUSES.map(lambda clauses: SpecifierSet(",".join(clauses)))


@given(_SETS, _SETS, _VERSIONS)
def test_joined_bounds_accept_what_both_accept(one: SpecifierSet, other: SpecifierSet, version: str) -> None:
    both = version in one and version in other
    assert (version in intersected(one, other)) is both


def test_bounds_that_another_implies_go() -> None:
    assert str(intersected(SpecifierSet(">=1,<4"), SpecifierSet(">=1.2,<3,!=2"))) == "!=2,<3,>=1.2"


# What the project declares


def sdist(pyproject: str, *requires: str, more: str = "") -> DistFile:
    return replace(dist(None, *requires, more=more), texts={"pyproject.toml": pyproject.encode()})


def test_lines_to_paste_hold_what_is_there_and_what_is_missing() -> None:
    project = '[project]\nname = "numx"\ndynamic = ["version"]\ndependencies = ["a>=1", "it\'s"]\n'
    found = declaration(sdist(project, "a>=1"), ["a>=1", BLAS], [BLAS])
    assert found is not None
    assert tomllib.loads(found.dependencies) == {"project": {"dependencies": ["a>=1", "it's", BLAS]}}
    assert tomllib.loads(found.dynamic) == {"project": {"dynamic": ["version", "dependencies"]}}


@pytest.mark.parametrize("project", ["", "nonsense [", "project = 1", '[project]\ndependencies = "a"\ndynamic = 3\n'])
def test_lines_without_a_project_table_hold_what_the_sdist_requires(project: str) -> None:
    found = declaration(sdist(project, "a>=1"), ["a>=1", BLAS], [BLAS])
    assert found is not None
    assert tomllib.loads(found.dependencies) == {"project": {"dependencies": ["a>=1", BLAS]}}
    assert tomllib.loads(found.dynamic) == {"project": {"dynamic": ["dependencies"]}}


def test_nothing_to_declare() -> None:
    assert declaration(sdist("", BLAS), [BLAS], [BLAS]) is None
    assert declaration(sdist("", more="Dynamic: Requires-Dist\n"), [BLAS], [BLAS]) is None
    assert declaration(None, ["a"], []) is None
    without = declaration(None, ["a", BLAS], [BLAS])
    assert without is not None
    assert BLAS in without.dependencies


def test_a_note_that_is_nonsense_is_no_note() -> None:
    wheel = replace(dist(X86, BLAS), texts={NOTE: b"{"})
    assert common_requires(only([wheel])).written == frozenset()
    assert parse_metadata("Metadata-Version: 2.1\nName: a\nVersion: 1\n").requires_python == ""
