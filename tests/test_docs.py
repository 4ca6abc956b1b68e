"""The documents say what the program does: tables are complete, and commands print what is shown."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import nativelib
from nativelib.cli import build, lddtree, repair_text, show
from nativelib.cli.main import main_parser
from nativelib.errors import PlanError, SpecError
from nativelib.facts.manifest import Manifest, ManifestLibrary, ManifestPrivate, ManifestRequire
from nativelib.facts.spec import parse_spec
from nativelib.findings import Code, error
from nativelib.plan.values import Receipt
from tests.support.downloads import cache_directory
from tests.support.tools import require
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

_ROOT = Path(__file__).resolve().parent.parent
_DOCUMENTS = (
    *("README.md", "docs/findings.md", "docs/reference.md", "docs/design.md", "docs/building.md", "docs/verify.md"),
    *("docs/release.md", "examples/openblas/README.md"),
)
_TEXT = {name: (_ROOT / name).read_text(encoding="utf-8") for name in _DOCUMENTS}
_README, _FINDINGS, _REFERENCE = (_TEXT[name] for name in _DOCUMENTS[:3])
_HOME = "/home/user/nativelib"


class Shown(NamedTuple):
    """A command of a document, and what it prints there."""

    command: str
    output: str


def shown(text: str) -> list[Shown]:
    """Return the commands of the ``console`` blocks of a document, in order."""
    found: list[Shown] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Shown(command, output))
    return found


def section(text: str, heading: str) -> str:
    """Return what stands below *heading*, up to the next heading of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = f"\n{text}".partition(f"\n{heading}\n")
    assert found, heading
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows of *text*, without headings."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = [i for i, row in enumerate(cells) if set(row[0]) == {"-"}]
    return [row for i, row in enumerate(cells) if i not in heads and i + 1 not in heads]


def quoted(cells: Iterator[str] | list[str]) -> list[str]:
    """Return what stands in backquotes in *cells*."""
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def first_column(text: str) -> list[str]:
    """Return what stands in backquotes in the first column of the tables of *text*."""
    return quoted([row[0] for row in rows(text)])


