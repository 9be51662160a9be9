"""The client over WebSocket, against scripted nodes."""

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.to_thread import run_sync
from websockets.frames import Close, Frame, Opcode

import pairchat
from pairchat import ConnectionFailed, ConnectionLost, Dropped, Joined, Lost, Message, Refused
from pairchat.address import parse_address
from pairchat.dial import Route
from pairchat.transport import Transport
from pairchat.web_stream import WebStream
from tests.cli.chatting import a_text, an_ack, said
from tests.cli.piped import Start
from tests.cli.scripted import PAIRED, PING, PONG, ScriptedNode
from tests.cli.scripted_web import ScriptedWebNode
from tests.cli.test_client import anyio_backend as anyio_backend
from tests.cli.test_reconnect import PROMPT, play
from tests.cli.test_web_lines import opened
from tests.support.certificates import Authority

pytestmark = pytest.mark.anyio


@pytest.fixture
def web() -> Iterator[ScriptedWebNode]:
    with ScriptedWebNode() as node:
        yield node


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins with the first of its servers."""
    monkeypatch.setattr("pairchat.client.begin_at", lambda _: 0)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time, and no proxy of this machine is used."""
    monkeypatch.setattr("pairchat.web_stream.CLOSE_WAIT", PROMPT)
    monkeypatch.setattr("pairchat.client.FAREWELL_WAIT", PROMPT)
    monkeypatch.setenv("no_proxy", "*")


async def test_a_chat_goes_over_messages_and_ends_with_a_closing_handshake(web: ScriptedWebNode) -> None:
    def relay() -> None:
        peer = web.accept()
        assert peer.web.path == "/ws"
        assert peer.web.protocol.subprotocol == "pair-relay.1"
        peer.welcome("alice")
        peer.pair("bob")
        peer.expect(said(1, "hi"))
        peer.say(an_ack(1), a_text(1, "x" * 200_000))
        peer.expect({"type": "ack", "id": 1, "chat": "c1"})
        peer.part()
        assert peer.heard_close.code == 1000

    async def alice() -> None:
        traced = []
        async with pairchat.connect(web.url, name="alice", trace=lambda way, line: traced.append((way, line))) as chat:
            assert chat.server == web.url
            await chat.call("bob")
            await (await chat.send("hi")).delivered()
            async for event in chat:
                if isinstance(event, Message):
                    assert event.text == "x" * 200_000
                    chat.acknowledge()
                    break
        assert (">", b'{"type":"quit"}') in traced
        assert ("<", b'{"type":"bye"}') in traced
        assert all(line.startswith(b"{") for _, line in traced)

    await play(relay, alice)


async def test_pings_are_answered_while_the_program_says_nothing(web: ScriptedWebNode) -> None:
    answered = threading.Event()

    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        for payload in (b"", b"there?"):
            peer.web.protocol.send_ping(payload)
            peer.web.flush()
            while payload not in peer.web.pongs:
                assert peer.web.read()
        answered.set()
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(web.url, name="alice") as chat:
            assert await run_sync(answered.wait, PROMPT)
            assert chat.online

    await play(relay, alice)


@pytest.mark.parametrize("how", ["cut", "closed", "garbage", "no text"])
async def test_a_session_goes_from_tcp_to_websocket_and_back(
    node: ScriptedNode, web: ScriptedWebNode, how: str
) -> None:
    def relay() -> None:
        tcp = node.accept()
        tcp.welcome("alice")
        tcp.pair("bob")
        tcp.expect(said(1, "one"))
        tcp.close()
        peer = web.accept()
        peer.take_back("alice", last=0, partner="bob", sent=1)
        peer.expect(said(1, "one"))
        if how == "closed":
            peer.end(1001, "this node is going away")
        elif how == "garbage":
            peer.say_bare(b"\xff" * 10)
            peer.ended()
        elif how == "no text":
            peer.web.protocol.send_binary(b"{}")
            peer.web.flush()
            peer.ended()
        peer.close()
        tcp = node.accept()
        tcp.take_back("alice", last=0, partner="bob", sent=1)
        tcp.expect(said(1, "one"))
        tcp.say(an_ack(1))
        tcp.part()

    async def alice() -> None:
        async with pairchat.connect(node.address, web.url, name="alice") as chat:
            await chat.call("bob")
            receipt = await chat.send("one")
            assert await receipt.delivered() == "client"
            assert chat.server == node.address
            reasons, joined = [], 0
            async for event in chat:
                joined += isinstance(event, Joined)
                if isinstance(event, Dropped):
                    reasons.append(event.reason)
                if joined == 3:
                    break
            assert web.url in reasons[1]
            if how == "closed":
                assert reasons[1] == f"{web.url} closed the connection (1001 this node is going away)"

    await play(relay, alice)


