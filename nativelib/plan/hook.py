"""Where the hook goes and how ``__init__.py`` is made to import it. Pure; works on bytes that may not be UTF-8."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from dataclasses import dataclass

from nativelib.errors import PlanError
from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code
from nativelib.plan.values import HOOK_BEGIN, HOOK_END

HOOK = "_distributor_init"
"""Module name of the hook, as NumPy and SciPy have it."""

STATEMENT = f"from . import {HOOK}"

# The documented form is __import__("pkgutil").extend_path(...).
_NAMESPACE_STYLE = re.compile(rb"\bextend_path\s*\(|\bdeclare_namespace\s*\(")


@dataclass(frozen=True, slots=True, kw_only=True)
class Splice:
    """A text around the place where something is inserted."""

    before: str
    after: str
    newline: str


def decode(source: bytes) -> str:
    """Return *source* as text that :func:`encode` turns back into the same bytes, whatever its encoding is."""
    return source.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Return the bytes that :func:`decode` was given."""
    return text.encode("utf-8", "surrogateescape")


def hooked_package(member: str, texts: dict[str, bytes]) -> str | None:
    """Return the member ``.../__init__.py`` of the outermost regular package that holds *member*, or ``None``.

    *texts* maps members to content and holds every ``__init__.py``. Packages of the pkgutil and pkg_resources namespace
    style count as namespaces (PEP 420 names all three).
    """
    place = place_of(member)
    if place.scheme is not Scheme.SITE:
        return None
    sites = {place_of(name).path: name for name in texts if place_of(name).scheme is Scheme.SITE}
    parts = place.path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        init = sites.get("/".join([*parts[:depth], "__init__.py"]))
        if init is not None and not _NAMESPACE_STYLE.search(texts[init]):
            return init
    return None


def with_import(source: bytes, where: str) -> bytes | None:
    """Return ``__init__.py`` with the hook's import as first statement, or ``None`` if it comes first already.

    The result is parsed and must equal the old tree plus one statement; raises PlanError (``NL501``) otherwise.
    """
    tree = _parse(source, where)
    if _imports_hook_first(tree):
        return None
    splice = split_after_prologue(source, where)
    result = encode(f"{splice.before}{STATEMENT}{splice.newline}{splice.after}")
    _check(tree, result, ast.parse(STATEMENT).body, where)
    return result


def around_block(source: bytes, where: str) -> Splice:
    """Return what stays before and after our block in an existing ``_distributor_init.py``.

    A block of an earlier repair is what gets replaced; without one the block goes after docstring and ``__future__``.
    """
    text = decode(source)
    newline = _newline(text)
    begin, end = text.find(HOOK_BEGIN), text.find(HOOK_END)
    if begin != -1 and end > begin:
        after = text[end + len(HOOK_END) :].removeprefix(newline)
        return Splice(before=text[:begin], after=after, newline=newline)
    tree = _parse(source, where)
    splice = split_after_prologue(source, where)
    probe = "__nativelib_probe__ = 0"
    _check(tree, encode(f"{splice.before}{probe}{newline}{splice.after}"), ast.parse(probe).body, where)
    return splice


def split_after_prologue(source: bytes, where: str) -> Splice:
    """Return *source* cut after byte-order mark, coding cookie, top comments, docstring and ``__future__`` imports."""
    tree = _parse(source, where)
    text = decode(source)
    newline = _newline(text)
    last = _prologue(tree)
    if last is None:
        cut = _after_leading_comments(text)
        return Splice(before=text[:cut], after=text[cut:], newline=newline)
    line_ends = [m.end() for m in re.finditer(r"\r\n|\r|\n", text)]
    starts = [0, *line_ends]
    line = (last.end_lineno or 1) - 1
    stop = line_ends[line] if line < len(line_ends) else len(text)
    tail = _tail(encode(text[starts[line] : stop]), last.end_col_offset or 0, source)
    if tail and not tail.startswith("#"):
        raise PlanError.of(
            Code.HOOK_REFUSED,
            where,
            "Another statement stands on the line of the docstring or of a __future__ import.",
            f"Put {STATEMENT!r} there yourself, as the first statement that imports.",
        )
    before = text[:stop]
    if not before.endswith(("\n", "\r")):
        before += newline
    return Splice(before=before, after=text[stop:], newline=newline)


def _tail(line: bytes, column: int, source: bytes) -> str:
    """Return what follows *column* of *line*.

    ``ast`` counts columns in bytes of the text as UTF-8, without a byte-order mark.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = line.removeprefix(b"\xef\xbb\xbf").decode("utf-8" if encoding == "utf-8-sig" else encoding)
    return text.encode()[column:].decode().strip()


def _parse(source: bytes, where: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as cause:
        raise PlanError.of(
            Code.HOOK_REFUSED, where, f"This Python file cannot be parsed, so nothing can be put into it: {cause}."
        ) from cause


def _newline(text: str) -> str:
    first = re.search(r"\r\n|\r|\n", text)
    return first.group() if first else "\n"


def _prologue(tree: ast.Module) -> ast.stmt | None:
    last: ast.stmt | None = None
    for index, statement in enumerate(tree.body):
        docstring = (
            index == 0
            and isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (docstring or future):
            break
        last = statement
    return last


def _after_leading_comments(text: str) -> int:
    """Return the offset after a byte-order mark, a ``#!`` line and the comments on top.

    A coding cookie must stay in line 1 or 2.
    """
    cut = 1 if text.startswith("\ufeff") else 0
    for match in re.finditer(r"#[^\r\n]*(\r\n|\r|\n)", text):
        if match.start() != cut:
            break
        cut = match.end()
    return cut


_HARMLESS = sys.stdlib_module_names - {"site", "ctypes"}


def _imports_hook_first(tree: ast.Module) -> bool:
    """Return whether the hook is imported before anything that could load an extension module."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            if statement.level == 1 and statement.module == HOOK:
                return True
            if statement.level == 1 and statement.module is None:
                return statement.names[0].name == HOOK
            if statement.level or (statement.module or "").partition(".")[0] not in _HARMLESS:
                return False
        elif isinstance(statement, ast.Import):
            if any(alias.name.partition(".")[0] not in _HARMLESS for alias in statement.names):
                return False
        elif not _constant(statement):
            return False
    return False


def _constant(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign) else None
    if value is None:
        return isinstance(statement, ast.Pass)
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _check(old: ast.Module, result: bytes, added: list[ast.stmt], where: str) -> None:
    new = _parse(result, where)
    index = next((i for i, stmt in enumerate(new.body) if ast.dump(stmt) == ast.dump(added[0])), None)
    if index is not None:
        rest = ast.Module(body=new.body[:index] + new.body[index + 1 :], type_ignores=new.type_ignores)
        if ast.dump(rest) == ast.dump(old) and ast.get_docstring(new, clean=False) == ast.get_docstring(
            old, clean=False
        ):
            return
    raise PlanError.of(
        Code.HOOK_REFUSED,
        where,
        "Inserting the import would change what this file means.",
        f"Put {STATEMENT!r} there yourself, as the first statement that imports.",
    )
