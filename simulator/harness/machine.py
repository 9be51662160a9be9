"""A node's machine: what a real node takes from the operating system, it takes from here."""

import signal
import socket
from typing import Any, Final

from relay.configuration.config import Config
from relay.node import Node
from relay.process.operating_system import OperatingSystem
from simulator.harness.seams import run_by_anyio
from simulator.network import Host
from simulator.process import Process

PORT: Final = 9999


class SimulatedMachine(OperatingSystem):
    """The machine of one simulated process. Signals come through its loop, as they do on a real one."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def bind(self, config: Config) -> dict[str, socket.socket]:
        """Return the bound socket of the port for clients."""
        sock: Any = self._process.kernel.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((config.host, config.port))
        sock.listen(1)
        return {"address": sock}

    def spare_the_collector(self) -> None:
        """Do nothing: the collector belongs to the whole simulation."""

    async def trim_heap(self) -> None:
        """Do nothing: so does the heap."""


class NodeProcess:
    """A node that keeps its name and its address over all restarts. Each start is a process of its own."""

    def __init__(self, number: int, host: Host, config: Config) -> None:
        self.number = number
        self.host = host
        self.wanted = True  # no fault is breaking it at the moment
        self.process: Process | None = None
        self.node: Node | None = None  # the part of the product, for those who look inside
        self._config = config
        self._starts = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect to."""
        return self.host.addresses[0], PORT

    @property
    def node_id(self) -> str:
        """The id of the node that runs, or "" if there is none yet."""
        return getattr(self.node, "_node_id", "") if self.alive else ""

    @property
    def holds_lease(self) -> bool:
        """Whether the node runs and believes to hold its lease."""
        lease, process = getattr(self.node, "_lease", None), self.process
        return (
            self.alive
            and lease is not None
            and process is not None
            and not process.paused
            and process.clock.monotonic() < lease.deadline
        )

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.alive

    @property
    def serving(self) -> bool:
        """Whether clients are served."""
        return self.alive and self.node is not None and self.node.serving

    def start(self) -> None:
        """Start it. It must not be running."""
        assert not self.alive, "it is running"
        self._starts += 1
        self.process = process = self.host.process(f"node{self.number}.{self._starts}")
        self.node = None

        async def main() -> None:
            run_by_anyio()
            self.node = Node(self._config, SimulatedMachine(process))
            await self.node.run()

        process.start(main)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.process is not None:
            self.process.kill()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.process is not None:
            self.process.signal(number)
