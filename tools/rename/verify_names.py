"""Proves that renaming has changed nothing else: where two syntax trees differ, the two words are a pair of the table.

Imports are left out, since their order changes with their names, and so is the order in `__all__` and `__slots__`. In
no scope may two names have become one. That each name is the right one is for mypy and the tests to say.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

from tools.rename.moves import LEFT_ALONE, tracked
from tools.rename.scopes import bound_in
from tools.rename.table import HERE
from tools.rename.verify import new_tree, old_tree

_IMPORTS: Final = (ast.Import, ast.ImportFrom)
_SCOPES: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_SORTED: Final = ("__all__", "__slots__")


def main(tables: str, revision: str) -> int:
    """Compare the files of a revision with those of now, and return 1 if one differs otherwise than by the tables."""
    pairs: set[tuple[str, str]] = set()
    edited: set[str] = set()
    for name in tables.split("+"):
        told = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
        for table in ("globals", "members", "parameters", "words", "texts"):
            pairs |= {(old.rpartition(".")[2], new) for old, new in told.get(table, {}).items()}
        pairs |= {pair for words in told.get("words_in", {}).values() for pair in words.items()}
        edited |= {edit["file"] for edit in told.get("edit", [])}
    status = same = 0
    for path in tracked(revision):
        if path.endswith(".py") and not path.startswith(LEFT_ALONE):
            differences = list(compared(old_tree(revision, path), new_tree(path), pairs))
            same += not differences
            if differences and path in edited:
                print(f"{path}: edited by the table, in {len(differences)} places")
            elif differences:
                status = 1
                print(f"{path}:", *differences[:5], sep="\n    ")
    print(f"{same} files have the same syntax tree")
    return status


def compared(old: Any, new: Any, pairs: set[tuple[str, str]]) -> Iterator[str]:
    """Where the two differ, and not by a pair."""
    if isinstance(old, str) and isinstance(new, str):
        if old != new and not _words(old, new, pairs):
            yield f"{old!r} became {new!r}"
    elif type(old) is not type(new):
        yield f"line {getattr(old, 'lineno', 0)}: {_shown(old)} became {_shown(new)}"
    elif isinstance(old, list):
        both = [[node for node in nodes if not isinstance(node, _IMPORTS)] for nodes in (old, new)]
        for one, other in zip_longest(*both):
            yield from compared(one, other, pairs)
    elif isinstance(old, ast.Assign) and isinstance(new, ast.Assign) and ast.unparse(old.targets[0]) in _SORTED:
        listed = [
            [str(one.value) for one in ast.walk(node.value) if isinstance(one, ast.Constant)] for node in (old, new)
        ]
        missing = [one for one in listed[1] if not any(one == other or (other, one) in pairs for other in listed[0])]
        if missing or len(listed[0]) != len(listed[1]):
            yield f"line {old.lineno}: other names are listed"
    elif isinstance(old, ast.AST):
        if isinstance(old, _SCOPES) and len(bound_in(old)) != len(bound_in(new)):
            yield f"line {getattr(old, 'lineno', 0)}: two names have become one"
        for field in old._fields:
            yield from compared(getattr(old, field, None), getattr(new, field, None), pairs)
    elif old != new:
        yield f"{old!r} became {new!r}"


def _words(old: str, new: str, pairs: set[tuple[str, str]]) -> bool:
    """Whether two names or texts differ by pairs, and in nothing but those and where lines end."""
    both = list(zip_longest(_TOKEN.findall(old), _TOKEN.findall(new)))
    return all(one == other or (one, other) in pairs for one, other in both)


def _shown(node: Any) -> str:
    return ast.unparse(node)[:60] if isinstance(node, ast.AST) else repr(node)
