"""The control messages between nodes, and from operators: roll calls, farewells, drains and kicks."""

from collections.abc import Callable
from typing import Final, Protocol

import anyio
import structlog

from relay.bus.bus import Bus
from relay.bus.reliable_link import Frame, Kind
from relay.clock import clock
from relay.directory.directory import Directory
from relay.session.operator_kick import kick
from relay.session.session import Session

# A new cluster on an empty Redis asks whether any node has users, and waits this long. That is enough for a node that
# was disconnected by Redis' restart to be back (it tries at least every half second).
ROLL_CALL_SECONDS: Final = 0.6
# There is at most one roll call for a partition in this time.
ROLL_CALL_PAUSE: Final = 0.5
# The partitions that Redis lost within this time are one line in the log.
NEWS_SECONDS: Final = 0.5

log = structlog.get_logger()


class ControlledNode(Protocol):
    """The part of the hub that control messages use."""

    sessions: dict[str, Session]  # by canonical name

    def open_tick(self) -> None:
        """Open a tick. This must be called before a session is told anything."""

    def call_later(self, delay: float, then: Callable[[], None]) -> None:
        """Call `then` after `delay` seconds, in an open tick."""

    def write_back(self, *partitions: int) -> None:
        """Write this node's records in these partitions again."""


class ControlMessages:
    """Handles the control messages to this node, and sends its own. Calls `drain()` if the node is told to stop."""

    def __init__(
        self, node_id: str, directory: Directory, bus: Bus, node: ControlledNode, drain: Callable[[], None]
    ) -> None:
        self._node_id = node_id
        self._directory = directory
        self._bus = bus
        self._node = node
        self._drain = drain
        self.serving = False  # this node accepts clients, so roll calls must be answered
        self._answered = anyio.Event()
        self._called: dict[int, float] = {}
        self._news = 0  # number of lost partitions that aren't in the log yet

    def _say(self) -> None:
        log.warning("redis forgot a part of the directory: its owners write it again", partitions=self._news)
        self._news = 0

    def heed(self, frame: Frame) -> None:
        """Handle a frame that has no peer messages."""
        match frame.kind:
            case Kind.ROLL_CALL if self.serving:
                self._bus.tell(frame.node_id, Kind.HERE, self._directory.highest)
                if frame.number:
                    self._node.write_back(frame.number - 1)
            case Kind.HERE:
                self._directory.know(frame.number)
                self._answered.set()
            case Kind.FAREWELL:
                self._directory.node_liveness.farewell(frame.node_id)
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
        """Ask whether other nodes have users. Returns True if none of them answers in time."""
        called = self._bus.announce(Kind.ROLL_CALL)
        # The question and the answer take one round trip to Redis each.
        with anyio.move_on_after(ROLL_CALL_SECONDS + 2 * self._directory.latency):
            await self._answered.wait()
        return called and not self._answered.is_set()

    def partitions_lost(self, *partitions: int) -> None:
        """Have every node write its records in these partitions again, because Redis has lost them."""
        now = clock()
        pauses = {partition: now - self._called.get(partition, float("-inf")) for partition in partitions}
        due = [partition for partition, pause in pauses.items() if pause > ROLL_CALL_PAUSE]
        # While a lost partition waits for its owners, each request to it leads here again. Only the first is logged.
        news = sum(pause > self._directory.lease.seconds for pause in pauses.values())
        if news and not self._news:
            self._node.call_later(NEWS_SECONDS, self._say)
        self._news += news
        for partition in due:
            self._called[partition] = now
            self._bus.announce(Kind.ROLL_CALL, partition + 1)
        if due:
            self._node.write_back(*due)
