"""One client's TCP connection, from its first byte to its end: it parses lines into commands for its session.

A client whose first line is an HTTP request is handed over to what serves HTTP at the port, if that has one.

`read_gate` decides when the connection is read, and `write_buffer` collects what the client is sent.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, cast

from relay.hub.hub import Hub
from relay.hub.rate_limit import NOWHERE, ClientSource, RateLimiter
from relay.metrics import Limit
from relay.net import tcp_health
from relay.protocol.commands_and_events import Command, EndOfStream, Say
from relay.protocol.dialects import CLASSIC, JSON, TEXT, Dialect, Framer, Line, LineFramer, RawFramer, choose
from relay.protocol.errors import Code, Ending
from relay.server.read_gate import NAMELESS_BYTES, REPLY_BYTES, ReadGate
from relay.server.write_buffer import WriteBuffer
from relay.session import usual_case
from relay.session.memory_budget import LINE_BYTES, MESSAGE_BYTES, PLENTY, SHORT_READ_BYTES
from relay.session.session import Session, State
from relay.web.dialect import WEB
from relay.web.first_line import FirstLine, Speaks

# The size of one read. It bounds how much of a flooding client is handled before the other clients' turn, and how much
# memory one connection can use before it is slowed.
READ_BYTES: Final = 16 * 1024
# The size of one read before the client has a name: a `hello` or two. The classic dialect needs room for a whole line.
NAMELESS_READ_BYTES: Final = 1024
# The lines of one client that are handled in one loop iteration. They take under a millisecond if they are messages,
# and a few milliseconds if they are the costliest commands.
TURN_LINES: Final = 256
# The time for the head of an HTTP request, from the first byte of its connection on.
HEAD_SECONDS: Final = 10.0
# A connection that is being closed waits this long for the client to read what it was sent before.
LINGER_SECONDS: Final = 60.0

_NAMES: Final = {id(TEXT): "text", id(JSON): "json", id(WEB): "websocket", id(CLASSIC): "classic"}

_buffer: Final = memoryview(bytearray(READ_BYTES))  # shared by all connections: each read is copied out at once
_SHORT_BUFFER: Final = _buffer[:SHORT_READ_BYTES]
_NAMELESS_BUFFER: Final = _buffer[:NAMELESS_READ_BYTES]
_CLASSIC_BUFFER: Final = _buffer[: NAMELESS_BYTES + 1]  # one byte more shows that a line is too long


class HttpTakeover(Protocol):
    """Takes over the connections of clients that speak HTTP."""

    def take_over(self, transport: asyncio.Transport, data: bytes, origin: ClientSource, deadline: float) -> None:
        """Take over a connection, whose first bytes are `data`, and call `left` of its origin at its end.

        The head of its request has to be complete by the deadline, a time of the loop.
        """


def received(nbytes: int) -> bytes:
    """Return the bytes of the read that has just ended."""
    return bytes(_buffer[:nbytes])


def replay(data: bytes, protocol: asyncio.BufferedProtocol) -> None:
    """Pass bytes on to a protocol that were read for another one, as if the network brought them now."""
    while data:
        room = cast(memoryview, protocol.get_buffer(-1))
        count = min(len(room), len(data))
        room[:count], data = data[:count], data[count:]
        protocol.buffer_updated(count)


class Connection(asyncio.BufferedProtocol):
    """Passes a client's commands to its session in order, with a share of each loop iteration.

    On the shared port the first byte selects the dialect; the classic port (`classic`) has its own dialect. With a
    `http`, the first line shows whether the client speaks HTTP. `counted`: the connection has been a client's before.
    """

    __slots__ = (
        "_before",
        "_dialect",
        "_eof",
        "_first_line",
        "_framer",
        "_gone",
        "_http",
        "_hub",
        "_max_line",
        "_named",
        "_origin",
        "_overdue",
        "_owing",
        "_share",
        "_share_of",
        "_timer",
        "_transport",
        "lines",
        "rate_limiter",
        "read_gate",
        "session",
        "write_buffer",
    )

    # `connection_made` sets these. It has to be called before anything else.
    _transport: asyncio.Transport
    read_gate: ReadGate
    write_buffer: WriteBuffer

    def __init__(
        self,
        hub: Hub,
        max_line: int,
        *,
        classic: bool = False,
        origin: ClientSource = NOWHERE,
        http: HttpTakeover | None = None,
        counted: bool = False,
        resumable: bool = False,
    ) -> None:
        self._hub = hub
        self._http = http
        self._origin = origin
        self._max_line = max_line
        self._dialect: Dialect | None = CLASSIC if classic else None
        limit = min(max_line, NAMELESS_BYTES)
        self._framer: Framer = RawFramer(limit) if classic else LineFramer(limit) if http is None else FirstLine(limit)
        self.rate_limiter = RateLimiter(hub.limits, origin.claims)
        self.session = hub.plug(self, resumable=resumable, counted=counted)
        self.lines: deque[Line] | tuple[()] = ()  # waiting lines; an empty deque would cost every idle client 0.7 KB
        self._before = 0  # waiting lines that belong to no chat
        self._share_of, self._share = -1, 0  # a loop iteration, and the lines that may still be handled in it
        self._named = False  # the line limit is that of a client with a name
        self._overdue = False  # the time to send a name ran out while lines of the client were waiting
        self._timer: asyncio.TimerHandle | None = None
        self._first_line: asyncio.TimerHandle | None = None  # runs out `HEAD_SECONDS` after the first byte of one
        self._owing = 0  # consecutive checks at which the peer owed acknowledgements
        self._eof = False  # the client sends nothing more
        self._gone = False  # the connection is closed; lines that arrived before are still handled

    @property
    def peer(self) -> str:
        """The client's address: the one in the PROXY header if there is one, or else that of the TCP peer."""
        if self._origin.peer:
            return self._origin.peer
        host, port = (self._transport.get_extra_info("peername") or ("", ""))[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}".strip(":")

    @property
    def dialect(self) -> str:
        """The name of the client's dialect, or `unknown` before its first byte."""
        return _NAMES.get(id(self._dialect), "unknown")

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up flow control, and start the timer for the name."""
        self._transport = cast(asyncio.Transport, transport)
        # The transport then pauses exactly while the kernel lacks some bytes, which acknowledgements depend on.
        self._transport.set_write_buffer_limits(high=0)
        self.read_gate = ReadGate(self._hub, self._transport)
        self.write_buffer = self._make_write_buffer()
        self._run_name_timer()

    def _make_write_buffer(self) -> WriteBuffer:
        return WriteBuffer(self._transport, self._dialect, self.session, self._hub.delayed_acks)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read: a smaller one without a name, or while memory is short."""
        if not self._named and not self.session.named:
            return _CLASSIC_BUFFER if self._dialect is CLASSIC else _NAMELESS_BUFFER
        return _SHORT_BUFFER if self._hub.memory_budget.allowance < PLENTY else _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Make lines of the bytes that arrived, and handle them."""
        if self.write_buffer.closed:
            return  # the client sent this after a Quit
        hub = self._hub
        hub.open_tick()
        data = bytes(_buffer[:nbytes])
        if self._dialect is None:
            data = self._begin(data)
            if not data:
                return
        if self._named is not self.session.named:
            self._adjust_line_limit()
        lines = self._framer.feed(data)
        if len(lines) == 1 and nbytes < SHORT_READ_BYTES and hub.usual_case and self._handled(lines[0]):
            if self.rate_limiter.spend(1, nbytes):
                self.read_gate.slow_down(self)
            hub.memory_holders[self] = None
            return
        if self.lines:  # this is `_take` without the call, because most messages arrive alone
            self.lines.extend(lines)
        elif lines:
            self.lines = deque(lines)
        if hub.memory_budget.allowance < PLENTY:
            self._queue_partial_line(whole=bool(lines))
        if nbytes >= SHORT_READ_BYTES:  # a flood: libuv would read up to 32 times before it serves other connections
            self.read_gate.rest()
            hub.defer(self)
        self.pump()
        if not self._named:
            self._run_name_timer()
        if self.rate_limiter.spend(len(lines), nbytes):
            self.read_gate.slow_down(self)
        hub.memory_holders[self] = None

    def _handled(self, line: Line) -> bool:
        """Handle a line that came alone, if it is a usual one and has to wait for nothing. See `pump` and `usual_case`.

        Returns False, and has changed nothing, if anything is unusual.
        """
        session, hub = self.session, self._hub
        if self.lines or type(line) is not bytes:
            return False
        share = TURN_LINES if self._share_of != hub.loop_iteration else self._share
        if hub.lines_held or not hub.lines_left or not share:
            return False
        assert self._dialect is not None
        command = self._dialect.parse(line, True)
        usual = usual_case.COMMANDS.get(type(command))
        if usual is None or not usual(session, command):
            return False
        self._share_of, self._share = hub.loop_iteration, share - 1
        hub.lines_left -= 1
        return True

    def _begin(self, data: bytes) -> bytes:
        """Choose the dialect, or hand over a client that speaks HTTP. Returns the bytes that can be handled now."""
        if self._http is not None:
            first = cast(FirstLine, self._framer)
            first.feed(data)
            speaks = first.look()
            if speaks is Speaks.UNKNOWN:
                self._mind_first_line()
                return b""
            if speaks is Speaks.HTTP:
                self._hand_over()
                return b""
            self._stop_first_line()
            data = first.take()
            self._framer = LineFramer(first.limit)
        self._dialect = self.write_buffer.dialect = choose(data)
        self.session.dialect_known(resumable=self._dialect is JSON)
        return data

    def _mind_first_line(self) -> None:
        """Run the timer for a first line that is not complete and may be a request's."""
        loop = asyncio.get_running_loop()
        if self._first_line is None:
            self._first_line = loop.call_later(HEAD_SECONDS, self._first_line_late)
        elif self._first_line.when() <= loop.time():
            self._first_line_late()

    def _first_line_late(self) -> None:
        """Have a request answered that is late. What may still be a name has the time of a name."""
        if cast(FirstLine, self._framer).likely_http:
            self._hub.open_tick()
            self._hand_over()

    def _hand_over(self) -> None:
        """Have the client's connection taken over, because it speaks HTTP."""
        assert self._http is not None
        loop, timer = asyncio.get_running_loop(), self._first_line
        deadline = timer.when() if timer is not None else loop.time() + HEAD_SECONDS
        self._stop_timer()
        self._stop_first_line()
        self.read_gate.close()
        self.write_buffer.clear()
        self._hub.withdraw(self.session, self)
        self._http.take_over(self._transport, cast(FirstLine, self._framer).take(), self._origin, deadline)

    def _queue_partial_line(self, *, whole: bool) -> None:
        """While memory is short, queue a client with a partial line for its turn; a whole line ends the turn."""
        if not whole:
            self.read_gate.adjust(self)
        elif self._hub.partial_line_turns.done(self):
            self._hub.give_partial_line_turns()

    def _adjust_line_limit(self) -> None:
        """Adjust the line limit after the client has got or lost its name."""
        self._named = self.session.named
        limit = self._max_line if self._named else min(self._max_line, NAMELESS_BYTES)
        self._take(self._framer.bound(limit))

    def _take(self, lines: Sequence[Line]) -> None:
        """Append lines to those that wait."""
        if self.lines:
            self.lines.extend(lines)
        elif lines:
            self.lines = deque(lines)

    def eof_received(self) -> bool:
        """Note that the client sends nothing more. It may still read."""
        self._hub.open_tick()
        self._hang_up()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Detach the connection, which is closed, from its session and the hub."""
        self._hub.open_tick()
        self._stop_timer()
        self._stop_first_line()
        self._gone = True
        self.read_gate.close()
        self.write_buffer.clear()
        self._origin.left()
        self._hub.unplug(self.session, self)
        self._hub.memory_holders.pop(self, None)
        self._hub.partial_line_turns.forget(self)
        self._hang_up()

    def pause_writing(self) -> None:
        """Note that the kernel's buffer is full."""
        self.write_buffer.behind = True

    def resume_writing(self) -> None:
        """Note that the kernel has everything that was written."""
        self.write_buffer.behind = False
        self._hub.open_tick()
        self._hub.mark_dirty(self)

    # --- lines

    def _hang_up(self) -> None:
        if not self._eof:
            self._eof = True
            self.read_gate.close()
            self._framer.eof()
            self._take([EndOfStream()])
            self.pump()

    def pump(self) -> None:
        """Handle lines in order, until the session is blocked or this iteration's share is used up."""
        session, lines, hub, out = self.session, self.lines, self._hub, self.write_buffer
        if session.client is not self:
            self._drop_lines()  # the session has ended, or another connection has replaced this one
        elif not hub.lines_held:
            if self._share_of != hub.loop_iteration:
                self._share_of, self._share = hub.loop_iteration, TURN_LINES
            while lines and not session.blocked and out.size <= REPLY_BYTES:
                if not session.named and type(lines[0]) is bytes:
                    # A client without a name that doesn't read gets no more replies.
                    if out.behind or not hub.login_queue.admits(self):
                        break
                elif self._share and hub.lines_left:
                    self._share -= 1
                    hub.lines_left -= 1
                else:
                    hub.defer(self)
                    break
                command = self._parse(lines.popleft())
                if self._before:
                    self._handle_before(command)
                    continue
                usual = usual_case.COMMANDS.get(type(command)) if hub.usual_case else None
                if usual is None or not usual(session, command):
                    session.receive(command)
                if self._overdue:
                    self._settle_overdue()
                if lines and type(command) is Say:
                    self._say_on(command)
            if lines and session.draining:
                self._let_pass()
        if not self.lines:
            self.lines = ()
        gate = self.read_gate
        if self.lines or gate.paused or gate.resting_in == hub.loop_iteration or out.size > REPLY_BYTES:
            gate.adjust(self)

    def _drop_lines(self) -> None:
        if self.lines:
            self.lines.clear()  # a caller may be iterating over this deque
            self.lines = ()

    def _say_on(self, said: Say) -> None:
        """Handle the messages after this one in a batch, which halves the cost of a message in a run of 16 (measured).

        Leaves any line whose batch result might differ from one-by-one handling.
        """
        sent, lines = self.session.send_window, self.lines
        most = min(self._share, self._hub.lines_left, sent.room(said))
        if lines and most > 0:
            assert self._dialect is not None
            texts = self._dialect.more(said, lines, most, sent.room_bytes)
            if texts:
                for _ in texts:
                    lines.popleft()
                self._share -= len(texts)
                self._hub.lines_left -= len(texts)
                sent.say_on(texts)

    def _handle_before(self, command: Command) -> None:
        """Handle a command that the client sent before the chat was announced: its message belongs to no chat."""
        self._before -= 1
        self._overdue = False  # a session that was called has a name
        if isinstance(command, Say) and command.chat is None:
            self.session.refuse(Code.NOT_PAIRED, id=command.id)
        else:
            self.session.receive(command)

    def called(self) -> None:
        """Mark the waiting lines as sent before the chat that is announced next: they aren't for that partner."""
        self._before = len(self.lines)

    def _parse(self, line: Line) -> Command:
        if isinstance(line, bytes):  # nearly all lines
            assert self._dialect is not None
            return self._dialect.parse(line, self.session.named)
        if isinstance(line, EndOfStream):
            return line
        assert self._dialect is not None
        self._hub.counts.hit(Limit.LINE)
        return self._dialect.too_long(line)

    def _let_pass(self) -> None:
        """Handle the lines that may overtake those that wait for the outcome of messages."""
        session = self.session
        waiting, self.lines = self.lines, ()
        stay, before = deque[Line](), self._before
        for index, line in enumerate(waiting):
            if session.draining and session.passes(command := self._parse(line)):
                self._before -= index < before
                session.receive(command)
            else:
                stay.append(line)
        self.lines = stay

    # --- replies

    def end_tick(self) -> None:
        """End the tick: handle lines that waited for it, and write what the client is sent."""
        if self.lines:
            self.pump()
        if self._gone:
            self._hub.memory_holders.pop(self, None)
            return
        transport, out = self._transport, self.write_buffer
        if transport.is_closing():  # uvloop raises on a write to a closing transport
            return
        if not out.behind:
            if out.size:
                out.flush()
            if not out.size and not out.behind and not transport.is_closing():
                session = self.session
                if self.lines or self._timer is not None or not session.named or not self._hub.usual_case:
                    self._all_taken()
                elif (chat := session.chat) is not None and (session.acks or chat.received > chat.confirmed):
                    session.flushed()  # nothing else has waited for this
        if out.size or self.lines:  # a window fills only by reads, and `buffer_updated` has added the connection then
            self._hub.memory_holders[self] = None
        if self.lines or self.read_gate.paused or out.size > REPLY_BYTES:
            self.read_gate.adjust(self)

    def _all_taken(self) -> None:
        """Let the session acknowledge messages: the kernel has everything that the client was sent."""
        if self.write_buffer.closed:
            self._stop_timer()
            self._transport.close()
            return
        session = self.session
        if session.client is self:
            session.flushed()
        if self._timer is not None or not session.named:
            self._run_name_timer()
        # The login queue calls a newcomer that waits there. Trying it in each tick until then would take a whole core.
        if self.lines and not session.blocked and not self._hub.lines_held and not self._hub.login_queue.holds(self):
            self._hub.defer(self)

    def check_tcp_peer(self) -> None:
        """Abort the connection if the peer has not acknowledged sent data for too long.

        The hub calls this every `tcp_health.CHECK_SECONDS`. Keep-alive doesn't notice such a peer: it pauses while data
        is in flight, and the kernel would retransmit for 15 minutes. A peer that is alive and doesn't read is kept.
        """
        if not self.write_buffer.wrote or self._gone:
            return
        info = tcp_health.read_tcp_info(self._transport.get_extra_info("socket"))
        self.write_buffer.wrote = info.waiting
        self._owing = self._owing + 1 if info.owing else 0
        if self._owing > tcp_health.OWING_CHECKS or info.unresponsive:
            self._transport.abort()

    @property
    def hung_up(self) -> bool:
        """Whether the client has closed its side of the connection. It may be gone."""
        return self._eof

    @property
    def line_bytes(self) -> int:
        """Bytes of the lines that wait for their turn."""
        return sum(len(line) for line in self.lines if isinstance(line, bytes))

    @property
    def half(self) -> int:
        """Bytes of a partial line. They count only once the client has a name."""
        return self._framer.half if self.session.named else 0

    @property
    def unsaid(self) -> int:
        """Bytes by which the partial line may still grow."""
        return self._framer.limit - self._framer.half

    @property
    def held_bytes(self) -> int:
        """Bytes of memory in use for this client's window, replies, waiting lines and partial line."""
        chat, half = self.session.chat, self.half
        if not self.write_buffer.size and not self.lines and (chat is None or not chat.unacked.count):
            return half  # mostly 0: a client is asked ten times a second after it has sent something
        window = chat.unacked.bytes + MESSAGE_BYTES * chat.unacked.count if chat is not None else 0
        lines = self.line_bytes + LINE_BYTES * len(self.lines) if self.lines else 0
        return window + self.write_buffer.held_bytes + lines + half

    def serve(self, session: Session) -> None:
        """Make this connection the client of the session."""
        self.session = self.write_buffer.session = session
        self._hub.memory_holders[self] = None  # its memory includes the window of the session's chat

    def close(self) -> None:
        """Close once the client has read what it was sent, or after `LINGER_SECONDS`."""
        self.write_buffer.close()
        self.read_gate.close()
        self._drop_lines()
        self._stop_timer()
        self._stop_first_line()
        if self._gone:
            return  # a timer would only keep this object alive
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)
        self._hub.open_tick()
        self._hub.mark_dirty(self)

    def _run_name_timer(self) -> None:
        """Run the timer for the name while the session is nameless, and stop it once a name is being claimed."""
        if self.write_buffer.closed:
            return
        nameless = self.session.state is State.NAMELESS
        if not nameless and self._timer is not None:
            self._stop_timer()
        elif nameless and self._timer is None and not self._overdue:
            self._timer = asyncio.get_running_loop().call_later(self._hub.limits.name, self._nameless)

    def _nameless(self) -> None:
        """Abort, since the time for the name is over, or first handle the lines that arrived in time and wait."""
        self._timer = None
        if isinstance(self._framer, FirstLine) and self._framer.likely_http:
            self._hub.open_tick()
            self._hand_over()  # it has the time of a request
        elif self.lines and not self.write_buffer.behind:
            self._overdue = True
        else:
            self._hub.counts.hit(Limit.NAME_TIME)
            self._no_name()

    def _no_name(self) -> None:
        """Close the connection, which has sent no name in time."""
        self._transport.abort()

    def _settle_overdue(self) -> None:
        """End the session if the line that arrived in time didn't claim a name."""
        self._overdue = False
        if self.session.state is State.NAMELESS:
            self._hub.counts.hit(Limit.NAME_TIME)
            self.session.end(Ending.QUIT)

    def _stop_first_line(self) -> None:
        if self._first_line is not None:
            self._first_line.cancel()
            self._first_line = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
