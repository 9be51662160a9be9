"""Probes: what a balancer is told, and that no request does any harm."""

import socket

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from hypothesis import given
from hypothesis import strategies as st

from relay import http
from relay.http import REQUEST_BYTES, Probes

pytestmark = pytest.mark.anyio

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


def status(response: bytes) -> int:
    """The number in the first line."""
    return int(response.split()[1])


def body(response: bytes) -> bytes:
    """What follows the headers, which must say how long it is."""
    head, _, rest = response.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(rest) in head.split(b"\r\n")
    return rest


class TestAnswers:
    def test_a_node_that_runs_is_alive(self) -> None:
        response = Probes(lambda: "draining").answer(GET % b"/healthz")
        assert (status(response), body(response)) == (200, b"alive\n")

    @pytest.mark.parametrize(("why_not", "expected"), [("", (200, b"ready\n")), ("draining", (404, b"draining\n"))])
    def test_one_that_should_get_no_new_clients_says_why(self, why_not: str, expected: tuple[int, bytes]) -> None:
        response = Probes(lambda: why_not).answer(GET % b"/readyz")
        assert (status(response), body(response)) == expected

    def test_a_query_changes_nothing(self) -> None:
        assert status(Probes(str).answer(GET % b"/readyz?verbose=1")) == 200

    def test_head_gets_the_head_of_the_same(self) -> None:
        get = Probes(str).answer(GET % b"/healthz")
        head = Probes(str).answer(b"HEAD /healthz HTTP/1.1\r\n\r\n")
        assert get.startswith(head)
        assert head.endswith(b"\r\n\r\n")
        assert b"Content-Length: 6" in head

    @pytest.mark.parametrize(
        ("request_", "expected"),
        [
            (GET % b"/", 404),
            (GET % b"/healthz/x", 404),
            (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
            (b"alice\nTo:bob\n\n", 400),
            (b"GET /healthz\r\n\r\n", 400),
            (b"", 400),
        ],
    )
    def test_anything_else_is_refused(self, request_: bytes, expected: int) -> None:
        assert status(Probes(str).answer(request_)) == expected

    @given(st.binary())
    def test_every_request_has_an_answer(self, request_: bytes) -> None:
        assert status(Probes(str).answer(request_)) in (200, 400, 404, 405)


class TestServing:
    async def ask(self, probes: Probes, *parts: bytes, eof: bool = False) -> bytes:
        """What a client gets until the connection closes."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(probes.serve, server)
                response = b""
                with anyio.fail_after(5):
                    async with await anyio.connect_tcp(*server.getsockname()) as client:
                        await self._send(client, parts, eof)
                        async for data in client:
                            response += data
                tasks.cancel_scope.cancel()
        return response

    async def _send(self, client: SocketStream, parts: tuple[bytes, ...], eof: bool) -> None:
        client.extra(SocketAttribute.raw_socket).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            await client.send(part)
        if eof:
            await client.send_eof()

    async def test_one_request_is_answered_and_the_connection_closed(self) -> None:
        assert status(await self.ask(Probes(str), GET % b"/healthz")) == 200

    async def test_a_request_may_come_in_pieces(self) -> None:
        assert status(await self.ask(Probes(str), *(bytes([byte]) for byte in GET % b"/readyz"))) == 200

    async def test_bare_line_feeds_will_do(self) -> None:
        assert status(await self.ask(Probes(str), b"GET /healthz HTTP/1.0\n\n")) == 200

    async def test_an_endless_request_is_answered_after_a_bounded_part(self) -> None:
        assert status(await self.ask(Probes(str), b"GET /healthz HTTP/1.1\r\n" + b"x" * REQUEST_BYTES)) == 200

    async def test_a_client_that_goes_gets_nothing_and_harms_nobody(self) -> None:
        assert await self.ask(Probes(str), b"GET /hea", eof=True) == b""

    async def test_a_slow_client_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
        assert await self.ask(Probes(str), b"GET /hea") == b""
