"""The answers to a balancer, and requests that must do no harm."""

import asyncio
import errno
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from relay.observe import probe_server
from relay.observe.probe_server import PLACES, REQUEST_BYTES, SCRAPES, Page, Probes

pytestmark = pytest.mark.anyio

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


def status(response: bytes) -> int:
    """Return the number in the first line."""
    return int(response.split()[1])


async def page(accept: str) -> Page:
    """Return the page at /metrics."""
    return Page("text/x; for=" + accept, b"some 1\n")


def probes(ready: Callable[[], str]) -> Probes:
    """Return the probes of a node that is ready, unless `ready` gives a reason why not."""
    return Probes(ready, page)


async def answer(probes: Probes, request: bytes) -> bytes:
    """Return the whole response to a whole request."""
    return probes.at_once(request) or await probes.made(request)


def body(response: bytes) -> bytes:
    """Return the text after the headers, which must have its length."""
    head, _, rest = response.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(rest) in head.split(b"\r\n")
    return rest


class TestAnswers:
    async def test_a_node_that_runs_is_alive(self) -> None:
        response = await answer(probes(lambda: "draining"), GET % b"/healthz")
        assert (status(response), body(response)) == (200, b"alive\n")

    @pytest.mark.parametrize(("why_not", "expected"), [("", (200, b"ready\n")), ("draining", (404, b"draining\n"))])
    async def test_a_node_that_should_get_no_new_clients_says_why(
        self, why_not: str, expected: tuple[int, bytes]
    ) -> None:
        response = await answer(probes(lambda: why_not), GET % b"/readyz")
        assert (status(response), body(response)) == expected

    async def test_a_query_changes_nothing(self) -> None:
        assert status(await answer(probes(str), GET % b"/readyz?verbose=1")) == 200

    async def test_head_gets_the_head_of_the_same(self) -> None:
        get = await answer(probes(str), GET % b"/healthz")
        head = await answer(probes(str), b"HEAD /healthz HTTP/1.1\r\n\r\n")
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
    async def test_anything_else_is_refused(self, request_: bytes, expected: int) -> None:
        assert status(await answer(probes(str), request_)) == expected

    async def test_metrics_are_made_for_what_the_client_takes(self) -> None:
        response = await answer(probes(str), b"GET /metrics HTTP/1.1\r\nHost: x\r\naccept:  a/b;q=1 \r\n\r\n")
        assert (status(response), body(response)) == (200, b"some 1\n")
        assert b"Content-Type: text/x; for=a/b;q=1" in response.split(b"\r\n")

    async def test_a_defect_in_a_page_is_an_answer_too(self) -> None:
        async def broken(accept: str) -> Page:
            raise ValueError

        assert status(await answer(Probes(str, broken), GET % b"/metrics")) == 500


@given(st.binary())
async def test_every_request_has_an_answer(request_: bytes) -> None:
    assert status(await answer(probes(str), request_)) in (200, 400, 404, 405)


