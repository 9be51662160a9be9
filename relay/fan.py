"""Publishing on a cluster: one connection to each primary that serves somebody's inbox (sharded pub/sub).

Slots move, and replicas take their primary's place. Whatever shows it (a lost connection, a server that doesn't answer,
a refusal), the topology is read again, channels go to where they are served now, and what was under way goes again.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from relay.directory.lease import clock
from relay.redis_client.client import Store, Unavailable
from relay.redis_client.connection import RespConnection, next_pause

# A primary that owes an answer for so long is frozen, or cut off.
SILENT_SECONDS: Final = 1.2
# How often primaries are looked after, and how soon after a refusal the topology is read again.
WATCH_SECONDS: Final = 0.2
# Inboxes whose primary is remembered. Far above any cluster; bounds what garbage on the channel can cost.
CHANNELS: Final = 4096

# How a server says that it doesn't serve a channel, or not now.
_ELSEWHERE: Final = ("MOVED", "CLUSTERDOWN")

log = structlog.get_logger()

Command = tuple[str, str, bytes]


class _Line:
    """The connection to one primary; `heard`: when it last answered, or when it began to owe an answer."""

    __slots__ = ("connection", "heard", "home", "under_way")

    def __init__(self, home: str) -> None:
        self.home = home
        self.connection: RespConnection | None = None
        self.under_way = 0
        self.heard = 0.0


class Fan:
    """Takes a publisher's place. What can't be sent now is lost, as it could be on the way.

    `answered(reply)`: one command was carried out. `unanswered(count)`: so many never will, or were refused.
    `again(channels)`: what is under way to these may be lost. `connected()`: a connection to a primary was made.
    """

    def __init__(
        self,
        store: Store,
        everyone: str,
        *,
        answered: Callable[[Any], None],
        unanswered: Callable[[int], None],
        again: Callable[[Iterable[str]], None],
        connected: Callable[[], None],
    ) -> None:
        self._store = store
        self._everyone = everyone  # the only channel that isn't sharded: every primary hands it on
        self._answered = answered
        self._unanswered = unanswered
        self._again = again
        self._connected = connected
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
                    self._again([channel for channel, line in self._homes.items() if line in refused])
                elif self._version != self._store.version:
                    self._reroute()

    # --- sending

    def send(self, *commands: Command) -> None:
        """Publish, each at the primary that serves its channel."""
        batches: dict[_Line, list[Command]] = {}
        lost = 0
        for verb, channel, frame in commands:
            if channel == self._everyone:
                line = next((line for line in self._lines.values() if line.connection is not None), None)
            else:
                verb, line = "SPUBLISH", self._homes.get(channel) or self._route(channel)
            if line is None or line.connection is None:
                lost += 1
            else:
                batches.setdefault(line, []).append((verb, channel, frame))
        for line, batch in batches.items():
            if not line.under_way:
                line.heard = clock()
            line.under_way += len(batch)
            line.connection.send(*batch)  # type: ignore[union-attr]
        if lost:
            self._unanswered(lost)

    def abort(self) -> None:
        """Give up the connections that may be broken."""
        self._give_up(SILENT_SECONDS / 2)

    def _give_up(self, seconds: float) -> None:
        now = clock()
        for line in self._lines.values():
            if line.connection is not None and line.under_way and now - line.heard > seconds:
                log.warning("no answer from a primary: connecting anew", primary=line.home)
                line.connection.abort()

    def _heard(self, line: _Line, reply: Any) -> None:
        line.under_way -= 1
        line.heard = clock()
        if isinstance(reply, Exception) and str(reply).startswith(_ELSEWHERE):
            self._refused.add(line)
            self._unanswered(1)
        else:
            self._answered(reply)

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
        self._version = self._store.version
        moved = [channel for channel, line in self._homes.items() if self._store.home(channel) != line.home]
        for channel in moved:
            del self._homes[channel]
            self._route(channel)
        for line in self._lines.values():
            if line.connection is not None and line not in self._homes.values():
                line.connection.abort()
        if moved:
            self._again(moved)

    # --- connections

    async def _keep(self, line: _Line) -> None:
        """Keep the connection to one primary, for as long as it serves anybody."""
        pause = 0.0
        try:
            while line in self._homes.values():
                served = False
                try:
                    served = await self._serve(line)
                    log.warning("bus connection lost", role="publisher", primary=line.home)
                except Unavailable as error:
                    log.debug("bus connection not made", role="publisher", primary=line.home, error=str(error))
                pause = next_pause(pause, served)
                await anyio.sleep(pause)
                await self._look()
        finally:
            del self._lines[line.home]

    async def _serve(self, line: _Line) -> bool:
        """Until the connection is lost; whether it has served."""
        began = clock()
        connection = RespConnection(await self._store.connect(line.home), partial(self._heard, line))
        line.connection, line.heard = connection, began
        try:
            self._connected()
            self._again([channel for channel, its in self._homes.items() if its is line])
            await connection.lost.wait()
        finally:
            line.connection = None
            lost, line.under_way = line.under_way, 0
            self._unanswered(lost)
            with anyio.CancelScope(shield=True):
                await connection.aclose()
        return line.heard > began
