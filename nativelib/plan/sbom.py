"""CycloneDX documents for libraries inside a wheel (PEP 770, CycloneDX 1.6). Pure and deterministic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


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


def extend_sbom(present: str | None, name: str, version: str, components: Sequence[dict[str, Any]]) -> str:
    """Return the document of distribution *name* with *components* added to those of *present*.

    No serial number and no time stamp: the same input must give the same bytes.
    """
    document: dict[str, Any] = {}
    if present:
        try:
            document = json.loads(present)
        except ValueError:
            document = {}
    kept = {item.get("bom-ref"): item for item in document.get("components", []) if isinstance(item, dict)}
    kept.update({item["bom-ref"]: item for item in components})
    main = f"pkg:pypi/{name}@{version}"
    out = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "library", "bom-ref": main, "name": name, "version": version, "purl": main}},
        "components": [kept[key] for key in sorted(kept, key=str)],
        "dependencies": [{"ref": main, "dependsOn": sorted(str(key) for key in kept)}],
    }
    return json.dumps(out, indent=2) + "\n"
