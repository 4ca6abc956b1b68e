"""A prefix (an installed tree) -> what a library wheel takes from it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError, ReadError, SpecError
from nativelib.facts.prefix import (
    PrefixFacts,
    PrefixHeader,
    PrefixLicense,
    PrefixProgram,
    header_destinations,
    license_destinations,
)
from nativelib.findings import Code, Severity, error
from nativelib.read.command import pkg_config
from nativelib.read.elf import is_elf, read_elf_file
from nativelib.read.prefix_files import Rule, collect, digest, head, skipped, unreadable
from nativelib.read.prefix_libraries import scan_libraries
from nativelib.read.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.spec import HeaderRule, Spec
    from nativelib.findings import Finding

# What installers take without a warning or worse (entry points specification), and "+" for g++ and its like.
_SCRIPT_NAME = re.compile(r"\w[\w.+-]*", re.ASCII)


def find_prefix(directory: Path, spec: Spec, prefix: Path | None) -> Path | None:
    """Return the prefix: *prefix* of the command line, else what *spec* says; ``None`` if a build script fills it.

    Paths of the spec are relative to the project's *directory*. Raises :class:`SpecError` if nobody says it and
    :class:`ReadError` if pkg-config fails.
    """
    if prefix is not None:
        return prefix
    if spec.prefix is not None:
        return directory / spec.prefix
    if spec.pkg_config is not None:
        return Path(pkg_config(spec.pkg_config, "--variable=prefix"))
    if spec.build_script is None:
        remedy = "Name it with --prefix, or write prefix, pkg-config or build-script in the spec."
        raise SpecError([error(Code.BAD_SPEC, "tool.nativelib", "Nothing says where the libraries are.", remedy)])
    return None


def scan_prefix(root: Path, spec: Spec, *, license_files: Sequence[str] = ()) -> PrefixFacts:
    """Return what *spec* takes from the prefix *root*.

    *license_files* are the project's own, as paths below ``licenses/``. Raises :class:`ReadError` with all mistakes at
    once: a glob that matches nothing, no library, two libraries with one soname, a link that leaves the prefix, a
    script that cannot be moved, no licence.
    """
    if not root.is_dir():
        state = "is not a directory" if root.exists() else "does not exist"
        raise ReadError([error(Code.NOT_FOUND, str(root), f"The prefix {state}.")])
    tree = Tree.at(root)
    findings: list[Finding] = []
    libraries, archives = scan_libraries(tree, spec, findings)
    headers = _headers(tree, spec.headers, findings)
    programs = _programs(tree, spec.programs, findings)
    licenses = _licenses(tree, spec.licenses, license_files, findings)
    said = tuple(dict.fromkeys(findings))
    if errors := [finding for finding in said if finding.severity is Severity.ERROR]:
        raise ReadError(errors)
    return PrefixFacts(
        root=tree.root,
        libraries=libraries,
        headers=headers,
        programs=programs,
        licenses=licenses,
        archives=archives,
        findings=said,
    )


def _headers(tree: Tree, rules: Sequence[HeaderRule], findings: list[Finding]) -> tuple[PrefixHeader, ...]:
    taken: dict[str, PrefixHeader] = {}
    for rule, header_rule in zip(Rule.of("headers", [r.glob for r in rules]), rules, strict=True):
        files = collect(tree, [rule], findings)
        for path, destination in header_destinations(files, header_rule.to).items():
            try:
                sha256, size = digest(files[path])
            except OSError as problem:
                findings.append(unreadable(files[path], problem))
                continue
            other = taken.get(destination)
            if other is not None and other.sha256 != sha256:
                message = f"{other.matched} and {path} are different, and both would become include/{destination}."
                findings.append(
                    error(Code.BAD_SPEC, rule.key, message, "Give one of them a place: { glob = ..., to = ... }")
                )
            taken[destination] = other or PrefixHeader(
                source=files[path], matched=path, sha256=sha256, size=size, destination=destination
            )
    return tuple(header for _, header in sorted(taken.items()))


def _programs(tree: Tree, globs: Sequence[str], findings: list[Finding]) -> tuple[PrefixProgram, ...]:
    taken: dict[str, PrefixProgram] = {}
    for path, real in collect(tree, Rule.of("programs", globs), findings).items():
        try:
            program = _program(tree, path, real, findings)
        except OSError as problem:
            findings.append(unreadable(real, problem))
            continue
        except NativelibError as problem:
            findings += problem.findings
            continue
        if program is None:
            findings.append(skipped(tree, path, "it is neither an ELF file nor a script"))
        elif not _SCRIPT_NAME.fullmatch(program.name):
            message = f"The program {path} cannot have a console script: installers refuse the name {program.name!r}."
            remedy = "Give it a name of letters, digits, '_', '.', '+' and '-', or leave it out."
            findings.append(error(Code.BAD_SPEC, "tool.nativelib.programs", message, remedy))
        elif program.name in taken:
            message = f"{taken[program.name].matched} and {path} would have the same name."
            findings.append(error(Code.BAD_SPEC, "tool.nativelib.programs", message))
        else:
            taken[program.name] = program
    return tuple(program for _, program in sorted(taken.items()))


def _program(tree: Tree, path: str, real: str, findings: list[Finding]) -> PrefixProgram | None:
    name, start = PurePosixPath(path).name, head(real)
    if is_elf(start):
        elf = read_elf_file(Path(real))
        return PrefixProgram(source=real, matched=path, sha256=elf.sha256, size=elf.size, name=name, elf=elf)
    if not start.startswith(b"#!"):
        return None
    if _names_root(tree, Path(real).read_bytes()):
        remedy = "Let the script find its files from its own place, or leave it out of programs."
        message = f"The script {path} holds the path of the prefix, {tree.root}, which will not exist where it runs."
        findings.append(error(Code.NOT_RELOCATABLE, real, message, remedy))
    sha256, size = digest(real)
    return PrefixProgram(source=real, matched=path, sha256=sha256, size=size, name=name, elf=None)


def _names_root(tree: Tree, content: bytes) -> bool:
    """Return whether *content* holds the path of the prefix; that of a live system exists everywhere."""
    if tree.root in ("/", "/usr"):
        return False
    roots = {tree.root, tree.given.rstrip("/")}
    return any(
        re.search(re.escape(root.encode("utf-8", "surrogateescape")) + rb"(?![\w.-])", content) for root in roots
    )


def _licenses(
    tree: Tree, globs: Sequence[str], license_files: Sequence[str], findings: list[Finding]
) -> tuple[PrefixLicense, ...]:
    if not globs and not license_files:
        message = "There is no licence: neither project.license-files nor tool.nativelib.licenses names one."
        remedy = 'Write license-files = ["LICENSE"], or licenses = ["share/doc/.../copyright"].'
        findings.append(error(Code.NO_LICENCE, "tool.nativelib.licenses", message, remedy))
    files = collect(tree, Rule.of("licenses", globs), findings)
    licenses = []
    for path, destination in license_destinations(files, license_files).items():
        try:
            sha256, size = digest(files[path])
        except OSError as problem:
            findings.append(unreadable(files[path], problem))
            continue
        licenses.append(
            PrefixLicense(source=files[path], matched=path, sha256=sha256, size=size, destination=destination)
        )
    return tuple(sorted(licenses, key=lambda licence: licence.destination))