def subparsers(parser: argparse.ArgumentParser | None = None) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command; of one that has parts, of each part, as ``metadata check``."""
    actions = (parser or main_parser())._actions
    choices: Any = next((action.choices for action in actions if action.nargs == "A..."), {})
    found: dict[str, argparse.ArgumentParser] = {}
    for name, choice in choices.items():
        found |= {f"{name} {part}": below for part, below in subparsers(choice).items()} or {name: choice}
    return found


def test_every_code_has_a_row() -> None:
    found = {(row[0], row[1].strip("`")) for row in rows(_FINDINGS) if row[0].startswith("NL")}
    assert found == {(code.value, code.name) for code in Code}
    assert all(len(row) == 5 and all(row) for row in rows(_FINDINGS) if row[0].startswith("NL"))


def test_codes_stand_where_their_digit_says() -> None:
    for part in re.split(r"^## ", _FINDINGS, flags=re.MULTILINE)[1:]:
        assert len({row[0][2] for row in rows(part) if row[0].startswith("NL")}) <= 1, part.partition("\n")[0]


def test_severities_are_those_of_the_code() -> None:
    used: dict[str, set[str]] = {}
    for call in _finding_calls():
        code = ast.unparse(call.node.args[0]).removeprefix("Code.")
        name = call.node.func.id if isinstance(call.node.func, ast.Name) else "error"
        used.setdefault(code, set()).add(name if name in {"warning", "note"} else "error")
    wrong = []
    for row in rows(_FINDINGS):
        name = row[1].strip("`")
        if row[0].startswith("NL") and name in used and not used[name] <= set(row[2].split(", ")):
            wrong.append(f"{name} is {sorted(used[name])}, documented as {row[2]}")
    assert not wrong


def test_codes_in_documents_exist() -> None:
    named = {code for text in _TEXT.values() for code in re.findall(r"\bNL\d{3}\b", text)}
    assert named <= {code.value for code in Code}


@pytest.mark.parametrize("command", sorted(subparsers()))
def test_every_option_is_documented(command: str) -> None:
    """An option that is new gets a row in docs/reference.md."""
    common = section(_REFERENCE, "## Commands").partition("### ")[0]
    documented = [*first_column(common), *first_column(section(_REFERENCE, f"### nativelib {command}"))]
    named = {word for text in documented for word in text.split() if word.startswith("-")}
    actions = subparsers()[command]._actions
    assert named == {option for action in actions for option in action.option_strings}
    metavars = {f"{a.option_strings[-1]} {a.metavar}" for a in actions if a.option_strings and a.metavar}
    assert metavars <= set(documented)


def test_every_command_is_documented() -> None:
    assert set(re.findall(r"^### nativelib ([\w ]+)$", _REFERENCE, re.MULTILINE)) == set(subparsers())
    commands = {name.split()[0] for name in subparsers()}
    assert {text.split()[1] for text in first_column(section(_README, "## Commands"))} == commands


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_commands_of_documents_parse(document: str) -> None:
    for command, _ in shown(_TEXT[document]):
        words = shlex.split(command, comments=True)
        if words[0] == "nativelib":
            main_parser().parse_args(words[1:])


def test_examples_of_help_parse() -> None:
    for parser in subparsers().values():
        examples = re.findall(r"^  nativelib (.*?)(?:   .*)?$", str(parser.epilog), re.MULTILINE)
        assert examples
        for line in examples:
            main_parser().parse_args(shlex.split(line))


def test_every_key_of_the_spec_is_documented() -> None:
    table = section(_REFERENCE, "## The spec").partition("###")[0]
    keys = first_column(table)
    # The program's own list is in the message for a key that resembles none.
    spec = {"project": {"name": "a", "version": "1"}, "tool": {"nativelib": {"@": 1, "libraries": ["a"]}}}
    with pytest.raises(SpecError) as caught:
        parse_spec(spec, where="pyproject.toml")
    known = next(f.remedy for f in caught.value.findings if f.remedy.startswith("Known keys"))
    assert sorted(keys) == known.removeprefix("Known keys: ").rstrip(".").split(", ")


def test_every_key_of_an_adapter_is_documented() -> None:
    keys = {key.strip("` ") for cell in first_column(section(_REFERENCE, "### Adapters")) for key in cell.split(",")}
    spec = {"project": {"name": "a", "version": "1"}, "tool": {"nativelib": {"adapter": [{"@": 1}]}}}
    with pytest.raises(SpecError) as caught:
        parse_spec(spec, where="pyproject.toml")
    known = next(f.remedy for f in caught.value.findings if f.where == 'tool.nativelib.adapter[0]."@"')
    assert sorted(keys) == known.removeprefix("Known keys: ").rstrip(".").split(", ")


def test_every_key_of_the_manifest_is_documented() -> None:
    table = rows(section(_REFERENCE, "### The manifest"))
    assert {name for row in table for name in quoted([row[0]])} == set(_manifest().document())
    values = {row[0]: set(quoted([row[1]])) for row in table}
    for key, kind in (("libraries", ManifestLibrary), ("private", ManifestPrivate), ("requires", ManifestRequire)):
        assert values[f"`{key}`"] == {field.name for field in fields(kind)}


def _manifest() -> Manifest:
    return Manifest(name="a", version="1", import_name="a", libraries=())


def test_every_key_of_the_json_is_documented() -> None:
    text = section(_REFERENCE, "## JSON")
    head, of_repair, of_show, of_release, of_finding = re.split(
        r"^(?:Each of the `(?:wheels|releases)` of .*|A finding):$", text, flags=re.MULTILINE
    )
    released = _schema("metadata")["properties"]["releases"]["items"]["properties"]
    assert set(first_column(of_release)) == set(released)
    documented_file = next(row[1] for row in rows(of_release) if row[0] == "`files`")
    assert set(released["files"]["items"]["properties"]) <= set(quoted([documented_file]))
    plan_only = {"receipt", "plan"}
    repaired = repair_text.to_json(nativelib.RepairResult(input=Path("a.whl")))
    assert set(first_column(of_repair)) == set(repaired) | plan_only
    assert set(first_column(of_show)) == set(show.to_json(nativelib.WheelReport(file=Path("a.whl")), tree=True))
    of_tree = next(row[1] for row in rows(head) if row[0] == "`lddtree`")
    assert set(lddtree.to_json(Path("a.so"), None)) <= set(quoted([of_tree]))
    finding = error(Code.MISSING_SYMBOL, "a", "b", symbols=("c",)).to_json()
    assert set(first_column(of_finding)) == set(finding)
    of_build = next(row[1] for row in rows(head) if row[0] == "`build`")
    failure = build.failure_json(PlanError.of(Code.INTERNAL, "a", "b"))
    assert set(failure) | plan_only <= set(quoted([of_build]))
    receipt = next(row[1] for row in rows(of_repair) if row[0] == "`receipt`")
    assert set(quoted([receipt])) == {field.name for field in fields(Receipt)}


def _schema(name: str) -> Any:
    return json.loads((_ROOT / "nativelib" / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


def test_every_variable_is_documented() -> None:
    sources = [*(_ROOT / "nativelib").rglob("*.py"), *(_ROOT / "templates").rglob("*.j2")]
    pattern = r"\b(?:NATIVELIB|AUDITWHEEL)_[A-Z_]*[A-Z]\b|\bSOURCE_DATE_EPOCH\b|(?<![A-Z_])LD_LIBRARY_PATH\b"
    used = {name for path in sources for name in re.findall(pattern, path.read_text(encoding="utf-8"))}
    documented = set(first_column(section(_REFERENCE, "## Environment variables")))
    assert documented - {"NO_COLOR"} == used - {"NATIVELIB_FILE"}


def test_names_of_generated_packages_are_documented() -> None:
    template = (_ROOT / "templates" / "library" / "__init__.py.j2").read_text(encoding="utf-8")
    public = ast.literal_eval(template.partition("__all__ = ")[2].partition("]")[0] + "]")
    text = section(_REFERENCE, "## The library wheel").partition("###")[0]
    assert set(public) == {n.partition("(")[0] for n in first_column(text) if re.match(r"\w+(\(|$)", n)}
    main = (_ROOT / "templates" / "library" / "__main__.py.j2").read_text(encoding="utf-8")
    options = set(re.findall(r'^        "(--[\w-]+)": \(', main, re.MULTILINE))
    assert options == {name for name in first_column(text) if name.startswith("--")}


def test_names_of_the_api_are_documented() -> None:
    named = set(re.findall(r"\w+", " ".join(quoted([" ".join(r) for r in rows(section(_REFERENCE, "## Python API"))]))))
    assert set(nativelib.__all__) - {"__version__"} <= named


def test_the_spec_of_the_readme_is_that_of_the_example() -> None:
    [block] = re.findall(r"^```toml\n(.*?)^```", _README, re.DOTALL | re.MULTILINE)
    example = (_ROOT / "examples" / "openblas" / "openblas-lib" / "pyproject.toml").read_text(encoding="utf-8")
    assert block == re.sub(r"^#.*\n", "", example, flags=re.MULTILINE)
    parse_spec(tomllib.loads(block), where="pyproject.toml")


def test_the_readme_is_one_page() -> None:
    assert _README.count("\n") <= 150


def test_rooms_of_the_design_are_the_folders() -> None:
    named = {name.rstrip("/") for name in first_column(section(_TEXT["docs/design.md"], "## The rooms"))}
    there = {path.name for path in (_ROOT / "nativelib").iterdir() if (path / "__init__.py").is_file()}
    assert named == there | {"backend"}


class Call(NamedTuple):
    """A call that makes a finding, in a function."""

    place: str
    node: ast.Call
    function: ast.AST


def _is_code(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"


def _finding_calls() -> Iterator[Call]:
    for path in sorted((_ROOT / "nativelib").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and any(map(_is_code, node.args[:1])):
                        yield Call(f"{path.relative_to(_ROOT)}:{node.lineno}", node, function)


def _texts(value: ast.expr, function: ast.AST) -> Iterator[str]:
    """Yield the text of an expression, ``{}`` for what is filled in; names stand for all that the function assigns."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in value.values)
    elif isinstance(value, ast.IfExp):
        yield from (*_texts(value.body, function), *_texts(value.orelse, function))
    elif isinstance(value, ast.Name):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == value.id for t in node.targets):
                yield from _texts(node.value, function)


