"""The reference of the library is up to date with the docstrings, and has every published name."""

import inspect

import pytest

import pairchat
from tests.support.rows import each_row
from tools import reference

PAGE = reference.PAGE.read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    assert reference.page() == PAGE, "run `make reference`"


@each_row("name", pairchat.__all__)
def test_each_published_name_is_in_the_reference(name: str) -> None:
    value = getattr(pairchat, name)
    is_type = not inspect.isclass(value) and not inspect.isfunction(value)
    assert f"\n{name} = " in PAGE if is_type else f"\n### `{name}`\n" in PAGE


@pytest.mark.parametrize("kind", [pairchat.Chat, pairchat.Receipt, pairchat.ClientProtocol])
def test_each_public_method_says_what_it_promises(kind: type) -> None:
    for name, member in vars(kind).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            assert member.__doc__, name
            is_internal = member.__doc__.startswith(reference.INTERNAL)
            assert (f"#### `{kind.__name__}.{name}`\n" in PAGE) != is_internal, name
