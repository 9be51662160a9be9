"""The usual case has the same result as the general way, also where something unusual happens.

Two clusters in memory get the same input. One may take the usual case, and the other has it switched off. After each
step everything is compared: the bytes to each client, mail between the nodes, records, counters, windows and limits.
`tests/fuzz/test_usual_case.py` does the same with random steps, and at narrow bounds.
"""

import asyncio
import re
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from msgspec import Struct

from relay.hub import hub as hub_module
from relay.hub import loop_tick
from relay.hub.hub import Hub
from relay.server import connection, read_gate, websocket_connection
from relay.server.ping_timer import PingTimer
from relay.server.websocket_connection import WebSocketConnection
from relay.session import chat, usual_case
from relay.session.memory_budget import SHORT_READ_BYTES
from relay.session.peer_messages import Ack, Mail, Text
from relay.session.runtime_interface import Limits
from relay.session.send_window import SendWindow
from relay.session.session import State
from tests.relay.desk import Wire, in_memory
from tests.support.memory import MemoryDirectory
from tests.support.memory_bus import MemoryBus
from tests.support.stepped_loop import SteppedLoop, Tasks
from tests.support.web import CONTINUATION, TEXT, frame

NOON = 1_795_404_840.0
MAX_LINE = 200
LIMITS = Limits(window=8, window_bytes=150, patience=60.0, lines=50)
NODES = ("1" * 16, "2" * 16)
NAMES = ("ann", "ben")
CHAT = f"chat 1 of {NODES[0]}"
HELLO = {
    "json": b'{"type":"hello","name":"%b"}\n',
    "acks": b'{"type":"hello","name":"%b","acks":true}\n',
    "text": b"%b\n",
    "web": b'{"type":"hello","name":"%b","acks":true}\n',
}
# Parts of the cluster that hold no state of their own, or that lead to the other parts again.
LEFT_OUT = {
    "__weakref__",
    "runtime",
    "client",
    "session",
    "_session",
    "_hub",
    "_transport",
    "_origin",
    "_door",
    "_ping_timer",
    "_decoder",
    "_delayed_acks",
    "_limits",
}


# What a client that comes back says if it has two messages of this chat.
HAS_TWO = b',"chat":"%b","last":2' % CHAT.encode()


class Step(NamedTuple):
    """One input: the name of a method of `Cluster`, and its arguments."""

    what: str
    about: tuple[Any, ...] = ()


class WebWire(Wire):
    """The same for a client that speaks WebSocket, after its handshake. It says what others say in lines."""

    def __init__(self, hub: Hub, *, max_line: int) -> None:
        super().__init__(hub, max_line=max_line)
        self.reset()  # what served HTTP
        self.connection = WebSocketConnection(hub, max_line, PingTimer())
        self.connection.connection_made(self)
        self._begun = False  # a message, of which a fragment was sent

    def send(self, data: bytes) -> None:
        super().send(self.framed(data))

    def write_eof(self) -> None:
        """Do as a real transport, which lets it happen again: the node does that at each end of a tick."""
        self.eof_written = True

    def framed(self, data: bytes) -> bytes:
        """Return each line as a message, and a partial line as a fragment of one."""
        *lines, rest = data.split(b"\n")
        frames = []
        for line in lines:
            frames.append(frame(line, CONTINUATION if self._begun else TEXT))
            self._begun = False
        if rest:
            frames.append(frame(rest, CONTINUATION if self._begun else TEXT, fin=False))
            self._begun = True
        return b"".join(frames)


