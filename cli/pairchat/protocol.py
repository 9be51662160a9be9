"""The client's side of the JSON dialect: bytes in, events out. No I/O, no clock, no tasks.

    protocol = ClientProtocol()
    claim = protocol.claim("alice")
    sock.sendall(protocol.data_to_send())
    for event in protocol.feed(sock.recv(65536)): ...
    claim.outcome  # Joined(...) or Refused(...) once it is known

After every call, `feed` included, send what `data_to_send` returns.

How a pairing is told from a call by somebody else: by its name if that is the one we called. It may be told in another
spelling that only the node can compare, so each call is followed by a ping: lines are handled in order, so the last
pairing before the pong is the answer. (A pong may overtake a call that waits behind unacknowledged texts. Then the next
pairing is the answer: nobody else can call us during a chat.)
"""

import json
import unicodedata
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, get_args

from pairchat import events
from pairchat.errors import NameLost, NotARelay, PairchatError, Refused
from pairchat.events import Event, Outgoing
from pairchat.outbox import Outbox
from relay import frames

MAX_LINE = 65_536  # bytes of a line of ours without its LF: the default of `relay node --max-line`
# Bytes of a line of the node's: a text that fills the default window of 1 MiB, each byte of it escaped as `\u00NN`.
MAX_NODE_LINE = 6 * 1_048_576 + 512

_KNOWN: Final = frozenset(frame.__struct_config__.tag for frame in get_args(frames.NodeFrame))
# Refusals of a frame itself, whatever it asked for: those of a ping look like these.
_ABOUT_FRAMES: Final = frozenset({"bad_frame", "rate_limited"})


class Kind(Enum):
    """What was asked for."""

    CLAIM = "claim"
    CALL = "call"
    LEAVE = "leave"
    WHO = "who"
    PING = "ping"
    QUIT = "quit"


@dataclass(eq=False)
class Request:
    """Something asked of the node. `outcome` is set once: the event that answers it, or the error to raise."""

    kind: Kind
    name: str = ""
    outcome: Event | PairchatError | None = None
    perhaps: events.Paired | None = None  # CALL: a pairing that may be the answer, under a name that isn't quite ours
    overtaken: bool = False  # CALL: its pong came first


