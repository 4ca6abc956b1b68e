"""Adapters of a wheel that was just written, loaded in another process: does each name lead to its function?"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nativelib.errors import NativelibError, ReadError, WriteError
from nativelib.facts.manifest import ANCHOR
from nativelib.findings import Code, error, listing, note
from nativelib.read.archive import WheelArchive
from nativelib.read.command import python_paths, run_python
from nativelib.read.elf import read_elf_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.adapter import WrittenAdapter
    from nativelib.facts.provider import Provider
    from nativelib.findings import Finding

_PROBE = Path(__file__).with_name("adapter_probe.py")


def check_adapters(
    staged: Path,
    filename: str,
    adapters: Sequence[WrittenAdapter],
    providers: Sequence[Provider],
    *,
    python: str | None = None,
) -> tuple[Finding, ...]:
    """Check the *adapters* of the wheel at *staged*, which is to be called *filename*.

    They are loaded through the wheel's anchor, as users load them, after the anchors of its *providers*. Returns a note
    if they cannot be loaded here. Raises WriteError if a name leads elsewhere, or a call shows integers of another
    width than was declared.
    """
    foreign = _foreign(adapters[0])
    if foreign:
        return (_unchecked(filename, foreign),)
    with tempfile.TemporaryDirectory(prefix="nativelib-") as scratch:
        site = Path(scratch)
        link = site / filename
        link.symlink_to(staged.absolute())
        packages = [provider.import_name for provider in providers if _install(provider, site, python)]
        package = adapters[0].file.partition("/")[0]
        _unpack(link, site, package)
        answer = _probed(filename, site, [*packages, package], adapters)
    if "unloadable" in answer:
        return (_unchecked(filename, f"they could not be loaded here ({answer['unloadable']})"),)
    findings = _wrong(filename, answer, adapters)
    if findings:
        raise WriteError(findings)
    return ()


def _foreign(adapter: WrittenAdapter) -> str:
    """Return why this interpreter cannot load *adapter*, or nothing."""
    try:
        host = read_elf_file(Path(sys.executable).resolve())
    except NativelibError:
        return "this Python is no ELF file"
    if host.machine != adapter.machine:
        return f"they are for {adapter.machine.architecture}, and this Python is for {host.architecture}"
    if host.libc is not adapter.libc:
        return f"they are for {adapter.libc}, and this Python is for {host.libc}"
    return ""


def _unchecked(filename: str, reason: str) -> Finding:
    message = f"Its adapters were read back, and not called: {reason}."
    return note(Code.ADAPTER_CHECK, filename, message, "Import the wheel where it is meant for, and call one of them.")


def _install(provider: Provider, site: Path, python: str | None) -> bool:
    """Put the libraries of *provider* where its users find them below *site*, and return whether they were found."""
    origin = Path(provider.origin.rpartition("=")[2] if provider.only else provider.origin)
    if origin.is_file():
        _unpack(origin, site, provider.import_name)
        return True
    for place in (str(origin), *(python_paths(python) if python else sys.path)):
        package = Path(place) / provider.import_name
        if (package / "lib" / ANCHOR).is_file():
            (site / provider.import_name).symlink_to(package.absolute())
            return True
    return False


def _unpack(wheel: Path, site: Path, package: str) -> None:
    with WheelArchive(wheel) as archive:
        for entry in archive.entries:
            if entry.name.startswith(f"{package}/lib/"):
                target = site / entry.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    file.writelines(archive.stream(entry))


def _probed(filename: str, site: Path, packages: Sequence[str], adapters: Sequence[WrittenAdapter]) -> dict[str, Any]:
    """Return what the other process says. Raises WriteError if it dies."""
    asked = {
        "anchors": [str(site / package / "lib" / ANCHOR) for package in packages],
        "adapters": [
            {"adapter": str(site / item.file), "target": str(site / item.target), "forwards": item.forwards}
            for item in adapters
        ],
    }
    question = site / "question.json"
    question.write_text(json.dumps(asked), encoding="utf-8")
    try:
        answer: dict[str, Any] = json.loads(run_python(_PROBE, str(question)))
    except (ReadError, ValueError) as problem:
        said = problem.findings[0].message if isinstance(problem, ReadError) else str(problem)
        raise _failed(filename, f"The process that loaded its adapters failed: {said}") from problem
    return answer


def _wrong(filename: str, answer: dict[str, Any], adapters: Sequence[WrittenAdapter]) -> list[Finding]:
    if "broken" in answer:
        return list(_failed(filename, f"Its adapters cannot be loaded: {answer['broken']}.").findings)
    out: list[Finding] = []
    for adapter, found in zip(adapters, answer["adapters"], strict=True):
        if found["wrong"]:
            message = f"{len(found['wrong'])} of its names lead elsewhere: {listing(found['wrong'], 5)}."
            out += _failed(adapter.file, message).findings
        if found["width"] is not None and adapter.blas_int not in (None, found["width"]):
            message = f"A call shows integers of {found['width']} bits, and {adapter.blas_int} are declared."
            remedy = "Correct blas-int, or forward to a library that is built that way. Nothing was written."
            out.append(error(Code.ADAPTER_ABI, adapter.file, message, remedy))
    return out


def _failed(where: str, message: str) -> WriteError:
    remedy = "Nothing was written. If the target is sound, please report this with it."
    return WriteError([error(Code.ADAPTER_CHECK, where, message, remedy)])
