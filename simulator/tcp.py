"""TCP as the two ends of a connection see it, without the bits: segments, acknowledgements, windows, FIN and RST.

Bytes arrive in order or not at all. What is lost in a black hole is sent again after a time-out that doubles, a window
that stays shut is probed, a silent peer is found by keep-alive, and each of these gives up as Linux does.

An acknowledgement mostly changes nothing but numbers that nobody looks at for the moment. It is then no event of its
own: the end that it is on its way to remembers when it arrives (`_coming`), and heeds it before it looks at these
numbers. Once something waits for it, it becomes an event, so that both ways lead to the same history.
"""

import errno
import random
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from simulator.network import Host, Path
    from simulator.world import Event, World

# The shortest time-out before bytes are sent again, and the longest (`TCP_RTO_MAX_MS` of Linux lowers it).
RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 120.0
# How long bytes may stay unacknowledged until the connection is given up: 15 tries of Linux (`tcp_retries2`).
GIVE_UP_SECONDS: Final = 924.6
# The same for a connection that its program has closed (`tcp_orphan_retries`), and how long it waits for the peer's end
# (`tcp_fin_timeout`).
ORPHAN_SECONDS: Final = 51.0
FIN_SECONDS: Final = 60.0
# The first pause before a SYN is sent again, which doubles, and the number of tries (`tcp_syn_retries`).
SYN_SECONDS: Final = 1.0
SYN_TRIES: Final = 7
# How long it takes to find out that no machine has an address.
NO_ROUTE_SECONDS: Final = 3.0
# The default sizes of a socket's buffers.
SEND_BYTES: Final = 128 * 1024
RECEIVE_BYTES: Final = 128 * 1024
# Linux's number for the longest time-out, which Python doesn't name yet.
TCP_RTO_MAX_MS: Final = 44

