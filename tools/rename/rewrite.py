"""One source file with its new imports, and with the new names of modules in its code, strings and comments."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator

from tools.rename.scopes import bound_in, uses
from tools.rename.table import Table

_TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}
_QUOTED = re.compile(r"`relay(?:\.[a-z_]+)*\.(\w+)`")
_LITERAL = re.compile(r"""(("{3}|'{3}|"|'))(.*)\2""", re.DOTALL)
_PROGRAM = re.compile(r"^(from|import) relay\b.*[;\n]", re.MULTILINE)
LINE = 121  # characters, the one that ends it too
Edit = tuple[int, int, str]  # from, to (in characters), and what stands there instead


class Source:
    """A file's text, its syntax tree, and the places of its nodes in the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._lines = [f"{line}\n" for line in text.split("\n")]  # only these end a line for Python
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def place(self, line: int, column: int) -> int:
        """Where this line and column (in bytes, as `ast` counts) is."""
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where this node begins and ends."""
        line, column = getattr(node, "end_lineno"), getattr(node, "end_col_offset")  # noqa: B009  not of every node
        return self.place(getattr(node, "lineno"), getattr(node, "col_offset")), self.place(line, column)  # noqa: B009

    def line(self, number: int) -> str:
        """One of its lines, counted from 1."""
        return self._lines[number - 1]

    def token(self, line: int, column: int) -> int:
        """Where this line and column (in characters, as `tokenize` counts) is."""
        return self._starts[line - 1] + column


def rewritten(old_path: str, text: str, table: Table) -> str:
    """What the file is to hold at its new place."""
    source = Source(text)
    edits = [*_imports(source, table), *_chains(source, table), *_parents(source, old_path, table)]
    edits += _texts(source, table)
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return "".join(shortened(line) if len(line) > LINE else line for line in text.splitlines(keepends=True))


def shortened(text: str) -> str:
    """With `write_buffer` in place of `relay.server.write_buffer`, which a line may have no room for."""
    return _QUOTED.sub(lambda found: f"`{found[1]}`", text)


def local_names(tree: ast.Module, table: Table) -> dict[tuple[ast.AST, str], str]:
    """The modules that a file imports under a name of theirs that changes: the scope and name of each, and the new.

    A module whose new name the file uses for something else keeps its old name there.
    """
    found: dict[tuple[ast.AST, str], str] = {}
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            for node in _own_imports(scope):
                for alias in node.names:
                    module = f"{node.module}.{alias.name}"
                    if module in table.modules and alias.asname in (None, alias.name):
                        leaf = table.module(module).rpartition(".")[2]
                        if leaf != alias.name:
                            found[scope, alias.name] = leaf
    taken = set[str]()
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            taken |= bound_in(scope) - {old for binder, old in found if binder is scope}
    return {key: leaf for key, leaf in found.items() if leaf not in taken}


def _own_imports(scope: ast.AST) -> Iterator[ast.ImportFrom]:
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own_imports(node)


def _imports(source: Source, table: Table) -> Iterator[Edit]:
    renamed = local_names(source.tree, table)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module and _ours(node.module):
            statements = _statements(node, table, {old for _, old in renamed})
            indent = "\n" + " " * node.col_offset
            yield (*source.span(node), indent.join(statements))
        elif isinstance(node, ast.Import) and any(_ours(alias.name) for alias in node.names):
            words = [table.module(one.name) + (f" as {one.asname}" if one.asname else "") for one in node.names]
            yield (*source.span(node), f"import {', '.join(words)}")
    for name, binder in uses(source.tree):
        if binder is not None and (binder, name.id) in renamed:
            yield (*source.span(name), renamed[binder, name.id])


def _ours(module: str) -> bool:
    return module.split(".")[0] in ("relay", "pairchat", "tests")


def _statements(node: ast.ImportFrom, table: Table, renamed: set[str]) -> list[str]:
    """The imports that take the place of one. `renamed`: modules whose names in this file change with them."""
    definitions: dict[str, list[str]] = defaultdict(list)
    modules = []
    assert node.module
    for alias in node.names:
        full = f"{node.module}.{alias.name}"
        if full in table.modules:
            parent, _, leaf = table.module(full).rpartition(".")
            local = leaf if alias.name in renamed and not alias.asname else alias.asname or alias.name
            modules.append(f"from {parent} import {leaf}" + (f" as {local}" if local != leaf else ""))
        else:
            name, target = alias.name, table.origin(node.module, alias.name)
            definitions[target].append(name + (f" as {alias.asname}" if alias.asname else ""))
    return [*modules, *(f"from {target} import {', '.join(names)}" for target, names in definitions.items())]


def _chains(source: Source, table: Table) -> Iterator[Edit]:
    """`relay.directory.__file__`, after `import relay.directory`."""
    imported = {
        alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if _ours(alias.name) and not alias.asname
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and (name := ast.unparse(node)) in imported:
            yield (*source.span(node), table.module(name))


def _parents(source: Source, path: str, table: Table) -> Iterator[Edit]:
    """`Path(__file__).parents[2]` in a file that goes deeper or higher."""
    deeper = table.paths.get(path, path).count("/") - path.count("/")
    for node in ast.walk(source.tree):
        match node:
            case ast.Subscript(
                value=ast.Attribute(value=ast.Call(args=[ast.Name(id="__file__")]), attr="parents"),
                slice=ast.Constant(value=int(number)) as constant,
            ) if deeper:
                yield (*source.span(constant), str(number + deeper))


def text(before: str, table: Table) -> str:
    """A string's content with the new names, also where it is a program."""
    if _PROGRAM.search(before):
        try:
            return rewritten("", before, table)
        except (SyntaxError, tokenize.TokenError):
            pass  # it only looks like one
    return table.text(before)


def _texts(source: Source, table: Table) -> Iterator[Edit]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type not in _TEXTS:
            continue
        found = _LITERAL.fullmatch(token.string)
        new = found[1] + text(found[3], table) + found[2] if found else table.text(token.string)
        if new != token.string:
            yield source.token(*token.start), source.token(*token.end), new