class Cluster:
    """Two nodes with one client each, who are paired."""

    def __init__(self, kinds: tuple[str, str], *, usual: bool) -> None:
        self.loop = SteppedLoop.at(NOON)
        self.directory = MemoryDirectory(clock=self.loop.time)
        self.bus = MemoryBus(step_by_step=True)
        self.wires: list[Wire] = []
        self._kinds = kinds
        with self.loop.running():
            tasks = Tasks.of(self.loop)
            self.hubs = [in_memory(self.directory, self.bus, node_id, LIMITS, tasks) for node_id in NODES]
            for hub in self.hubs:
                hub.usual_case = usual
            self.clients = [
                self._connect(n, kind, HELLO[kind] % name.encode())
                for n, (kind, name) in enumerate(zip(kinds, NAMES, strict=True))
            ]
        self.carry_all()
        self.send(0, [b"To:ben\n" if kinds[0] == "text" else b'{"type":"to","name":"ben"}\n'])
        self.carry_all()

    def _connect(self, node: int, kind: str, data: bytes) -> Wire:
        wire = (WebWire if kind == "web" else Wire)(self.hubs[node], max_line=MAX_LINE)
        self.wires.append(wire)
        wire.send(data)
        return wire

    def close(self) -> None:
        for wire in self.wires:
            wire.socket.close()

    # --- steps

    def take(self, step: Step) -> None:
        """Let this happen, and all that needs no time or mail for it."""
        with self.loop.running():
            getattr(self, step.what)(*step.about)
            self.loop.run_ready()

    def send(self, who: int, reads: list[bytes]) -> None:
        """Have a client send something, in one iteration of the loop."""
        with self.loop.running():
            for data in reads:
                if not self.clients[who].is_closing():
                    self.clients[who].send(data)
            self.loop.run_ready()

    def push(self, who: int, data: bytes) -> None:
        """Have a transport bring what a client sent although it was told to pause."""
        wire = self.clients[who]
        data = wire.framed(data) if isinstance(wire, WebWire) else data
        wire.connection.get_buffer(-1)[: len(data)] = data
        wire.connection.buffer_updated(len(data))

    def lose_name(self, who: int) -> None:
        """Have another node own a client's name."""
        if (session := self.hubs[who].sessions.get(NAMES[who])) is not None and session.state is State.ACTIVE:
            self.hubs[who].open_tick()
            session.name_lost()

    def carry(self, pieces: int) -> None:
        """Let some mail between the nodes arrive."""
        with self.loop.running():
            for _ in range(pieces):
                if ways := self.bus.ways():
                    self.bus.deliver(*ways[0])
            self.loop.run_ready()

    def carry_all(self) -> None:
        """Let all mail arrive, and what follows from it."""
        with self.loop.running():
            self.loop.run_ready()
            while self.bus.ways():
                self.carry(1)

    def arrive(self, who: int, mails: list[Mail]) -> None:
        """Have mail come that nobody sent, to both names of a node."""
        self.hubs[who].receive(mails)

    def wait(self, seconds: float) -> None:
        self.loop.pass_time(seconds)

    def set_clock(self, seconds: float) -> None:
        self.loop.wall_step = seconds

    def fill(self, who: int) -> None:
        """The client doesn't read any more."""
        self.clients[who].full = True

    def read(self, who: int) -> None:
        wire = self.clients[who]
        if wire.full:
            wire.full = False
            if wire.connection.write_buffer.behind:
                wire.read()

    def allow(self, who: int, allowance: int) -> None:
        """Make memory short at a node, or not."""
        self.hubs[who].memory_budget.allowance = allowance

    def hold(self, who: int, held: bool) -> None:
        """Have the clients' lines of a node wait, or go on."""
        self.hubs[who].lines_held = held
        self.hubs[who].wake_all()

    def break_off(self, who: int) -> None:
        """Break a client's connection."""
        self.clients[who].reset()

    def move(self, who: int, node: int, known: bytes = b"") -> None:
        """Break a client's connection, and have it come back, maybe to the other node, with more in its `hello`."""
        if not self.clients[who].aborted:
            self.clients[who].reset()
        self.take_over(who, node, known)

    def take_over(self, who: int, node: int, known: bytes = b"") -> None:
        """Have a client come back whose connection is still there."""
        wire = self.clients[who]
        tokens = re.findall(rb'"token":"([^"]+)"', wire.sent)
        self.loop.run_ready()
        hello = HELLO[self._kinds[who]] % NAMES[who].encode()
        if tokens:
            hello = hello.replace(b"}", b',"token":"%b"%b}' % (tokens[-1], known))
        self.clients[who] = self._connect(node, self._kinds[who], hello)
        self.clients[who].writes[:0] = wire.writes

    # --- what is compared

    def state(self) -> dict[str, Any]:
        """Return everything that a step may have changed."""
        return {
            "bytes": [list(zip(wire.writes, wire.rounds[-len(wire.writes) :], strict=False)) for wire in self.wires],
            "reading": [(wire.reading, wire.is_closing(), wire.unsent) for wire in self.wires],
            "mail": self.bus.on_the_way(),
            "records": {name: shown(record) for name, record in self.directory.records.items()},
            "counts": [shown(vars(hub.counts)) for hub in self.hubs],
            "sessions": [shown(hub.sessions) for hub in self.hubs],
            "connections": [shown(wire.connection) for wire in self.wires],
            "nodes": [
                (hub.lines_left, hub.flush_generation, hub.loop_iteration, len(hub.memory_holders)) for hub in self.hubs
            ],
        }


