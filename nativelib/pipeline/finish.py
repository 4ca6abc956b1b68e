"""From a Plan to a file: render, write, read back, and only then give the result its name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nativelib.errors import WriteError
from nativelib.facts.elf import ElfEdit, identity
from nativelib.facts.progress import silent
from nativelib.findings import Code
from nativelib.plan.adapter import predicted_facts
from nativelib.plan.hook import encode
from nativelib.plan.values import Adapt, Assemble, Generate, Graft, Patch, Plan, Receipt, Write
from nativelib.write.apply import apply_plan
from nativelib.write.archive import epoch_date_time
from nativelib.write.patch import patchelf_version
from nativelib.write.stage import staged_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.progress import Report
    from nativelib.facts.wheel import WheelFacts


def render_all(plan: Plan) -> dict[str, bytes]:
    """Return the content of every generated member of *plan*."""
    return {action.member: rendered(action) for action in plan.actions if isinstance(action, Generate)}


def rendered(action: Generate) -> bytes:
    """Return the content of one generated member, with what stood around it."""
    # Jinja2 takes as long to import as a small wheel takes to repair, and many wheels need nothing that is generated.
    from nativelib.write.render import render

    text = render(action.template, action.values).replace("\n", action.newline)
    return encode(action.before) + text.encode() + encode(action.after)


def drop_unchanged(plan: Plan, wheel: WheelFacts) -> Plan:
    """Return *plan* without generated members that the wheel has already, byte for byte.

    So a second repair changes nothing.
    """
    return replace(
        plan,
        actions=tuple(
            action
            for action in plan.actions
            if not (isinstance(action, Generate) and wheel.texts.get(action.member) == rendered(action))
            and not (isinstance(action, Write) and wheel.texts.get(action.member) == encode(action.text))
        ),
    )


def finish(
    plan: Plan,
    wheel: WheelFacts | None,
    outside: Mapping[str, ElfFacts],
    directory: Path,
    environ: Mapping[str, str],
    *,
    taken: Collection[Path] = (),
    inputs: Collection[Path] = (),
    check: Callable[[Path], object] | None = None,
    report: Report = silent,
) -> Receipt:
    """Carry out *plan* and return the receipt.

    *outside* holds the facts of grafted files by path; *taken* are outputs of this call and *inputs* its other wheels:
    neither is overwritten. *check* looks at the staged file before it gets its name. *report* is told what is being
    done. The result appears whole in *directory* or not at all.
    Raises WriteError.
    """
    from nativelib.read.verify import read_back  # the wheel package, which an audit does without

    final = directory.absolute() / plan.output
    if final in taken:
        text = "Another wheel of this call was written under the same name."
        raise WriteError.of(Code.WRITE_FAILED, str(final), text, "Repair them into different directories.")
    if final.exists() and any(other.exists() and final.samefile(other) for other in inputs):
        text = "The result would overwrite another wheel of this call, and an input is never changed."
        raise WriteError.of(Code.WRITE_FAILED, str(final), text, "Choose another directory with -w.")
    date_time = epoch_date_time(environ)
    generated = render_all(plan)
    with staged_file(directory, plan.output) as staged:
        applied = apply_plan(plan, wheel, generated, staged.path, date_time=date_time, report=report)
        read_back(staged.path, plan.output, predicted(plan, wheel, outside), applied.changed, report=report)
        if check is not None:
            check(staged.path)
        if wheel is not None and final.exists() and final.samefile(wheel.path):
            if applied.sha256 != wheel.sha256:
                text = "The result would overwrite the input, which is never changed."
                raise WriteError.of(Code.WRITE_FAILED, str(final), text, "Choose another directory with -w.")
        else:
            staged.commit()
    return Receipt(
        output=str(final),
        sha256=applied.sha256,
        size=applied.size,
        changed=applied.changed,
        patchelf=patchelf_version() if applied.patchelf else "",
    )


def predicted(plan: Plan, wheel: WheelFacts | None, outside: Mapping[str, ElfFacts]) -> dict[str, ElfFacts | None]:
    """Return the facts that each ELF member written by *plan* must have; ``None`` where only readability is asked."""
    out: dict[str, ElfFacts | None] = {}
    for action in plan.actions:
        match action:
            case Patch(member=name, edit=edit, renamed_from=old):
                before = wheel.elf[old or name] if wheel is not None else None
                out[name] = identity(edit.apply_to(before)) if before is not None else None
            case Graft(member=name, source=source, edit=edit) if source in outside:
                out[name] = identity((edit or ElfEdit()).apply_to(outside[source]))
            case Assemble(member=name):
                out[name] = None
            case Adapt(member=name):
                out[name] = identity(
                    predicted_facts(
                        action.machine,
                        soname=action.soname,
                        needed=action.needed,
                        forwards=action.forwards,
                        run_path=action.run_path,
                        run_path_tag=action.run_path_tag,
                    )
                )
            case _:
                pass
    return out
