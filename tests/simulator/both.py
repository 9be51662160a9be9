"""Runs a program on asyncio's own loop and on the virtual one, and returns what each has noted down."""

import asyncio
import difflib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from simulator.network import Network, Weather
from simulator.world import World

# Weather in which nothing is as it usually is: packets are cut, windows are small, reads are short.
BAD_WEATHER = Weather(delay=(0.000_1, 0.05), segment=700, cut=0.5, window=1500, short_read=0.5)


class Notes:
    """What a program notes down, and the sockets that it may make."""

    def __init__(self, make_socket: Callable[[], Any]) -> None:
        self.lines: list[str] = []
        self.make_socket = make_socket

    def __call__(self, *words: object) -> None:
        """Note something down."""
        self.lines.append(" ".join(map(str, words)))


Program = Callable[[Notes], Coroutine[Any, Any, Any]]


def on_the_real_loop(program: Program) -> list[str]:
    """Return the notes of a program on asyncio's selector loop."""
    notes = Notes(_real_socket)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(program(notes))
    return notes.lines


def _real_socket() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    return sock


def on_the_virtual_loop(program: Program, seed: int, weather: Weather | None = None) -> list[str]:
    """Return the notes of a program on a virtual loop, on a machine of its own."""
    with World(seed) as world:
        network = Network(world)
        host = network.host("machine", "10.0.0.1")
        if weather is not None:
            network.path(host, host).weather = weather
        process = host.process("program")
        notes = Notes(lambda: process.kernel.socket(socket.AF_INET, socket.SOCK_STREAM))
        with asyncio.Runner(loop_factory=lambda: process.loop) as runner:
            runner.run(program(notes))
    return notes.lines


def assert_same(program: Program, *seeds: int, weathers: tuple[Weather | None, ...] = (None,)) -> None:
    """Assert that a program can't tell the loops apart, and that it has noted something down at all."""
    expected = on_the_real_loop(program)
    assert expected
    for seed in seeds or (1,):
        for weather in weathers:
            found = on_the_virtual_loop(program, seed, weather)
            assert found == expected, "\n".join(difflib.unified_diff(expected, found, "real", "virtual", lineterm=""))
