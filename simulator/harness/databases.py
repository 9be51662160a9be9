"""Servers of Redis on the virtual network: the model does the work, this does the I/O."""

from typing import Final

from simulator.network import Host
from simulator.redis import ClientConnection, Sentinel, Server, Snapshot
from simulator.redis.endpoint import Endpoint
from simulator.service import Link, Service
from simulator.world import World

PORT: Final = 6379
GUARD_PORT: Final = 26379
TICK_SECONDS: Final = 0.1


class _Door:
    """One connection: what comes goes to the model, and what the model writes leaves."""

    def __init__(self, server: Endpoint, link: Link) -> None:
        host, port = link.peer[:2]
        self._client: ClientConnection = server.connect(
            link.write, link.close, f"{host}:{port}", lambda: len(link.unsent)
        )

    def received(self, data: bytes) -> None:
        """Hand over what has come."""
        self._client.feed(data)

    def lost(self, error: OSError | None) -> None:
        """Tell the server."""
        self._client.lost()


class _Program:
    """An endpoint as a program on a machine. It keeps its address over all restarts."""

    def __init__(self, world: World, name: str, host: Host, endpoint: Endpoint, port: int) -> None:
        self.host = host
        self.name = name
        self.port = port
        self.service: Service | None = None
        self._endpoint = endpoint
        self._world = world
        self._starts = 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.service is not None and self.service.alive

    def _run(self) -> None:
        self._starts += 1
        self.service = service = self.host.service(f"{self.name}.{self._starts}")
        service.listen(self.port, lambda link: _Door(self._endpoint, link))
        self._tick(service)

    def _tick(self, service: Service) -> None:
        if service.alive:
            if not service.paused:
                self._endpoint.tick()
            self._world.call_in(TICK_SECONDS, lambda: self._tick(service))

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.service is not None and self.service.alive:
            self.service.kill()
            self._endpoint.kill()

    def freeze(self) -> None:
        """Stop it (SIGSTOP): the system goes on taking connections and bytes for it."""
        if self.service is not None and self.service.alive:
            self.service.pause()
            self._endpoint.freeze()

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        if self.service is not None and self.service.alive:
            self._endpoint.thaw()
            self.service.resume()


class Database(_Program):
    """A server of Redis. Its end takes its data with it."""

    def __init__(self, world: World, name: str, host: Host) -> None:
        clock, address = host.clock.time_of_day, host.addresses[0]
        self.server = Server(clock, world.stream(f"redis {name}"), host=address, port=PORT)
        super().__init__(world, name, host, self.server, PORT)

    def start(self, snapshot: Snapshot | None = None) -> None:
        """Start it, with the data of a snapshot or none. It must not be running."""
        assert not self.alive, "it is running"
        if not self.server.alive:
            self.server.restart(snapshot)
        self._run()


class Guard(_Program):
    """A sentinel."""

    def __init__(self, world: World, name: str, host: Host) -> None:
        clock, address = host.clock.time_of_day, host.addresses[0]
        self.sentinel = Sentinel(clock, world.stream(f"redis {name}"), host=address, port=GUARD_PORT)
        super().__init__(world, name, host, self.sentinel, GUARD_PORT)

    def start(self) -> None:
        """Start it. It must not be running."""
        assert not self.alive, "it is running"
        if not self.sentinel.alive:
            self.sentinel.restart()
        self._run()
