"""Whatever a browser sends, or what calls itself one: the same comes of it however it is cut, and nothing is raised."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from relay.web.first_line import HEAD_BYTES, Speaks, look
from relay.web.forwarded import TrustedProxies
from relay.web.frames import MessageFramer, text_frame
from relay.web.head import BadHead, HeadReader
from relay.web.origins import OriginRules
from relay.web.page_files import made
from relay.web.responder import HttpResponder
from tests.fuzz.shapes import cut, joined
from tests.support.web import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, handshake, heard

LIMIT = 300
CUTS = st.lists(st.integers(0), max_size=12)

payloads = (
    st.binary(max_size=20) | st.text(max_size=20).map(str.encode) | st.sampled_from([125, 126, 299, 300]).map(bytes)
)
opcodes = st.sampled_from([CONTINUATION, TEXT, TEXT, TEXT, BINARY, CLOSE, PING, PONG, 0x3, 0xB])
whole_frames = st.builds(
    frame,
    payloads,
    opcodes,
    fin=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 4]),
    mask=st.none() | st.binary(min_size=4, max_size=4) | st.just(b"abcd") | st.just(b"\0\0\0\0"),
)
texts = st.builds(frame, st.text(max_size=130).map(str.encode))
closes = st.builds(
    close, st.none() | st.integers(0, 5000), st.binary(max_size=10) | st.text(max_size=5).map(str.encode)
)
frames = st.lists(whole_frames | texts | closes, max_size=8)


class Reader:
    """A framer and what came of its bytes."""

    def __init__(self) -> None:
        self.framer = MessageFramer(LIMIT, LIMIT)
        self.framer.sink = self
        self.heard: list[Any] = []

    def add(self, frame: bytes) -> None:
        (pong,) = heard(frame)
        self.heard.append(("pong", pong.payload))

    def feed(self, data: bytes) -> None:
        before = len(self.heard)
        messages = self.framer.feed(data)
        self.heard += [("message", message) for message in messages]
        assert before <= len(self.heard)

    @property
    def told(self) -> tuple[list[Any], list[Any], int | None]:
        """The messages, the pongs, and the code of the end."""
        ended = self.framer.ended
        return (
            [one for kind, one in self.heard if kind == "message"],
            [one for kind, one in self.heard if kind == "pong"],
            ended.code if ended is not None else None,
        )


def read(pieces: list[bytes]) -> Reader:
    reader = Reader()
    for piece in pieces:
        reader.feed(piece)
        assert reader.framer.half <= LIMIT + 125 + 14
    return reader


class Library:
    """The same of `websockets`, with what a node adds: messages are UTF-8, and no message is binary."""

    def __init__(self) -> None:
        self._protocol = Protocol(Side.SERVER, max_size=LIMIT)
        self._text = b""
        self.messages: list[bytes] = []
        self.pongs: list[bytes] = []
        self.code: int | None = None

    def feed(self, data: bytes) -> None:
        """Take one whole frame."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            assert not isinstance(event, type(None))
            if self.code is None:
                self._take(event)
        closed = self._protocol.close_rcvd
        if self.code is None and closed is not None:
            # Between two fragments the library answers it with 1002, and a node with the client's own code.
            self.code = closed.code
        for told in heard(b"".join(self._protocol.data_to_send())):
            if self.code is None and told.opcode == PONG:
                self.pongs.append(told.payload)
            if self.code is None and told.opcode == CLOSE:
                self.code = told.code if told.code is not None else 1005

    def _take(self, event: Any) -> None:
        if event.opcode is Opcode.BINARY:
            self.code = 1003
        elif event.opcode in (Opcode.TEXT, Opcode.CONT):
            self._text += bytes(event.data)
            try:
                self._text.decode()
            except UnicodeDecodeError as error:
                if event.fin or error.reason != "unexpected end of data":
                    self.code = 1007
                    return
            if event.fin:
                self.messages.append(self._text)
                self._text = b""

    @property
    def told(self) -> tuple[list[bytes], list[bytes], int | None]:
        return self.messages, self.pongs, self.code


def oversized_control(data: bytes) -> bool:
    """Whether a control frame is longer than any message may be: too large for the library, broken for RFC 6455."""
    return data[0] & 0x0F >= CLOSE and len(data) > LIMIT


@given(frames, CUTS)
def test_frames_mean_what_they_mean_to_the_library_however_they_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    sent = [one for one in sent if not oversized_control(one)]
    library = Library()
    for one in sent:
        library.feed(one)
        # The library counts a control frame between fragments as a part of the message.
        assume(library.code != 1009 or one[0] & 0x0F < CLOSE)
        if library.code is not None:
            break
    *heard, code = read(cut(joined(sent), cuts)).told
    assert heard == [*library.told[:2]]
    # A frame that is too large and broken as well is the one or the other.
    assert code == library.code or (library.code == 1009 and code in (1002, 1003))


