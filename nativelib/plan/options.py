"""What the user asked of a repair. Frozen values; parsing them is the command line's work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nativelib.plan.requirement import MARKER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.policy.values import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """One ``--include GLOB[=PATH]``."""

    glob: str
    """Names of libraries that code opens."""
    path: str | None = None
    """File or directory that they are taken from, in place of the search path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """The options of ``nativelib repair`` that decide something; design and contract say what each does."""

    excludes: tuple[str, ...] = ()
    """``--exclude``: globs over sonames and paths that are neither grafted nor missed."""
    includes: tuple[Include, ...] = ()
    """``--include``: libraries that are copied in although no file needs them."""
    skips: tuple[str, ...] = ()
    """``--skip``: globs over members that are not read as ELF files, and stay as they are."""
    replace: frozenset[str] = frozenset()
    """``--replace``: sonames for which a provider beats the wheel's own file."""
    allow_pure: bool = False
    """``--allow-pure-python-wheel``: a wheel without ELF files is no reason to complain, whatever its tags are."""
    plat: str = "auto"
    """``--plat``: a platform tag, or ``auto`` for the best one."""
    policies: tuple[Policy, ...] = ()
    """``--policy``: the user's own policy, once for each architecture; it counts if ``plat`` names it."""
    only_plat: bool = False
    """``--only-plat``: not also a better tag than ``plat``."""
    update_tags: bool = True
    """``--no-update-tags`` clears it."""
    lib_sdir: str = ".libs"
    """``--lib-sdir``: suffix of the directory for grafts."""
    strip: bool = False
    pin: str = "auto"
    """``--pin``: how the requirement's version is chosen."""
    marker: str = MARKER
    """``--marker``: environment marker of the requirement."""
    run_path: bool = True
    """``--no-run-path`` clears it: no entry for providers."""
    graft: bool = True
    """``--no-graft`` clears it: what would be grafted is an error."""
    rename: bool = True
    """``--no-rename`` clears it: copies keep their sonames."""
    require_abi: Mapping[str, str] = field(default_factory=dict)
    """``--require-abi KEY=VALUE``."""
    ignore_isa: bool = False
    """``--disable-isa-ext-check``."""
    loader_modules: bool = False
    """``--loader-modules``: extensions without a regular package get a module in front that loads their libraries."""
    relocate_data: bool = False
    """``--relocate-data``: libraries of the data scheme move into site-packages where a need crosses."""
    system_hints: Mapping[str, str] = field(default_factory=dict)
    """``--system-hint SONAME=TEXT``: what the hook says if the system lacks a library that is left to it."""
    build_tag: str = ""
    """``--build-tag``: a published wheel that is un-vendored gets it, in place of a local version."""
    local_version: str = ""
    """``--local-version``: it gets this one, which the other wheels of its release can have, too."""
    keep_version: bool = False
    """``--keep-version``: it gets neither."""
    strict: bool = False
    """``--strict``: warnings are errors."""
    level: int = 6
    """``-z``: deflate level."""