@pytest.mark.parametrize(("code", "lost"), [(4000, "replaced"), (4001, "kicked"), (4002, "name_lost")])
@pytest.mark.parametrize("told", [True, False])
async def test_a_session_that_the_node_ends_is_over_by_the_frame_or_the_code(
    web: ScriptedWebNode, code: int, lost: str, told: bool
) -> None:
    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        if told and lost == "replaced":
            peer.say('{"type":"replaced"}')
        elif told:
            peer.say(f'{{"type":"error","code":"{lost}","message":"no"}}')
        peer.end(code, lost)

    async def alice() -> None:
        heard = []
        with pytest.raises(ConnectionLost):
            async with pairchat.connect(web.url, name="alice") as chat:
                async for event in chat:
                    heard.append(event)
        assert [event.code for event in heard if isinstance(event, Lost)] == [lost]
        assert not any(isinstance(event, Dropped) for event in heard)

    await play(relay, alice)


async def test_a_first_line_that_is_too_long_is_a_refusal(web: ScriptedWebNode) -> None:
    def relay() -> None:
        peer = web.accept()
        peer.heard()
        peer.end(1009, "a message that is too long")

    async def alice() -> None:
        with pytest.raises(Refused) as refused:
            async with pairchat.connect(web.url, name="alice", auth=lambda: "x" * 20_000):
                pass
        assert refused.value.code == "too_long"

    await play(relay, alice)


async def test_a_node_that_lets_nobody_wait_for_a_name_says_so(web: ScriptedWebNode) -> None:
    def relay() -> None:
        web.accept().end(1008, "no name came in time")

    async def alice() -> None:
        async with pairchat.connect(web.url) as chat:
            with pytest.raises(ConnectionLost, match=r"closed the connection \(1008 no name came in time\)"):
                await chat.paired()

    await play(relay, alice)


async def test_a_node_that_ends_its_service_is_left_with_a_closing_handshake(web: ScriptedWebNode) -> None:
    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        peer.say('{"type":"moving"}')
        peer.ended()
        assert peer.heard_close == Close(1000, "")
        peer = web.accept()
        peer.take_back("alice", last=0)
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(web.url, name="alice") as chat:
            async for event in chat:
                if isinstance(event, Joined) and event.resumed:
                    break

    await play(relay, alice)


