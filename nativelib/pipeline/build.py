"""``build``: read the spec and the prefix; plan; write; read back."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from nativelib import __version__
from nativelib.errors import NativelibError, PlanError, ReadError
from nativelib.facts.adapter import WrittenAdapter
from nativelib.facts.elf import Libc
from nativelib.facts.manifest import MANIFEST, parse_manifest
from nativelib.facts.progress import silent
from nativelib.facts.spec import is_path, with_version
from nativelib.findings import Code, error
from nativelib.pipeline.answers import answer_all, gather_evidence, graft_sources
from nativelib.pipeline.finish import finish
from nativelib.plan.adapter import AdapterGround, plan_adapters
from nativelib.plan.answers import unused_providers
from nativelib.plan.inputs import LibraryInput
from nativelib.plan.library import plan_library
from nativelib.plan.needs import Ground
from nativelib.plan.options import RepairOptions
from nativelib.plan.platform import architecture_of_files, check_provider, libc_of
from nativelib.policy.judge import policy_libraries
from nativelib.read.adapter import read_adapters
from nativelib.read.adapter_check import check_adapters
from nativelib.read.command import read_built_version, run_build_script
from nativelib.read.musl import find_musl
from nativelib.read.packages import find_owners
from nativelib.read.prefix import find_prefix, scan_prefix
from nativelib.read.project_files import project_licenses
from nativelib.read.provider import read_provider
from nativelib.read.search import search_path
from nativelib.read.spec import read_spec
from nativelib.read.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nativelib.facts.manifest import Manifest
    from nativelib.facts.progress import Report
    from nativelib.facts.provider import Provider
    from nativelib.facts.spec import Project, Spec
    from nativelib.findings import Finding
    from nativelib.plan.values import Plan, Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What library wheel is to be built, and from what."""

    directory: Path = Path()
    """Directory of the ``pyproject.toml``."""
    prefix: Path | None = None
    provided_by: tuple[str, ...] = ()
    """Library wheels beside those that the spec names."""
    since: Path | None = None
    """Wheel or manifest of an earlier release."""
    wheel_dir: Path = Path("dist")
    options: RepairOptions = field(default_factory=RepairOptions)
    python: str | None = None
    ldpaths: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The library wheel that was built."""

    plan: Plan
    wheel: Path | None
    """``None`` after a dry run."""
    receipt: Receipt | None
    libraries: tuple[tuple[str, str, str], ...]
    """(member, soname, original soname) of each library offered."""
    private: tuple[str, ...]
    """Members that were grafted."""
    findings: tuple[Finding, ...]


def build_library_wheel(request: BuildRequest, *, report: Report = silent) -> BuildResult:
    """Build the library wheel that *request* describes.

    *report* is told what is being done. Raises NativelibError with every reason at once; nothing is
    written then.
    """
    project, spec, _ = read_spec(request.directory)
    with _prefix(request, project, spec, report) as (root, project):
        report(f"reading {root}")
        given, manifest_options = _gather(request, project, spec, root)
        plan = plan_library(given, manifest_options)
        receipt = None
        notes: list[Finding] = []
        if not request.dry_run:
            report(f"writing {plan.output}")
            sources = {library.source: library.elf for library in given.prefix.libraries}
            sources |= {p.source: p.elf for p in given.prefix.programs if p.elf is not None}
            outside = {**given.outside.files, **sources}
            receipt = finish(
                plan,
                None,
                outside,
                request.wheel_dir,
                request.environ,
                check=lambda staged: notes.extend(_checked_adapters(staged, plan.output, given, request)),
                report=report,
            )
    document = next(a.document for a in plan.actions if a.kind == "describe")
    return BuildResult(
        plan=plan,
        wheel=Path(receipt.output) if receipt is not None else None,
        receipt=receipt,
        libraries=tuple((item["file"], item["soname"], item["original_soname"]) for item in document["libraries"]),
        private=tuple(item["file"] for item in document["private"]),
        findings=(*plan.findings, *notes),
    )


def _checked_adapters(staged: Path, filename: str, given: LibraryInput, request: BuildRequest) -> tuple[Finding, ...]:
    """Return what is to be said of the adapters in the staged wheel. Raises WriteError if one does not work."""
    lib = f"{given.spec.import_name}/lib"
    written = [
        WrittenAdapter(
            file=f"{lib}/{adapter.soname}",
            target=(adapter.need and adapter.need.source) or f"{lib}/{adapter.facts.needed[0]}",
            forwards=adapter.forwards,
            blas_int=adapter.blas_int,
            machine=adapter.facts.machine,
            libc=given.libc,
        )
        for adapter in given.adapters
    ]
    return check_adapters(staged, filename, written, given.providers, python=request.python) if written else ()


@contextmanager
def _prefix(request: BuildRequest, project: Project, spec: Spec, report: Report) -> Iterator[tuple[Path, Project]]:
    """Give the prefix, filled by the build script where there is one, and the project with its version known."""
    root = find_prefix(request.directory, spec, request.prefix)
    if root is not None:
        yield root, with_version(project, spec, read_built_version(root))
        return
    with tempfile.TemporaryDirectory(prefix="nativelib-") as scratch:
        root = Path(scratch) / "prefix"
        report(f"running {spec.build_script}")
        run_build_script(
            request.directory / (spec.build_script or ""),
            request.directory,
            prefix=root,
            jobs=os.cpu_count() or 1,
            environ=request.environ,
        )
        yield root, with_version(project, spec, read_built_version(root))


def _gather(request: BuildRequest, project: Project, spec: Spec, root: Path) -> tuple[LibraryInput, RepairOptions]:
    prefix = scan_prefix(root, spec, license_files=project.license_files)
    own = project_licenses(request.directory, project.license_files)
    prefix = replace(prefix, licenses=(*own, *prefix.licenses))
    providers = _providers(request, spec)
    files = {library.source: library.elf for library in prefix.libraries}
    architecture = architecture_of_files({**files, **{p.source: p.elf for p in prefix.programs if p.elf is not None}})
    libc = libc_of(files, (), providers) or Libc.GLIBC
    programs = {p.source: p.elf for p in prefix.programs if p.elf is not None and p.elf.dynamic}
    ground = Ground(
        files={**files, **programs},
        inside={library.soname: (library.source,) for library in prefix.libraries},
        providers=providers,
        policy=policy_libraries(libc, architecture),
        excludes=request.options.excludes,
        libc=libc,
    )
    path = search_path(architecture, libc, ldpaths=request.ldpaths, environ=request.environ, prefix=root)
    needs, outside = answer_all(ground, path)
    evidence = gather_evidence(needs, {**ground.files, **outside.files}, path, ground.policy)
    for provider in providers:
        check_provider(provider, architecture, libc)
    adapters = plan_adapters(
        read_adapters(spec.adapters, request.directory),
        AdapterGround(label=project.normalized_name, spec=spec, prefix=prefix, providers=providers, libc=libc),
    )
    needs = (*needs, *(adapter.need for adapter in adapters if adapter.need is not None))
    unused = unused_providers(needs, providers)
    if unused:
        raise PlanError(unused)
    given = LibraryInput(
        project=project,
        spec=spec,
        prefix=prefix,
        libc=libc,
        architecture=architecture,
        needs=needs,
        outside=outside,
        evidence=evidence,
        earlier=_earlier(request.since, project),
        generator=f"nativelib {__version__}",
        owners=find_owners({**{path: path for path in files}, **graft_sources(needs, outside)}),
        musl=find_musl(path) if libc is Libc.MUSL else None,
        adapters=adapters,
    )
    return given, request.options


def _providers(request: BuildRequest, spec: Spec) -> tuple[Provider, ...]:
    named = [str(request.directory / item) if is_path(item) else item for item in spec.provided_by]
    providers: dict[tuple[str, str | None], Provider] = {}
    findings: list[Finding] = []
    # A wheel that was just built, named on the command line, takes the place of the distribution that the spec names.
    for text in (*request.provided_by, *named):
        distribution = canonicalize_name(re.split(r"[<>=!~;\s\[]", text, maxsplit=1)[0])
        if any(distribution == name for name, _only in providers):
            continue
        try:
            provider = read_provider(text, python=request.python)
        except NativelibError as problem:
            findings += problem.findings
            continue
        if provider.manifest is None:
            message = f"{provider.label} was not built by nativelib, and a library wheel can build on such ones only."
            findings.append(
                error(Code.NOT_A_PROVIDER, text, message, "Graft the library, or build a library wheel of it.")
            )
        providers.setdefault((provider.name, provider.only), provider)
    if findings:
        raise PlanError(findings)
    return tuple(providers.values())


def _earlier(since: Path | None, project: Project) -> Manifest | None:
    """Return the manifest of an earlier release of *project*. Raises ReadError if the file holds another one's."""
    if since is None:
        return None
    if since.suffix == ".whl":
        wheel = read_wheel(since)
        raw = wheel.texts.get(f"{wheel.dist_info}/{MANIFEST}")
        if raw is None:
            text = "It has no nativelib.json, so it was not built by nativelib."
            raise ReadError.of(Code.NOT_A_PROVIDER, str(since), text, "Give a wheel of an earlier release.")
        found = parse_manifest(raw.decode("utf-8", "replace"), where=str(since))
    else:
        try:
            found = parse_manifest(since.read_text(encoding="utf-8"), where=str(since))
        except (OSError, UnicodeDecodeError) as cause:
            raise ReadError.of(Code.NOT_FOUND, str(since), f"It cannot be read: {cause}.") from cause
    if found.name != project.normalized_name:
        text = f"It is the manifest of {found.name}, and {project.normalized_name} is being built."
        raise ReadError.of(Code.NOT_A_PROVIDER, str(since), text)
    if project.version is not None and Version(found.version) > Version(project.version):
        text = f"It is release {found.version}, and {project.version}, which is being built, is earlier."
        raise ReadError.of(Code.NOT_A_PROVIDER, str(since), text, "Give a wheel of an earlier release.")
    return found
