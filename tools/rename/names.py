"""Renames definitions by names.toml: classes and functions of modules here, members and parameters in members.py."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tools.rename.moves import LEFT_ALONE, tracked
from tools.rename.pages import wrapped, wrapped_docstrings
from tools.rename.rewrite import Edit, Source
from tools.rename.scopes import uses
from tools.rename.table import HERE, ROOT, module_of

_TEXTS: Final = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}
_OURS: Final = ("relay.", "pairchat.")
_BIN: Final = Path(sys.executable).parent


class Names:
    """The table of new names, and what each module's names mean."""

    def __init__(self, sources: dict[str, str], table: dict[str, Any] | None = None) -> None:
        told = table or tomllib.loads((HERE / "names.toml").read_text(encoding="utf-8"))
        self.globals: dict[str, str] = told["globals"]
        self.trees = {module_of(path): ast.parse(text) for path, text in sources.items()}
        self._imports = {module: dict(_imported(tree)) for module, tree in self.trees.items()}
        # Those that no other module has of the same name, so that a text which names one means it.
        every = [name for module in self.trees if module.startswith(_OURS) for name in self._defined(module)]
        short = {old.rpartition(".")[2]: new for old, new in self.globals.items()}
        self.short = {old: new for old, new in short.items() if every.count(old) == 1}
        self.strings = {module_of(path): words for path, words in told.get("strings", {}).items()}
        self.edits: list[dict[str, str]] = told.get("edit", [])
        self.words: dict[str, str] = told.get("texts", {})

    def unknown(self) -> list[str]:
        """Entries for which there is no definition, which may have been misspelt."""
        return [full for full in self.globals if full.rpartition(".")[2] not in self._defined(full.rpartition(".")[0])]

    def _defined(self, module: str) -> set[str]:
        tree = self.trees.get(module)
        return set().union(*(bound(node) for node in tree.body)) if tree else set()

    def origin(self, full: str) -> str:
        """Where a definition is that a module may have imported itself."""
        module, _, name = full.rpartition(".")
        imported = self._imports.get(module, {}).get(name)
        return self.origin(imported) if imported and imported != full else full

    def renamed(self, module: str, tree: ast.Module) -> dict[str, str]:
        """The names at a module's top, or imported anywhere in it, that change."""
        found = {}
        for name in self._defined(module):
            if new := self.globals.get(f"{module}.{name}"):
                found[name] = new
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    new = self.globals.get(self.origin(f"{node.module}.{alias.name}"))
                    if new and not alias.asname:
                        found[alias.name] = new
        return found


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement of a module defines, not counting imports."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def main() -> int:
    """Rename everything, and return 1 if an entry of the table didn't fit."""
    paths = [path for path in tracked() if path.endswith(".py") and not path.startswith(LEFT_ALONE)]
    sources = {path: (ROOT / path).read_bytes().decode() for path in paths}
    names = Names(sources)
    wrong = [f"the table has {name}, which isn't there" for name in names.unknown()]
    for path, text in sources.items():
        wrong += [f"{path}: {one}" for one in conflicts(module_of(path), text, names)]
        new = wrapped_docstrings(applied(text, edits(module_of(path), text, names)))
        (ROOT / path).write_bytes(new.encode())
    for path in (path for path in tracked() if path.endswith(".md") and not path.startswith(LEFT_ALONE)):
        text = (ROOT / path).read_bytes().decode()
        (ROOT / path).write_bytes(wrapped(quoted(text, names.short | names.words), text).encode())
    wrong += edited(names.edits)
    formatted()
    print(*wrong, sep="\n")
    return int(bool(wrong))


def edited(edits: list[dict[str, str]]) -> Iterator[str]:
    """Carry out edits of the table by hand, and tell of those that don't fit."""
    for edit in edits:
        file = ROOT / edit["file"]
        text = file.read_bytes().decode()
        if text.count(edit["old"]) == 1:
            new = text.replace(edit["old"], edit["new"])
            file.write_bytes((wrapped_docstrings(new) if file.suffix == ".py" else new).encode())
        else:
            yield f"{edit['file']} doesn't have this once: {edit['old']}"


def formatted() -> None:
    """Sort imports and `__all__`, lay the code out, and make the pages anew that are made from it."""
    for words in (["check", "--quiet", "--select", "I,RUF022,RUF023", "--fix", "."], ["format", "--quiet", "."]):
        subprocess.run([str(_BIN / "ruff"), *words], cwd=ROOT, check=False)
    for page in ("pictures", "schemas", "reference"):  # what is made from the code
        subprocess.run([sys.executable, "-m", f"tools.{page}"], cwd=ROOT, check=False)


