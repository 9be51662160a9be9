"""The bus in memory, for tests that run several real hubs without a Redis.

It keeps the promise that `relay.bus.bus.Bus` makes to a hub: mail arrives in order, and each piece of it once, as long
as both nodes know each other. A real bus has to repair what pub/sub loses for that; here nothing is lost between living
nodes. Mail is encoded and decoded on its way, so that a node never gets the objects of another one. It arrives in a
later iteration of the loop, or, where a test wants to choose the order, piece by piece with `deliver`.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from relay.bus.delegates import BusDelegate, NodeLease
from relay.bus.reliable_link import Frame, Kind
from relay.session.peer_messages import Mail, decode, encode

Way = tuple[str, str]  # the ids of the node that sends and of the node that receives


class _Stream:
    """One direction between two nodes."""

    def __init__(self) -> None:
        self.on_the_way = deque[Mail]()
        self.received = False  # whether any mail of it has arrived
        self.forgotten = False  # whether the receiver has forgotten it after that


class MemoryBus:
    """Everything between the nodes. Each node has a view of its own, `MemoryBus.node`.

    `step_by_step`: while it is true, mail stays on its way until the test calls `deliver`. `flowing`: whether mail that
    is only useful at once may leave. `cut_off`: nodes that nothing comes from or gets to for now.
    """

    def __init__(self, *, step_by_step: bool = False) -> None:
        self.step_by_step = step_by_step
        self.flowing = True
        self.cut_off: set[str] = set()
        self.carried = 0  # pieces of mail that have arrived so far
        self._nodes: dict[str, MemoryBusView] = {}
        self._streams: dict[Way, _Stream] = {}

    def node(self, node_id: str, delegate: BusDelegate, lease: NodeLease) -> "MemoryBusView":
        """Connect a node, and return its bus."""
        self._nodes[node_id] = view = MemoryBusView(self, node_id, delegate, lease)
        return view

    def ways(self) -> list[Way]:
        """Return the ways on which something could arrive now, in order."""
        return [way for way, stream in sorted(self._streams.items()) if stream.on_the_way and self._reaches(way)]

    def on_the_way(self, sender: str = "", receiver: str = "") -> list[tuple[Way, Mail]]:
        """Return the mail on its way, with its way, from and to any node or this one."""
        return [
            ((one, other), mail)
            for (one, other), stream in self._streams.items()
            if sender in ("", one) and receiver in ("", other)
            for mail in stream.on_the_way
        ]

    def lose(self, sender: str = "", receiver: str = "") -> list[tuple[Way, Mail]]:
        """Take the mail away that is on its way, and return it.

        A real bus loses mail only together with a node, or where nodes have forgotten each other.
        """
        lost = self.on_the_way(sender, receiver)
        for (one, other), stream in self._streams.items():
            if sender in ("", one) and receiver in ("", other):
                stream.on_the_way.clear()
        return lost

    def deliver(self, sender: str, receiver: str) -> None:
        """Let the next piece of mail from one node to the other arrive."""
        stream, view = self._streams[sender, receiver], self._nodes[receiver]
        if stream.forgotten:
            # The sender learns of it from the receiver's report of a gap, and begins a new stream.
            del self._streams[sender, receiver]
            if sender in self._nodes:
                self._nodes[sender].delegate.peer_forgot_us(receiver)
            return
        back = self._streams.get((receiver, sender))
        if back is not None and back.forgotten:  # the receiver learns of it from the sender's new stream
            del self._streams[receiver, sender]
            view.delegate.peer_forgot_us(sender)
        stream.received = True
        self.carried += 1
        view.delegate.receive([stream.on_the_way.popleft()])

    def crash(self, node_id: str) -> None:
        """Let a node die: what it sends from now on, and what is on its way from it, never arrives."""
        del self._nodes[node_id]
        self.lose(sender=node_id)

    # --- what the views call

    def send(self, way: Way, mails: list[Mail]) -> None:
        """Put mail on its way, unless the sender is dead."""
        if way[0] in self._nodes:
            self._streams.setdefault(way, _Stream()).on_the_way.extend(mails)
            self.hurry(way)

    def tell(self, way: Way, frame: Frame) -> None:
        """Deliver a control frame in a later iteration. It belongs to no stream, and its loss isn't repaired."""
        if way[0] in self._nodes:
            asyncio.get_running_loop().call_soon(self._heed, way, frame)

    def hurry(self, way: Way) -> None:
        """Deliver what is on this way in a later iteration of the loop, unless the test does that."""
        if not self.step_by_step:
            asyncio.get_running_loop().call_soon(self._deliver_all, way)

    def forget(self, node_id: str, other: str) -> None:
        """Drop what is on its way from a node to another one, and its memory of what has come from there."""
        self.lose(sender=node_id, receiver=other)
        if (stream := self._streams.get((other, node_id))) is not None:
            stream.forgotten = stream.received

    def others(self, node_id: str) -> Iterable[str]:
        """Return the ids of the other living nodes."""
        return [other for other in self._nodes if other != node_id]

    def _heed(self, way: Way, frame: Frame) -> None:
        if way[1] in self._nodes and self.cut_off.isdisjoint(way):
            self._nodes[way[1]].delegate.heed(frame)

    def _deliver_all(self, way: Way) -> None:
        while (stream := self._streams.get(way)) is not None and stream.on_the_way and self._reaches(way):
            self.deliver(*way)

    def _reaches(self, way: Way) -> bool:
        receiver = self._nodes.get(way[1])
        return receiver is not None and receiver.lease.standing and self.cut_off.isdisjoint(way)