def test_messages_are_sentences() -> None:
    wrong = []
    calls = list(_finding_calls())
    assert len(calls) > 100
    for place, node, function in calls:
        for index, what in ((2, "message"), (3, "remedy")):
            if index >= len(node.args):
                continue
            for text in filter(None, _texts(node.args[index], function)):
                begins = text[0].isupper() or text.startswith(("{}", "--", "'", "nativelib", "patchelf"))
                # A remedy may end with a command.
                ends = text.endswith((".", "?", "{}")) or (what == "remedy" and ": " in text)
                if not (begins and ends):
                    wrong.append(f"{place}: {what} {text!r}")
    assert not wrong, "\n".join(wrong)


def run_shown(
    text: str, directory: Path, root: Path, *, skip: str = r"(?!)", env: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Run the commands of a document in one shell that starts in *directory*, and return how the outputs differ.

    *root* is what the document calls ``/home/user/nativelib``; commands that match *skip* are left out; *env* are
    further environment variables.
    """
    commands = [item for item in shown(text) if not re.match(skip, item.command)]
    mark = "@@@@ next command"
    script = "".join(f"{item.command}\necho; echo '{mark}'\n" for item in commands)
    programs = {str(Path(require("nativelib")).parent), str(Path(sys.executable).parent)}
    path = ":".join([*programs, os.environ["PATH"]])
    own = {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=directory,
        env=clean_environment({**own, **env}),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    outputs = done.stdout.split(f"\n{mark}\n")
    assert len(outputs) == len(commands) + 1, done.stdout
    return [
        f"$ {item.command}\n--- document\n{item.output}--- run\n{output}"
        for item, output in zip(commands, outputs, strict=False)
        if not matches(item.output, output, root)
    ]


def matches(document: str, output: str, root: Path) -> bool:
    """Return whether *output* is what *document* shows; ``...`` stands for anything, a line of it for any lines."""
    actual = normal(output.replace(str(root), _HOME))
    # What the build of this machine's Python left in the extensions of the demo.
    actual = re.sub(r"^warning NL207 .*\n .*\n", "", actual, flags=re.MULTILINE)
    parts = re.split(r"^\.\.\.\n|\.\.\.(?=\n)", normal(document), flags=re.MULTILINE)
    return re.fullmatch(".*".join(map(re.escape, parts)), actual, re.DOTALL) is not None


def normal(text: str) -> str:
    """Return *text* with one name for all versions, tags, hashes and Pythons."""
    text = re.sub(r"\b(manylinux\w+|musllinux\w+)([., ]+(manylinux|musllinux)\w+)*", "TAG", text)
    text = re.sub(r"\bcp3\d+\b|\bcpython-3\d+-[\w-]+", "CP", text)
    text = re.sub(r"python3\.\d+", "PYTHON", text)
    text = re.sub(r"-[0-9a-f]{8}(?=\.so)", "-HASH", text)
    text = re.sub(r"(?<![\w.\[])\d+(\.\d+)+", "VERSION", text)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def test_matching_is_not_blind() -> None:
    root = Path("/somewhere")
    assert matches("a\n...\nb: ...\n", "a\nx\ny\nb: 1\n", root)
    assert matches("/home/user/nativelib/a-1.2-TAG.whl\n", "/somewhere/a-1.3.4-manylinux_2_34_x86_64.whl\n", root)
    assert not matches("a\n", "a\nb\n", root)
    assert not matches("[[11.0]]\n", "[[12.0]]\n", root)
    assert not matches("b\n...\na\n", "a\nb\n", root)


@pytest.mark.parametrize("document", ["docs/findings.md"])
def test_commands_of_documents_print_what_they_show(document: str, tmp_path: Path) -> None:
    assert shown(_TEXT[document])
    assert not run_shown(_TEXT[document], tmp_path, tmp_path)


@pytest.mark.long
@pytest.mark.network
def test_the_readme_can_be_repeated(tmp_path: Path) -> None:
    for tool in ("gcc", "apt-get", "dpkg-deb"):
        require(tool)
    demo = [
        sys.executable,
        str(_ROOT / "examples" / "openblas" / "demo.py"),
        "--work",
        str(tmp_path / "build" / "demo"),
    ]
    environment = {**os.environ, "NATIVELIB_CACHE": str(cache_directory() / "demo"), "PYTHONDONTWRITEBYTECODE": "1"}
    made = subprocess.run(demo, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr
    (tmp_path / "examples").symlink_to(_ROOT / "examples")
    wrong = run_shown(_README, tmp_path, tmp_path, skip="make ")
    assert not wrong, "\n".join(wrong)
