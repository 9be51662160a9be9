"""The client's side of the JSON dialect. Bytes go in, and events come out. It has no I/O, no clock and no tasks.

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

After every call, `feed` included, send the bytes that `data_to_send` returns. When the connection is gone, call
`connection_lost`, then `reconnect` for the next one. If `stranded` is true, leave this node and connect to another one.
"""

from collections.abc import Callable

from msgspec import structs

from pairchat import events
from pairchat.errors import NameLost, Refused
from pairchat.events import Event, Outgoing, Ref
from pairchat.frame_decoder import MAX_LINE, LineSplitter, decode
from pairchat.frame_handlers import answer, closed
from pairchat.pending_requests import Kind, PendingRequests, Request
from pairchat.saved_session import SessionState
from pairchat.states import State
from pairchat.unacked_messages import UnackedMessages, size_of
from relay.protocol import json_frames

Trace = Callable[[str, bytes], None]
AuthToken = Callable[[], str | None]


class ClientProtocol:
    """One session without I/O: bytes go in, and bytes and events come out.

    - `max_line`: the longest line in bytes, for a node that doesn't tell its own limit.
    - `ask`: True if the program answers calls itself, see `Invited`.
    - `trace`: a function called with each line without its LF, and `">"` for a line to the node or `"<"` for one
      from it. The lines hold the token.
    - `proof`: a function that returns the signed token for the name, or None. It is called for each claim and each
      resume. If the node refuses the token, `unproved` is true and the session stays: call `reconnect` with a fresh
      one.

    `ref` of a request is a string or an integer that comes back in the events that answer it. Each method that returns
    a `Request` raises `NameLost` without a name, and `Refused` for a name or a line that can't be sent.
    """

    def __init__(
        self, *, max_line: int = MAX_LINE, ask: bool = False, trace: Trace | None = None, proof: AuthToken | None = None
    ) -> None:
        self.state = State.NAMELESS
        self.stranded = False  # this node stops, or can't resume the session now: connect to another one
        self.unproved = False  # the node refused the proof of the name
        self.marks = False  # the node says which request each answer belongs to
        self.trace = trace
        self.grace = 30.0  # seconds for which the node keeps the session without a connection
        self.name: str | None = None  # as the node confirmed it
        self.token: str | None = None  # the secret with which a later connection resumes this session
        self.node: str | None = None  # the name of the node
        self.ping_every = 30.0  # seconds between two pings that the node expects
        self.partner: str | None = None  # the name of the partner
        self.chat: str | None = None  # the id of the present chat; kept while the partner is away
        self.left: str | None = None  # the id of the last chat that is known to be over
        self.last = 0  # the highest id of the partner's texts in this chat
        self.unacked_messages = UnackedMessages(0, 0)
        self.acks = "node"  # the side that acknowledges for the partner: "client" or "node"
        self.acknowledged = 0  # the highest id of the partner's texts that was acknowledged in this chat
        self.acknowledged_at: float | None = None  # the Unix time of that text
        self.blocked: dict[str, None] = {}  # the names whose calls are refused, as they were written
        self.max_line = max_line
        self._ask_first = ask
        self._proof = proof or (lambda: None)
        self.pending_requests = PendingRequests()
        self._input = LineSplitter()
        self._output = bytearray()
        self._mark = 0  # the mark of the latest request

    # --- requests

    def claim(self, name: str) -> Request:
        """Claim a name. The outcome is `Joined` or `Refused`.

        There may be one claim at a time, and none while the session has a name.
        """
        return self._ask(Kind.CLAIM, self._hello_as(name), name)

    def recall(self, memory: SessionState) -> Request:
        """Resume a saved session. The outcome is `Joined` or `Refused`. It needs a new object and replaces `claim`."""
        self.name, self.token, self.chat, self.partner = memory.name, memory.token, memory.chat, memory.partner
        self.acks, self.last, self.acknowledged = memory.acks, memory.last, memory.last
        self.left, self.acknowledged_at = memory.left, memory.at
        self.unacked_messages.recall(memory.sent, memory.pending)
        self.blocked = dict.fromkeys(memory.blocked)
        request = Request(Kind.CLAIM, self._hello(), memory.name)
        self.pending_requests.open.append(request)
        self.reconnect()
        return request

    def call(self, name: str, ref: Ref | None = None) -> Request:
        """Start a chat, and leave the present one if `name` is free. The outcome is `Paired` or `Refused`."""
        return self._ask(Kind.CALL, json_frames.ClientTo(name=name), name, ref)

    def cancel(self, call: Request | None = None) -> None:
        """Give up this call, or the oldest one without an outcome. Its outcome is then `Refused`, and it makes no chat.

        If the call is answered at the same moment, the client leaves the new chat at once and reports no event.
        """
        call = call or self.pending_requests.first(Kind.CALL)
        if call is None or call.outcome is not None or call.given_up:
            return
        if self.state is State.ONLINE:
            call.given_up = True
            self._write(json_frames.ClientCancel(ref=call.mark if self.marks else None))
        else:
            self.pending_requests.forsake(call)

    def accept(self, chat: str, ref: Ref | None = None) -> Request:
        """Accept the call that `Invited` reported. The outcome is `Paired`, `Missed`, or `Refused` (`not_called`)."""
        return self._ask(Kind.ACCEPT, json_frames.ClientAccept(chat), chat, ref)

    def decline(self, chat: str) -> None:
        """Decline the call that `Invited` reported."""
        self._say(json_frames.ClientDecline(chat))

    def block(self, name: str, ref: Ref | None = None) -> Request:
        """Refuse the calls of a user for the rest of this session. The outcome is `Blocked` or `Refused`."""
        return self._ask(Kind.BLOCK, json_frames.ClientBlock(name), name, ref)

    def unblock(self, name: str, ref: Ref | None = None) -> Request:
        """Accept the calls of a blocked user again. The outcome is `Blocked` or `Refused`."""
        return self._ask(Kind.UNBLOCK, json_frames.ClientUnblock(name), name, ref)

    def typing(self) -> None:
        """Tell the partner that the user is typing, if there is a connection and a chat."""
        if self.chat is not None:
            self._say(json_frames.ClientTyping(self.chat))

    def leave(self, ref: Ref | None = None) -> Request:
        """End the chat after every earlier text has its outcome. The outcome is `Left`, or `Refused` without a chat."""
        return self._ask(Kind.LEAVE, json_frames.ClientLeave(self.chat), ref=ref)

    def who(self, name: str, ref: Ref | None = None) -> Request:
        """Ask for the presence of a user. The outcome is `Presence` or `Refused`."""
        return self._ask(Kind.WHO, json_frames.ClientWho(name=name), name, ref)

    def quit(self) -> Request:
        """Give the name back after everything before. The outcome is `Bye`. A second call returns the same request."""
        return self.pending_requests.first(Kind.QUIT) or self._ask(Kind.QUIT, json_frames.ClientQuit())

    @property
    def claimed(self) -> bool:
        """True if a node may hold a name for this session."""
        return self.state is not State.OVER and (
            self.name is not None or self.pending_requests.first(Kind.CLAIM) is not None
        )

    def farewell(self, *, now: bool) -> None:
        """Give the name back although requests are open, for a program that ends.

        With `now` the node does not wait for the outcome of earlier texts.
        """
        if self.state not in (State.NAMELESS, State.OFFLINE, State.OVER):
            self._write(json_frames.ClientQuit(now))

    def ping(self) -> None:
        """Send a ping, if the session has a name and a connection. Bytes that arrive later show that the node lives."""
        if self.state is State.ONLINE:
            self.put(Request(Kind.PING, json_frames.ClientPing()))

    def send(self, text: str) -> Outgoing:
        """Send a text to the partner. Call it only while `room(text)` is true.

        It raises `Refused` (`not_paired`, `too_long`), and ValueError for a text that is empty or has lone surrogates.
        In all of these cases nothing has been sent.
        """
        if not text:
            raise ValueError("a text must not be empty")
        if self.chat is None:
            raise Refused("not_paired", "nobody is chatting with you")
        entry = self.unacked_messages.add(text, self.chat, self.acks)
        if self.too_long(entry):
            self.unacked_messages.drop_last()
            raise Refused("too_long", f"too long: a text and its frame may take {self.max_line} bytes")
        self.write_texts()
        return entry

    def too_long(self, entry: Outgoing) -> bool:
        """True if the line of this text, with its escapes and without its LF, is longer than the node accepts."""
        return len(json_frames.encode(_frame(entry))) > self.max_line + 1

    def room(self, text: str) -> bool:
        """True if the window has room for this text now. Each `Settled` makes room."""
        return self.unacked_messages.room(size_of(text))

    def acknowledge(self, message: events.Message) -> None:
        """Acknowledge this message and all before it. A message of an earlier chat is ignored."""
        if message.chat == self.chat and message.id > self.acknowledged:
            self.acknowledged, self.acknowledged_at = message.id, message.at
            self.write_ack()

    @property
    def waiting_on_partner(self) -> bool:
        """True if the node may hold a request, and a ping behind it, until the partner has acknowledged."""
        return bool(self.unacked_messages.pending) and bool(self.pending_requests.open)

    @property
    def memory(self) -> SessionState | None:
        """The saved form of this session for `recall` in another process, or None without a session."""
        if self.name is None or self.token is None or self.state is State.OVER:
            return None
        return SessionState(
            self.name,
            self.token,
            sent=self.unacked_messages.sent,
            chat=self.chat,
            partner=self.partner,
            acks=self.acks,
            last=self.acknowledged,
            pending=self.unacked_messages.memory,
            blocked=tuple(self.blocked),
            left=self.left,
            at=self.acknowledged_at,
        )

    # --- connections

    def connection_lost(self, reason: str) -> list[Event]:
        """Report that the connection is gone. Requests and texts without an outcome are sent again after the resume."""
        self._input.clear()
        self._output.clear()
        self.pending_requests.disconnected()
        self.stranded = self.unproved = False
        if self.name is None:
            return []
        served, self.state = self.state in (State.ONLINE, State.RETURNING), State.OFFLINE
        return [events.Dropped(reason)] if served else []

    def closed(self, code: int) -> list[Event]:
        """Report that the node closed a WebSocket with this code. Call it before `connection_lost`.

        The codes 4000, 4001 and 4002 end the session, unless a frame has ended it before. 1009 refuses a claim.
        """
        return closed(self, code)

    def reconnect(self) -> None:
        """Report that there is a new connection, and ask its node to resume the session.

        If the session is known to be gone, or there was none yet, the client claims the name instead.
        """
        if self.name is None:
            if claim := self.pending_requests.first(Kind.CLAIM):
                self.put(claim)
            return
        self.state = State.RESUMING if self.token else State.CLAIMING
        self._write(self._hello())

    def _hello(self) -> json_frames.ClientHello:
        assert self.name is not None
        if self.token is None:
            return self._hello_as(self.name)
        return json_frames.ClientHello(
            name=self.name,
            acks=True,
            token=self.token,
            chat=self.chat,
            sent=self.unacked_messages.promise(),
            last=self.acknowledged,
            at=self.acknowledged_at if self.acknowledged else None,
            left=self.left,
            ask=self._ask_first,
            auth=self._proof(),
        )

    def _hello_as(self, name: str) -> json_frames.ClientHello:
        return json_frames.ClientHello(name=name, acks=True, ask=self._ask_first, auth=self._proof())

    # --- bytes

    def data_to_send(self) -> bytes:
        """Return the bytes to write to the connection now. Each byte is returned once."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def feed(self, data: bytes) -> list[Event]:
        """Process bytes that were read, cut anywhere, and return the events.

        It raises `NotARelay` if they are no frames of the protocol. Close the connection in that case.
        """
        self._input.add(data)
        told: list[Event] = []
        while (line := self._input.next()) is not None:
            told += self._line(line)
        self.write_texts()
        return told

    def _line(self, line: bytes) -> list[Event]:
        if self.trace:
            self.trace("<", line)
        frame = decode(line)
        return answer(self, frame) if frame else []

    def _write(self, frame: json_frames.ClientFrame) -> None:
        line = json_frames.encode(frame)
        if self.trace:
            self.trace(">", line[:-1])
        self._output += line

    def _say(self, frame: json_frames.ClientFrame) -> None:
        """Write a frame that has no answer and makes no sense on a later connection."""
        if self.state is State.ONLINE:
            self._write(frame)

    # --- for `pairchat.frame_handlers`

    def write_blocks(self) -> None:
        """Internal: write the blocked names for a node that doesn't know them."""
        for name in self.blocked:
            self._write(json_frames.ClientBlock(name))

    def write_texts(self) -> None:
        """Internal: write the texts for which the window has room."""
        if self.state is State.ONLINE:
            for entry in self.unacked_messages.to_write():
                self._write(_frame(entry))

    def write_ack(self) -> None:
        """Internal: write the acknowledgement, for the first time or once more."""
        if self.acknowledged and self.state in (State.ONLINE, State.RETURNING):
            self._write(json_frames.ClientAck(id=self.acknowledged, chat=self.chat))

    def leave_at_once(self, chat: str) -> None:
        """Internal: leave a chat whose call was given up."""
        self.left = chat
        self._write(json_frames.ClientLeave(chat))

    def _ask(self, kind: Kind, frame: json_frames.ClientFrame, name: str = "", ref: Ref | None = None) -> Request:
        if self.name is None and kind not in (Kind.CLAIM, Kind.QUIT):
            raise NameLost("no name yet")
        self._mark += 1
        request = Request(kind, frame, name, ref, self._mark)
        try:
            line = json_frames.encode(_marked(request))
        except UnicodeEncodeError:
            raise Refused("name_invalid", "a name must be Unicode text", name=name) from None
        if len(line) > self.max_line + 1:
            raise Refused("too_long", f"too long: a line may take {self.max_line} bytes", name=name)
        self.pending_requests.open.append(request)
        if kind is Kind.CLAIM:
            self.state = State.CLAIMING
        if self.state in (State.ONLINE, State.NAMELESS) or kind is Kind.CLAIM:
            self.put(request)
        return request

    def put(self, request: Request) -> None:
        """Internal: write a request."""
        request.written = True
        self._write(_marked(request) if self.marks else request.frame)
        if request.kind is Kind.CALL and not self.marks:
            self._write(json_frames.ClientPing())
        if request.kind in (Kind.PING, Kind.RETURN) or (request.kind is Kind.CALL and not self.marks):
            self.pending_requests.pinged(request)


def _marked(request: Request) -> json_frames.ClientFrame:
    """Return the frame of a request with the mark that comes back in the answer."""
    return structs.replace(request.frame, ref=request.mark) if hasattr(request.frame, "ref") else request.frame


def _frame(entry: Outgoing) -> json_frames.ClientMsg:
    return json_frames.ClientMsg(id=entry.id, text=entry.text, chat=entry.chat)
