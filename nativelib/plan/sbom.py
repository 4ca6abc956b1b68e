"""CycloneDX documents for libraries inside a wheel (PEP 770, CycloneDX 1.6). Pure and deterministic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def component(
    name: str, sha256: str, path: str, *, version: str = "", licence: str = "", description: str = ""
) -> dict[str, Any]:
    """Return the component for one library: *sha256* is that of the file before it was renamed, *path* its member."""
    out: dict[str, Any] = {"type": "library", "bom-ref": f"file:{path}", "name": name}
    if version:
        out["version"] = version
    if description:
        out["description"] = description
    out["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if licence:
        out["licenses"] = [{"expression": licence}]
    out["properties"] = [{"name": "nativelib:path", "value": path}]
    return out


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
    document: dict[str, Any] = {}
    if present:
        try:
            found = json.loads(present)
        except (ValueError, RecursionError):
            found = {}
        document = found if isinstance(found, dict) else {}
    items = document.get("components")
    kept = {str(i.get("bom-ref")): i for i in (items if isinstance(items, list) else ()) if isinstance(i, dict)}
    kept = {ref: item for ref, item in kept.items() if ref not in {f"file:{path}" for path in removed}}
    kept.update({item["bom-ref"]: item for item in components})
    main = f"pkg:pypi/{name}@{version}"
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
