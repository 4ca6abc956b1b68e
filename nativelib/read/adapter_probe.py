"""Load a library wheel's anchor and follow its adapters. Run in a process of its own, for what is loaded may crash.

The argument is a file with a question as JSON; the answer is printed as JSON. See :mod:`nativelib.read.adapter_check`.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

_FLAGS = os.RTLD_LOCAL | os.RTLD_NOW
# A negative number if 64 bits are read, and 3 if the lower 32 are.
_TELLTALE = -(1 << 32) + 3


def main() -> None:
    """Answer the question in the file that the command line names."""
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps(_answer(asked)))  # noqa: T201 - it is how a process answers


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        # Kept, though what is opened stays open: each is opened before those that need it.
        opened = [ctypes.CDLL(anchor, mode=_FLAGS) for anchor in asked["anchors"]]
    except OSError as problem:
        return {_blame(asked): str(problem)}
    return {"loaded": len(opened), "adapters": [_follow(adapter) for adapter in asked["adapters"]]}


def _blame(asked: dict[str, Any]) -> str:
    """Return whether it was an adapter that could not be loaded, or what it leads to."""
    try:
        for adapter in asked["adapters"]:
            ctypes.CDLL(adapter["target"], mode=_FLAGS)
    except OSError:
        return "unloadable"
    return "broken"


def _follow(asked: dict[str, Any]) -> dict[str, Any]:
    """Return which names of an adapter lead elsewhere, and the width of integers that a call shows."""
    adapter, target = (ctypes.CDLL(asked[key], mode=_FLAGS) for key in ("adapter", "target"))
    wrong = [
        name
        for name, function in asked["forwards"]
        if _destination(_address(adapter, name)) != _address(target, function)
    ]
    by_function = {function: name for name, function in asked["forwards"]}
    if not wrong and "openblas_get_config" in by_function:
        texts = [library[name] for library, name in _both(adapter, target, by_function, "openblas_get_config")]
        for text in texts:
            text.restype = ctypes.c_char_p
        wrong = [] if len({text() for text in texts}) == 1 else [by_function["openblas_get_config"]]
    return {"wrong": wrong, "width": None if wrong else _width(adapter, by_function)}


def _both(
    adapter: ctypes.CDLL, target: ctypes.CDLL, by_function: dict[str, str], function: str
) -> list[tuple[ctypes.CDLL, str]]:
    return [(adapter, by_function[function]), (target, function)]


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(library[name], ctypes.c_void_p).value or 0
    except AttributeError:
        return -1


def _destination(stub: int) -> int:
    """Return the address that the function at *stub* jumps to: what the loader wrote into its slot."""
    if stub <= 0:
        return 0
    code = ctypes.string_at(stub, 16)
    if code[:6] == b"\xf3\x0f\x1e\xfa\xff\x25":  # endbr64; jmp *slot(%rip)
        slot = stub + 10 + struct.unpack_from("<i", code, 6)[0]
    elif code[:4] == b"\x5f\x24\x03\xd5":  # bti c; adrp x16, slot; ldr x17, [x16, ...]
        _, adrp, load, _ = struct.unpack("<IIII", code)
        pages = (adrp >> 5 & 0x7FFFF) << 2 | adrp >> 29 & 3
        pages -= (pages & 1 << 20) << 1
        slot = (stub >> 12 << 12) + (pages << 12) + (load >> 10 & 0xFFF) * 8
    else:
        return 0
    return ctypes.c_uint64.from_address(slot).value


def _width(adapter: ctypes.CDLL, by_function: dict[str, str]) -> str | None:
    """Return the bits of an integer as the dot product of the target reads it, ``None`` if there is none.

    Of vectors of fewer elements than one the product is 0, by the definition of BLAS.
    """
    if "cblas_ddot" in by_function:
        dot, by_value = adapter[by_function["cblas_ddot"]], True
    elif "ddot_" in by_function:
        dot, by_value = adapter[by_function["ddot_"]], False
    else:
        return None
    dot.restype = ctypes.c_double
    x, y = (ctypes.c_double * 3)(1, 2, 3), (ctypes.c_double * 3)(4, 5, 6)
    count, step = ctypes.c_int64(_TELLTALE), ctypes.c_int64(1)
    if by_value:
        found = dot(count, x, step, y, step)
    else:
        found = dot(ctypes.byref(count), x, ctypes.byref(step), y, ctypes.byref(step))
    return {32.0: "32", 0.0: "64"}.get(found, f"unknown (the product was {found})")


if __name__ == "__main__":
    main()
