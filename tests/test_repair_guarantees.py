"""What `repair` promises: the input stays, the output appears whole or not at all, same input means same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nativelib import apply_plan, plan_from_json
from nativelib.errors import NativelibError
from tests.support.cc import shared_library
from tests.support.counting import (
    NODES,
    consumer_wheel,
    count_library,
    counting_extension,
    foreign_wheel,
    library_wheel,
    plain_extension,
)
from tests.support.projects import nativelib, repaired
from tests.support.tools import lacking
from tests.support.venvs import run_python
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nativelib.plan.values import Plan

AUTHOR = """\
Summary: Counts.
Requires-Dist: numpy>=1.20
Requires-Dist: count-lib>=0.5; python_version >= "3.8"
Requires-Dist: pytest; extra == "test"
Provides-Extra: test
Description-Content-Type: text/markdown

# A description

Requires-Dist: is only text here.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """A consumer that uses everything: two providers, a graft, an author's requirement, several packages."""

    libraries: tuple[Path, ...]
    """Directories of the search path."""
    providers: tuple[Path, ...]
    wheel: Path

    @property
    def options(self) -> tuple[str, ...]:
        """Providers and search path."""
        return (
            *(word for provider in self.providers for word in ("--provided-by", str(provider))),
            "--ldpaths",
            ":".join(map(str, self.libraries)),
        )


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    root = tmp_path_factory.mktemp("guarantees")
    count = count_library(root / "count", nodes=NODES)
    other = count_library(root / "other", {"other": 30}, soname="libother.so.4")
    inner = count_library(root / "inner", {"inner": 100}, soname="libinner.so.2")
    graft = count_library(
        root / "graft",
        soname="libgraft.so.7",
        functions={},
        needed=[inner],
        more="int inner(void); int graft(void) { return inner() + 1; }",
    )
    functions = ("count_one", "count_two", "other", "graft")
    ext = counting_extension(root / "obj", count, other, graft, functions=functions)
    second = counting_extension(root / "obj2", count, graft, functions=("count_one", "graft"), module="_second")
    suffix = ext.name.removeprefix("_counter")
    wheel = consumer_wheel(
        root / "consumer",
        ext,
        files={
            f"pair/sub/_second{suffix}": second,
            "pair/__init__.py": "# -*- coding: latin-1 -*-\r\n'''D\xe9j\xe0.'''\r\nX = 1\r\n".encode("latin-1"),
            "pair/sub/__init__.py": "from ._second import value\n",
            "counter/data.bin": random.Random(1).randbytes(50_000),
            "counter/text.txt": "text " * 10_000,
            "counter-1.0.data/scripts/count": "#!python\nprint('count')\n",
        },
        metadata_extra=AUTHOR,
        purelib=True,
    )
    return Stock(
        libraries=(count.parent, other.parent, inner.parent, graft.parent),
        providers=(
            library_wheel(root / "wheels", count, tool='compatible = ">={version},<2"'),
            library_wheel(root / "wheels", other, name="other-lib", version="3.1"),
        ),
        wheel=wheel,
    )


