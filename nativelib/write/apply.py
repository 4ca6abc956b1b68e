"""Carry out a Plan: make the new members, derive RECORD, and stage the result beside its final name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from nativelib.errors import WriteError
from nativelib.facts.order import member_order
from nativelib.facts.progress import silent
from nativelib.facts.record import RECORD_NAMES, RecordEntry, digest_of_hex, format_record
from nativelib.findings import Code
from nativelib.plan.values import Adapt, Assemble, Describe, Drop, Generate, Graft, Move, Patch, Write
from nativelib.write.adapter import build_adapter
from nativelib.write.anchor import build_anchor
from nativelib.write.archive import NewMember, Promised, RawCopy, extract_member, write_wheel
from nativelib.write.patch import patch_file, strip_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nativelib.facts.progress import Report
    from nativelib.facts.wheel import Member, WheelFacts
    from nativelib.plan.values import Plan
    from nativelib.write.archive_deflate import Entry

DateTime = tuple[int, int, int, int, int, int]

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was written to the staged file."""

    changed: tuple[str, ...]
    """Members that are not raw copies of the source's."""
    sha256: str
    size: int
    patchelf: bool
    """Whether patchelf was needed."""


def apply_plan(
    plan: Plan,
    wheel: WheelFacts | None,
    rendered: Mapping[str, bytes],
    target: Path,
    *,
    date_time: DateTime,
    report: Report = silent,
) -> Applied:
    """Write the result of *plan* to the staged file *target*.

    *wheel* is the source that the plan was made for, *rendered* the content of each Generate action; *report* is told
    what is being written. Raises WriteError
    if an input is not the one that the plan is bound to, or if a tool fails; *target* is then to be thrown away.
    """
    _check_source(plan, wheel)
    if wheel is not None and not plan.actions and wheel.normal and plan.output == wheel.filename:
        shutil.copyfile(wheel.path, target)
        return Applied(changed=(), sha256=wheel.sha256, size=target.stat().st_size, patchelf=False)
    by_patchelf: list[str] = []
    name = f"{plan.dist_info}/RECORD"

    def record(members: tuple[Member, ...]) -> NewMember:
        return NewMember(name=name, content=_record(members, name), mode=0o644, date_time=date_time)

    report(f"writing {plan.output}")
    with tempfile.TemporaryDirectory(prefix="nativelib-") as scratch, _workers() as pool:
        fresh = _make_members(plan, wheel, rendered, Path(scratch), date_time, pool, by_patchelf)
        source = Path(wheel.path) if wheel is not None else None
        entries = _entries(plan, wheel, fresh)
        digest = write_wheel(target, entries, source=source, level=plan.level, last=record, report=report)
    changed = (*sorted(fresh), name)
    return Applied(changed=changed, sha256=digest.sha256, size=digest.size, patchelf=bool(by_patchelf))


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Give threads that make members while others are deflated; what has not begun when the block ends is dropped."""
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _check_source(plan: Plan, wheel: WheelFacts | None) -> None:
    if (plan.source is None) != (wheel is None):
        raise WriteError.of(
            Code.INTERNAL, plan.output, "The plan and the wheel it is applied to do not belong together."
        )
    if wheel is not None and _sha256(Path(wheel.path)) != plan.source_sha256:
        text = "The file is not the one that the plan was made for: it has changed since."
        raise WriteError.of(Code.WRITE_FAILED, wheel.path, text, "Plan again.")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
    except OSError as cause:
        raise WriteError.of(Code.WRITE_FAILED, str(path), f"It cannot be read: {cause.strerror}.") from cause
    return digest.hexdigest()


def _make_members(
    plan: Plan,
    wheel: WheelFacts | None,
    rendered: Mapping[str, bytes],
    scratch: Path,
    date_time: DateTime,
    pool: ThreadPoolExecutor,
    by_patchelf: list[str],
) -> dict[str, Promised | NewMember]:
    """Return the new members, which *pool* makes; *by_patchelf* gets the names of those that patchelf edits."""
    members = {member.name: member for member in wheel.members} if wheel is not None else {}

    def make(index: int, action: Write | Generate | Assemble | Adapt | Graft | Patch) -> NewMember:
        match action:
            case Write(member=name, text=text, mode=mode):
                content: bytes | Path = text.encode("utf-8", "surrogateescape")
            case Generate(member=name, mode=mode):
                content = rendered[name]
            case Assemble(member=name, mode=mode):
                content = build_anchor(
                    action.machine,
                    soname=action.soname,
                    needed=action.needed,
                    run_path=action.run_path,
                    run_path_tag=action.run_path_tag,
                )
            case Adapt(member=name, mode=mode):
                content = build_adapter(
                    action.machine,
                    soname=action.soname,
                    needed=action.needed,
                    forwards=action.forwards,
                    run_path=action.run_path,
                    run_path_tag=action.run_path_tag,
                )
            case Graft(member=name, mode=mode):
                content = _graft(action, scratch / str(index), by_patchelf)
            case Patch(member=name):
                old = members[action.renamed_from or action.member]
                mode = 0o755 if old.mode & 0o111 else 0o644
                content = _patch(action, old, Path(wheel.path if wheel else ""), scratch / str(index), by_patchelf)
            case _:
                assert_never(action)
        return NewMember(name=name, content=content, mode=mode, date_time=date_time)

    # In the order of the archive, so that what is written first is made first.
    making = [(i, action) for i, action in enumerate(plan.actions) if not isinstance(action, Drop | Describe | Move)]
    making.sort(key=lambda item: item[1].member)
    fresh: dict[str, Promised | NewMember] = {
        action.member: Promised(action.member, pool.submit(make, index, action)) for index, action in making
    }
    for action in plan.actions:
        if isinstance(action, Describe):
            content = _describe(action, {name: m.made.result() for name, m in fresh.items() if isinstance(m, Promised)})
            fresh[action.member] = NewMember(name=action.member, content=content, mode=action.mode, date_time=date_time)
    return fresh


def _describe(action: Describe, fresh: Mapping[str, NewMember]) -> bytes:
    document = dict(action.document)
    for key in ("libraries", "private"):
        document[key] = [_described(item, fresh[item["file"]]) for item in document[key]]
    return (json.dumps(document, indent=1) + "\n").encode()


def _described(item: Mapping[str, Any], member: NewMember) -> dict[str, Any]:
    content = member.content
    if isinstance(content, bytes):
        known: dict[str, Any] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    else:
        known = {"sha256": _sha256(content), "size": content.stat().st_size}
    return {key: known.get(key, value) for key, value in item.items()}


def _graft(action: Graft, target: Path, by_patchelf: list[str]) -> Path:
    source = Path(action.source)
    try:
        shutil.copyfile(source, target)
    except OSError as cause:
        raise WriteError.of(Code.WRITE_FAILED, action.source, f"It cannot be copied: {cause.strerror}.") from cause
    if _sha256(target) != action.sha256:
        text = "The file is not the one that the plan was made for: it has changed since."
        raise WriteError.of(Code.WRITE_FAILED, action.source, text, "Plan again.")
    if action.strip:
        strip_file(target, where=action.source)
    if action.edit and patch_file(target, action.edit, where=action.source):
        by_patchelf.append(action.member)
    return target


def _patch(action: Patch, old: Member, wheel: Path, target: Path, by_patchelf: list[str]) -> Path:
    extract_member(wheel, old, target)
    if action.strip:
        strip_file(target, where=old.name)
    if patch_file(target, action.edit, where=old.name):
        by_patchelf.append(action.member)
    return target


def _entries(plan: Plan, wheel: WheelFacts | None, fresh: Mapping[str, Promised | NewMember]) -> list[Entry]:
    """Return the entries in order, without RECORD and without signatures of what has changed."""
    old = {member.name: member for member in wheel.members} if wheel is not None else {}
    derived = {f"{plan.dist_info}/{name}" for name in RECORD_NAMES}
    gone = {action.member for action in plan.actions if isinstance(action, Drop)}
    gone |= {action.renamed_from for action in plan.actions if isinstance(action, Patch) and action.renamed_from}
    moved = {action.renamed_from: action.member for action in plan.actions if isinstance(action, Move)}
    kept = {moved.get(name, name): name for name in old if name not in gone}
    order = member_order(
        [name for name in kept if name not in derived], plan.dist_info, new=[name for name in fresh if name not in kept]
    )
    return [fresh[name] if name in fresh else RawCopy(member=old[kept[name]], name=name) for name in order]


def _record(members: Sequence[Member], name: str) -> bytes:
    lines = [RecordEntry(path=m.name, digest=digest_of_hex(m.sha256), size=m.size) for m in members]
    return format_record([*lines, RecordEntry(path=name)]).encode()
