"""One piece of a deflate stream: compressed by libdeflate, and ended so that the next piece can follow it.

libdeflate makes whole streams only, each from one buffer, but a member is one stream and is made in pieces, so that
memory is bounded and all cores work. A whole stream becomes a piece when the last of its blocks no longer says that it
is the final one (RFC 1951, 3.2.3), and an empty stored block fills its last byte. Nothing says where that block begins.
But its header can be seen while the stream is inflated in small steps: code lengths are input without output. What is
found there is proven by inflating it, and what cannot be found is compressed by zlib instead.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import deflate

from nativelib.facts.zipformat import RAW_DEFLATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Inflater: TypeAlias = zlib._Decompress

_REACH: Final = 320_000
"""More than any block of libdeflate holds: the limit is 300,000 bytes, and the last one may be 5,000 longer."""
_STRIDE: Final = 4096
_STEPS: Final = (48, 12)
"""A step that lies in a header gives no content, others do: a code with its extra bits has 6 bytes at most. Most
headers have 60 to 100 bytes, and those of 95 contain a long step; the short steps are for what the long ones missed."""
_JOINTS: Final = (b"\0\0\xff\xff", b"\0\0\0\xff\xff")
"""The rest of an empty stored block whose three header bits are in the byte before, and of one where they are not."""
_EMPTY_END: Final = b"\3\0"


class _Point(NamedTuple):
    """A place on the way through a stream."""

    inflater: Inflater
    """As it is there; to be copied before it goes on."""
    at: int
    """Bytes of the stream before it."""
    done: int
    """Bytes of the content that they gave."""


def deflate_piece(data: memoryview, level: int, *, final: bool) -> bytes | bytearray:
    """Return *data* as the next piece of a raw deflate stream, which ends with it if it is *final*.

    The piece depends on the data, the *level* from 0 to 9, and the releases of libdeflate and zlib, but not on the
    processor: libdeflate computes in whole numbers, and what it does in other ways on some processors are checksums.
    """
    stream = deflate.deflate_compress(data, level)
    if final or _reopen(stream, data):
        return stream
    engine = zlib.compressobj(level, zlib.DEFLATED, RAW_DEFLATE)
    return engine.compress(data) + engine.flush(zlib.Z_SYNC_FLUSH)


def _reopen(stream: bytearray, data: memoryview) -> bool:
    """Change *stream*, a whole one of *data*, so that it can be continued; return False if that was not possible."""
    points = list(_points(stream, max(0, len(data) - _REACH)))
    return any(_reopen_at(point, stream, data) for step in _STEPS if (point := _last_header(stream, points, step)))


def _reopen_at(point: _Point, stream: bytearray, data: memoryview) -> bool:
    """Change *stream*, if its last block begins just behind *point*; return whether that is so."""
    rest = bytes(data[point.done :])
    # The byte at this point completes a match or literal; 15 bits at most end the block, and the header follows.
    bits = int.from_bytes(stream[point.at : point.at + 4], "little")
    for bit in range(1, 24):
        if bits >> bit & 0b111 != 0b101:  # final, with codes of its own
            continue
        tail = bytearray(stream[point.at :])
        tail[bit // 8] ^= 1 << bit % 8
        if joint := _proven_joint(point.inflater.copy(), tail, rest):
            stream[point.at :] = tail + joint
            return True
    return False


def _proven_joint(inflater: Inflater, tail: bytearray, rest: bytes) -> bytes:
    """Return what has to follow *tail*, if that gives *rest* and does not end the stream; else nothing."""
    try:
        if inflater.decompress(tail) != rest or inflater.eof:
            return b""
    except zlib.error:
        return b""
    for joint in _JOINTS:
        try:
            after = inflater.copy()
            if not after.decompress(joint + _EMPTY_END) and after.eof and not after.unused_data:
                return joint
        except zlib.error:
            continue
    return b""


def _last_header(stream: bytearray, points: Sequence[_Point], step: int) -> _Point | None:
    """Return the point before the last byte that gives content in front of the last header with codes of its own.

    It is looked for behind each of *points*, from the last one back, in steps of *step* bytes.
    """
    for start in reversed(points):
        inflater, speaking, found = start.inflater.copy(), -1, -1
        for at in range(start.at, min(start.at + _STRIDE + 2 * step, len(stream)), step):
            if inflater.decompress(stream[at : at + step]):
                speaking = at
            elif speaking >= 0 and not inflater.eof:
                found = speaking
        if found >= 0:
            return _last_speaking(stream, start, range(found, found + step))
    return None


def _last_speaking(stream: bytearray, start: _Point, step: range) -> _Point:
    """Return the point before the last byte in *step* that gives content; *start* is somewhere before all of them."""
    inflater = start.inflater.copy()
    done = start.done + len(inflater.decompress(stream[start.at : step.start]))
    last = start
    for at in step:
        before = _Point(inflater.copy(), at, done)
        if out := inflater.decompress(stream[at : at + 1]):
            last = before
            done += len(out)
    return last


def _points(stream: bytearray, skipped: int) -> Iterator[_Point]:
    """Yield points of *stream* at regular distances, without those that lie in the first *skipped* bytes of content."""
    inflater, done = zlib.decompressobj(RAW_DEFLATE), 0
    for at in range(0, len(stream), _STRIDE):
        if done >= skipped:
            yield _Point(inflater.copy(), at, done)
        done += len(inflater.decompress(stream[at : at + _STRIDE]))
