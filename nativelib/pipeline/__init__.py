"""The public API: read, plan and write, wired together."""

from __future__ import annotations

from nativelib.pipeline.build import BuildRequest, BuildResult, build_library_wheel
from nativelib.pipeline.repair import RepairRequest, RepairResult, repair_wheels
from nativelib.plan.serial import plan_from_json, plan_to_json

__all__ = [
    "BuildRequest",
    "BuildResult",
    "RepairRequest",
    "RepairResult",
    "build_library_wheel",
    "plan_from_json",
    "plan_to_json",
    "repair_wheels",
]
