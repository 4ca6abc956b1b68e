"""The lists of the conformance tests are whole, and the comparison notices what it must. Needs no network."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance import audit, regraft, table
from tests.conformance.cases import REGRAFTED
from tests.conformance.explained import EXPLANATIONS, Difference, Explanation, judge_differences
from tests.conformance.pins import PINS, pin
from tests.conformance.ungraft import original_name
from tests.conformance.witness import Seen, directories, resolved

_PROJECTS = (
    *("numpy", "scipy", "pyarrow", "opencv-python-headless", "cryptography", "pillow", "lxml", "h5py"),
    *("psycopg2-binary", "shapely"),
)
_NOT_PUBLISHED = {("opencv-python-headless", "musl x86_64"), ("opencv-python-headless", "musl aarch64")}


def seen(**values: Any) -> Seen:
    plain: dict[str, Any] = {"soname": None, "needed": (), "run_path": (), "legacy": True, "base": None}
    return Seen(**(plain | values))


def test_every_project_is_there_for_each_machine_and_c_library() -> None:
    kinds = [f"{libc} {machine}" for libc in ("glibc", "musl") for machine in ("x86_64", "aarch64")]
    wanted = {(project, kind) for project in _PROJECTS for kind in kinds} - _NOT_PUBLISHED
    assert wanted <= {(found.project, found.kind) for found in PINS}
    assert len({found.label for found in PINS}) == len(PINS)
    assert all(pin(label) for label in REGRAFTED)


def test_every_explanation_speaks_of_wheels_that_are_compared() -> None:
    for entry in EXPLANATIONS:
        audited = set(entry.fields) <= set(audit.FIELDS)
        assert audited or set(entry.fields) <= set(regraft.FIELDS)
        for glob in entry.wheels:
            alone = Explanation(wheels=(glob,), fields=entry.fields, reason=entry.reason)
            known = PINS if audited else [pin(label) for label in REGRAFTED]
            assert any(alone.applies(found) for found in known), glob


def test_unlisted_and_outlived_differences_are_noticed() -> None:
    wheel = PINS[0]
    found = Difference(field="tag", item="", theirs="a", ours="b")
    entry = Explanation(wheels=(wheel.label,), fields=("tag",), theirs="a", ours="b", reason="why")
    judged = judge_differences(wheel, [found], ["tag"], [entry])
    assert ([d.reason for d in judged.explained], judged.unexplained, judged.stale) == (["why"], (), ())
    assert judge_differences(wheel, [found], ["tag"], []).unexplained == (found,)
    assert judge_differences(wheel, [], ["tag"], [entry]).stale == (entry,)
    assert judge_differences(PINS[1], [], ["tag"], [entry]).stale == ()
    assert judge_differences(wheel, [], ["needed"], [entry]).stale == ()


@pytest.mark.parametrize(
    ("file", "base", "name"),
    [
        ("libgfortran-8f1e9814.so.5.0.0", "libgfortran.so.5", "libgfortran.so.5"),
        ("libgfortran-040039e1-0352e75f.so.5.0.0", "libgfortran.so.5", "libgfortran-040039e1.so.5.0.0"),
        ("libopenblasp-r0-37b5f859.3.3.so", None, "libopenblasp-r0.3.3.so"),
        ("libaom-01234567.so.3.14.1", None, "libaom.so.3.14.1"),
        ("libplain.so.1", None, "libplain.so.1"),
    ],
)
def test_grafts_get_their_names_back(file: str, base: str | None, name: str) -> None:
    assert original_name(file, seen(base=base)) == name


def test_run_paths_are_followed() -> None:
    files = {
        "pkg/sub/ext.so": seen(needed=("liba.so", "libc.so.6"), run_path=("/opt/lib", "$ORIGIN/../../pkg.libs")),
        "pkg.libs/liba.so": seen(soname="liba.so", needed=("libb.so",), run_path=("$ORIGIN",)),
        "pkg.libs/libb.so": seen(soname="libb.so"),
    }
    assert directories("pkg/sub/ext.so", files["pkg/sub/ext.so"]) == ["/opt/lib", "pkg.libs"]
    assert resolved(files)["pkg/sub/ext.so"] == {"liba.so": "pkg.libs/liba.so"}
    assert resolved(files)["pkg.libs/liba.so"] == {"libb.so": "pkg.libs/libb.so"}


def test_the_table_is_no_wider_than_a_terminal() -> None:
    lines = [
        table.Line(wheel="a" * 44, tags="manylinux2014_x86_64.manylinux_2_17_x86_64", result="agree; 15 grafts"),
        table.Line(wheel="b", tags="c" * 100, result="differ: 1 of [1]"),
    ]
    shown = table.text({"repair": lines}, {"word " * 60: 1})
    assert max(map(len, shown.splitlines())) <= 120
    assert "agree; 15 grafts" in shown
