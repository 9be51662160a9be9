"""This module reads the comments beside the fields of a class from its source.

`tools/schemas.py` and `tools/reference.py` make pages from them.
"""

import ast
import inspect
import io
import textwrap
import tokenize
from typing import Any


def source_of(kind: type[Any]) -> str:
    """Return the source of a class without its indentation."""
    return textwrap.dedent(inspect.getsource(kind))


def class_of(kind: type[Any]) -> ast.ClassDef:
    """Return the syntax tree of a class. Its line numbers are those of `source_of`."""
    [found] = ast.parse(source_of(kind)).body
    assert isinstance(found, ast.ClassDef)
    return found


def comments(source: str) -> dict[int, str]:
    """Return the comments that follow code on the same line, by line number."""
    found: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
            found[token.start[0]] = token.string.removeprefix("#").strip()
    return found


def remarks(kind: type[Any]) -> dict[str, str]:
    """Return the comments beside the fields of a class, by the field's name. Inherited fields are left out."""
    beside = comments(source_of(kind))
    fields = [node for node in class_of(kind).body if isinstance(node, ast.AnnAssign)]
    return {ast.unparse(node.target): beside[node.end_lineno or 0] for node in fields if node.end_lineno in beside}
