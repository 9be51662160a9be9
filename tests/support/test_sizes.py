"""Tests that the body of each function fits on a screen: it has at most 50 lines, including its docstring."""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("relay", "cli", "simulator", "benchmarks", "tools", "tests", "examples")
FUNCTION_LINES = 50


def sources() -> list[Path]:
    return sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def long_functions(source: str, most: int) -> Iterator[str]:
    """Yield the functions whose body has more than `most` lines, with its length. The parameters don't count."""
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0].lineno
            if (lines := (node.end_lineno or first) - first + 1) > most:
                yield f"{node.name}: {lines} lines"


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements inside of one, at any depth. `ast.walk` looks at all expressions too, for twice as long."""
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        for inner in getattr(node, block, ()):
            yield inner
            yield from statements(inner)


def test_no_function_is_too_long() -> None:
    too_long = []
    for file in sources():
        source, name = file.read_text(encoding="utf-8"), file.relative_to(ROOT)
        too_long += [f"{name}: {function}" for function in long_functions(source, FUNCTION_LINES)]
    assert too_long == []


def test_a_function_that_is_one_line_too_long_is_found() -> None:
    source = (
        "class A:\n    @staticmethod\n    async def f(self,\n    a):\n        pass\n        pass\n\ndef g(): pass\n"
    )
    assert list(long_functions(source, 1)) == ["f: 2 lines"]
    deeper = "try:\n    pass\nexcept ValueError:\n" + textwrap.indent(source, "    ")
    assert list(long_functions(deeper, 1)) == ["f: 2 lines"]
    assert list(long_functions(source, 2)) == []
