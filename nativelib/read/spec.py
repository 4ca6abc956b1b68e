"""``pyproject.toml`` and the files that it names -> the spec of a library wheel."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

from nativelib.errors import ReadError, SpecError
from nativelib.facts.spec import parse_spec
from nativelib.findings import Code, error
from nativelib.read.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

    from nativelib.facts.spec import Project, Spec
    from nativelib.findings import Finding

FILE = "pyproject.toml"


def read_spec(directory: Path) -> tuple[Project, Spec, Path]:
    """Return project, spec and the file that describes them, for the project in *directory*.

    The project comes with the text of its readme, and its ``license_files`` are paths instead of globs, sorted. Raises
    :class:`ReadError` if the file cannot be read and :class:`SpecError` with all that is wrong in it, files that it
    names and that are not there included.
    """
    path = directory / FILE
    project, spec = parse_spec(_document(path), where=FILE)
    findings: list[Finding] = []
    project = _with_readme(project, directory, findings)
    project = replace(project, license_files=_license_files(project, directory, findings))
    if spec.build_script is not None and not (directory / spec.build_script).is_file():
        findings.append(_bad("tool.nativelib.build-script", f"{spec.build_script} does not exist."))
    if spec.import_name in sys.stdlib_module_names:
        message = f"The standard library has a module {spec.import_name}, which would hide the package."
        findings.append(_bad("tool.nativelib.import-name", message))
    if findings:
        raise SpecError(findings)
    return project, spec, path


def _document(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as problem:
        remedy = "A library wheel is built in the directory that holds its pyproject.toml."
        raise ReadError([error(Code.NOT_FOUND, str(path), "The file does not exist.", remedy)]) from problem
    except OSError as problem:
        message = f"The file cannot be read: {problem.strerror}."
        raise ReadError([error(Code.NOT_FOUND, str(path), message)]) from problem
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        raise SpecError([_bad(str(path), f"It is not UTF-8 (at line {line}), as TOML must be.")]) from problem
    except tomllib.TOMLDecodeError as problem:
        raise SpecError([_bad(str(path), f"It is not TOML: {problem}.")]) from problem
    except RecursionError as problem:
        raise SpecError(
            [_bad(str(path), "It is not a sensible TOML file: its values are nested too deep.")]
        ) from problem


def _with_readme(project: Project, directory: Path, findings: list[Finding]) -> Project:
    if project.readme is None or project.readme.file is None:
        return project
    try:
        text = (directory / project.readme.file).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        findings.append(_bad("project.readme", f"{project.readme.file} is not UTF-8, as core metadata must be."))
        return project
    except OSError as problem:
        message = f"{project.readme.file} cannot be read: {problem.strerror}."
        findings.append(_bad("project.readme", message))
        return project
    return replace(project, readme=replace(project.readme, text=text))


def _license_files(project: Project, directory: Path, findings: list[Finding]) -> tuple[str, ...]:
    """Return the paths that the globs match; one that matches nothing is an error (PEP 639)."""
    tree = Tree.at(directory)
    found: set[str] = set()
    for index, glob in enumerate(project.license_files):
        # A licence is often a link to that of a larger repository, so links may leave the directory here.
        matches = [m.path for m in tree.match(glob) if not m.problem or (m.escapes and (directory / m.path).is_file())]
        found.update(matches)
        if not matches:
            near = tree.nearest(glob)
            remedy = f"Near it are: {', '.join(near)}." if near else ""
            message = f"{glob!r} matches no file in {directory}."
            findings.append(error(Code.BAD_SPEC, f"project.license-files[{index}]", message, remedy))
    return tuple(sorted(found))


def _bad(where: str, message: str) -> Finding:
    return error(Code.BAD_SPEC, where, message)
