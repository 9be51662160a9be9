"""Publishing on a cluster: one connection to each primary that serves somebody's inbox (sharded pub/sub).

Slots move, and replicas take their primary's place. Whatever shows it (a lost connection, a server that doesn't answer,
a refusal), the topology is read again, channels go to where they are served now, and what was under way goes again.
"""

from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup

from relay.bus.delegates import PublisherDelegate
from relay.bus.reconnect import SILENT_SECONDS
from relay.logs import Spell
from relay.redis_client.backoff import RECONNECT_SECONDS, Backoff
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.connection import Answered, RespConnection
from relay.redis_client.keys import Keys
from relay.redis_client.topology import wrong_server

# How often primaries are looked after, and how soon after a refusal the topology is read again.
WATCH_SECONDS: Final = 0.2
# Inboxes whose primary is remembered. Far above any cluster; bounds what garbage on the channel can cost.
CHANNELS: Final = 4096

# How a server says that another one serves a channel, which is no trouble.
_MOVED: Final = "MOVED"

Command = tuple[str, str, bytes]


class _Line:
    """The connection to one primary."""

    __slots__ = ("_spell", "connection", "home", "why")

    def __init__(self, home: str) -> None:
        self.home = home
        self.connection: Answered | None = None
        self.why = ""  # nothing could be published there the last time; empty: it could
        self._spell = Spell("a primary can't be published at", "a primary can be published at again")

    @property
    def trouble(self) -> str:
        """Why nothing can be published there now; empty if it can, as far as is known."""
        if self.connection is None:
            return self.why or "not connected yet"
        return self.connection.trouble or self.why

    def fails(self, error: str) -> None:
        """Nothing can be published there."""
        self.why = error
        self._spell.again(primary=self.home, error=error)

    def serves(self) -> None:
        """It has carried out a command."""
        if self.why:
            self.why = ""
            self._spell.over(primary=self.home)


