from __future__ import annotations

import base64
import csv
import hashlib
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nativelib.errors import ReadError
from nativelib.facts.order import member_order
from nativelib.facts.record import (
    RecordEntry,
    digest_of_hex,
    format_record,
    hex_of_digest,
    parse_record,
    record_problems,
)
from nativelib.findings import Code

PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: digest_of_hex(raw.hex()))
ENTRIES = st.builds(
    RecordEntry,
    path=PATHS,
    digest=st.one_of(st.just(""), DIGESTS),
    size=st.one_of(st.none(), st.integers(0, 2**63)),
)


@given(st.lists(ENTRIES))
def test_what_is_formatted_parses_to_the_same(entries: list[RecordEntry]) -> None:
    assert parse_record(format_record(entries)) == tuple(entries)


@given(st.lists(ENTRIES))
def test_the_csv_module_reads_the_same_columns(entries: list[RecordEntry]) -> None:
    rows = list(csv.reader(io.StringIO(format_record(entries), newline="")))
    assert rows == [[e.path, e.digest, "" if e.size is None else str(e.size)] for e in entries]


@given(st.lists(ENTRIES))
def test_what_the_csv_module_writes_is_read(entries: list[RecordEntry]) -> None:
    ending = "\r\n"  # with another one csv.writer puts only half of the line breaks in a path into quotes
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=ending)
    writer.writerows((e.path, e.digest, "" if e.size is None else e.size) for e in entries)
    assert parse_record(out.getvalue()) == tuple(entries)


@given(st.text())
def test_any_text_gives_entries_or_a_finding(text: str) -> None:
    # Every other exception than this one fails the test.
    with suppress(ReadError):
        entries = parse_record(text)
        assert parse_record(format_record(entries)) == entries


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_digests_go_there_and_back(content: bytes, algorithm: str) -> None:
    raw = hashlib.new(algorithm, content).digest()
    digest = digest_of_hex(raw.hex(), algorithm)
    assert digest == f"{algorithm}={base64.urlsafe_b64encode(raw).decode().rstrip('=')}"
    assert hex_of_digest(digest) == raw.hex()
    assert RecordEntry(path="a", digest=digest).algorithm == algorithm


@pytest.mark.parametrize("digest", ["", "sha256", "sha256:ab", "sha256=ab+/", "sha256=ä", "sha256=a"])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(ReadError) as caught:
        hex_of_digest(digest)
    assert caught.value.findings[0].code is Code.BAD_RECORD


def test_all_bad_lines_are_reported_at_once() -> None:
    text = "a,,\nb\n,sha256=x,1\nc,md5,1\nd,sha256=x,1e3\ne,sha256=x,-1\nf,sha256=x,²\ng,sha256=x," + "9" * 5000 + "\n"
    with pytest.raises(ReadError) as caught:
        parse_record(text)
    assert [f.message.split()[1] for f in caught.value.findings] == ["2", "3", "4", "5", "6", "7", "8"]


def test_a_column_larger_than_csv_takes_is_a_finding() -> None:
    with pytest.raises(ReadError, match="not valid CSV"):
        parse_record("a" * 200_000 + ",,\n")


GOOD = digest_of_hex(hashlib.sha256(b"x").hexdigest())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (RecordEntry(path="a.py", digest=GOOD, size=1), None),
        (RecordEntry(path="a.py", digest=GOOD), None),
        (RecordEntry(path="a.py", digest=GOOD + "="), None),
        (RecordEntry(path="a.py", digest=GOOD, size=2), "has 1 bytes"),
        (RecordEntry(path="a.py"), "no digest"),
        (RecordEntry(path="a.py", digest="md5=abc", size=1), "'md5'"),
        (RecordEntry(path="a.py", digest="sha256=abc", size=1), "digest is"),
    ],
)
def test_a_line_is_compared_with_the_member(line: RecordEntry, message: str | None) -> None:
    found = {"a.py": (GOOD, 1), "x-1.dist-info/RECORD": (GOOD, 1), "x-1.dist-info/RECORD.jws": (GOOD, 1)}
    problems = list(record_problems([line], found, "x-1.dist-info"))
    if message is None:
        assert problems == []
    else:
        [problem] = problems
        assert problem.where == "a.py"
        assert message in problem.message


def test_unlisted_missing_and_contradicting_lines_are_found() -> None:
    lines = [
        RecordEntry(path="gone.py", digest=GOOD, size=1),
        RecordEntry(path="twice.py", digest=GOOD, size=1),
        RecordEntry(path="twice.py", digest=GOOD, size=1),
        RecordEntry(path="torn.py", digest=GOOD, size=1),
        RecordEntry(path="torn.py", digest=GOOD, size=2),
    ]
    found = dict.fromkeys(("twice.py", "torn.py", "extra.py"), (GOOD, 1))
    assert {problem.where for problem in record_problems(lines, found, "x-1.dist-info")} == {
        "gone.py",
        "torn.py",
        "extra.py",
    }


NAMES = st.lists(
    st.sampled_from(["a", "b/c", "d.dist-info/M", "d.dist-info/RECORD", "d.dist-info/Z", "e", "A"]), unique=True
)


@given(NAMES, NAMES)
def test_the_order_is_stable_and_record_is_last(old: list[str], new: list[str]) -> None:
    ordered = member_order(old, "d.dist-info", new=new)
    assert sorted(ordered) == sorted({*old, *new})
    assert member_order(ordered, "d.dist-info") == ordered
    inside = [name.startswith("d.dist-info/") for name in ordered]
    assert inside == sorted(inside)
    assert "d.dist-info/RECORD" not in ordered[:-1]
    for group in (True, False):
        kept = [n for n in ordered if n in old and n.startswith("d.dist-info/") is group and not n.endswith("RECORD")]
        assert kept == [n for n in old if n.startswith("d.dist-info/") is group and not n.endswith("RECORD")]


def test_new_members_stand_sorted_behind_the_old_ones_of_their_group() -> None:
    old = ["z.py", "p.dist-info/RECORD", "p.dist-info/WHEEL", "b.py"]
    new = ["p.dist-info/sboms/x", "p.libs/b.so", "p.libs/a.so", "p.dist-info/AUTHORS"]
    assert member_order(old, "p.dist-info", new=new) == (
        "z.py",
        "b.py",
        "p.libs/a.so",
        "p.libs/b.so",
        "p.dist-info/WHEEL",
        "p.dist-info/AUTHORS",
        "p.dist-info/sboms/x",
        "p.dist-info/RECORD",
    )
