"""A client's side of WebSocket, for bench and torture: held to what a node's side makes of it, and to the library's."""

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from relay.tools.testbed.web_lines import NoWebSocket, WebLines
from relay.web.frames import PING_FRAME, End, MessageFramer, close_frame, text_frame

LINES = [b"{}", b"x" * 125, b"y" * 126, b"z" * 65_535, b"a" * 65_536, "€".encode()]


def shaken(lines: WebLines, behind: bytes = b"") -> bytes:
    """Have a server of the library answer the handshake."""
    server = ServerProtocol()
    server.receive_data(lines.take_owed())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    return lines.feed(b"".join(server.data_to_send()) + behind)


def test_lines_go_to_a_node_as_messages() -> None:
    lines = WebLines("localhost", 1)
    shaken(lines)
    framer = MessageFramer(1 << 20, 1 << 20)
    assert list(framer.feed(lines.frames(b"".join(line + b"\n" for line in LINES)))) == LINES
    assert lines.frames(b"") == b""


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_messages_of_a_node_come_as_lines_however_they_are_cut(size: int) -> None:
    lines, data, told = WebLines("localhost", 1), b"".join(map(text_frame, LINES)), b""
    told += shaken(lines, data[:3])
    for at in range(3, len(data), size):
        told += lines.feed(data[at : at + size])
    assert told == b"".join(line + b"\n" for line in LINES)


def test_control_frames_are_answered() -> None:
    lines = WebLines("localhost", 1)
    assert shaken(lines) == b""
    ping = bytes(Frame(Opcode.PING, b"x").serialize(mask=False))
    assert lines.feed(ping + PING_FRAME + text_frame(b"{}") + close_frame(End(4000, "replaced"))) == b"{}\n"
    server = MessageFramer(100, 100)
    server.feed(lines.take_owed())
    assert server.ended == End(4000, by_client=True)
    assert lines.take_owed() == b""


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"OK\r\n\r\n"],
)
def test_an_answer_that_is_no_handshake_is_told(answer: bytes) -> None:
    with pytest.raises(NoWebSocket):
        WebLines("localhost", 1).feed(answer)


def test_a_binary_message_comes_from_no_node() -> None:
    lines = WebLines("localhost", 1)
    shaken(lines)
    with pytest.raises(NoWebSocket):
        lines.feed(b"\x82\x00")
