from __future__ import annotations

import email.parser
import email.policy
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.metadata import parse_email

from nativelib.errors import PlanError, ReadError
from nativelib.facts.metadata import edit_requires, edit_wheel_text, parse_metadata, parse_wheel_text
from nativelib.findings import Code

METADATA = """\
Metadata-Version: 2.2
Name: Näme
Version: 1.0
Dynamic: requires-dist
Summary: a header
 that is folded: over lines
License: MIT
Requires-Dist: numpy>=2
Requires-Dist: openblas-lib<0.4,>=0.3 ;
  sys_platform == "linux"
Provides-Extra: test
Requires-Dist: pytest; extra == 'test'
Description-Content-Type: text/plain

Requires-Dist: not-a-header
Über\x0c den\u2028 Körper.
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: meson
Root-Is-Purelib: false
Tag: cp311-cp311-linux_x86_64
Build: 1

"""
BLAS = 'openblas-lib<0.4,>=0.3 ;  sys_platform == "linux"'


def oracle(text: str) -> list[tuple[str, str]]:
    """Header names and unfolded values as the standard library reads them."""
    message = email.parser.Parser(policy=email.policy.compat32).parsestr(text)
    return [(key, re.sub(r"[\r\n]+", "", str(value)).strip(" \t")) for key, value in message.items()]


def body(text: str) -> str:
    payload = email.parser.Parser(policy=email.policy.compat32).parsestr(text).get_payload()
    assert isinstance(payload, str)
    return payload


def test_fields() -> None:
    metadata = parse_metadata(METADATA)
    assert (metadata.name, metadata.version, metadata.metadata_version) == ("Näme", "1.0", "2.2")
    assert metadata.requires == ("numpy>=2", BLAS, "pytest; extra == 'test'")
    assert metadata.dynamic == ("requires-dist",)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_new_requirements_stand_behind_the_last_one(ending: str) -> None:
    text = METADATA.replace("\n", ending)
    new = edit_requires(text, remove=[], add=["a-lib", "b-lib"])
    line = f"Requires-Dist: pytest; extra == 'test'{ending}"
    assert new == text.replace(line, f"{line}Requires-Dist: a-lib{ending}Requires-Dist: b-lib{ending}")


def test_a_folded_requirement_is_removed_whole() -> None:
    new = edit_requires(METADATA, remove=[BLAS], add=["openblas-lib==1"])
    assert new == METADATA.replace('Requires-Dist: openblas-lib<0.4,>=0.3 ;\n  sys_platform == "linux"\n', "").replace(
        "extra == 'test'\n", "extra == 'test'\nRequires-Dist: openblas-lib==1\n"
    )


def test_without_requirements_they_stand_before_the_extras_or_at_the_end() -> None:
    head = "Metadata-Version: 2.1\nName: a\nVersion: 1\n"
    assert edit_requires(f"{head}Provides-Extra: x\n\nbody", remove=[], add=["b"]) == (
        f"{head}Requires-Dist: b\nProvides-Extra: x\n\nbody"
    )
    assert edit_requires(f"{head}\nbody", remove=[], add=["b"]) == f"{head}Requires-Dist: b\n\nbody"
    assert edit_requires(head, remove=[], add=["b"]) == f"{head}Requires-Dist: b\n"
    assert edit_requires(head.rstrip("\n"), remove=[], add=["b"]) == f"{head}Requires-Dist: b"
    # A line that is no header begins the body, for the e-mail parser too.
    assert edit_requires(f"{head}no header\n", remove=[], add=["b"]) == f"{head}Requires-Dist: b\nno header\n"


@pytest.mark.parametrize(
    ("remove", "add"),
    [([], []), (["nothing-like-it"], []), ([], ["numpy>=2"]), (["numpy>=2"], ["numpy>=2"]), ([BLAS], [BLAS])],
)
def test_no_change_gives_the_same_text(remove: list[str], add: list[str]) -> None:
    assert edit_requires(METADATA, remove=remove, add=add) == METADATA


@pytest.mark.parametrize("value", ["a\nName: evil", "a\r", "", " a", "\n"])
def test_a_value_cannot_break_out_of_its_line(value: str) -> None:
    with pytest.raises(PlanError) as caught:
        edit_requires(METADATA, remove=[], add=[value])
    assert caught.value.findings[0].code is Code.BAD_METADATA
    with pytest.raises(PlanError):
        edit_wheel_text(WHEEL, generator=value, root_is_purelib=None, tags=None)
    with pytest.raises(PlanError):
        edit_wheel_text(WHEEL, generator=None, root_is_purelib=None, tags=[value])


def test_all_missing_fields_are_named() -> None:
    with pytest.raises(ReadError) as caught:
        parse_metadata("Metadata-Version: 2.1\nMetadata-Version: 2.2\nName:\n\nVersion: 1\n")
    assert [f.message for f in caught.value.findings] == [
        "METADATA has more than one field Metadata-Version.",
        "METADATA has an empty field Name.",
        "METADATA has no field Version.",
    ]