@asynccontextmanager
async def served(probes: Probes) -> AsyncIterator[tuple[str, int]]:
    """The address of a server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(probes.serve, server)
            yield server.getsockname()
            tasks.cancel_scope.cancel()


async def get(address: tuple[str, int], path: bytes) -> bytes:
    """Return everything that a client receives until the end."""
    response = b""
    with anyio.fail_after(5):
        async with await anyio.connect_tcp(*address) as client:
            await client.send(GET % path)
            async for data in client:
                response += data
    return response


class TestCrowds:
    async def test_half_requests_keep_nobody_else_waiting(self) -> None:
        async with served(probes(str)) as address, AsyncExitStack() as crowd:
            for _ in range(10 * PLACES):
                half = await crowd.enter_async_context(await anyio.connect_tcp(*address))
                await half.send(b"GET /hea")
            for _ in range(3):
                assert status(await get(address, b"/healthz")) == 200

    async def test_a_page_that_takes_long_holds_up_no_other_one(self) -> None:
        asked, go_on, got = list[str](), anyio.Event(), list[int]()

        async def slow(accept: str) -> Page:
            asked.append(accept)
            await go_on.wait()
            return await page(accept)

        async def scrape() -> None:
            got.append(status(await get(address, b"/metrics")))

        async with served(Probes(str, slow)) as address, anyio.create_task_group() as scrapes:
            for _ in range(2 * PLACES):
                scrapes.start_soon(scrape)
            while len(got) < 2 * PLACES - SCRAPES:  # noqa: ASYNC110  the test's time-out bounds it
                await anyio.sleep(0.001)
            assert len(asked) == SCRAPES
            assert status(await get(address, b"/healthz")) == 200
            go_on.set()
        assert sorted(got) == [200] * SCRAPES + [503] * (2 * PLACES - SCRAPES)

    async def test_without_a_descriptor_the_server_waits_and_answers_later(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
            client.send(GET % b"/healthz")
            client.setblocking(False)
            async with anyio.create_task_group() as tasks:
                with capture_logs() as logs:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
                    try:
                        tasks.start_soon(probes(str).serve, server)
                        with anyio.fail_after(5):
                            while not logs:  # noqa: ASYNC110  a line of the log sets no event
                                await anyio.sleep(0.001)
                    finally:
                        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                with anyio.fail_after(5):
                    await anyio.wait_readable(client)
                assert status(client.recv(REQUEST_BYTES)) == 200
                tasks.cancel_scope.cancel()
        assert [log["event"] for log in logs] == ["probe not answered"]


class TestServing:
    async def ask(self, probes: Probes, *parts: bytes, eof: bool = False) -> bytes:
        """Return everything that a client receives until the end."""
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

    async def test_a_request_is_answered_and_the_connection_closed(self) -> None:
        assert status(await self.ask(probes(str), GET % b"/healthz")) == 200

    async def test_a_request_may_come_in_pieces(self) -> None:
        assert status(await self.ask(probes(str), *(bytes([byte]) for byte in GET % b"/readyz"))) == 200

    async def test_bare_line_feeds_will_do(self) -> None:
        assert status(await self.ask(probes(str), b"GET /healthz HTTP/1.0\n\n")) == 200

    async def test_an_endless_request_is_answered_after_a_bounded_part(self) -> None:
        assert status(await self.ask(probes(str), b"GET /healthz HTTP/1.1\r\n" + b"x" * REQUEST_BYTES)) == 200

    async def test_a_client_that_goes_gets_nothing_and_harms_nobody(self) -> None:
        assert await self.ask(probes(str), b"GET /hea", eof=True) == b""

    async def test_a_slow_client_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probe_server, "REQUEST_SECONDS", 0.05)
        assert await self.ask(probes(str), b"GET /hea") == b""

    async def test_a_page_that_takes_too_long_is_given_up_and_harms_nobody(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(probe_server, "RESPONSE_SECONDS", 0.05)
        go_on, made = anyio.Event(), anyio.Event()

        async def slow(accept: str) -> Page:
            await go_on.wait()
            made.set()
            return await page(accept)

        async with served(Probes(str, slow)) as address:
            async with await anyio.connect_tcp(*address) as client:
                await client.send(GET % b"/metrics")
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await client.receive()
            with capture_logs() as logs:
                go_on.set()
                await made.wait()
                assert status(await get(address, b"/healthz")) == 200
            assert logs == []

    async def test_a_client_that_goes_before_it_is_accepted_is_nothing_to_tell(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop, gone = asyncio.get_running_loop(), list[socket.socket]()
        accept = loop.sock_accept

        async def aborted(sock: socket.socket) -> Any:
            if not gone:
                gone.append(sock)
                raise ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort")
            return await accept(sock)

        monkeypatch.setattr(loop, "sock_accept", aborted)
        with capture_logs() as logs:
            assert status(await self.ask(probes(str), GET % b"/healthz")) == 200
        assert gone
        assert logs == []
