"""``--skip``: files of the wheel that stay unread and untouched; files of other machines need no skipping."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from nativelib.facts.outside import Outside
from nativelib.plan.needs import Ground, by_file_name, resolve
from nativelib.read.elf import read_elf_file
from tests.support.cc import shared_library
from tests.support.counting import consumer_wheel, count_library, library_wheel, plain_extension
from tests.support.projects import Answer, nativelib, repaired
from tests.support.wheels import members

if TYPE_CHECKING:
    from pathlib import Path

FIRMWARE = "counter/firmware/boot.elf"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that extensions are linked with."""
    return count_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real ELF file of another machine, which needs something that is nowhere."""
    root = tmp_path_factory.mktemp("firmware")
    cc = "aarch64-linux-gnu-gcc"
    lost = count_library(root, {"lost": 1}, soname="liblost.so.1", cc=cc)
    return plain_extension(root / "obj", lost, functions=("lost",), module="boot", cc=cc).read_bytes()


def wheel_with(directory: Path, library: Path, files: dict[str, Any], **more: Any) -> Path:
    """A wheel whose extension needs *library*, with further *files*."""
    return consumer_wheel(directory, plain_extension(directory / "obj", library, **more), files=files)


def codes(answer: Answer) -> dict[str, str]:
    return {finding["code"]: finding["severity"] for finding in answer.findings}


def test_firmware_of_another_machine_is_data(library: Path, firmware: bytes, tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, library, {FIRMWARE: firmware, "counter/firmware/cut.elf": firmware[:900]})
    shown = nativelib("show", wheel, "--ldpaths", library.parent)
    assert shown.code == 0
    assert codes(shown) == {"NL210": "note", "NL105": "warning"}
    assert [elf["path"] for elf in shown.document["wheels"][0]["elf"]] == ["counter/_counter.abi3.so"]
    answer = nativelib("repair", wheel, "--ldpaths", library.parent, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stderr
    [told] = [finding for finding in answer.findings if finding["code"] == "NL210"]
    assert "1 file (counter/firmware/boot.elf) for aarch64" in told["message"]
    assert members(next((tmp_path / "out").iterdir()))[FIRMWARE] == firmware


def test_skipped_files_are_neither_read_nor_changed(library: Path, firmware: bytes, tmp_path: Path) -> None:
    # One that would be an error, one of this machine that would be edited, one that is no ELF file at all.
    own = plain_extension(tmp_path / "own", library, module="_own").read_bytes()
    files = {
        "counter/enc/_secret.abi3.so": b"\x7fELF" + hashlib.sha512(b"x").digest() * 9,
        "counter/enc/_own.abi3.so": own,
        "counter/enc/a.bin": b"noise",
        "counter/enc/b.bin": firmware,
    }
    wheel = wheel_with(tmp_path, library, files)
    options = ("--ldpaths", str(library.parent))
    assert "NL105" in codes(nativelib("repair", wheel, *options, "-w", tmp_path / "out"))
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

    for command in (("show", wheel, *options), ("repair", wheel, *options, "-w", tmp_path / "out")):
        answer = nativelib(*command, "--skip", "counter/enc/*")
        assert answer.code == 0, answer.stderr
        assert codes(answer) == {"NL112": "note"}
        [told] = answer.findings
        assert (
            "leaves 4 files (counter/enc/_secret.abi3.so, counter/enc/_own.abi3.so, counter/enc/a.bin and 1 more)"
            in (told["message"])
        )
    result = next((tmp_path / "out").iterdir())
    after = members(result)
    assert {name: after[name] for name in files} == files
    assert after["counter/_counter.abi3.so"] != members(wheel)["counter/_counter.abi3.so"]
    # Saved with the plan, and repeated: the same bytes.
    again = repaired(result, *options, "--skip", "counter/enc/*", into=tmp_path / "again")
    assert again.read_bytes() == result.read_bytes()


def test_a_damaged_member_is_noticed_all_the_same(library: Path, firmware: bytes, tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, library, {FIRMWARE: b"\x7fELF" + bytes(range(256)) * 8})
    content = bytearray(wheel.read_bytes())
    at = content.index(FIRMWARE.encode()) + len(FIRMWARE) + 40
    content[at] ^= 0xFF
    wheel.write_bytes(content)
    answer = nativelib("show", wheel, "--skip", "*.elf")
    assert (answer.code, codes(answer)) == (1, {"NL102": "error"})


def test_a_glob_that_matches_nothing(library: Path, tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, library, {"counter/a.fw": b"x"})
    plain = wheel_with(tmp_path / "2", library, {})
    options = ("--ldpaths", str(library.parent), "--skip", "*.fw")
    for command in (("show",), ("repair", "-w", tmp_path / "out")):
        alone = nativelib(*command, plain, *options)
        assert (alone.code, codes(alone)) == (0, {"NL113": "warning"})
        assert alone.findings[0]["where"] == "*.fw"
        assert codes(nativelib(*command, wheel, *options)) == {"NL112": "note"}
    both = nativelib("show", plain, wheel, *options)
    assert codes(both) == {"NL112": "note"}
    strict = nativelib("repair", plain, *options, "--strict", "-w", tmp_path / "strict")
    assert (strict.code, codes(strict)) == (1, {"NL113": "error"})
    # RECORD, METADATA and WHEEL are written whatever is skipped.
    everything = nativelib("show", plain, "--skip", "*.dist-info/*")
    assert "NL113" in codes(everything)


def test_a_skipped_library_that_is_needed_is_not_replaced_in_silence(library: Path, tmp_path: Path) -> None:
    beside = wheel_with(tmp_path, library, {f"counter/{library.name}": b"encrypted"})
    options = ("--ldpaths", str(library.parent), "--skip", "*.so.1")
    answer = nativelib("repair", beside, *options, "-w", tmp_path / "out")
    assert answer.code == 1
    [problem] = [finding for finding in answer.findings if finding["severity"] == "error"]
    assert (problem["code"], problem["where"]) == ("NL201", "counter/_counter.abi3.so")
    assert "counter/libcount.so.1" in problem["message"]
    assert "--exclude libcount.so.1" in problem["remedy"]
    shown = nativelib("show", beside, *options)
    assert shown.code == 0
    assert codes(shown) == {"NL112": "note", "NL201": "warning"}
    [need] = [n for elf in shown.document["wheels"][0]["elf"] for n in elf["needed"] if n["soname"] == library.name]
    assert need == {"soname": library.name, "answer": "missing", "source": None}

    allowed = nativelib("repair", beside, *options, "--exclude", library.name, "-w", tmp_path / "out")
    assert allowed.code == 0, allowed.stderr
    assert allowed.document["wheels"][0]["grafted"] == []


def test_a_run_path_leads_to_a_skipped_library(library: Path, tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, library, {f"counter/lib/{library.name}": b"encrypted"}, rpath="$ORIGIN/lib")
    answer = nativelib("repair", wheel, "--ldpaths", library.parent, "--skip", "counter/lib/*", "-w", tmp_path / "out")
    assert (answer.code, codes(answer).get("NL201")) == (1, "error")


def test_a_skipped_file_of_that_name_where_no_loader_looks(library: Path, tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, library, {f"counter/rootfs/usr/lib/{library.name}": b"for a device"})
    options = ("--ldpaths", str(library.parent), "--skip", "counter/rootfs/*")
    answer = nativelib("repair", wheel, *options, "-w", tmp_path / "out")
    assert answer.code == 0
    assert [item["soname"] for item in answer.document["wheels"][0]["grafted"]] == [library.name]
    [warned] = [finding for finding in answer.findings if finding["severity"] == "warning"]
    assert (warned["code"], warned["where"]) == ("NL112", "counter/_counter.abi3.so")
    assert "counter/rootfs/usr/lib/libcount.so.1" in warned["message"]


def test_a_module_that_needs_the_hook_cannot_be_skipped(library: Path, tmp_path: Path) -> None:
    provider = library_wheel(tmp_path / "provider", library)
    wheel = wheel_with(tmp_path, library, {})
    answer = nativelib(
        "repair", wheel, "--provided-by", provider, "--skip", "counter/__init__.py", "-w", tmp_path / "out"
    )
    assert answer.code == 1
    said = "NL112 --skip leaves this file as it is, but the repair has to change it. Narrow the glob."
    assert answer.errors() == {"counter/__init__.py": said}


def test_everything_skipped_is_not_called_pure(library: Path, firmware: bytes, tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, library, {FIRMWARE: firmware})
    shown = nativelib("show", wheel, "--skip", "*")
    [entry] = shown.document["wheels"]
    assert (shown.code, entry["pure"], entry["tag"], entry["elf"]) == (0, False, None, [])
    answer = nativelib("repair", wheel, "--skip", "*", "-w", tmp_path / "out")
    assert answer.code == 0
    assert codes(answer) == {"NL112": "note", "NL110": "warning"}
    assert members(next((tmp_path / "out").iterdir())) == members(wheel)


def test_an_unreadable_file_does_not_stop_the_audit(library: Path, tmp_path: Path) -> None:
    extension = plain_extension(tmp_path / "obj", library)
    broken = {f"counter/{n}.so": extension.read_bytes()[: 900 + n] for n in range(3)}
    wheel = consumer_wheel(tmp_path / "many", extension, files={**broken, "counter/_loaded.abi3.so": b"\x7fELF\2\1\1"})
    shown = nativelib("show", wheel, "--ldpaths", library.parent)
    assert (shown.code, codes(shown)) == (0, {"NL105": "warning"})
    assert {finding["where"] for finding in shown.findings} == {*broken, "counter/_loaded.abi3.so"}
    [entry] = shown.document["wheels"]
    assert [elf["path"] for elf in entry["elf"]] == ["counter/_counter.abi3.so"]
    assert entry["tag"].startswith("linux_")  # for the library, which is still outside
    # Python would import this one; the others nothing loads.
    answer = nativelib("repair", wheel, "--ldpaths", library.parent, "-w", tmp_path / "out")
    assert answer.code == 1
    assert "counter/_loaded.abi3.so" in answer.errors()
    alone = consumer_wheel(tmp_path / "alone", extension, files={"counter/tests/broken": broken["counter/0.so"]})
    assert repaired(alone, "--ldpaths", library.parent, into=tmp_path / "out").exists()


def test_a_wheel_of_which_nothing_can_be_read_is_not_called_pure(library: Path, tmp_path: Path) -> None:
    extension = tmp_path / "_counter.abi3.so"
    extension.write_bytes(plain_extension(tmp_path / "obj", library).read_bytes()[:900])
    shown = nativelib("show", consumer_wheel(tmp_path, extension))
    [entry] = shown.document["wheels"]
    assert (shown.code, entry["pure"], entry["tag"]) == (0, False, None)


def test_many_skipped_files_cost_no_time_for_each_need(tmp_path: Path) -> None:
    needed = shared_library(tmp_path, "libz9.so.1", "int z9(void) { return 1; }", soname="libz9.so.1")
    source = "int z9(void); int m(void) { return z9(); }"
    facts = read_elf_file(shared_library(tmp_path, "_m.so", source, needed=[needed]))
    unread = by_file_name([*(f"pkg/d{n}/{n}.txt" for n in range(40_000)), "pkg/libz9.so.1"])
    ground = Ground(files={f"pkg/_m{n}.so": facts for n in range(2000)}, inside={}, unread=unread)
    begin = time.process_time()
    needs = resolve(ground, Outside())
    assert time.process_time() - begin < 10
    assert {need.unread for need in needs if need.soname == "libz9.so.1"} == {"pkg/libz9.so.1"}
