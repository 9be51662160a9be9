"""The client's side of the JSON dialect: bytes in, events out. No I/O, no clock, no tasks.

A session outlives its connection:

    NAMELESS --claim--> CLAIMING --welcome--> ONLINE --connection_lost--> OFFLINE --reconnect--> RESUMING
                            ^                   ^                                                |     |
                            |                   +-- pong -- RETURNING <--- welcome, resumed -----+     |
                            +--------------------------------------------------- bad_token ------------+

    protocol = ClientProtocol()
    claim = protocol.claim("alice")
    sock.sendall(protocol.data_to_send())
    for event in protocol.feed(sock.recv(65536)): ...
    claim.outcome  # Joined(...) or Refused(...) once it is known

After every call, `feed` included, send what `data_to_send` returns. When the connection is gone, call
`connection_lost`, then `reconnect` for the next one. `stranded` says that another node has to be found: leave this one.
"""

from collections.abc import Callable

from msgspec import structs

from pairchat import events
from pairchat.answers import answer
from pairchat.errors import NameLost, Refused
from pairchat.events import Event, Outgoing, Ref
from pairchat.memory import Memory
from pairchat.outbox import Outbox, size_of
from pairchat.requests import Kind, Request, Requests
from pairchat.states import State
from pairchat.wire import MAX_LINE, Lines, decode
from relay import frames

Tap = Callable[[str, bytes], None]
Proof = Callable[[], str | None]


