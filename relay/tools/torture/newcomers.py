"""Users who come all the while: each takes a name that nobody had, asks for somebody who isn't there, and leaves."""

from collections.abc import Callable
from contextlib import aclosing, suppress
from random import Random
from typing import Final

import anyio

from relay.tools.testbed.connection import BROKEN, Wire
from relay.tools.torture.history import Arrival, History, Kind
from relay.tools.torture.json_client import Program
from relay.tools.torture.player import Stage

# Between two of them, on average: with fewer none is on its way while a fault lasts, more are a load of their own.
PACE_SECONDS: Final = 0.4
# Nobody waits for longer: by then the answer is late whatever happened.
PATIENCE_SECONDS: Final = 15.0


class Newcomers:
    """Has them come to nodes drawn from its own random numbers. `arrivals` is the log."""

    def __init__(self, stage: Stage, rng: Random, arrivals: list[Arrival]) -> None:
        self._stage = stage
        self._rng = rng
        self._arrivals = arrivals

    async def run(self) -> None:
        """Until nobody acts any more."""
        serial = 0
        async with anyio.create_task_group() as tasks:
            while self._stage.acting:
                await anyio.sleep(self._rng.expovariate(1 / PACE_SECONDS))
                serial += 1
                tasks.start_soon(self._come, f"new{serial}", self._rng.randrange(len(self._stage.addresses)))

    async def _come(self, name: str, node: int) -> None:
        user = Program(name, Kind.LAZY, History(), Random(name), stranger=True)
        wire = await self._stage.dial(user, node)
        if wire is None:
            return
        arrival = Arrival(name, node, self._stage.clock())
        self._arrivals.append(arrival)
        with suppress(*BROKEN), anyio.move_on_after(PATIENCE_SECONDS):
            async with aclosing(wire):
                await wire.send(user.opened(node))
                await self._listen(wire, user, lambda: user.ready)
                arrival.answered = self._stage.clock()
                if user.ready:
                    await wire.send(user.call(f"{name}-nobody") + user.quit(self._stage.clock()))
                    await self._listen(wire, user, lambda: False)
                arrival.left = self._stage.clock()
        arrival.ended = self._stage.clock()

    async def _listen(self, wire: Wire, user: Program, enough: Callable[[], bool]) -> None:
        while not (user.done or user.refused or enough()):
            await wire.send(user.feed(await wire.receive(), self._stage.clock()))
