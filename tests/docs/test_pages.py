"""Everything that the pages mention exists: links, anchors, pages of the site, `make` targets, commands and options."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer

from pairchat.cli import app as pairchat_app
from relay.cli import app as relay_app
from tests.support.rows import each_row
from tools.docsite import FROM_ROOT, place, targets, without_code
from tools.docsite import is_elsewhere as elsewhere

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in FROM_ROOT)])
CODE = re.compile(r"^ *```.*?\n(.*?)^ *```|(?<!`)`([^`\n]+)`(?!`)", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"[\w./-]+\.(?:py|lua|md|toml|yml|json|conf|txt|c)")
# Pages whose file names are those of the repository. Other pages also name files of their readers.
OWN_FILES = ("CONTRIBUTING.md", "architecture.md", "guarantees.md", "security.md", "performance.md", "scaling.md")
# Options of other programs.
FOREIGN = {"--quick"}


def of_page(page: Path) -> str:
    return str(page.relative_to(ROOT))


def slug(heading: str) -> str:
    """Return the anchor of a heading."""
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    plain = without_code(text).splitlines()
    headings = [line for line, bare in zip(text.splitlines(), plain, strict=True) if re.match(r"#+ ", bare)]
    return {slug(heading.lstrip("# ")) for heading in headings}


def code(page: Path) -> Iterator[str]:
    """Yield every line of code in a page."""
    for match in CODE.finditer(page.read_text(encoding="utf-8")):
        yield from (match[1] or match[2]).splitlines()


def commands(line: str, program: str) -> Iterator[list[str]]:
    """Yield the words of each call of the program in a line of code."""
    for part in re.split(r"[|;&<>]|\s#", line.removeprefix("$ ").strip().removeprefix(".venv/bin/")):
        if part.strip().startswith(f"{program} "):
            yield shlex.split(part.replace("'", "").replace('"', ""))


@cache
def all_files() -> str:
    """Return all files, one a line, with a slash before and after each folder."""
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()} | {".git"}
    folders = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ignored]
    inside = (path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.*"))
    return "".join(f"/{name}\n" for name in (*inside, *(path.name for path in ROOT.iterdir())))


def is_there(name: str) -> bool:
    """Return whether the file exists. A page may omit folders that its readers know already."""
    return f"/{name}\n" in all_files()


def options(command: Any) -> set[str]:
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}


@cache
def known() -> dict[tuple[str, ...], set[str]]:
    """Return the options of each command."""
    relay: Any = typer.main.get_command(relay_app)
    found = {("relay", name): options(command) for name, command in relay.commands.items()}
    return found | {("relay",): options(relay), ("pairchat",): options(typer.main.get_command(pairchat_app))}


@each_row("page", PAGES, ids=of_page)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in targets(page.read_text(encoding="utf-8")):
        path, _, anchor = target[0].partition("#")
        if elsewhere(target[0]):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target[0]
        assert not anchor or anchor in anchors(file), target[0]


@each_row("page", [page for page in PAGES if page.name in OWN_FILES], ids=of_page)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = [line for line in code(page) if FILE.fullmatch(line)]
    assert named
    assert [name for name in named if not is_there(name)] == []


def test_every_module_is_in_the_table_of_layers() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "relay"
    there = {path.relative_to(package).parts[0] for path in package.rglob("*.py")} - {"__init__.py", "__main__.py"}
    assert {name for name in there if not re.search(rf"`relay/{re.escape(name)}/?`", text)} == set()


def test_every_page_is_in_the_site_once() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]

    def listed(entries: list[Any]) -> Iterator[str]:
        for entry in entries:
            for what in entry.values():
                yield from listed(what) if isinstance(what, list) else [what]

    expected = sorted(str(place(page)) for page in PAGES if page != ROOT / "README.md")
    assert sorted(listed(site["nav"])) == expected


@each_row("page", PAGES, ids=of_page)
def test_every_make_target_exists(page: Path) -> None:
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in code(page):
        for words in commands(line, "make"):
            named = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            assert set(named) <= there, line


def test_make_help_tells_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [phony] = re.findall(r"^\.PHONY: (help .*)$", makefile, re.MULTILINE)
    assert re.findall(r"^([a-z-]+):.*## .+$", makefile, re.MULTILINE) == phony.split()


@each_row("page", PAGES, ids=of_page)
def test_every_command_and_option_exists(page: Path) -> None:
    for line in code(page):
        for words in [*commands(line, "relay"), *commands(line, "pairchat")]:
            command = next((known()[key] for key in (tuple(words[:2]), (words[0],)) if key in known()), set())
            for word in words[1:]:
                name = word.partition("=")[0]
                assert not name.startswith("--") or name in command, line
            if words[0] == "relay" and re.fullmatch(r"[a-z]+", words[1]):
                assert ("relay", words[1]) in known(), line


@each_row("page", [page for page in PAGES if page.parent.name != "decisions"], ids=of_page)
def test_every_option_that_is_named_is_somebodys(page: Path) -> None:
    everybodys = set().union(*known().values()) | FOREIGN
    for line in code(page):
        if re.fullmatch(r"--[a-z][a-z-]*( .*)?", line):
            assert line.split()[0] in everybodys, line


def test_every_option_of_a_node_has_its_row_and_variable() -> None:
    rows = [row for row in (ROOT / "docs" / "options.md").read_text(encoding="utf-8").splitlines() if row[:1] == "|"]
    relay: Any = typer.main.get_command(relay_app)
    for option in relay.commands["node"].params:
        if option.hidden or option.opts == ["--help"]:
            continue
        [row] = [row for row in rows if f"`{option.opts[0]}`" in row.split("|")[1]]
        assert f"`{option.envvar}`" in row, row


def test_every_option_of_pairchat_is_on_its_page() -> None:
    page = (ROOT / "docs" / "pairchat.md").read_text(encoding="utf-8")
    for option in typer.main.get_command(pairchat_app).params:
        names = [*option.opts, *option.secondary_opts]
        assert any(f"`{name}" in page or f"pairchat {name}`" in page for name in names) or names == ["name"], names
