"""Browsers on the ports for clients of real nodes: sessions over WebSocket by a library's client, and HTTP."""

import contextlib
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidHandshake, InvalidStatus

from tests.integration.conftest import StartNode
from tests.integration.test_limits import header
from tests.support.certificates import Authority
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import PATIENCE, wait_until
from tests.support.web import CLOSE, frame, handshake
from tests.support.web_client import WebClient
from tests.support.wire import Wire


@contextlib.contextmanager
def asked(node: Node, path: str = "/", method: str = "GET", **headers: str) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request."""
    made = http.client.HTTPConnection(*node.address, timeout=PATIENCE)
    try:
        made.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with made.getresponse() as answer:
            yield answer
    finally:
        made.close()


def status_of_refusal(node: Node, **how: object) -> int:
    with pytest.raises(InvalidStatus) as refused:
        WebClient(node.address, **how)  # type: ignore[arg-type]
    return refused.value.response.status_code


def lets_in(node: Node, **how: object) -> bool:
    """Whether a client gets in. One that has just gone may still be counted."""
    with contextlib.suppress(InvalidHandshake, OSError):
        WebClient(node.address, **how).close()  # type: ignore[arg-type]
        return True
    return False


class TestSessions:
    def test_a_web_client_chats_with_every_size_of_text(self, guests: Guests, places: tuple[Node, Node]) -> None:
        ann, ben = guests.web(places[0], "ann"), guests.json(places[1], "ben")
        assert ann.web.subprotocol == "pair-relay.1"
        assert not ann.web.protocol.extensions
        ann.call("ben")
        ben.expect("paired", name="ann")
        for id, text in enumerate(["hi", "x" * 200, "€" * 9000, "y" * 60_000], 1):
            ann.send("msg", id=id, text=text)
            ben.expect("msg", id=id, text=text)
            ann.expect_acked(id)
            ben.send("msg", id=id, text=text)
            ann.expect("msg", id=id, text=text)
            ben.expect_acked(id)

    @pytest.mark.parametrize("ways", [("json", "web"), ("web", "json"), ("web", "web")])
    def test_a_session_goes_on_over_another_way(self, ways: tuple[str, str], guests: Guests, nodes: list[Node]) -> None:
        """From TCP to WebSocket and back, on another node."""
        first, then = ways
        ann: JsonClient = getattr(guests, first)(nodes[0], "ann")
        ben = guests.json(nodes[1], "ben")
        chat = ann.call("ben")["chat"]
        ben.expect("paired", name="ann")
        ann.send("msg", id=1, text="one")
        ben.expect("msg", id=1)
        ann.expect_acked(1)
        ann.reset()
        ben.expect("away")
        ben.send("msg", id=1, text="while you were away")
        again: JsonClient = getattr(guests, then)(nodes[2])
        again.name = "ann"
        again.send("hello", name="ann", token=ann.token, chat=chat, sent=1, last=0)
        again.expect("welcome", resumed=True)
        again.expect("paired", chat=chat, resumed=True, last=1)
        again.expect("msg", id=1, text="while you were away")
        ben.expect("back")
        again.send("msg", id=2, text="two")
        ben.expect("ack")
        ben.expect("msg", id=2, text="two")

    def test_a_close_without_quit_is_a_lost_connection(self, guests: Guests, nodes: list[Node]) -> None:
        ann, ben = guests.web(nodes[0], "ann"), guests.json(nodes[1], "ben")
        ann.call("ben")
        ben.expect("paired")
        ann.close()
        ben.expect("away", name="ann")
        again = guests.web(nodes[0])
        again.name = "ann"
        again.send("hello", name="ann", token=ann.token)
        again.expect("welcome", resumed=True)
        ben.expect("back", name="ann")

    def test_a_web_client_that_does_not_read_slows_the_sender_down_and_loses_nothing(
        self, guests: Guests, places: tuple[Node, Node]
    ) -> None:
        count = 256  # a window
        ann, ben = guests.json(places[0], "ann"), guests.web(places[1], "ben", acks=True)
        ann.call("ben")
        ben.expect("paired")
        for id in range(1, count + 1):
            ann.send("msg", id=id, text="x" * 3000)
        for id in range(1, count + 1):
            assert ben.expect("msg")["id"] == id
            ben.send("ack", id=id)
        ann.expect_acked(count)


class TestEnds:
    def test_bye(self, guests: Guests, node: Node) -> None:
        ann = guests.web(node, "ann")
        ann.send("quit")
        ann.expect("bye")
        ann.expect_code(1000)

    def test_replaced(self, guests: Guests, nodes: list[Node]) -> None:
        ann = guests.web(nodes[0], "ann")
        again = guests.json(nodes[1])
        again.send("hello", name="ann", token=ann.token)
        again.expect("welcome", resumed=True)
        ann.expect("replaced")
        ann.expect_code(4000)

    def test_no_name_in_time(self, start_node: StartNode, guests: Guests) -> None:
        guests.web(start_node(name_time=1)).expect_code(1008)

    def test_the_node_goes_away(self, start_node: StartNode, guests: Guests) -> None:
        """A client that doesn't move is told at the end of the drain."""
        node = start_node(drain=1)
        ann = guests.web(node, "ann")
        node.terminate()
        ann.expect("moving")
        ann.expect_code(1001)
        assert node.wait() == 0

    def test_a_node_that_drains_lets_nobody_in(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(drain=30)
        ann = guests.web(node, "ann")
        with Wire(node.address) as late:
            late.send_bytes(b"GET /ws HTTP/1.1\r\n")
            ann.send("ping")
            ann.expect("pong")  # the node has seen the other's first line
            node.terminate()
            ann.expect("moving")
            late.send_bytes(handshake().partition(b"\r\n")[2])
            answer = late.rest()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        ann.close()
        assert node.wait() == 0

    def test_a_client_that_breaks_the_protocol_is_told_and_cut_off(self, guests: Guests, node: Node) -> None:
        with Wire(node.address) as raw:
            raw.send_bytes(handshake() + frame(b"x", mask=None))
            answer = raw.rest()
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert rest[:4] == bytes((0x80 | CLOSE, rest[1])) + b"\x03\xea"

    def test_a_client_that_does_not_answer_the_close_is_cut_off(self, guests: Guests, node: Node) -> None:
        with Wire(node.address) as raw:
            raw.send_bytes(handshake() + frame(b'{"type":"hello","name":"eve"}') + frame(b'{"type":"quit"}'))
            raw.rest()  # which has an end


class TestPings:
    def test_a_ping_is_answered(self, guests: Guests, node: Node) -> None:
        ann = guests.web(node, "ann")
        assert ann.web.ping(b"payload").wait(PATIENCE)


class TestBehindAndInside:
    def test_a_balancer_s_header_comes_first(self, start_node: StartNode) -> None:
        node = start_node(proxy_protocol="")
        ann = WebClient(node.address, before=header("192.0.2.9"))
        ann.hello("ann")
        assert "client=192.0.2.9" in node.wait_for_line("session started")
        ann.send("quit")
        ann.expect("bye")
        ann.expect_code(1000)

    def test_tls_is_around_websocket(self, start_node: StartNode, tmp_path: Path, guests: Guests) -> None:
        authority = Authority(tmp_path)
        cert, key = authority.issue("first")
        node = start_node(tls_cert=cert, tls_key=key, page="")
        node.tls = authority.trust()
        ann, ben = guests.web(node, "ann"), guests.json(node, "ben")
        ann.call("ben")
        ben.expect("paired")
        ann.send("msg", id=1, text="z" * 50_000)
        ben.expect("msg", text="z" * 50_000)
        ann.expect_acked(1)
        ann.send("quit")
        ann.expect("bye")
        ann.expect_code(1000)
        self.page_and_refusals(node, node.tls)

    @staticmethod
    def page_and_refusals(node: Node, tls: ssl.SSLContext) -> None:
        with Wire(node.address, tls=tls) as wire:
            wire.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert wire.rest().startswith(b"HTTP/1.1 200 ")
        with Wire(node.address, tls=tls) as wire:
            wire.send_bytes(handshake() + frame(b"x", 0x2))
            assert b"\x03\xeb" in wire.rest().partition(b"\r\n\r\n")[2]
        port = node.address[1]
        with Wire(node.address, tls=tls) as wire:
            wire.send_bytes(handshake(host=f"localhost:{port}", origin=f"http://localhost:{port}"))
            assert wire.rest().startswith(b"HTTP/1.1 403 ")
        with Wire(node.address, tls=tls) as wire:
            wire.send_bytes(handshake(host=f"localhost:{port}", origin=f"https://localhost:{port}") + frame(b"", CLOSE))
            assert wire.rest().startswith(b"HTTP/1.1 101 ")

    def test_a_trusted_proxy_tells_the_address(self, start_node: StartNode) -> None:
        node = start_node(trusted_proxy="127.0.0.0/8", max_connections_per_address=1)
        one = WebClient(node.address, headers={"X-Forwarded-For": "198.51.100.9, 203.0.113.7"})
        one.hello("ann")
        assert "client=203.0.113.7" in node.wait_for_line("session started")
        two = WebClient(node.address, headers={"X-Forwarded-For": "203.0.113.8"})
        assert status_of_refusal(node, headers={"X-Forwarded-For": "203.0.113.7"}) == 429
        for client in (one, two):
            client.close()
        wait_until(lambda: lets_in(node, headers={"X-Forwarded-For": "203.0.113.7"}), "there is room again")


class TestWhoMayCome:
    def test_origins(self, start_node: StartNode) -> None:
        node = start_node(origin="https://chat.example")
        port = node.address[1]
        assert status_of_refusal(node, origin="https://evil.example") == 403
        assert status_of_refusal(node, origin=f"http://localhost:{port + 1}") == 403
        for origin in (None, f"http://localhost:{port}", "https://chat.example"):
            WebClient(node.address, origin=origin).close()

    def test_names_that_lead_here(self, node: Node) -> None:
        with asked(node, "/ws", Host="evil.example") as answer:
            assert answer.status == 403

    def test_there_is_no_room(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(max_connections=1)
        ann = guests.web(node, "ann")

        def told() -> bool:
            """A connection without room is kept for a second, which a busy machine may not leave the client."""
            with contextlib.suppress(OSError, http.client.HTTPException), asked(node, "/ws") as answer:
                assert answer.status == 503
                return bool(answer.getheader("Retry-After"))
            return False

        wait_until(told, "a client is told that there is no room")
        ann.close()
        wait_until(lambda: node.readiness() == 200, "there is room again")
        guests.web(node, "ben")


class TestThePage:
    def test_the_page_is_off_in_a_node_and_can_be_switched_on(self, start_node: StartNode) -> None:
        with asked(start_node()) as answer:
            assert answer.status == 404
        node = start_node(page="")
        with asked(node) as answer:
            assert (answer.status, answer.getheader("Content-Type")) == (200, "text/html; charset=utf-8")
            assert answer.read().startswith(b"<!doctype html>")
            tag = answer.getheader("ETag") or ""
        with asked(node, method="HEAD") as answer:
            assert (answer.status, answer.read()) == (200, b"")
        with asked(node, If_None_Match=tag) as answer:
            assert answer.status == 304

    def test_a_post_is_no_line(self, node: Node, guests: Guests) -> None:
        """The attack that its detection is for: a form or a fetch from a page elsewhere."""
        made = http.client.HTTPConnection(*node.address, timeout=PATIENCE)
        made.request("POST", "/", body=b"eve\nTo:ann\nhi\nQuit\n" * 3000)
        answer = made.getresponse()
        assert answer.status == 404
        answer.read()
        made.close()
        ben = guests.json(node, "ben")
        assert ben.who("eve") == "offline"

    def test_the_classic_port_speaks_no_http(self, node: Node) -> None:
        with Wire(node.classic_address) as wire:
            wire.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
            assert wire.socket.recv(100).startswith(b"* ")


def test_a_page_that_vanishes_is_noticed_as_over_tcp(start_node: StartNode, guests: Guests) -> None:
    """Only the cut is tested here; how the node finds out is `test_half_open`'s subject."""
    node = start_node()
    ann, ben = guests.web(node, "ann"), guests.json(node, "ben")
    ann.call("ben")
    ben.expect("paired")
    ann.reset()
    ben.expect("away")
