"""Tests of the virtual network: what a program sees of each fault is what Linux shows of it."""

import asyncio
import errno
import gc
import random
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from relay.net import tcp_health
from simulator.network import Connection, Host, Network, Weather
from simulator.process import Process
from simulator.tcp import End
from simulator.world import World

PORT = 9999


class Stage:
    """A server and a client, each on a machine of its own."""

    def __init__(self, weather: Weather | None = None, seed: int = 1) -> None:
        self.world = World(seed)
        self.network = Network(self.world, weather)
        self.server, self.client = self.network.host("server", "10.0.0.1"), self.network.host("client", "10.0.0.2")
        self.connections: list[Connection] = []
        self.network.met = self.connections.append

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.world.close()

    def start(self, host: Host, main: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Process:
        """Begin a program on a machine."""
        process = host.process(f"{main.__name__} on {host.name}")
        process.start(main, *args)
        return process

    def result(self, main: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        """Run a program on the client's machine, and return its result or the words of its OSError."""
        process = self.start(self.client, main, *args)
        self.world.run(lambda: not process.alive)
        if isinstance(process.error, OSError):
            return errno.errorcode.get(process.error.errno or 0, str(process.error))
        assert process.error is None, process.error
        return process.result


async def serve_echo() -> None:
    """Send back what comes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "0.0.0.0", PORT) as server:
        await server.serve_forever()


async def talk(host: str = "server", first: float = 0.1, second: float = 0.0) -> bytes:
    """Send two words, with a pause before each, and return what comes back of the second one."""
    await asyncio.sleep(first)
    reader, writer = await asyncio.open_connection(host, PORT)
    try:
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        await asyncio.sleep(second)
        writer.write(b"two\n")
        return await reader.readline()
    finally:
        writer.close()


async def hold(seconds: float = 1e6) -> tuple[str, float]:
    """Connect, send a word, and return how the connection ended, and when."""
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection("server", PORT)
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"
    sock = writer.get_extra_info("socket")
    tcp_health.keep_alive(sock)
    try:
        async with asyncio.timeout(seconds):
            how = repr(await reader.read(100))
    except OSError as error:
        how = errno.errorcode.get(error.errno or 0, "time-out")
    writer.close()
    return how, asyncio.get_running_loop().time()


def test_bytes_arrive_in_order_however_they_are_cut() -> None:
    weather = Weather(delay=(0, 0.2), segment=300, cut=0.9, window=1000, short_read=0.9)
    data = bytes(range(256)) * 100

    async def send_much() -> bytes:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("server", PORT)
        writer.write(data)
        try:
            return await reader.readexactly(len(data))
        finally:
            writer.close()

    with Stage(weather) as stage:
        stage.start(stage.server, serve_echo)
        assert stage.result(send_much) == data


def test_nobody_listens() -> None:
    with Stage() as stage:
        assert stage.result(talk) == "ECONNREFUSED"


def test_nobody_is_there() -> None:
    with Stage() as stage:
        assert stage.result(talk, "10.0.0.99") == "EHOSTUNREACH"


def test_a_port_that_refuses_and_one_that_loses_each_syn() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        stage.server.refuses.add(PORT)
        assert stage.result(talk) == "ECONNREFUSED"
        stage.server.refuses.clear()
        stage.server.ignores.add(PORT)
        began = stage.world.now
        assert stage.result(talk) == "ETIMEDOUT"
        assert stage.world.now - began == pytest.approx(127.1, abs=0.1)  # as with six further tries of Linux
        stage.server.ignores.clear()
        assert stage.result(talk) == b"two\n"


def test_names_change_their_meaning_hang_and_fail() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        names = stage.network.names
        process = stage.start(stage.client, talk, "relay")
        stage.world.run(lambda: not process.alive)
        assert isinstance(process.error, socket.gaierror) and process.error.errno == socket.EAI_NONAME
        names.set("relay", "10.0.0.98", "10.0.0.1")
        began = stage.world.now
        assert stage.result(talk, "relay") == b"two\n"
        assert stage.world.now - began > 3  # the first address was tried before
        names.set("relay", "10.0.0.1")
        names.hanging.add("relay")
        process = stage.start(stage.client, talk, "relay")
        stage.world.run_for(60)
        assert process.alive
        names.hanging.clear()
        stage.world.run(lambda: not process.alive)
        assert process.result == b"two\n"
        names.fail("relay", socket.EAI_AGAIN)
        process = stage.start(stage.client, talk, "relay")
        stage.world.run(lambda: not process.alive)
        assert isinstance(process.error, socket.gaierror) and process.error.errno == socket.EAI_AGAIN


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_black_hole_is_waited_out(way: str) -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, talk, "server", 0.1, 1.0)
        stage.world.run_for(0.5)
        ends = (stage.client, stage.server) if way == "there" else (stage.server, stage.client)
        path = stage.network.path(*ends)
        path.hole = True
        stage.world.run_for(10)
        assert process.alive
        path.hole = False
        stage.world.run(lambda: not process.alive)
        assert process.result == b"two\n"
        assert stage.world.now < 30  # the pauses between tries double, so it takes as long again at most


def test_a_handshake_in_a_black_hole() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        stage.network.path(stage.server, stage.client).hole = True
        process = stage.start(stage.client, talk)
        stage.world.run_for(2)
        stage.network.path(stage.server, stage.client).hole = False
        stage.world.run(lambda: not process.alive)
        assert process.result == b"two\n"
        assert len(stage.connections) == 1


def test_bytes_that_nobody_acknowledges_end_the_connection_after_a_quarter_of_an_hour() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, talk, "server", 0.1, 1.0)
        stage.world.run_for(0.5)
        stage.network.cut_off(stage.server)
        stage.world.run(lambda: not process.alive)
        assert isinstance(process.error, TimeoutError)
        assert 900 < stage.world.now < 1100


@pytest.mark.parametrize("power", [True, False], ids=["power comes back", "power stays away"])
def test_keep_alive_finds_a_machine_without_power(power: bool) -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, hold)
        stage.world.run_for(1)
        stage.server.lose_power()
        stage.world.run_for(1)
        if power:
            stage.server.power_on()
        stage.world.run(lambda: not process.alive)
        how, when = process.result
        assert how == ("ECONNRESET" if power else "ETIMEDOUT")
        assert when == pytest.approx(10 if power else 25, abs=1)


def test_a_killed_server_is_noticed_at_once() -> None:
    with Stage() as stage:
        server = stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, hold)
        stage.world.run_for(1)
        server.kill()
        stage.world.run(lambda: not process.alive)
        assert process.result == ("b''", pytest.approx(1, abs=0.1))
        assert stage.result(talk) == "ECONNREFUSED"
        stage.start(stage.server, serve_echo)  # the port is free again
        assert stage.result(talk) == b"two\n"


def test_a_server_killed_with_bytes_unread_resets_the_connection() -> None:
    with Stage() as stage:
        server = stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, talk, "server", 0.1, 1.0)
        stage.world.run_for(0.5)
        server.pause()
        stage.world.run_for(1)
        server.kill()
        stage.world.run(lambda: not process.alive)
        assert isinstance(process.error, ConnectionResetError)


def test_a_paused_server_is_connected_to_until_its_queue_is_full() -> None:
    async def connect_many() -> list[str]:
        found = []
        for _ in range(4):
            try:
                async with asyncio.timeout(5):
                    _, writer = await asyncio.open_connection("server", PORT)
                writer.close()
                found.append("connected")
            except TimeoutError:
                found.append("no answer")
        return found

    async def listen() -> None:
        server = await asyncio.start_server(lambda *_: None, "0.0.0.0", PORT, backlog=1)
        await server.serve_forever()

    with Stage() as stage:
        server = stage.start(stage.server, listen)
        stage.world.run_for(0.1)
        server.pause()
        assert stage.result(connect_many) == ["connected", "connected", "no answer", "no answer"]


def test_a_connection_is_reset_in_the_middle() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, hold)
        stage.world.run_for(1)
        stage.connections[0].reset()
        stage.world.run(lambda: not process.alive)
        assert process.result == ("ECONNRESET", pytest.approx(1, abs=0.1))
        assert not stage.network.connections


def test_a_connection_breaks_at_a_byte() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)

        def cut(connection: Connection) -> None:
            connection.client.breaks_at = 2

        async def read_all() -> bytes:
            await asyncio.sleep(0.1)
            reader, writer = await asyncio.open_connection("server", PORT)
            writer.write(b"one\n")
            found = bytearray()
            with pytest.raises(ConnectionResetError):
                while byte := await reader.read(1):
                    found += byte
            writer.close()
            return bytes(found)

        stage.network.met = cut
        assert stage.result(read_all) == b"on"


def test_a_connection_is_ended_by_its_kernel() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, hold)
        stage.world.run_for(1)
        stage.connections[0].end()
        stage.world.run(lambda: not process.alive)
        assert process.result[0] == "b''"


def test_what_the_kernel_reports_of_a_silent_peer() -> None:
    looks: list[tcp_health.TcpInfo] = []

    async def send_into_the_hole() -> None:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("server", PORT)
        writer.write(b"one\n")
        await reader.readline()
        looks.append(tcp_health.read_tcp_info(writer.get_extra_info("socket")))
        await asyncio.sleep(1)
        writer.write(b"two\n")
        await asyncio.sleep(8)
        looks.append(tcp_health.read_tcp_info(writer.get_extra_info("socket")))
        writer.transport.abort()

    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, send_into_the_hole)
        stage.world.run_for(0.5)
        stage.network.path(stage.server, stage.client).hole = True
        stage.world.run(lambda: not process.alive)
        assert process.error is None
        before, after = looks
        assert not before.owing and before.silent < 0.1
        assert after.owing and after.waiting and after.silent == pytest.approx(9, abs=0.1)


def test_a_peer_that_does_not_read_is_probed_and_kept() -> None:
    looks: list[tcp_health.TcpInfo] = []

    async def listen() -> None:
        port = await asyncio.start_server(lambda *_: None, "0.0.0.0", PORT)
        await port.serve_forever()

    async def fill() -> None:
        await asyncio.sleep(0.1)
        _, writer = await asyncio.open_connection("server", PORT)
        tcp_health.keep_alive(writer.get_extra_info("socket"))  # limits the pauses between probes
        writer.write(bytes(1_000_000))
        for _ in range(2):
            await asyncio.sleep(60)
            looks.append(tcp_health.read_tcp_info(writer.get_extra_info("socket")))
        writer.transport.abort()

    with Stage() as stage:
        server = stage.start(stage.server, listen)
        process = stage.start(stage.client, fill)
        stage.world.run_for(0.1)
        server.pause()
        stage.world.run_for(60)
        stage.network.cut_off(stage.server)
        stage.world.run(lambda: not process.alive)
        alive, dead = looks
        assert alive.unsent and not alive.probes and not alive.unresponsive
        assert dead.probes >= 2


def test_ports_addresses_and_descriptors_are_those_of_the_machine() -> None:
    with Stage() as stage:
        process = stage.server.process("server")
        kernel = process.kernel

        def bound(host: str, port: int = PORT, **options: int) -> Any:
            sock = kernel.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            for name, value in options.items():
                sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
            sock.bind((host, port))
            return sock

        first = bound("0.0.0.0")
        assert first.getsockname() == ("0.0.0.0", PORT)
        with pytest.raises(OSError, match="in use"):
            bound("127.0.0.1")
        bound("::")
        with pytest.raises(OSError, match="assign"):
            bound("10.0.0.2")
        copy = first.dup()
        assert copy.fileno() != first.fileno() > 1000
        first.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            first.listen()
        with pytest.raises(OSError, match="in use"):
            bound("10.0.0.1")
        copy.close()
        bound("10.0.0.1", SO_REUSEPORT=1)
        bound("10.0.0.1", SO_REUSEPORT=1)
        with pytest.raises(OSError, match="TCP only"):
            kernel.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def test_two_processes_share_a_port() -> None:
    async def serve_name(name: str) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name.encode())
            writer.close()

        loop = asyncio.get_running_loop()
        sock = loop.process.kernel.socket(socket.AF_INET, socket.SOCK_STREAM)  # type: ignore[attr-defined]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("0.0.0.0", PORT))
        await (await asyncio.start_server(answer, sock=sock)).serve_forever()

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("server", PORT)
        try:
            return await reader.read()
        finally:
            writer.close()

    with Stage() as stage:
        for name in ("a", "b"):
            stage.server.process(name).start(serve_name, name)
        stage.world.run_for(0.1)
        assert {stage.result(ask) for _ in range(20)} == {b"a", b"b"}


def test_nothing_is_left_of_connections_that_are_over() -> None:
    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        for _ in range(3):
            assert stage.result(talk) == b"two\n"
        stage.world.run_for(120)
        assert not stage.network.connections
        # private: what is kept of connections that are over shows nowhere else
        assert not stage.client._ends and not stage.server._ends
        # private: likewise
        assert not stage.client._ports


def test_a_client_that_gives_up_leaves_no_half_of_a_handshake() -> None:
    async def give_up() -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.open_connection("server", PORT)

    with Stage(Weather(delay=(0.04, 0.04))) as stage:
        stage.start(stage.server, serve_echo)
        assert stage.result(give_up) is None
        stage.world.run_for(1)
        assert not stage.network.connections


def test_a_window_that_becomes_smaller_than_it_was_does_not_stop_the_sender() -> None:
    async def read_slowly() -> int:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("server", PORT)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1000)
        writer.write(bytes(300_000))
        found = len(await reader.readexactly(300_000))
        writer.close()
        return found

    with Stage() as stage:
        stage.start(stage.server, serve_echo)
        assert stage.result(read_slowly) == 300_000


def test_connections_of_the_dead_say_nothing_when_they_are_destroyed() -> None:
    """Warnings are errors in these tests, and pytest reports what destructors raise."""
    writers: list[asyncio.StreamWriter] = []

    async def keep() -> None:
        await asyncio.sleep(0.1)
        writers.append((await asyncio.open_connection("server", PORT))[1])
        await asyncio.sleep(1e6)

    with Stage() as stage:
        server = stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, keep)
        stage.world.run_for(1)
        process.kill()
        stage.world.run_for(1)
        server.kill()
    del process, server
    writers.clear()
    gc.collect()


def test_garbage_collection_takes_no_program_away() -> None:
    """A task that reads from a stream is referred to by nobody but its process."""

    async def read() -> bytes:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("server", PORT)
        found = await reader.read()
        writer.close()
        return found

    with Stage() as stage:
        server = stage.start(stage.server, serve_echo)
        process = stage.start(stage.client, read)
        stage.world.run_for(1)
        gc.collect()
        server.kill()
        stage.world.run_for(1)
        assert not process.alive
        assert process.result == b""


class _Chatter:
    """Two programs that write and read as it comes, on paths that lose everything now and then, and what they saw."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.seen: list[tuple[float, str, int]] = []
        draw = self.draw
        self.weather = Weather(
            delay=draw.choice([(0.0001, 0.001), (0.01, 0.3)]),
            segment=draw.choice((100, 1448)),
            cut=draw.choice((0.0, 0.5)),
            window=draw.choice((500, 5000, 128 * 1024)),
            short_read=draw.choice((0.0, 0.5)),
        )

    async def _read(self, name: str, draw: random.Random, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(draw.choice((10, 1000, 100_000))):
            self.seen.append((asyncio.get_running_loop().time(), name, len(data)))
            await asyncio.sleep(draw.choice((0.0, draw.random() / 10)))

    async def play(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        draw = random.Random(f"{name} {self.draw.getrandbits(32)}")
        sock = writer.get_extra_info("socket")
        reading = asyncio.create_task(self._read(name, draw, reader))
        try:
            for _ in range(40):
                writer.write(bytes(draw.choice((1, 50, 3000, 20_000))))
                await writer.drain()
                info = tcp_health.read_tcp_info(sock)
                self.seen.append((asyncio.get_running_loop().time(), f"{name}: {info}", 0))
                await asyncio.sleep(draw.choice((0.0, draw.random() / 100, draw.random())))
            writer.write_eof()
            await reading
        finally:
            self.seen.append((asyncio.get_running_loop().time(), f"{name} ends", 0))
            writer.close()

    async def serve(self) -> None:
        async with await asyncio.start_server(partial(self.play, "server"), "0.0.0.0", PORT) as server:
            await server.serve_forever()

    async def come(self) -> None:
        await asyncio.sleep(0.1)
        await self.play("client", *await asyncio.open_connection("server", PORT))

    def run(self) -> list[tuple[float, str, int]]:
        """Return what both saw, and when."""
        with Stage(self.weather) as stage:
            stage.start(stage.server, self.serve)
            client = stage.start(stage.client, self.come)
            while client.alive and stage.world.now < 600:
                stage.world.run_for(self.draw.random() * 2)
                stage.network.cut_off(stage.server, on=self.draw.random() < 0.3)
            assert client.error is None, client.error
        return self.seen


@pytest.mark.parametrize("seed", range(12))
def test_an_acknowledgement_that_nobody_waits_for_changes_nothing_by_not_being_an_event(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _Chatter(seed).run()
    assert len(seen) > 100
    with monkeypatch.context() as patch:
        patch.setattr(End, "waits_for_acknowledgements", True)
        assert _Chatter(seed).run() == seen
