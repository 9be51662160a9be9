"""One address: the server that it leads to now, and the connections that lead to another one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from relay.configuration.redis_url import parse
from relay.net.outgoing_sockets import outgoing_sockets
from relay.redis_client import standalone
from relay.redis_client.dialing import Connection
from relay.redis_client.standalone import Server
from relay.redis_client.topology_interface import WrongServer
from relay.tools.testbed.process import HOST, free_port
from tests.relay.desk import until

pytestmark = pytest.mark.anyio


class Fake:
    """A server that tells its identity."""

    def __init__(self, name: str, role: str = "master") -> None:
        self.name = name
        self.role = role
        self.refused: set[str] = set()
        self.open = 0

    def answer(self, word: str) -> bytes:
        if word in self.refused:
            return b"-NOPERM no\r\n"
        if word == "INFO":
            text = f"# Server\r\nrun_id:{self.name}\r\nrole:{self.role}\r\n".encode()
            return b"$%d\r\n%b\r\n" % (len(text), text)
        return b"*1\r\n+%b\r\n" % self.role.encode() if word == "ROLE" else b"+PONG\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while data := await reader.read(65_536):
                for command in data.split(b"*")[1:]:
                    writer.write(self.answer(command.split(b"\r\n")[2].decode()))
        except ConnectionResetError:
            pass
        writer.close()
        self.open -= 1

    @asynccontextmanager
    async def running(self, port: int, host: str = HOST) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.serve, host, port)
        try:
            yield
        finally:
            server.close()
            await until(lambda: not self.open)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_where_the_address_leads_to_another_server_all_connections_are_left(stack: AsyncExitStack) -> None:
    port = free_port()
    server = Server(parse(f"redis://{HOST}:{port}"))
    async with Fake("one").running(port):
        before = await server.connect("")
        await server.refresh()
        assert server.current(before)
        before.close()
    async with Fake("two").running(port):
        await server.refresh()
        assert not server.current(before)
        after = await server.connect("")
        assert server.current(after)
        after.close()


async def test_where_the_address_leads_to_a_replica_all_connections_are_left_and_nobody_goes_there(
    stack: AsyncExitStack,
) -> None:
    port, fake = free_port(), Fake("one")
    await stack.enter_async_context(fake.running(port))
    server = Server(parse(f"redis://{HOST}:{port}"))
    connection = await server.connect("")
    fake.role = "slave"
    with pytest.raises(WrongServer, match=f"{HOST}:{port} is a replica, not the primary"):
        await server.refresh()
    assert not server.current(connection)
    connection.close()


@pytest.mark.parametrize("refused", [{"INFO"}, {"ROLE"}])
async def test_either_of_two_commands_tells_that(stack: AsyncExitStack, refused: set[str]) -> None:
    port, fake = free_port(), Fake("one", "slave")
    fake.refused = refused
    await stack.enter_async_context(fake.running(port))
    with pytest.raises(WrongServer):
        await Server(parse(f"redis://{HOST}:{port}")).connect("")


async def test_where_neither_is_allowed_its_refusals_do(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    port, fake = free_port(), Fake("one", "slave")
    fake.refused = {"INFO", "ROLE"}
    await stack.enter_async_context(fake.running(port))
    server = Server(parse(f"redis://{HOST}:{port}"))
    connection = await server.connect("")
    assert server.current(connection)
    server.doubt()
    assert not server.current(connection)
    connections: list[Connection] = [connection, await server.connect("")]
    server.doubt()
    assert server.current(connections[1]), "not again at once: it may be the only server that there is"
    monkeypatch.setattr(standalone, "DOUBT_SECONDS", 0.0)
    server.doubt()
    assert not server.current(connections[1])
    for one in connections:
        one.close()


async def test_of_a_names_addresses_the_primary_serves(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pods of a service have the same name, also the replicas."""
    port, hosts = free_port(), ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    for host, role in zip(hosts, ("slave", "slave", "master"), strict=True):
        await stack.enter_async_context(Fake(host, role).running(port, host))

    def answer(host: str, port: int, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in hosts]

    with monkeypatch.context() as patch:
        patch.setattr(outgoing_sockets, "addresses", answer)
        connection = await Server(parse(f"redis://redis.test:{port}")).connect("")
    assert connection.address == f"redis.test:{port} (127.0.0.4)"
    connection.close()


async def test_looks_that_nothing_calls_for_are_few(stack: AsyncExitStack) -> None:
    """Each check makes a connection."""
    port, fake = free_port(), Fake("one")
    await stack.enter_async_context(fake.running(port))
    server = Server(parse(f"redis://{HOST}:{port}"))
    await server.check()
    fake.role = "slave"
    await server.check()
    server.doubt()
    with pytest.raises(WrongServer):
        await server.check()
