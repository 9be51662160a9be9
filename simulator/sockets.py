"""Sockets of the virtual network: as much of `socket.socket` as asyncio, anyio, redis-py and the relay use."""

import errno
import selectors
import socket
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from simulator.tcp import Address, ClientEnd, End, Listener, ServerEnd

if TYPE_CHECKING:
    from simulator.network import Host

# Descriptors of virtual sockets are larger than any real one, so that one can't be taken for the other.
FIRST_DESCRIPTOR: Final = 1_000_000

_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
)
_PEEK: Final = int(socket.MSG_PEEK)
_LINGER: Final = struct.Struct("ii")
# The fields of Linux's `struct tcp_info` that are filled: probes (a byte), unacknowledged segments, milliseconds since
# the last acknowledgement, and bytes that were never sent.
_TCP_INFO: Final = struct.Struct("=3xB20xI28xI84xI")


class Sockets:
    """The sockets of one process, or of a server that is none: the table of descriptors.

    Args:
        host: the machine.
        changed: is called with a descriptor whenever it may be ready for more than before.
    """

    def __init__(self, host: "Host", changed: Callable[[int], None]) -> None:
        self.host = host
        self.descriptors: dict[int, VirtualSocket] = {}
        self.changed = changed
        self._next = FIRST_DESCRIPTOR

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> "VirtualSocket":
        """Return a new socket. Raises OSError for anything but TCP."""
        kind = type & ~(getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0))
        if kind != socket.SOCK_STREAM or family not in (socket.AF_INET, socket.AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, "the virtual network has TCP only")
        return VirtualSocket(self, _File(self.host, family))

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int,
        type: int,
        proto: int,
        flags: int,
    ) -> list[Any]:
        """Look up a name as seen from this machine."""
        return await self.host.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    def close_all(self) -> None:
        """Close all sockets, as the kernel does when a process ends."""
        for one in list(self.descriptors.values()):
            one.close()

    def take(self, sock: "VirtualSocket") -> int:
        """Return the number of a new descriptor."""
        number, self._next = self._next, self._next + 1
        self.descriptors[number] = sock
        return number


class _File:
    """What several descriptors share after `dup`: an open file of the kernel."""

    def __init__(self, host: "Host", family: int) -> None:
        self.host, self.family = host, family
        self.options: dict[tuple[int, int], int] = {}
        self.local: Address | None = None
        self.end: End | None = None
        self.listener: Listener | None = None
        self.sockets: list[VirtualSocket] = []

    def tell(self) -> None:
        """Have all processes that watch a descriptor of this file look at it again."""
        for sock in self.sockets:
            sock.tell()

    def use(self, end: End) -> None:
        """Have this file be an end of a connection."""
        self.end, self.options, self.local = end, end.options, end.local
        end.tell = self.tell

    def close(self) -> None:
        """Close what this file stands for, once its last descriptor is closed."""
        if self.listener is not None:
            self.host.stop_listening(self.listener)
        elif self.end is not None:
            self.end.tell = _tell_nobody
            self.end.close()
        elif self.local is not None:
            self.host.release(self.local)


