"""Renames members of classes, parameters and words that have one meaning only, by members.toml."""

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from tools.rename.moves import LEFT_ALONE, tracked
from tools.rename.names import applied, edited, formatted, texts
from tools.rename.rewrite import Edit, Source
from tools.rename.scopes import uses
from tools.rename.table import HERE, ROOT, module_of
from tools.rename.types import File, Place, files

_WORD: Final = re.compile(r"[A-Za-z_]\w*")
# Calls whose keywords are fields of a log's line.
_LOGGING: Final = {"debug", "info", "warning", "error", "exception", "critical", "again", "over", "bind"}
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


class Members:
    """The tables `members`, `parameters` and `words`."""

    def __init__(self, told: dict[str, Any], files: dict[str, File]) -> None:
        self._words: dict[str, str] = told.get("words", {})
        self._words_in: dict[str, dict[str, str]] = told.get("words_in", {})
        self.members: dict[str, str] = dict(told.get("members", {}))
        self.parameters: dict[str, str] = told.get("parameters", {})
        self.unique: dict[str, str] = told.get("texts", {})  # members that texts name without their class
        self.edits: list[dict[str, str]] = told.get("edit", [])
        self.files = files
        for protocol, classes in told.get("implements", {}).items():
            entries = {old: new for old, new in self.members.items() if old.rpartition(".")[0] == protocol}
            for kind in classes:
                self.members |= {f"{kind}.{old.rpartition('.')[2]}": new for old, new in entries.items()}

    def unknown(self) -> list[str]:
        """Entries whose class isn't there."""
        classes = {kinds[0] for file in self.files.values() for kinds in file.classes.values() if kinds}
        return [member for member in self.members if member.rpartition(".")[0] not in classes]

    def words(self, module: str) -> dict[str, str]:
        """The words that change in a module: those of all modules, and those of the packages around it."""
        inside = (words for package, words in self._words_in.items() if f"{module}.".startswith(f"{package}."))
        return {old: new for words in (self._words, *inside) for old, new in words.items()}

    def member(self, classes: list[str], name: str) -> str | None:
        """The new name of a member of the first of these classes that has one."""
        return next((new for kind in classes if (new := self.members.get(f"{kind}.{name}"))), None)


def main() -> int:
    """Rename everything, and return 1 if an entry of the table didn't fit."""
    members = Members(tomllib.loads((HERE / "members.toml").read_text(encoding="utf-8")), files())
    for path in (path for path in tracked() if path.endswith(".py") and not path.startswith(LEFT_ALONE)):
        text = (ROOT / path).read_bytes().decode()
        source = Source(text)
        edits = Finder(source, module_of(path), members).run()
        edits += texts(source, members.words(module_of(path)) | members.unique)
        (ROOT / path).write_bytes(applied(text, edits).encode())
    wrong = [f"the table has {name}, which isn't there" for name in members.unknown()]
    wrong += edited(members.edits)
    formatted()
    print(*wrong, sep="\n")
    return int(bool(wrong))