async def test_a_node_that_does_not_answer_the_close_keeps_nobody(
    web: ScriptedWebNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairchat.web_stream.CLOSE_WAIT", 0.1)
    over = threading.Event()

    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        peer.expect({"type": "quit"})
        peer.say('{"type":"bye"}')
        assert over.wait(PROMPT)

    async def alice() -> None:
        async with pairchat.connect(web.url, name="alice"):
            pass
        over.set()

    await play(relay, alice)


async def test_a_silent_node_is_noticed_and_left(web: ScriptedWebNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.reconnector.PING_EVERY", 0.1)
    monkeypatch.setattr("pairchat.reconnector.PONG_WAIT", 0.1)

    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        assert peer.heard() == PING  # sent when the client has begun to wait for the answer
        monkeypatch.setattr("pairchat.reconnector.PONG_WAIT", PROMPT)
        again = web.accept()
        again.take_back("alice", last=0)
        while (heard := again.heard()) == PING:
            again.say(PONG)
        assert heard == {"type": "quit"}
        again.say('{"type":"bye"}')
        again.end(1000)

    async def alice() -> None:
        async with pairchat.connect(web.url, name="alice") as chat:
            async for event in chat:
                if isinstance(event, Dropped):
                    assert event.reason == f"no answer from {web.url} any more"
                if isinstance(event, Joined) and event.resumed:
                    break

    await play(relay, alice)


class Clogged(ByteStream):
    """A stream that takes nothing while `clogged` is true, and has these bytes to read."""

    def __init__(self, data: bytes) -> None:
        self.clogged = True
        self.taken = b""
        self._data = [data, b""]

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if data := self._data.pop(0):
            return data
        raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        if self.clogged:
            await anyio.sleep_forever()
        self.taken += item

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


async def test_a_close_frame_is_still_owed_if_the_task_that_sends_it_is_cancelled() -> None:
    lines, _ = opened()
    below = Clogged(Frame(Opcode.CLOSE, Close(1001, "").serialize()).serialize(mask=False))
    stream = WebStream(below, lines, b"")
    with anyio.move_on_after(0.01):
        await stream.receive()
    below.clogged = False
    await stream.aclose()
    assert below.taken[:2] == b"\x88\x82"  # a close frame with a code


async def test_a_cancelled_program_gives_its_name_back(web: ScriptedWebNode) -> None:
    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        peer.part()

    async def alice() -> None:
        with anyio.CancelScope() as scope:
            async with pairchat.connect(web.url, name="alice"):
                scope.cancel()
                await anyio.sleep_forever()

    await play(relay, alice)


async def last_stage(way: Transport, told: str) -> bool:
    """Whether the way stops at the stage whose time-out has this message."""
    with anyio.CancelScope() as scope:
        await way.open("127.0.0.1", lambda stage: scope.cancel() if stage.late == told else None)
    return scope.cancelled_caught


def refuse(node: ScriptedNode, answer: str) -> None:
    sock = node.accept_bare()
    while b"\r\n\r\n" not in sock.recv(65_536):
        pass
    sock.sendall(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())


async def test_a_full_relay_is_asked_again_when_it_wants(web: ScriptedWebNode) -> None:
    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        peer.close()
        refuse(web, "503 Service Unavailable\r\nRetry-After: 1")
        refused = time.monotonic()
        peer = web.accept()
        assert time.monotonic() - refused >= 1  # twice as long as the longest pause that it would have made
        peer.take_back("alice", last=0)
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(web.url, name="alice") as chat:
            async for event in chat:
                if isinstance(event, Joined) and event.resumed:
                    break

    await play(relay, alice)


async def test_a_relay_that_is_full_is_passed_over_until_it_wants_to_be_asked(
    web: ScriptedWebNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairchat.dial.STAGGER", PROMPT)  # the second attempt begins when the first has failed
    with ScriptedWebNode() as full:

        def relay() -> None:
            refuse(full, "503 Service Unavailable\r\nRetry-After: 60")
            for _ in range(3):
                web.accept().ended()

        async def dial() -> None:
            route = Route([parse_address(full.url), parse_address(web.url)])
            for _ in range(3):
                await (await route.open(PROMPT)).aclose()
                assert str(route.current) == web.url
                assert route.wait == 0

        await play(relay, dial)
        assert full.nobody_else_came()


async def test_if_all_relays_are_full_they_are_asked_as_soon_as_one_wants(web: ScriptedWebNode) -> None:
    with ScriptedWebNode() as other:

        def relay() -> None:
            refuse(web, "503 Service Unavailable\r\nRetry-After: 60")
            refuse(other, "429 Too Many Requests\r\nRetry-After: 30")

        async def dial() -> None:
            route = Route([parse_address(web.url), parse_address(other.url)])
            with pytest.raises(ConnectionFailed):
                await route.open(PROMPT)
            assert 0 < route.wait <= 30

        await play(relay, dial)


async def test_a_refusal_ends_the_first_attempt_and_says_when_to_come_again(web: ScriptedWebNode) -> None:
    async def alice() -> None:
        with pytest.raises(ConnectionFailed, match=f"can't connect to {web.url}: it has no room") as refused:
            async with pairchat.connect(web.url, name="alice"):
                pass
        assert refused.value.retry_after == 5

    await play(lambda: refuse(web, "503 Service Unavailable\r\nRetry-After: 5"), alice)


async def test_a_server_that_gives_no_answer_to_the_handshake_is_told(
    web: ScriptedWebNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = f"{web.url} gives no answer to the WebSocket handshake"
    assert await last_stage(Transport(parse_address(web.url)), told)
    monkeypatch.setattr("pairchat.reconnector.CONNECT_WAIT", 0.3)
    with pytest.raises(ConnectionFailed, match="answer"):
        async with pairchat.connect(web.url, name="alice"):
            pass


async def test_wss_needs_no_option_and_checks_the_certificate_and_the_name(
    web: ScriptedWebNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("relay"))
    port = web.address.rpartition(":")[2]
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)

    def relay() -> None:
        web.wrap(context)
        for _ in range(2):
            peer = web.accept()
            peer.welcome("alice")
            peer.part()
        for _ in range(2):
            with pytest.raises(OSError):
                web.accept()

    async def alice() -> None:
        async with pairchat.connect(f"wss://localhost:{port}", name="alice", tls=authority.trust()) as chat:
            assert chat.server == f"wss://localhost:{port}"
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # what the system trusts
        async with pairchat.connect(f"wss://localhost:{port}", name="alice"):
            pass
        assert asked == ["localhost", "localhost"]
        monkeypatch.setattr("pairchat.transport.Transport.host", "127.0.0.1")
        with pytest.raises(ConnectionFailed, match=r"its certificate is not accepted: .*relay\.example"):
            async with pairchat.connect(f"wss://relay.example:{port}", name="alice"):
                pass
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(ConnectionFailed, match="its certificate is not accepted: "):
            async with pairchat.connect(f"wss://localhost:{port}", name="alice"):
                pass

    await play(relay, alice)


async def test_a_port_without_tls_is_told_from_one_with_it(web: ScriptedWebNode) -> None:
    def relay() -> None:
        for words in (b"* Welcome\r\n" * 10, b"\x15\x03\x01\x00\x02\x02\x28"):
            with web.accept_bare() as taken:
                taken.recv(65_536)
                taken.sendall(words)

    async def alice() -> None:
        for scheme, words in (
            ("wss", r"it does not speak TLS there \(with ws:// nothing is encrypted\)"),
            ("ws", r"it speaks TLS \(wss://\)"),
        ):
            with pytest.raises(ConnectionFailed, match=f"can't connect to {scheme}://{web.address}: {words}"):
                async with pairchat.connect(f"{scheme}://{web.address}", name="alice"):
                    pass

    await play(relay, alice)


async def test_tls_and_ws_do_not_go_together() -> None:
    with pytest.raises(pairchat.BadServer, match="ws://h is not encrypted: write wss://"):
        async with pairchat.connect("ws://h", tls=ssl.create_default_context()):
            pass


def test_the_command_speaks_websocket_in_a_pipe(web: ScriptedWebNode, start: Start) -> None:
    process = start("alice", "--to", "bob", server=web.url)
    peer = web.accept()
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say(PAIRED % ("bob", "c1"), PONG)
    process.type(b"hi\n")
    process.end_input()
    peer.expect(said(1, "hi"))
    peer.say(an_ack(1))
    peer.part()
    assert process.ended() == (0, "", ["* You are chatting with bob."])


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("wss://alice:secret@h", "a user name or a password can't be in an address (write wss://host/path)"),
        ("https://h", "not an address: 'https://h' (write host:port, ws://host/path or wss://host/path)"),
    ],
)
def test_an_address_that_is_none_is_wrong_usage(server: str, words: str, start: Start) -> None:
    assert start("alice", server=server).ended() == (2, "", [f"pairchat: {words}"])


def test_certificates_need_an_encrypted_address(start: Start) -> None:
    told = ["pairchat: --ca needs --tls: without it nothing is encrypted"]
    for server in ("ws://h", "wss://h h"):
        assert start("alice", "--ca", "x.pem", server=server).ended() == (2, "", told)
    told = ["pairchat: can't read x.pem: No such file or directory"]
    assert start("alice", "--ca", "x.pem", server="wss://h wss://i").ended() == (2, "", told)
    told = ["pairchat: ws://h is not encrypted: write wss://, or leave TLS out"]
    assert start("alice", "--tls", server="ws://h").ended() == (2, "", told)
