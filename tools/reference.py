"""Write docs/library-reference.md from the docstrings of the names that pairchat publishes (`make reference`).

A class is shown with its fields, its attributes that have a comment, its properties and its methods. A method whose
docstring begins with "Internal:" is left out, and so is a field that is kept out of the `repr`.
"""

import ast
import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args

import pairchat
from pairchat import events, sansio_protocol
from tools.source import class_of, comments, source_of

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "library-reference.md"
INTERNAL: Final = "Internal:"
# Programs don't call the constructors of these classes, because other functions return their objects.
NOT_CONSTRUCTED: Final = (pairchat.Chat, pairchat.Receipt)

HEAD: Final = """\
# Library reference

Everything that `import pairchat` publishes, from its docstrings. `make reference` writes this page, so change the
docstrings and not the page. [library.md](library.md) is the introduction, with programs that run.

The fields of an event are those of the frame that it comes from: [protocol.md](protocol.md#node-to-client).
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """Return the text of the page."""
    published = {name: getattr(pairchat, name) for name in pairchat.__all__}
    classes = {name: value for name, value in published.items() if inspect.isclass(value)}
    functions = {name: value for name, value in published.items() if inspect.isfunction(value)}
    happening = {name: kind for name, kind in classes.items() if kind in get_args(pairchat.Event)}
    errors = {name: kind for name, kind in classes.items() if issubclass(kind, pairchat.PairchatError)}
    others = {name: kind for name, kind in classes.items() if name not in {*happening, *errors}}
    aliases = [name for name in published if name not in {*classes, *functions}]
    parts = [HEAD, "## Functions\n", *(_function(name, value) for name, value in functions.items())]
    for title, kinds in ("Classes", others), ("Events", happening), ("Errors", errors):
        parts += [f"## {title}\n", *(_class(name, kind) for name, kind in kinds.items())]
    parts += ["## Types\n", "```python\n" + "\n".join(map(_alias, aliases)) + "\n```\n"]
    return "\n".join(parts)


def _function(name: str, function: Any) -> str:
    [found] = ast.parse(inspect.getsource(inspect.unwrap(function))).body
    assert isinstance(found, Function)
    return f"### `{name}`\n\n{_code(_signature(found))}\n{_text(found)}"


def _class(name: str, kind: type[Any]) -> str:
    tree, beside = class_of(kind), comments(source_of(kind))
    methods = [node for node in tree.body if isinstance(node, Function)]
    constructor = next((method for method in methods if method.name == "__init__"), None)
    parts = [f"### `{name}`\n"]
    if constructor and kind not in NOT_CONSTRUCTED:
        constructor.returns = None
        parts.append(_code(_signature(constructor, name)))
    parts.append(_text(tree))
    fields = [*_members(tree, beside), *(_attributes(constructor, beside) if constructor else ())]
    if fields:
        parts.append("".join(f"- {field}\n" for field in fields))
    for method in methods:
        if _is_shown(method):
            parts.append(f"#### `{name}.{method.name}`\n\n{_code(_signature(method))}\n{_text(method)}")
    if issubclass(kind, Exception):
        parts.insert(1, f"Bases: {', '.join(f'`{base.__name__}`' for base in kind.__bases__)}\n")
    if issubclass(kind, Enum):
        parts.insert(1, "An enumeration.\n")
    return "\n".join(parts)


def _is_shown(method: Function) -> bool:
    text = ast.get_docstring(method)
    public = method.name == "__anext__" or not method.name.startswith("_")
    return public and text is not None and not text.startswith(INTERNAL)


def _members(tree: ast.ClassDef, beside: dict[int, str]) -> Iterator[str]:
    """Yield the fields of a record, or the members of an enumeration."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and "repr=False" not in ast.unparse(node):
            yield _with_remark(ast.unparse(node), node, beside)


def _attributes(constructor: Function, beside: dict[int, str]) -> Iterator[str]:
    """Yield the public attributes that a constructor sets with a comment."""
    for node in ast.walk(constructor):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.end_lineno in beside:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            kind = f": {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else ""
            if isinstance(target, ast.Attribute) and not target.attr.startswith("_"):
                yield _with_remark(target.attr + kind, node, beside)


def _with_remark(code: str, node: ast.stmt, beside: dict[int, str]) -> str:
    remark = beside.get(node.end_lineno or 0)
    return f"`{code}`: {remark}" if remark else f"`{code}`"


def _signature(function: Function, name: str | None = None) -> str:
    """Return the signature of a function without `self`. A long one has a line for each parameter."""
    arguments = function.args
    arguments.args = [argument for argument in arguments.args if argument.arg != "self"]
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    if "property" in decorators:
        return f"{function.name}: {returns.removeprefix(' -> ')}"
    before = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    if "asynccontextmanager" in decorators:
        before, returns = "async with ", returns.replace("AsyncIterator[", "").replace("]", "").replace(" -> ", " as ")
    inside = ast.unparse(arguments).replace("=", " = ")  # each parameter has a type
    if len(inside) > 80:
        inside = "\n    " + inside.replace(", ", ",\n    ") + ",\n"
    return f"{before}{name or function.name}({inside}){returns}"


def _alias(name: str) -> str:
    """Return the definition of a type from the module that has it."""
    for module in (events, sansio_protocol):
        source = inspect.getsource(module)
        for node in ast.parse(source).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return ast.get_source_segment(source, node) or ""
    raise LookupError(name)


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def _text(node: ast.ClassDef | Function) -> str:
    return (ast.get_docstring(node) or "") + "\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
