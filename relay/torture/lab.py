"""The cluster under test: a server, a proxy for each node, and nodes; all of it can be broken and mended."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
from redis.asyncio import Redis

from relay import child, embedded
from relay.config import StartError
from relay.torture.plan import DRAIN, GRACE, LEASE, NODE
from relay.torture.proxy import Proxy
from relay.torture.waiting import until

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 20.0  # for a node or the server to accept connections
_LISTENING: Final = re.compile(rb" listening .*\baddress=\S+:(\d+)")
_RSS: Final = re.compile(r"VmRSS:\s+(\d+) kB")


class Process:
    """A program that can't outlive this one, and can be killed, frozen and started again."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again too."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                child.command(self._command),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Started, and not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def tell(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Tell it to end, and wait for that. Returns the exit status."""
        if self._process is None:
            return 0
        self.tell(signal.SIGCONT)
        self.tell(number)
        process = self._process
        await until(lambda: process.poll() is not None)
        if process.stdin is not None:
            process.stdin.close()
        return process.returncode


class Node(Process):
    """One node. It keeps its port through all its lives."""

    def __init__(self, number: int, command: Sequence[str], folder: Path, proxy: Proxy) -> None:
        self.number = number
        self.port = _free_port()
        self.proxy = proxy
        self.wanted = True  # to be there, as far as the nemesis is concerned
        self.log = folder / f"node{number}.log"
        options = {"--port": self.port, "--name": f"t{number}", "--lease": LEASE, "--grace": GRACE, "--drain": DRAIN}
        words = [word for option, value in options.items() for word in (option, str(value))]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}
        environment["RELAY_REDIS_URL"] = f"redis://{HOST}:{proxy.port}"
        super().__init__([*command, *words], self.log, environment)

    async def listen(self) -> None:
        """Start it and wait until it accepts connections. Raises StartError."""
        known = self.log.stat().st_size if self.log.exists() else 0
        self.start()

        def listening() -> bool:
            return _LISTENING.search(self.log.read_bytes()[known:]) is not None

        await until(lambda: listening() or not self.alive, START_SECONDS)
        if not listening():
            raise StartError(f"node {self.number} doesn't start (status {self.status}); see {self.log}")

    @property
    def memory(self) -> int:
        """Resident bytes; 0 where that can't be read."""
        with suppress(OSError):
            found = _RSS.search(Path(f"/proc/{self.pid}/status").read_text())
            return int(found[1]) * 1024 if found else 0
        return 0


class Server(Process):
    """One Valkey or Redis on the loopback interface; it forgets at its end, unless a snapshot is to be loaded."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.dump = folder / "dump.rdb"
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
        options = [word for key, value in settings.items() for word in (f"--{key}", value)]
        self.log = folder / "server.log"
        super().__init__([str(embedded.find_program()), *options], self.log)
        self.client: Any = Redis(host=HOST, port=self.port)

    async def serve(self, *, remember: bool = False) -> None:
        """Start it and wait until it answers. `remember`: with what it had at the last snapshot."""
        if not remember:
            self.dump.unlink(missing_ok=True)
        self.start()
        await until(lambda: self._answers() or not self.alive, START_SECONDS)
        if not self._answers():
            raise StartError(f"the server doesn't start; see {self.log}")

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), START_SECONDS) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
        return False


class Lab:
    """Server, proxies and nodes together."""

    def __init__(self, server: Server, nodes: list[Node]) -> None:
        self.server = server
        self.nodes = nodes

    def address(self, node: int) -> tuple[str, int]:
        """Where clients reach a node."""
        return HOST, self.nodes[node].port

    async def keys_without_ttl(self) -> list[str]:
        """Every key that would stay for ever."""
        client = self.server.client
        return [key.decode() async for key in client.scan_iter(count=1000) if await client.ttl(key) == -1]


@asynccontextmanager
async def build(folder: Path, count: int, command: Sequence[str] = NODE) -> AsyncIterator[Lab]:
    """A cluster of so many nodes in an empty folder, serving. `command`: how a node is started, without options."""
    server = Server(folder)
    async with anyio.create_task_group() as tasks:
        nodes: list[Node] = []
        try:
            await server.serve()
            for number in range(count):
                proxy = Proxy((HOST, server.port))
                await tasks.start(proxy.run)
                nodes.append(Node(number, command, folder, proxy))
            async with anyio.create_task_group() as starting:
                for node in nodes:
                    starting.start_soon(node.listen)
            yield Lab(server, nodes)
        finally:
            with anyio.CancelScope(shield=True):
                for process in (*nodes, server):
                    await process.end()
                await server.client.aclose()
            tasks.cancel_scope.cancel()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
