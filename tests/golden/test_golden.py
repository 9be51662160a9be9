"""Each literal file equals the one that today's code makes.



After a change that others are meant to see, write the files with `python -m tests.golden`, and read the diff.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import pytest
from msgspec import Struct

from tests.golden import code, events, sheets
from tests.golden.samples import samples

ANEW = "; if others are meant to see that, write it anew: python -m tests.golden"


@pytest.mark.parametrize("sheet", sheets.SHEETS)
def test_each_sheet_of_what_others_see_is_unchanged(sheet: str) -> None:
    before = sheets.file(sheet).read_text(encoding="utf-8").splitlines()
    assert sheets.text(sheet).splitlines() == before, f"{sheet} has changed{ANEW}"


def test_there_is_no_file_that_nothing_is_compared_with() -> None:
    assert {file.stem for file in sheets.FOLDER.iterdir()} == set(sheets.SHEETS)


def structs(kind: type[Struct] = Struct) -> Iterator[type[Struct]]:
    for one in kind.__subclasses__():
        yield one
        yield from structs(one)


def test_whatever_has_a_name_on_the_wire_is_shown() -> None:
    ours = (one for one in structs() if one.__module__.split(".")[0] in code.ROOTS)
    leaves = {one for one in ours if not one.__subclasses__() and not one.__module__.startswith(code.PRIVATE)}
    tagged = {one for one in leaves if one.__struct_config__.tag}
    assert tagged == {*code.CLIENT_FRAMES, *code.NODE_FRAMES, *code.MAIL}


def test_every_way_to_make_a_key_is_shown() -> None:
    assert code.keys_made() == code.KEYS_SHOWN


def test_every_failure_of_pairchat_has_its_status() -> None:
    assert {type(error) for error in code.PAIRCHAT_FAILURES.values()} == code.failures_of_pairchat()


def test_whoever_logs_is_read() -> None:
    """A call that looks like logging and isn't found as such would be an event that nobody compares."""
    unread = set[str]()
    for file in code.ROOTS["relay"].rglob("*.py"):
        unread.update(events.unread(ast.parse(file.read_text(encoding="utf-8"))))
    assert unread == code.NOT_LOGGED


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct, array_like=True):
    number: int
    more: bool = False


class Outer(Struct, array_like=True, tag="outer"):
    word: str
    inner: Inner
    colour: Colour = Colour.RED
    numbers: list[float] = []
    maybe: str | int | None = None


def test_samples_show_every_field_and_each_of_its_values() -> None:
    shown = dict(samples(Outer))
    assert shown["least"] == Outer('wörd"0', Inner(2**0, True))
    assert shown["all"] == Outer('wörd"0', Inner(1, True), Colour.BLUE, [3.25, 4.25], 'wörd"4')
    assert {sample.colour for sample in shown.values() if isinstance(sample, Outer)} == set(Colour)
    maybe = [sample.maybe for sample in shown.values() if isinstance(sample, Outer)]
    assert [value for value in maybe if value is not None] == ['wörd"4', 'wörd"4', "", 5, 2**53 - 1]


def test_a_field_of_a_type_without_samples_is_noticed() -> None:
    class Strange(Struct):
        field: complex

    with pytest.raises(TypeError, match="no samples of <class 'complex'>"):
        list(samples(Strange))


@dataclass
class Found:
    source: str
    events: list[str]


READ = [
    Found('log.info("a", b=1, c=2)', ["info: a (b, c)"]),
    Found('_log.warning("a", **{"b": 1} if x else {})', ["warning: a (**b)"]),
    Found('logs.always().info("a")', ["info: a ()"]),
    Found('who = {"b": 1}\nlog.error("a", **who)', ["error: a (**b)"]),
    Found(
        's = Spell("a", "over")\ns.again(b=1)\ns.again(c=1)\ns.over()',
        ["info, as it lasts: over ()", "warning, as it lasts: a (b, c)"],
    ),
    Found("outbox.over(1)\nresult.exception()", []),
]


@pytest.mark.parametrize("found", READ, ids=lambda found: found.source)
def test_events_are_read_from_the_source(found: Found) -> None:
    assert sorted(events.of(ast.parse(found.source))) == found.events
    assert list(events.unread(ast.parse(found.source))) == []


@pytest.mark.parametrize(
    "source", ['other.warning("a")', 'self._logger.info(f"{a}")', 'Spell("a").again()', "Spell(x)"]
)
def test_a_call_of_a_logger_that_can_t_be_read_is_noticed(source: str) -> None:
    tree = ast.parse(source)
    try:
        list(events.of(tree))
    except AssertionError:
        return
    assert list(events.unread(tree))
