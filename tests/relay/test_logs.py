"""One event is one line, and no value in it can move a cursor, forge a line or hide text."""

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from relay import logs
from relay.configuration.config import LogFormat, LogLevel
from tests.support.rows import each_row


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.setup(stream)
    yield stream
    structlog.reset_defaults()
    logging.basicConfig(handlers=handlers, level=level, force=True)


def test_an_event_is_a_line_of_time_level_event_and_fields(written: io.StringIO) -> None:
    structlog.get_logger().info("listening", address="127.0.0.1:9999", node="n1", seconds=0.5)
    time, rest = written.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == "info listening address=127.0.0.1:9999 node=n1 seconds=0.5\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("张三", "张三"),
        ("two words", "'two words'"),
        ("", "''"),
        ("a=b", "'a=b'"),
        ("x\ninfo forged", r"'x\ninfo forged'"),
        ("\x1b[2J", r"'\x1b[2J'"),
        ("a\u202eb", r"'a\u202eb'"),
        ("a\u2028b", r"'a\u2028b'"),
        ("\x9b2J", r"'\x9b2J'"),
        ("\ud800", r"'\ud800'"),
        (b"\x1b[2J", '''"b'\\\\x1b[2J'"'''),
    ],
)
def test_a_value_from_a_peer_is_escaped(value: object, shown: str, written: io.StringIO) -> None:
    structlog.get_logger().warning("said", name=value)
    assert written.getvalue().endswith(f" said name={shown}\n")
    assert written.getvalue().count("\n") == 1


def test_an_event_text_is_escaped_too(written: io.StringIO) -> None:
    structlog.get_logger().info("bad\x1b[2J\nname")
    assert written.getvalue().endswith(" info bad\\x1b[2J\\nname\n")


def test_an_exception_stays_on_its_line(written: io.StringIO) -> None:
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert written.getvalue().count("\n") == 1
    assert "ValueError: bad" in written.getvalue()


def test_the_standard_library_logs_the_same_way(written: io.StringIO) -> None:
    logging.getLogger("asyncio").error("task %s failed\n", "\x1b[2J", exc_info=ValueError("why"))
    assert written.getvalue().count("\n") == 1
    assert " error task \\x1b[2J failed\\n exception=" in written.getvalue()


def test_no_colours_without_a_terminal(written: io.StringIO) -> None:
    structlog.get_logger().error("failed")
    assert "\x1b" not in written.getvalue()


class TestJson:
    @pytest.fixture
    def written(self) -> Iterator[io.StringIO]:
        stream = io.StringIO()
        handlers, level = logging.root.handlers[:], logging.root.level
        logs.setup(stream, style=LogFormat.JSON)
        yield stream
        structlog.reset_defaults()
        logging.basicConfig(handlers=handlers, level=level, force=True)

    def test_an_event_is_an_object_with_its_fields(self, written: io.StringIO) -> None:
        structlog.get_logger().info("listening", address="127.0.0.1:9999", seconds=0.5)
        fields = json.loads(written.getvalue())
        assert fields.pop("timestamp").endswith("Z")
        assert fields == {"level": "info", "event": "listening", "address": "127.0.0.1:9999", "seconds": 0.5}

    @pytest.mark.parametrize("value", ["张三", "x\n{}", "\x1b[2J", "a\u202eb", "\ud800", '"}'])
    def test_a_value_from_a_peer_can_forge_nothing(self, value: str, written: io.StringIO) -> None:
        structlog.get_logger().warning("said", name=value)
        text = written.getvalue()
        assert text.isascii()
        assert text.removesuffix("\n").isprintable()
        assert json.loads(text)["name"] == value

    def test_an_exception_and_what_is_no_json_are_text(self, written: io.StringIO) -> None:
        try:
            raise ValueError("bad\nvalue")
        except ValueError:
            structlog.get_logger().exception("failed", path=Path("/x"))
        fields = json.loads(written.getvalue())
        assert "ValueError: bad" in fields["exception"]
        assert fields["path"] == "/x"

    def test_the_standard_library_logs_the_same_way(self, written: io.StringIO) -> None:
        logging.getLogger("asyncio").error("task %s failed", 7)
        fields = json.loads(written.getvalue())
        assert (fields["level"], fields["event"]) == ("error", "task 7 failed")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_a_level_leaves_out_what_is_below(level: LogLevel, expected: list[str], written: io.StringIO) -> None:
    logs.setup(written, level=level)
    log = structlog.get_logger()
    for method in (log.debug, log.info, log.warning, log.error):
        method("event")
    assert [line.split()[1] for line in written.getvalue().splitlines()] == expected


