"""Nothing grows beyond what fits into a head: files of 400 lines, functions of 50."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("relay", "cli", "benchmarks", "tools", "tests", "examples")
LANGUAGES = {".py", ".c", ".h", ".js", ".mjs", ".lua", ".sh"}
FILE_LINES = 400
FUNCTION_LINES = 50


def sources() -> list[Path]:
    return sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in LANGUAGES)


def long_functions(source: str, most: int) -> Iterator[str]:
    """The functions that have more lines than this, decorators and docstring counted; each with its length."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if (lines := (node.end_lineno or first) - first + 1) > most:
                yield f"{node.name}: {lines} lines"


def test_no_file_and_no_function_is_too_long() -> None:
    too_long = []
    for file in sources():
        source, name = file.read_text(encoding="utf-8"), file.relative_to(ROOT)
        if (lines := len(source.splitlines())) > FILE_LINES:
            too_long.append(f"{name}: {lines} lines")
        if file.suffix == ".py":
            too_long += [f"{name}: {function}" for function in long_functions(source, FUNCTION_LINES)]
    assert too_long == []


def test_a_function_that_is_one_line_too_long_is_found() -> None:
    source = "class A:\n    @staticmethod\n    async def f():\n        pass\n        pass\n\ndef g(): pass\n"
    assert list(long_functions(source, 3)) == ["f: 4 lines"]
    assert list(long_functions(source, 4)) == []