def test_wheel_fields() -> None:
    wheel = parse_wheel_text(WHEEL)
    assert (wheel.generator, wheel.root_is_purelib, wheel.build) == ("meson", False, "1")
    assert wheel.tags == ("cp311-cp311-linux_x86_64",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Wheel-Version: 1.0\n", "", "no field Wheel-Version"),
        ("Wheel-Version: 1.0", "Wheel-Version: 2.0", "only 1.x"),
        ("Root-Is-Purelib: false\n", "", "no field Root-Is-Purelib"),
        ("false", "perhaps", "neither true nor false"),
        ("Tag: cp311-cp311-linux_x86_64\n", "", "no field Tag"),
    ],
)
def test_a_wheel_file_that_lacks_something_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        parse_wheel_text(WHEEL.replace(old, new))


def test_of_two_values_for_the_root_the_first_counts() -> None:
    """Published wheels have them, and installers take the first; an edit leaves one."""
    text = WHEEL.replace("Root-Is-Purelib: false\n", "Root-Is-Purelib: true\nRoot-Is-Purelib: False\n")
    assert parse_wheel_text(text).root_is_purelib
    edited = edit_wheel_text(text, generator=None, root_is_purelib=False, tags=None)
    assert edited.count("Root-Is-Purelib: false") == edited.count("Root-Is-Purelib") == 1


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_wheel_edits_touch_their_lines_only(ending: str) -> None:
    text = WHEEL.replace("\n", ending)
    new = edit_wheel_text(text, generator="nativelib 1", root_is_purelib=True, tags=["a-b-c", "a-b-d"])
    assert new == (
        text.replace("meson", "nativelib 1")
        .replace("false", "true")
        .replace("cp311-cp311-linux_x86_64", f"a-b-c{ending}Tag: a-b-d")
    )
    assert edit_wheel_text(text, generator=None, root_is_purelib=None, tags=None) == text
    same = edit_wheel_text(text, generator="meson", root_is_purelib=False, tags=["cp311-cp311-linux_x86_64"])
    assert same == text
    # The spelling of a value that means the same is the author's.
    loud = text.replace("false", "False")
    assert edit_wheel_text(loud, generator=None, root_is_purelib=False, tags=None) == loud


KEYS = st.sampled_from(["Requires-Dist", "requires-dist", "Provides-Extra", "Classifier", "X-Y", "Dynamic"])
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\r\n"), min_size=1)
VALUES = WORDS.map(str.strip).filter(bool)
ENDINGS = st.sampled_from(["\n", "\r\n"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    ending = draw(ENDINGS)
    lines = ["Metadata-Version: 2.1", "Name: a", "Version: 1"]
    for key, value, fold in draw(st.lists(st.tuples(KEYS, VALUES, st.one_of(st.none(), VALUES)))):
        lines += [f"{key}: {value}"] + ([f"    {fold}"] if fold is not None else [])
    text = ending.join(lines)
    rest = draw(st.one_of(st.just(""), st.just(ending), st.text().map(lambda body: f"{ending}{ending}{body}")))
    return text + rest


@given(texts(), st.lists(VALUES, unique=True), st.data())
def test_edits_do_what_they_say_and_nothing_else(text: str, add: list[str], data: st.DataObject) -> None:
    before = parse_metadata(text)
    remove = data.draw(st.lists(st.sampled_from(before.requires))) if before.requires else []
    new = edit_requires(text, remove=remove, add=add)
    gone = set(remove) - set(add)
    kept = [value for value in before.requires if value not in gone]
    expected = kept + [value for value in add if value not in before.requires]
    assert sorted(parse_metadata(new).requires) == sorted(expected)
    assert edit_requires(new, remove=remove, add=add) == new
    others = [pair for pair in oracle(new) if pair[0].lower() != "requires-dist"]
    assert others == [pair for pair in oracle(text) if pair[0].lower() != "requires-dist"]
    assert body(new) == body(text)
    assert sorted(value for key, value in oracle(new) if key.lower() == "requires-dist") == sorted(expected)


@given(texts())
def test_reads_what_other_parsers_read(text: str) -> None:
    metadata = parse_metadata(text)
    assert list(metadata.requires) == [value for key, value in oracle(text) if key.lower() == "requires-dist"]
    raw, _ = parse_email(text)
    assert (raw["name"], raw["version"]) == (metadata.name, metadata.version)
    unfolded = [re.sub(r"[\r\n]+", "", value).strip(" \t") for value in raw.get("requires_dist", [])]
    assert unfolded == list(metadata.requires)


@given(st.lists(VALUES, min_size=1), VALUES, st.booleans(), ENDINGS)
def test_wheel_edits_are_read_back(tags: list[str], generator: str, purelib: bool, ending: str) -> None:
    text = WHEEL.replace("\n", ending)
    new = edit_wheel_text(text, generator=generator, root_is_purelib=purelib, tags=tags)
    wheel = parse_wheel_text(new)
    assert (wheel.generator, wheel.root_is_purelib, wheel.tags, wheel.build) == (generator, purelib, tuple(tags), "1")
    assert [value for key, value in oracle(new) if key == "Tag"] == tags


@given(st.text())
def test_any_text_gives_fields_or_a_finding(text: str) -> None:
    for parse in (parse_metadata, parse_wheel_text):
        # Every other exception than this one fails the test.
        with suppress(ReadError):
            parse(text)
    assert edit_requires(text, remove=[], add=[]) == text
