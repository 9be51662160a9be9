"""Escapes a peer's text for a terminal: characters that could move the cursor or reverse the text become visible."""

from typing import Final

# C0, DEL and C1 control terminals; the bidi controls (Unicode UAX #9) change the order in which text is read; some
# programs take U+2028/9 for line ends. Surrogates can't be encoded in UTF-8, so they could never be sent. Zero-width
# joiners stay, because emoji and several scripts need them.
_UNSAFE: Final = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *range(0x200E, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
)
# This table is for `str.translate`, which takes a third of the time of a search on text made only of these characters.
# The event loop waits for it.
_SHOWN: Final = {point: f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" for point in _UNSAFE}


def escape(text: str) -> str:
    r"""Return `text` on one line and safe to show: unsafe characters become `\xNN` below U+0100, otherwise `\uNNNN`."""
    # The check makes plain text several times as fast. Unprintable text may still be safe (emoji sequences).
    return text if text.isprintable() else text.translate(_SHOWN)
