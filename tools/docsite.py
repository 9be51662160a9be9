"""Build the site of docs/ in build/site (`make docs`), and check it as it will be served: no link may be broken, and
nothing may be loaded from another host.

The pages must also work in the repository without a site, with CONTRIBUTING.md and others in the root, and links to
files of the repository. So the site is built from a copy, in which the links are changed to their targets in the site.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = ROOT / "build" / "docs"
SITE: Final = ROOT / "build" / "site"
# Pages in the root, and their names in the site. On file systems that ignore case, SECURITY.md would overwrite
# docs/security.md.
FROM_ROOT: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
}
_TARGET: Final = re.compile(r"(?<=\]\()[^()\s]+(?=\))")
_CODE: Final = re.compile(r"^( *)(```+|~~~+).*?^\1\2[`~]*$|(?<!`)(`+)(?!`).*?(?<!`)\3(?!`)", re.DOTALL | re.MULTILINE)
_LIST_ITEM: Final = re.compile(r" *(?:[-*]|\d+\.) ")
_VERBATIM: Final = {"code", "pre", "script", "style"}
_MARKDOWN: Final = re.compile(r"^(?:[-*] .*|\|.*\||```.*|#+ .*)$|\]\(", re.MULTILINE)
# The elements that load something with the page. A link is only followed when the reader clicks it.
_LOADING: Final = {"script", "link", "img", "iframe", "source", "object", "embed", "video", "audio"}


def without_code(text: str) -> str:
    """Return the text with code replaced by spaces, at the same length, because links in code don't count."""
    return _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)


def targets(text: str) -> Iterator[re.Match[str]]:
    """Yield the targets of all links and pictures in a page of Markdown."""
    yield from _TARGET.finditer(without_code(text))


def is_elsewhere(target: str) -> bool:
    return bool(urlsplit(target).scheme or urlsplit(target).netloc)


def place(path: Path) -> PurePosixPath:
    """Return the place of a repository's file in the site."""
    inside = path.relative_to(ROOT)
    if inside.parts[0] == "docs":
        return PurePosixPath(*inside.parts[1:])
    return PurePosixPath(FROM_ROOT.get(str(inside), f"files/{inside}"))


def assemble() -> None:
    """Make the copy of the pages from which the site is built."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    for page in sorted((ROOT / "docs").rglob("*.md")):
        _copy(page)
    for name in FROM_ROOT.keys() - {"README.md"}:
        _copy(ROOT / name)


def _copy(page: Path) -> None:
    text = page.read_text()
    moved = []
    end = 0
    for target in targets(text):
        moved += [text[end : target.start()], _moved(page, target[0])]
        end = target.end()
    where = PAGES / place(page)
    where.write_text(_with_lists_apart("".join([*moved, text[end:]])))


def _moved(page: Path, target: str) -> str:
    """Return a link's target in the site, and copy the target's file if it is no page."""
    path, mark, anchor = target.partition("#")
    if is_elsewhere(target) or not path:
        return target
    file = (page.parent / path).resolve()
    where = place(file)
    if where.parts[0] == "files":
        (PAGES / where).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, PAGES / where)
    return os.path.relpath(where, place(page).parent) + mark + anchor


def _with_lists_apart(text: str) -> str:
    """Adapt lists to the site's Markdown, which needs an empty line before them and four columns for a nested list."""
    lines: list[str] = []
    plain = without_code(text).splitlines()
    for number, line in enumerate(text.splitlines()):
        before = plain[number - 1] if number else ""
        item = _LIST_ITEM.match(plain[number])
        if item and before.strip() and not before.startswith(" ") and not _LIST_ITEM.match(before):
            lines.append("")
        lines.append(f"  {line}" if item and line.startswith("  ") else line)
    return "\n".join(lines) + "\n"


class Page(HTMLParser):
    """The anchors, links and loaded files of a built page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {""}
        self.leads: list[str] = []
        self.loads: list[str] = []
        self.left_over: list[str] = []  # lines of Markdown that were not rendered
        self._code = 0  # the number of open elements with verbatim text
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self.anchors |= {told.get("id") or "", told.get("name") or ""}
        self._code += tag in _VERBATIM
        for key in "href", "src", "data":
            if target := told.get(key):
                self.leads.append(target)
                if tag in _LOADING:
                    self.loads.append(target)

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in _VERBATIM

    def handle_data(self, text: str) -> None:
        if not self._code:
            self.left_over += _MARKDOWN.findall(text)


def faults(site: Path) -> list[str]:
    """Return the faults of a built site: broken links, files loaded from other hosts, and Markdown not rendered."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name} loads {target}" for target in page.loads if is_elsewhere(target)]
        found += [f"{name} shows the Markdown of {line!r}" for line in page.left_over]
        for target in page.leads:
            if is_elsewhere(target):
                continue
            there, _, anchor = unquote(target).partition("#")
            file = (path.parent / there).resolve() if there else path
            if file.is_dir():
                file /= "index.html"
            if not file.is_file() or (file in pages and anchor not in pages[file].anchors):
                found.append(f"{name} leads to {target}, which isn't there")
    for sheet in sorted(site.rglob("*.css")):
        if re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text()):
            found.append(f"{sheet.relative_to(site)} loads something from another host")
    return found


def main() -> int:
    assemble()
    builder = Path(sys.executable).with_name("zensical")
    built = subprocess.run([builder, "build", "--clean", "--strict"], cwd=ROOT, check=False)
    if built.returncode:
        return built.returncode
    found = faults(SITE)
    for fault in found:
        print(f"docs: {fault}", file=sys.stderr)
    if not found:
        print(f"docs: open {(SITE / 'index.html').relative_to(ROOT)} in a browser")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
