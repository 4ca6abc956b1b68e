"""The PEP 517 build backend: ``pip wheel .`` and ``python -m build`` make library wheels.

Config settings: ``prefix``, ``provided-by`` (may be given several times) and ``since``, as the options of
``nativelib build``. Front ends run the hooks in the project's directory, so that relative paths start there.

What cannot be done ends the process with exit code 1 and the findings on standard error: a front end shows that as it
is, and would show an exception below a traceback of its own and of ours.
"""

from __future__ import annotations

import calendar
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from packaging.utils import canonicalize_name

from nativelib.errors import NativelibError, SpecError
from nativelib.facts.core_metadata import core_metadata
from nativelib.findings import Code, error
from nativelib.read.spec import FILE, read_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nativelib.findings import Finding

    Settings: TypeAlias = Mapping[str, str | list[str]] | None

_KEYS = ("prefix", "provided-by", "since")


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build the library wheel of the working directory into *wheel_directory* and return its file name (PEP 517)."""
    del metadata_directory  # there is no hook that prepares it
    from nativelib.pipeline.build import BuildRequest, build_library_wheel

    with _reported():
        request = BuildRequest(
            directory=Path.cwd(),
            prefix=_path(config_settings, "prefix"),
            provided_by=tuple(_values(config_settings, "provided-by")),
            since=_path(config_settings, "since"),
            wheel_dir=Path(wheel_directory),
            environ=os.environ,
        )
        result = build_library_wheel(request)
        _say(result.findings)
        return result.plan.output


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Pack the working directory into *sdist_directory* and return the file's name (PEP 517, PEP 625)."""
    from nativelib.write.archive import epoch_date_time
    from nativelib.write.sdist import write_sdist

    with _reported():
        _values(config_settings, "")
        project, spec, _ = read_spec(Path.cwd())
        if project.version is None:
            remedy = f"Write the version into {FILE}; the build script can read it from there."
            message = "A source distribution needs a version before anything is built (PEP 643)."
            raise SpecError([error(Code.BAD_SPEC, "project.version", message, remedy)])
        # Which licences and library wheels join in depends on the prefix.
        dynamic = ("License-File", "Requires-Dist")
        readme = project.readme.file if project.readme else None
        named = [name for name in (spec.build_script, spec.prefix, readme) if name]
        written = write_sdist(
            Path.cwd(),
            Path(sdist_directory),
            f"{project.normalized_name.replace('-', '_')}-{project.version}",
            pkg_info=core_metadata(project, project.version, project.license_files, (), dynamic=dynamic),
            named=[*named, *project.license_files, *spec.provided_by],
            mtime=calendar.timegm((*epoch_date_time(os.environ), 0, 1, 0)),
        )
        return written.name


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return the library wheels that the build needs in its environment: they are looked up there (PEP 517).

    One that a config setting gives as a file is not among them.
    """
    with _reported():
        given = _values(config_settings, "provided-by")
        _, spec, _ = read_spec(Path.cwd())
        files = {_wheel_name(provider) for provider in given if provider.endswith(".whl")}
        return [provider for provider in spec.provided_by_names if _distribution(provider) not in files]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """Return what a source distribution needs: nothing (PEP 517)."""
    del config_settings
    return []


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an error into findings on standard error and exit code 1."""
    try:
        yield
    except NativelibError as problem:
        _say(problem.findings)
        raise SystemExit(problem.exit_code) from None


def _say(findings: Iterable[Finding]) -> None:
    for finding in findings:
        remedy = f"\n  {finding.remedy}" if finding.remedy else ""
        sys.stderr.write(f"{finding.severity} {finding.code}: {finding.where}: {finding.message}{remedy}\n")


def _values(settings: Settings, key: str) -> Sequence[str]:
    """Return the values of *key*, none if it is absent; raises :class:`SpecError` for keys that there are not."""
    if unknown := sorted(set(settings or {}) - set(_KEYS)):
        remedy = f"There are {', '.join(_KEYS)}."
        message = f"There is no config setting {', '.join(unknown)}."
        raise SpecError([error(Code.BAD_SPEC, "config_settings", message, remedy)])
    value = (settings or {}).get(key, [])
    return [value] if isinstance(value, str) else value


def _path(settings: Settings, key: str) -> Path | None:
    values = _values(settings, key)
    return Path(values[-1]) if values else None


def _wheel_name(provider: str) -> str:
    """Return the distribution of a wheel file, which may stand behind ``SONAME=``."""
    name = provider.rpartition("/")[2].rpartition("=")[2]
    return str(canonicalize_name(name.partition("-")[0]))


def _distribution(requirement: str) -> str:
    from packaging.requirements import Requirement

    return str(canonicalize_name(Requirement(requirement).name))
