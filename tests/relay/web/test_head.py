"""The head of a request."""

import pytest

from relay.web.first_line import HEAD_BYTES
from relay.web.head import BadHead, Head, HeadReader


def read(data: bytes, pieces: int | None = None) -> Head | None:
    """The head in these bytes, which come in pieces."""
    reader, size = HeadReader(), pieces or len(data)
    for at in range(0, len(data), size):
        head = reader.feed(data[at : at + size])
        if head is not None:
            return Head(head.method, head.target, head.version, head.headers, head.rest + data[at + size :])
    return None


@pytest.mark.parametrize("pieces", [None, 1, 7])
class TestHeads:
    def test_a_head_is_read_with_all_its_parts(self, pieces: int | None) -> None:
        head = read(b"GET /a?b HTTP/1.1\r\nHost: x:1\r\nX-Y: 1\r\nx-y:  2 \r\n\r\nbehind", pieces)
        assert head is not None
        assert (head.method, head.target, head.path, head.version) == ("GET", "/a?b", "/a", "1.1")
        assert (head.host, head.all("x-y"), head.one("x-y")) == ("x:1", ["1", "2"], None)
        assert head.rest == b"behind"
        assert not head.has_body

    def test_line_feeds_alone_end_lines_too(self, pieces: int | None) -> None:
        head = read(b"GET / HTTP/1.1\nHost: x\n\n", pieces)
        assert head is not None
        assert head.host == "x"

    def test_a_head_of_http_1_0_needs_no_host(self, pieces: int | None) -> None:
        """As balancers ask for health."""
        head = read(b"OPTIONS / HTTP/1.0\r\n\r\n", pieces)
        assert head is not None
        assert (head.method, head.version, head.host) == ("OPTIONS", "1.0", None)

    @pytest.mark.parametrize("header", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
    def test_a_body_is_announced(self, header: bytes, pieces: int | None) -> None:
        head = read(b"POST / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\nabc", pieces)
        assert head is not None
        assert head.has_body

    def test_a_length_of_nothing_is_no_body(self, pieces: int | None) -> None:
        head = read(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", pieces)
        assert head is not None
        assert not head.has_body

    def test_a_head_that_is_not_whole_is_waited_for(self, pieces: int | None) -> None:
        assert read(b"GET / HTTP/1.1\r\nHost: x\r\n", pieces) is None

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
            (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * HEAD_BYTES + b"\r\n\r\n", 431),
            (b"GET /" + b"y" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
            (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 3000, 431),
        ],
    )
    def test_an_invalid_head_is_refused_with_its_status(self, data: bytes, status: int, pieces: int | None) -> None:
        with pytest.raises(BadHead) as refused:
            read(data, pieces)
        assert refused.value.status == status

    def test_the_largest_there_may_be(self, pieces: int | None) -> None:
        start = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
        head = start + b"y" * (HEAD_BYTES - len(start) - 4) + b"\r\n\r\n"
        assert len(head) == HEAD_BYTES
        assert read(head + b"z" * HEAD_BYTES, pieces) is not None
        with pytest.raises(BadHead):
            read(head.replace(b"X:", b"X:y"), pieces)


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/", "/", "x"),
        ("/ws?a=b", "/ws", "x"),
        ("/ws#a", "/ws", "x"),
        ("*", "*", "x"),
        ("http://y:1/ws?a", "/ws", "y:1"),
        ("http://y", "/", "y"),
        ("http://u:p@y?a=/", "/", "y"),
        ("/http://y/ws", "/http://y/ws", "x"),
    ],
)
def test_a_target_of_each_form(target: str, path: str, host: str) -> None:
    head = Head("GET", target, "1.1", (("host", "x"),))
    assert (head.path, head.host) == (path, host)
