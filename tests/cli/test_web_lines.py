"""The client's lines over WebSocket, without I/O, for any cut of the bytes."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from pairchat.address import WebAddress
from pairchat.errors import ConnectionFailed, NotARelay
from pairchat.web_lines import MOST_PATIENCE, SUBPROTOCOL, WebLines
from tests.support.web import frame

SERVER = WebAddress("relay.example", 80, False)
UPGRADE = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """In one piece, byte by byte, and in two pieces cut at each place."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    yield from ([data[:at], data[at:]] for at in range(1, len(data)))


def shaken() -> tuple[WebLines, ServerProtocol, bytes]:
    """A connection that has sent its handshake, its server, and the server's answer, not yet fed."""
    lines, server = WebLines(SERVER), ServerProtocol(subprotocols=[SUBPROTOCOL])
    server.receive_data(lines.take_owed())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    return lines, server, b"".join(server.data_to_send())


def opened() -> tuple[WebLines, ServerProtocol]:
    lines, server, answer = shaken()
    assert lines.feed(answer) == b""
    assert lines.open
    return lines, server


def from_node(opcode: Opcode, payload: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=False)


def test_the_handshake_names_the_address_and_offers_the_subprotocol_and_no_extension() -> None:
    lines, server = WebLines(WebAddress("höhe.example", 443, True, "/chat", "a=b")), ServerProtocol()
    server.receive_data(lines.take_owed())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.path == "/chat?a=b"
    assert request.headers["Host"] == "xn--hhe-sna.example"
    assert request.headers["Sec-WebSocket-Protocol"] == "pair-relay.1"
    assert not {"Sec-WebSocket-Extensions", "Origin", "Authorization"} & set(request.headers)


def test_a_line_is_a_message_each_way_for_any_cut() -> None:
    said = b'{"type":"pong"}\n{"text":"' + "€".encode() * 60 + b'"}\n{}\n'
    frames = [from_node(Opcode.TEXT, line) for line in said.splitlines()]
    behind = b"".join([frames[0], from_node(Opcode.PING, b"12"), *frames[1:]])
    whole = len(shaken()[2]) + len(behind)
    for cut in [[*range(whole)], *([at] for at in range(whole))]:
        lines, server, answer = shaken()  # each has a key of its own, and so another answer
        data, heard = answer + behind, b""
        for start, end in pairwise([0, *cut, whole]):
            heard += lines.feed(data[start:end])
        assert heard == said
        server.receive_data(lines.take_owed())
        assert server.events_received() == [Frame(Opcode.PONG, b"12")]
    lines, server = opened()
    server.receive_data(lines.frames(said))
    assert [event.data for event in server.events_received() if isinstance(event, Frame)] == said.splitlines()


def test_fragments_are_put_together_around_control_frames() -> None:
    data = b"".join(
        [
            from_node(Opcode.TEXT, b'{"a":"\xe2\x82', fin=False),
            from_node(Opcode.PING, b"there?"),
            from_node(Opcode.CONT, b"", fin=False),
            from_node(Opcode.CONT, b'\xac"}'),
            from_node(Opcode.TEXT, b"{}"),
        ]
    )
    for pieces in cuts(data):
        lines, server = opened()
        assert b"".join(map(lines.feed, pieces)) == '{"a":"€"}\n{}\n'.encode()
        server.receive_data(lines.take_owed())
        (pong,) = server.events_received()
        assert pong == Frame(Opcode.PONG, b"there?")
        assert lines.take_owed() == b""


def test_a_message_is_one_line_whatever_is_in_it() -> None:
    lines, _ = opened()
    assert lines.feed(from_node(Opcode.TEXT, b'{\n"type":\n"pong"}\n')) == b'{ "type": "pong"} \n'


def test_texts_of_every_size_pass() -> None:
    for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
        lines, server = opened()
        server.max_message_size = None
        line = b"x" * size
        assert lines.feed(from_node(Opcode.TEXT, line)) == line + b"\n"
        server.receive_data(lines.frames(line + b"\n"))
        (heard,) = server.events_received()
        assert isinstance(heard, Frame)
        assert heard.data == line


def test_of_many_pings_in_a_row_the_last_is_answered_and_no_answers_pile_up() -> None:
    lines, server = opened()
    for number in range(1000):
        lines.feed(from_node(Opcode.PING, b"%d" % number))
    server.receive_data(lines.take_owed())
    (pong,) = server.events_received()
    assert pong == Frame(Opcode.PONG, b"999")


@pytest.mark.parametrize("close", [Close(4000, "replaced"), Close(1001, ""), None])
def test_a_close_frame_is_answered_with_its_code_after_the_lines_before_it(close: Close | None) -> None:
    payload = close.serialize() if close is not None else b""
    data = from_node(Opcode.TEXT, b"{}") + from_node(Opcode.CLOSE, payload)
    whole = len(shaken()[2]) + len(data)
    for cut in range(whole):
        lines, server, answer = shaken()
        server.send_close(*(close.code, close.reason) if close is not None else ())
        server.data_to_send()
        assert b"".join(map(lines.feed, ((answer + data)[:cut], (answer + data)[cut:]))) == b"{}\n"
        assert lines.open
        assert lines.closed == (close or Close(1005, ""))
        assert not lines.may_send
        server.receive_data(lines.take_owed())
        assert server.close_rcvd == (close or Close(1005, ""))


