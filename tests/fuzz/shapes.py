"""Random values of the wire's types: each field has a value of its type."""

import types
from collections.abc import Callable
from functools import reduce
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

Strings = st.SearchStrategy[str]

# Any text that a field may hold: Unicode without lone surrogates, which no message may hold.
WORDS: Strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def shapes(of: Any, words: Strings = WORDS, numbers: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a type, with these texts, and these integers within the type's bounds."""
    origin, arguments = get_origin(of), get_args(of)
    inner: Callable[[Any], st.SearchStrategy[Any]] = lambda kind: shapes(kind, words, numbers)  # noqa: E731
    if origin is Annotated:
        return _bounded(arguments[0], inner(arguments[0]), arguments[1], numbers)
    if origin in (Union, types.UnionType):
        return st.one_of([inner(kind) for kind in arguments])
    if origin is list:
        return st.lists(inner(arguments[0]), max_size=4)
    if origin is tuple and arguments[-1] is not ...:
        return st.tuples(*map(inner, arguments))
    if origin is tuple:
        return st.lists(inner(arguments[0]), max_size=4).map(tuple)
    if isinstance(of, type) and issubclass(of, msgspec.Struct):
        hints = get_type_hints(of, include_extras=True)
        return st.builds(of, **{name: inner(hints[name]) for name in of.__struct_fields__})
    if isinstance(of, type) and issubclass(of, tuple):  # it is a NamedTuple
        hints = get_type_hints(of, include_extras=True)
        return st.builds(of, **{name: inner(kind) for name, kind in hints.items()})
    if of is str:
        return words
    if of is int:
        return numbers if numbers is not None else st.integers(-(2**63), 2**63 - 1)
    if of is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    return st.from_type(of)


def _bounded(
    of: Any, free: st.SearchStrategy[Any], meta: msgspec.Meta, numbers: st.SearchStrategy[int] | None
) -> st.SearchStrategy[Any]:
    """Return a strategy within the bounds of a field: the length of a text, or the range of a number."""
    if meta.min_length is not None:
        return free.filter(lambda text: len(text) >= (meta.min_length or 0))
    if meta.max_length is not None:
        return free.filter(lambda text: len(text) <= (meta.max_length or 0))
    assert isinstance(meta.ge, int)
    assert isinstance(meta.le, int)
    low, high = meta.ge, meta.le
    if of is float:
        return st.floats(low, high)
    whole = st.integers(low, high)
    return whole if numbers is None else numbers.filter(lambda number: low <= number <= high) | whole


def kinds(union: Any) -> list[Any]:
    """Return the members of a union."""
    return list(get_args(union))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Return the pieces of `data` when it is cut at these places."""
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]


def joined(pieces: list[bytes]) -> bytes:
    """Return the pieces joined."""
    return reduce(bytes.__add__, pieces, b"")
