"""The tests in docs/guarantees.md that hold each promise exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text()
PROMISED = TEXT.partition("## What is not promised")[0]
HEADS = ("| promise", "| what |", "| ---")  # the heads of tables


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)((?:::\w+)*)`", PROMISED))
    assert len(named) > 40
    assert len({file for file, test in named if test.count("::") == 2}) > 3, "tests in classes are named too"
    for file, test in named:
        path = ROOT / (file if file.startswith("tests/") else f"tests/{file}")
        assert path.is_file(), file
        for part in test.split("::")[1:]:
            assert re.search(rf"(def {part}\(|class {part}[:(])", path.read_text()), f"{file}{test}"


def test_every_promise_names_a_test() -> None:
    rows = [row for row in PROMISED.splitlines() if row.startswith("|") and not row.startswith(HEADS)]
    assert len(rows) > 30
    for row in rows:
        assert "test_" in row or "the same" in row.rsplit("|", 2)[1], row
