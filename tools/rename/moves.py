"""Carries the moves out on the work tree: files, imports, texts, splits and edits, then format and pictures."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.rename.pages import wrapped
from tools.rename.rewrite import Source, rewritten
from tools.rename.table import ROOT, Split, Table, module_of

# Texts that name modules and files. What the tool itself holds stays as it is.
_PAGES: Final = (".md", ".toml", ".yaml", ".yml", ".cfg", ".conf", ".env", ".service", "Makefile", "Dockerfile", "/run")
LEFT_ALONE: Final = ("tools/rename/", "tests/support/test_rename.py")
_BIN: Final = Path(sys.executable).parent
# Pages that name files without their folders.
_BARE: Final = ("docs/architecture.md", "docs/performance.md", "docs/decisions/")


def main() -> int:
    """Move everything, and return 1 if an entry of the tables didn't fit."""
    table = Table(tracked())
    wrong = [f"the table has {name}, which isn't there" for name in table.unknown()]
    contents = {path: (ROOT / path).read_bytes().decode() for path in table.files if _is_text(path)}
    new = _contents(contents, table)
    wrong += _edits(new, table)
    for path, before in contents.items():
        if path.endswith(".md"):
            new[table.paths[path]] = wrapped(new[table.paths[path]], before)
    modes = {table.paths[path]: (ROOT / path).stat().st_mode for path in contents}
    for path in contents:
        (ROOT / path).unlink()
    for path in set(table.files) - set(contents):
        _move(path, table.paths[path])
    for path, text in new.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(text.encode())
        (ROOT / path).chmod(modes.get(path, 0o644))
    _remove_empty_folders()
    _format([table.paths[f"{split.source.replace('.', '/')}.py"] for split in table.splits])
    print(*wrong, sep="\n")
    return int(bool(wrong))


def _contents(contents: dict[str, str], table: Table) -> dict[str, str]:
    """What each file is to hold at its new place."""
    left, new = carry_out_splits(contents, table)
    new |= {table.paths[path]: _converted(path, text, table) for path, text in left.items()}
    for package, docstring in table.packages.items():
        new.setdefault(f"{package.replace('.', '/')}/__init__.py", f'"""{docstring}"""\n')
    return new


def tracked(revision: str = "") -> list[str]:
    """The files of a revision, or those that git knows now."""
    words = ["ls-tree", "-r", "--name-only", revision] if revision else ["ls-files"]
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def carry_out_splits(contents: dict[str, str], table: Table) -> tuple[dict[str, str], dict[str, str]]:
    """The contents without what leaves its module, and the new modules by their paths."""
    left, made = dict(contents), dict[str, str]()
    for split in table.splits:
        source = _source_file(split, table)
        left[source], moved = split_off(left[source], split)
        target = f"{split.target.replace('.', '/')}.py"
        made[target] = made.get(target, "") + split.head + moved
    return left, made


def split_off(text: str, split: Split) -> tuple[str, str]:
    """The text without these definitions and the comments above them, and those."""
    source, lines = Source(text), text.splitlines(keepends=True)
    moved, gone, simple = list[str](), set[int](), False
    for node in source.tree.body:
        if defined(node) & set(split.names):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            while lines[first - 2].startswith("#"):
                first -= 1
            span = range(first - 1, node.end_lineno or first)
            apart = "" if simple and isinstance(node, ast.Assign | ast.AnnAssign) else "\n\n"
            simple = isinstance(node, ast.Assign | ast.AnnAssign)
            moved.append(apart + "".join(lines[number] for number in span))
            gone |= set(span)
    rest = "".join(line for number, line in enumerate(lines) if number not in gone)
    body = "".join(moved)
    for old, new in split.renamed.items():
        rest, body = rest.replace(old, new), body.replace(old, new)
    for old, new in split.fix.items():
        body = body.replace(old, new)
    names = [split.renamed.get(name, name) for name in split.names]
    used = {node.id for node in ast.walk(ast.parse(rest)) if isinstance(node, ast.Name)}
    if needed := [name for name in names if name in used]:
        before, imports, after = rest.partition("\nfrom relay")
        rest = f"{before}\nfrom {split.target} import {', '.join(needed)}{imports}{after}"
    return rest, body


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def _source_file(split: Split, table: Table) -> str:
    [file] = [path for path in table.files if module_of(path) == split.source]
    return file


def _is_text(path: str) -> bool:
    if path.startswith(LEFT_ALONE) or (ROOT / path).is_symlink():
        return False
    return path.endswith((".py", *_PAGES))


def _converted(path: str, text: str, table: Table) -> str:
    if path.endswith(".py"):
        return rewritten(path, text, table)
    new = table.text(text)
    return table.bare(new) if path.startswith(_BARE) else new


def _move(old: str, new: str) -> None:
    if old != new:
        (ROOT / new).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / old).rename(ROOT / new)


def _edits(contents: dict[str, str], table: Table) -> Iterator[str]:
    for edit in table.edits:
        text = contents.get(edit["file"], "")
        old, new = edit["old"], edit["new"]
        if text.count(old) != 1:
            yield f"{edit['file']} doesn't have this once: {old}"
            continue
        contents[edit["file"]] = text.replace(old, new)


def _remove_empty_folders() -> None:
    for folder in sorted((ROOT / "relay").rglob("*"), reverse=True) + sorted((ROOT / "tests").rglob("*"), reverse=True):
        if (
            folder.is_dir()
            and folder.name != "__pycache__"
            and all(one.name == "__pycache__" for one in folder.iterdir())
        ):
            for cached in folder.rglob("*"):
                if cached.is_file():
                    cached.unlink()
            for one in [*folder.iterdir(), folder]:
                one.rmdir()


def _format(split: list[str]) -> None:
    ruff = str(_BIN / "ruff")
    subprocess.run([ruff, "check", "--quiet", "--select", "F401", "--fix", *split], cwd=ROOT, check=False)
    subprocess.run([ruff, "check", "--quiet", "--select", "I", "--fix", "."], cwd=ROOT, check=False)
    subprocess.run([ruff, "format", "--quiet", "."], cwd=ROOT, check=False)
    subprocess.run([sys.executable, "-m", "tools.pictures"], cwd=ROOT, check=False)
