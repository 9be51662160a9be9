"""Servers of Redis on the virtual network: the model does the work, this does the I/O."""

from typing import Final

from simulator.network import Host
from simulator.redis import ClientConnection, Server, Snapshot
from simulator.service import Link, Service
from simulator.world import World

PORT: Final = 6379
TICK_SECONDS: Final = 0.1


class _Door:
    """One connection: what comes goes to the model, and what the model writes leaves."""

    def __init__(self, server: Server, link: Link) -> None:
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


class Database:
    """A server that keeps its address over all restarts."""

    def __init__(self, world: World, name: str, host: Host) -> None:
        self.host = host
        self.name = name
        self.server = Server(host.clock.time_of_day, world.stream(f"redis {name}"), host=host.addresses[0], port=PORT)
        self.service: Service | None = None
        self._world = world
        self._starts = 0

    @property
    def url(self) -> str:
        """The URL that nodes are given."""
        return f"redis://{self.host.addresses[0]}:{PORT}"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.service is not None and self.service.alive

    def start(self, snapshot: Snapshot | None = None) -> None:
        """Start it, with the data of a snapshot or none. It must not be running."""
        assert not self.alive, "it is running"
        self._starts += 1
        if not self.server.alive:
            self.server.restart(snapshot)
        self.service = service = self.host.service(f"{self.name}.{self._starts}")
        service.listen(PORT, lambda link: _Door(self.server, link))
        self._tick(service)

    def _tick(self, service: Service) -> None:
        if service.alive:
            if not service.paused:
                self.server.tick()
            self._world.call_in(TICK_SECONDS, lambda: self._tick(service))

    def kill(self) -> None:
        """End it at once, with its data (SIGKILL)."""
        if self.service is not None and self.service.alive:
            self.service.kill()
            self.server.kill()

    def freeze(self) -> None:
        """Stop it (SIGSTOP): the system goes on taking connections and bytes for it."""
        if self.service is not None:
            self.service.pause()

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        if self.service is not None:
            self.service.resume()
