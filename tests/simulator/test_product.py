"""Tests that the parts of the relay and of its client that touch the network work on the virtual one as they are."""

import asyncio
import socket
from typing import Any

import anyio
import redis.asyncio

from pairchat.address import Address
from pairchat.dial import Route
from relay.net.fd_guard import Port
from relay.observe.probe_server import Probes
from simulator.network import Network
from simulator.service import Link
from simulator.world import World


class Greeter(asyncio.Protocol):
    """Greets and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


class Pong:
    """A server of Redis that knows PING, and says OK to all else."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def received(self, data: bytes) -> None:
        for word in data.split(b"*")[1:]:
            self.link.write(b"+PONG\r\n" if b"PING" in word else b"+OK\r\n")

    def lost(self, error: OSError | None) -> None:
        """Nothing depends on the end."""


def machines() -> tuple[World, Any, Any]:
    """Return a world with a server and a client."""
    world = World(1)
    network = Network(world)
    return world, network.host("server", "10.0.0.1"), network.host("client", "10.0.0.2")


def test_a_port_of_the_relay_is_paused_and_goes_on() -> None:
    world, server, client = machines()
    process = server.process("server")
    with process.kernel.socket() as sock:
        sock.bind(("0.0.0.0", 9999))
        sock.listen(1)
        port = Port(sock, Greeter, 16)

        async def serve() -> None:
            await port.open()
            await port.reopen_for_ever()

        async def connect() -> bytes:
            async with await anyio.connect_tcp("server", 9999) as stream:
                return await stream.receive()

        def visit() -> Any:
            visitor = client.process("visitor")
            visitor.start(connect)
            return visitor

        with world:
            process.start(serve)
            world.run_for(1)
            visitor = visit()
            world.run(lambda: not visitor.alive)
            assert visitor.result == b"hello"
            port.pause()
            visitor = visit()
            world.run_for(10)
            assert visitor.alive
            port.resume()
            world.run(lambda: not visitor.alive)
            assert visitor.result == b"hello"
            port.close()
            visitor = visit()
            world.run(lambda: not visitor.alive)
            assert isinstance(visitor.error, OSError)


def test_probes_are_answered() -> None:
    world, server, client = machines()
    process = server.process("server")

    async def serve() -> None:
        async def no_metrics(_: str) -> Any:
            raise AssertionError

        sock = process.kernel.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind(("0.0.0.0", 8080))
        await Probes(lambda: "", no_metrics).serve(sock)

    async def probe() -> bytes:
        async with await anyio.connect_tcp("server", 8080) as stream:
            await stream.send(b"GET /readyz HTTP/1.1\r\n\r\n")
            return b"".join([part async for part in stream])

    with world:
        process.start(serve)
        world.run_for(1)
        prober = client.process("prober")
        prober.start(probe)
        world.run(lambda: not prober.alive)
        assert prober.result.startswith(b"HTTP/1.1 200")


def test_the_client_finds_the_second_of_two_servers() -> None:
    world, server, client = machines()
    process = server.process("server")

    async def serve() -> None:
        await asyncio.get_running_loop().create_server(Greeter, "0.0.0.0", 9999)
        await anyio.sleep_forever()

    async def dial() -> tuple[bytes, float]:
        route = Route([Address("10.0.0.3", 9999), Address("10.0.0.1", 9999)])
        async with await route.open(10) as stream:
            return await stream.receive(), anyio.current_time()

    with world:
        process.start(serve)
        world.run_for(1)
        caller = client.process("caller")
        caller.start(dial)
        world.run(lambda: not caller.alive)
        assert caller.error is None
        assert caller.result[0] == b"hello"
        assert 1.25 < caller.result[1] < 1.3  # the second attempt begins a quarter of a second after the first


def test_redis_py_talks_to_a_service() -> None:
    world, server, client = machines()
    server.service("redis").listen(6379, Pong)

    async def ping() -> bool:
        async with redis.asyncio.Redis(host="server") as connection:
            for _ in range(3):
                assert await connection.ping()
        return True

    with world:
        caller = client.process("caller")
        caller.start(ping)
        world.run(lambda: not caller.alive)
        assert caller.error is None and caller.result
