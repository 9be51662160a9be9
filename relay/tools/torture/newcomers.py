"""New users who arrive all the time: each claims a new name, calls a user who doesn't exist, and leaves."""

from collections.abc import Callable
from contextlib import aclosing, suppress
from random import Random
from typing import Final

import anyio

from relay.tools.testbed.user_connection import BROKEN, UserConnection
from relay.tools.torture.client_driver import Stage
from relay.tools.torture.history import Arrival, History, Kind
from relay.tools.torture.json_client import JsonClient

# The average time between two of them. With fewer, none would arrive during a fault; more would be a load of their own.
PACE_SECONDS: Final = 0.4
# No user waits longer, because the answer is late by then under any fault.
PATIENCE_SECONDS: Final = 15.0


class Newcomers:
    """Sends new users to random nodes, and logs each in `arrivals`."""

    def __init__(self, stage: Stage, rng: Random, arrivals: list[Arrival]) -> None:
        self._stage = stage
        self._rng = rng
        self._arrivals = arrivals

    async def run(self) -> None:
        """Send new users while the stage is acting."""
        serial = 0
        async with anyio.create_task_group() as tasks:
            while self._stage.acting:
                await anyio.sleep(self._rng.expovariate(1 / PACE_SECONDS) * self._stage.calm)
                serial += 1
                tasks.start_soon(self._come, f"new{serial}", self._rng.randrange(len(self._stage.addresses)))

    async def _come(self, name: str, node: int) -> None:
        user = JsonClient(name, Kind.LAZY, History(), Random(name), stranger=True)
        wire = await self._stage.dial(user, node)
        if wire is None:
            return
        arrival = Arrival(name, node, self._stage.clock())
        self._arrivals.append(arrival)
        try:
            with suppress(*BROKEN), anyio.move_on_after(PATIENCE_SECONDS):
                await self._visit(wire, user, arrival)
        finally:  # also if the run ends while the user waits
            arrival.ended = self._stage.clock()

    async def _visit(self, wire: UserConnection, user: JsonClient, arrival: Arrival) -> None:
        async with aclosing(wire):
            await wire.send(user.opened(arrival.node))
            await self._listen(wire, user, lambda: user.ready)
            arrival.answered = self._stage.clock()
            if user.ready:
                await wire.send(user.call(f"{arrival.name}-nobody") + user.quit(self._stage.clock()))
                await self._listen(wire, user, lambda: False)
            arrival.left = self._stage.clock()

    async def _listen(self, wire: UserConnection, user: JsonClient, enough: Callable[[], bool]) -> None:
        while not (user.done or user.refused or enough()):
            await wire.send(user.feed(await wire.receive(), self._stage.clock()))
