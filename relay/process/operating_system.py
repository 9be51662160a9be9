"""Ports, signals and memory: what a node takes from the operating system, beside the loop and the clocks."""

import gc
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Final

import anyio

from relay.configuration.config import Config
from relay.net import listeners
from relay.process.memory_trim import trim_heap

# The number of new objects after which Python looks for cycles. With its default of 700 that took 4 % of a busy node's
# time (perf).
GC_OBJECTS: Final = 20_000


class OperatingSystem:
    """The real operating system. The simulator gives a node another one."""

    def bind(self, config: Config) -> dict[str, socket.socket]:
        """Return the bound sockets of a node by their role. Raises StartError."""
        return listeners.bind(config)

    def signals(self, *numbers: signal.Signals) -> AbstractContextManager[AsyncIterator[signal.Signals]]:
        """Receive these signals of the process, while the context lasts."""
        return anyio.open_signal_receiver(*numbers)

    def spare_the_collector(self) -> None:
        """Exclude all present objects from garbage collection, and run it less often, as messages make no cycles."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_OBJECTS, *gc.get_threshold()[1:])

    async def trim_heap(self) -> None:
        """Return freed memory to the system from time to time."""
        await trim_heap()