class ClientProtocol:
    """One connection to a node. `max_line`: bytes of the longest line that the node takes."""

    def __init__(self, *, max_line: int = MAX_LINE) -> None:
        self.name: str | None = None  # as the node confirmed it
        self.token: str | None = None  # what a later connection resumes this session with
        self.node: str | None = None
        self.ping_every = 30.0  # seconds
        self.partner: str | None = None
        self.chat: str | None = None  # the id of the present chat; kept while the partner is away
        self.last = 0  # the highest id of the partner's texts in this chat
        self.outbox = Outbox(0, 0)
        self._acks = "node"
        self._acknowledged = 0
        self._max_line = max_line
        self._requests: list[Request] = []  # without an outcome, oldest first
        self._pings: deque[Request] = deque()  # for each pong to come: what its ping followed
        self._input = bytearray()
        self._searched = 0  # bytes of the input known to hold no LF
        self._output = bytearray()

    # --- what the user wants

    def claim(self, name: str) -> Request:
        """Ask for a name. Outcome: `Joined` or `Refused`. One claim at a time, and none while we have a name."""
        return self._ask(Kind.CLAIM, frames.ClientHello(name=name, acks=True), name)

    def call(self, name: str) -> Request:
        """Start a chat, leaving the present one if `name` is free. Outcome: `Paired` or `Refused`."""
        request = self._ask(Kind.CALL, frames.ClientTo(name=name), name)
        self._ping(request)
        return request

    def leave(self) -> Request:
        """End the chat, after what was said before. Outcome: `Left`, or `Refused` if there is no chat."""
        return self._ask(Kind.LEAVE, frames.ClientLeave())

    def who(self, name: str) -> Request:
        """Ask for somebody's presence. Outcome: `Presence` or `Refused`."""
        return self._ask(Kind.WHO, frames.ClientWho(name=name), name)

    def quit(self) -> Request:
        """Give the name back, after everything before. Outcome: `Bye`; the node closes."""
        return self._ask(Kind.QUIT, frames.ClientQuit())

    def ping(self) -> None:
        """Ask for a sign of life: anything that is fed after this is one."""
        self._ping(Request(Kind.PING))

    def send(self, text: str) -> Outgoing:
        """Say something to the partner. Wait until `room(text)` first.

        Raises `Refused` (`not_paired`, `too_long`), and ValueError for a text that is empty or holds lone surrogates;
        nothing is sent then.
        """
        if not text:
            raise ValueError("a text must not be empty")
        if self.chat is None:
            raise Refused("not_paired", "nobody is chatting with you")
        entry = self.outbox.add(text, self.chat, self._acks)
        if len(_line(entry)) > self._max_line + 1:
            self.outbox.drop_last()
            raise Refused("too_long", f"too long: a text and its frame may take {self._max_line} bytes")
        self._write_texts()
        return entry

    def room(self, text: str) -> bool:
        """Whether the node's window has room for this text now. It grows with each `Settled`."""
        return self.outbox.room(len(text.encode()))

    def acknowledge(self, message: events.Message) -> None:
        """This text and all before it have been taken care of. What belongs to a chat that is over is ignored."""
        if message.chat == self.chat and message.id > self._acknowledged:
            self._acknowledged = message.id
            self._write(frames.ClientAck(id=message.id, chat=message.chat))

    @property
    def waiting_on_partner(self) -> bool:
        """Whether the node may rightly keep a request, and a ping behind it, until the partner has acknowledged."""
        return bool(self.outbox.pending) and bool(self._requests)

    # --- bytes

    def data_to_send(self) -> bytes:
        """Everything to be written now, once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def feed(self, data: bytes) -> list[Event]:
        """Take what was read, in whatever pieces. Raises `NotARelay` if it makes no sense: close the connection."""
        self._input += data
        told: list[Event] = []
        while (end := self._input.find(b"\n", self._searched)) >= 0:
            line = bytes(self._input[:end])
            del self._input[: end + 1]
            self._searched = 0
            told += self._line(line)
        self._searched = len(self._input)
        if self._searched > MAX_NODE_LINE:
            raise NotARelay("this does not answer like a relay: a line without an end")
        self._write_texts()
        return told

    def _line(self, line: bytes) -> list[Event]:
        try:
            frame = frames.decode_node(line)
        except frames.BadFrame:
            if _unknown(line):
                return []  # of a newer relay
            raise NotARelay("this does not answer like a relay") from None
        handler: Callable[[ClientProtocol, Any], list[Event]] | None = _HANDLERS.get(type(frame))
        return handler(self, frame) if handler else []

    def _write(self, frame: frames.ClientFrame) -> None:
        self._output += frames.encode(frame)

    def _write_texts(self) -> None:
        for entry in self.outbox.to_write():
            self._output += _line(entry)

    def _ask(self, kind: Kind, frame: frames.ClientFrame, name: str = "") -> Request:
        if self.name is None and kind not in (Kind.CLAIM, Kind.QUIT):
            raise NameLost("no name yet")
        try:
            self._write(frame)
        except UnicodeEncodeError:
            raise Refused("name_invalid", "a name must be Unicode text", name=name) from None
        request = Request(kind, name)
        self._requests.append(request)
        return request

    def _ping(self, request: Request) -> None:
        self._write(frames.ClientPing())
        self._pings.append(request)

    def _open(self, *kinds: Kind) -> Request | None:
        """The oldest request of these kinds that has no outcome."""
        return next((request for request in self._requests if request.kind in kinds), None)

    def _answer(self, request: Request | None, outcome: Event | PairchatError) -> None:
        if request is not None and request.outcome is None:
            request.outcome = outcome
            self._requests.remove(request)

    # --- what the node says

    def _welcome(self, frame: frames.NodeWelcome) -> list[Event]:
        self.name, self.token, self.node = frame.name, frame.token, frame.node
        self.ping_every = frame.ping
        self.outbox = Outbox(frame.window, frame.window_bytes)
        joined = events.Joined(frame.name, frame.node, frame.resumed)
        self._answer(self._open(Kind.CLAIM), joined)
        return [joined]

    def _paired(self, frame: frames.NodePaired) -> list[Event]:
        if frame.chat != self.chat:
            self.last = self._acknowledged = 0
        self.partner, self.chat, self._acks = frame.name, frame.chat, frame.acks
        paired = events.Paired(frame.name, frame.chat, frame.acks, frame.resumed)
        if call := self._open(Kind.CALL):
            call.perhaps = paired
            if call.overtaken or _same(call.name, frame.name):
                self._answer(call, paired)
        return [paired]

    def _message(self, frame: frames.NodeMsg) -> list[Event]:
        if frame.chat != self.chat:
            return []
        if frame.id <= self.last:  # sent again after a resume: we have it
            if self._acknowledged:
                self._write(frames.ClientAck(id=self._acknowledged, chat=frame.chat))
            return []
        self.last = frame.id
        return [events.Message(frame.id, frame.sender, frame.chat, frame.text, frame.at)]

    def _ack(self, frame: frames.NodeAck) -> list[Event]:
        return _settled(self.outbox.acknowledged(frame.id, frame.chat))

    def _unconfirmed(self, frame: frames.NodeUnconfirmed) -> list[Event]:
        return _settled(self.outbox.unconfirmed(frame.first, frame.last, frame.reason))

    def _away(self, frame: frames.NodeAway) -> list[Event]:
        return [events.Away(frame.name, frame.grace)]

    def _back(self, frame: frames.NodeBack) -> list[Event]:
        return [events.Back(frame.name)]

    def _left(self, frame: frames.NodeLeft) -> list[Event]:
        if frame.name == self.partner:  # not so when a switch has already named the next one
            self.partner = self.chat = None
        left = events.Left(frame.name, frame.reason)
        self._answer(self._open(Kind.LEAVE), left)
        return [left]

    def _presence(self, frame: frames.NodePresence) -> list[Event]:
        presence = events.Presence(frame.name, frame.state)
        self._answer(self._open(Kind.WHO), presence)
        return [presence]

    def _moving(self, frame: frames.NodeMoving) -> list[Event]:
        return [events.Moving()]

    def _replaced(self, frame: frames.NodeReplaced) -> list[Event]:
        return self._end("replaced", "another connection took this session over")

    def _pong(self, frame: frames.NodePong) -> list[Event]:
        request = self._pings.popleft() if self._pings else Request(Kind.PING)
        request.overtaken = True
        if request.perhaps:
            self._answer(request, request.perhaps)
        return []

    def _bye(self, frame: frames.NodeBye) -> list[Event]:
        bye = events.Bye()
        self._answer(self._open(Kind.QUIT), bye)
        self._forget("we have quit")
        return [bye]

    def _error(self, frame: frames.NodeError) -> list[Event]:
        if frame.code in ("name_lost", "kicked"):
            return self._end(frame.code, frame.message)
        if self.name is None and frame.code == "bad_frame":
            return []  # what we sent before we knew that the name was lost
        if frame.id is not None:
            return _settled(self.outbox.refused(frame.id, frame.code))
        if frame.code == "too_long" and self.outbox.pending:
            return _settled(self.outbox.refused_longest(frame.code))
        return self._refusal(Refused(frame.code, frame.message, name=frame.name))

    def _refusal(self, error: Refused) -> list[Event]:
        """Find out which request an error without an id is about."""
        if error.code == "not_paired":
            self._answer(self._open(Kind.LEAVE), error)  # or the partner was first, and left in between
            return []
        if error.name is None and error.code in _ABOUT_FRAMES and self._pings and self._pings[0].kind is Kind.PING:
            self._pings.popleft()
            return []
        request = self._open(Kind.CLAIM, Kind.CALL, Kind.WHO)
        if request is None:
            return [events.Complaint(error.code, str(error))]
        self._answer(request, error)
        return []

    def _end(self, code: str, message: str) -> list[Event]:
        """The session is over against our will; `Lost` comes behind the fate of every text."""
        settled = _settled(self.outbox.abandon(code))
        self._forget(message)
        return [*settled, events.Lost(code, message)]

    def _forget(self, message: str) -> None:
        self.name = self.token = self.partner = self.chat = None
        for request in list(self._requests):
            self._answer(request, NameLost(message))
        self._pings.clear()


_HANDLERS: dict[type, Callable[[ClientProtocol, Any], list[Event]]] = {
    frames.NodeWelcome: ClientProtocol._welcome,
    frames.NodePaired: ClientProtocol._paired,
    frames.NodeMsg: ClientProtocol._message,
    frames.NodeAck: ClientProtocol._ack,
    frames.NodeUnconfirmed: ClientProtocol._unconfirmed,
    frames.NodeAway: ClientProtocol._away,
    frames.NodeBack: ClientProtocol._back,
    frames.NodeLeft: ClientProtocol._left,
    frames.NodePresence: ClientProtocol._presence,
    frames.NodeMoving: ClientProtocol._moving,
    frames.NodeReplaced: ClientProtocol._replaced,
    frames.NodeError: ClientProtocol._error,
    frames.NodePong: ClientProtocol._pong,
    frames.NodeBye: ClientProtocol._bye,
}


def _line(entry: Outgoing) -> bytes:
    return frames.encode(frames.ClientMsg(id=entry.id, text=entry.text, chat=entry.chat))


def _unknown(line: bytes) -> bool:
    """Whether this is a frame of a type that this version doesn't know."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(frame, dict) and isinstance(frame.get("type"), str) and frame["type"] not in _KNOWN


def _settled(entries: list[Outgoing]) -> list[Event]:
    return [events.Settled(entry) for entry in entries]


def _same(asked: str, told: str) -> bool:
    """Whether two spellings surely mean one name. False is no proof that they don't: that is for the node to say."""
    return unicodedata.normalize("NFKC", asked.strip()).casefold() == unicodedata.normalize("NFKC", told).casefold()
