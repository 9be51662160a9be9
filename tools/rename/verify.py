"""Proves that a move has changed nothing else: the old syntax trees, with the table applied, are the new ones.

Imports are left out. Names and texts are not rewritten here but compared: where two trees differ, the pair of the old
and the new word has to be one that the table gives. Files whose trees differ because of an edit of the table are
named; their diff is for people to read.
"""

import ast
import subprocess
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

from tools.rename.moves import LEFT_ALONE, defined, tracked
from tools.rename.rewrite import local_names, shortened, text
from tools.rename.table import ROOT, Table, module_of

_IMPORTS: Final = (ast.Import, ast.ImportFrom)
_IGNORED: Final = {"type_comment", "kind"}


def main(revision: str) -> int:
    """Compare the files of a revision with those of now, and return 1 if one differs without an edit in the table."""
    table = Table(tracked(revision))
    edited = {edit["file"] for edit in table.edits}
    status = same = 0
    for path in (path for path in table.files if path.endswith(".py") and not path.startswith(LEFT_ALONE)):
        new = table.paths[path]
        differences = list(compared(path, old_tree(revision, path), new_tree(new), table))
        if not differences:
            same += 1
        elif new in edited:
            print(f"{new}: edited by the table, in {len(differences)} places")
        else:
            status = 1
            print(f"{path} -> {new}:", *differences[:5], sep="\n    ")
    for target in sorted({one.target for one in table.splits}):
        status |= int(not _moved_whole(revision, target, table))
    print(f"{same} files have the same syntax tree")
    return status


def old_tree(revision: str, path: str) -> ast.Module:
    """The syntax tree of a file of a revision."""
    told = subprocess.run(["git", "show", f"{revision}:{path}"], cwd=ROOT, check=True, capture_output=True)
    return ast.parse(told.stdout)


def new_tree(path: str) -> ast.Module:
    """The syntax tree of a file of now, empty where there is none."""
    file = ROOT / path
    return ast.parse(file.read_bytes()) if file.is_file() else ast.Module([], [])


def compared(path: str, old: ast.Module, new: ast.Module, table: Table) -> Iterator[str]:
    """Where the two trees differ, and not as the table says."""
    module = module_of(path)
    gone = {name for split in table.splits if split.source == module for name in split.names}
    pairs = {(name, leaf) for (_, name), leaf in local_names(old, table).items()}
    old.body = [node for node in old.body if not defined(node) & gone]
    for split in table.splits:
        pairs |= set(split.renamed.items()) if split.source == module else set()
    yield from Comparison(pairs, table, table.paths[path].count("/") - path.count("/")).nodes(old, new)


def _moved_whole(revision: str, target: str, table: Table) -> bool:
    """Whether a module that definitions were split off to has exactly those."""
    wanted: list[ast.stmt] = []
    pairs: set[tuple[str, str]] = set()
    for split in (split for split in table.splits if split.target == target):
        [path] = [path for path in table.files if module_of(path) == split.source]
        wanted += [node for node in old_tree(revision, path).body if defined(node) & set(split.names)]
        pairs |= set(split.renamed.items())
    new = new_tree(f"{target.replace('.', '/')}.py")
    found = [node for node in new.body if not isinstance(node, _IMPORTS)][1:]
    differences = list(Comparison(pairs, table, 0).nodes(ast.Module(wanted, []), ast.Module(found, [])))
    if differences:
        print(f"{target}:", *differences[:5], sep="\n    ")
    return not differences


class Comparison:
    """Walks two trees side by side."""

    def __init__(self, pairs: set[tuple[str, str]], table: Table, deeper: int) -> None:
        self._pairs = pairs
        self._table = table
        self._deeper = deeper

    def nodes(self, old: Any, new: Any) -> Iterator[str]:
        """Where they differ."""
        old, new = _plain(old), _plain(new)
        if type(old) is not type(new):
            yield f"line {_line(old)}: {_shown(old)} became {_shown(new)} in line {_line(new)}"
        elif isinstance(old, ast.AST):
            for field in (field for field in old._fields if field not in _IGNORED):
                yield from self._fields(old, new, field)
        elif isinstance(old, list):
            both = [[node for node in nodes if not isinstance(node, _IMPORTS)] for nodes in (old, new)]
            for one, other in zip_longest(*both):
                yield from self.nodes(one, other)
        elif old != new:
            yield f"{old!r} became {new!r}"

    def _fields(self, old: ast.AST, new: ast.AST, field: str) -> Iterator[str]:
        before, after = getattr(old, field, None), getattr(new, field, None)
        if isinstance(before, ast.AST | list):
            yield from self.nodes(before, after)
        elif before != after and not self._allowed(old, before, after):
            yield f"line {_line(old)}: {before!r} became {after!r} in line {_line(new)}"

    def _allowed(self, old: ast.AST, before: Any, after: Any) -> bool:
        match old, before, after:
            case ((ast.Name() | ast.FunctionDef() | ast.ClassDef()), str(), str()):
                return (before, after) in self._pairs
            case ast.Constant(), str(), str():
                return shortened(text(before, self._table)) == shortened(after)
            case ast.Constant(), int(), int():
                return bool(after == before + self._deeper)
        return False


def _plain(node: Any) -> Any:
    """`msgspec.Struct` as `Struct`, and `relay.bus` as its words: how a name is imported makes no difference."""
    match node:
        case ast.Attribute(value=ast.Name(id="msgspec"), attr=name, ctx=context):
            return ast.copy_location(ast.Name(name, context), node)
        case ast.Attribute() if ast.unparse(node).startswith("relay."):
            return ast.copy_location(ast.Name("relay", ast.Load()), node)
    return node


def _line(node: Any) -> int:
    line: int = getattr(node, "lineno", 0)
    return line


def _shown(node: Any) -> str:
    return ast.unparse(node)[:60] if isinstance(node, ast.AST) else repr(node)