class ClientProtocol:
    """One session. `ask`: calls are told (`Invited`). `max_line`: bytes of the longest line for a node that says none.

    `tap`: is shown each line, `>` those to the node and `<` those from it, without its LF. They hold the token.
    `proof`: asked for each time the name is claimed or the session resumed; what the node wants as `auth`. Where the
    node doesn't accept it (`unproved`) the session stands: ask for it again with a fresh one.
    `ref`, of a request: comes back in the events that answer it.
    """

    def __init__(
        self, *, max_line: int = MAX_LINE, ask: bool = False, tap: Tap | None = None, proof: Proof | None = None
    ) -> None:
        self.state = State.NAMELESS
        self.stranded = False  # this node goes away, or can't take us back now: connect to another one
        self.unproved = False  # the node wants another proof of the name than it was shown
        self.marks = False  # the node says which request it answers
        self.tap = tap
        self.grace = 30.0  # seconds that the node keeps the session without a connection
        self.name: str | None = None  # as the node confirmed it
        self.token: str | None = None  # what a later connection resumes this session with
        self.node: str | None = None
        self.ping_every = 30.0  # seconds
        self.partner: str | None = None
        self.chat: str | None = None  # the id of the present chat; kept while the partner is away
        self.left: str | None = None  # the id of the last chat that is known to be over
        self.last = 0  # the highest id of the partner's texts in this chat
        self.outbox = Outbox(0, 0)
        self.acks = "node"  # who acknowledges on the other side
        self.acknowledged = 0  # the highest id of the partner's that we acknowledged in this chat
        self.acknowledged_at: float | None = None  # its time
        self.blocked: dict[str, None] = {}  # names, as they were written
        self.max_line = max_line
        self._ask_first = ask
        self._proof = proof or (lambda: None)
        self.requests = Requests()
        self._input = Lines()
        self._output = bytearray()
        self._mark = 0  # of the latest request

    # --- what the user wants

    def claim(self, name: str) -> Request:
        """Ask for a name. Outcome: `Joined` or `Refused`. One claim at a time, and none while we have a name."""
        return self._ask(Kind.CLAIM, self._hello_as(name), name)

    def recall(self, memory: Memory) -> Request:
        """Go on with a remembered session. Only on a fresh protocol, and in place of `claim`; the outcome is alike."""
        self.name, self.token, self.chat, self.partner = memory.name, memory.token, memory.chat, memory.partner
        self.acks, self.last, self.acknowledged = memory.acks, memory.last, memory.last
        self.left, self.acknowledged_at = memory.left, memory.at
        self.outbox.recall(memory.sent, memory.pending)
        self.blocked = dict.fromkeys(memory.blocked)
        request = Request(Kind.CLAIM, self._hello(), memory.name)
        self.requests.open.append(request)
        self.reconnect()
        return request

    def call(self, name: str, ref: Ref | None = None) -> Request:
        """Start a chat, leaving the present one if `name` is free. Outcome: `Paired` or `Refused`."""
        return self._ask(Kind.CALL, frames.ClientTo(name=name), name, ref)

    def cancel(self, call: Request | None = None) -> None:
        """Give up this call, or the oldest that has no outcome. It makes no chat any more; its outcome is `Refused`.

        If it is answered at this very moment, the chat that it made is left at once, and nobody hears of it.
        """
        call = call or self.requests.first(Kind.CALL)
        if call is None or call.outcome is not None or call.given_up:
            return
        if self.state is State.ONLINE:
            call.given_up = True
            self._write(frames.ClientCancel(ref=call.mark if self.marks else None))
        else:
            self.requests.forsake(call)

    def accept(self, chat: str, ref: Ref | None = None) -> Request:
        """Take the call of which `Invited` told. Outcome: `Paired`, `Missed`, or `Refused` (`not_called`)."""
        return self._ask(Kind.ACCEPT, frames.ClientAccept(chat), chat, ref)

    def decline(self, chat: str) -> None:
        """Don't take that call."""
        self._say(frames.ClientDecline(chat))

    def block(self, name: str, ref: Ref | None = None) -> Request:
        """Have somebody's calls refused, for the life of this session. Outcome: `Blocked` or `Refused`."""
        return self._ask(Kind.BLOCK, frames.ClientBlock(name), name, ref)

    def unblock(self, name: str, ref: Ref | None = None) -> Request:
        """Let somebody call again. Outcome: `Blocked` or `Refused`."""
        return self._ask(Kind.UNBLOCK, frames.ClientUnblock(name), name, ref)

    def typing(self) -> None:
        """Tell the partner that the user is typing, if that can be told now."""
        if self.chat is not None:
            self._say(frames.ClientTyping(self.chat))

    def leave(self, ref: Ref | None = None) -> Request:
        """End the chat, after what was said before. Outcome: `Left`, or `Refused` if there is no chat."""
        return self._ask(Kind.LEAVE, frames.ClientLeave(self.chat), ref=ref)

    def who(self, name: str, ref: Ref | None = None) -> Request:
        """Ask for somebody's presence. Outcome: `Presence` or `Refused`."""
        return self._ask(Kind.WHO, frames.ClientWho(name=name), name, ref)

    def quit(self) -> Request:
        """Give the name back, after everything before. Outcome: `Bye`; the node closes. Asked once, however often."""
        return self.requests.first(Kind.QUIT) or self._ask(Kind.QUIT, frames.ClientQuit())

    @property
    def claimed(self) -> bool:
        """Whether a node may hold a name for us."""
        return self.state is not State.OVER and (self.name is not None or self.requests.first(Kind.CLAIM) is not None)

    def farewell(self, *, now: bool) -> None:
        """Give the name back, whatever has no answer yet: for a program that goes and asks for nothing any more.

        `now`: without waiting for the outcome of what was said before.
        """
        if self.state not in (State.NAMELESS, State.OFFLINE, State.OVER):
            self._write(frames.ClientQuit(now))

    def ping(self) -> None:
        """Ask for a sign of life: anything that is fed after this is one. Without a name nobody is asked."""
        if self.state is State.ONLINE:
            self.put(Request(Kind.PING, frames.ClientPing()))

    def send(self, text: str) -> Outgoing:
        """Say something to the partner. Wait until `room(text)` first.

        Raises `Refused` (`not_paired`, `too_long`), and ValueError for a text that is empty or holds lone surrogates;
        nothing is sent then.
        """
        if not text:
            raise ValueError("a text must not be empty")
        if self.chat is None:
            raise Refused("not_paired", "nobody is chatting with you")
        entry = self.outbox.add(text, self.chat, self.acks)
        if self.too_long(entry):
            self.outbox.drop_last()
            raise Refused("too_long", f"too long: a text and its frame may take {self.max_line} bytes")
        self.write_texts()
        return entry

    def too_long(self, entry: Outgoing) -> bool:
        """Whether the node would not take this text: its line counts, as it is escaped, without its LF."""
        return len(frames.encode(_frame(entry))) > self.max_line + 1

    def room(self, text: str) -> bool:
        """Whether the node's window has room for this text now. It grows with each `Settled`."""
        return self.outbox.room(size_of(text))

    def acknowledge(self, message: events.Message) -> None:
        """This text and all before it have been taken care of. What belongs to a chat that is over is ignored."""
        if message.chat == self.chat and message.id > self.acknowledged:
            self.acknowledged, self.acknowledged_at = message.id, message.at
            self.write_ack()

    @property
    def waiting_on_partner(self) -> bool:
        """Whether the node may rightly keep a request, and a ping behind it, until the partner has acknowledged."""
        return bool(self.outbox.pending) and bool(self.requests.open)

    @property
    def memory(self) -> Memory | None:
        """What another process needs to go on with this session; None where there is nothing to go on with."""
        if self.name is None or self.token is None or self.state is State.OVER:
            return None
        sent, said, blocked = self.outbox.sent, self.outbox.memory, tuple(self.blocked)
        name, token, partner = self.name, self.token, self.partner
        had, at = self.acknowledged, self.acknowledged_at
        return Memory(name, token, sent, self.chat, partner, self.acks, had, said, blocked, self.left, at)

    # --- connections

    def connection_lost(self, reason: str) -> list[Event]:
        """The connection is gone. What has no outcome is asked and said again once the session is resumed."""
        self._input.clear()
        self._output.clear()
        self.requests.disconnected()
        self.stranded = self.unproved = False
        if self.name is None:
            return []
        served, self.state = self.state in (State.ONLINE, State.RETURNING), State.OFFLINE
        return [events.Dropped(reason)] if served else []

    def reconnect(self) -> None:
        """There is another connection: ask for the session, or for its name if the session is known to be gone.

        Without a session, for the name that was being claimed.
        """
        if self.name is None:
            if claim := self.requests.first(Kind.CLAIM):
                self.put(claim)
            return
        self.state = State.RESUMING if self.token else State.CLAIMING
        self._write(self._hello())

    def _hello(self) -> frames.ClientHello:
        assert self.name is not None
        if self.token is None:
            return self._hello_as(self.name)
        return frames.ClientHello(
            name=self.name,
            acks=True,
            token=self.token,
            chat=self.chat,
            sent=self.outbox.promise(),
            last=self.acknowledged,
            at=self.acknowledged_at if self.acknowledged else None,
            left=self.left,
            ask=self._ask_first,
            auth=self._proof(),
        )

    def _hello_as(self, name: str) -> frames.ClientHello:
        return frames.ClientHello(name=name, acks=True, ask=self._ask_first, auth=self._proof())

    # --- bytes

    def data_to_send(self) -> bytes:
        """Everything to be written now, once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def feed(self, data: bytes) -> list[Event]:
        """Take what was read, in whatever pieces. Raises `NotARelay` if it makes no sense: close the connection."""
        self._input.add(data)
        told: list[Event] = []
        while (line := self._input.next()) is not None:
            told += self._line(line)
        self.write_texts()
        return told

    def _line(self, line: bytes) -> list[Event]:
        if self.tap:
            self.tap("<", line)
        frame = decode(line)
        return answer(self, frame) if frame else []

    def _write(self, frame: frames.ClientFrame) -> None:
        line = frames.encode(frame)
        if self.tap:
            self.tap(">", line[:-1])
        self._output += line

    def _say(self, frame: frames.ClientFrame) -> None:
        """Write what has no answer, and no point on another connection."""
        if self.state is State.ONLINE:
            self._write(frame)

    # --- for `pairchat.answers`

    def write_blocks(self) -> None:
        """Say again who is blocked: another node doesn't know."""
        for name in self.blocked:
            self._write(frames.ClientBlock(name))

    def write_texts(self) -> None:
        """Write what may go."""
        if self.state is State.ONLINE:
            for entry in self.outbox.to_write():
                self._write(_frame(entry))

    def write_ack(self) -> None:
        """Acknowledge what has been taken care of, once more or for the first time."""
        if self.acknowledged and self.state in (State.ONLINE, State.RETURNING):
            self._write(frames.ClientAck(id=self.acknowledged, chat=self.chat))

    def leave_at_once(self, chat: str) -> None:
        """Leave a chat that nobody wants to hear of."""
        self.left = chat
        self._write(frames.ClientLeave(chat))

    def _ask(self, kind: Kind, frame: frames.ClientFrame, name: str = "", ref: Ref | None = None) -> Request:
        if self.name is None and kind not in (Kind.CLAIM, Kind.QUIT):
            raise NameLost("no name yet")
        self._mark += 1
        request = Request(kind, frame, name, ref, self._mark)
        try:
            line = frames.encode(_marked(request))
        except UnicodeEncodeError:
            raise Refused("name_invalid", "a name must be Unicode text", name=name) from None
        if len(line) > self.max_line + 1:
            raise Refused("too_long", f"too long: a line may take {self.max_line} bytes", name=name)
        self.requests.open.append(request)
        if kind is Kind.CLAIM:
            self.state = State.CLAIMING
        if self.state in (State.ONLINE, State.NAMELESS) or kind is Kind.CLAIM:
            self.put(request)
        return request

    def put(self, request: Request) -> None:
        """Write a request."""
        request.written = True
        self._write(_marked(request) if self.marks else request.frame)
        if request.kind is Kind.CALL and not self.marks:
            self._write(frames.ClientPing())
        if request.kind in (Kind.PING, Kind.RETURN) or (request.kind is Kind.CALL and not self.marks):
            self.requests.pinged(request)


def _marked(request: Request) -> frames.ClientFrame:
    """Its frame, with the mark that comes back in the answer."""
    return structs.replace(request.frame, ref=request.mark) if hasattr(request.frame, "ref") else request.frame


def _frame(entry: Outgoing) -> frames.ClientMsg:
    return frames.ClientMsg(id=entry.id, text=entry.text, chat=entry.chat)
