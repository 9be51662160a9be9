"""Every event that a package logs, found in its source: level, words, and the names of its fields.



The file of an event doesn't matter. Because the source is read and not run, the list is complete, and has events that
happen once a year.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.golden import code

LEVELS: Final = {"debug", "info", "warning", "error", "exception", "critical"}
# The place of a field whose name is known only when it is logged.
ANY: Final = "**"


def logged(root: Path) -> list[str]:
    """Return the events of all modules below this folder, each once."""
    found: set[str] = set()
    for file in sorted(root.rglob("*.py")):
        if file != code.LOG_MODULE:
            found.update(of(ast.parse(file.read_text(encoding="utf-8"))))
    return sorted(found)


def of(tree: ast.Module) -> Iterator[str]:
    """Yield the events of one module."""
    spells: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[target], value=ast.Call(func=ast.Name(id=maker)) as made) if (
                maker == code.SPELL[0]
            ):
                spells[ast.unparse(target)] = [_words(word) for word in made.args]
            case ast.Call(func=ast.Attribute(value=logger, attr=level)) if level in LEVELS and _logs(logger):
                yield f"{level}: {_words(node.args[0])} ({', '.join(_fields(node, tree))})"
    constructions = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node) == code.SPELL[0]]
    assert len(constructions) == len(spells), "each trouble has a name of its own, under which its events are found"
    for name, words in spells.items():
        yield from _spell(tree, name, words)


def unread(tree: ast.Module) -> Iterator[str]:
    """Yield calls that look like those of a logger but whose owner isn't a known logger."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr=level)) if level in LEVELS and node.args:
                if not _logs(owner):
                    yield ast.unparse(node)


def _spell(tree: ast.Module, target: str, words: list[str]) -> Iterator[str]:
    """Yield the events of a repeated trouble and of its end."""
    said = {how: set[str]() for how in code.SPELL[1:]}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=owner, attr=how)) if how in said and ast.unparse(owner) == target:
                said[how].update(_fields(node, tree))
    for how, event in zip(code.SPELL[1:], words, strict=False):
        yield f"{'warning' if how == code.SPELL[1] else 'info'}, as it lasts: {event} ({', '.join(sorted(said[how]))})"


def _logs(logger: ast.expr) -> bool:
    match logger:
        case ast.Name(id=name):
            return name in code.LOGGERS
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in code.LOGGER_MAKERS
    return False


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _words(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant), f"an event's words stand where it is logged: {ast.unparse(node)}"
    return str(node.value)


def _fields(call: ast.Call, tree: ast.Module) -> list[str]:
    """Return the names of the fields in the order of the line."""
    names = []
    for keyword in call.keywords:
        if keyword.arg is not None:
            names.append(keyword.arg)
        else:
            names.append(ANY + "/".join(_keys(keyword.value, tree)))
    return names


def _keys(mapping: ast.expr, tree: ast.Module) -> Iterator[str]:
    """Return the names that the fields of a mapping may have, if this module lists them."""
    made = [mapping]
    if isinstance(mapping, ast.Name):
        assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
        made = [one.value for one in assignments if ast.unparse(one.targets[0]) == mapping.id]
    for node in (node for one in made for node in ast.walk(one) if isinstance(node, ast.Dict)):
        yield from (str(key.value) for key in node.keys if isinstance(key, ast.Constant))
