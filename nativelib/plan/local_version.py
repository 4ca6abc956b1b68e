"""The version of a published wheel that was changed: a local one, so that it never shares a name with the original.

Installers prefer ``2.4.6+nl.1a2b3c4d`` to ``2.4.6``, and ``==2.4.6`` accepts it (PEP 440, local version identifiers); a
build tag is ignored over an installed wheel. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from nativelib.facts.metadata import edit_version
from nativelib.facts.record import RECORD_NAMES
from nativelib.plan.serial import action_to_json
from nativelib.plan.values import Drop, Move, Patch, Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.wheel import WheelFacts, WheelName
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.values import Action

_OURS = re.compile(r"[+.]nl\.[0-9a-f]{8}$")
_DIGITS = 8


def local_version(version: str, digest: str) -> str:
    """Return *version* with a local part of ``nl.`` and 8 digits of the hex *digest*, in place of an earlier such one.

    The digits are the first eight in a row that hold a letter: a number would lose its leading zeros (PEP 440,
    normalisation).
    """
    starts = range(len(digest) - _DIGITS + 1)
    digits = next(part for i in starts if not (part := digest[i : i + _DIGITS]).isdigit())
    return labelled(version, f"nl.{digits}")


def published_version(version: str) -> str:
    """Return *version* as it was before :func:`local_version`; any other version as it is."""
    return _OURS.sub("", version)


def is_published(name: WheelName) -> bool:
    """Return whether a wheel of this *name* may have been published: no index takes the tag of one machine alone."""
    return not all(platform.startswith("linux_") for platform in name.platforms)


def unvendored_name(name: WheelName, version: str, digest: str, options: RepairOptions) -> WheelName:
    """Return *name* for a wheel of *version* that is un-vendored by a plan with *digest*."""
    if options.keep_version:
        return name
    if options.build_tag:
        return replace(name, build=options.build_tag)
    label = options.local_version
    new = labelled(version, label) if label else local_version(version, digest)
    return replace(name, version=new.replace("-", "_"))


def labelled(version: str, label: str) -> str:
    """Return *version* with the local part *label*, behind one that it has already."""
    plain = published_version(version)
    if plain.endswith((f"+{label}", f".{label}")) and "+" in plain:
        return plain
    return f"{plain}{'.' if '+' in plain else '+'}{label}"


def digest_of(what: Sequence[str], actions: Sequence[Action]) -> str:
    """Return the digest of *what* a result is made from and of *actions*, as hex: the same wherever the inputs lie."""
    whats = [{key: value for key, value in action_to_json(action).items() if key != "source"} for action in actions]
    return hashlib.sha256(json.dumps([*what, *whats], sort_keys=True).encode()).hexdigest()


def with_version(actions: Sequence[Action], wheel: WheelFacts, version: str) -> tuple[str, tuple[Action, ...]]:
    """Return the ``.dist-info`` directory of *version*, and *actions* with all that moves there and into ``.data``."""
    if version == wheel.name.version:
        return wheel.dist_info, tuple(actions)
    name = wheel.dist_info.removesuffix(".dist-info").rpartition("-")[0]
    dist_info = f"{name}-{version}.dist-info"
    moves = {wheel.dist_info: dist_info, wheel.data_dir: f"{name}-{version}.data"}

    def moved(member: str) -> str:
        top, slash, rest = member.partition("/")
        return f"{moves.get(top, top)}{slash}{rest}"

    out: list[Action] = []
    settled: set[str] = set()
    metadata = f"{wheel.dist_info}/METADATA"
    if not any(action.member == metadata for action in actions):
        actions = (*actions, Write(member=metadata, text=wheel.metadata))
    for action in actions:
        new = moved(action.member)
        settled.add(action.renamed_from or action.member if isinstance(action, Patch) else action.member)
        if isinstance(action, Drop) or new == action.member:
            out.append(action)
        elif isinstance(action, Patch):
            out.append(replace(action, member=new, renamed_from=action.renamed_from or action.member))
        else:
            if isinstance(action, Write) and action.member == metadata:
                out.append(replace(action, member=new, text=edit_version(action.text, version)))
            else:
                out.append(replace(action, member=new))
            if wheel.member(action.member) is not None:
                out.append(Drop(member=action.member))
    signatures = {f"{wheel.dist_info}/{file}" for file in RECORD_NAMES}
    for member in wheel.members:
        new = moved(member.name)
        if new == member.name or member.name in settled:
            continue
        signed = member.name in signatures
        out.append(Drop(member=member.name) if signed else Move(member=new, renamed_from=member.name))
    return dist_info, tuple(out)