@pytest.fixture(scope="session")
def result(stock: Stock, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repaired(stock.wheel, *stock.options, into=tmp_path_factory.mktemp("result"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The input


def test_the_input_is_never_changed(stock: Stock, tmp_path: Path) -> None:
    path = tmp_path / stock.wheel.name
    shutil.copy2(stock.wheel, path)
    before = path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino, path.stat().st_mode
    repaired(path, *stock.options, into=tmp_path)  # into its own directory, even
    repaired(path, *stock.options, "--strip", into=tmp_path / "more")
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino, path.stat().st_mode) == before


def test_a_read_only_input_in_a_read_only_directory(stock: Stock, result: Path, tmp_path: Path) -> None:
    directory = tmp_path / "in"
    directory.mkdir()
    path = directory / stock.wheel.name
    shutil.copy2(stock.wheel, path)
    path.chmod(0o400)
    directory.chmod(0o500)
    try:
        assert digest(repaired(path, *stock.options, into=tmp_path / "out")) == digest(result)
    finally:
        directory.chmod(0o700)


# The same input, the same bytes


def test_it_uses_everything(stock: Stock, result: Path) -> None:
    """What the tests below say is worth little if the repair had little to do."""
    names = set(members(result))
    assert any(name.startswith("counter.libs/libgraft-") for name in names)
    assert any(name.startswith("counter.libs/libinner-") for name in names)
    assert {"counter/_distributor_init.py", "pair/_distributor_init.py"} <= names
    assert "counter-1.0.dist-info/nativelib-repair.json" in names


def _variations(home: Path) -> dict[str, tuple[dict[str, str], Path, int]]:
    """Return environment, working directory and umask of each run."""
    return {
        "umask": ({}, home, 0o077),
        "open umask": ({}, home, 0),
        "time zone": ({"TZ": "Pacific/Kiritimati"}, home, 0o022),
        "locale": ({"LC_ALL": "tr_TR.UTF-8", "LANG": "C"}, home, 0o022),
        "C locale": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, home, 0o022),
        "hash seed": ({"PYTHONHASHSEED": "7"}, home, 0o022),
        "hash seed 2": ({"PYTHONHASHSEED": "4242"}, home, 0o022),
        "working directory": ({}, Path("/"), 0o022),
        "temporary directory": ({"TMPDIR": str(home)}, home, 0o022),
        "home": ({"HOME": "/nonexistent", "COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1"}, home, 0o022),
    }


@pytest.mark.parametrize("what", list(_variations(Path("/"))))
def test_nothing_around_it_matters(stock: Stock, result: Path, what: str, tmp_path: Path) -> None:
    env, cwd, umask = _variations(tmp_path)[what]
    argv = [sys.executable, "-m", "nativelib", "repair", str(stock.wheel), *stock.options, "-w", str(tmp_path / "out")]
    done = subprocess.run(
        argv,
        env={**os.environ, **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stderr
    [found] = (tmp_path / "out").iterdir()
    assert (found.name, digest(found)) == (result.name, digest(result))
    assert found.stat().st_mode & 0o777 == 0o666 & ~umask


def test_where_the_inputs_lie_does_not_matter(stock: Stock, result: Path, tmp_path: Path) -> None:
    """Paths are nowhere in the result: neither the wheel's, nor the providers', nor those of grafted libraries."""
    copy = tmp_path / "a place with blanks"
    copy.mkdir()
    wheel = Path(shutil.copy(stock.wheel, copy))
    providers = [Path(shutil.copy(provider, copy)) for provider in stock.providers]
    for directory in stock.libraries:
        for library in directory.glob("*.so.*"):
            shutil.copy(library, copy)
    options = [word for provider in reversed(providers) for word in ("--provided-by", str(provider))]
    found = repaired(wheel, *options, "--ldpaths", copy, into=tmp_path / "out")
    assert (found.name, digest(found)) == (result.name, digest(result))
    content = b"".join(members(result).values())
    for directory in (stock.wheel.parent, stock.providers[0].parent):
        assert str(directory).encode() not in content


def test_relative_paths_and_links(stock: Stock, result: Path, tmp_path: Path) -> None:
    (tmp_path / stock.wheel.name).symlink_to(stock.wheel)
    (tmp_path / "libs").symlink_to(stock.libraries[0])
    options = ("--ldpaths", ":".join(["libs", *(os.path.relpath(p, tmp_path) for p in stock.libraries[1:])]))
    providers = [word for p in stock.providers for word in ("--provided-by", os.path.relpath(p, tmp_path.resolve()))]
    answer = nativelib("repair", stock.wheel.name, *providers, *options, "-w", "out", cwd=tmp_path)
    assert answer.code == 0, answer.stdout
    [entry] = answer.document["wheels"]
    assert entry["input"] == str(tmp_path / stock.wheel.name)
    assert entry["output"] == str(tmp_path / "out" / result.name)
    assert digest(Path(entry["output"])) == digest(result)


def test_source_date_epoch_counts_as_input(stock: Stock, result: Path, tmp_path: Path) -> None:
    answers = [
        nativelib("repair", stock.wheel, *stock.options, "-w", tmp_path / str(n), env={"SOURCE_DATE_EPOCH": value})
        for n, value in enumerate(["1700000000", "1700000000", "1700000002", ""])
    ]
    first, same, other, unset = (Path(answer.document["wheels"][0]["output"]) for answer in answers)
    assert digest(first) == digest(same)
    assert digest(unset) == digest(result)
    assert len({digest(path) for path in (first, other, result)}) == 3
    assert members(first) == members(result)
    dates = {info.filename: info.date_time for info in zipfile.ZipFile(first).infolist()}
    old = {info.filename: info.date_time for info in zipfile.ZipFile(stock.wheel).infolist()}
    assert dates["counter/data.bin"] == old["counter/data.bin"]
    assert dates["counter/_distributor_init.py"] == (2023, 11, 14, 22, 13, 20)
    wrong = nativelib("repair", stock.wheel, *stock.options, "-w", tmp_path, env={"SOURCE_DATE_EPOCH": "yesterday"})
    assert wrong.code == 1
    assert "SOURCE_DATE_EPOCH" in wrong.errors()


def test_members_that_do_not_change_are_copied_raw(stock: Stock, result: Path) -> None:
    """Compressed bytes, date, permissions: as they were. The test's wheel is not compressed as nativelib would."""
    before, after = (_raw_members(path) for path in (stock.wheel, result))
    answer = nativelib("repair", stock.wheel, *stock.options, "--dry-run")
    touched = {action["member"] for action in answer.document["wheels"][0]["plan"]["actions"]}
    kept = set(before) - touched - {"counter-1.0.dist-info/RECORD"}
    assert {"counter/data.bin", "counter/text.txt", "counter-1.0.data/scripts/count"} <= kept
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    for name in set(after) - kept:
        assert after[name][1] == (1980, 1, 1, 0, 0, 0), name


def _raw_members(path: Path) -> dict[str, tuple[bytes, tuple[int, ...], int]]:
    content = path.read_bytes()
    out: dict[str, tuple[bytes, tuple[int, ...], int]] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30
            lengths = content[info.header_offset + 26 : start]
            start += int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            packed = content[start : start + info.compress_size]
            out[info.filename] = packed, info.date_time, info.external_attr >> 16
    return out


def test_permissions(result: Path) -> None:
    modes = {info.filename: info.external_attr >> 16 & 0o777 for info in zipfile.ZipFile(result).infolist()}
    for name, mode in modes.items():
        elf = name.startswith("counter.libs/") or (name.endswith(".so") and "/_" in name)
        assert mode == (0o755 if elf else 0o644), name


# Again


@pytest.mark.parametrize("more", [(), ("--no-run-path",), ("--pin", "minimum"), ("--marker", ""), ("--strip",)])
def test_repairing_again_changes_nothing(stock: Stock, tmp_path: Path, more: tuple[str, ...]) -> None:
    first = repaired(stock.wheel, *stock.options, *more, into=tmp_path / "first")
    for directories in (stock.libraries, (tmp_path,)):
        options = (*stock.options[:-1], ":".join(map(str, directories)))
        again = nativelib("repair", first, *options, *more, "-w", tmp_path / "again")
        assert again.code == 0, again.stdout
        [entry] = again.document["wheels"]
        assert Path(entry["output"]).name == first.name
        assert digest(Path(entry["output"])) == digest(first)
        assert entry["receipt"]["changed"] == []
        assert len(entry["requires"]) == 2
    # Into the same directory: the file is there already, which is no error.
    before = first.stat().st_mtime_ns, first.stat().st_ino
    assert nativelib("repair", first, *stock.options, *more, "-w", first.parent).code == 0
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == before


def test_a_foreign_provider_again(tmp_path: Path) -> None:
    library = count_library(tmp_path / "count")
    provider = foreign_wheel(tmp_path / "wheels", library)
    wheel = consumer_wheel(tmp_path / "in", plain_extension(tmp_path / "obj", library))
    first = repaired(wheel, "--provided-by", provider, into=tmp_path / "first")
    assert digest(repaired(first, "--provided-by", provider, into=tmp_path / "again")) == digest(first)


def test_grafts_alone_again(stock: Stock, tmp_path: Path) -> None:
    first = repaired(stock.wheel, *stock.options[-2:], into=tmp_path / "first")
    second = repaired(first, "--ldpaths", tmp_path, into=tmp_path / "again")
    assert (second.name, digest(second)) == (first.name, digest(first))


def test_a_wheel_that_needs_nothing_is_normalised_once(tmp_path: Path) -> None:
    wheel = consumer_wheel(tmp_path / "in", plain_extension(tmp_path / "obj", functions=()))
    first = repaired(wheel, into=tmp_path / "first")
    second = repaired(first, into=tmp_path / "second")
    assert (second.name, digest(second)) == (first.name, digest(first))


def test_another_pin_replaces_the_earlier_requirement_only(stock: Stock, result: Path, tmp_path: Path) -> None:
    again = repaired(result, *stock.options, "--pin", "minimum", into=tmp_path)
    assert requirements(result, "count-lib") == [
        'count-lib>=0.5; python_version >= "3.8"',
        'count-lib<2,>=1.0; sys_platform == "linux"',
    ]
    assert requirements(again, "count-lib") == [
        'count-lib>=0.5; python_version >= "3.8"',
        'count-lib>=1.0; sys_platform == "linux"',
    ]
    # And back: nothing is left of the way there.
    assert requirements(repaired(again, *stock.options, into=tmp_path / "back"), "count-lib") == requirements(
        result, "count-lib"
    )
    block = members(again)["counter/_distributor_init.py"]
    assert block.count(b">>> nativelib") == 1


def requirements(wheel: Path, name: str = "") -> list[str]:
    [metadata] = [content for member, content in members(wheel).items() if member.endswith(".dist-info/METADATA")]
    values = BytesParser().parsebytes(metadata).get_all("Requires-Dist", [])
    return [value for value in values if value.startswith(name)]


# Metadata


def test_metadata_is_otherwise_unchanged(stock: Stock, result: Path) -> None:
    name = "counter-1.0.dist-info/METADATA"
    before, after = (members(path)[name].decode().split("\n") for path in (stock.wheel, result))
    added = [
        'Requires-Dist: count-lib<2,>=1.0; sys_platform == "linux"',
        'Requires-Dist: other-lib==3.1; sys_platform == "linux"',
    ]
    assert [line for line in after if line not in added] == before
    assert after.index(added[0]) == before.index('Requires-Dist: pytest; extra == "test"') + 1
    assert "Requires-Dist: is only text here." in after


def test_the_wheel_file(stock: Stock, result: Path) -> None:
    text = members(result)["counter-1.0.dist-info/WHEEL"].decode()
    fields = BytesParser().parsebytes(text.encode())
    pythons, abis, platforms = result.stem.split("-")[-3:]
    assert fields["Root-Is-Purelib"] == "false"
    assert b"Root-Is-Purelib: true" in members(stock.wheel)["counter-1.0.dist-info/WHEEL"]
    assert fields.get_all("Tag") == [f"{pythons}-{abis}-{platform}" for platform in platforms.split(".")]
    assert all(platform.startswith("manylinux") for platform in platforms.split("."))
    assert fields["Generator"].startswith("nativelib ")
    assert fields["Wheel-Version"] == "1.0"


def test_no_update_tags(stock: Stock, tmp_path: Path) -> None:
    kept = repaired(stock.wheel, *stock.options, "--no-update-tags", into=tmp_path)
    assert kept.name == stock.wheel.name
    assert members(kept)["counter-1.0.dist-info/WHEEL"].count(b"Tag: ") == 1


def test_all_installers_accept_the_result(stock: Stock, result: Path, make_venv: Callable[..., Any]) -> None:
    environment = make_venv()
    environment.pip_install(result, *stock.providers, flags=("--no-deps",))
    other = make_venv("other")
    other.install(result, *stock.providers, flags=("--no-deps",))
    for env in (environment, other):
        done = run_python(env, "import counter, pair.sub; print(counter.value(), pair.sub.value())")
        assert done.stdout.split() == ["134", "102"]


# The requirement


@dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """Two releases of one library, the second with one more function; each with a history."""

    libraries: tuple[Path, Path]
    old: Path
    new: Path
    with_policy: Path
    exact: Path
    tilde: Path


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    root = tmp_path_factory.mktemp("releases")
    first = count_library(root / "first", {"count_one": 1})
    second = count_library(root / "second", {"count_one": 1, "count_two": 2})
    old = library_wheel(root / "wheels", first, version="1.1")

    def new(directory: str, compatible: str = "", since: Path | None = old, version: str = "1.3.2") -> Path:
        tool = f"compatible = {json.dumps(compatible)}" if compatible else ""
        options: Sequence[str | Path] = ("--since", since) if since else ()
        return library_wheel(root / directory, second, *options, version=version, tool=tool)

    return Releases(
        libraries=(first, second),
        old=old,
        new=new("wheels"),
        with_policy=new("policy", ">={version},<2,!=1.9"),
        exact=new("exact", "=={version}"),
        tilde=new("tilde", "~=1.3"),
    )


def consumer_of(root: Path, library: Path, *functions: str, extra: str = "") -> Path:
    return consumer_wheel(
        root / "consumer", plain_extension(root / "obj", library, functions=functions), metadata_extra=extra
    )


def required(wheel: Path, *options: str | Path, into: Path) -> list[str]:
    """Return the requirements on count-lib of the repaired *wheel*: from its METADATA, as the JSON names them too."""
    answer = nativelib("repair", wheel, *options, "-w", into)
    assert answer.code == 0, answer.stdout
    [entry] = answer.document["wheels"]
    found = requirements(Path(entry["output"]), "count-lib")
    assert set(entry["requires"]) <= set(found)
    return found


LINUX = '; sys_platform == "linux"'


def test_the_history_decides_the_lower_bound(releases: Releases, tmp_path: Path) -> None:
    both = releases.libraries[1]
    one = consumer_of(tmp_path / "one", both, "count_one")
    two = consumer_of(tmp_path / "two", both, "count_one", "count_two")
    found = {
        (kind, functions): required(
            wheel, "--provided-by", getattr(releases, kind), into=tmp_path / f"{kind}-{functions}"
        )
        for kind in ("new", "with_policy", "exact", "tilde")
        for functions, wheel in (("one", one), ("two", two))
    }
    assert found == {
        ("new", "one"): [f"count-lib>=1.1{LINUX}"],
        ("new", "two"): [f"count-lib>=1.3.2{LINUX}"],
        ("with_policy", "one"): [f"count-lib!=1.9,<2,>=1.1{LINUX}"],
        ("with_policy", "two"): [f"count-lib!=1.9,<2,>=1.3.2{LINUX}"],
        ("exact", "one"): [f"count-lib==1.3.2{LINUX}"],
        ("exact", "two"): [f"count-lib==1.3.2{LINUX}"],
        ("tilde", "one"): [f"count-lib~=1.3{LINUX}"],
        ("tilde", "two"): [f"count-lib~=1.3{LINUX}"],
    }


def test_a_third_release_carries_the_history_on(releases: Releases, tmp_path: Path) -> None:
    third = library_wheel(tmp_path, releases.libraries[1], "--since", releases.new, version="2.0")
    wheel = consumer_of(tmp_path, releases.libraries[1], "count_two")
    assert required(wheel, "--provided-by", third, into=tmp_path / "out") == [f"count-lib>=1.3.2{LINUX}"]


def test_without_history_and_policy_it_is_exact(releases: Releases, tmp_path: Path) -> None:
    wheel = consumer_of(tmp_path, releases.libraries[0], "count_one")
    assert required(wheel, "--provided-by", releases.old, into=tmp_path / "out") == [f"count-lib==1.1{LINUX}"]


def test_a_policy_without_history_starts_at_the_provider(releases: Releases, tmp_path: Path) -> None:
    provider = library_wheel(tmp_path, releases.libraries[0], version="1.4", tool='compatible = ">=1.0,<1.9"')
    wheel = consumer_of(tmp_path, releases.libraries[0], "count_one")
    assert required(wheel, "--provided-by", provider, into=tmp_path / "out") == [f"count-lib<1.9,>=1.4{LINUX}"]


def test_a_foreign_provider_is_pinned(tmp_path: Path) -> None:
    library = count_library(tmp_path / "count")
    provider = foreign_wheel(tmp_path / "wheels", library, name="count_lib", version="4.2")
    wheel = consumer_of(tmp_path, library, "count_one")
    assert required(wheel, "--provided-by", provider, into=tmp_path / "out") == [f"count-lib==4.2{LINUX}"]


@pytest.mark.parametrize("version", ["1.5+local.7", "1.5rc2", "1.5.post1", "1!1.5"])
def test_a_local_version_is_left_out(tmp_path: Path, version: str) -> None:
    library = count_library(tmp_path / "count")
    provider = library_wheel(tmp_path / "wheels", library, version=version, tool='compatible = "=={version}"')
    wheel = consumer_of(tmp_path, library, "count_one")
    public = version.partition("+")[0]
    for pin, expected in (("auto", f"=={public}"), ("exact", f"=={public}"), ("minimum", f">={public}")):
        found = required(wheel, "--provided-by", provider, "--pin", pin, into=tmp_path / pin)
        assert found == [f"count-lib{expected}{LINUX}"]


@pytest.mark.parametrize(
    ("pin", "expected"),
    [
        ("exact", "==1.3.2"),
        ("minimum", ">=1.1"),
        ("compatible", "~=1.3.2"),
        (">=1.0,<3", "<3,>=1.0"),
        ("==1.3.*", "==1.3.*"),
        ("auto", "!=1.9,<2,>=1.1"),
    ],
)
def test_pins(releases: Releases, tmp_path: Path, pin: str, expected: str) -> None:
    wheel = consumer_of(tmp_path, releases.libraries[0], "count_one")
    options = ("--provided-by", releases.with_policy, "--pin", pin)
    assert required(wheel, *options, into=tmp_path / "out") == [f"count-lib{expected}{LINUX}"]


def test_a_specifier_behind_the_name_wins(releases: Releases, tmp_path: Path, make_venv: Callable[..., Any]) -> None:
    environment = make_venv()
    environment.install(releases.with_policy)
    wheel = consumer_of(tmp_path, releases.libraries[0], "count_one")
    for text, pin, expected in (
        ("count-lib", "auto", "!=1.9,<2,>=1.1"),
        ("Count_Lib", "exact", "==1.3.2"),
        ("count-lib>=1.2,<1.8", "auto", "<1.8,>=1.2"),
        ("count-lib>=1.2,<1.8", "exact", "<1.8,>=1.2"),
    ):
        options = ("--provided-by", text, "--python", environment.python, "--pin", pin)
        found = required(wheel, *options, into=tmp_path / f"{text}-{pin}")
        assert found == [f"count-lib{expected}{LINUX}"]
    answer = nativelib("repair", wheel, "--provided-by", "count-lib>=7", "--python", environment.python, "-w", tmp_path)
    assert answer.code == 1
    assert "1.3.2" in " ".join(answer.errors().values())


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", ""),
        ("python_version>='3.9'", '; python_version >= "3.9"'),
        ("sys_platform == 'linux' and platform_machine != 'ppc64'", None),
    ],
)
def test_markers(releases: Releases, tmp_path: Path, marker: str, expected: str | None) -> None:
    wheel = consumer_of(tmp_path, releases.libraries[0], "count_one")
    [found] = required(wheel, "--provided-by", releases.old, "--marker", marker, into=tmp_path / "out")
    suffix = '; sys_platform == "linux" and platform_machine != "ppc64"' if expected is None else expected
    assert found == f"count-lib==1.1{suffix}"


@pytest.mark.parametrize(
    "author",
    [
        "count-lib",
        "count-lib<2,>=1",
        'Count_Lib[fast]>=1; python_version >= "3.8"',
        "count-lib!=1.0",
        f"count-lib>=1.1{LINUX}",
    ],
)
def test_what_the_author_requires_is_kept(releases: Releases, tmp_path: Path, author: str) -> None:
    wheel = consumer_of(tmp_path, releases.libraries[0], "count_one", extra=f"Requires-Dist: {author}\n")
    first = repaired(wheel, "--provided-by", releases.new, into=tmp_path / "first")
    ours = f"count-lib>=1.1{LINUX}"
    assert requirements(first) == list(dict.fromkeys([author, ours]))
    # The author's stays the author's, also where it says just what ours would.
    again = repaired(first, "--provided-by", releases.new, "--pin", "exact", into=tmp_path / "again")
    assert requirements(again) == [author, f"count-lib==1.3.2{LINUX}"]


# Trouble while writing


def _bulk(root: Path, stock: Stock) -> tuple[Path, Path]:
    """Return a wheel that takes about a second to write, and a provider for it."""
    count = count_library(root / "count", more=f"char ballast[] = {{1, [{60_000_000}] = 1}};")
    ext = plain_extension(root / "obj", count)
    big = count_library(
        root / "big", {"big": 1}, soname="libbig.so.1", more="char big_ballast[] = {1, [40000000] = 1};"
    )
    wide = plain_extension(root / "wide", big, functions=("big",), module="_wide")
    return consumer_wheel(root / "in", ext, files={"counter/_wide.abi3.so": wide}), big


@pytest.fixture(scope="session")
def bulk(stock: Stock, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """A wheel whose repair takes seconds, because it grafts and compresses 100 MB."""
    root = tmp_path_factory.mktemp("bulk")
    wheel, big = _bulk(root, stock)
    return wheel, ("--ldpaths", f"{root / 'count' / 'lib'}:{big.parent}", "-z", "9")


def start(
    wheel: Path, options: Sequence[str], out: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "nativelib", "repair", str(wheel), *options, "-w", str(out), "--json"]
    return subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )


def wait_for_writing(process: subprocess.Popen[str], out: Path) -> None:
    """Return once the temporary file in *out* grows."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if out.is_dir() and any(path.stat().st_size for path in out.iterdir()):
            return
        if process.poll() is not None:
            raise RuntimeError(f"it was over before it could be interrupted: {process.communicate()}")
        time.sleep(0.005)
    raise TimeoutError("nothing is written")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_repair_that_is_stopped_leaves_no_wheel(
    bulk: tuple[Path, tuple[str, ...]], tmp_path: Path, number: signal.Signals
) -> None:
    wheel, options = bulk
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    before = digest(wheel)
    process = start(wheel, options, out, {"TMPDIR": str(scratch)})
    wait_for_writing(process, out)
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode not in {0, 1}, (stdout, stderr)
    assert "Traceback" not in stderr
    left = sorted(path.name for path in out.iterdir())
    assert not [name for name in left if name.endswith(".whl")]
    if number is not signal.SIGKILL:
        assert left == []
        assert list(scratch.iterdir()) == []
    assert digest(wheel) == before


def test_after_a_kill_the_next_run_succeeds(
    bulk: tuple[Path, tuple[str, ...]], stock: Stock, result: Path, tmp_path: Path
) -> None:
    wheel, options = bulk
    process = start(wheel, options, tmp_path)
    wait_for_writing(process, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert digest(repaired(stock.wheel, *stock.options, into=tmp_path)) == digest(result)


def limited(bytes_in_a_file: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_in_a_file, bytes_in_a_file))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95])
def test_a_disk_that_is_full(stock: Stock, result: Path, tmp_path: Path, share: float) -> None:
    """Wherever it ends: a finding, no traceback, no file. The limit stands for the end of the disk."""
    size = int(result.stat().st_size * share)
    argv = [sys.executable, "-m", "nativelib", "repair", str(stock.wheel), *stock.options]
    done = subprocess.run(
        [*argv, "-w", str(tmp_path / "out"), "--json"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited(size),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    [entry] = json.loads(done.stdout)["wheels"]
    assert entry["output"] is None
    codes = {finding["code"] for finding in entry["findings"] if finding["severity"] == "error"}
    assert codes <= {"NL108", "NL109"}
    assert codes
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("which", ["output", "temporary files"])
def test_a_small_file_system_that_is_full(stock: Stock, tmp_path: Path, which: str) -> None:
    """The same with a real one, where mounting is possible."""
    out = tmp_path / "out"
    out.mkdir()
    small = out if which == "output" else tmp_path / "small"
    small.mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "nativelib", "repair", str(stock.wheel), *stock.options, "-w", str(out), "--json"]
    script = 'mount -t tmpfs -o size=20k small "$0" && { "$@"; code=$?; ls -A "$0" >&2; exit $code; }'
    unshare = shutil.which("unshare")
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    if unshare is None or subprocess.run([unshare, "--mount", *mapped, "true"], check=False).returncode:
        lacking("unshare --mount")
    done = subprocess.run(
        [unshare, "--mount", *mapped, "sh", "-c", script, str(small), *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **({} if small == out else {"TMPDIR": str(small)})},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    [entry] = json.loads(done.stdout)["wheels"]
    expected = {"NL108"} if small == out else {"NL108", "NL109"}
    assert {f["code"] for f in entry["findings"] if f["severity"] == "error"} <= expected
    assert "No space left" in json.dumps(entry["findings"])
    assert not list(out.iterdir())
    assert ".whl" not in done.stderr.replace(stock.wheel.name, "")
    assert ".tmp" not in done.stderr


def test_an_output_directory_that_cannot_be_written(stock: Stock, tmp_path: Path) -> None:
    """Root may write everywhere, so the directory is on a file system that lets nobody: /proc."""
    for directory in (Path("/proc/nativelib"), Path("/proc/self"), stock.wheel / "below"):
        answer = nativelib("repair", stock.wheel, *stock.options, "-w", directory)
        assert answer.code == 1
        [entry] = answer.document["wheels"]
        assert entry["output"] is None
        assert [f["code"] for f in entry["findings"] if f["severity"] == "error"] == ["NL108"]
    if os.geteuid() != 0:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        answer = nativelib("repair", stock.wheel, *stock.options, "-w", closed)
        assert answer.code == 1
        assert list(closed.iterdir()) == []


def test_a_directory_of_the_result_s_name(stock: Stock, result: Path, tmp_path: Path) -> None:
    (tmp_path / result.name).mkdir()
    answer = nativelib("repair", stock.wheel, *stock.options, "-w", tmp_path)
    assert answer.code == 1
    assert answer.document["wheels"][0]["output"] is None
    assert [path.name for path in tmp_path.iterdir()] == [result.name]


def test_an_older_result_is_replaced_whole(stock: Stock, result: Path, tmp_path: Path) -> None:
    (tmp_path / result.name).write_bytes(b"old")
    assert digest(repaired(stock.wheel, *stock.options, into=tmp_path)) == digest(result)
    assert [path.name for path in tmp_path.iterdir()] == [result.name]


def test_a_refusal_leaves_an_older_result_alone(stock: Stock, result: Path, tmp_path: Path) -> None:
    (tmp_path / result.name).write_bytes(b"old")
    answer = nativelib("repair", stock.wheel, *stock.options, "--require-abi", "x=1", "--strict", "-w", tmp_path)
    assert answer.code == 1
    assert (tmp_path / result.name).read_bytes() == b"old"


def test_two_runs_at_once(stock: Stock, result: Path, tmp_path: Path) -> None:
    runs = [start(stock.wheel, stock.options, tmp_path) for _ in range(4)]
    for process in runs:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["wheels"][0]["output"] == str(tmp_path / result.name)
    assert [path.name for path in tmp_path.iterdir()] == [result.name]
    assert digest(tmp_path / result.name) == digest(result)


# Saved plans


@pytest.fixture
def plan(stock: Stock, tmp_path: Path) -> Plan:
    """A plan for a copy of everything that a repair reads, as it was saved."""
    copy = tmp_path / "inputs"
    copy.mkdir()
    for path in (stock.wheel, *(library for directory in stock.libraries for library in directory.glob("*.so.*"))):
        shutil.copy(path, copy)
    options: list[str | Path] = [*stock.options[:-1], copy, "--dry-run", "--plan-out", tmp_path / "plan.json"]
    answer = nativelib("repair", copy / stock.wheel.name, *options)
    assert answer.code == 0, answer.stdout
    return plan_from_json(json.loads((tmp_path / "plan.json").read_text()))


def test_a_saved_plan_gives_the_same_bytes(plan: Plan, result: Path, tmp_path: Path) -> None:
    receipt = apply_plan(plan, tmp_path / "out")
    assert receipt.sha256 == digest(Path(receipt.output)) == digest(result)


@pytest.mark.parametrize("changed", ["counter-*.whl", "libgraft.so.7"])
def test_a_plan_is_refused_for_other_inputs(plan: Plan, tmp_path: Path, changed: str) -> None:
    [path] = (tmp_path / "inputs").glob(changed)
    content = path.read_bytes()
    # Bytes at the end of an ELF file, or the comment of a zip file, change neither's meaning.
    path.write_bytes(content[:-2] + b"\1\0x" if path.suffix == ".whl" else content + b"x")
    with pytest.raises(NativelibError, match="changed since"):
        apply_plan(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
    path.write_bytes(content)
    apply_plan(plan, tmp_path / "out")


def test_a_graft_finds_its_neighbour_by_a_run_path_of_its_own(tmp_path: Path) -> None:
    """Also where its build left that very run path: it leads to the new place now."""
    inner = count_library(tmp_path / "l", {"inner": 1}, soname="libinner.so.2")
    outer = shared_library(
        inner.parent,
        "libouter.so.2",
        "int inner(void); int outer(void) { return inner(); }",
        soname="libouter.so.2",
        needed=[inner],
        rpath=f"$ORIGIN:/opt/build/lib:{inner.parent}",
    )
    wheel = consumer_wheel(tmp_path / "in", plain_extension(tmp_path / "obj", outer, functions=("outer",)))
    first = repaired(wheel, "--ldpaths", inner.parent, into=tmp_path / "out")
    [shown] = nativelib("show", first).document["wheels"]
    paths = {
        item["path"].rpartition("/")[2].partition("-")[0]: item["rpath"] + item["runpath"] for item in shown["elf"]
    }
    assert paths == {"_counter.abi3.so": ["$ORIGIN/../counter.libs"], "libouter": ["$ORIGIN"], "libinner": []}


def test_a_dry_run_writes_nothing(stock: Stock, tmp_path: Path) -> None:
    answer = nativelib("repair", stock.wheel, *stock.options, "--dry-run", cwd=tmp_path)
    assert answer.code == 0
    assert answer.document["wheels"][0]["output"] is None
    assert list(tmp_path.iterdir()) == []