def shown(thing: Any) -> Any:
    """Return all state that something holds, so that it can be compared."""
    if isinstance(thing, dict):
        return {repr(key): shown(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple | deque | array):
        return [shown(one) for one in thing]
    if isinstance(thing, asyncio.TimerHandle):
        return thing.when()
    if isinstance(thing, Struct) or not type(thing).__module__.startswith("relay."):
        return repr(thing)
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())] or list(vars(thing))
    return {name: shown(getattr(thing, name)) for name in names if name not in LEFT_OUT and hasattr(thing, name)}


@contextmanager
def both(kinds: tuple[str, str]) -> Iterator[tuple[Cluster, Cluster]]:
    """Hold two clusters, of which the first may take the usual case."""
    pair = Cluster(kinds, usual=True), Cluster(kinds, usual=False)
    try:
        yield pair
    finally:
        for one in pair:
            one.close()


def said(id: int, text: str = "hi", more: str = "") -> bytes:
    return b'{"type":"msg","id":%d,"text":"%b"%b}\n' % (id, text.encode(), more.encode())


def acked(id: int, more: str = "") -> bytes:
    return b'{"type":"ack","id":%d%b}\n' % (id, more.encode())


def ann(*reads: bytes) -> Step:
    return Step("send", (0, list(reads)))


def ben(*reads: bytes) -> Step:
    return Step("send", (1, list(reads)))


def came(mail: Mail, who: int = 1) -> Step:
    return Step("arrive", (who, [mail]))


class Bounds(NamedTuple):
    """Bounds of a node that a message may reach."""

    flight: int  # bytes under way to a partner who doesn't read
    replies: int  # bytes that a client hasn't read
    read: int  # bytes of a read that is the only one of its iteration
    turn: int  # lines of one client in an iteration
    tick: int  # lines of all clients in an iteration


WIDE = Bounds(chat.FLIGHT_BYTES, read_gate.REPLY_BYTES, SHORT_READ_BYTES, connection.TURN_LINES, hub_module.ROUND_LINES)
NARROW = Bounds(30, 70, 50, 4, 99)
FEW = Bounds(30, 70, 50, 99, 3)

