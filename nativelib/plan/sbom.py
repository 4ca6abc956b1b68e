"""CycloneDX documents for libraries inside a wheel (PEP 770, CycloneDX 1.6). Pure and deterministic."""

from __future__ import annotations

import hashlib
import json
import posixpath
from typing import TYPE_CHECKING, Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from nativelib.facts.package import make_purl
from nativelib.plan.graft import plain_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nativelib.facts.package import Package

_MAX_EXPRESSION = 500
_SYSTEM_DIRECTORIES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


def component(
    name: str,
    sha256: str,
    path: str,
    *,
    version: str = "",
    licence: str = "",
    description: str = "",
    package: Package | None = None,
) -> dict[str, Any]:
    """Return the component for one library: *sha256* is that of the file before it was renamed, *path* its member.

    *package* owned the file on the machine that it came from; *version* and *licence* win over what it says.
    """
    version = version or (package.version if package else "")
    licences = (licence,) if licence else (package.licences if package else ())
    out: dict[str, Any] = {"type": "library", "bom-ref": f"file:{path}"}
    if package and package.supplier:
        out["supplier"] = {"name": package.supplier}
    out["name"] = name
    if version:
        out["version"] = version
    if description:
        out["description"] = description
    out["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if licences:
        out["licenses"] = _licences(licences)
    if package:
        out["purl"] = package.purl
    out["properties"] = [{"name": "nativelib:path", "value": path}]
    return out


def _licences(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the choice of licences: one SPDX expression, or what the package itself calls its licences."""
    if len(texts) == 1 and len(texts[0]) <= _MAX_EXPRESSION:
        try:
            return [{"expression": str(canonicalize_license_expression(texts[0]))}]
        except InvalidLicenseExpression:
            pass
    return [{"license": {"name": text}} for text in texts]


def extend_sbom(
    present: str | None,
    name: str,
    version: str,
    components: Sequence[dict[str, Any]],
    *,
    removed: Collection[str] = (),
) -> str:
    """Return the document of distribution *name* with *components* added to those of *present*.

    Those of the members *removed* are left out. No serial number and no time stamp: the same input must give the same
    bytes.
    """
    document = _parsed(present) if present else {}
    kept = {ref: item for item in _objects(document, "components") if (ref := _ref(item))}
    kept = {ref: item for ref, item in kept.items() if ref not in {f"file:{path}" for path in removed}}
    kept.update({item["bom-ref"]: item for item in components})
    main = make_purl("pypi", "", name, version)
    out = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "library", "bom-ref": main, "name": name, "version": version, "purl": main}},
        "components": [kept[key] for key in sorted(kept)],
        "dependencies": [{"ref": main, "dependsOn": sorted(kept)}],
    }
    return json.dumps(out, indent=2) + "\n"


def without_grafts(present: str, removed: Collection[str], *, last: bool) -> str:
    """Return auditwheel's document *present* without the packages that the grafts *removed* came from.

    It names no files, but each reference to a package ends in the SHA-256 of the path that the file had where the wheel
    was built, which can be guessed: a directory of the system, and the name before it got a hash. With *last*, nothing
    is left that was grafted, and every package goes. A document without such packages is returned as it is.
    """
    document = _parsed(present)
    names = {plain_name(posixpath.basename(member)) for member in removed}
    paths = (f"{directory}/{name}" for directory in _SYSTEM_DIRECTORIES for name in names)
    digests = {hashlib.sha256(path.encode("utf-8", "replace")).hexdigest() for path in paths}
    packages = {ref for item in _objects(document, "components") if "#" in (ref := _ref(item))}
    gone = {ref for ref in packages if last or ref.rpartition("#")[2] in digests}
    if not gone:
        return present
    document["components"] = [item for item in _objects(document, "components") if _ref(item) not in gone]
    document["dependencies"] = [
        {**item, "dependsOn": [ref for ref in item["dependsOn"] if ref not in gone]}
        if isinstance(item.get("dependsOn"), list)
        else item
        for item in _objects(document, "dependencies")
        if item.get("ref") not in gone
    ]
    return json.dumps(document)


def _parsed(text: str) -> dict[str, Any]:
    """Return the object in *text*; what is none, nobody can have meant to be kept."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = document.get(key)
    return [item for item in (items if isinstance(items, list) else ()) if isinstance(item, dict)]


def _ref(item: dict[str, Any]) -> str:
    """Return the reference of a component; empty if it has none that is a text."""
    ref = item.get("bom-ref")
    return ref if isinstance(ref, str) else ""