@given(st.binary(max_size=200) | frames.map(joined), CUTS)
def test_any_bytes_mean_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    assert read(cut(data, cuts)).told == read([data]).told


@given(st.lists(whole_frames | texts | texts | texts, max_size=20).map(joined), CUTS)
def test_the_short_way_and_the_long_one_lead_to_the_same(data: bytes, cuts: list[int]) -> None:
    """Byte by byte no frame takes the short one."""
    bytewise = [data[at : at + 1] for at in range(len(data))]
    assert read(cut(data, cuts)).told == read(bytewise).told


@given(st.lists(st.binary(max_size=400), max_size=3))
def test_the_library_reads_the_frames_that_a_node_writes(texts: list[bytes]) -> None:
    client = Protocol(Side.CLIENT)
    client.receive_data(b"".join(map(text_frame, texts)))
    assert [bytes(event.data) for event in client.events_received() if hasattr(event, "data")] == texts


# --- HTTP

tokens = st.sampled_from(["GET", "POST", "get", "A" * 32, "A" * 33, "G:T", "", "{"]).map(str.encode)
blanks = st.sampled_from([b" ", b"  ", b"\t", b""])
targets = st.sampled_from([b"/", b"/ws", b"*", b"http://x/ws", b"/\xff", b"x" * HEAD_BYTES]) | st.binary(max_size=10)
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.x", b"HTTP/9.9", b""])
ends = st.sampled_from([b"\r\n", b"\n", b" \r\n", b""])
first_lines = st.tuples(tokens, blanks, targets, blanks, versions, ends).map(b"".join)
fields = st.sampled_from(
    [
        b"Host: localhost",
        b"Host: [::1",
        b"Host: \xff@x:99999",
        b"Origin: http://localhost",
        b"Origin: \x80://",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: ,,pair-relay.1",
        b"X-Forwarded-For: 203.0.113.7, [",
        b"X-Forwarded-Proto: https",
        b"If-None-Match: *",
        b"Content-Length: 3",
        b"Transfer-Encoding: chunked",
        b" folded",
        b": x",
    ]
) | st.binary(max_size=20)
heads = st.one_of(
    st.tuples(first_lines, st.lists(fields.map(lambda field: field + b"\r\n"), max_size=12).map(joined)).map(
        lambda parts: b"".join(parts) + b"\r\n"
    ),
    st.just(handshake()),
    st.binary(max_size=60),
)


@given(first_lines | st.binary(max_size=40), CUTS, st.sampled_from([1, 5, 20, HEAD_BYTES]))
def test_a_first_line_is_taken_for_the_same_however_it_is_cut(line: bytes, cuts: list[int], limit: int) -> None:
    so_far, told = b"", []
    for piece in cut(line, cuts):
        so_far += piece
        told.append(look(so_far, limit))
    decided = [speaks for speaks in told if speaks is not Speaks.UNKNOWN]
    assert len(set(decided)) <= 1, "it is never taken back"
    assert not line or told[-1] is look(line, limit)


def head_of(pieces: list[bytes]) -> Any:
    reader, size = HeadReader(), 0
    for at, piece in enumerate(pieces):
        size += len(piece)
        try:
            head = reader.feed(piece)
        except BadHead as error:
            return error.status
        if head is not None:
            return (head.method, head.target, head.version, head.headers, head.rest + joined(pieces[at + 1 :]))
    return None


@given(heads, CUTS)
def test_a_head_is_read_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert head_of(cut(data, cuts)) == head_of([data] if data else [])


@given(heads, st.booleans(), st.sampled_from(["127.0.0.1", "192.0.2.1", ""]))
def test_every_head_has_an_answer(data: bytes, paged: bool, address: str) -> None:
    page = {"/": made(b"x", "html")} if paged else None
    responder = HttpResponder(
        OriginRules(["https://x"], loopback=True, siblings=(1,)), TrustedProxies(["192.0.2.0/24"]), page
    )
    try:
        head = HeadReader().feed(data) if data else None
    except BadHead as error:
        assert error.status in (400, 431, 501, 505)
        return
    if head is not None:
        reply = responder.reply(head, address, lambda: None)
        assert reply.data.startswith(f"HTTP/1.1 {reply.status} ".encode())
        assert responder.proxies.client(address, head.all("x-forwarded-for")) is not None
