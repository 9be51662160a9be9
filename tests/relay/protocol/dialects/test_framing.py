"""Chunks are cut into the same lines, wherever the chunks are cut."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.commands_and_events import Malformed
from relay.protocol.dialects.framing import Framer, LineFramer, RawFramer, TooLong, too_long
from relay.protocol.errors import Code
from tests.support.rows import each_row

LONG = TooLong(5, b"12345")


def fed(framer: Framer, *chunks: bytes) -> list[bytes | TooLong]:
    return [line for chunk in chunks for line in framer.feed(chunk)]


@each_row(
    ("chunks", "lines"),
    [
        ([b"one\n"], [b"one"]),
        ([b"one\ntwo\n"], [b"one", b"two"]),
        ([b"\n\n"], [b"", b""]),
        ([b"o", b"ne", b"\n"], [b"one"]),
        ([b"one\ntw", b"o\nthree"], [b"one", b"two"]),
        ([b"", b"one", b""], []),
        ([b"one\r\n"], [b"one"]),
        ([b"one\r", b"\n"], [b"one"]),
        ([b"o\rne\r\r\n"], [b"o\rne\r"]),
        ([b"\x00\xff\n"], [b"\x00\xff"]),
        # the limit is on what the line holds, not on its end
        ([b"12345\n"], [b"12345"]),
        ([b"12345\r\n"], [b"12345"]),
        ([b"12345\r", b"\n"], [b"12345"]),
        ([b"12345", b"\r", b"\n"], [b"12345"]),
        ([b"12345", b"\r", b"", b"\n"], [b"12345"]),
        ([b"123456\n"], [LONG]),
        ([b"12345\r\r\n"], [LONG]),
        ([b"12345\r", b"\r\n"], [LONG]),
        ([b"12345\r", b"6\n"], [LONG]),
        # reported once, in its place, and nothing of it comes back as a line
        ([b"one\n123456\ntwo\n"], [b"one", LONG, b"two"]),
        ([b"12", b"34", b"56", b"78", b"90\none\n"], [LONG, b"one"]),
        ([b"123456", b"\n", b"one\n"], [LONG, b"one"]),
        ([b"123456\n123456", b"7\n1234567\n"], [LONG, LONG, LONG]),
        ([b"123456", b"78\nab", b"c\n"], [LONG, b"abc"]),
    ],
)
def test_lines_of_at_most_five_bytes(chunks: list[bytes], lines: list[bytes | TooLong]) -> None:
    assert fed(LineFramer(5), *chunks) == lines


def test_a_long_line_is_refused_before_it_ends() -> None:
    assert LineFramer(5).feed(b"123456") == [LONG]


@each_row("cut", [1, 255, 256, 257, 1000, 1001, 1500])
def test_the_beginning_of_a_long_line_is_left_however_it_came(cut: int) -> None:
    line = b"".join(b"%03d." % n for n in range(500))
    (long,) = fed(LineFramer(1000), line[:cut], line[cut:], b"\n")
    assert long == TooLong(1000, line[:256])
    assert RawFramer(1000).feed(line) == [long]


def test_a_fragment_is_forgotten_at_the_end_of_the_stream() -> None:
    framer = LineFramer(5)
    assert framer.feed(b"one\ntwo") == [b"one"]
    framer.eof()
    assert framer.feed(b"\n") == [b""]


def test_an_endless_line_is_not_kept() -> None:
    framer = LineFramer(100_000)
    tracemalloc.start()
    try:
        for _ in range(1000):
            framer.feed(b"x" * 1000)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5_000
    assert peak < 300_000  # a growing buffer while it is copied


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"\r\n", b"\r", b"12345"])))
def test_where_the_chunks_are_cut_makes_no_difference(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert fed(LineFramer(5), *chunks, b"\n") == fed(LineFramer(5), whole + b"\n")
    assert fed(LineFramer(5), *(bytes([byte]) for byte in whole), b"\n") == fed(LineFramer(5), whole + b"\n")


@given(st.binary())
def test_lines_are_what_splitting_gives(data: bytes) -> None:
    split = [line.removesuffix(b"\r") for line in data.split(b"\n")[:-1]]
    long = [line if len(line) <= 5 else TooLong(5, line[:5]) for line in split]
    assert LineFramer(5).feed(data)[: len(split)] == long


@each_row(
    ("read", "lines"),
    [
        (b"alice", [b"alice"]),
        (b"bob\n", [b"bob"]),
        (b"bob\r\n", [b"bob"]),
        (b"a\nb", [b"a\nb"]),
        (b"a\n\n", [b"a\n"]),
        (b"\n", [b""]),
        (b"12345\r\n", [b"12345"]),
        (b"123456", [LONG]),
        (b"", []),
    ],
)
def test_each_read_is_one_message_in_the_classic_dialect(read: bytes, lines: list[bytes | TooLong]) -> None:
    framer = RawFramer(5)
    assert framer.feed(read) == lines
    framer.eof()


def test_the_refusal_of_a_long_line_names_the_limit() -> None:
    assert too_long(LONG) == Malformed(Code.TOO_LONG, "line too long: at most 5 bytes")
