"""How wide text is in a picture, and how to make it fit. No font is asked: viewers have different ones."""

from __future__ import annotations

FONTS = "Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
"""What pictures ask for; the widths below hold for each of the named fonts."""

# Advance widths in thousandths of the font size, rounded up to 25: the larger of those that DejaVu Sans 2.37 and
# Liberation Sans 2.1, which has Arial's, have in their hmtx tables.
_WIDTHS = {
    275: "'",
    300: "Iijl",
    325: " ,.",
    350: "/:;\\|",
    375: "-f",
    400: "()[]t",
    425: "!r",
    475: '"',
    500: "*J`",
    525: "sz",
    550: "c",
    575: "?L_",
    600: "kvxy",
    625: "FTaeo",
    650: "$0123456789bdghnpqu{}",
    675: "EKPSY",
    700: "ABVXZ",
    725: "CR",
    750: "NU",
    775: "DH",
    800: "&GOQ",
    825: "w",
    850: "#+<=>^~",
    875: "M",
    975: "%m",
    1000: "W",
    1025: "@",
}
_WIDTH_OF = {sign: width for width, signs in _WIDTHS.items() for sign in signs}
_WIDEST = 1100
"""For all other signs: ideographs are as wide as high, and few are wider."""


def text_width(text: str, size: float) -> float:
    """Return how wide *text* is at most, in the fonts of :data:`FONTS`."""
    return sum(_WIDTH_OF.get(sign, _WIDEST) for sign in text) * size / 1000


def fitted(text: str, size: float, room: float) -> str:
    """Return *text*, shortened in the middle if it is wider than *room*: both ends of a file's name tell something."""
    if text_width(text, size) <= room:
        return text
    low, high = 0, len(text) - 1  # signs that are kept
    while low < high:
        kept = (low + high + 1) // 2
        if text_width(_without_middle(text, kept), size) <= room:
            low = kept
        else:
            high = kept - 1
    return _without_middle(text, low)


def _without_middle(text: str, kept: int) -> str:
    head = kept // 2
    tail = kept - head
    return f"{text[:head]}…{text[len(text) - tail :]}"
