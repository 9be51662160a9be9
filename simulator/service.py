"""A server on the virtual network without a loop: a model that reacts to bytes at once, such as that of Redis."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from simulator.sockets import Sockets, VirtualSocket

if TYPE_CHECKING:
    from simulator.network import Host
    from simulator.world import Event

_READ_BYTES: Final = 64 * 1024


class Receiver(Protocol):
    """What a model does with one connection."""

    def received(self, data: bytes) -> None:
        """Take bytes from the client, cut anywhere."""

    def lost(self, error: OSError | None) -> None:
        """Be told that the connection is over: with an error, or because the client has ended it."""


class Link:
    """One connection of a service."""

    def __init__(self, service: "Service", sock: VirtualSocket, peer: tuple[Any, ...]) -> None:
        self.peer = peer
        self.receiver: Receiver | None = None
        self.unsent = bytearray()  # what the kernel hasn't taken yet, as the client doesn't read
        self.reading = True
        self._service, self._sock = service, sock
        self._closing = False

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._closing or self._sock.fileno() < 0

    def write(self, data: bytes) -> None:
        """Send bytes, now or once the client reads. They are dropped if the connection is over."""
        if not self.closed:
            self.unsent += data
            self._flush()

    def close(self) -> None:
        """Close once everything is sent."""
        self._closing = True
        if not self.unsent:
            self.abort()

    def abort(self) -> None:
        """Close at once. What the kernel has taken may still reach the client."""
        self._closing = True
        self._service.forget(self._sock)
        self._sock.close()

    def pause(self) -> None:
        """Read nothing more."""
        self.reading = False

    def resume(self) -> None:
        """Read again."""
        self.reading = True
        self._sock.tell()

    @property
    def has_work(self) -> bool:
        """Whether there may be something to receive, or to send of what waits."""
        end = self._sock.end
        return bool(self.unsent) or end is None or (self.reading and end.readable)

    def work(self) -> None:
        """Send and receive what is possible now. Only the service calls this."""
        if self.unsent:
            self._flush()
        if not self.reading or self._sock.fileno() < 0 or self.receiver is None:
            return
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._over(error)
            return
        if not data:
            self._over(None)
            return
        if self.has_work:  # there is more
            self._sock.tell()
        self.receiver.received(data)

    def _flush(self) -> None:
        try:
            while self.unsent:
                del self.unsent[: self._sock.send(self.unsent)]
        except BlockingIOError:
            return
        except OSError as error:
            self._over(error)
            return
        if self._closing:
            self.abort()

    def _over(self, error: OSError | None) -> None:
        self.unsent.clear()
        self.abort()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.lost(error)


class Service:
    """A server process without a loop. `Host.service` makes them.

    It can be paused and killed as a process can. Each reaction takes `seconds`, drawn between the two.
    """

    def __init__(self, host: "Host", name: str, seconds: tuple[float, float] = (0.000_01, 0.000_1)) -> None:
        self.host, self.name, self.seconds = host, name, seconds
        self.clock = host.clock
        self.alive, self.paused = True, False
        self._world = host.network.world
        self._sockets = Sockets(host, self._changed)
        self._draw = self._world.stream(f"service {name}")
        self._ports: dict[int, tuple[VirtualSocket, Callable[[Link], Receiver]]] = {}
        self._links: dict[int, Link] = {}
        self._to_do: dict[int, None] = {}
        self._next: Event | None = None

    def listen(
        self, port: int, accept: Callable[[Link], Receiver], address: str = "0.0.0.0", backlog: int = 511
    ) -> None:
        """Call `accept` for each new connection on a port. Raises OSError if it is in use."""
        sock = self._sockets.socket()
        sock.bind((address, port))
        sock.listen(backlog)
        self._ports[sock.fileno()] = sock, accept

    def links(self) -> list[Link]:
        """Return the connections, the oldest first."""
        return list(self._links.values())

    def pause(self) -> None:
        """Do nothing until `resume`. The kernel goes on: it accepts connections, and receives what fits its buffers."""
        self.paused = True
        self._world.note(self.name, "paused")

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        self._world.note(self.name, "resumed")
        self._mind_work()

    def kill(self) -> None:
        """End at once: the kernel closes all connections, and no receiver is told."""
        self.alive = False
        self._world.note(self.name, "killed")
        self._to_do.clear()
        self._links.clear()
        self._sockets.close_all()

    def vanish(self) -> None:
        """End without a word to anybody, as when the machine loses power."""
        self.alive = False
        self._to_do.clear()
        self._links.clear()

    def forget(self, sock: VirtualSocket) -> None:
        """Have no connection on this socket any more."""
        self._links.pop(sock.fileno(), None)

    def _changed(self, number: int) -> None:
        if self.alive and (number not in self._links or self._links[number].has_work):
            self._to_do[number] = None
            self._mind_work()

    def _mind_work(self) -> None:
        if self._to_do and self._next is None and not self.paused:
            least, most = self.seconds
            self._next = self._world.call_in(least + self._draw.random() * (most - least), self._work)

    def _work(self) -> None:
        self._next = None
        if not self.alive or self.paused:
            return
        to_do, self._to_do = list(self._to_do), {}
        if len(to_do) > 1:
            self._draw.shuffle(to_do)
        for number in to_do:
            if number in self._ports:
                self._accept(*self._ports[number])
            elif number in self._links:
                self._links[number].work()
        self._mind_work()

    def _accept(self, port: VirtualSocket, accept: Callable[[Link], Receiver]) -> None:
        while True:
            try:
                sock, peer = port.accept()
            except BlockingIOError:
                return
            link = self._links[sock.fileno()] = Link(self, sock, peer)
            link.receiver = accept(link)
            sock.tell()
