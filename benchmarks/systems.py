"""The systems of the comparison, each as processes: two nodes, and a Redis if the system needs one."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Final

import redis
from msgspec import Struct

from benchmarks import install
from relay.configuration.config import StartError
from relay.process import embedded_redis, parent_guard
from relay.tools.testbed.certificates import make_certificate
from relay.tools.testbed.process import HOST, free_port

START_SECONDS: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class System(Struct, frozen=True):
    """One system of the comparison."""

    name: str
    driver: str  # its name in load/main.c
    title: str
    configuration: str
    same_node: bool = False  # both partners of a pair are on the same node
    tls: bool = False


_RELAY: Final = "two `relay node` on one Valkey, defaults"
_NATS: Final = "two servers, one cluster, defaults"
SYSTEMS: Final = {
    system.name: system
    for system in (
        System("relay-json", "json", "relay, JSON, acks by nodes", _RELAY),
        System("relay-acks", "acks", "relay, JSON, acks by clients", f"{_RELAY}; clients acknowledge once a read"),
        System("relay-ws", "ws", "relay, WebSocket, acks by nodes", f"{_RELAY}; its JSON in masked frames"),
        System("relay-text", "text", "relay, text", _RELAY),
        System(
            "relay-same",
            "json",
            "relay, JSON, same node",
            f"{_RELAY}; partners on the same one of them, pairs on both",
            same_node=True,
        ),
        System(
            "socketio",
            "sio",
            "socket.io + Redis adapter",
            "two Node processes, websocket only, no compression, bufferutil; a user is a room",
        ),
        System(
            "pysocketio",
            "sio",
            "python-socketio + Redis",
            "two uvicorn processes with uvloop, websocket only, AsyncRedisManager with hiredis; a user is a room",
        ),
        System(
            "ejabberd",
            "xmpp",
            "ejabberd + Redis",
            "two nodes of Debian's package, `sm_db_type` and `router_db_type` redis; XMPP over TCP without TLS, "
            "no modules, to full addresses",
        ),
        System("nats", "nats", "NATS cluster", f"{_NATS}; a subject for each receiver"),
        System(
            "jetstream",
            "jetstream",
            "NATS JetStream, acks",
            f"{_NATS}; one stream in memory, one replica; published with a reply; a push consumer for each receiver, "
            "ack policy `all`, acknowledged once a read",
        ),
        System("redis", "redis", "Redis pub/sub alone", "one Valkey, no persistence; clients on it directly"),
    )
}


class Running:
    """A system that was started."""

    def __init__(self, system: System, folder: Path) -> None:
        self.system = system
        self.folder = folder
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.server: subprocess.Popen[bytes] | None = None
        self.helpers: list[subprocess.Popen[bytes]] = []  # whose CPU and memory don't count
        self.ports: list[int] = []
        self.certificate: Path | None = None  # the certificate that the nodes present
        self.redis: redis.Redis | None = None

    def start(
        self, name: str, command: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process that ends with this one."""
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                parent_guard.command(command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={key: value for key, value in os.environ.items() if not key.startswith("RELAY_")}
                | (environment or {}),
            )

    def serve_redis(self) -> int:
        """Start a Redis, and return its port."""
        port = free_port()
        options = {"port": port, "bind": HOST, "save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        self.server = self.start("redis", [str(embedded_redis.find_program()), *words])
        wait_for(port, self.server)
        self.redis = redis.Redis(host=HOST, port=port)
        return port

    def add_node(
        self, name: str, before: list[str], after: list[str], environment: dict[str, str] | None = None
    ) -> None:
        """Start a node, and wait until it accepts connections. Its command is `before`, a free port, and `after`."""
        port = free_port()
        self.nodes.append(self.start(name, [*before, str(port), *after], environment))
        wait_for(port, self.nodes[-1])
        self.ports.append(port)

    def cpu(self) -> tuple[float, float]:
        """Return the seconds of CPU that the nodes and the server have used."""
        return sum(map(_cpu, self.nodes)), _cpu(self.server) if self.server else 0.0

    def memory(self) -> int:
        """Return the resident bytes of the nodes, or of the server if there are no nodes."""
        return sum(map(_rss, self.nodes or filter(None, [self.server])))

    def commands(self) -> int:
        """Return the number of commands that Redis has executed."""
        if self.redis is None:
            return 0
        return int(self.redis.info("stats")["total_commands_processed"])

    def redis_memory(self) -> int:
        """Return the bytes that Redis holds."""
        return int(self.redis.info("memory")["used_memory"]) if self.redis is not None else 0

    def stop(self) -> None:
        """End all processes."""
        if self.redis is not None:
            self.redis.close()
        processes = (*self.nodes, *filter(None, [self.server]), *self.helpers)
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()


@contextmanager
def running(system: System, nodes: int = 2) -> Iterator[Running]:
    """Run the system. Raises NotInstalled if it can't be installed or doesn't start."""
    folder = install.WORK / "logs" / system.name
    folder.mkdir(parents=True, exist_ok=True)
    started = Running(system, folder)
    try:
        _STARTERS[system.name.partition("-")[0]](started, nodes)
        yield started
    finally:
        started.stop()


def _start_relay(to: Running, nodes: int) -> None:
    environment = {}
    if to.system.tls:
        try:
            to.certificate, key = make_certificate(to.folder)
        except StartError as error:
            raise install.NotInstalled(str(error)) from None
        environment = {"RELAY_TLS_CERT": str(to.certificate), "RELAY_TLS_KEY": str(key)}
    environment["RELAY_REDIS_URL"] = f"redis://{HOST}:{to.serve_redis()}"
    for number in range(1, nodes + 1):
        words = [sys.executable, "-P", "-m", "relay", "node", "--name", f"n{number}", "--port"]
        to.add_node(f"n{number}", words, [], environment)


def _start_socketio(to: Running, nodes: int) -> None:
    modules, port = install.node_modules(), to.serve_redis()
    app = str(install.HERE / "peers" / "socketio.js")
    for number in range(nodes):
        to.add_node(f"node{number}", ["node", app], [str(port)], {"NODE_PATH": str(modules)})


def _start_pysocketio(to: Running, nodes: int) -> None:
    python, port = str(install.python()), to.serve_redis()
    app = str(install.HERE / "peers" / "pysocketio.py")
    for number in range(nodes):
        to.add_node(f"node{number}", [python, app], [str(port)])


def _start_ejabberd(to: Running, nodes: int) -> None:
    """Start Erlang as `ejabberdctl` does, but from the folder where the packages were unpacked."""
    root, redis_port, epmd_port = install.ejabberd(), to.serve_redis(), free_port()
    programs = next((root / "usr/lib/erlang").glob("erts-*")) / "bin"
    libraries = next(root.glob("usr/lib/*/ejabberd-*")).parent
    environment = {
        "ROOTDIR": str(root / "usr/lib/erlang"),
        "BINDIR": str(programs),
        "EMU": "beam",
        "PROGNAME": "erl",
        "ERL_LIBS": str(libraries),
        "LD_LIBRARY_PATH": str(libraries),
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(epmd_port),
        "HOME": str(to.folder),
    }
    to.helpers.append(to.start("epmd", [str(programs / "epmd")], environment))  # it tells the nodes each other's ports
    wait_for(epmd_port, to.helpers[-1])
    names, cookie = [f"relay{number}@{HOST}" for number in range(nodes)], secrets.token_hex(16)
    for number, name in enumerate(names):
        folder, port = to.folder / f"node{number}", free_port()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        settings = Template((install.HERE / "peers" / "ejabberd.yml").read_text())
        filled = settings.substitute(port=port, redis_port=redis_port, others=", ".join(names[:number]))
        (folder / "ejabberd.yml").write_text(filled)
        own = {"EJABBERD_CONFIG_PATH": "ejabberd.yml", "EJABBERD_LOG_PATH": "ejabberd.log"}
        paths = {key: str(folder / file) for key, file in own.items()} | {"ERL_CRASH_DUMP": str(folder / "dump")}
        words = ["-name", name, "-setcookie", cookie, "-start_epmd", "false", "-noinput", "-s", "ejabberd"]
        words += ["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-mnesia", "dir", f'"{folder / "mnesia"}"']
        command = [str(programs / "erlexec"), "+K", "true", "+P", "250000", *words]
        to.nodes.append(to.start(f"node{number}", command, environment | paths))
        wait_for(port, to.nodes[-1])
        to.ports.append(port)


def _start_nats(to: Running, nodes: int) -> None:
    program, routes = str(install.nats()), [free_port() for _ in range(nodes)]
    for number, route in enumerate(routes):
        words = ["--cluster_name", "c", "--cluster", f"nats://{HOST}:{route}"]
        words += ["--routes", ",".join(f"nats://{HOST}:{other}" for other in routes if other != route)]
        if to.system.name == "jetstream":
            words += ["-js", "-sd", str(to.folder / f"store{number}"), "-n", f"s{number}"]
        to.add_node(f"server{number}", [program, "-a", HOST, "-p"], words)
    if to.system.name == "jetstream":
        _make_stream(to.ports[0])


def _make_stream(port: int) -> None:
    """Create a stream in memory with one replica. The cluster must choose a leader first, so this asks repeatedly."""
    config = {
        "name": "bench",
        "subjects": ["bench.>"],
        "storage": "memory",
        "num_replicas": 1,
        "max_age": 20_000_000_000,
    }
    body = json.dumps(config).encode()
    deadline, said = time.monotonic() + START_SECONDS, b""
    while time.monotonic() < deadline:
        with socket.create_connection((HOST, port), 5) as server:
            server.settimeout(3)
            request = b"PUB $JS.API.STREAM.CREATE.bench i %d\r\n%s\r\n" % (len(body), body)
            server.sendall(b'CONNECT {"verbose":false}\r\nSUB i 1\r\n' + request)
            with suppress(TimeoutError):
                said = b""
                while b"stream_create_response" not in said:
                    said += server.recv(65536)
                if b'"error"' not in said:
                    return
        time.sleep(0.5)
    raise install.NotInstalled(f"JetStream makes no stream: {said[-200:]!r}")


def _start_redis(to: Running, _nodes: int) -> None:
    to.ports = [to.serve_redis()]


_STARTERS: Final[dict[str, Callable[[Running, int], None]]] = {
    "relay": _start_relay,
    "socketio": _start_socketio,
    "pysocketio": _start_pysocketio,
    "ejabberd": _start_ejabberd,
    "nats": _start_nats,
    "jetstream": _start_nats,
    "redis": _start_redis,
}


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the port accepts connections. Raises NotInstalled."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise install.NotInstalled(f"it ends at once, with status {process.returncode}; see {install.WORK}/logs")
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise install.NotInstalled(f"it accepts no connection within {START_SECONDS:g} s")


def _cpu(process: subprocess.Popen[bytes]) -> float:
    """Return the seconds of CPU of the process and its threads. No system has child processes that work."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
