"""What the commands print with --json, against the schemas that ship with the tool; and what people read instead."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from nativelib.findings import Code
from tests.support.counting import consumer_wheel, count_library, foreign_wheel, library_wheel, plain_extension
from tests.support.projects import nativelib, project
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.projects import Answer

SCHEMAS = {path.name: json.loads(path.read_text()) for path in Path(str(files("nativelib") / "schemas")).glob("*.json")}
_REGISTRY: Registry[Any] = Registry().with_resources(
    [(name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()]
)


def check(name: str, document: Any) -> None:
    """Raise ``AssertionError`` unless *document* is what the schema *name* says."""
    validator = Draft202012Validator(SCHEMAS[f"{name}.json"], registry=_REGISTRY)
    problems = [f"{problem.json_path}: {problem.message}" for problem in validator.iter_errors(document)]
    assert not problems, problems


class Stock:
    """What the commands are run on, built once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.library = count_library(root / "count")
        self.graft = count_library(root / "graft", {"graft": 1}, soname="libgraft.so.1")
        self.older = library_wheel(root / "older", self.library, version="0.9")
        self.provider = library_wheel(
            root / "wheels",
            self.library,
            "--since",
            self.older,
            tool='alias = ["libcount.so.0"]\ncompatible = "<2"\n[tool.nativelib.abi]\ncolour = "red"',
        )
        ext = plain_extension(root / "obj", self.library, self.graft, functions=("count_one", "graft"))
        self.consumer = consumer_wheel(root / "in", ext)
        self.options = ("--provided-by", str(self.provider), "--ldpaths", str(self.graft.parent))
        self.pure = make_wheel(root / "pure", "pure-1.0-py3-none-any.whl", {"pure.py": ""})
        self.project = project(
            root / "project", "count-lib", f'prefix = "{root / "count"}"\nlibraries = ["lib/*.so.1"]', version="3.0"
        )
        self.broken = root / "broken-1.0-py3-none-any.whl"
        self.broken.write_bytes(b"no zip file")


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock(tmp_path_factory.mktemp("json"))


# The schemas themselves


def test_the_schemas_are_valid_and_complete() -> None:
    assert {
        "build.json",
        "finding.json",
        "lddtree.json",
        "manifest.json",
        "metadata.json",
        "plan.json",
        "repair.json",
        "shim.json",
        "show.json",
        "verify.json",
    } <= set(SCHEMAS)
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["title"], name
        for path, part in _objects(schema, name):
            assert part.get("description"), path
            assert "additionalProperties" in part or path.endswith(("/values", "/document")), path


