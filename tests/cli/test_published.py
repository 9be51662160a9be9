"""The names that the package publishes."""

import inspect
import types
import typing

import pairchat


def test_published_names_are_all_and_nothing_else() -> None:
    there = {name for name, value in vars(pairchat).items() if not isinstance(value, types.ModuleType)}
    assert {name for name in there if not name.startswith("_")} == set(pairchat.__all__)


def test_whatever_a_published_function_takes_or_returns_is_published() -> None:
    published = {getattr(pairchat, name) for name in pairchat.__all__ if inspect.isclass(getattr(pairchat, name))}
    for owner in (pairchat.Chat, pairchat.Receipt, pairchat.ClientProtocol):
        for name, member in inspect.getmembers(owner):
            function = member.fget if isinstance(member, property) else member
            if not name.startswith("_") and inspect.isfunction(function):
                for wanted in typing.get_type_hints(function).values():
                    missing = {kind for kind in _ours(wanted) if kind not in published}
                    assert not missing, f"{owner.__name__}.{name}: {missing}"


def _ours(hint: object) -> set[object]:
    """Yield the package's own classes in a type."""
    if inspect.isclass(hint) and hint.__module__.startswith("pairchat"):
        return {hint}
    return {kind for part in typing.get_args(hint) for kind in _ours(part)}
