"""Tests that each test is named by its subject, not by a pronoun: then a line of a log says what failed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests",)
PRONOUN = re.compile(r"test_(it|one|ones|they|what|this|that|those|these|who|so|such)_")


def sources() -> list[Path]:
    return sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def nameless(statements: list[ast.stmt]) -> Iterator[str]:
    """Yield the names of tests that begin with a pronoun, those of the methods of classes too."""
    for node in statements:
        if isinstance(node, ast.ClassDef):
            yield from nameless(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and PRONOUN.match(node.name):
            yield node.name


def test_each_test_is_named_by_its_subject() -> None:
    found = []
    for file in sources():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [f"{file.relative_to(ROOT)}: {name}" for name in nameless(tree.body)]
    assert found == []


def test_a_test_that_is_named_by_a_pronoun_is_found() -> None:
    source = (
        "def test_one_is_found(): pass\nasync def test_it_is_found(): pass\n"
        "class TestA:\n    def test_what_is_found_is_told(self): pass\n"
        "def test_once_is_enough(): pass\ndef one_helper(): pass\ndef test_a_test_that_is_fine(): pass\n"
    )
    assert list(nameless(ast.parse(source).body)) == [
        "test_one_is_found",
        "test_it_is_found",
        "test_what_is_found_is_told",
    ]