def applied(text: str, edits: Iterable[Edit]) -> str:
    """The text with these edits, each once."""
    for start, end, new in sorted(set(edits), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def conflicts(module: str, text: str, names: Names) -> Iterator[str]:
    """New names that a file uses for something else."""
    tree = ast.parse(text)
    renamed = names.renamed(module, tree)
    there = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    there |= {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    there |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    yield from sorted(
        f"{old} can't be {new}, which is there" for old, new in renamed.items() if new in there - set(renamed)
    )


def edits(module: str, text: str, names: Names) -> Iterator[Edit]:
    """What changes in a file."""
    source = Source(text)
    renamed = names.renamed(module, source.tree)
    yield from _definitions(source, renamed, module, names)
    for name, binder in uses(source.tree):
        if name.id in renamed and binder is not None and not _local(binder, name.id):
            yield (*source.span(name), renamed[name.id])
    yield from _attributes(source, module, names)
    yield from _texts(source, renamed, names, names.strings.get(module, {}))


def _local(scope: ast.AST, name: str) -> bool:
    """Whether a function binds the name by something else than an import."""
    if isinstance(scope, ast.Module):
        return False
    return not any(
        isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}
        for node in ast.walk(scope)
    )


def _definitions(source: Source, renamed: dict[str, str], module: str, names: Names) -> Iterator[Edit]:
    for statement in source.tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                if name in renamed:
                    start = source.text.index(f" {name}", source.place(statement.lineno, statement.col_offset)) + 1
                    yield start, start + len(name), renamed[name]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if new := names.globals.get(names.origin(f"{node.module}.{alias.name}")):
                    start = source.span(alias)[0]
                    yield start, start + len(alias.name), new


def _attributes(source: Source, module: str, names: Names) -> Iterator[Edit]:
    """`hub.Router`, and `monkeypatch.setattr(hub, "Router", ...)`."""
    imports = dict(_imported(source.tree))
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if imports.get(name) in names.trees:
                if new := names.globals.get(names.origin(f"{imports[name]}.{attribute}")):
                    end = source.span(node)[1]
                    yield end - len(attribute), end, new
            case ast.Call(
                func=ast.Attribute(attr="setattr"), args=[ast.Name(id=name), ast.Constant(value=str(text)), *_]
            ):
                if imports.get(name) in names.trees and (new := names.globals.get(f"{imports[name]}.{text}")):
                    yield (*source.span(node.args[1]), f'"{new}"')


def _texts(source: Source, renamed: dict[str, str], names: Names, strings: dict[str, str]) -> Iterator[Edit]:
    """`strings`: words to change in all strings of the file, which compares them with names of classes."""
    annotations = set(_annotations(source.tree))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["__all__"]:
            annotations |= {
                (one.lineno, one.col_offset) for one in ast.walk(node.value) if isinstance(one, ast.Constant)
            }
    known = names.short | names.words | renamed
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type in _TEXTS:
            line, column = token.start
            new = dotted(quoted(token.string, known), names)
            if (line, len(source.line(line)[:column].encode())) in annotations:
                new = _WORD.sub(lambda found: renamed.get(found[0], found[0]), new)
            if token.type == tokenize.STRING and strings:
                new = _WORD.sub(lambda found: strings.get(found[0], found[0]), new)
            if new != token.string:
                yield source.token(*token.start), source.token(*token.end), new


def texts(source: Source, known: dict[str, str]) -> Iterator[Edit]:
    """Strings and comments that name something between backticks."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type in _TEXTS and (new := quoted(token.string, known)) != token.string:
            yield source.token(*token.start), source.token(*token.end), new


_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_QUOTED: Final = re.compile(r"`([A-Za-z_]\w*)((?:\.\w+)*(?:\([^`]*\))?)`")
_DOTTED: Final = re.compile(r"(?<![\w/.@-])(?:relay|pairchat|tests)(?:\.[A-Za-z_]\w*)+")


def quoted(text: str, known: dict[str, str]) -> str:
    """A text with the new names where it has the old ones between backticks."""
    return _QUOTED.sub(lambda found: f"`{known.get(found[1], found[1])}{found[2]}`", text)


def dotted(text: str, names: Names) -> str:
    """A text with the new names where it has full ones."""

    def new(found: re.Match[str]) -> str:
        words = found[0].split(".")
        for count in range(len(words), 1, -1):
            if name := names.globals.get(".".join(words[:count])):
                return ".".join([*words[: count - 1], name, *words[count:]])
        return found[0]

    return _DOTTED.sub(new, text)


def _annotations(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Where texts stand for types, and the first argument of `cast`."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                parts = [node.returns]
            case ast.arg() | ast.AnnAssign():
                parts = [node.annotation]
            case ast.Call(func=ast.Name(id="cast" | "TypeVar")):
                parts = [*node.args, *(keyword.value for keyword in node.keywords)]
            case ast.Assign(value=ast.BinOp() | ast.Subscript() as value):
                parts = [value]
        for part in parts:
            for one in ast.walk(part) if part else ():
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    yield one.lineno, one.col_offset
