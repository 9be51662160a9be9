"""HTTP on a port for clients: what is answered, what becomes a client, and what that may cost."""

import asyncio

import pytest

from relay.clock import clocks
from relay.hub.hub import Hub
from relay.hub.rate_limit import ClientSource
from relay.metrics import Limit
from relay.server import connection as connection_module
from relay.server import http_exchange as module
from relay.server.connection import Connection
from relay.server.http_exchange import HttpExchange, HttpServer
from relay.server.websocket_connection import WebSocketConnection
from relay.session.runtime_interface import Limits
from relay.web.first_line import HEAD_BYTES
from relay.web.forwarded import TrustedProxies
from relay.web.origins import OriginRules
from relay.web.responder import NODES_PATH, HttpResponder
from tests.relay.desk import MAX_LINE, Connect, Wire, until
from tests.relay.web_desk import PAGE, http_server
from tests.support.web import handshake

pytestmark = pytest.mark.anyio


@pytest.fixture
def http(hub: Hub) -> HttpServer:
    return http_server(hub, page=PAGE)


def asked(wire: Connect, http: HttpServer, data: bytes) -> Wire:
    there = wire(http=http)
    there.send(data)
    return there


def status(of: Wire) -> int:
    version, number, _ = of.sent.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(number)


def get(path: str = "/", method: str = "GET", version: str = "1.1", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost:9999"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def header(of: Wire, name: str) -> str | None:
    head = of.sent.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {key.lower(): value for key, _, value in (line.partition(": ") for line in head)}.get(name.lower())


def body(of: Wire) -> bytes:
    return of.sent.partition(b"\r\n\r\n")[2]


class TestWhatIsHttp:
    async def test_a_name_is_a_name(self, wire: Connect, http: HttpServer) -> None:
        there = wire(http=http)
        for byte in b"ann\nTo:ann\n":
            there.send(bytes([byte]))
        await until(lambda: there.sent.startswith(b"OK\nPlease"))

    async def test_json_is_json(self, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, b'{"type":"hello","name":"GET / HTTP/1.1"}\n')
        await until(lambda: b"name_invalid" in there.sent)

    @pytest.mark.parametrize("method", ["GET", "POST", "BREW", "get", "X-Y"])
    async def test_no_request_line_is_ever_a_name(self, method: str, hub: Hub, wire: Connect, http: HttpServer) -> None:
        """Else a page elsewhere could have a browser say anything here, behind the head of a POST."""
        there = asked(wire, http, get(method=method, Content_Length="20") + b"eve\nTo:ann\nhi\nQuit\n")
        assert there.sent.startswith(b"HTTP/1.1 ")
        assert isinstance(there.connection, HttpExchange)
        assert not hub.sessions
        assert not hub.clients

    async def test_a_long_first_line_of_a_name_is_refused_as_ever(self, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, b"x" * 20_000 + b"\nann\n")
        await until(lambda: there.sent.endswith(b"OK\n"))
        assert there.sent.startswith(b"* line too long: at most 10240 bytes\n")

    async def test_a_request_line_may_be_longer_than_a_line(self, hub: Hub, wire: Connect) -> None:
        there = wire(http=http_server(hub, max_line=64), max_line=64)
        there.send(get("/" + "x" * 200))
        assert status(there) == 404

    async def test_a_port_without_http_takes_a_request_line_for_a_name(self, wire: Connect) -> None:
        there = wire(b"GET / HTTP/1.1\r\n", classic=True)
        await until(lambda: there.sent.startswith(b"* "))


class TestThePage:
    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    async def test_the_page_is_served(self, version: str, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, get(version=version))
        assert (status(there), body(there)) == (200, PAGE["/"].body)
        assert header(there, "content-type") == "text/html; charset=utf-8"
        assert header(there, "content-length") == str(len(PAGE["/"].body))
        assert header(there, "connection") == "close"
        assert there.closed

    async def test_nothing_but_the_node_may_run_or_be_reached_in_the_page(
        self, wire: Connect, http: HttpServer
    ) -> None:
        there = asked(wire, http, get())
        policy = dict(one.split(" ", 1) for one in (header(there, "content-security-policy") or "").split("; "))
        assert policy["default-src"] == "'none'"
        assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
        assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
        assert "unsafe" not in " ".join(policy.values())
        assert header(there, "x-content-type-options") == "nosniff"
        assert header(there, "referrer-policy") == "no-referrer"

    async def test_the_page_has_its_files(self, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, get("/app.js?v=1"))
        assert (status(there), header(there, "content-type")) == (200, "text/javascript; charset=utf-8")

    async def test_a_head_request_tells_the_same_without_the_body(self, wire: Connect, http: HttpServer) -> None:
        whole, head = asked(wire, http, get()), asked(wire, http, get(method="HEAD"))
        assert head.sent == whole.sent.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    @pytest.mark.parametrize("said", ["{}", "W/{}", '"x", {}', "*"])
    async def test_a_page_that_is_known_is_not_sent_again(self, said: str, wire: Connect, http: HttpServer) -> None:
        tag = header(asked(wire, http, get()), "etag")
        there = asked(wire, http, get(If_None_Match=said.format(tag)))
        assert (status(there), body(there)) == (304, b"")
        assert header(there, "etag") == tag
        assert status(asked(wire, http, get(If_None_Match='"x"'))) == 200

    @pytest.mark.parametrize("path", ["/x", "//", "/..", "/app.js/", "/%2e", "*", "/../../etc/passwd"])
    async def test_there_is_nothing_but_the_page_and_its_files(
        self, path: str, wire: Connect, http: HttpServer
    ) -> None:
        assert status(asked(wire, http, get(path))) == 404

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
    async def test_the_page_can_only_be_read(self, method: str, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, get(method=method))
        assert (status(there), header(there, "allow")) == (405, "GET, HEAD")

    async def test_there_is_nothing_without_the_page(self, hub: Hub, wire: Connect) -> None:
        for path in ("/", "/app.js", NODES_PATH):
            assert status(asked(wire, http_server(hub), get(path))) == 404

    async def test_the_page_is_told_of_the_nodes_beside(self, hub: Hub, wire: Connect) -> None:
        rules = OriginRules((), loopback=True, siblings=(10000,))
        there = HttpServer(
            hub,
            HttpResponder(rules, TrustedProxies(()), PAGE, siblings=(10000,)),
            MAX_LINE,
            why_full=str,
            move=lambda one, _: one,
        )
        nodes = asked(wire, there, get(NODES_PATH))
        assert body(nodes) == b'{"nodes": ["/ws", "ws://localhost:10000/ws"]}'
        policy = header(asked(wire, there, get()), "content-security-policy")
        assert "connect-src 'self' ws://localhost:10000;" in (policy or "")


class TestTheHandshake:
    async def test_a_handshake_makes_a_client(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, handshake("/ws?a=b"))
        assert status(there) == 101
        assert header(there, "sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert header(there, "sec-websocket-protocol") is None
        assert isinstance(there.connection, WebSocketConnection)
        assert hub.clients == [there.connection]

    @pytest.mark.parametrize(
        ("offered", "taken"), [("pair-relay.1", "pair-relay.1"), ("x, pair-relay.1", "pair-relay.1"), ("x, y", None)]
    )
    async def test_the_subprotocol_is_taken_if_it_is_offered(
        self, offered: str, taken: str | None, wire: Connect, http: HttpServer
    ) -> None:
        there = asked(wire, http, handshake(sec_websocket_protocol=offered))
        assert (status(there), header(there, "sec-websocket-protocol")) == (101, taken)

    async def test_no_extension_is_taken_though_it_is_offered(self, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, handshake(sec_websocket_extensions="permessage-deflate; client_max_window_bits"))
        assert (status(there), header(there, "sec-websocket-extensions")) == (101, None)

    @pytest.mark.parametrize("version", ["8", "0", "13, 8", "14", "x"])
    async def test_another_version_is_told_ours(self, version: str, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, handshake(sec_websocket_version=version))
        assert (status(there), header(there, "sec-websocket-version")) == (426, "13")

    @pytest.mark.parametrize(
        "broken",
        [
            {"sec_websocket_key": None},
            {"sec_websocket_key": "short"},
            {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==, x"},
            {"sec_websocket_version": None},
            {"upgrade": None},
            {"upgrade": "h2c"},
            {"connection": None},
            {"connection": "keep-alive"},
            {"content_length": "3"},
            {"transfer_encoding": "chunked"},
        ],
        ids=str,
    )
    async def test_a_broken_handshake_is_refused(
        self, broken: dict[str, str | None], wire: Connect, http: HttpServer
    ) -> None:
        assert status(asked(wire, http, handshake("/ws", **broken))) == 400

    async def test_an_old_http_has_no_handshake(self, wire: Connect, http: HttpServer) -> None:
        assert status(asked(wire, http, handshake().replace(b"HTTP/1.1", b"HTTP/1.0"))) == 400

    async def test_a_plain_get_is_told_that_the_path_is_for_websockets(self, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, get("/ws"))
        assert (status(there), header(there, "upgrade")) == (426, "websocket")

    @pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
    async def test_a_handshake_is_a_get(self, method: str, wire: Connect, http: HttpServer) -> None:
        assert status(asked(wire, http, get("/ws", method))) == 405

    async def test_a_page_from_elsewhere_is_refused(self, wire: Connect, http: HttpServer) -> None:
        assert status(asked(wire, http, handshake(origin="http://evil.example"))) == 403
        assert status(asked(wire, http, handshake(origin="http://localhost"))) == 101

    @pytest.mark.parametrize("path", ["/", "/ws"])
    async def test_a_name_that_is_not_this_machine_s_is_refused(
        self, path: str, wire: Connect, http: HttpServer
    ) -> None:
        """Where the node listens on loopback: the name of an attacker may lead there too."""
        assert status(asked(wire, http, handshake(path, host="evil.example:9999"))) == 403

    async def test_a_handshake_without_room_is_told_when_to_come_again(self, hub: Hub, wire: Connect) -> None:
        there = asked(wire, http_server(hub, why_full=lambda: "this node is going away"), handshake())
        assert status(there) == 503
        assert int(header(there, "retry-after") or 0) > 0
        assert b"going away" in body(there)


class TestProxies:
    async def test_the_client_counts_for_its_own_address(self, hub: Hub, wire: Connect) -> None:
        moves: list[tuple[ClientSource, str]] = []

        def move(source: ClientSource, address: str) -> ClientSource:
            moves.append((source, address))
            return ClientSource(None, address)

        there = wire(
            http=http_server(hub, move=move, trusted=("192.0.2.0/24",)), origin=ClientSource(None, "192.0.2.1")
        )
        there.send(handshake(x_forwarded_for="203.0.113.7"))
        assert status(there) == 101
        assert [address for _, address in moves] == ["203.0.113.7"]
        assert there.connection.peer == "203.0.113.7"

    async def test_nobody_but_a_trusted_proxy_may_say_the_address_of_a_client(self, hub: Hub, wire: Connect) -> None:
        there = wire(
            http=http_server(hub, move=lambda _source, _address: None, trusted=("192.0.2.0/24",)),
            origin=ClientSource(None, "198.51.100.1"),
        )
        there.send(handshake(x_forwarded_for="203.0.113.7"))
        assert status(there) == 101
        assert there.connection.peer == "198.51.100.1"

    async def test_an_address_with_too_many_connections_is_told_so(self, hub: Hub, wire: Connect) -> None:
        there = wire(
            http=http_server(hub, move=lambda _source, _address: None, trusted=("192.0.2.0/24",)),
            origin=ClientSource(None, "192.0.2.1"),
        )
        there.send(handshake(x_forwarded_for="203.0.113.7"))
        assert status(there) == 429
        assert int(header(there, "retry-after") or 0) > 0


async def test_the_date_of_an_answer_is_the_node_s(
    wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A simulated node has another time than its machine."""
    monkeypatch.setattr(clocks, "wall", lambda: 784111777.0)
    assert header(asked(wire, http, get()), "date") == "Sun, 06 Nov 1994 08:49:37 GMT"


class TestLimits:
    @pytest.mark.parametrize("pieces", [500, 100_000])
    async def test_a_head_that_is_too_large(self, pieces: int, hub: Hub, wire: Connect, http: HttpServer) -> None:
        there, head = wire(http=http), get(X="y" * HEAD_BYTES)
        for at in range(0, len(head), pieces):
            there.send(head[at : at + pieces])
        assert status(there) == 431
        assert hub.counts.limits[Limit.HTTP_HEAD] == 1

    async def test_a_head_that_takes_too_long(
        self, hub: Hub, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.02)
        monkeypatch.setattr(module, "LINGER_SECONDS", 0.02)
        there = asked(wire, http, get()[:-2])
        await until(lambda: there.closed)
        assert status(there) == 408
        assert hub.counts.limits[Limit.HTTP_HEAD] == 1

    @pytest.mark.parametrize("line", [b"GET /", b"POST http://x", b"OPTIONS *", b"GET / HTTP/1.1\r"])
    async def test_a_line_that_takes_too_long(
        self, line: bytes, hub: Hub, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its time begins with its first byte, and a name never looks like that."""
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.02)
        there = wire(http=http)
        for byte in line:
            there.send(bytes([byte]))
        await until(lambda: isinstance(there.connection, HttpExchange) and there.sent)
        assert status(there) == 408
        assert hub.counts.limits[Limit.HTTP_HEAD] == 1
        assert not hub.clients

    async def test_the_time_of_a_request_begins_with_its_first_byte(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.02)
        there = asked(wire, http, b"GET ")
        start = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > start + 0.03)
        assert isinstance(there.connection, Connection), "this may still be a name"
        there.send(b"/")
        await until(lambda: there.sent)
        assert status(there) == 408

    async def test_the_time_of_a_request_is_not_that_of_a_name(
        self, hub: Hub, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.05)
        hub.limits = Limits(name=0.01)
        there = asked(wire, http, b"GET / HT")
        await until(lambda: there.sent or there.aborted)
        assert status(there) == 408
        assert not hub.counts.limits[Limit.NAME_TIME]

    async def test_a_slow_name_has_the_time_of_a_name(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.01)
        there = asked(wire, http, b"ann")
        start = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > start + 0.02)
        there.send(b"\n")
        await until(lambda: there.sent.endswith(b"OK\n"))

    async def test_an_answer_that_is_not_read_does_not_hold_a_place_for_ever(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "UNREAD_SECONDS", 0.02)
        there = wire(http=http)
        there.full = True
        there.send(get())
        assert there.closed
        await until(lambda: there.aborted)

    async def test_an_unread_answer_to_a_request_with_a_body_does_not_hold_a_place_for_ever(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "UNREAD_SECONDS", 0.02)
        monkeypatch.setattr(module, "LINGER_SECONDS", 0.02)
        there = wire(http=http)
        there.full = True
        there.send(get(method="POST", Content_Length="10"))
        await until(lambda: there.aborted)

    async def test_a_defect_is_answered(self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(HttpResponder, "reply", broken)
        assert status(asked(wire, http, get())) == 500

    async def test_a_broken_request_is_refused(self, wire: Connect, http: HttpServer) -> None:
        assert status(asked(wire, http, b"GET / HTTP/1.1\r\n\r\n")) == 400

    async def test_a_client_that_has_the_answer_is_waited_for_while_it_still_speaks(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Bytes that nobody has read would reset the connection, and take the answer back."""
        there = asked(wire, http, get(method="POST", Content_Length="100000"))
        there.send(b"x" * 100_000)
        assert there.sent.startswith(b"HTTP/1.1 405 ")
        assert there.eof_written
        assert not there.closed
        assert not there.unsent
        there.end()
        assert there.closed

    async def test_a_client_that_has_the_answer_is_not_waited_for_for_ever(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LINGER_SECONDS", 0.02)
        there = asked(wire, http, get(method="POST", Content_Length="100000"))
        await until(lambda: there.closed)

    async def test_a_second_request_in_a_row_is_not_answered(self, wire: Connect, http: HttpServer) -> None:
        there = asked(wire, http, get() + get("/x"))
        assert there.sent.count(b"HTTP/1.1 ") == 1
        assert header(there, "connection") == "close"

    async def test_a_node_that_stops_cuts_off_what_is_under_way(
        self, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        there = asked(wire, http, get()[:-2])
        http.shut()
        assert there.aborted

    async def test_nothing_is_left_of_a_request_whose_connection_is_gone(
        self, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        left: list[int] = []

        class Origin(ClientSource):
            def left(self) -> None:
                left.append(1)

        there = wire(http=http, origin=Origin())
        there.send(get())
        assert not hub.clients
        there.reset()
        assert left == [1]
        assert not http._open  # private: what is kept of one that is gone shows nowhere else

    async def test_the_time_for_a_name_does_not_end_a_request(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        hub.limits = Limits(name=0.02)
        there = asked(wire, http, get()[:-2])
        first = wire(http=http)
        await until(lambda: first.aborted)
        assert not there.aborted
        assert isinstance(first.connection, Connection)
