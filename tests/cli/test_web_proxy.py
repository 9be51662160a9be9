"""WebSocket through an HTTP proxy, to scripted nodes."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pairchat
from pairchat import ConnectionFailed, Joined
from pairchat.address import parse_address
from pairchat.transport import Transport
from tests.cli.piped import Start
from tests.cli.scripted import PAIRED, PING, PONG, ScriptedNode
from tests.cli.scripted_web import ScriptedWebNode
from tests.cli.test_client import anyio_backend as anyio_backend
from tests.cli.test_dial import vacant
from tests.cli.test_reconnect import PROMPT, play
from tests.cli.test_web_stream import last_stage
from tests.support.certificates import Authority
from tests.support.connect_proxy import ConnectProxy
from tests.support.tls_front import TlsProxy

pytestmark = pytest.mark.anyio

USER = "alice:secret@word"
WRITTEN = "alice:secret%40word"  # the same in a URL


@contextmanager
def proxying(user: str | None = None, answer: str | None = "200 Connection established") -> Iterator[ConnectProxy]:
    proxy = ConnectProxy(user, answer)
    try:
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture
def web() -> Iterator[ScriptedWebNode]:
    with ScriptedWebNode() as node:
        yield node


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)


def named(node: ScriptedNode, scheme: str = "ws", host: str = "relay.example") -> str:
    """The address of a node under a name that only the proxy can look up."""
    return f"{scheme}://{host}:{node.address.rpartition(':')[2]}"


async def test_the_proxy_of_the_environment_connects_us_and_looks_the_name_up(
    web: ScriptedWebNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        peer.part()

    with proxying(USER) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{WRITTEN}@{proxy.address}")

        async def alice() -> None:
            async with pairchat.connect(named(web), name="alice") as chat:
                assert chat.server == named(web)

        await play(relay, alice)
        assert proxy.asked == [named(web).removeprefix("ws://")]


async def test_a_session_outlives_the_connections_of_a_proxy(web: ScriptedWebNode) -> None:
    there = threading.Event()
    with proxying() as proxy:

        def relay() -> None:
            web.accept().welcome("alice")
            assert there.wait(PROMPT)
            proxy.cut()
            peer = web.accept()
            peer.take_back("alice", last=0)
            peer.part()

        async def alice() -> None:
            async with pairchat.connect(named(web), name="alice", proxy=proxy.address) as chat:
                there.set()
                async for event in chat:
                    if isinstance(event, Joined) and event.resumed:
                        break

        await play(relay, alice)
        assert len(proxy.asked) == 2


async def test_tls_goes_through_and_is_checked_against_the_relay(
    web: ScriptedWebNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a proxy with TLS of its own, whose certificate the system trusts, and the relay's authority doesn't."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ours.issue("relay"))
    web.wrap(context)

    def relay() -> None:
        peer = web.accept()
        peer.welcome("alice")
        peer.part()
        with pytest.raises(OSError):
            web.accept()

    with proxying(USER) as proxy:
        front = TlsProxy(proxy.port, theirs.issue("proxy"))
        monkeypatch.setenv("HTTPS_PROXY", f"https://{WRITTEN}@localhost:{front.port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(theirs.file))

        async def alice() -> None:
            async with pairchat.connect(named(web, "wss", "localhost"), name="alice", tls=ours.trust()):
                pass
            with pytest.raises(ConnectionFailed, match=rf"{named(web, 'wss')}: its certificate is not accepted: "):
                async with pairchat.connect(named(web, "wss"), name="alice", tls=ours.trust()):
                    pass
            monkeypatch.delenv("SSL_CERT_FILE")
            told = rf"the proxy https://localhost:{front.port}: its certificate is not accepted: "
            with pytest.raises(ConnectionFailed, match=told):
                async with pairchat.connect(named(web, "wss"), name="alice", tls=ours.trust()):
                    pass

        try:
            await play(relay, alice)
        finally:
            front.stop()


async def test_other_addresses_and_excepted_hosts_use_no_proxy(
    node: ScriptedNode, web: ScriptedWebNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relay() -> None:
        for one in (node, web, web):
            peer = one.accept()
            peer.welcome("alice")
            peer.part()

    async def greet(server: str, proxy: str | None = None) -> None:
        async with pairchat.connect(server, name="alice", proxy=proxy):
            pass

    with proxying() as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy.address}")

        async def alice() -> None:
            await greet(node.address)
            await greet(web.url, "none")
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            await greet(web.url)

        await play(relay, alice)
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("user", "answer", "url", "words"),
    [
        ("x:y", None, "http://{at}", "the proxy wants a user name and a password (407)"),
        ("x:y", None, "http://alice:secret@{at}", "the proxy does not accept this user name and password (407)"),
        (None, "403 Forbidden", "http://alice:secret@{at}", "the proxy refuses (403 Forbidden)"),
        (None, "502 Bad Gateway", "alice:secret@{at}", "the proxy refuses (502 Bad Gateway)"),
    ],
)
def test_a_refusal_of_the_proxy_is_told_without_the_password(
    user: str | None, answer: str | None, url: str, words: str, start: Start
) -> None:
    with proxying(user, answer) as proxy:
        ended = start("alice", server="ws://relay.example", HTTP_PROXY=url.format(at=proxy.address)).ended()
        told = f"can't connect to ws://relay.example through the proxy http://{proxy.address}: {words}"
        assert ended == (3, "", [f"pairchat: {told}"])


def test_the_option_the_variable_and_the_file_name_a_proxy(start: Start, tmp_path: Path) -> None:
    with proxying("x:y") as proxy:
        told = f"through the proxy http://{proxy.address}: the proxy does not accept"
        given = f"http://alice:secret@{proxy.address}"
        file = tmp_path / "config.toml"
        file.write_text(f'proxy = "{given}"\n')
        ways: list[tuple[tuple[str, ...], dict[str, str]]] = [
            (("--proxy", given), {}),
            (("--config", str(file)), {}),
            ((), {"PAIRCHAT_PROXY": given}),
        ]
        for words, variables in ways:
            status, out, (line,) = start("alice", *words, server="ws://h", HTTP_PROXY="x", **variables).ended()
            assert (status, out) == (3, "")
            assert told in line
            assert "secret" not in line
        running = start("alice", "--proxy", "none", server="ws://127.0.0.1:1", HTTP_PROXY=given)
        assert running.ended() == (3, "", ["pairchat: can't connect to ws://127.0.0.1:1: Connection refused"])
        assert len(proxy.asked) == 3


@pytest.mark.parametrize(
    "url", ["socks5://alice:secret@proxy", "http://alice:secret@proxy:port", "http://alice:se/cret@p"]
)
def test_an_invalid_proxy_is_wrong_usage_and_told_without_the_password(url: str, start: Start) -> None:
    for json in ((), ("--json",)):
        status, out, told = start("alice", *json, server="wss://relay.example", https_proxy=url).ended()
        assert (status, out) == (2, "")
        assert len(told) == 1
        assert told[0].startswith("pairchat: HTTPS_PROXY ")
        assert not any(secret in told[0] for secret in ("secret", "cret", "alice"))


async def test_a_proxy_that_says_nothing_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.reconnector.CONNECT_WAIT", 0.3)
    server = parse_address("ws://relay.example")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and reads nothing
        address = "{}:{}".format(*listener.getsockname())
        for scheme, words in (
            ("http", "gives no answer when it is asked for ws://relay.example"),
            ("https", "does not answer in TLS; is it http://?"),
        ):
            proxy = f"{scheme}://alice:secret@{address}"
            told = f"the proxy {scheme}://{address} {words}"
            assert await last_stage(Transport(server, proxy=proxy), told)
            with pytest.raises(ConnectionFailed, match="answer") as failed:
                async with pairchat.connect("ws://relay.example", proxy=proxy):
                    pass
            assert "secret" not in str(failed.value)


async def test_a_proxy_that_is_not_there_is_told() -> None:
    address = "{}:{}".format(*vacant())
    with pytest.raises(ConnectionFailed, match=f"can't connect to the proxy http://{address}: Connection refused"):
        async with pairchat.connect("ws://relay.example", proxy=address):
            pass


async def test_a_relay_behind_a_proxy_that_says_nothing_is_told(web: ScriptedWebNode) -> None:
    with proxying() as proxy:
        way = Transport(parse_address(named(web)), proxy=proxy.address)
        assert await last_stage(way, f"{named(web)} gives no answer to the WebSocket handshake")
        assert proxy.asked


def test_json_goes_through_a_proxy(web: ScriptedWebNode, start: Start) -> None:
    with proxying() as proxy:
        process = start("alice", "--json", "--to", "bob", server=named(web), ALL_PROXY=proxy.address)
        peer = web.accept()
        peer.welcome("alice")
        peer.expect({"type": "to", "name": "bob"}, PING)
        peer.say(PAIRED % ("bob", "c1"), PONG)
        process.end_input()
        peer.part()
        status, out, told = process.ended()
        assert (status, told) == (0, [])
        assert '{"type":"bye"}' in out
        assert proxy.asked
