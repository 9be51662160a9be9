"""A peer's words are hostile to a terminal: what could move the cursor or turn the writing around is shown as text."""

from typing import Final

# C0, DEL and C1 drive terminals; the bidi controls (Unicode UAX #9) make text read as what it isn't; U+2028/9 are
# line ends to some programs. Surrogates can't be written as UTF-8, so that nothing made of them can be sent.
# Zero-width joiners stay: emoji and several scripts need them.
_UNSAFE: Final = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *range(0x200E, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
)
# For `str.translate`: a text made wholly of these takes it a third of what a search takes, and the loop waits for it.
_SHOWN: Final = {point: f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" for point in _UNSAFE}


def escape(text: str) -> str:
    r"""`text` on one line and safe to show: unsafe characters as `\xNN` below U+0100, else as `\uNNNN`."""
    # Several times as fast on plain text; what isn't printable need not be unsafe (emoji sequences).
    return text if text.isprintable() else text.translate(_SHOWN)
