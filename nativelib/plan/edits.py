"""What happens to the ELF files of a consumer wheel: edits, moves, grafts, and what is left out. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nativelib.facts.elf import ElfEdit
from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code, Finding, error, warning
from nativelib.plan import include
from nativelib.plan.copies import kept_names, plan_copies
from nativelib.plan.graft import changed_run_path, run_path
from nativelib.plan.loading import missing_leads
from nativelib.plan.moves import plan_moves
from nativelib.plan.needs import Answer, by_requester
from nativelib.plan.relocate import relocations
from nativelib.plan.unneeded import empty_directories
from nativelib.plan.values import Drop, Graft, Patch
from nativelib.policy.judge import policy_libraries

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import Place
    from nativelib.plan.copies import Copy
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.moves import Move
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.values import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfChanges:
    """All that happens to ELF files."""

    edits: Mapping[str, ElfEdit]
    """Edit of every ELF member, by its old name; empty ones too."""
    moves: tuple[Move, ...]
    grafts: tuple[Graft, ...]
    """Files that are copied in."""
    moved: Mapping[str, str]
    """Old member to new member."""
    copies: Mapping[tuple[str, Scheme], Copy]
    """Files from outside, by path and scheme, with the members that they become or are already."""
    removed: frozenset[str]
    """Members that are left out."""
    findings: tuple[Finding, ...]

    def actions(self, options: RepairOptions) -> list[Action]:
        """Return the actions: patches, grafts, drops."""
        patches: list[Action] = []
        for old, edit in self.edits.items():
            new = self.moved.get(old, old)
            if (edit or new != old) and old not in self.removed:
                moved = old if new != old else None
                patches.append(Patch(member=new, edit=edit, strip=options.strip, renamed_from=moved))
        return [*patches, *self.grafts, *(Drop(member=name) for name in sorted(self.removed))]

    def after(self, given: RepairInput) -> dict[str, ElfFacts]:
        """Return the facts of all ELF files of the result, by member."""
        kept = {old: facts for old, facts in given.wheel.elf.items() if old not in self.removed}
        out = {self.moved.get(old, old): self.edits[old].apply_to(facts) for old, facts in kept.items()}
        for graft in self.grafts:
            out[graft.member] = (graft.edit or ElfEdit()).apply_to(given.outside.files[graft.source])
        return out

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """Old member, or path of a file outside, to the members that it becomes."""
        out: dict[str, tuple[str, ...]] = {old: (new,) for old, new in self.moved.items()}
        for copy in self.copies.values():
            out[copy.path] = (*out.get(copy.path, ()), copy.member)
        return out


def elf_changes(given: RepairInput, options: RepairOptions) -> ElfChanges:
    """Return what happens to the ELF files of the wheel, with what the user should know of it."""
    moves = plan_moves(given.wheel, given.needs, options, include.callers(given))
    moved = {**relocations(given.wheel, given.needs, options), **{move.old: move.new for move in moves}}
    removed = given.removed
    copies = plan_copies(given, options, moved, removed, include.roots(given, options, moved))
    edits, findings = member_edits(given, options, copies, moved, removed)
    # Equal files may lie at two paths, and an earlier repair may have copied the same file in already.
    fresh = {copy.member: copy for copy in copies.values() if copy.member not in given.wheel.elf}
    grafts = tuple(_graft_action(given, options, copies, copy, moved) for copy in fresh.values())
    findings += kept_names(given, options, [copy for copy in copies.values() if copy.member in fresh])
    return ElfChanges(
        edits=edits,
        moves=moves,
        grafts=grafts,
        moved=moved,
        copies=copies,
        removed=removed,
        findings=(*findings, *_uneditable(grafts, given.outside.files)),
    )


def member_edits(
    given: RepairInput,
    options: RepairOptions,
    copies: Mapping[tuple[str, Scheme], Copy],
    moved: Mapping[str, str],
    removed: Collection[str],
) -> tuple[dict[str, ElfEdit], list[Finding]]:
    """Return the edit of every ELF member that is not *removed*, empty ones too, and what the user should know of it.

    *moved* maps old members to new ones.
    """
    findings: list[Finding] = []
    needs = by_requester(given.needs)
    edits: dict[str, ElfEdit] = {}
    gone = empty_directories((member.name for member in given.wheel.members), removed)
    kept = {member: facts for member, facts in given.wheel.elf.items() if member not in removed}
    leads = missing_leads(kept, given.needs, policy_libraries(given.libc, given.architecture))
    opened = include.leads(given, copies, moved)
    for member, facts in kept.items():
        home = moved.get(member, member)
        own, more = needs.get(member, ()), [*leads.get(member, ()), *opened.get(member, ())]
        edit, path, dropped = _edit(home, facts, own, copies, options, moved, moved_from=member, leads=more, gone=gone)
        path_edit = changed_run_path(place_of(member), facts, path, given.libc)
        edits[member] = edit = replace(edit, run_path=path_edit, run_path_tag=given.libc.run_path_tag)
        if dropped:
            findings.append(
                warning(
                    Code.RUN_PATH_DROPPED,
                    member,
                    f"Run path entries that leave the installation were removed: {':'.join(dict.fromkeys(dropped))}.",
                    "Nothing to do, unless the file relied on them.",
                )
            )
        if edit and not facts.sections:
            findings.append(_bare(member))
        findings += _crossing(home, needs.get(member, ()), moved)
    return edits, findings


def _crossing(member: str, needs: Sequence[Need], moved: Mapping[str, str]) -> list[Finding]:
    """Return an error if *member* needs files that an installer puts into another scheme, where no run path leads."""
    home = place_of(member).scheme
    there = {
        need.soname: place_of(moved.get(source, source)).scheme if need.answer is Answer.WHEEL else Scheme.SITE
        for need in needs
        if need.answer in {Answer.WHEEL, Answer.PROVIDED}
        for source in [need.source or ""]
    }
    crossing = sorted(soname for soname, scheme in there.items() if scheme is not home)
    if not crossing:
        return []
    message = (
        f"It is installed into the {home} scheme and needs {', '.join(crossing)} from another one; "
        "no run path leads from one to the other in every installation."
    )
    return [error(Code.CROSS_SCHEME, member, message, "Move both into the package, or repair with --relocate-data.")]


def _edit(
    member: str,
    facts: ElfFacts,
    needs: Sequence[Need],
    copies: Mapping[tuple[str, Scheme], Copy],
    options: RepairOptions,
    moved: Mapping[str, str],
    *,
    moved_from: str | None = None,
    leads: Sequence[str] = (),
    gone: Collection[Place] = (),
) -> tuple[ElfEdit, tuple[str, ...], tuple[str, ...]]:
    """Return the edit of one file apart from its run path, the run path that it must have, and the entries that go.

    *member* is where it will be, *leads* are directories to which its run path does not lead yet, and *gone* ones that
    hold nothing any more.
    """
    home = place_of(member)
    old = place_of(moved_from) if moved_from is not None else None
    wanted: list[str] = []
    replaced: list[tuple[str, str]] = []
    for need in needs:
        if need.answer is Answer.GRAFT and need.source is not None:
            copy = copies[need.source, home.scheme]
            wanted.append(place_of(copy.member).directory)
            if need.soname != copy.soname:
                replaced.append((need.soname, copy.soname))
        elif need.answer is Answer.PROVIDED and need.library is not None and need.provider is not None:
            if options.run_path and need.library.scheme is home.scheme is Scheme.SITE:
                wanted.extend(provider_directories(need.provider, need.library.file))
            if need.soname != need.library.soname:
                replaced.append((need.soname, need.library.soname))
        elif need.answer is Answer.WHEEL and need.source is not None:
            target = moved.get(need.source, need.source)
            # No run path that the build left leads to or from a place that the file was not built for.
            built = target == need.source and old is not None and old.scheme is home.scheme
            if not built and place_of(target).scheme is home.scheme:
                wanted.append(place_of(target).directory)
    path, dropped = run_path(home, facts, [*wanted, *leads], moved_from=old, gone=gone)
    edit = ElfEdit(
        replace_needed=tuple(dict.fromkeys(replaced)),
        remove_needed=tuple(need.soname for need in needs if need.answer is Answer.PYTHON),
    )
    return edit, path, dropped


def provider_directories(provider: Provider, file: str) -> list[str]:
    """Return the directories where the loader finds *file* of *provider* and what that needs indirectly.

    They are relative to site-packages.
    """
    directories = [posixpath.dirname(file)]
    if provider.manifest is not None:
        directories += [f"{require.import_name}/lib" for require in provider.manifest.requires]
    return directories


def _graft_action(
    given: RepairInput,
    options: RepairOptions,
    copies: Mapping[tuple[str, Scheme], Copy],
    copy: Copy,
    moved: Mapping[str, str],
) -> Graft:
    facts = given.outside.files[copy.path]
    needs = by_requester(given.needs).get(copy.path, ())
    # The run path that it has is about the place where it was.
    edit, path, _ = _edit(copy.member, replace(facts, rpath=(), runpath=()), needs, copies, options, moved)
    edit = replace(
        edit,
        soname=copy.soname if copy.soname != facts.soname else None,
        run_path=changed_run_path(place_of(copy.member), facts, path, given.libc),
        run_path_tag=given.libc.run_path_tag,
    )
    return Graft(member=copy.member, source=copy.path, sha256=facts.sha256, edit=edit, strip=options.strip, mode=0o755)


def _uneditable(grafts: Sequence[Graft], files: Mapping[str, ElfFacts]) -> list[Finding]:
    return [_bare(graft.source) for graft in grafts if graft.edit and not files[graft.source].sections]


def _bare(where: str) -> Finding:
    """Return the warning about a file that patchelf cannot edit; whether it must is known when it is written."""
    text = "This file has no section headers, so that only what fits into the bytes that it has can be edited."
    return warning(Code.BAD_ELF, where, text, "If the repair refuses it, use a copy that was not stripped of them.")