ALL = Step("carry_all")
TALK = [
    ann(said(1)),
    ALL,
    ben(acked(1)),
    ALL,
    ann(said(2)),
    ALL,
    ben(acked(2)),
    ALL,
]  # the usual case works from here on
LONG = b"x" * (MAX_LINE + 1) + b"\n"
LEAVE = b'{"type":"leave"}\n'
TO_NOBODY = b'{"type":"to","name":"nobody"}\n'
WHO = b'{"type":"who","name":"nobody"}\n'
PING = b'{"type":"ping"}\n'
ELSEWHERE = ',"chat":"another"'
# What is unusual, in the order of the checks, and what happens then. Both clients acknowledge by themselves.
UNUSUAL: dict[str, list[Step]] = {
    "a command waits": [ann(said(3)), ann(LEAVE), ann(said(4))],
    "a call is agreed on": [ann(LEAVE), ALL, ann(b'{"type":"to","name":"ben"}\n'), ann(said(3)), ALL],
    "the partner is away": [Step("break_off", (1,)), ALL, ann(said(3)), Step("move", (1, 1)), ALL, ann(said(4)), ALL],
    "the partner doesn't read": [ann(said(id, "x" * 20)) for id in range(3, 8)] + [ALL, ben(acked(4)), ALL],
    "memory is short": [Step("allow", (0, 300)), ann(said(3)), ann(said(4)), ann(said(5)), ben(acked(1)), ALL],
    "memory is short for an ack": [ann(said(3)), ALL, Step("allow", (1, 0)), ben(acked(3)), ALL],
    "ids that another node saw": [Step("move", (0, 1, b',"sent":4')), ALL, ann(said(5)), ann(said(3)), ALL],
    "ids that nobody knows": [Step("move", (0, 1)), ALL, ann(said(7)), ann(said(8)), ALL],
    "the window is full": [
        *(ann(said(id)) for id in range(3, 13)),
        ann(said(11)),
        ALL,
        ben(acked(9)),
        ALL,
        ann(said(13)),
        ann(said(11)),
    ],
    "the window is full of bytes": [ann(said(3, "x" * 90)), ann(said(4, "x" * 90)), ALL],
    "an id that came already": [ann(said(2)), ann(said(2, "ho"))],
    "an id too high": [ann(said(9)), ALL],
    "a message for another chat": [ann(said(3, more=ELSEWHERE)), ALL],
    "two reads in one iteration": [ann(said(3), said(4)), ALL],
    "two lines in one read": [ann(said(3) + said(4)), ALL],
    "a run that a full window ends": [ann(b"".join(said(id) for id in range(3, 14))), ALL, ben(acked(9)), ALL],
    "a run with an ack and a ping in it": [
        ben(said(1)),
        ALL,
        ann(said(3) + acked(1) + said(4) + PING + said(5) + said(6)),
        ALL,
    ],
    "a run that begins in the middle of a line": [ann(said(3)[:9]), ann(said(3)[9:] + said(4) + said(5)[:9]), ALL],
    "a run behind an id that came already": [ann(said(2) + said(3) + said(4)), ALL],
    "a run that leaves": [ann(said(3) + said(4) + LEAVE + said(5)), ALL, ben(acked(4)), ALL],
    "runs in one iteration": [ann(said(3) + said(4), said(5) + said(6)), ALL],
    "as many lines as a turn has": [ann(said(3)), ALL, ben(PING * 4, acked(3)), ALL],
    "as many lines as a tick has": [ann(said(3)), ALL, ben(PING * 3, acked(3)), ALL],
    "lines behind replies that fill up": [
        Step("fill", (0,)),
        ann(PING * 6),
        ann(said(3)),
        Step("push", (0, said(3))),
        Step("read", (0,)),
        ALL,
    ],
    "the time for a name is over": [Step("wait", (2 * LIMITS.name,)), ann(said(3)), ALL],
    "a client comes back before it was gone": [Step("take_over", (0, 0)), ALL, ann(said(3)), ALL],
    "a message behind a call": [ann(TO_NOBODY, said(3)), ALL],
    "a message behind a question": [ann(WHO, said(3)), ALL],
    "an ack behind a call": [ann(said(3)), ALL, ben(TO_NOBODY, acked(3)), ALL],
    "an ack behind a question": [ann(said(3)), ALL, ben(WHO, acked(3)), ALL],
    "memory is short for the rest of an ack": [
        ann(said(3)),
        ALL,
        Step("allow", (1, 0)),
        ben(acked(3)[:9]),
        ben(acked(3)[9:]),
        ALL,
    ],
    "a long line": [ann(said(3, "x" * 20)), ALL, ben(acked(3), PING), ALL],
    "the name is lost": [Step("lose_name", (0,)), ann(said(3)), ALL, Step("wait", (2 * LIMITS.name,)), ALL],
    "a line too long": [ann(LONG), ann(said(3)), ALL],
    "half a line": [ann(said(3)[:9]), ann(said(3)[9:]), ALL],
    "an ack for more than came": [ben(acked(9)), ann(said(3)), ALL, ben(acked(9)), ALL],
    "an ack again": [ann(said(3)), ALL, ben(acked(3)), ben(acked(3)), ben(acked(1)), ALL],
    "an ack for another chat": [ann(said(3)), ALL, ben(acked(3, ELSEWHERE)), ALL],
    "an ack after a resume": [ann(said(3)), ALL, Step("move", (1, 1, HAS_TWO)), ALL, ben(acked(3)), ALL],
    "text for another chat": [came(Text("ben", "another", 99, 3, 2, NOON, ["a"]))],
    "text of a former owner": [came(Text("ben", CHAT, 0, 3, 2, NOON, ["a"]))],
    "text after a gap": [
        came(Text("ben", CHAT, 99, 5, 4, NOON, ["a"])),
        ALL,
        ann(said(3)),
        ALL,
        came(Text("ben", CHAT, 99, 4, 3, NOON, ["a"])),
    ],
    "text whose past is missing": [came(Text("ben", CHAT, 99, 3, 9, NOON, ["a"])), ALL],
    "text that its receiver had elsewhere": [
        Step("move", (1, 0, HAS_TWO)),
        came(Text("ben", CHAT, 99, 1, 0, NOON, ["hi"]), 0),
        ALL,
    ],
    "text that came already": [came(Text("ben", CHAT, 99, 2, 1, NOON, ["hi", "a"])), ALL],
    "text without a text": [came(Text("ben", CHAT, 99, 3, 2, NOON, []))],
    "text while its receiver comes back": [Step("move", (1, 1)), came(Text("ben", CHAT, 99, 3, 2, NOON, ["a"])), ALL],
    "an ack for text that came again": [
        ann(said(3)),
        ALL,
        Step("move", (0, 0, b',"sent":3')),
        ALL,
        ann(said(3)),
        ALL,
        ben(acked(3)),
        ALL,
    ],
    "text while its receiver is away": [Step("break_off", (1,)), ann(said(3)), ALL],
    "text with a known time": [ann(said(3)), Step("break_off", (1,)), ALL, Step("move", (1, 1)), ALL],
    "an ack from another chat": [ann(said(3)), came(Ack("ann", "another", 3), 0)],
    "an ack with a time": [ann(said(3)), came(Ack("ann", CHAT, 3, NOON - 1.0), 0)],
    "an ack that a command waits for": [ann(said(3)), ann(LEAVE), ALL, ben(acked(3)), ALL],
    "an ack that lets others leave": [
        *(step for id in range(3, 7) for step in (ann(said(id, "x" * 20)), Step("wait", (0.01,)))),
        ALL,
        ben(acked(3)),
        ALL,
    ],
    "the first ack of a chat": [
        *(ann(LEAVE), ALL, ann(b'{"type":"to","name":"ben"}\n'), ALL),
        *(ann(said(3)), ALL, ben(acked(3)), ALL),
    ],
    "an ack for a part": [ann(said(3) + said(4) + said(5)), ALL, ben(acked(4)), ALL, ben(acked(5)), ALL],
    "an ack for several": [ann(said(3)), ann(said(4)), ALL, ben(acked(4)), ALL],
    "an ack for nothing": [came(Ack("ann", CHAT, 2), 0), came(Ack("ann", CHAT, 9), 0)],
    "lines are held": [Step("hold", (0, True)), ann(said(3)), Step("hold", (0, False)), ALL],
    "replies aren't read": [Step("fill", (1,)), ann(said(3)), ALL, ben(acked(3)), ALL, Step("read", (1,)), ALL],
    "the rate is too high": [
        *(ann(said(id)) for id in range(3, 9)),
        ALL,
        ben(acked(8)),
        ALL,
        *(ann(b"\n" * 20) for _ in range(3)),
        ann(said(9)),
    ],
    "time passes": [ann(said(3)), Step("wait", (3.0,)), ALL, ben(acked(3)), Step("set_clock", (-9.0,)), ALL],
}


