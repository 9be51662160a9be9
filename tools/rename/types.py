"""What mypy knows of a tree: the class of each expression whose member is used, and the function of each call."""

import gc
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mypy import build, nodes, types
from mypy.main import process_options

from tools.rename.table import ROOT, module_of

_OURS: Final = ("relay", "pairchat", "tests", "benchmarks", "tools")
_KEPT: Final = ROOT / "build" / "rename"
# What leads from a node to others that aren't below it.
_ELSEWHERE: Final = {"node", "info", "original_def", "type", "unanalyzed_type", "var", "inferred_type", "analyzed"} | {
    "names",
    "definition",
    "unanalyzed_items",
    "original_first_arg",
    "alias_deps",
    "metadata",
}
Place = tuple[int, int, int, int]  # the first line and column of an expression, and the last


@dataclass
class File:
    """One module. Classes are given by the full names of themselves and of those that they derive from."""

    expressions: dict[Place, list[str]] = field(default_factory=dict)
    functions: dict[Place, str] = field(default_factory=dict)  # what an expression that is called stands for
    classes: dict[int, list[str]] = field(default_factory=dict)  # by the line in which each begins


def files() -> dict[str, File]:
    """What mypy knows of each module, asked once for a state of the work tree."""
    kept = _KEPT / f"{_state()}.pickle"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(pickle.dumps(_ask()))
    found: dict[str, File] = pickle.loads(kept.read_bytes())
    return found


def _state() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    if git("diff", "HEAD", "--name-only", "--", "relay", "cli", "tests", "benchmarks"):
        raise SystemExit("commit what has changed first: names are looked up in what is committed")
    return git("rev-parse", "HEAD:relay")[:12] + git("rev-parse", "HEAD:tests")[:12] + git("rev-parse", "HEAD:cli")[:12]


def _ask() -> dict[str, File]:
    sys.setrecursionlimit(100_000)
    sources, options = process_options([])
    options.export_types = options.preserve_asts = True
    options.incremental = False
    gc.disable()
    result = build.build(sources, options)
    if result.errors:
        raise SystemExit("\n".join(result.errors))
    found = {}
    for name, state in result.graph.items():
        if name.split(".")[0] in _OURS and state.tree:
            found[module_of(str(Path(state.tree.path).resolve().relative_to(ROOT)))] = _file(state.tree, result.types)
    return found


def _file(tree: nodes.MypyFile, known: dict[nodes.Expression, types.Type]) -> File:
    file = File()
    for node in _below(tree, set()):
        if isinstance(node, nodes.ClassDef):
            file.classes[node.line] = _bases(node.info)
        if isinstance(node, nodes.Expression) and node in known and node.end_line and node.end_column is not None:
            place = (node.line, node.column, node.end_line, node.end_column)
            if classes := _classes(known[node]):
                file.expressions[place] = classes
            if function := _function(known[node]):
                file.functions[place] = function
    return file


def _below(node: Any, seen: set[int]) -> Iterator[nodes.Node]:
    if id(node) in seen:
        return
    seen.add(id(node))
    yield node
    for kind in type(node).__mro__:
        for name in getattr(kind, "__mypyc_attrs__", ()):
            if name not in _ELSEWHERE:
                for one in _flat(getattr(node, name, None)):
                    yield from _below(one, seen)


def _flat(value: Any) -> Iterator[nodes.Node]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
    elif isinstance(value, nodes.Node) and not isinstance(value, nodes.TypeInfo | nodes.Var):
        yield value


def _bases(info: nodes.TypeInfo) -> list[str]:
    return [base.fullname for base in info.mro if base.fullname.split(".")[0] in _OURS]


def _classes(found: types.Type) -> list[str]:
    match types.get_proper_type(found):
        case types.Instance() as instance:
            return _bases(instance.type)
        case types.UnionType() as union:
            return list(dict.fromkeys(name for item in union.items for name in _classes(item)))
        case types.TypeVarType() as variable:
            return _classes(variable.upper_bound)
        case types.TypeType() as kind:
            return _classes(kind.item)
        case types.TupleType() as several:
            return _classes(several.partial_fallback)
        case types.CallableType() | types.Overloaded() as function if function.is_type_obj():
            return _bases(function.type_object())
    return []


def _function(found: types.Type) -> str:
    known = types.get_proper_type(found)
    if isinstance(known, types.CallableType) and isinstance(known.definition, nodes.FuncDef | nodes.Decorator):
        return known.definition.fullname
    return ""