def test_a_line_that_others_wait_for_is_never_left_out(written: io.StringIO) -> None:
    logs.setup(written, level=LogLevel.ERROR)
    logs.always().info("listening", address="127.0.0.1:9999")
    assert logs.listening(written.getvalue()) == "127.0.0.1:9999"


@pytest.mark.parametrize("style", LogFormat)
def test_the_line_of_a_node_that_listens_is_found_in_any_format(style: LogFormat, written: io.StringIO) -> None:
    logs.setup(written, style=style)
    structlog.get_logger().info("starting", address="other")
    structlog.get_logger().info("listening", address="[::1]:9999", node="n1")
    assert [logs.listening(line) for line in written.getvalue().splitlines()] == ["", "[::1]:9999"]


@each_row("line", ["", "{", "{}", '{"event":"listening"}', "[]", '{"event": ["listening"]}'])
def test_no_other_line_is_taken_for_that_of_a_node_that_listens(line: str) -> None:
    assert logs.listening(line) == ""


def test_a_reader_that_does_not_read_holds_nobody_up() -> None:
    """Lines without room are dropped, and reported once there is room."""
    read, write = os.pipe()
    handlers, level = logging.root.handlers[:], logging.root.level
    with os.fdopen(read, "rb", buffering=0) as reader, os.fdopen(write, "w") as stream:
        logs.setup(stream)
        log = structlog.get_logger()
        for number in range(3000):  # a pipe holds 64 KiB
            log.info("something", number=number)
        first = reader.read(1 << 20)
        log.info("again")
        rest = reader.read(1 << 20)
    structlog.reset_defaults()
    logging.basicConfig(handlers=handlers, level=level, force=True)
    numbers = [int(line.rpartition(b"=")[2]) for line in first.splitlines()]
    assert numbers == list(range(len(numbers)))
    told, again = rest.splitlines()
    assert again.endswith(b" info again")
    assert told.endswith(b"lines=%d" % (3000 - len(numbers)))


@pytest.mark.parametrize("style", LogFormat)
def test_each_line_of_a_node_names_it(style: LogFormat) -> None:
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.setup(stream, style=style, node="n7")
    try:
        structlog.get_logger().info("what")
        logs.always().info("listening", node="n7")
        logging.getLogger("library").warning("what")
    finally:
        structlog.reset_defaults()
        logging.basicConfig(handlers=handlers, level=level, force=True)
    lines = stream.getvalue().splitlines()
    named = "node=n7" if style is LogFormat.CONSOLE else '"node": "n7"'
    assert [line.count(named) for line in lines] == [1, 1, 1]


class TestSpells:
    """Troubles that occur again and again."""

    def test_the_first_is_said_at_once_and_the_others_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        spell = logs.Spell("it rains", "the sun shines")
        with capture_logs() as lines:
            for _ in range(10):
                spell.again(drops=1)
            monkeypatch.setattr(logs, "SPELL_SECONDS", 0.0)
            spell.again(drops=2)
        assert [(line["event"], line["drops"], line.get("times")) for line in lines] == [
            ("it rains", 1, None),
            ("it rains", 2, 10),
        ]

    def test_the_end_of_a_spell_is_said_once_and_the_next_one_begins_at_once(self) -> None:
        spell = logs.Spell("it rains", "the sun shines")
        with capture_logs() as lines:
            spell.over()
            for _ in range(2):
                spell.again()
                spell.again()
                spell.over()
                spell.over()
        assert [line["event"] for line in lines] == ["it rains", "the sun shines"] * 2
        assert lines[1]["times"] == 2


def test_at_a_terminal_the_level_and_the_event_have_colours_and_values_still_have_none() -> None:
    shown = logs.line({"level": "error", "event": "failed\x1b[2J", "name": "\x1b[2J"}, colours=True)
    level, event, name = shown.split(" ")
    for coloured, text in ((level, "error"), (event, r"failed\x1b[2J")):
        assert re.fullmatch(rf"\x1b\[\d+m{re.escape(text)}\x1b\[0m", coloured)
    assert name == r"name='\x1b[2J'"
