"""What nodes, and operators, tell each other beside mail: roll calls, farewells, who is to go."""

from collections.abc import Callable
from typing import Final, Protocol

import anyio
import structlog

from relay.bus.bus import Bus
from relay.bus.link import Frame, Kind
from relay.clock import clock
from relay.directory.directory import Directory
from relay.session.kick import kick
from relay.session.session import Session

# A new cluster on an empty Redis asks whether anyone has users. Long enough for a node that Redis' restart has
# disconnected to be back (it tries every half second at the most).
ROLL_CALL_SECONDS: Final = 0.6
# One roll call for a partition in so many seconds.
ROLL_CALL_PAUSE: Final = 0.5
# What is forgotten within so many seconds is one line in the log.
NEWS_SECONDS: Final = 0.5

log = structlog.get_logger()


class ControlledNode(Protocol):
    """What control messages need of the hub."""

    sessions: dict[str, Session]  # by owned name

    def open_tick(self) -> None:
        """Open a tick. This has to be called before a session is told anything."""

    def call_later(self, delay: float, then: Callable[[], None]) -> None:
        """Call `then` after so many seconds, in a tick of that time."""

    def write_back(self, *partitions: int) -> None:
        """Write the records of these partitions again."""


class ControlMessages:
    """Heeds what this node is told, and tells the others. `drain()`: this node is to end."""

    def __init__(
        self, node_id: str, directory: Directory, bus: Bus, node: ControlledNode, drain: Callable[[], None]
    ) -> None:
        self._node_id = node_id
        self._directory = directory
        self._bus = bus
        self._node = node
        self._drain = drain
        self.serving = False  # has accepted clients: others have to reckon with our users
        self._answered = anyio.Event()
        self._called: dict[int, float] = {}
        self._news = 0  # partitions that were forgotten, and not told of in the log yet

    def _say(self) -> None:
        log.warning("redis forgot a part of the directory: its owners write it again", partitions=self._news)
        self._news = 0

    def heed(self, frame: Frame) -> None:
        """A frame came that isn't mail."""
        match frame.kind:
            case Kind.ROLL_CALL if self.serving:
                self._bus.tell(frame.node_id, Kind.HERE, self._directory.highest)
                if frame.number:
                    self._node.write_back(frame.number - 1)
            case Kind.HERE:
                self._directory.know(frame.number)
                self._answered.set()
            case Kind.FAREWELL:
                self._directory.peers.dead(frame.node_id)
                self._bus.forget(frame.node_id)
            case Kind.DRAIN if frame.body == self._node_id.encode() and self.serving:
                self._drain()
            case Kind.KICK:
                self._kick(frame.body.decode(errors="replace"))

    def _kick(self, canonical_name: str) -> None:
        session = self._node.sessions.get(canonical_name)
        if session is not None and session.named:
            self._node.open_tick()
            kick(session)

    async def alone(self) -> bool:
        """Whether no other node has users."""
        called = self._bus.announce(Kind.ROLL_CALL)
        # The question and the answer take a way to Redis and back each.
        with anyio.move_on_after(ROLL_CALL_SECONDS + 2 * self._directory.latency):
            await self._answered.wait()
        return called and not self._answered.is_set()

    def forgotten(self, *partitions: int) -> None:
        """Redis forgot these partitions: every node has to write its users back."""
        now = clock()
        pauses = {partition: now - self._called.get(partition, float("-inf")) for partition in partitions}
        due = [partition for partition, pause in pauses.items() if pause > ROLL_CALL_PAUSE]
        # While one waits for its owners, each question about it leads here. That is no news.
        news = sum(pause > self._directory.lease.seconds for pause in pauses.values())
        if news and not self._news:
            self._node.call_later(NEWS_SECONDS, self._say)
        self._news += news
        for partition in due:
            self._called[partition] = now
            self._bus.announce(Kind.ROLL_CALL, partition + 1)
        if due:
            self._node.write_back(*due)