# Options of sockets that are looked up often.
_SEND_BUFFER: Final = (socket.SOL_SOCKET, socket.SO_SNDBUF)
_RECEIVE_BUFFER: Final = (socket.SOL_SOCKET, socket.SO_RCVBUF)
_MOST_UNSENT: Final = (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

_IN_ORDER: Final = 1e-9  # two packets of one direction never arrive at the same instant


class Address(NamedTuple):
    """An address and a port."""

    host: str
    port: int


class End:
    """One end of a connection: what a kernel knows of it.

    The numbers are positions in the stream of bytes; the FIN counts as one byte after the last.

    Args:
        host: the machine that this end is on.
        local: the address on this machine.
        remote: the address of the peer.
        path: the way of packets from here to the peer.
        draw: the random source for what happens to packets from here.
        options: the socket's options, which a program may still change.
    """

    def __init__(
        self,
        host: "Host",
        local: Address,
        remote: Address,
        path: "Path",
        draw: random.Random,
        options: dict[tuple[int, int], int],
    ) -> None:
        self.host, self.local, self.remote, self.path = host, local, remote, path
        self.world: World = host.network.world
        self.options = options
        self.number = 0  # of the connection
        self.peer: End | None = None
        self.tell: Callable[[], None] = lambda: None  # is called whenever a program may read or write more than before
        self.open = False  # the handshake is done
        self.gone = False  # the kernel has forgotten the connection
        self.error = 0  # an error number that the program hasn't been told of
        self.closed = False  # by its program; what it wrote before may still be on its way
        self.shut = False  # for reading, by its program
        self.eof = False  # the peer has ended its side
        self.received = 0  # bytes that a program could read, or has read
        self.breaks_at: int | None = None  # the connection is reset once so many bytes have been received
        self.probes = 0  # the number of probes of a shut window without an answer
        self.heard = self.world.now  # when anything last came from the peer
        self._draw = draw
        self._last = 0.0  # when the last packet from here arrives
        self._out = bytearray()  # the bytes that the peer hasn't acknowledged, from `_base` on
        self._base = self._acked = self._sent = 0
        self._edge = 0  # the peer takes bytes up to here
        self._widest = 0  # the widest window that it has had
        self._fin: int | None = None  # the position of the FIN, once the program has ended this side
        self._waits_since: float | None = None  # when the oldest unacknowledged byte was sent
        self._pause = 0.0  # before the next try
        self._retry: Event | None = None  # the timer for it, which may go off before `_retry_at`, and then waits again
        self._retry_at: float | None = None  # when it is due
        self._timer_at = 0.0  # when `_retry` goes off
        self._retrying = False  # nothing has been acknowledged since the last try, and the pause is a longer one
        # Acknowledgements on their way that nothing waits for: when each arrives, and what it says. See the module.
        self._coming: deque[tuple[float, int, int]] = deque()
        self._next_look: Event | None = None  # of keep-alive
        self._in = bytearray()
        self._expected = 0  # the position of the next byte from the peer
        self._told_edge = 0  # the position up to which the peer was told to send
        self._unread_allowed = path.weather.window

    def __repr__(self) -> str:
        return f"<End of connection {self.number} on {self.host.name}>"

    # --- what the program sees

    @property
    def readable(self) -> bool:
        """Whether `receive` has something to say."""
        return bool(self._in or self.eof or self.error or self.gone or self.shut)

    @property
    def writable(self) -> bool:
        """Whether a poll reports room: a third of the buffer, and half of what may be unsent, as in Linux."""
        if self.error or self.gone:
            return True
        if not self.open or self._fin is not None:
            return False
        self.heed()
        if not self._out:
            return True
        size = self._send_bytes
        return 3 * (size - len(self._out)) >= size and 2 * self.unsent < self._most_unsent

    @property
    def unsent(self) -> int:
        """The number of bytes that were never sent, as the peer's window is shut or there was no time yet."""
        unsent = self._base + len(self._out) - self._sent
        return unsent if unsent > 0 else 0  # less once the FIN, which counts as a byte, is sent

    @property
    def unacknowledged(self) -> int:
        """The number of bytes that were sent, and that the peer hasn't acknowledged."""
        return self._sent - self._acked

    @property
    def _send_bytes(self) -> int:
        return self.options.get(_SEND_BUFFER, SEND_BYTES)

    @property
    def _receive_bytes(self) -> int:
        size = self.options.get(_RECEIVE_BUFFER, RECEIVE_BYTES)
        return size if size < self._unread_allowed else self._unread_allowed

    @property
    def _window(self) -> int:
        size = self.options.get(_RECEIVE_BUFFER, RECEIVE_BYTES)
        room = (size if size < self._unread_allowed else self._unread_allowed) - len(self._in)
        return room if room > 0 else 0

    @property
    def _most_unsent(self) -> int:
        return self.options.get(_MOST_UNSENT, 0) or 2 * self._send_bytes

    def _room(self) -> int:
        return min(self._send_bytes - len(self._out), self._most_unsent - self.unsent)

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Take as many bytes as there is room for, and return their number. Raises OSError."""
        if self.error:
            self._raise()
        if self.gone or self._fin is not None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.heed()
        room = self._room()
        if not self.open or room <= 0:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        taken = min(room, len(data))
        self._out += data[:taken]
        self._transmit()
        if self._coming and self.waits_for_acknowledgements:
            self.await_acknowledgements()
        return taken

    def receive(self, most: int, *, peek: bool = False) -> bytes:
        """Return some bytes, or none once the peer has ended its side. `peek` leaves them there. Raises OSError."""
        if self._in and peek:
            return bytes(self._in[:most])
        if self._in:
            weather = self.path.weather
            if weather.short_read and most > 1 and len(self._in) > 1 and self._draw.random() < weather.short_read:
                most = 1 + int(self._draw.random() * min(most, len(self._in)))
            data = bytes(self._in[:most])
            del self._in[:most]
            if self.open and not self.gone and not self.eof:
                self._open_window()
            return data
        if self.error:
            self._raise()
        if self.eof or self.gone or self.shut:
            return b""
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    def take_error(self) -> int:
        """Return the pending error number, or 0, and forget it, as SO_ERROR does."""
        number, self.error = self.error, 0
        return number

    def _raise(self) -> None:
        number = self.take_error()
        raise OSError(number, _WORDS.get(number, "Error"))  # OSError becomes the subclass for this number

    def shut_down_writing(self) -> None:
        """End this side once all bytes are sent."""
        if self._fin is None and not self.gone:
            self.await_acknowledgements()
            self._fin = self._base + len(self._out)
            self._transmit()

    def close(self) -> None:
        """Forget the connection on behalf of the program: with RST if it left bytes unread, else once all is sent."""
        if self.closed:
            return
        self.closed = True
        if self.gone:
            return
        self.await_acknowledgements()
        if self._in or self.options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == 0 or not self.open:
            self._send_reset()
            self.forget()
            return
        self.shut_down_writing()
        if not self._settle():
            self.world.call_in(FIN_SECONDS, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        if not self.gone and self._fin is not None and self._acked > self._fin:
            self.forget()

    # --- packets from here

    def post(self, receive: Callable[..., None], *what: Any) -> None:
        """Send a packet: the peer's `receive` is called with it, unless it gets lost."""
        path, world = self.path, self.world
        if path.hole or not self.host.up:
            return
        arrives, after = world.now + path.delay(self._draw.random()), self._last + _IN_ORDER
        self._last = arrives if arrives > after else after
        world.call_at(self._last, partial(receive, *what))

    def _transmit(self, *, few: bool = False) -> None:
        """Send what the peer's window allows, but not just a few bytes of more, unless it has to be `few`."""
        peer, weather = self.peer, self.path.weather
        assert peer is not None
        end, start = self._base + len(self._out), self._sent
        if 0 < end - start <= min(weather.segment, self._edge - start) and self._fin is None and not weather.cut:
            self._sent = end  # nearly always: all of it fits one segment
            self.post(peer.on_segment, start, bytes(self._out[start - self._base :]), False)
            self._mind_retry(self.world.now)
            return
        while end > self._sent or self._sent == self._fin:
            size = min(weather.segment, self._edge - self._sent, end - self._sent)
            if not few and size < min(weather.segment, end - self._sent, (self._widest + 1) // 2):
                size = 0  # the window will soon be wider: few bytes at a time would go on for ever (RFC 9293)
            if weather.cut and size > 1 and self._draw.random() < weather.cut:
                size = 1 + int(self._draw.random() * size)
            fin = self._fin is not None and self._sent + max(size, 0) == self._fin
            if size <= 0 and not fin:
                break
            start, size = self._sent, max(size, 0)
            data = bytes(self._out[start - self._base : start - self._base + size])
            self._sent += size + fin
            self.post(peer.on_segment, start, data, fin)
            if fin:
                break
        self._mind_retry(self.world.now)

    def _mind_retry(self, now: float) -> None:
        """Run the timer for a further try while bytes are unacknowledged, or wait for the window to open."""
        if self._acked < self._sent:
            if self._waits_since is None:
                self._waits_since = now
        else:
            self._waits_since = None
            if not self.unsent:
                self._retry_at = None
                return
        if self._retry_at is None:
            self._pause = self._pause or self._first_pause()
            self._retry_at = now + self._pause
            if self._retry is None or self._timer_at > self._retry_at:
                if self._retry is not None:
                    self._retry.cancel()
                self._set_timer(self._retry_at)

    def _set_timer(self, when: float) -> None:
        self._timer_at, self._retry = when, self.world.call_at(when, self._try_again)

    def _first_pause(self) -> float:
        return RETRY_SECONDS + 2 * (self.path.weather.delay[1] + self.path.back.weather.delay[1])

    def _try_again(self) -> None:
        self._retry = None
        self.heed()
        if self.gone or not self.host.up or self._retry_at is None:
            return
        if self._retry_at > self.world.now:  # bytes have been acknowledged, and others sent
            self._set_timer(self._retry_at)
            return
        self._retry_at, self._retrying = None, True
        self.await_acknowledgements()
        longest = self.options.get((socket.IPPROTO_TCP, TCP_RTO_MAX_MS), 0) / 1000 or LONGEST_RETRY_SECONDS
        self._pause = min(2 * self._pause, longest)
        if self._waits_since is not None:
            patience = ORPHAN_SECONDS if self.closed else GIVE_UP_SECONDS
            if self.world.now - self._waits_since > patience:
                self._fail(errno.ETIMEDOUT)
                return
            self._sent = self._acked
            self._transmit()
        else:
            self.probes += 1
            assert self.peer is not None
            self.post(self.peer.on_probe)
            self._transmit(few=True)
        self._mind_retry(self.world.now)

    def _acknowledge(self) -> None:
        assert self.peer is not None
        edge = self._expected + self._window
        if edge > self._told_edge:
            self._told_edge = edge
        peer, path, world = self.peer, self.path, self.world
        if path.hole or not self.host.up:
            return
        arrives, after = world.now + path.delay(self._draw.random()), self._last + _IN_ORDER
        self._last = arrives if arrives > after else after
        peer.acknowledge_at(self._last, self._expected, self._told_edge)

    def _open_window(self) -> None:
        """Tell the peer of more room, but not of a few bytes: it would send as few, and so on for ever (RFC 9293)."""
        room = self._expected + self._window - self._told_edge
        if room >= min(self.path.weather.segment, (self._receive_bytes + 1) // 2):
            self._acknowledge()

    def _send_reset(self) -> None:
        if self.peer is not None:
            self.post(self.peer.on_reset)

    # --- acknowledgements from the peer

    def acknowledge_at(self, when: float, acked: int, edge: int) -> None:
        """Be acknowledged at this time: as an event if anything waits for it."""
        if self.waits_for_acknowledgements:
            self.world.call_at(when, partial(self.on_acknowledgement, acked, edge))
        else:
            self._coming.append((when, acked, edge))

    @property
    def waits_for_acknowledgements(self) -> bool:
        """Whether one leads to anything at once: more is sent, a program may write more, or an end is complete."""
        if self._retrying or self._fin is not None or self.closed or not self.open or self.gone:
            return True
        self.heed()
        return bool(self._out) and (self.unsent > 0 or not self.writable)

    def await_acknowledgements(self) -> None:
        """Make events of those that are under way, as something waits for them now."""
        self.heed()
        while self._coming:
            when, acked, edge = self._coming.popleft()
            self.world.call_at(when, partial(self.on_acknowledgement, acked, edge))

    def heed(self) -> None:
        """Heed those that have arrived, as somebody looks at what they change."""
        while self._coming and self._coming[0][0] <= self.world.now:
            when, acked, edge = self._coming.popleft()
            if self.host.up:
                self.heard, self.probes = max(self.heard, when), 0
                self._take_acknowledgement(when, acked, edge)

    def _take_acknowledgement(self, when: float, acked: int, edge: int) -> None:
        if edge > self._edge:
            self._edge = edge
        if edge - acked > self._widest:
            self._widest = edge - acked
        if acked > self._acked:
            done = min(acked - self._base, len(self._out))
            del self._out[:done]
            self._base += done
            self._acked = acked
            self._sent = max(self._sent, acked)
            self._waits_since, self._pause, self._retry_at, self._retrying = None, 0.0, None, False
            self._mind_retry(when)

    # --- packets from the peer

    def _refuses(self) -> bool:
        """Answer a packet for a connection that isn't there (any more) with RST. Returns whether it was one."""
        if not self.host.up:
            return True
        self.heard, self.probes = self.world.now, 0
        if self.gone and self._finished:
            self._acknowledge()
        elif self.gone:
            self._send_reset()
        return self.gone

    @property
    def _finished(self) -> bool:
        """Whether both sides have ended, and know that of each other."""
        return self.eof and self._fin is not None and self._acked > self._fin

    def on_segment(self, start: int, data: bytes, fin: bool) -> None:
        """Take bytes from the peer."""
        if self._refuses():
            return
        self.world.note(f"connection {self.number}", f"{len(data)} bytes{' and the end' * fin} reach {self.host.name}")
        if not self.open:
            self.established()
            if not self.open:
                return
        fresh = data[self._expected - start :] if start <= self._expected else b""
        if fresh and self.closed:
            self._send_reset()
            self.forget()
            return
        if self.breaks_at is not None and self.received + len(fresh) >= self.breaks_at:
            fresh, fin = fresh[: self.breaks_at - self.received], False
        self._in += fresh
        self._expected += len(fresh)
        self.received += len(fresh)
        if fin and not self.eof and start + len(data) == self._expected:
            self._expected += 1
            self.eof = True
        if self.received == self.breaks_at:
            self.break_off()
            return
        self._acknowledge()
        self.tell()
        self._settle()

    def on_acknowledgement(self, acked: int, edge: int) -> None:
        """Forget what the peer has, and send what its window now allows."""
        if self._refuses():
            return
        could_write = self.writable
        self._take_acknowledgement(self.world.now, acked, edge)
        self._transmit()
        if not could_write:
            self.tell()
        self._settle()

    def on_probe(self) -> None:
        """Answer a packet that only asks whether this end is there."""
        if not self._refuses() and self.open:
            self._acknowledge()

    def on_reset(self) -> None:
        """Forget the connection: the peer doesn't know it."""
        if not self.gone and self.host.up:
            self._fail(errno.ECONNRESET if self.open else errno.ECONNREFUSED)

    def established(self) -> None:
        """Be told that the handshake is done. A server's end overrides this, since its queue may be full."""

    def _settle(self) -> bool:
        """Forget a closed connection on which nothing is under way any more. Returns whether it is forgotten."""
        if self.closed and self._finished:
            self.forget()
        return self.gone

    # --- ends

    def _fail(self, number: int) -> None:
        self.world.note(f"connection {self.number}", f"{errno.errorcode[number]} on {self.host.name}")
        self.error = number
        self.forget()
        self.tell()

    def forget(self) -> None:
        """Know nothing of the connection any more."""
        self.await_acknowledgements()
        self.gone = True
        self._out.clear()
        for event in (self._retry, self._next_look):
            if event is not None:
                event.cancel()
        self._retry = self._next_look = None
        self.host.network.ended(self)

    def break_off(self) -> None:
        """Reset the connection on both sides, as a firewall in the middle does."""
        for end in (self, self.peer):
            if end is not None and not end.gone:
                end._fail(errno.ECONNRESET)

    def begin_to_keep_alive(self) -> None:
        """Look for a silent peer from now on, if the options say so, which may have changed."""
        if self._next_look is not None:
            self._next_look.cancel()
        if self.options.get((socket.SOL_SOCKET, socket.SO_KEEPALIVE)) and self.open and not self.gone:
            self._look_in(self._keep_alive_option(socket.TCP_KEEPIDLE, 7200), 0)

    def _look_in(self, seconds: float, unanswered: int) -> None:
        self._next_look = self.world.call_in(seconds, partial(self._keep_alive, unanswered))

    def _keep_alive_option(self, option: int, default: int) -> int:
        return self.options.get((socket.IPPROTO_TCP, option), default)

    def _keep_alive(self, unanswered: int) -> None:
        if self.peer is None:
            return
        idle = self._keep_alive_option(socket.TCP_KEEPIDLE, 7200)
        interval = self._keep_alive_option(socket.TCP_KEEPINTVL, 75)
        self.heed()
        silent = self.world.now - self.heard
        if silent < idle or self.unacknowledged or self.unsent:
            self._look_in(max(idle - silent, interval), 0)
        elif unanswered >= self._keep_alive_option(socket.TCP_KEEPCNT, 9):
            self._fail(errno.ETIMEDOUT)
        else:
            self.post(self.peer.on_probe)
            self._look_in(interval, unanswered + 1)


_WORDS: Final = {
    errno.ECONNRESET: "Connection reset by peer",
    errno.ECONNREFUSED: "Connection refused",
    errno.ETIMEDOUT: "Connection timed out",
    errno.EHOSTUNREACH: "No route to host",
}


class ClientEnd(End):
    """The end that asks for the connection."""

    def connect(self, to: "Host | None") -> None:
        """Begin the handshake with a host, or learn after a while that there is none at this address."""
        self._to = to
        self._tries = 0
        if to is None:
            self.world.call_in(NO_ROUTE_SECONDS, self._no_route)
        else:
            self._ask()

    def _no_route(self) -> None:
        if not self.gone:
            self._fail(errno.EHOSTUNREACH)

    def _ask(self) -> None:
        if self.open or self.gone or not self.host.up:
            return
        if self._tries == SYN_TRIES:
            self._fail(errno.ETIMEDOUT)
            return
        assert self._to is not None
        self.post(self._to.on_syn, self)
        self.world.call_in(SYN_SECONDS * 2**self._tries, self._ask)
        self._tries += 1

    def on_syn_ack(self, peer: End, edge: int) -> None:
        """Take the peer's agreement, also a second time if the answer to it got lost."""
        self.peer = peer
        if self._refuses():
            return
        if not self.open:
            self.open, self._edge, self._widest = True, edge, edge
            self.begin_to_keep_alive()
            self.tell()
        self._acknowledge()


class Listener:
    """A port that listens, with the queue of connections that nobody has accepted yet.

    Args:
        address: where it listens; the address of the machine, or one that stands for all of its addresses.
        backlog: the number of connections that may wait.
        options: what its connections begin with.
    """

    def __init__(self, address: Address, backlog: int, options: dict[tuple[int, int], int]) -> None:
        self.address, self.backlog, self.options = address, backlog, options
        self.queue = deque[ServerEnd]()
        self.asked = dict[ServerEnd, None]()  # handshakes under way
        self.closed = False
        self.tell: Callable[[], None] = lambda: None  # is called whenever a connection waits

    @property
    def full(self) -> bool:
        """Whether no more connections may wait. Linux lets one more wait than it was told."""
        return len(self.queue) + len(self.asked) > self.backlog

    def close(self) -> None:
        """Listen no more, and reset the connections that nobody has accepted."""
        self.closed = True
        for end in [*self.queue, *self.asked]:
            end.abandon()


class ServerEnd(End):
    """The end that is asked for a connection."""

    listener: Listener | None = None  # until it is accepted

    def answer(self, client: ClientEnd, listener: Listener) -> None:
        """Agree to the connection, again and again until the client has heard it."""
        self.peer, self.listener, self._tries = client, listener, 0
        listener.asked[self] = None
        self._agree()

    def _agree(self) -> None:
        if self.open or self.gone or not self.host.up:
            return
        if self._tries == SYN_TRIES:
            self.forget()
            return
        assert isinstance(self.peer, ClientEnd)
        self._told_edge = self._window
        self.post(self.peer.on_syn_ack, self, self._told_edge)
        self.world.call_in(SYN_SECONDS * 2**self._tries, self._agree)
        self._tries += 1

    def refuse(self, client: ClientEnd) -> None:
        """Answer that nobody listens."""
        self.peer, self.gone = client, True
        self.post(client.on_reset)

    def on_acknowledgement(self, acked: int, edge: int) -> None:
        """Take the first one for the end of the handshake."""
        if not self.open and not self.gone and self.host.up:
            self.established()
        if self.open or self.gone:
            super().on_acknowledgement(acked, edge)

    def established(self) -> None:
        """Wait to be accepted."""
        assert self.listener is not None
        self.listener.asked.pop(self, None)
        self.open = True
        self.listener.queue.append(self)
        self.begin_to_keep_alive()
        self.listener.tell()

    def forget(self) -> None:
        """Know nothing of the connection any more, nor ask for the end of its handshake."""
        if self.listener is not None:
            self.listener.asked.pop(self, None)
        super().forget()

    def abandon(self) -> None:
        """Reset the connection: its listener is closed, and nobody will accept it."""
        self.closed = True
        self._send_reset()
        self.forget()
