"""The virtual network: machines with addresses and ports, the paths between them, and what goes wrong on those.

A harness makes machines, starts processes on them, and changes the weather of paths while the world runs:

    network = Network(world)
    node, client = network.host("node", "10.0.0.1"), network.host("client", "10.0.0.2")
    node.process("node").start(serve)
    client.process("client").start(talk, "node", 9999)
    world.run_for(5)
    network.path(client, node).hole = True  # what the client sends gets lost; what the node sends still arrives
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.clock import Clock
from simulator.names import Names, infos, no_name, numeric, port_number
from simulator.process import Process
from simulator.service import Service
from simulator.sockets import Sockets
from simulator.tcp import Address, ClientEnd, End, Listener, ServerEnd
from simulator.world import World

# Ports that the kernel gives to those who ask for none.
EPHEMERAL_PORTS: Final = range(32_768, 61_000)

_ANY: Final = ("0.0.0.0", "::")
_LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Weather:
    """How packets fare on a path."""

    delay: tuple[float, float] = (0.000_1, 0.001)  # the shortest and the longest
    segment: int = 1448  # the most bytes of one packet
    cut: float = 0.0  # how probable it is that a packet has fewer, cut at any byte
    window: int = 128 * 1024  # the most bytes that the receiver holds unread, whatever its socket's options say
    short_read: float = 0.0  # how probable it is that a read returns fewer bytes than have arrived


LOOPBACK_WEATHER: Final = Weather(delay=(0.000_01, 0.000_05), segment=65_483)


class Path:
    """The way from one machine to another. The way back is another path."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather  # a connection keeps the window that it began with, all else may change at any time
        self.hole = False  # whether everything gets lost
        self.back: Path = self

    def delay(self, drawn: float) -> float:
        """Return how long a packet takes, for a drawn number from 0 to 1."""
        least, most = self.weather.delay
        return least + drawn * (most - least)


@dataclass(eq=False)
class Connection:
    """A connection, for faults: `client` and `server` are its ends."""

    number: int
    client: ClientEnd
    server: ServerEnd | None = None  # None until the server has heard of it

    def reset(self) -> None:
        """Reset it for both ends, as a firewall in the middle does."""
        self.client.break_off()

    def end(self, *, by_server: bool = True) -> None:
        """Let one end's kernel end its side, as if its program had."""
        end = self.server if by_server else self.client
        if end is not None and end.open and not end.gone:
            end.shut_down_writing()


class Network:
    """All machines, and the paths between them."""

    def __init__(self, world: World, weather: Weather | None = None) -> None:
        self.world = world
        self.weather = weather if weather is not None else Weather()  # of paths that nobody has set another for
        self.names = Names()
        self.hosts: dict[str, Host] = {}
        self.connections: dict[int, Connection] = {}  # that are not over, the oldest first
        self.met: Callable[[Connection], object] = lambda _: None  # is called when a server hears of a new connection
        self._paths: dict[tuple[Host, Host], Path] = {}
        self._addresses: dict[str, Host] = {}
        self._count = 0

    def host(self, name: str, *addresses: str, clock: Clock | None = None) -> "Host":
        """Return a new machine with these addresses, whose name resolves to them."""
        host = Host(self, name, addresses, clock if clock is not None else self.world.clock())
        self.hosts[name] = host
        self._addresses |= dict.fromkeys(addresses, host)
        self.names.set(name, *addresses)
        return host

    def path(self, source: "Host", target: "Host") -> Path:
        """Return the way from one machine to another."""
        found = self._paths.get((source, target))
        if found is None:
            weather = LOOPBACK_WEATHER if source is target else self.weather
            found = self._paths[source, target] = Path(weather)
            if source is not target:
                found.back = self._paths[target, source] = Path(weather)
                found.back.back = found
        return found

    def cut_off(self, host: "Host", *, on: bool = True) -> None:
        """Put a machine into a black hole, both ways, or take it out again. Its processes don't notice."""
        for other in self.hosts.values():
            if other is not host:
                self.path(host, other).hole = self.path(other, host).hole = on

    def machine(self, address: str, source: "Host") -> "Host | None":
        """Return the machine with an address, as seen from another one."""
        return source if address in _LOOPBACK else self._addresses.get(address)

    def connect(self, end: ClientEnd, target: "Host | None") -> None:
        """Begin a connection."""
        self.connections[end.number] = Connection(end.number, end)
        end.connect(target)

    def next_connection(self) -> int:
        """Return the number of a new connection."""
        self._count += 1
        return self._count

    def heard_of(self, end: ServerEnd) -> None:
        """Be told of the server's end of a connection."""
        connection = self.connections.get(end.number)
        if connection is not None:
            connection.server = end
            self.met(connection)

    def ended(self, end: End) -> None:
        """Forget a connection once both its ends have."""
        connection = self.connections.get(end.number)
        if connection is not None and connection.client.gone and (connection.server is None or connection.server.gone):
            del self.connections[end.number]
        end.host.freed(end)


