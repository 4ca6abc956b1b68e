"""Build wheels of native libraries, and repair other wheels so that they depend on them.

The names below are the API; requests, plans and results are frozen values::

    from pathlib import Path

    import nativelib

    request = nativelib.RepairRequest(wheels=(Path("consumer.whl"),), provided_by=("openblas-lib",))
    for result in nativelib.repair_wheels(request):
        print(result.output, *(finding.message for finding in result.findings))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nativelib.pipeline.build import BuildRequest, BuildResult, build_library_wheel
    from nativelib.pipeline.consumer import RepairRequest
    from nativelib.pipeline.inspect import InspectRequest, WheelReport, inspect_wheels
    from nativelib.pipeline.release import ReleaseReport, ReleaseRequest, check_release, sync_release
    from nativelib.pipeline.repair import RepairResult, apply_plan, plan_repair, repair_wheels
    from nativelib.pipeline.shim import ShimRequest, make_shim
    from nativelib.pipeline.verify import VerifyRequest, VerifyResult, verify_wheels
    from nativelib.plan.serial import plan_from_json, plan_to_json

__all__ = [
    "BuildRequest",
    "BuildResult",
    "InspectRequest",
    "ReleaseReport",
    "ReleaseRequest",
    "RepairRequest",
    "RepairResult",
    "ShimRequest",
    "VerifyRequest",
    "VerifyResult",
    "WheelReport",
    "__version__",
    "apply_plan",
    "build_library_wheel",
    "check_release",
    "inspect_wheels",
    "make_shim",
    "plan_from_json",
    "plan_repair",
    "plan_to_json",
    "repair_wheels",
    "sync_release",
    "verify_wheels",
]


_HOMES = {
    "nativelib.pipeline.build": ("BuildRequest", "BuildResult", "build_library_wheel"),
    "nativelib.pipeline.consumer": ("RepairRequest",),
    "nativelib.pipeline.inspect": ("InspectRequest", "WheelReport", "inspect_wheels"),
    "nativelib.pipeline.release": ("ReleaseReport", "ReleaseRequest", "check_release", "sync_release"),
    "nativelib.pipeline.repair": ("RepairResult", "apply_plan", "plan_repair", "repair_wheels"),
    "nativelib.pipeline.shim": ("ShimRequest", "make_shim"),
    "nativelib.pipeline.verify": ("VerifyRequest", "VerifyResult", "verify_wheels"),
    "nativelib.plan.serial": ("plan_from_json", "plan_to_json"),
}


def __getattr__(name: str) -> object:
    """Import a part of the API when it is first asked for: nobody needs all of it, and together it takes 0.2 s."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
