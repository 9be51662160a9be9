"""Tests of the scheduler: virtual time, several processes, and the same history for the same seed."""

import asyncio

import pytest

from simulator.errors import Deadlock
from simulator.network import Network
from simulator.trace import TraceHash
from simulator.world import World


async def sleeper(times: list[float], *seconds: float) -> None:
    for one in seconds:
        await asyncio.sleep(one)
        times.append(asyncio.get_running_loop().time())


def test_an_hour_passes_at_once() -> None:
    times: list[float] = []
    with World() as world:
        process = world.process("sleeper")
        process.start(sleeper, times, 3600, 1)
        world.run(lambda: not process.alive)
        assert times == [3600, 3601]
        assert world.now == 3601


def test_a_world_in_which_nothing_can_happen_says_who_waits() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with World() as world:
        world.process("waiter").start(wait_for_ever)
        with pytest.raises(Deadlock, match=r"(?s)waiter alive.*wait_for_ever"):
            world.run(lambda: False)


def echo(seed: int) -> tuple[list[bytes], str]:
    """Return what a client on another machine hears back, and the hash of the run."""
    heard: list[bytes] = []
    trace = TraceHash()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "0.0.0.0", 7) as server:
            await server.serve_forever()

    async def ask() -> None:
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("server", 7)
        for word in (b"one\n", b"two\n"):
            writer.write(word)
            heard.append(await reader.readline())
        writer.close()
        await writer.wait_closed()

    with World(seed, trace) as world:
        network = Network(world)
        network.host("server", "10.0.0.1").process("server").start(serve)
        client = network.host("client", "10.0.0.2").process("client")
        client.start(ask)
        world.run(lambda: not client.alive)
    return heard, trace.hexdigest()


def test_two_machines_talk() -> None:
    assert echo(1)[0] == [b"ONE\n", b"TWO\n"]


def test_the_same_seed_is_the_same_history_and_another_one_is_not() -> None:
    assert echo(1)[1] == echo(1)[1] != echo(2)[1]
