"""One event is one line, and no value in it can move a cursor, forge a line or hide text."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from relay import logs


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
