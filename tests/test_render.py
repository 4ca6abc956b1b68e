"""Values that go into generated files mean themselves, or do not go in."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nativelib.errors import WriteError
from nativelib.facts.elf import Libc
from nativelib.findings import Code
from nativelib.write.literals import cmake_argument, line, python_literal, python_name, text_line, word, words
from nativelib.write.render import render, render_source, template_names

_ATOMS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=()))
_VALUES = st.recursive(
    _ATOMS, lambda v: st.tuples(v, v) | st.lists(v).map(tuple) | st.dictionaries(_ATOMS, v, max_size=6), max_leaves=30
)


@given(_VALUES)
def test_a_literal_is_the_value(value: Any) -> None:
    text = python_literal(value)
    assert text.isascii()
    read_back = ast.literal_eval(text)
    assert read_back == value
    assert repr(read_back) == repr(value)  # True is not 1
    assert ast.literal_eval(f"[\n    {python_literal(value, 4)}\n]") == [value]


def test_long_literals_have_an_entry_on_each_line() -> None:
    names = tuple(f"libsomething-{n}.so.0" for n in range(5))
    assert python_literal({"names": names, "one": ("a",)}) == (
        "{\n"
        '    "names": (\n' + "".join(f'        "libsomething-{n}.so.0",\n' for n in range(5)) + "    ),\n"
        '    "one": ("a",),\n'
        "}"
    )
    assert python_literal(["a", "it's"]) == """("a", "it's")"""


@pytest.mark.parametrize("value", [1.5, b"x", {1}, Libc.MUSL, object(), (1, [2, {"k": 3.0}])])
def test_other_values_have_no_literal(value: Any) -> None:
    with pytest.raises(TypeError, match="has no literal"):
        python_literal(value)


@pytest.mark.parametrize("name", ["openblas_lib", "a.b_c.d1", "_x"])
def test_names_that_can_be_imported(name: str) -> None:
    assert python_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a-b", "a b", "import", "a.class", "a..b", ".a", "1a", "a\n", "é", "a;b", 3, None]
)
def test_names_that_cannot(name: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        python_name(name)


@given(st.text(st.characters(exclude_categories=())))
def test_a_comment_stays_a_comment(text: str) -> None:
    try:
        shown = line(text)
    except ValueError:
        return
    assert ast.dump(ast.parse(f"# {shown}\nx = 1\n".encode())) == ast.dump(ast.parse("x = 1"))


@pytest.mark.parametrize(
    "text", ["a\nimport os", "a\rb", "a\x0cb", "a\u2028b", "back\\", "coding: utf-7", "\u202eevil", "\ud800"]
)
def test_comments_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="comment"):
        line(text)


def test_words() -> None:
    assert words(("-lfoo", "-l:libfoo-1.2.so.3")) == "-lfoo -l:libfoo-1.2.so.3"
    assert words("a") == word("a") == "a"
    for bad in ("", "a b", "a\n", "$(rm)", "`x`", "${libdir}", "a#b", "a;b", "'", '"', "é", "a\\b", "(", "*"):
        with pytest.raises(ValueError, match="safe"):
            word(bad)
    assert text_line("BLAS, fast (OpenMP)") == "BLAS, fast (OpenMP)"
    for bad in ("a\nLibs: -levil", "${x}", "a # b", "a\\"):
        with pytest.raises(ValueError, match="line of text"):
            text_line(bad)
    assert cmake_argument('a "b" ${c} @d@ \\e') == '"a \\"b\\" \\${c} \\@d\\@ \\\\e"'
    for bad in ("a;b", "a\nb"):
        with pytest.raises(ValueError, match="CMake"):
            cmake_argument(bad)


def test_a_template_of_each_kind() -> None:
    source = "# {{ n | comment }}\nimport {{ m | ident }}\n{% for x in xs %}\nf({{ x | py }})\n{% endfor %}\n"
    text = render_source("hook.py.j2", source, {"n": "made", "m": "a.b", "xs": ["p'", 'q"']})
    assert text == "# made\nimport a.b\nf(\"p'\")\nf('q\"')\n"
    assert render_source(
        "x.pc.j2", "Name: {{ n | text }}\nLibs: {{ l | pc }}\n", {"n": "a b", "l": ["-la", "-lb"]}
    ) == ("Name: a b\nLibs: -la -lb\n")
    assert render_source("x.cmake.j2", "set(x {{ v | cmake }} {{ w | word }})", {"v": "1 2", "w": "a::b"}) == (
        'set(x "1 2" a::b)'
    )
    assert render_source("lib.so.j2", "INPUT({{ f | word }})\n", {"f": "libx.so.1"}) == "INPUT(libx.so.1)\n"


@pytest.mark.parametrize(
    ("template", "source"),
    [
        ("a.py.j2", "x = {{ v }}"),
        ("a.py.j2", "x = '{{ v | upper }}'"),
        ("a.py.j2", "x = {{ (v | py) ~ v }}"),
        ("a.py.j2", "x = {{ v | py | lower }}"),
        ("a.py.j2", "x = {{ 'constant' }}"),
        ("a.py.j2", "x = {{ absent | py }}"),
        ("a.py.j2", "x = {{ absent }}"),
        ("a.py.j2", "x = {{ v | word }}"),
        ("a.py.j2", "x = ({{ v | py }}"),
        ("a.py.j2", "{% if %}"),
        ("a.py.j2", "match {{ v | py }}:\n    case _: pass\n"),
        ("a.pc.j2", "x={{ v | py }}"),
        ("a.pc.j2", "x={{ v }}"),
        ("a.pc.j2", "x={{ v | pc }}"),
        ("a.so.j2", "{{ v }}"),
        ("a.so.j2", "{% include '../pyproject.toml' %}"),
    ],
)
def test_templates_that_are_refused(template: str, source: str) -> None:
    with pytest.raises(WriteError) as caught:
        render_source(template, source, {"v": "text with space"})
    [finding] = caught.value.findings
    assert finding.code == Code.INTERNAL
    assert finding.where == template


def test_only_listed_templates_exist() -> None:
    for name in ("absent.py.j2", "../pyproject.toml", "/etc/passwd", ""):
        with pytest.raises(WriteError, match="no such template") as caught:
            render(name, {})
        assert caught.value.findings[0].where == name
    assert list(template_names()) == sorted(template_names())
