"""Build wheels of native libraries, and repair other wheels so that they depend on them.

The names below are the API; requests, plans and results are frozen values::

    from pathlib import Path

    import nativelib

    request = nativelib.RepairRequest(wheels=(Path("consumer.whl"),), provided_by=("openblas-lib",))
    for result in nativelib.repair_wheels(request):
        print(result.output, *(finding.message for finding in result.findings))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nativelib.pipeline import (
        BuildRequest,
        BuildResult,
        InspectRequest,
        RepairRequest,
        RepairResult,
        WheelReport,
        apply_plan,
        build_library_wheel,
        inspect_wheels,
        plan_from_json,
        plan_repair,
        plan_to_json,
        repair_wheels,
    )

__all__ = [
    "BuildRequest",
    "BuildResult",
    "InspectRequest",
    "RepairRequest",
    "RepairResult",
    "WheelReport",
    "__version__",
    "apply_plan",
    "build_library_wheel",
    "inspect_wheels",
    "plan_from_json",
    "plan_repair",
    "plan_to_json",
    "repair_wheels",
]


def __getattr__(name: str) -> object:
    """Import the API when it is first asked for: a build backend or ``--version`` needs little of it."""
    if name in __all__:
        from nativelib import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
