"""Libraries that are copied in because code opens them at run time, and how that code finds them. Pure.

ELF code that opens a library by its name finds it by the run path of the file that calls (dlopen(3)). Python code does
not: there the hook opens an anchor that needs the libraries, because glibc and musl both take a library that is loaded
under a name for what is opened by that name.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from nativelib.facts.elf import MACHINES
from nativelib.facts.hint import How
from nativelib.facts.manifest import ANCHOR
from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code, Finding, warning
from nativelib.plan.copies import copy_directory
from nativelib.plan.dist_info import earlier_note
from nativelib.plan.hook import hooked_package, package_texts
from nativelib.plan.included import ANCHOR_SONAME
from nativelib.plan.values import Assemble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.outside import Included
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.copies import Copy
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.options import RepairOptions


def callers(given: RepairInput) -> dict[str, tuple[Included, ...]]:
    """Return the ELF members that open included libraries by name, as far as is known, with these libraries.

    Where nothing says who opens one, any extension module may.
    """
    extensions = [name for name, facts in given.wheel.elf.items() if facts.python_extension]
    out: dict[str, list[Included]] = {}
    for item in given.included:
        known = _hinted(given, item, python=False)
        anyone = [] if known or _hinted(given, item, python=True) else extensions
        for member in (*known, *anyone):
            out.setdefault(member, []).append(item)
    return {member: tuple(items) for member, items in out.items()}


def _hinted(given: RepairInput, item: Included, *, python: bool) -> list[str]:
    """Return the members that name *item*: Python sources, or ELF files."""
    hints = [hint for hint in given.wheel.opened if (hint.how is How.PYTHON) is python]
    stem = item.name.partition(".so")[0]
    # find_library("foo"), which stands for every version
    exact = {item.name, f"{stem}.so"} if python else {item.name}
    found = [hint.member for hint in hints if hint.name in exact and (python or hint.member in given.wheel.elf)]
    return list(dict.fromkeys(found))


def roots(given: RepairInput, options: RepairOptions, moved: Mapping[str, str]) -> list[tuple[str, Scheme]]:
    """Return path and scheme of each copy of an included library: where its callers are, and the hook's.

    *moved* maps old members to new ones.
    """
    out = [(item.path, Scheme.SITE) for item in given.included] if anchors(given, options) else []
    for member, items in callers(given).items():
        out += [(item.path, place_of(moved.get(member, member)).scheme) for item in items]
    out += [(item.path, Scheme.SITE) for item in given.included if item.path not in {path for path, _ in out}]
    return list(dict.fromkeys(out))


def leads(
    given: RepairInput, copies: Mapping[tuple[str, Scheme], Copy], moved: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return for each caller the directory of its scheme to which a run path must lead."""
    out: dict[str, list[str]] = {}
    for member, items in callers(given).items():
        copy = copies.get((items[0].path, place_of(moved.get(member, member)).scheme))
        if copy is not None:
            out[member] = [place_of(copy.member).directory]
    return out


def outermost_packages(wheel: WheelFacts) -> list[str]:
    """Return the ``__init__.py`` of each regular package that no other regular package holds."""
    texts = package_texts(wheel)
    found = (hooked_package(name, texts) for name in texts if posixpath.basename(name) == "__init__.py")
    return sorted({init for init in found if init is not None})


def earlier_included(wheel: WheelFacts) -> dict[str, str]:
    """Return what an earlier repair included: name to member."""
    noted = [item for item in earlier_note(wheel).get("included", []) if isinstance(item, dict)]
    named = {str(item["name"]): str(item["path"]) for item in noted if {"name", "path"} <= item.keys()}
    return {name: member for name, member in named.items() if wheel.member(member) is not None}


def included_members(given: RepairInput, copies: Mapping[tuple[str, Scheme], Copy]) -> dict[str, str]:
    """Return the member of each included library by its name, those of an earlier repair among them."""
    names = {item.path: item.name for item in given.included}
    # A later repair looks for the anchor beside the copy in site-packages, if there is one.
    found = sorted(copies.items(), key=lambda item: item[0][1] is Scheme.SITE)
    fresh = {names[path]: copy.member for (path, _), copy in found if path in names}
    return {**earlier_included(given.wheel), **fresh}


def anchors(given: RepairInput, options: RepairOptions) -> dict[str, tuple[str, ...]]:
    """Return the anchors that hooks open: member to the names that it loads; those of an earlier repair, too.

    None is made if ELF files alone open the libraries, since a library that is only opened when it is needed may fail
    to load where it is not; nor without a package that could open it.
    """
    out: dict[str, list[str]] = {}
    for name, member in earlier_included(given.wheel).items():
        out.setdefault(posixpath.join(posixpath.dirname(member), ANCHOR), []).append(name)
    own = posixpath.join(copy_directory(given.wheel, Scheme.SITE, options), ANCHOR)
    for item in given.included:
        out.setdefault(own, []).append(item.name)
    wanted = {own} if any(_from_python(given, item) for item in given.included) else set()
    wanted |= {anchor for anchor in out if given.wheel.member(anchor) is not None}
    return {anchor: tuple(sorted(set(names))) for anchor, names in out.items() if anchor in wanted}


def _from_python(given: RepairInput, item: Included) -> bool:
    known = bool(_hinted(given, item, python=False))
    return bool(outermost_packages(given.wheel)) and (not known or bool(_hinted(given, item, python=True)))


def files(given: RepairInput) -> list[str]:
    """Return what is included: paths of files outside, and the members of an earlier repair."""
    return [*(item.path for item in given.included), *earlier_included(given.wheel).values()]


def anchor_values(given: RepairInput, options: RepairOptions, init: str) -> list[dict[str, Any]]:
    """Return what the hook beside *init* gets for each anchor: its path from there, and what it loads."""
    home = place_of(init).directory
    found = anchors(given, options).items()
    return [{"path": posixpath.relpath(place_of(a).path, home), "sonames": list(names)} for a, names in found]


def anchor_actions(given: RepairInput, options: RepairOptions) -> list[Assemble]:
    """Return the anchor over what is included now and was earlier, if there is anything new."""
    if not given.included:
        return []
    own = posixpath.join(copy_directory(given.wheel, Scheme.SITE, options), ANCHOR)
    soname = f"{ANCHOR_SONAME}{given.wheel.name.normalized}-{given.wheel.name.version}"
    machine = MACHINES[given.architecture]
    found = anchors(given, options).get(own)
    tag = given.libc.run_path_tag
    return [Assemble(member=own, machine=machine, soname=soname, needed=found, run_path_tag=tag)] if found else []


def unreached(given: RepairInput, options: RepairOptions) -> list[Finding]:
    """Return a warning for each included library that nothing leads to."""
    if anchors(given, options) or not given.included:
        return []
    reached = {item for items in callers(given).values() for item in items}
    text = "No package of the wheel can load it first, and no ELF file is known to open it."
    remedy = "Put the code that opens it into a package, or open it by its path."
    return [warning(Code.NO_HOOK_POSSIBLE, i.name, text, remedy) for i in given.included if i not in reached]
