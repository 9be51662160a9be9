"""Gives relay and pairchat what belongs to the simulated process that runs: clocks, randomness, sockets and threads.

The product has each of these from one place. What is put there asks the world whose code runs at the moment.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final, cast

from anyio._core._eventloop import set_current_async_library

import pairchat.entropy
from relay.clock import clocks
from relay.entropy import entropy
from relay.net.outgoing_sockets import outgoing_sockets
from relay.redis_client.keys import Keys
from relay.tasks.threads import threads
from simulator.errors import RealWorldReached
from simulator.process import Process
from simulator.sockets import Sockets
from simulator.world import World

# How long a call in a thread takes.
THREAD_SECONDS: Final = 0.001
# The directory has this many partitions, instead of 1,024. A node that founds it writes each of them, and one that
# looks for lost data reads each of them: with 1,024 that was half of a run's work. Each shard still has ten.
PARTITIONS: Final = 32
# How often a thread that waits for a name server asks again.
NAME_SERVER_SECONDS: Final = 0.1


class _Current:
    """What the process has whose code runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._streams: dict[str, Random] = {}

    @property
    def process(self) -> Process:
        """The process. Raises RealWorldReached if none runs: then nobody may ask."""
        process = self._world.current
        if process is None:
            raise RealWorldReached("no simulated process runs, so there is no clock, no randomness and no network")
        return process

    def stream(self) -> Random:
        """Return the process's randomness."""
        name = self.process.name
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = self._world.stream(f"entropy of {name}")
        return found

    def monotonic(self) -> float:
        return self.process.clock.monotonic()

    def wall(self) -> float:
        return self.process.clock.time_of_day()

    def stream_socket(self, family: int) -> socket.socket:
        made: Any = self.process.kernel.socket(family, socket.SOCK_STREAM)
        return made  # type: ignore[no-any-return]

    def addresses(self, host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        kernel: Any = self.process.kernel
        found: list[tuple[Any, ...]] = kernel.host.getaddrinfo_now(host, port, **options)
        return found

    def start(self, run: Callable[[], None]) -> None:
        """Run something in a thread. All that a node has to do there is look names up, for which it may wait."""
        process, kernel = self.process, cast(Sockets, self.process.kernel)

        def answer() -> None:
            if kernel.host.network.names.hanging:
                process.in_thread(NAME_SERVER_SECONDS, answer)
            else:
                run()

        process.in_thread(THREAD_SECONDS, answer)


class _Randomness(Random):
    """The randomness of whichever process runs."""

    def __init__(self, current: _Current) -> None:
        super().__init__(0)
        self._current = current

    def random(self) -> float:
        return self._current.stream().random()

    def getrandbits(self, k: int, /) -> int:
        return self._current.stream().getrandbits(k)


@contextmanager
def seams(world: World) -> Iterator[None]:
    """Let all code of relay and pairchat live in this world, while the context lasts."""
    current = _Current(world)
    randomness = _Randomness(current)
    places: list[tuple[Any, dict[str, Any]]] = [
        (clocks, {"lease": current.monotonic, "monotonic": current.monotonic, "wall": current.wall}),
        (entropy, {"source": randomness}),
        (pairchat.entropy.entropy, {"source": randomness}),
        (outgoing_sockets, {"stream": current.stream_socket, "addresses": current.addresses}),
        (threads, {"start": current.start}),
        (Keys, {"partitions": PARTITIONS}),
    ]
    before = [(place, {name: getattr(place, name) for name in new}) for place, new in places]
    try:
        _put(places)
        yield
    finally:
        _put(before)


def run_by_anyio() -> None:
    """Let anyio know its loop also where no task runs, in this task and all that comes of it, as `anyio.run` does."""
    set_current_async_library("asyncio")


def _put(places: list[tuple[Any, dict[str, Any]]]) -> None:
    for place, values in places:
        for name, value in values.items():
            setattr(place, name, value)
