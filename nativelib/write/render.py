"""Render the generated files. The only user of Jinja2, and the only one who knows where the templates are.

Values never enter a file as raw text. In every template an expression must end in a filter that quotes its value for
that kind of file or refuses it; which filters there are depends on the template's name without ``.j2``:

===============  ======================================================================================================
``*.py``         ``py`` (a literal), ``ident`` (a checked, perhaps dotted, name), ``comment`` (text of one comment line)
``*.pc``         ``pc`` (one word, or several from a list), ``text`` (a line of prose)
``*.cmake``      ``cmake`` (a quoted argument), ``word`` (a word that means itself anywhere)
everything else  ``word``, ``text``
===============  ======================================================================================================
"""

from __future__ import annotations

import ast
import importlib.resources
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from nativelib.errors import WriteError
from nativelib.findings import Code
from nativelib.write.literals import CMAKE_FILTERS, OTHER_FILTERS, PC_FILTERS, PYTHON_FILTERS, Inserted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.resources.abc import Traversable

_SUFFIX = ".j2"
_FILTERS: dict[str, Mapping[str, Callable[..., Inserted]]] = {
    ".py": PYTHON_FILTERS,
    ".pc": PC_FILTERS,
    ".cmake": CMAKE_FILTERS,
}
_OLDEST_PYTHON = (3, 8)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return the text of *template*, a path below ``templates/``, filled with *values*.

    Raises ``WriteError`` if there is no such template, and as ``render_source`` does.
    """
    source = _source(template)
    if source is None:
        known = ", ".join(template_names()) or "none"
        raise WriteError.of(Code.INTERNAL, template, f"There is no such template; there are: {known}.")
    return render_source(template, source, values)


def render_source(template: str, source: str, values: Mapping[str, Any]) -> str:
    """Return *source*, the text of a template that is called *template*, filled with *values*.

    What comes out of a ``*.py`` template is Python 3.8, or it does not come out. Raises ``WriteError`` if the template
    asks for a value that is not in *values*, or if a value cannot be inserted safely.
    """
    kind = _kind(template)
    try:
        text = _environment(kind).from_string(source).render(values)
        if kind == ".py":
            ast.parse(text, filename=template, feature_version=_OLDEST_PYTHON)
    except (jinja2.TemplateError, ValueError, TypeError, SyntaxError) as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise WriteError.of(Code.INTERNAL, template, f"The template cannot be rendered ({reason}).") from problem
    return text


def template_names() -> tuple[str, ...]:
    """Return the path of every template below ``templates/``, sorted.

    Raises ``WriteError`` if the templates cannot be found.
    """
    return tuple(sorted(_files_below(_templates(), "")))


def _templates() -> Traversable:
    """Return the folder of the templates: the packaged one, or the checkout's.

    Build tools put the folder into the package as ``_templates``. A checkout has it beside the package; there
    ``pyproject.toml`` must lie beside it too, because site-packages may well hold somebody else's ``templates``.
    """
    package = importlib.resources.files("nativelib")
    packaged = package / "_templates"
    if packaged.is_dir():
        return packaged
    if isinstance(package, Path):
        root = package.parent
        if (root / "pyproject.toml").is_file() and (root / "templates").is_dir():
            return root / "templates"
    raise WriteError.of(
        Code.NOT_FOUND,
        str(packaged),
        "nativelib was installed without its templates.",
        "Install it again: pip install --force-reinstall pynativelib",
    )


def _files_below(folder: Traversable, prefix: str) -> list[str]:
    names = []
    for child in folder.iterdir():
        if child.is_dir():
            if child.name != "__pycache__":
                names += _files_below(child, f"{prefix}{child.name}/")
        elif child.name.endswith(_SUFFIX):
            names.append(prefix + child.name)
    return names


def _kind(template: str) -> str:
    suffix = Path(template.removesuffix(_SUFFIX)).suffix
    return suffix if suffix in _FILTERS else ""


@cache
def _environment(kind: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - nothing here is HTML; _finalize refuses unquoted values
    )
    environment.filters.update(_FILTERS.get(kind, OTHER_FILTERS))
    return environment


def _source(name: str) -> str | None:
    # Only names from the listing are opened: "../x" is not among them.
    if name not in template_names():
        return None
    return _templates().joinpath(*name.split("/")).read_text(encoding="utf-8")


def _finalize(value: object) -> object:
    if isinstance(value, jinja2.Undefined):
        str(value)  # StrictUndefined says which name is missing
    if type(value) is not Inserted:
        raise TypeError(f"the value {value!r} is inserted without a filter that makes it safe")
    return value
