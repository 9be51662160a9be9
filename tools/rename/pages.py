"""Wraps anew the paragraphs of a page, or of a docstring, whose lines have become too long."""

import ast
import re
import textwrap
from collections.abc import Iterator
from typing import Final

WIDTH: Final = 120
MOST: Final = 124  # a line that is longer has its paragraph wrapped anew
_ITEM: Final = re.compile(r"( *)([-*]|\d+\.) +")
_NO_TEXT: Final = re.compile(r" *(\||#|```|>|!\[|$)")


def wrapped(text: str, before: str) -> str:
    """The page with short lines in the paragraphs that weren't there before."""
    known = {"".join(paragraph) for paragraph in _paragraphs(before)}
    paragraphs = ("".join(paragraph) for paragraph in _paragraphs(text))
    return "".join(one if one in known else _wrapped(one) for one in paragraphs)


def _paragraphs(text: str) -> Iterator[list[str]]:
    """Lines that belong together: those of a paragraph or of one item, and each other line by itself."""
    paragraph: list[str] = []
    code = False
    for line in text.splitlines(keepends=True):
        code ^= line.lstrip().startswith("```")
        if code or _NO_TEXT.match(line) or _ITEM.match(line):
            yield paragraph
            paragraph = []
        paragraph.append(line)
        if code or _NO_TEXT.match(line):
            yield paragraph
            paragraph = []
    yield paragraph


def _wrapped(text: str) -> str:
    lines = text.splitlines()
    if not lines or _NO_TEXT.match(lines[0]) or all(len(line) <= MOST for line in lines):
        return text
    item = _ITEM.match(lines[0])
    indent = " " * (len(item[0]) if item else len(lines[0]) - len(lines[0].lstrip()))
    first = item[0] if item else indent
    words = " ".join(line.strip() for line in lines)[len(first.strip()) if item else 0 :].strip()
    return textwrap.fill(
        words,
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) + ("\n" if text.endswith("\n") else "")


def wrapped_docstrings(text: str) -> str:
    """A source whose docstrings have short lines, but for their first."""
    lines = text.split("\n")
    spans = [
        (node.lineno, node.end_lineno or 0)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.col_offset in (0, 4, 8)
    ]
    for first, last in sorted(spans, reverse=True):
        paragraph: list[int] = []
        for number in range(last, first, -1):
            if lines[number - 1].strip() in ("", '"""') or number == first + 1:
                paragraph += [number - 1] * (number == first + 1 and bool(lines[number - 1].strip()))
                _wrap_lines(lines, sorted(paragraph))
                paragraph = []
            else:
                paragraph.append(number - 1)
    return "\n".join(lines)


def _wrap_lines(lines: list[str], numbers: list[int]) -> None:
    if not numbers or all(len(lines[number]) <= WIDTH for number in numbers):
        return
    indents = {len(lines[number]) - len(lines[number].lstrip()) for number in numbers}
    if len(indents) == 1:
        indent = " " * indents.pop()
        words = " ".join(lines[number].strip() for number in numbers)
        filled = textwrap.wrap(
            words,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines[numbers[0] : numbers[-1] + 1] = filled
