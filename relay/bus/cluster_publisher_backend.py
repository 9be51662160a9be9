"""The publishing end of the bus on a cluster: one connection to each primary that serves an inbox (sharded pub/sub).

Slots move, and replicas are promoted. A lost connection, a server that doesn't answer or a refusal may show it. Then
the publisher reads the topology again and moves channels to their new primaries, and links retransmit.
"""

from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup

from relay.bus.delegates import PublisherDelegate
from relay.bus.reconnect import SILENT_SECONDS
from relay.clock import clock
from relay.logs import Spell
from relay.redis_client.backoff import RECONNECT_SECONDS, Backoff
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.connection import Answered, RespConnection
from relay.redis_client.keys import Keys
from relay.redis_client.topology_interface import wrong_server

# The interval at which connections are checked, and the longest delay between a refusal and a read of the topology.
WATCH_SECONDS: Final = 0.2
# The maximum number of inboxes whose primary is remembered. It is far above any cluster, and bounds the cost of garbage
# on the channel.
CHANNELS: Final = 4096

# The refusal of a server whose channel another one serves. It is no trouble.
_MOVED: Final = "MOVED"

Command = tuple[str, str, bytes]


class _Line:
    """The connection to one primary."""

    __slots__ = ("_spell", "connection", "home", "why")

    def __init__(self, home: str) -> None:
        self.home = home
        self.connection: Answered | None = None
        self.why = ""  # the reason why the last command failed; empty if it succeeded
        self._spell = Spell("a primary can't be published at", "a primary can be published at again")

    @property
    def trouble(self) -> str:
        """The reason why nothing can be published there now; empty if no trouble is known."""
        if self.connection is None:
            return self.why or "not connected yet"
        return self.connection.trouble or self.why

    def fails(self, error: str) -> None:
        """Note that nothing can be published there."""
        self.why = error
        self._spell.again(primary=self.home, error=error)

    def serves(self) -> None:
        """Note that the primary carried out a command."""
        if self.why:
            self.why = ""
            self._spell.over(primary=self.home)


class ClusterPublisherBackend:
    """Publishes on a cluster. Commands that can't be sent now are lost, as they could be on the way."""

    def __init__(self, redis_client: RedisClient, keys: Keys, inbox: str, *, delegate: PublisherDelegate) -> None:
        """`inbox` is this node's own channel, to which its probes go."""
        self._redis_client = redis_client
        self._keys = keys
        self._inbox = inbox
        self._delegate = delegate
        self._lines: dict[str, _Line] = {}
        self._homes: dict[str, _Line] = {}  # by channel
        self._refused: set[_Line] = set()
        self._tasks: TaskGroup | None = None
        self._version = 0  # the client's layout when channels were last routed

    async def run(self) -> None:
        """Watch the connections until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                await anyio.sleep(WATCH_SECONDS)
                self._give_up(SILENT_SECONDS)
                if self._refused:
                    await self._refresh_topology()
                    refused, self._refused = self._refused, set()
                    self._delegate.rerouted([channel for channel, line in self._homes.items() if line in refused])
                elif self._version != self._redis_client.layout:
                    self._reroute()

    @property
    def address(self) -> str:
        """The primary of this node's own inbox; empty while none is known."""
        return self._redis_client.home(self._inbox) or ""

    @property
    def trouble(self) -> str:
        """The reason why nothing can be published to the own inbox now; empty if no trouble is known."""
        line = self._homes.get(self._inbox)
        return "no server serves the own inbox" if line is None else line.trouble

    @property
    def connections(self) -> tuple[RespConnection, ...]:
        """Empty, as this publisher watches its connections itself."""
        return ()

    def silent(self, trouble: str) -> int:
        """Return the number of primaries at which nothing can be published now."""
        return sum(bool(line.trouble) for line in self._lines.values())

    # --- sending

    def send(self, *commands: Command) -> None:
        """Publish each command at the primary that serves its channel."""
        batches: dict[Answered, list[Command]] = {}
        lost = 0
        for verb, channel, frame in commands:
            if channel == self._keys.everyone:  # ordinary pub/sub: each primary passes it on to all others
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
        """Publish a probe, and probe every other primary too: a broken connection is noticed before it is needed."""
        self.send(command)
        own = self._homes.get(command[1])
        for line, channel in {line: channel for channel, line in self._homes.items()}.items():
            if line is not own and line.connection is not None and not line.connection.silence:
                line.connection.send_uncounted(("SPUBLISH", self._keys.beside(channel), b""))

    def forget(self, channel: str) -> None:
        """Forget a channel that has no subscriber any more."""
        self._homes.pop(channel, None)

    def abort(self) -> None:
        """Close the connections that may be broken."""
        self._give_up(SILENT_SECONDS / 2)

    def give_up_silent(self) -> bool:
        """Return False: `run` watches each connection by itself."""
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

    # --- routing

    def _route(self, channel: str) -> _Line | None:
        """Return the line for a channel, begun if there is none, or None while no server serves the channel."""
        home = self._redis_client.home(channel)
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

    async def _refresh_topology(self) -> None:
        """Read the topology again, and move channels accordingly."""
        with suppress(Unavailable):
            await self._redis_client.refresh_topology()
        self._reroute()

    def _reroute(self) -> None:
        """Move channels whose primary has changed, and leave primaries that serve none of them."""
        self._version = self._redis_client.layout
        moved = [channel for channel, line in self._homes.items() if self._redis_client.home(channel) != line.home]
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
        """Keep up the connection to one primary for as long as it serves any channel."""
        backoff = Backoff(RECONNECT_SECONDS)
        try:
            while line in self._homes.values():
                served, began = False, clock()
                try:
                    served = await self._serve(line)
                    line.fails(line.why or "connection lost")
                except Unavailable as error:
                    line.fails(str(error))
                await anyio.sleep(backoff.after(well=served, lasted=clock() - began))
                await self._refresh_topology()
        finally:
            del self._lines[line.home]

    async def _serve(self, line: _Line) -> bool:
        """Hold a connection until it is lost. Return whether it got a reply."""
        served = False

        def heard(reply: object, count: int) -> None:
            nonlocal served
            served = True
            self._heard(line, reply, count)

        connection = line.connection = Answered(await self._redis_client.connect(line.home), heard)
        try:
            self._delegate.connected()
            self._delegate.rerouted([channel for channel, its in self._homes.items() if its is line])
            await connection.lost.wait()
        finally:
            line.connection = None
            self._delegate.unanswered(connection.unanswered)
            connection.abort()
        return served
