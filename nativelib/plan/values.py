"""The Plan: what will be done to a wheel, as an immutable value that can be shown, saved and applied.

There is at most one action for each output member; a rename is a field of the action. Members of the source that no
action names are copied unchanged. ``RECORD`` never stands in a plan: it is derived while writing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.elf import ElfEdit, Machine
    from nativelib.findings import Finding

SCHEMA = 1
"""Version of the plan's JSON."""

HOOK_BEGIN = "# >>> nativelib: loads shared libraries; generated, do not edit between the two marks"
"""First line of a generated block in ``_distributor_init.py``."""

HOOK_END = "# <<< nativelib"
"""Last line of a generated block in ``_distributor_init.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Edit an ELF member of the source."""

    member: str
    """Output member."""
    edit: ElfEdit
    """What changes in the dynamic section."""
    renamed_from: str | None = None
    """Member of the source, where the name changes."""
    strip: bool = False
    """Whether symbols that loading does not need are removed first."""
    kind: Literal["patch"] = "patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Render a template, perhaps between two pieces of text that were there."""

    member: str
    template: str
    """Path below ``templates/``."""
    values: Mapping[str, Any]
    """What the template gets: JSON values only."""
    before: str = ""
    """Text of the source in front, decoded as UTF-8 with ``surrogateescape``."""
    after: str = ""
    """Text of the source behind, decoded in the same way."""
    newline: str = "\n"
    """Line ending of the rendered part."""
    mode: int = 0o644
    kind: Literal["generate"] = "generate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Write a text whose content is known: ``METADATA``, ``WHEEL``, an edited ``__init__.py``."""

    member: str
    text: str
    """Content, to be encoded as UTF-8 with ``surrogateescape``."""
    mode: int = 0o644
    kind: Literal["write"] = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graft:
    """Copy a file from outside into the wheel, perhaps edited: a library, a header, a licence."""

    member: str
    source: str
    """Absolute path of the file."""
    sha256: str
    """SHA-256 of that file, as hex; another content is refused."""
    edit: ElfEdit | None = None
    strip: bool = False
    mode: int = 0o644
    kind: Literal["graft"] = "graft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assemble:
    """Write an ELF file without code: an anchor, or a stub that leads from one soname to another."""

    member: str
    machine: Machine
    soname: str
    needed: tuple[str, ...]
    run_path: tuple[str, ...] = ("$ORIGIN",)
    run_path_tag: str = "rpath"
    """As in :class:`~nativelib.facts.elf.ElfEdit`."""
    mode: int = 0o755
    kind: Literal["assemble"] = "assemble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapt:
    """Write an adapter: a library whose functions jump to those of another one, which have other names."""

    member: str
    machine: Machine
    soname: str
    needed: tuple[str, ...]
    """The library that has the functions."""
    forwards: tuple[tuple[str, str], ...]
    """Pairs of a function's name and of the one that it jumps to, sorted."""
    run_path: tuple[str, ...] = ("$ORIGIN",)
    run_path_tag: str = "rpath"
    """As in :class:`~nativelib.facts.elf.ElfEdit`."""
    mode: int = 0o755
    kind: Literal["adapt"] = "adapt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Write a manifest; digests and sizes of the libraries that it names are filled in once they are written."""

    member: str
    document: Mapping[str, Any]
    """The manifest's JSON."""
    mode: int = 0o644
    kind: Literal["describe"] = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Give a member of the source another name, without touching its content."""

    member: str
    """Output member."""
    renamed_from: str
    """Member of the source."""
    kind: Literal["move"] = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Leave a member of the source out."""

    member: str
    kind: Literal["drop"] = "drop"


Action: TypeAlias = Patch | Generate | Write | Graft | Assemble | Adapt | Describe | Move | Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Provided:
    """One need that a provider answers."""

    soname: str
    """The name as the consumer had it."""
    provider: str
    """Normalised distribution name."""
    written: str
    """``DT_NEEDED`` that is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grafted:
    """One library that was copied in."""

    soname: str
    """Its name before."""
    path: str
    """Member in the output."""
    source: str
    """File that it came from."""
    package: str | None = None
    """purl of the system's package that owned the file, if one did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a plan comes to, for people and for JSON."""

    tags: tuple[str, ...] = ()
    """Platform tags of the output, aliases included."""
    requires: tuple[str, ...] = ()
    """Whole ``Requires-Dist`` values for providers, unchanged ones too."""
    provided: tuple[Provided, ...] = ()
    grafted: tuple[Grafted, ...] = ()
    removed: tuple[str, ...] = ()
    """Members left out."""
    hooks: tuple[str, ...] = ()
    """Members that load providers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done. Bound to its inputs by SHA-256."""

    source: str | None
    """Absolute path of the wheel that is repaired, or ``None`` for a wheel made from nothing."""
    source_sha256: str | None
    """Its SHA-256."""
    output: str
    """File name of the result."""
    dist_info: str
    """Name of the ``.dist-info`` directory, where ``RECORD`` goes."""
    actions: tuple[Action, ...]
    summary: Summary = field(default_factory=Summary)
    findings: tuple[Finding, ...] = ()
    """Warnings and notes. A plan with errors is never made."""
    level: int = 6
    """Deflate level of new and changed members."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Refuse two actions for one member."""
        twice = [name for name, count in Counter(a.member for a in self.actions).items() if count > 1]
        if twice:
            raise ValueError(f"more than one action for {', '.join(sorted(twice))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was done."""

    output: str
    """Absolute path of the result."""
    sha256: str
    """Its SHA-256."""
    size: int
    """Its size in bytes."""
    changed: tuple[str, ...]
    """Members that are not raw copies of the source's."""
    patchelf: str
    """Version of patchelf that was used, or empty."""
