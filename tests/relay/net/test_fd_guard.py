"""Ports that leave newcomers in the kernel, on asyncio's own loop; test_limits.py tests them on uvloop."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from relay.net.fd_guard import RELIEF, SPARE, Descriptors, Port, raise_limit

pytestmark = pytest.mark.anyio

BACKLOG = 16


class Greeter(asyncio.Protocol):
    """Sends a greeting and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


class Door:
    """A port of the test, and the calls that it got."""

    def __init__(self) -> None:
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(1)
        self.port = Port(self.sock, Greeter, BACKLOG)

    async def knock(self) -> bytes:
        reader, writer = await asyncio.open_connection(*self.sock.getsockname())
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def call_policy() -> AsyncIterator[Door]:
    call_policy = Door()
    async with anyio.create_task_group() as tasks:
        await call_policy.port.open()
        tasks.start_soon(call_policy.port.reopen_for_ever)
        yield call_policy
        call_policy.port.pause()
        tasks.cancel_scope.cancel()
    call_policy.sock.close()


async def test_a_client_that_comes_while_a_port_is_paused_waits_and_is_served_afterwards(call_policy: Door) -> None:
    assert await call_policy.knock() == b"hello"
    for _ in range(3):
        call_policy.port.pause()
        heard: list[bytes] = []

        async def knock(heard: list[bytes] = heard) -> None:
            heard.append(await call_policy.knock())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(knock)
            await anyio.sleep(0.05)  # nothing happens, so there is no event to wait for
            assert heard == []
            call_policy.port.resume()
        assert heard == [b"hello"]


async def test_a_pause_while_a_port_opens_again_holds(call_policy: Door) -> None:
    call_policy.port.pause()
    call_policy.port.resume()
    await anyio.lowlevel.checkpoint()  # it is opening now
    call_policy.port.pause()
    await anyio.sleep(0.05)  # likewise
    assert call_policy.port._server is None  # private: it may open again before anybody has connected
    call_policy.port.resume()
    assert await call_policy.knock() == b"hello"


async def test_a_port_that_cannot_be_opened_again_is_tried_again(
    call_policy: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.net.fd_guard.RETRY_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    opening, failures = loop.create_server, 3

    async def create_server(*args: object, **options: object) -> object:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(24, "Too many open files")
        return await opening(*args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(loop, "create_server", create_server)
    call_policy.port.pause()
    call_policy.port.resume()
    assert await call_policy.knock() == b"hello"
    assert failures == 0


class Line(Port):
    """A port that records its calls."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


async def test_accepting_stops_before_the_last_and_goes_on_after_some_relief(monkeypatch: pytest.MonkeyPatch) -> None:
    clients, met, line = 0, list[bool](), Line()
    descriptors = Descriptors(lambda: clients, lambda: met.append(True))
    descriptors.pause_or_resume()  # it hasn't begun, so there is nothing to check
    descriptors.start([line])
    limit = descriptors._others + 100  # private: how many files the rest of the process holds is its own count
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    for count in (100 - SPARE, 100 - SPARE + 1, 100 - SPARE, 100 - SPARE - RELIEF + 1, 100 - SPARE - RELIEF):
        clients = count
        descriptors.pause_or_resume()
    assert line.told == ["pause", "resume"]
    assert met == [True]
    assert not descriptors.short


async def test_a_system_that_lists_no_descriptors_has_those_of_clients_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlisted(path: Path) -> Iterator[Path]:
        raise FileNotFoundError(path)

    clients, line = 0, Line()
    descriptors = Descriptors(lambda: clients, lambda: None)
    monkeypatch.setattr(Path, "iterdir", unlisted)
    descriptors.start([line])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    clients = 100 - SPARE
    descriptors.pause_or_resume()
    assert line.told == []
    clients += 1
    descriptors.pause_or_resume()
    assert line.told == ["pause"]


async def test_a_process_without_a_limit_never_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    descriptors = Descriptors(lambda: 10**9, lambda: None)
    descriptors.start([line])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    descriptors.pause_or_resume()
    assert line.told == []


def test_the_soft_limit_becomes_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
