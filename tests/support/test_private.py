"""Tests that tests use what is public, so that the code behind it may change, unless a reason stands beside.

The reason is a comment, `# private: …`, in the same line, directly above the statement, or directly above the function.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.rows import each_row

TESTS = Path(__file__).parents[1]
REASON = "# private: "
# Functions that take the name of an attribute as their second argument.
BY_NAME = ("setattr", "getattr", "delattr", "hasattr")
# An access to a private name has one of these in it. Most files have none, and needn't be parsed.
SIGNS = re.compile(
    r"""(?<!\bself)(?<!\bcls)\._(?!_) | ["']_(?!_) | ^from\ .*\ import\ (?: \([^)]*\b_(?!_) | [^(\n]*\b_(?!_) )""",
    re.MULTILINE | re.VERBOSE,
)


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def own_names(tree: ast.AST) -> set[str]:
    """Return the private names that the file defines itself: functions, classes, variables and attributes of `self`."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                names.add(name)
            case ast.Name(name, ast.Store()) | ast.Attribute(ast.Name("self"), name, ast.Store()):
                names.add(name)
    return names


def accesses(node: ast.AST) -> Iterator[str]:
    """Yield the private names that this node takes from elsewhere."""
    match node:
        case ast.Attribute(ast.Name("self" | "cls")):
            return
        case ast.Attribute(_, name) if is_private(name):
            yield name
        case ast.ImportFrom(_, names):
            yield from (alias.name for alias in names if is_private(alias.name))
        case ast.Call(ast.Name(function) | ast.Attribute(_, function), [_, ast.Constant(name), *_]):
            if function in BY_NAME and is_private(name):
                yield str(name)


def private_accesses(source: str) -> Iterator[str]:
    """Yield each access to a private name of another file that has no reason beside it, with its line."""
    if not SIGNS.search(source):
        return
    tree, lines = ast.parse(source), source.splitlines()
    own = own_names(tree)

    def has_reason(first: int, last: int) -> bool:
        """Return whether one of these lines has a reason, or the comment above them."""
        above = first - 1
        while above > 0 and lines[above - 1].lstrip().startswith("#"):
            above -= 1
        return any(REASON in line for line in lines[above:last])

    def visit(node: ast.AST, excused: bool) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            excused = excused or has_reason(first, node.lineno)
        elif isinstance(node, ast.stmt) and not isinstance(node, ast.ClassDef):
            parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr | ast.withitem)]
            last = max((getattr(part, "end_lineno", node.lineno) or node.lineno for part in parts), default=node.lineno)
            excused = excused or has_reason(node.lineno, last)
        if not excused:
            yield from (f"line {node.lineno}: {name}" for name in accesses(node) if name not in own)  # type: ignore[attr-defined]
        for child in ast.iter_child_nodes(node):
            yield from visit(child, excused)

    yield from visit(tree, False)


def test_nothing_private_is_touched_without_a_reason() -> None:
    found = []
    for file in sorted(TESTS.rglob("*.py")):
        if "fixtures" not in file.parts:
            source = file.read_text(encoding="utf-8")
            found += [f"{file.relative_to(TESTS)} {access}" for access in private_accesses(source)]
    assert found == []


@each_row(
    ("source", "found"),
    [
        ("hub._records.quiet", ["line 1: _records"]),
        ("del hub._a\nhub._b = 1", ["line 1: _a", "line 2: _b"]),
        ("super()._take(1)", ["line 1: _take"]),
        ("from relay.hub import _Core, hub", ["line 1: _Core"]),
        ("from relay.hub import hub, _Core", ["line 1: _Core"]),
        ("from relay.hub import (\n    hub,\n    _Core,\n)", ["line 1: _Core"]),
        ("myself._a", ["line 1: _a"]),
        ("patch.setattr(hub, '_known', 1)", ["line 1: _known"]),
        ("getattr(hub, '_known')", ["line 1: _known"]),
        ("hub.__class__; hub.public; patch.setattr(hub, 'public', 1)", []),
        ("class A:\n    def f(self, other):\n        self._a = other._a", []),
        ("def f(self): return self._inherited", []),
        ("hub._a  # private: it has no end", []),
        ("# private: it has\n# no end\nhub._a\nhub._b", ["line 4: _b"]),
        ("# why\nhub._a", ["line 2: _a"]),
        ("# private: all of it\n@decorated\ndef f():\n    hub._a\n    hub._b\nhub._c", ["line 6: _c"]),
        ("with a as b:  # private: the head\n    hub._a", []),
        ("f(\n    hub._a,  # private: here\n)", []),
        ("# private: the class\nclass A:\n    a = hub._a", ["line 3: _a"]),
    ],
)
def test_an_access_without_a_reason_is_found(source: str, found: list[str]) -> None:
    assert list(private_accesses(source)) == found
