"""Carries out the moves of users on real sockets."""

import ssl
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from random import Random
from typing import Final

import anyio

from relay.tools.testbed.user_connection import BROKEN, Address, UserConnection, dial
from relay.tools.testbed.waiting import until
from relay.tools.torture.history import Kind, stall
from relay.tools.torture.json_client import JsonClient
from relay.tools.torture.text_client import TextClient
from relay.tools.torture.user_moves import Move

User = JsonClient | TextClient

PACE_SECONDS: Final = 0.15  # the average time between two moves of one user
NUDGE_SECONDS: Final = 0.3  # between two pings of a user who makes no more moves
# A program leaves its node after a silence in this range.
PATIENCE_SECONDS: Final = (1.0, 6.0)
STALL_SECONDS: Final = (0.3, 3.0)
RETRY_SECONDS: Final = (0.0, 0.4)
HOLD_SECONDS: Final = 2.0  # the longest time for which a stranger keeps a name
NOTES: Final = 20_000  # lines of one user's traffic that are kept


class Stage:
    """The clock and the nodes of all users. `acting` says whether they make moves, and `over` ends them."""

    def __init__(
        self,
        addresses: Sequence[Address],
        clock: Callable[[], float],
        grace: float,
        tls: ssl.SSLContext | None = None,
        *,
        web: bool = False,
    ) -> None:
        """`web`: every second connection of a program is over WebSocket."""
        self.addresses = addresses
        self._web = web
        self._dials: Counter[str] = Counter()
        self.tls = tls
        self.clock = clock
        self.grace = grace
        self.acting = False
        self.over = False
        self.calm = 1.0  # how many times longer than usual everybody waits before the next move
        self._wires: dict[str, deque[str]] = {}

    async def dial(self, user: User, node: int) -> UserConnection | None:
        """Connect a user to a node, or return None. The traffic is kept for the notes of a failed run."""
        wire = self._wires.setdefault(f"{user.name}{'-stranger' if user.stranger else ''}", deque(maxlen=NOTES))

        def note(arrow: str, data: bytes) -> None:
            lines = data.decode(errors="backslashreplace").splitlines()
            wire.extend(f"{self.clock():8.3f} {arrow} {line}\n" for line in lines)

        self._dials[user.name] += 1
        web = self._web and isinstance(user, JsonClient) and self._dials[user.name] % 2 == 1
        note("--", f"to node {node}{' over WebSocket' if web else ''}".encode())
        return await dial(self.addresses[node], note, self.tls, web=web)

    async def past(self, moment: float) -> None:
        """Wait for this moment, or until the stage stops acting."""
        await until(lambda: not self.acting or self.clock() >= moment)

    def write_notes(self, folder: Path) -> None:
        """Write a file with the traffic of each user."""
        for name, wire in self._wires.items():
            (folder / f"{name}.txt").write_text("".join(wire))


class ClientDriver:
    """Plays one user over all its connections."""

    def __init__(self, user: User, stage: Stage, rng: Random) -> None:
        self.user = user
        self._stage = stage
        self._rng = rng
        self._heard = 0.0
        self._stalled_until = 0.0
        self._away_until = 0.0

    async def run(self) -> None:
        """Connect again and again until the stage is over."""
        while not self._stage.over:
            node = self._rng.randrange(len(self._stage.addresses))
            wire = await self._stage.dial(self.user, node)
            if wire is not None:
                async with aclosing(wire):
                    await self._visit(wire, node)
                    gone = self._stage.clock()  # the node counts the grace from the end of the stream, which comes next
                self.user.closed(gone)
            await anyio.sleep(self._rng.uniform(*RETRY_SECONDS))
            await self._stage.past(self._away_until)

    async def _visit(self, wire: UserConnection, node: int) -> None:
        self._heard, self._stalled_until = self._stage.clock(), 0.0
        await wire.send(self.user.opened(node))
        async with anyio.create_task_group() as tasks:
            for task in (self._listen, self._act):
                tasks.start_soon(task, wire, tasks.cancel_scope)

    async def _listen(self, wire: UserConnection, scope: anyio.CancelScope) -> None:
        with suppress(*BROKEN):
            while not (self.user.done or self.user.refused):
                await self._stage.past(self._stalled_until)
                data = await wire.receive()
                self._heard = self._stage.clock()
                await wire.send(self.user.feed(data, self._heard))
        scope.cancel()

    async def _act(self, wire: UserConnection, scope: anyio.CancelScope) -> None:
        patience = self._rng.uniform(*PATIENCE_SECONDS)
        move = Move.IDLE
        while not self._stage.over and move not in (Move.CUT, Move.VANISH):
            acting = self._stage.acting and self.user.ready
            await anyio.sleep(self._rng.expovariate(1 / PACE_SECONDS) * self._stage.calm if acting else NUDGE_SECONDS)
            if self._deserted(patience):
                break
            move = await self._move(wire)
        scope.cancel()

    def _deserted(self, patience: float) -> bool:
        """Return whether the user should leave its silent node. A person waits without end once it has its name."""
        silence = self._stage.clock() - max(self._heard, self._stalled_until)
        return silence > patience and (self.user.kind is not Kind.PERSON or not self.user.ready)

    async def _move(self, wire: UserConnection) -> Move:
        user, now = self.user, self._stage.clock()
        if not (self._stage.acting and user.ready):
            await wire.send(user.nudge() if user.ready else b"")
            return Move.IDLE
        data, move = user.act(now)
        await wire.send(data)
        if move is Move.STALL:
            self._stalled_until = now + self._rng.uniform(*STALL_SECONDS)
            if isinstance(user, TextClient) and user.session is not None:
                stall(user.session, now, self._stalled_until)
        elif move is Move.VANISH:
            self._away_until = now + self._stage.grace + 2.0
        if move in (Move.CUT, Move.VANISH) and self._rng.random() < 0.5:
            wire.harden()
        return move


class Stranger:
    """Claims names that belong to other users, and releases them again."""

    def __init__(self, make: Callable[[str], User], names: Sequence[str], stage: Stage, rng: Random) -> None:
        self._make = make
        self._names = names
        self._stage = stage
        self._rng = rng

    async def run(self) -> None:
        """Claim names while the stage is acting."""
        while self._stage.acting:
            await anyio.sleep(self._rng.expovariate(1 / PACE_SECONDS) * self._stage.calm)
            user = self._make(self._rng.choice(self._names))
            node = self._rng.randrange(len(self._stage.addresses))
            with anyio.move_on_after(PATIENCE_SECONDS[1]):
                await self._try(user, node)
            user.give_up(self._stage.clock())

    async def _try(self, user: User, node: int) -> None:
        wire = await self._stage.dial(user, node)
        if wire is None:
            return
        with suppress(*BROKEN):
            async with aclosing(wire):
                await wire.send(user.opened(node))
                await self._listen(wire, user, lambda: user.ready)
                if user.ready:
                    with anyio.move_on_after(self._rng.uniform(0.0, HOLD_SECONDS)):
                        await self._listen(wire, user, lambda: False)
                    await wire.send(user.quit(self._stage.clock()))
                    await self._listen(wire, user, lambda: False)

    async def _listen(self, wire: UserConnection, user: User, enough: Callable[[], bool]) -> None:
        while not (user.done or user.refused or enough()):
            await wire.send(user.feed(await wire.receive(), self._stage.clock()))
