"""The public API: read, plan and write, wired together."""

from __future__ import annotations

from nativelib.pipeline.build import BuildRequest, BuildResult, build_library_wheel
from nativelib.pipeline.inspect import InspectRequest, WheelReport, inspect_wheels
from nativelib.pipeline.repair import RepairRequest, RepairResult, apply_plan, plan_repair, repair_wheels
from nativelib.plan.serial import plan_from_json, plan_to_json

__all__ = [
    "BuildRequest",
    "BuildResult",
    "InspectRequest",
    "RepairRequest",
    "RepairResult",
    "WheelReport",
    "apply_plan",
    "build_library_wheel",
    "inspect_wheels",
    "plan_from_json",
    "plan_repair",
    "plan_to_json",
    "repair_wheels",
]
