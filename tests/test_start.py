"""What a command need not load, it does not load: starting the tool takes longer than reading many a wheel."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nativelib
from nativelib.cli.main import COMMANDS, main_parser
from tests.support.cc import extension, simple_module
from tests.support.tools import require
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"elftools", "email", "importlib.metadata", "jinja2", "packaging", "rich", "wheel"}

_RUN = """
import json, sys
from nativelib.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as leaving:
    status = leaving.code
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded_by(*words: str | Path) -> set[str]:
    argv = [sys.executable, "-c", _RUN, *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert not status, done.stderr
    return HEAVY & {*modules, *(name.partition(".")[0] for name in modules)}


def test_help_and_version_load_nothing_that_is_heavy() -> None:
    before = loaded_by_nothing()
    assert loaded_by("--help") == before
    # It looks up the versions of what it uses.
    assert loaded_by("--version") <= before | {"email", "importlib.metadata"}


def loaded_by_nothing() -> set[str]:
    """What the environment's own start-up files load."""
    code = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(json.loads(done.stdout))


def test_an_audit_loads_neither_templates_nor_what_reads_results_back(tmp_path: Path) -> None:
    module = extension(tmp_path, "small", simple_module("small", "1"))
    wheel = make_wheel(tmp_path, "small-1.0-cp311-cp311-linux_x86_64.whl", {f"small/{module.name}": module})
    assert not loaded_by("show", "--json", wheel) & {"jinja2", "rich", "wheel"}


def choices(parser: argparse.ArgumentParser) -> Sequence[argparse.Action]:
    [commands] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return list(commands._get_subactions())


def test_the_table_of_commands_says_what_the_commands_say() -> None:
    assert {action.dest: action.help for action in choices(main_parser())} == COMMANDS
    assert main_parser("").format_help() == main_parser().format_help()


def test_each_name_of_the_api_has_a_home() -> None:
    for name in nativelib.__all__:
        assert getattr(nativelib, name) is not None
    assert {name for names in nativelib._HOMES.values() for name in names} | {"__version__"} == set(nativelib.__all__)


def test_a_large_library_does_not_come_into_memory(tmp_path: Path) -> None:
    size = 96 << 20
    blob = tmp_path / "blob"
    blob.write_bytes(b"".join(number.to_bytes(4, "little") * 64 for number in range(size // 256)))
    source = tmp_path / "large.S"
    source.write_text(f'.section .rodata\n.incbin "{blob}"\n.section .note.GNU-stack,"",@progbits\n')
    library = tmp_path / "liblarge.so"
    subprocess.run([require("gcc"), "-shared", "-nostdlib", "-o", library, source], check=True)
    wheel = make_wheel(tmp_path, "large-1.0-py3-none-linux_x86_64.whl", {"large/liblarge.so": library})
    argv = [sys.executable, str(ROOT / "benchmarks" / "peak.py"), "show", "--json", str(wheel)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["own"] < (size >> 20)


def test_the_benchmark_of_imports_runs() -> None:
    require("gcc")
    argv = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--only", "import", "--rounds", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    assert re.search(r"library wheel - bare dlopen .* <= 3 ms (PASS|MISS)", done.stdout), done.stdout + done.stderr
