"""The files of the chat page, which are in the wheel, with the headers that they are served with."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import Struct

# What a file may be, by the end of its name. A file of another kind in the folder is a mistake.
KINDS: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
# Scripts, styles and connections come from this node alone. Nothing is inline, nothing is framed, and no text becomes
# markup by assignment (trusted types).
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "manifest-src 'self'",
        "connect-src {connect}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


# A comment of the page's scripts: a line that begins with it, or the end of one. No text in them has ` // ` inside.
_COMMENT: Final = re.compile(r"^(?:/[/*]|\*).*|\s+// .*")
# A plain text, which stays as it is, or signs with spaces around them.
_SPACED: Final = {
    "js": re.compile(r"""("[^"]*")| ?([=<>&|?{}();,]+|:(?= )) ?"""),
    "css": re.compile(r"""("[^"]*")| ?([{};,]+|:(?= )) ?"""),
}
_OTHER_TEXT: Final = re.compile(r"[\\'`/]")  # templates, regular expressions, escapes: such a line stays as it is


class PageFile(Struct, frozen=True):
    """One file of the page."""

    body: bytes
    kind: str
    etag: str


def made(body: bytes, ending: str) -> PageFile:
    """Return a file with this content, of the kind that such a name has."""
    return PageFile(body, KINDS[ending], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def load() -> Mapping[str, PageFile]:
    """Return the files by their paths in URLs. The page itself is `/`."""
    return dict(_walk(files("relay").joinpath("web", "page"), "/"))


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, PageFile]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
            continue
        name = "" if entry.name == "index.html" else entry.name
        ending = entry.name.rpartition(".")[2]
        yield f"{path}{name}", made(squeezed(entry.read_text(encoding="utf-8"), ending).encode(), ending)


def squeezed(text: str, ending: str) -> str:
    """Return a file without indentation, empty lines and, in scripts, comments and spaces that mean nothing.

    Those are a third of the page. Every line stays a line, so an error in the browser still says where it is.
    """
    lines = [line.strip() for line in text.splitlines()]
    if ending == "js":
        lines = [_COMMENT.sub("", line) for line in lines]
    if spaced := _SPACED.get(ending):
        lines = [line if _OTHER_TEXT.search(line) else spaced.sub(r"\1\2", line) for line in lines]
    return "".join(f"{line}\n" for line in lines if line)