class VirtualSocket:
    """A TCP socket of the virtual network. It never blocks, whatever its time-out is said to be."""

    type: Final = socket.SOCK_STREAM
    proto: Final = socket.IPPROTO_TCP

    def __init__(self, table: Sockets, file: _File) -> None:
        self._table, self._file = table, file
        self.family = socket.AddressFamily(file.family)
        self._number = table.take(self)
        file.sockets.append(self)

    def __repr__(self) -> str:
        return f"<VirtualSocket {self._number} on {self._table.host.name}>"

    def __enter__(self) -> "VirtualSocket":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- descriptors

    def fileno(self) -> int:
        """Return the descriptor, or -1 once it is closed."""
        return self._number

    def close(self) -> None:
        """Close this descriptor, and the connection or port with the last one."""
        if self._number < 0:
            return
        self._table.changed(self._number)
        del self._table.descriptors[self._number]
        self._number = -1
        self._file.sockets.remove(self)
        if not self._file.sockets:
            self._file.close()

    def detach(self) -> int:
        """Refuse: a descriptor of the virtual network is worth nothing elsewhere."""
        raise OSError(errno.EINVAL, "a virtual socket can't be detached")

    def dup(self) -> "VirtualSocket":
        """Return a second descriptor for the same connection or port."""
        self._check()
        return VirtualSocket(self._table, self._file)

    def tell(self) -> None:
        """Have the process that watches this descriptor look at it again."""
        self._table.changed(self._number)

    def readiness(self, events: int) -> int:
        """Return which of these events wouldn't block now, as a poll wants to know."""
        end, listener = self._file.end, self._file.listener
        if listener is not None:
            return events & selectors.EVENT_READ if listener.queue else 0
        if end is None:
            return events  # an unconnected socket is at its end
        ready = selectors.EVENT_READ if events & selectors.EVENT_READ and end.readable else 0
        return ready | selectors.EVENT_WRITE if events & selectors.EVENT_WRITE and end.writable else ready

    def setblocking(self, flag: bool) -> None:
        """Accept anything: calls never block."""

    def settimeout(self, value: float | None) -> None:
        """Accept anything: calls never block."""

    def gettimeout(self) -> float:
        """Return 0: calls never block."""
        return 0.0

    # --- options

    def setsockopt(self, level: int, option: int, value: int | bytes | None, length: int = 0) -> None:
        """Set an option. Those that TCP heeds have an effect, the others are only remembered."""
        self._check()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            on, seconds = _LINGER.unpack(value) if isinstance(value, bytes) else (0, 0)
            value = seconds if on else -1
        self._file.options[level, option] = int.from_bytes(value, "little") if isinstance(value, bytes) else value or 0
        if self._file.end is not None:
            self._file.end.await_acknowledgements()  # with a smaller buffer the program may have to wait for them
            if (level, option) in _KEEP_ALIVE:
                self._file.end.begin_to_keep_alive()

    def getsockopt(self, level: int, option: int, buflen: int = 0) -> Any:
        """Return an option; TCP_INFO has the few fields that `relay.net.tcp_health` reads."""
        self._check()
        end = self._file.end
        match level, option:
            case socket.SOL_SOCKET, socket.SO_ERROR:
                return end.take_error() if end is not None else 0
            case socket.SOL_SOCKET, socket.SO_TYPE:
                return int(socket.SOCK_STREAM)
            case socket.IPPROTO_TCP, socket.TCP_INFO:
                return _tcp_info(end)[:buflen]
        value = self._file.options.get((level, option), 0)
        return value.to_bytes(buflen, "little") if buflen else value

    # --- addresses

    def getsockname(self) -> tuple[Any, ...]:
        """Return the local address."""
        self._check()
        return self._shown(self._file.local or Address("::" if self.family == socket.AF_INET6 else "0.0.0.0", 0))

    def getpeername(self) -> tuple[Any, ...]:
        """Return the peer's address. Raises OSError without a connection."""
        end = self._check().end
        if end is None or not end.open or end.gone:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return self._shown(end.remote)

    def _shown(self, address: Address) -> tuple[Any, ...]:
        return (*address, 0, 0) if self.family == socket.AF_INET6 else tuple(address)

    def bind(self, address: tuple[Any, ...]) -> None:
        """Take a local address. Raises OSError if it is in use, or not one of this machine."""
        file = self._check()
        if file.local is not None:
            raise OSError(errno.EINVAL, "Invalid argument")
        share = bool(file.options.get((socket.SOL_SOCKET, getattr(socket, "SO_REUSEPORT", -1))))
        file.local = file.host.bind(Address(address[0], address[1]), share=share)

    def listen(self, backlog: int = 128) -> None:
        """Accept connections from now on, or let another number of them wait. Raises OSError."""
        file = self._check()
        if file.listener is not None:
            file.listener.backlog = backlog
            return
        if file.local is None:
            file.local = file.host.bind(Address("0.0.0.0", 0), share=False)
        file.listener = Listener(file.local, backlog, file.options)
        file.listener.tell = file.tell
        file.host.listen(file.listener)

    def accept(self) -> tuple["VirtualSocket", tuple[Any, ...]]:
        """Return a connection that waits, and its peer's address. Raises OSError."""
        listener = self._check().listener
        if listener is None:
            raise OSError(errno.EINVAL, "Invalid argument")
        if not listener.queue:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        end = listener.queue.popleft()
        file = _File(self._table.host, self.family)
        file.use(end)
        return VirtualSocket(self._table, file), self._shown(end.remote)

    def connect(self, address: tuple[Any, ...]) -> None:
        """Begin to connect. Always raises BlockingIOError, as a non-blocking socket does, or another OSError."""
        file = self._check()
        if file.end is not None:
            raise OSError(errno.EISCONN, "Transport endpoint is already connected")
        end = file.host.connect(file.local, Address(address[0], address[1]), file.options)
        file.use(end)
        raise BlockingIOError(errno.EINPROGRESS, "Operation now in progress")

    def connect_ex(self, address: tuple[Any, ...]) -> int:
        """Begin to connect, and return the error number."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or 0
        return 0

    # --- bytes

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """Return how many bytes were taken. Raises OSError."""
        return self._connected().send(data)

    def sendmsg(self, buffers: Iterable[bytes | bytearray | memoryview]) -> int:
        """Send the bytes of several buffers as one. Raises OSError."""
        return self._connected().send(b"".join(buffers))

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return bytes that have arrived, none at the end. Raises OSError."""
        return self._connected().receive(bufsize, peek=bool(flags & _PEEK))

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Put bytes that have arrived into a buffer, and return their number. Raises OSError."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        """End one side or both. Raises OSError without a connection."""
        end = self._connected()
        if not end.open or end.gone:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            end.shut_down_writing()
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            end.shut = True
            self._file.tell()

    def _connected(self) -> End:
        end = self._check().end
        if end is None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return end

    def _check(self) -> _File:
        if self._number < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return self._file

    @property
    def end(self) -> End | None:
        """The kernel's end of the connection: for faults, not for programs."""
        return self._file.end


def _tcp_info(end: End | None) -> bytes:
    if end is None:
        return _TCP_INFO.pack(0, 0, 0, 0)
    end.heed()
    segments = -(-end.unacknowledged // end.path.weather.segment)
    silent = round(1000 * (end.world.now - end.heard))
    return _TCP_INFO.pack(min(end.probes, 255), segments, silent, end.unsent)


def _tell_nobody() -> None:
    """Stand for a process that has closed its socket."""


__all__ = ["ClientEnd", "ServerEnd", "Sockets", "VirtualSocket"]
