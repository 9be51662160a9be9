"""Which first lines are HTTP's, and which are names."""

import pytest

from relay.web.first_line import HEAD_BYTES, METHOD_BYTES, FirstLine, Speaks, look

HTTP = [
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\n",
    b"get /x HTTP/1.1\r\n",
    b"POST http://127.0.0.1:9999/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.0\r\n",
    b"CONNECT somewhere:443 HTTP/1.1\r\n",
    b"M-SEARCH * HTTP/1.1\r\n",
    b"A" * METHOD_BYTES + b" / HTTP/1.1\r\n",
    b"GET /a b c HTTP/1.1\r\n",
    b"GET  HTTP/1.1\r\n",
    b"GET\t/\tHTTP/1.1\r\n",
    b"GET / HTTP/1.1 \r\n",
    b"GET /\xff HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"GET /" + b"x" * (HEAD_BYTES - 16) + b" HTTP/1.1\n",
]
LINES = [
    b"alice\n",
    b"alice eyJhbGciOiJFZERTQSJ9.e30.x\r\n",
    b"GET\n",
    b"GET /\r\n",
    b"GET / HTTP/1\r\n",
    b"GET / HTTP/1.1x\r\n",
    b"To:bob / HTTP/1.1\r\n",  # no method has a colon
    b'{"type":"hello","name":"a","x":" HTTP/1.1"}\n',
    b"\r\nGET / HTTP/1.1\r\n",
    b" GET / HTTP/1.1\r\n",
    b"A" * (METHOD_BYTES + 1) + b" / HTTP/1.1\r\n",
    b"\n",
]


@pytest.mark.parametrize(
    ("line", "speaks"), [*((line, Speaks.HTTP) for line in HTTP), *((x, Speaks.LINES) for x in LINES)]
)
def test_a_first_line_is_told_for_http_or_a_name_in_whatever_pieces_it_comes(line: bytes, speaks: Speaks) -> None:
    assert look(line) is speaks
    assert look(line + b"\nGET / HTTP/1.1\r\n") is speaks
    told = [look(line[:end]) for end in range(1, len(line) + 1)]
    undecided = told.index(speaks)
    assert set(told[:undecided]) <= {Speaks.UNKNOWN}
    assert set(told[undecided:]) == {speaks}


@pytest.mark.parametrize(("start", "speaks"), [(b"GET /", Speaks.HTTP), (b"alice ", Speaks.LINES)])
def test_a_first_line_without_an_end_is_not_waited_for_for_ever(start: bytes, speaks: Speaks) -> None:
    assert look(start + b"x" * (HEAD_BYTES - len(start) - 1)) is Speaks.UNKNOWN
    assert look(start + b"x" * (HEAD_BYTES - len(start))) is speaks
    assert look(start + b"x" * HEAD_BYTES + b"\n") is speaks


def test_a_first_line_that_cannot_be_a_request_is_kept_as_long_as_a_line_at_most() -> None:
    """It has no name yet, so nothing else bounds it."""
    for end in range(100, 110):
        assert look(b"ann " + b"x" * end, 100) is Speaks.LINES
    assert look(b"ann " + b"x" * 97, 100) is Speaks.UNKNOWN
    assert look(b"ann " + b"x" * 97 + b" HTTP/1.1\r\n", 100) is Speaks.LINES
    assert look(b"GET /" + b"x" * 97 + b" HTTP/1.1\r\n", 100) is Speaks.HTTP
    assert look(b"GET " + b" " * 97 + b"/ HTTP/1.1\r\n", 100) is Speaks.LINES


def test_a_long_first_line_is_read_in_linear_time() -> None:
    """A pattern that looked at each pair of places would take minutes here."""
    for filler in (b" ", b"\t", b" HTTP/1.1", b"a"):
        line = (b"GET " + filler * HEAD_BYTES)[: HEAD_BYTES - 2] + b"x\n"
        assert look(line) is Speaks.LINES


def test_no_byte_is_lost() -> None:
    first = FirstLine(100)
    for piece in (b"al", b"i", b"ce\nTo:b"):
        assert list(first.feed(piece)) == []
    assert first.half == 10
    assert first.look() is Speaks.LINES
    assert first.take() == b"alice\nTo:b"
    assert first.half == 0