@dataclass(eq=False)
class Port:
    """What is behind one port of a machine."""

    bound: list[Address] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    shared: bool = False


class Host:
    """A machine: its addresses, its ports, its clock, and whether it is up. `Network.host` makes them."""

    def __init__(self, network: Network, name: str, addresses: tuple[str, ...], clock: Clock) -> None:
        self.network, self.name, self.addresses, self.clock = network, name, addresses, clock
        self.up = True
        self.refuses: set[int] = set()  # ports that answer a SYN with RST, whoever listens there
        self.ignores: set[int] = set()  # ports that lose each SYN
        self._ports: dict[int, Port] = {}
        self._ends: dict[End, None] = {}
        self._answering: dict[End, ServerEnd] = {}  # by the client's end
        self._next_port = EPHEMERAL_PORTS.start
        self._programs: list[Process | Service] = []
        self._draw = network.world.stream(f"host {name}")

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    def process(self, name: str) -> Process:
        """Return a new process on this machine."""
        self._programs = [program for program in self._programs if program.alive]
        sockets = Sockets(self, lambda number: None)
        process = self.network.world.process(name, self.clock, sockets)
        sockets.changed = process.loop.poll.changed
        self._programs.append(process)
        return process

    def service(self, name: str) -> Service:
        """Return a new server without a loop on this machine."""
        service = Service(self, name)
        self._programs.append(service)
        return service

    # --- power

    def lose_power(self) -> None:
        """Be gone without a word: processes end, connections are forgotten, and nothing answers."""
        self.up = False
        self.network.world.note(self.name, "loses power")
        for program in self._programs:
            if program.alive:
                program.vanish()
        self._programs.clear()
        self._ports.clear()
        for end in list(self._ends):
            end.forget()

    def power_on(self) -> None:
        """Be there again, without processes: packets for former connections are answered with RST."""
        self.up = True
        self.network.world.note(self.name, "is powered on")

    # --- ports

    def bind(self, address: Address, *, share: bool) -> Address:
        """Take a port, or any if the number is 0. Raises OSError."""
        host = numeric(address.host) or address.host
        if host not in (*_ANY, *_LOOPBACK, *self.addresses):
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        taken = Address(host, address.port or self._free_port())
        port = self._ports.setdefault(taken.port, Port())
        if port.bound and not (share and port.shared) and any(_collide(host, one.host) for one in port.bound):
            raise OSError(errno.EADDRINUSE, "Address already in use")
        port.shared = share
        port.bound.append(taken)
        return taken

    def _free_port(self) -> int:
        while True:
            number = self._next_port
            self._next_port = number + 1 if number + 1 in EPHEMERAL_PORTS else EPHEMERAL_PORTS.start
            if number not in self._ports:
                return number

    def release(self, address: Address) -> None:
        """Let others take a port."""
        port = self._ports.get(address.port)
        if port is not None and address in port.bound:
            port.bound.remove(address)
            if not port.bound:
                del self._ports[address.port]

    def listen(self, listener: Listener) -> None:
        """Offer connections on a bound port to a listener."""
        self._ports[listener.address.port].listeners.append(listener)

    def stop_listening(self, listener: Listener) -> None:
        """Close a listener and its port."""
        port = self._ports.get(listener.address.port)
        if port is not None and listener in port.listeners:
            port.listeners.remove(listener)
        listener.close()
        self.release(listener.address)

    # --- connections

    def connect(self, local: Address | None, remote: Address, options: dict[tuple[int, int], int]) -> ClientEnd:
        """Begin a connection from here. Raises OSError."""
        host = numeric(remote.host) or remote.host
        host = _LOOPBACK[_ANY.index(host)] if host in _ANY else host
        target = self.network.machine(host, self)
        number = self.network.next_connection()
        if local is None or local.host in _ANY:
            mine = host if host in _LOOPBACK else self._own(":" in host)
            local = Address(mine, local.port if local is not None else self._free_port())
        path = self.network.path(self, target if target is not None else self)
        draw = self.network.world.stream(f"connection {number} there")
        end = ClientEnd(self, local, Address(host, remote.port), path, draw, options)
        end.number = number
        self._ends[end] = None
        self.network.connect(end, target)
        return end

    def _own(self, six: bool) -> str:
        """Return an address of this machine of the same family."""
        for address in self.addresses:
            if (":" in address) is six:
                return address
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def on_syn(self, client: ClientEnd) -> None:
        """Hear of a client that wants to connect: agree, refuse, or say nothing if too many wait already."""
        port = client.remote.port
        if not self.up or client.gone or port in self.ignores:
            return
        listener = self._listener(client.remote)
        if listener is not None and listener.full and port not in self.refuses:
            return
        if client in self._answering:
            return  # it has asked before, and the answer is under way
        draw = self.network.world.stream(f"connection {client.number} back")
        options = dict(listener.options) if listener is not None else {}
        end = ServerEnd(self, client.remote, client.local, client.path.back, draw, options)
        end.number = client.number
        if listener is None or port in self.refuses:
            end.refuse(client)
            return
        self._ends[end] = None
        self._answering[client] = end
        self.network.heard_of(end)
        end.answer(client, listener)

    def _listener(self, address: Address) -> Listener | None:
        """Return who listens at an address; of several that share a port, one is drawn."""
        port = self._ports.get(address.port)
        if port is None:
            return None
        fit = [one for one in port.listeners if one.address.host in _ANY or one.address.host == address.host]
        return fit[int(self._draw.random() * len(fit))] if fit else None

    def freed(self, end: End) -> None:
        """Forget an end of a connection."""
        self._ends.pop(end, None)
        if end.peer is not None and self._answering.get(end.peer) is end:
            del self._answering[end.peer]

    # --- names

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Look up a name from here, which takes virtual time. Raises `socket.gaierror`."""
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or numeric(name) is not None or name == "localhost" or flags & socket.AI_NUMERICHOST:
            return self.getaddrinfo_now(name, port, family=family, type=type, flags=flags)
        names = self.network.names
        least, most = names.seconds
        await asyncio.sleep(least + self._draw.random() * (most - least))
        while names.hangs(name):  # noqa: ASYNC110  the harness changes this at any time, and tells nobody
            await asyncio.sleep(1)
        return self.getaddrinfo_now(name, port, family=family, type=type, flags=flags)

    def getaddrinfo_now(
        self, host: str | None, port: bytes | str | int | None, *, family: int = 0, type: int = 0, flags: int = 0
    ) -> list[Any]:
        """Return what a look-up would say now, for code that can't wait. Raises `socket.gaierror`."""
        number = port_number(port)
        if host is None:
            return infos(_ANY if flags & socket.AI_PASSIVE else _LOOPBACK, number, family, type)
        found = numeric(host)
        if found is not None:
            return infos([found], number, family, type)
        if flags & socket.AI_NUMERICHOST:
            raise no_name()
        if host == "localhost":
            return infos(_LOOPBACK, number, family, type)
        return infos(self.network.names.addresses(host), number, family, type)


def _collide(one: str, other: str) -> bool:
    """Return whether two addresses can't be bound to the same port."""
    return one == other or ((":" in one) == (":" in other) and (one in _ANY or other in _ANY))
