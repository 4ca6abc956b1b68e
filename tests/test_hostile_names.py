"""Names that are made to become code: what is generated from a wheel with them differs in constants alone."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import shared_library
from tests.support.counting import ARCHITECTURE, consumer_wheel, plain_extension
from tests.support.projects import Answer, nativelib
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "three quotes": "lib'''+exit(9)+'''.so.1",
    "three double quotes": 'lib"""\nexit(9)\n""".so.1',
    "one quote": "lib'); exit(9) #.so.1",
    "a template": "lib{{ 7*7 }}{% raw %}{# x #}.so.1",
    "a newline": "lib\nexit(9)\n#.so.1",
    "a carriage return": "lib\rexit(9)\r#.so.1",
    "a backslash": "lib\\N{BULLET}\\.so.1",
    "a line separator": "lib\u2028exit(9)\u2029#\x85.so.1",
    "a form feed": "lib\x0cexit(9).so.1",
    "a comment": "lib# -*- coding: utf-7 -*-.so.1",
    "a shell": "lib$(exit 9)`exit 9`${x}.so.1",
    "not ASCII": "libü\u202e\U0001f600.so.1",
    "an option": "-Wl.so.1",
    "a file of arguments": "@libx.so.1",
}
HARMLESS = "libharmless.so.1"


def library(directory: Path, soname: str) -> Path:
    """A library with this DT_SONAME in a file with a plain name."""
    # The linker is told nothing that it might take apart: the name is put over one of the same length.
    length = len(soname.encode())
    placeholder = "x" * length
    path = shared_library(directory, "libplain.so", "int count_one(void) { return 1; }", soname=placeholder)
    data = path.read_bytes()
    assert data.count(placeholder.encode() + b"\0") == 1
    path.write_bytes(data.replace(placeholder.encode() + b"\0", soname.encode() + b"\0"))
    return path


def consumer(directory: Path, soname: str, file: Path) -> Path:
    """A wheel whose extension needs *soname*, with a member that is called almost like it, and such metadata."""
    extension = plain_extension(directory / "obj", file, functions=("count_one",))
    member = f"counter/{soname}".replace("\n", " ").replace("\r", " ").replace("\x0c", " ").replace("\\", " ")
    summary = " ".join(soname.split())
    files: dict[str, bytes | str | Path] = {f"{member}.txt": soname.encode()}
    return consumer_wheel(
        directory, extension, files=files, metadata_extra=f"Summary: {summary}\nKeywords: {summary}\n"
    )


def repair(directory: Path, soname: str, how: str) -> Answer:
    """Repair such a wheel, with a foreign provider of the library or by a graft."""
    file = library(directory, soname)
    wheel = consumer(directory, soname, file)
    if how == "provided":
        name = f"foreign-1.0-py3-none-manylinux_2_17_{ARCHITECTURE}.whl"
        provider = make_wheel(
            directory / "provider", name, {"foreign/__init__.py": "", "foreign/lib/libplain.so": file}
        )
        options: tuple[str | Path, ...] = ("--provided-by", provider)
    else:
        path = directory / "search" / soname
        path.parent.mkdir()
        path.write_bytes(file.read_bytes())
        options = ("--ldpaths", path.parent)
    return nativelib("repair", wheel, *options, "-w", directory / "out")


def trees(wheel: Path) -> dict[str, str]:
    """The generated modules of *wheel* as trees whose texts are all the same."""
    out = {}
    for name, content in members(wheel).items():
        if name.endswith(".py"):
            tree = ast.parse(content)
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    node.value = ""
            out[name] = ast.dump(tree)
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What a harmless name comes to."""
    out = {}
    for how in ("provided", "grafted"):
        directory = tmp_path_factory.mktemp(how)
        answer = repair(directory, HARMLESS, how)
        assert answer.code == 0, answer.stderr
        out[how] = trees(next((directory / "out").iterdir()))
    assert "counter/_distributor_init.py" in out["provided"]
    return out


@pytest.mark.parametrize("how", ["provided", "grafted"])
@pytest.mark.parametrize("what", NAMES)
def test_no_name_becomes_code(what: str, how: str, plain: dict[str, dict[str, str]], tmp_path: Path) -> None:
    soname = NAMES[what]
    answer = repair(tmp_path, soname, how)
    results = list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else []
    if answer.code:
        # Refused, with nothing written; the finding names a place, and is not our fault.
        assert answer.errors()
        assert not any(said.startswith("NL901") for said in answer.errors().values())
        assert results == []
        assert how == "grafted" or soname.startswith("@"), answer.stderr
        return
    [result] = results
    assert trees(result) == plain[how]
    content = members(result)
    for name, data in content.items():
        if name.endswith(".json"):
            json.loads(data)
    if how == "provided":
        hook = ast.parse(content["counter/_distributor_init.py"])
        texts = {node.value for node in ast.walk(hook) if isinstance(node, ast.Constant)}
        assert any(isinstance(text, str) and soname in text for text in texts)
        assert content["counter/_distributor_init.py"].isascii()
