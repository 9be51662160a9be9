"""This module makes text of others safe to print: control characters are shown, so that the terminal ignores them."""

import re

# These are the C0 and C1 controls (CSI, OSC and DCS begin with them in either form) except TAB, and LF, which `lines`
# handles; bidi controls, which reorder the text around them; the line and paragraph separators; and lone surrogates,
# which can't be encoded. Zero-width joiners stay: emoji and many scripts need them.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escape(text: str) -> str:
    r"""Return the text with each character that could control a terminal as `\xNN` or `\uNNNN`. LF and TAB stay."""
    return _HOSTILE.sub(_shown, text)


def lines(text: str) -> list[str]:
    """Return the lines of a text, each safe to print; at least one. A CR before an LF belongs to the line end."""
    return escape(text.replace("\r\n", "\n")).split("\n")


def word(text: str) -> str:
    r"""Return a name or another short text, safe to print on one line: an LF is shown as `\x0a`."""
    return escape(text).replace("\n", r"\x0a")


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