# The same for other kinds of clients, from the first message on.
OTHERS: list[tuple[tuple[str, str], list[Step]]] = [
    (
        ("acks", "text"),
        [ann(said(1)), ALL, ann(said(2)), ALL, Step("break_off", (1,)), Step("carry", (1,)), ann(said(3)), ALL],
    ),
    (
        ("json", "json"),
        [ann(said(1)), ALL, Step("fill", (1,)), ann(said(2)), ALL, ann(said(3)), ALL, ben(acked(3)), ALL],
    ),
    (("json", "json"), [ann(b"".join(said(id) for id in range(first, first + 12))) for first in (1, 13)] + [ALL]),
    (
        ("json", "json"),
        [
            *(ann(said(1)), ALL),
            *(step for id in range(2, 10) for step in (ann(said(id)), Step("wait", (0.001,)))),
            *(ann(said(10)), came(Ack("ann", CHAT, 2), 0)),
        ],
    ),
    (("acks", "acks"), [Step("move", (0, 1)), ALL, ann(said(1)), ann(said(9)), ALL]),
    (("text", "text"), [ann(b"hi\n"), ALL, ann(b"hi\n"), ALL, ann(b"To:ann\n"), ann(b"Quit\n"), ALL]),
]


def bound(patch: pytest.MonkeyPatch, bounds: Bounds) -> None:
    """Let bounds of the node be reached with a few messages."""
    for module in (chat, usual_case):
        patch.setattr(module, "FLIGHT_BYTES", bounds.flight)
    for module in (connection, read_gate):
        patch.setattr(module, "REPLY_BYTES", bounds.replies)
    patch.setattr(connection, "SHORT_READ_BYTES", bounds.read)
    patch.setattr(connection, "TURN_LINES", bounds.turn)
    patch.setattr(hub_module, "ROUND_LINES", bounds.tick)
    for module in (hub_module, loop_tick, websocket_connection):
        patch.setattr(module, "log_defect", fail)


