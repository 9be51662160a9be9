"""Which binding each name of a source file means."""

import ast
from collections.abc import Iterator

_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.AST
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def uses(tree: ast.Module) -> Iterator[tuple[ast.Name, ast.AST | None]]:
    """Each name that is used or assigned, with the scope that binds it; None for built-ins."""
    yield from _walk(tree.body, [(tree, bound_in(tree))])


def bound_in(scope: ast.AST) -> set[str]:
    """The names that this scope itself binds."""
    names: set[str] = set()
    elsewhere: set[str] = set()
    if isinstance(scope, _FUNCTIONS):
        names |= {one.arg for one in ast.walk(scope.args) if isinstance(one, ast.arg)}
    waiting = _inner(scope)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Global(names=told) | ast.Nonlocal(names=told):
                elsewhere |= set(told)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
                continue
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name.split(".")[0] for alias in aliases}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.add(name)
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                continue
        waiting += ast.iter_child_nodes(node)
    return names - elsewhere


def _inner(scope: ast.AST) -> list[ast.AST]:
    """What is evaluated in the scope itself."""
    if isinstance(scope, ast.Lambda):
        return [scope.body]
    if isinstance(scope, _COMPREHENSIONS):
        return [generator.target for generator in scope.generators]
    body: list[ast.AST] = list(getattr(scope, "body", []))
    return body


def _walk(
    nodes: list[ast.stmt] | list[ast.AST], stack: list[tuple[ast.AST, set[str]]]
) -> Iterator[tuple[ast.Name, ast.AST | None]]:
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node, _binder(node.id, stack)
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            body = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
            inside = set(map(id, body))
            yield from _walk([one for one in _children(node) if id(one) not in inside], stack)
            yield from _walk(list[ast.AST](body), [*stack, (node, bound_in(node))])
        elif isinstance(node, _COMPREHENSIONS):
            yield from _walk(list(ast.iter_child_nodes(node)), [*stack, (node, bound_in(node))])
        else:
            yield from _walk(list(ast.iter_child_nodes(node)), stack)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a definition that are evaluated outside of it: decorators, defaults, annotations, bases."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.arguments):
            yield from (one for one in ast.walk(child) if isinstance(one, ast.arg) and one.annotation)
            yield from (*child.defaults, *(default for default in child.kw_defaults if default))
        else:
            yield child


def _binder(name: str, stack: list[tuple[ast.AST, set[str]]]) -> ast.AST | None:
    for number, (scope, bound) in enumerate(reversed(stack)):
        if name in bound and (number == 0 or not isinstance(scope, ast.ClassDef)):
            return scope
    return None