class Finder(ast.NodeVisitor):
    """Finds what changes in one file."""

    def __init__(self, source: Source, module: str, members: Members) -> None:
        self.edits: list[Edit] = []
        self._source = source
        self._members = members
        self._module = module
        self._file = members.files.get(module, File())
        self._inside: list[list[str]] = [[]]  # the classes around
        self._names: list[str] = []  # of the definitions around
        self._words = members.words(module)
        functions = [node for node in source.tree.body if isinstance(node, _FUNCTIONS)]
        # Names that mean functions, here or elsewhere: those are for names.toml.
        self._functions = {node.name for node in functions if not _is_fixture(node)}
        imports = (node for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom))
        self._functions |= {alias.asname or alias.name for node in imports for alias in node.names}
        self._own = dict(_parameters(source.tree, module, members))

    def run(self) -> list[Edit]:
        """All edits of the file."""
        self.visit(self._source.tree)
        for name, binder in uses(self._source.tree):
            word = None if name.id in self._functions else self._words.get(name.id)
            if new := self._own.get((id(binder), name.id)) or word:
                self._put(self._source.span(name)[0], name.id, new)
        return self.edits

    def _put(self, start: int, old: str, new: str) -> None:
        assert self._source.text.startswith(old, start), (self._module, old, self._source.text[start : start + 40])
        self.edits.append((start, start + len(old), new))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        classes = self._file.classes.get(node.lineno, [])
        for statement in node.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name) as target):
                    self._member(classes, name, self._source.span(target)[0])
                case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                    for one in ast.walk(value):
                        if isinstance(one, ast.Constant) and isinstance(one.value, str):
                            self._member(classes, one.value, self._source.span(one)[0] + 1, words=True)
                case ast.Assign(targets=[ast.Name(id=name) as target]):
                    self._member(classes, name, self._source.span(target)[0])
        self._inside.append(classes)
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()
        self._inside.pop()

    def _member(self, classes: list[str], name: str, start: int, *, words: bool = False) -> None:
        new = self._members.member(classes, name) or (self._words.get(name) if words else None)
        if new and (words or name not in self._words):
            self._put(start, name, new)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        start = self._source.place(node.lineno, node.col_offset)
        start = self._source.text.index(f"def {node.name}", start) + 4
        if new := self._members.member(self._inside[-1], node.name):
            self._put(start, node.name, new)
        elif node.name in self._words and (self._inside[-1] or _is_fixture(node)):
            self._put(start, node.name, self._words[node.name])
        for decorator in node.decorator_list:
            self._parametrize(decorator)
        self._names.append(node.name)
        inside = self._inside
        self._inside = [*inside, []] if not inside[-1] else inside
        self.generic_visit(node)
        self._inside = inside
        self._names.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_arg(self, node: ast.arg) -> None:
        if new := self._own.get((id(node), node.arg)) or self._words.get(node.arg):
            self._put(self._source.span(node)[0], node.arg, new)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        classes = self._file.expressions.get(_place(node.value), [])
        if not classes and isinstance(node.value, ast.Name) and node.value.id == "self":
            classes = next((kinds for kinds in reversed(self._inside) if kinds), [])
        new = self._members.member(classes, node.attr) or self._words.get(node.attr)
        if new:
            self._put(self._source.span(node)[1] - len(node.attr), node.attr, new)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name and (new := self._words.get(node.name)):
            self._put(self._source.span(node)[1] - len(node.name), node.name, new)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        classes = self._file.expressions.get(_place(node.cls), [])
        for name, pattern in zip(node.kwd_attrs, node.kwd_patterns, strict=True):
            if new := self._members.member(classes, name) or self._words.get(name):
                start = self._source.text.rindex(f"{name}=", 0, self._source.span(pattern)[0])
                self._put(start, name, new)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        logged = isinstance(node.func, ast.Attribute) and node.func.attr in _LOGGING
        for keyword in node.keywords:
            if keyword.arg and not logged and (new := self._keyword(node, keyword.arg)):
                self._put(self._source.span(keyword)[0], keyword.arg, new)
        self._setattr(node)
        self.generic_visit(node)

    def _keyword(self, node: ast.Call, name: str) -> str | None:
        """What a keyword of a call is called: a field, a parameter, or a word that always changes."""
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        copied = called == "replace" and bool(node.args)  # a struct with other values of some fields
        classes = self._file.expressions.get(_place(node.args[0] if copied else node.func), [])
        functions = [f"{kind}.__init__" for kind in classes] + [self._file.functions.get(_place(node.func), "")]
        parameters = (self._members.parameters.get(f"{function}.{name}") for function in functions)
        new = self._members.member(classes, name) or next((one for one in parameters if one), None)
        return new or self._words.get(name)

    def _setattr(self, node: ast.Call) -> None:
        """`monkeypatch.setattr(hub, "post", ...)`, and `getattr`."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("setattr", "getattr", "delattr", "patch") and len(node.args) > 1:
            match node.args[1]:
                case ast.Constant(value=str(text)) as constant:
                    classes = self._file.expressions.get(_place(node.args[0]), [])
                    if new := self._members.member(classes, text) or self._words.get(text):
                        self._put(self._source.span(constant)[0] + 1, text, new)

    def _parametrize(self, node: ast.expr) -> None:
        """`@pytest.mark.parametrize("uid", ...)`."""
        match node:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[names, *_]):
                for one in ast.walk(names):
                    if isinstance(one, ast.Constant) and isinstance(one.value, str):
                        for word in _WORD.finditer(one.value):
                            if new := self._words.get(word[0]):
                                self._put(self._source.span(one)[0] + 1 + word.start(), word[0], new)


def _is_fixture(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether tests ask for it by the name of a parameter."""
    return any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)


def _place(node: ast.AST) -> Place:
    return (
        getattr(node, "lineno", 0),
        getattr(node, "col_offset", 0),
        getattr(node, "end_lineno", 0),
        getattr(node, "end_col_offset", 0),
    )


def _parameters(tree: ast.Module, module: str, members: Members) -> Iterator[tuple[tuple[int, str], str]]:
    """Parameters that change: by the function that binds them, and by themselves."""

    def walk(node: ast.AST, path: str) -> Iterator[tuple[tuple[int, str], str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
                inner = f"{path}.{child.name}"
                if not isinstance(child, ast.ClassDef):
                    for one in ast.walk(child.args):
                        if isinstance(one, ast.arg) and (new := members.parameters.get(f"{inner}.{one.arg}")):
                            yield (id(child), one.arg), new
                            yield (id(one), one.arg), new
                yield from walk(child, inner)
            else:
                yield from walk(child, path)

    yield from walk(tree, module)