def test_our_close_frame_is_sent_once() -> None:
    lines, server = opened()
    lines.close()
    lines.close()
    assert not lines.may_send
    server.receive_data(lines.take_owed())
    assert server.close_rcvd == Close(1000, "")
    assert lines.feed(b"".join(server.data_to_send())) == b""
    assert lines.closed == Close(1000, "")
    assert lines.take_owed() == b""


@pytest.mark.parametrize(
    "data",
    [
        from_node(Opcode.BINARY, b"{}"),
        frame(b"{}"),  # masked, as a client's
        b"\xc1\x00",  # a reserved bit
        b"\x83\x00",  # a reserved opcode
        from_node(Opcode.CONT, b"{}"),
        b"\x09\x00",  # a ping in fragments
        b"\x81\x7f" + (1 << 40).to_bytes(8, "big"),  # larger than any node's
    ],
)
def test_frames_that_no_node_sends_come_from_no_relay(data: bytes) -> None:
    for pieces in cuts(data):
        lines, _ = opened()
        with pytest.raises(NotARelay, match=r"ws://relay\.example does not answer like a relay"):
            for piece in pieces:
                lines.feed(piece)


def refusal(answer: str) -> ConnectionFailed:
    """What comes of this answer, for any cut."""
    told = set()
    for pieces in cuts(answer.encode()):
        lines = WebLines(SERVER)
        with pytest.raises(ConnectionFailed) as refused:
            for piece in pieces:
                lines.feed(piece)
            lines.end()
        told.add((str(refused.value), refused.value.retry_after))
        assert not lines.open
    assert len(told) == 1
    return refused.value


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("403 Forbidden\r\nContent-Length: 0", "it does not let us in; .* (403 Forbidden)"),
        ("404 Not Found\r\nContent-Length: 3\r\n\r\nno", "there is no relay at /ws; most are at /ws (404 Not Found)"),
        ("503 Service Unavailable\r\nContent-Length: 0", "it has no room, .* (503 Service Unavailable)"),
        ("429 Too Many Requests\r\nContent-Length: 0", "too many connections .* (429 Too Many Requests)"),
        ("200 OK\r\nContent-Length: 0", "there is no WebSocket (200 OK)"),
        (
            "302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0",
            "it sends us to https://elsewhere.example/, and a redirect is not followed (302)",
        ),
        ("301 Moved\r\nContent-Length: 0", "it sends us to another address, and a redirect is not followed (301)"),
    ],
)
def test_a_refusal_is_told_in_words(answer: str, words: str) -> None:
    refused = refusal(f"HTTP/1.1 {answer}\r\n\r\n")
    assert "can't connect to ws://relay.example: " in str(refused)
    for part in words.split(" .* "):
        assert part in str(refused)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("SSH-2.0-OpenSSH_9.9\r\n", "it does not answer like a WebSocket server"),
        ("* Welcome\r\n", "it does not answer like a WebSocket server"),
        ("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 200 + "\r\n", "it does not answer like a WebSocket server"),
        (f"{UPGRADE}Sec-WebSocket-Accept: wrong\r\n\r\n", "it does not answer like a WebSocket server"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "it does not answer like a WebSocket server"),
        ("\x15\x03\x01\x00\x02\x02\x28", r"it speaks TLS \(wss://\)"),
        ("", "it closes the connection before it has answered"),
        ("HTTP/1.1 101 Sw", "it closes the connection before it has answered"),
    ],
)
def test_an_answer_that_is_no_handshake_is_told_too(answer: str, words: str) -> None:
    with pytest.raises(ConnectionFailed, match=f"can't connect to ws://relay.example: {words}"):
        raise refusal(answer)


def test_an_answer_without_an_end_ends() -> None:
    lines = WebLines(SERVER)
    with pytest.raises(ConnectionFailed, match="does not answer like a WebSocket server"):
        while True:
            lines.feed(b"x" * 1000)


def test_an_extension_or_a_subprotocol_that_was_not_offered_is_no_handshake() -> None:
    for header in ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: mqtt"):
        lines, _, answer = shaken()
        head = answer.replace(b"Sec-WebSocket-Protocol: pair-relay.1", header.encode())
        assert head != answer
        with pytest.raises(ConnectionFailed, match="does not answer like a WebSocket server"):
            lines.feed(head)


def test_a_server_that_takes_no_subprotocol_will_do() -> None:
    lines, _, answer = shaken()
    lines.feed(answer.replace(b"Sec-WebSocket-Protocol: pair-relay.1\r\n", b""))
    assert lines.open


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (503, "Retry-After: 5", 5),
        (429, "Retry-After: 7", 7),
        (503, f"Retry-After: {'9' * 100}", MOST_PATIENCE),
        (503, "Retry-After: Mon, 30 Nov 2026 22:00:00 GMT", 0),
        (503, "Retry-After: -1", 0),
        (503, "X: y", 0),
        (404, "Retry-After: 5", 0),
    ],
)
def test_a_full_relay_says_when_to_come_again(status: int, header: str, seconds: float) -> None:
    assert refusal(f"HTTP/1.1 {status} No\r\n{header}\r\nContent-Length: 0\r\n\r\n").retry_after == seconds
