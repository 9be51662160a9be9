"""Values of a type, made from the type alone, so that no field can be forgotten and no name of a field matters."""

import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

# A letter beyond ASCII, and a character that JSON escapes.
WORD = 'wörd"{}'


def samples(struct: type[Struct]) -> Iterator[tuple[str, Struct]]:
    """Yield values of a struct, each with a description.



    They are: the struct with its required fields, with all fields, with each optional field alone, and with each other
    value that a field may have.
    """
    hints = get_type_hints(struct, include_extras=True)
    every = {field.name: list(_values(hints[field.name], place)) for place, field in enumerate(fields(struct))}
    needed = {field.name: every[field.name][0] for field in fields(struct) if _needed(field)}
    yield "least", struct(**needed)
    yield "all", struct(**{name: values[0] for name, values in every.items()})
    for place, (name, values) in enumerate(every.items()):
        for number, value in enumerate(values):
            if number or name not in needed:
                yield f"field {place}, value {number}", struct(**needed | {name: value})


def _needed(field: Any) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def _values(of: Any, place: int) -> Iterator[Any]:
    """Return values of a type. Other samples use the first one. `place` makes the values of two fields differ."""
    origin, arguments = get_origin(of), get_args(of)
    if origin is Annotated:
        least = arguments[1].min_length or 0
        yield from (value for value in _values(arguments[0], place) if not least or len(value) >= least)
    elif origin is Literal:
        yield from arguments
    elif origin in (Union, types.UnionType):
        for kind in arguments:
            yield from _values(kind, place)
    elif origin is list or (origin is tuple and arguments[-1] is ...):
        one, two = next(_values(arguments[0], place)), next(_values(arguments[0], place + 1))
        yield from (origin((one, two)), origin((one,)), origin())
    elif origin is tuple:
        yield tuple(next(_values(kind, place + number)) for number, kind in enumerate(arguments))
    elif isinstance(of, type) and issubclass(of, Struct):
        yield from (value for what, value in reversed([*samples(of)][:2]))
    elif isinstance(of, type) and issubclass(of, tuple):  # its fields have names
        yield of(*(next(_values(kind, place + number)) for number, kind in enumerate(get_type_hints(of).values())))
    else:
        yield from _plain(of, place)


def _plain(of: type, place: int) -> Iterator[Any]:
    if issubclass(of, Enum):
        yield from sorted(of, key=lambda member: str(member.value))
    elif of is bool:
        yield from (True, False)
    elif of is str:
        yield from (WORD.format(place), "")
    elif of is int:
        yield from (place + 1, 2**53 - 1)
    elif of is float:
        yield from (place + 0.25, 30.0)
    elif of is type(None):
        yield None
    else:
        raise TypeError(f"there are no samples of {of}")
