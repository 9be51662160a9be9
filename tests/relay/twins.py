"""Two nodes' cores joined in memory: sessions, claims, hubs and connections as they are, without a Redis.

Everything follows from the clients' input, in an order that is the same in every run.
"""

import asyncio
import re
from typing import Any, Self

import anyio

from relay.hub.hub import Hub
from relay.session.runtime_interface import Limits
from tests.relay.desk import Wire, in_memory
from tests.support.memory import MemoryDirectory
from tests.support.memory_bus import MemoryBus

# Idle iterations of the loop, after which nothing more happens.
QUIET_TURNS = 4


class Twins:
    """Both nodes and their clients, while the context lasts."""

    def __init__(self, limits: Limits, max_line: int) -> None:
        self._limits, self._max_line = limits, max_line
        self._bus = MemoryBus()
        self._tasks = anyio.create_task_group()
        self._nodes: list[Hub] = []
        self.wires: list[Wire] = []

    async def __aenter__(self) -> Self:
        directory = MemoryDirectory()
        await self._tasks.__aenter__()
        for node_id in ("1" * 16, "2" * 16):
            self._nodes.append(in_memory(directory, self._bus, node_id, self._limits, self._tasks))
        return self

    async def __aexit__(self, *raised: Any) -> bool | None:
        for wire in self.wires:
            wire.reset()
            wire.socket.close()
        if raised[0] is None:
            await self.settle()  # the end of a connection may start a job, which must not run after the cancellation
        for node in self._nodes:
            node.halt()
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(*raised)

    def wire(self, node: int, *, classic: bool = False) -> Wire:
        """Return a client of one of the two."""
        self.wires.append(Wire(self._nodes[node], classic=classic, max_line=self._max_line))
        return self.wires[-1]

    def take_the_usual_case(self, usual: bool) -> None:
        """Let messages take the usual case from now on, or the general way only."""
        for node in self._nodes:
            node.usual_case = usual

    async def settle(self) -> None:
        """Let everything happen that follows from the input so far."""
        quiet = 0
        while quiet < QUIET_TURNS:
            before = self._done()
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._done() == before else 0

    def _done(self) -> list[int]:
        """How much has happened so far."""
        return [self._bus.carried, *(node.loop_iteration for node in self._nodes)]


def timeless(data: bytes) -> bytes:
    """Return what a client was told, without times and without its token, which is random."""
    return re.sub(rb'"at":[0-9.]+|\[.{24}\]|"token":"[^"]+"', b"", data)