def _objects(schema: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            found.append((path, schema))
        for key, value in schema.items():
            found += _objects(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for item in schema:
            found += _objects(item, path)
    return found


def test_they_refuse_something(stock: Stock) -> None:
    """A schema that lets everything through would make the tests below worthless."""
    good = nativelib("repair", stock.consumer, *stock.options, "--dry-run").document
    check("repair", good)
    [entry] = good["wheels"]
    for bad in (
        {**good, "schema": 2},
        {**good, "more": 1},
        {"schema": 1},
        {**good, "wheels": [{**entry, "input": "relative.whl"}]},
        {**good, "wheels": [{**entry, "findings": [{"code": "X"}]}]},
        {**good, "wheels": [{**entry, "plan": {**entry["plan"], "actions": [{"kind": "patch", "member": "a"}]}}]},
        {**good, "wheels": [{**entry, "provided": [{"soname": "a", "provider": "b"}]}]},
    ):
        with pytest.raises(AssertionError):
            check("repair", bad)


def test_every_code_fits_the_schema() -> None:
    for code in Code:
        check("finding", {"code": code.value, "severity": "note", "where": "", "message": "x", "remedy": ""})


# Success


def test_repair(stock: Stock, tmp_path: Path) -> None:
    answer = nativelib("repair", stock.consumer, *stock.options, "-w", tmp_path)
    assert answer.code == 0
    check("repair", answer.document)
    [entry] = answer.document["wheels"]
    output = Path(entry["output"])
    assert output.is_file()
    assert entry["input"] == str(stock.consumer)
    assert output.name.endswith(f"-{'.'.join(entry['tags'])}.whl")
    assert entry["requires"] == ['count-lib<2,>=0.9; sys_platform == "linux"']
    assert entry["provided"] == [{"soname": "libcount.so.1", "provider": "count-lib", "as": "libcount-count_lib.so.1"}]
    [graft] = entry["grafted"]
    assert (graft["soname"], graft["from"]) == ("libgraft.so.1", str(stock.graft))
    names = zipfile.ZipFile(output).namelist()
    assert {graft["path"], *entry["hooks"]} <= set(names)
    assert set(entry["receipt"]["changed"]) <= set(names)
    assert entry["receipt"]["size"] == output.stat().st_size
    assert "plan" not in entry


def test_repair_dry_run_and_saved_plans(stock: Stock, tmp_path: Path) -> None:
    both = (stock.consumer, stock.pure)
    answer = nativelib("repair", *both, *stock.options, "--dry-run", "--plan-out", tmp_path / "plans.json")
    assert answer.code == 0
    check("repair", answer.document)
    saved = json.loads((tmp_path / "plans.json").read_text())
    assert saved == [entry["plan"] for entry in answer.document["wheels"]]
    for plan in saved:
        check("plan", plan)
    nativelib("repair", stock.consumer, *stock.options, "--dry-run", "--plan-out", tmp_path / "one.json")
    check("plan", json.loads((tmp_path / "one.json").read_text()))


def test_build(stock: Stock, tmp_path: Path) -> None:
    options = ("-w", tmp_path, "--plan-out", tmp_path / "plan.json")
    answer = nativelib("build", stock.project, *options)
    assert answer.code == 0
    check("build", answer.document)
    assert Path(answer.document["wheel"]).is_file()
    check("plan", json.loads((tmp_path / "plan.json").read_text()))
    dry = nativelib("build", stock.project, "--dry-run")
    check("build", dry.document)
    assert dry.document["wheel"] is None
    assert dry.document["plan"] == json.loads((tmp_path / "plan.json").read_text())


def test_manifest(stock: Stock) -> None:
    with zipfile.ZipFile(stock.provider) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("nativelib.json")]
        manifest = json.loads(archive.read(name))
    check("manifest", manifest)
    assert set(manifest) == set(SCHEMAS["manifest.json"]["properties"])
    assert manifest["exports"] == {"libcount-count_lib.so.1": {"count_one": "0.9", "count_two": "0.9"}}
    assert manifest["abi"] == {"colour": "red"}


def test_show(stock: Stock, tmp_path: Path) -> None:
    foreign = foreign_wheel(tmp_path, stock.library)
    answer = nativelib("show", stock.consumer, stock.pure, stock.provider, foreign, *stock.options[2:])
    check("show", answer.document)
    assert answer.code == 0
    assert [entry["file"] for entry in answer.document["wheels"]] == [
        str(path) for path in (stock.consumer, stock.pure, stock.provider, foreign)
    ]
    for code, found in ((1, nativelib("show", stock.broken, tmp_path / "none.whl")),):
        assert found.code == code
        check("show", found.document)


def test_shim(stock: Stock, tmp_path: Path) -> None:
    hook = tmp_path / "_distributor_init.py"
    for options, code in (((), 0), (("-o", str(hook)), 0), (("-o", str(hook / "below")), 1)):
        answer = nativelib("shim", "--provided-by", stock.provider, *options)
        assert answer.code == code
        check("shim", answer.document)
        assert bool(answer.errors()) == bool(code)
    assert "count_lib" in hook.read_text()
    missing = nativelib("shim", "--provided-by", "no-such-distribution")
    assert missing.code == 1
    check("shim", missing.document)


# Failure: JSON all the same


def _failures(stock: Stock, directory: Path) -> dict[str, tuple[str, tuple[str | Path, ...]]]:
    empty = directory / "empty"
    empty.mkdir()
    cyclic = directory / "unreadable.json"
    cyclic.write_text("{")
    (directory / "bad").mkdir()
    (directory / "bad" / "pyproject.toml").write_text("[project\n")
    return {
        "no wheel": ("repair", (stock.broken,)),
        "no such file": ("repair", (directory / "x-1.0-py3-none-any.whl",)),
        "a directory": ("repair", (directory,)),
        "no such provider": ("repair", (stock.consumer, "--provided-by", "no-such-distribution")),
        "missing library": ("repair", (stock.consumer, "--ldpaths", empty)),
        "useless provider": ("repair", (stock.pure, *stock.options)),
        "bad tag": ("repair", (stock.consumer, *stock.options, "--plat", "manylinux_9_9_x86_64")),
        "bad pin": ("repair", (stock.consumer, *stock.options, "--pin", "?")),
        "no interpreter": ("repair", (stock.consumer, "--provided-by", "x", "--python", directory / "python")),
        "interpreter that is none": ("repair", (stock.consumer, "--provided-by", "x", "--python", "/bin/true")),
        "no output directory": ("repair", (stock.consumer, *stock.options, "-w", "/proc/nativelib")),
        "bad name": ("repair", (stock.consumer, *stock.options, "--lib-sdir", "/../x")),
        "no project": ("build", (empty,)),
        "broken project": ("build", (directory / "bad",)),
        "no prefix": ("build", (stock.project, "--prefix", directory / "nowhere")),
        "empty prefix": ("build", (stock.project, "--prefix", empty)),
        "no history": ("build", (stock.project, "--since", directory / "nowhere.whl")),
        "broken history": ("build", (stock.project, "--since", cyclic)),
        "another history": ("build", (stock.project, "--since", stock.pure)),
        "foreign provider": ("build", (stock.project, "--provided-by", stock.pure)),
        "build tag": ("build", (stock.project, "--plat", "manylinux_9_9_x86_64")),
        "build output": ("build", (stock.project, "-w", "/proc/nativelib")),
    }


WHAT = """
no wheel, no such file, a directory, no such provider, missing library, useless provider, bad tag, bad pin,
no interpreter, interpreter that is none, no output directory, bad name, no project, broken project, no prefix,
empty prefix, no history, broken history, another history, foreign provider, build tag, build output
"""


@pytest.mark.parametrize("what", re.split(r",\s+", WHAT.strip()))
def test_every_failure(stock: Stock, tmp_path: Path, what: str) -> None:
    failures = _failures(stock, tmp_path)
    assert ", ".join(failures) == " ".join(WHAT.split())
    command, arguments = failures[what]
    answer = nativelib(command, *arguments, cwd=tmp_path)
    assert answer.code == 1
    check(command, answer.document)
    errors = [finding for finding in answer.findings if finding["severity"] == "error"]
    assert errors
    for finding in errors:
        assert finding["code"] != Code.INTERNAL.value
        # The same is on stderr, for the log.
        assert finding["message"].splitlines()[0] in answer.stderr
    # For people: the same on stderr, nothing but it, and the same exit status.
    plain = run(command, *arguments, cwd=tmp_path)
    assert plain.returncode == 1
    assert plain.stdout == ""
    assert errors[0]["message"].splitlines()[0] in plain.stderr
    assert "Traceback" not in plain.stderr


def run(*arguments: str | Path, cwd: Path | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "nativelib", *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, **more)


def test_a_plan_that_cannot_be_saved(stock: Stock, tmp_path: Path) -> None:
    """The wheel is there, and the JSON says so, and why the exit status is 1."""
    for command, arguments in (("repair", (stock.consumer, *stock.options)), ("build", (stock.project,))):
        out = tmp_path / command
        answer = nativelib(command, *arguments, "-w", out, "--plan-out", tmp_path / "nowhere" / "plan.json")
        assert answer.code == 1
        check(command, answer.document)
        written = answer.document["wheel"] if command == "build" else answer.document["wheels"][0]["output"]
        assert [str(path) for path in out.iterdir()] == [written]
        assert [finding["code"] for finding in answer.findings if finding["severity"] == "error"] == ["NL108"]


def test_variables_with_nonsense(stock: Stock, tmp_path: Path) -> None:
    for name, value in (
        ("NATIVELIB_ZIP_COMPRESSION_LEVEL", "eleven"),
        ("NATIVELIB_PLAT", "solaris"),
        ("SOURCE_DATE_EPOCH", "now"),
    ):
        answer = nativelib("repair", stock.consumer, *stock.options, "-w", tmp_path, env={name: value})
        assert answer.code == 1
        check("repair", answer.document)
        assert answer.errors()
    assert list(tmp_path.glob("*.whl")) == []


# Wrong usage: no JSON


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("mend",),
        ("repair",),
        ("repair", "--frobnicate", "x.whl"),
        ("repair", "-z", "11", "x.whl"),
        ("repair", "--require-abi", "x", "x.whl"),
        ("build", "a", "b"),
        ("build", "-w", "/etc/passwd"),
        ("show",),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: nativelib" in done.stderr
    assert "Traceback" not in done.stderr


# What people read


def test_stdout_has_the_result_and_stderr_the_rest(stock: Stock, tmp_path: Path) -> None:
    options = (*stock.options, "--exclude", "libnothing.so.*")
    done = run("repair", stock.consumer, *options, "-w", tmp_path)
    assert done.returncode == 0
    [wheel] = tmp_path.iterdir()
    assert done.stdout.splitlines()[0] == str(wheel)
    assert "NL203" in done.stderr
    assert "NL203" not in done.stdout
    quiet = run("repair", stock.consumer, *options, "-w", tmp_path, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_no_colour_where_there_is_no_terminal(stock: Stock, tmp_path: Path) -> None:
    for env in ({}, {"TERM": "xterm-256color", "COLORTERM": "truecolor"}, {"NO_COLOR": "1"}):
        done = run("repair", stock.broken, stock.consumer, *stock.options, "-w", tmp_path, env={**os.environ, **env})
        assert done.returncode == 1
        assert "\x1b" not in done.stdout + done.stderr
        assert str(tmp_path) in done.stdout


def test_names_that_are_no_text(stock: Stock, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A directory whose name is not UTF-8, and a terminal that can show ASCII only."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9j\xe0"))
    odd.mkdir()
    wheel = odd / stock.consumer.name
    wheel.write_bytes(stock.consumer.read_bytes())
    for env in ({}, {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}):
        for json_wanted in ((), ("--json",)):
            done = subprocess.run(
                [sys.executable, "-m", "nativelib", "repair", wheel, *stock.options, "-w", odd / "out", *json_wanted],
                capture_output=True,
                check=False,
                env={**os.environ, **env},
            )
            assert done.returncode == 0, done.stderr
            assert b"Traceback" not in done.stderr
            if json_wanted:
                check("repair", json.loads(done.stdout))


def test_a_reader_that_goes_away(stock: Stock) -> None:
    argv = [sys.executable, "-m", "nativelib", "repair", str(stock.consumer), *stock.options, "--dry-run", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(60)


def test_findings_of_all_kinds_are_checked(
    stock: Stock, tmp_path: Path, check_answer: Callable[[Answer], None]
) -> None:
    other = library_wheel(tmp_path / "w", count_library(tmp_path / "l", {"count_two": 2}), name="less-lib")
    options = ("--provided-by", other, "--ldpaths", f"{stock.library.parent}:{stock.graft.parent}")
    answer = nativelib("repair", stock.consumer, *options, "-w", tmp_path / "out")
    check_answer(answer)
    [finding] = [finding for finding in answer.findings if finding["severity"] == "error"]
    assert finding["symbols"] == ["count_one"]


@pytest.fixture
def check_answer() -> Callable[[Answer], None]:
    def checked(answer: Answer) -> None:
        assert answer.code == 1
        check("repair", answer.document)

    return checked