def fail() -> None:
    """Raise the exception that the node would only log."""
    raise


@pytest.mark.parametrize("kind", ["acks", "web"])
@pytest.mark.parametrize("steps", UNUSUAL.values(), ids=UNUSUAL)
def test_the_unusual_has_the_result_of_the_general_way(
    steps: list[Step], kind: str, monkeypatch: pytest.MonkeyPatch, bounds: Bounds = WIDE
) -> None:
    bound(monkeypatch, bounds)
    with both((kind, kind)) as (usual, general):
        for step in [*TALK, *steps, *TALK]:
            usual.take(step)
            general.take(step)
            assert usual.state() == general.state()


@pytest.mark.parametrize(("kinds", "steps"), OTHERS)
def test_the_unusual_of_other_clients_has_the_result_of_the_general_way(
    kinds: tuple[str, str], steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(monkeypatch, WIDE)
    with both(kinds) as (usual, general):
        for step in steps:
            usual.take(step)
            general.take(step)
            assert usual.state() == general.state()


def test_a_plain_conversation_takes_the_usual_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would compare the general way with itself."""
    with both(("acks", "acks")) as (usual, _):
        for id in range(1, 5):
            usual.send(0, [b'{"type":"msg","id":%d,"text":"hi"}\n' % id])
            usual.carry_all()
            usual.send(1, [b'{"type":"ack","id":%d}\n' % id])
            usual.carry_all()
            # The first acknowledgement of a chat is unusual: it begins a span of outcomes.
            for owner, name in (
                (SendWindow, "say"),
                (SendWindow, "acked"),
                (chat.Chat, "receive"),
                (chat.Chat, "confirm"),
            ):
                monkeypatch.setattr(owner, name, None)
        assert usual.clients[1].sent.count(b'"hi"') == 4
        assert usual.clients[0].sent.count(b'"type":"ack"') == 4