class ShardedPublisher:
    """Publishes on a cluster. What can't be sent now is lost, as it could be on the way."""

    def __init__(self, store: RedisClient, keys: Keys, inbox: str, *, delegate: PublisherDelegate) -> None:
        """`inbox`: the channel of this node itself, on which its probes go."""
        self._store = store
        self._keys = keys
        self._inbox = inbox
        self._delegate = delegate
        self._lines: dict[str, _Line] = {}
        self._homes: dict[str, _Line] = {}  # of channels
        self._refused: set[_Line] = set()
        self._tasks: TaskGroup | None = None
        self._version = 0  # of what the store knew when channels were last put in their places

    async def run(self) -> None:
        """Look after the connections, for ever."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                await anyio.sleep(WATCH_SECONDS)
                self._give_up(SILENT_SECONDS)
                if self._refused:
                    await self._look()
                    refused, self._refused = self._refused, set()
                    self._delegate.rerouted([channel for channel, line in self._homes.items() if line in refused])
                elif self._version != self._store.layout:
                    self._reroute()

    @property
    def address(self) -> str:
        """The primary of the own inbox; empty while none is known."""
        return self._store.home(self._inbox) or ""

    @property
    def trouble(self) -> str:
        """Why nothing can be published to the own inbox now; empty if it can, as far as is known."""
        line = self._homes.get(self._inbox)
        return "no server serves the own inbox" if line is None else line.trouble

    @property
    def connections(self) -> tuple[RespConnection, ...]:
        """None that anybody else has to look after."""
        return ()

    def silent(self, trouble: str) -> int:
        """Primaries that can't be published at now: there is no connection, or its answers don't come."""
        return sum(bool(line.trouble) for line in self._lines.values())

    # --- sending

    def send(self, *commands: Command) -> None:
        """Publish, each at the primary that serves its channel."""
        batches: dict[Answered, list[Command]] = {}
        lost = 0
        for verb, channel, frame in commands:
            if channel == self._keys.everyone:  # the only one that isn't sharded: every primary hands it on
                line = next((line for line in self._lines.values() if line.connection is not None), None)
            else:
                verb, line = "SPUBLISH", self._homes.get(channel) or self._route(channel)
            if line is None or line.connection is None:
                lost += 1
            else:
                batches.setdefault(line.connection, []).append((verb, channel, frame))
        for connection, batch in batches.items():
            connection.send(*batch)
        if lost:
            self._delegate.unanswered(lost)

    def probe(self, command: Command) -> None:
        """Publish this, and have every other primary answer too: a way that is broken is noticed before it's needed."""
        self.send(command)
        own = self._homes.get(command[1])
        for line, channel in {line: channel for channel, line in self._homes.items()}.items():
            if line is not own and line.connection is not None and not line.connection.silence:
                line.connection.send_uncounted(("SPUBLISH", self._keys.beside(channel), b""))

    def forget(self, channel: str) -> None:
        """Nobody is there any more."""
        self._homes.pop(channel, None)

    def abort(self) -> None:
        """Give up the connections that may be broken."""
        self._give_up(SILENT_SECONDS / 2)

    def give_up_silent(self) -> bool:
        """Nothing is given up here: each connection is looked after by itself."""
        return False

    def _give_up(self, seconds: float) -> None:
        for line in self._lines.values():
            if line.connection is not None and (silence := line.connection.silence) > seconds:
                line.fails(f"no answer from {line.home} for {silence:.1f} s")
                self._delegate.gave_up()
                line.connection.abort()

    def _heard(self, line: _Line, reply: object, count: int) -> None:
        if not isinstance(reply, Exception):
            line.serves()
        elif wrong_server(reply):
            self._refused.add(line)
            if not str(reply).startswith(_MOVED):
                line.fails(f"{line.home} refuses: {reply}")
            self._delegate.unanswered(count)
            return
        self._delegate.answered(reply, count, line.home)

    # --- where things are

    def _route(self, channel: str) -> _Line | None:
        """The line for a channel, begun where there is none; None while nobody serves it."""
        home = self._store.home(channel)
        if home is None or self._tasks is None:
            return None
        if len(self._homes) >= CHANNELS:
            self._homes.clear()
        line = self._lines.get(home)
        if line is None:
            line = self._lines[home] = _Line(home)
            self._tasks.start_soon(self._keep, line)
        self._homes[channel] = line
        return line

    async def _look(self) -> None:
        """Read the topology again, and follow it."""
        with suppress(Unavailable):
            await self._store.look()
        self._reroute()

    def _reroute(self) -> None:
        """Let channels that are served elsewhere by now go there, and leave primaries that serve none of them."""
        self._version = self._store.layout
        moved = [channel for channel, line in self._homes.items() if self._store.home(channel) != line.home]
        for channel in moved:
            del self._homes[channel]
            self._route(channel)
        for line in self._lines.values():
            if line.connection is not None and line not in self._homes.values():
                line.connection.abort()
        if moved:
            self._delegate.rerouted(moved)

    # --- connections

    async def _keep(self, line: _Line) -> None:
        """Keep the connection to one primary, for as long as it serves anybody."""
        backoff = Backoff(RECONNECT_SECONDS)
        try:
            while line in self._homes.values():
                served = False
                try:
                    served = await self._serve(line)
                    line.fails(line.why or "connection lost")
                except Unavailable as error:
                    line.fails(str(error))
                await anyio.sleep(backoff.after(well=served))
                await self._look()
        finally:
            del self._lines[line.home]

    async def _serve(self, line: _Line) -> bool:
        """Until the connection is lost; whether it has served."""
        served = False

        def heard(reply: object, count: int) -> None:
            nonlocal served
            served = True
            self._heard(line, reply, count)

        connection = line.connection = Answered(await self._store.connect(line.home), heard)
        try:
            self._delegate.connected()
            self._delegate.rerouted([channel for channel, its in self._homes.items() if its is line])
            await connection.lost.wait()
        finally:
            line.connection = None
            self._delegate.unanswered(connection.unanswered)
            connection.abort()
        return served
