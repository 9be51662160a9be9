"""Tests that a program in a world reaches nothing of the real one, and gets the virtual one where that is possible."""

import asyncio
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from simulator.clock import EPOCH
from simulator.errors import Livelock, RealWorldReached
from simulator.world import World
from tests.support.rows import each_row


async def make_socket() -> object:
    return socket.socket()


async def make_pair() -> object:
    return socket.socketpair()


async def look_up() -> object:
    return socket.getaddrinfo("localhost", 1)


async def start_thread() -> None:
    threading.Thread(target=print).start()


async def start_process() -> object:
    return subprocess.Popen(["true"])  # noqa: ASYNC220


async def start_process_with_asyncio() -> object:
    return await asyncio.create_subprocess_exec("true")


async def fork() -> object:
    return os.fork()


async def sleep() -> None:
    time.sleep(0)  # noqa: ASYNC251


async def watch_a_real_descriptor() -> object:
    return asyncio.get_running_loop().add_reader(0, print)


async def use_a_network_that_is_not_there() -> object:
    return await asyncio.open_connection("127.0.0.1", 1)


async def open_datagrams() -> object:
    return await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 1))


AUDITED = (make_socket, make_pair, look_up, start_thread, start_process, fork, sleep)
REFUSED = (start_process_with_asyncio, watch_a_real_descriptor, use_a_network_that_is_not_there, open_datagrams)


@each_row("reach", [*AUDITED, *REFUSED])
def test_the_real_world_is_out_of_reach(reach: Callable[[], Awaitable[Any]]) -> None:
    async def live() -> None:
        await reach()

    with World() as world:
        process = world.process("explorer")
        process.start(live)
        if reach in AUDITED:
            with pytest.raises(RealWorldReached, match="explorer"):
                world.run_for(1)
        else:
            world.run_for(1)
            assert isinstance(process.error, RealWorldReached)


def test_a_program_that_swallows_the_error_fails_the_run_all_the_same() -> None:
    async def live() -> None:
        try:
            socket.socket()
        except Exception:
            return

    with World() as world:
        world.process("explorer").start(live)
        with pytest.raises(RealWorldReached, match="a real socket"):
            world.run_for(1)


def test_outside_of_a_world_all_is_as_it_was() -> None:
    before = [time.time, time.sleep, os.urandom, vars(anyio.CancelScope).get("__hash__")]
    state = random.getstate()

    async def live() -> None:
        random.random()
        with anyio.CancelScope():
            await anyio.sleep(1)

    with World() as world:
        world.process("visitor").start(live)
        world.run_for(2)
    assert [time.time, time.sleep, os.urandom, vars(anyio.CancelScope).get("__hash__")] == before
    assert random.getstate() == state
    socket.socket().close()


async def ask_for_everything() -> list[object]:
    await asyncio.sleep(10)
    found: list[object] = [time.time(), time.monotonic(), time.perf_counter(), time.time_ns(), time.monotonic_ns()]
    found += [time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime(time.CLOCK_MONOTONIC)]
    found += [secrets.token_hex(8), os.urandom(4), uuid.uuid4(), random.random(), random.SystemRandom().random()]
    found.append(await anyio.to_thread.run_sync(time.monotonic))
    return found


def answers(seed: int) -> list[object]:
    """Return what a program gets that asks for clocks and randomness."""
    with World(seed) as world:
        process = world.process("asker", world.clock(booted=100))
        process.start(ask_for_everything)
        world.run(lambda: not process.alive)
        assert process.error is None
    found: list[object] = process.result
    return found


def test_clocks_and_randomness_are_those_of_the_world() -> None:
    first = answers(1)
    assert first == answers(1)
    assert first[:7] == [EPOCH + 10, 110, 110, (EPOCH + 10) * 1e9, 110e9, EPOCH + 10, 110]
    assert not set(map(str, first[7:])) & set(map(str, answers(2)[7:]))


def test_threads_run_later_and_in_the_process() -> None:
    async def live() -> list[object]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        ident = await anyio.to_thread.run_sync(threading.get_ident)
        assert loop.time() > began
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        with pytest.raises(RuntimeError, match="no running event loop"):
            await loop.run_in_executor(None, asyncio.get_running_loop)
        done: list[int] = []
        with anyio.move_on_after(0):
            await anyio.to_thread.run_sync(done.append, 1, abandon_on_cancel=True)
        await asyncio.sleep(1)
        return [ident == threading.get_ident(), done]

    with World() as world:
        process = world.process("worker")
        process.start(live)
        world.run(lambda: not process.alive)
        assert process.error is None
        assert process.result[0] is True


def test_callbacks_without_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.world.STEPS_AT_ONE_INSTANT", 1000)

    async def spin() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with World() as world:
        world.process("spinner").start(spin)
        with pytest.raises(Livelock, match="spinner"):
            world.run_for(1)