class MemoryBusView:
    """One node's bus: the methods of `Bus` that a hub calls."""

    def __init__(self, bus: MemoryBus, node_id: str, delegate: BusDelegate, lease: NodeLease) -> None:
        self.delegate = delegate
        self.lease = lease
        self._shared = bus
        self._node_id = node_id
        self._outbox: list[tuple[str, Mail]] = []

    def post(self, node_id: str, mail: Mail) -> None:
        """Queue mail for a node; it leaves with `flush`."""
        self._outbox.append((node_id, mail))

    def flush(self) -> None:
        """Send the queued mail as it is now, or keep it while this node doesn't hold its lease."""
        if self.lease.standing:
            outbox, self._outbox = self._outbox, []
            for node_id, mail in outbox:
                self._shared.send((self._node_id, node_id), decode(encode([mail])))

    def flowing(self, node_id: str) -> bool:
        """Whether mail to this node would leave with the next `flush`."""
        return self._shared.flowing and self.lease.standing

    def waiting(self) -> set[str]:
        """The nodes that haven't got everything."""
        return {node_id for node_id, _ in self._outbox} | {
            receiver for (_, receiver), _ in self._shared.on_the_way(sender=self._node_id)
        }

    @property
    def quiet(self) -> bool:
        """Whether every node has got everything."""
        return not self.waiting()

    def forget(self, node_id: str) -> None:
        """Drop the link with a dead node, and the mail on its way there."""
        self._outbox = [(to, mail) for to, mail in self._outbox if to != node_id]
        self._shared.forget(self._node_id, node_id)

    def ask(self) -> None:
        """Have everything come that couldn't before."""
        for other in self._shared.others(self._node_id):
            self._shared.hurry((other, self._node_id))
        self.delegate.open_tick()

    def tell(self, node_id: str, kind: Kind, number: int = 0) -> None:
        """Send one node a control frame."""
        self._shared.tell((self._node_id, node_id), Frame(kind, self._node_id, bytes(8), number, bytes(8), 0, b""))

    def announce(self, kind: Kind, number: int = 0) -> bool:
        """Send all other nodes a control frame."""
        for other in self._shared.others(self._node_id):
            self.tell(other, kind, number)
        return True
