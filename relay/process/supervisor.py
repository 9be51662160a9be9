"""Runs several nodes on this machine, each in its own process, on one Redis.

With `relay up` they start and end together. With `relay node --workers` they share the ports, and one that ends is
replaced.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import structlog
from anyio.abc import ByteReceiveStream, Process, TaskGroup

from relay import logs
from relay.configuration import options
from relay.configuration.config import Config, ConfigError, StartError
from relay.net import listeners
from relay.process import embedded_redis, parent_guard, skip_ignored_signals, standard_streams, systemd_notify
from relay.process.standard_streams import OutputLost

log = structlog.get_logger()

MAX_NODES: Final = 64  # each is a whole process; more would only overload the machine
MAX_WORKERS: Final = 64  # far more than a machine has cores
REPLACE_SECONDS: Final = 0.5  # the pause before a worker is replaced, because the next one may end at once, too
STOP_SECONDS: Final = 10.0  # for a node to end once it has drained; longer than the node's own limit
_COMPLAINT: Final = "relay: "  # begins the line of a node that can't start
_ANY_ADDRESS: Final = ("127.0.0.1", "0.0.0.0", "::", "::1")


def plan(first: Config, nodes: int) -> list[Config]:
    """Return the settings of each node: its own name, and ports that rise by one from node to node (0 stays 0).

    Raises ConfigError, also if a port would be too high.
    """
    if not 1 <= nodes <= MAX_NODES:
        raise ConfigError(f"--nodes must be between 1 and {MAX_NODES}, not {nodes}")
    # On its own Redis a short name is unique. On a shared Redis, another machine's `relay up` may have an n1, too.
    stem = "n" if first.redis is None else f"{first.name}-n"

    def up(port: int | None, by: int) -> int | None:
        return port + by if port else port

    return [
        replace(
            first,
            name=f"{stem}{number + 1}",
            port=up(first.port, number) or 0,
            classic_port=up(first.classic_port, number),
            http_port=up(first.http_port, number),
            siblings=tuple(first.port + other for other in range(nodes) if first.port and other != number),
        )
        for number in range(nodes)
    ]


def plan_workers(node: Config, workers: int) -> list[Config]:
    """Return the settings of `workers` workers, which share the node's client ports and have their own HTTP ports.

    Raises ConfigError.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise ConfigError(f"--workers must be between 1 and {MAX_WORKERS}, not {workers}")
    return [
        replace(
            node,
            name=f"{node.name}-w{number + 1}",
            http_port=node.http_port + number if node.http_port else node.http_port,
            share_ports=True,
        )
        for number in range(workers)
    ]


def run_workers(node: Config, workers: int) -> int:
    """Run workers of a node as `run` does, but replace one that ends by itself after it has listened."""
    plan_workers(node, workers)  # refuses an invalid count before a port is opened
    with listeners.reserved(node) as reserved:
        return run(plan_workers(reserved, workers), replacing=True)


def run(configs: Sequence[Config], *, replacing: bool = False) -> int:
    """Run the nodes until SIGTERM, SIGHUP or Ctrl-C, and return the exit status. Call it from the main thread.

    If the nodes have files to reload, or a service manager runs this process, SIGHUP reloads instead. SIGHUP and Ctrl-C
    have no effect if they were ignored at the start, as by `nohup`. A Ctrl-C before the signal handlers are installed
    raises KeyboardInterrupt.

    A node that ends by itself ends all of them, with status 1. If this process is killed, even with SIGKILL, the nodes
    and the embedded server are killed, too.

    Raises:
        StartError: a node ended by itself and had never listened.
    """
    with embedded_redis.server_unless(configs[0].redis) as url:
        cluster = _Cluster([replace(config, redis=url) for config in configs], replacing)
        anyio.run(cluster.run)
    if cluster.complaint:
        raise StartError(cluster.complaint)
    return 1 if cluster.failed else 0


class _Cluster:
    """The node processes of one `relay up`, or the workers of one node, which are replaced (`replacing`)."""

    def __init__(self, configs: Sequence[Config], replacing: bool) -> None:
        self.complaint = ""  # why a node couldn't start
        self.failed = False
        self._configs = configs
        self._replacing = replacing
        self._processes: dict[str, Process] = {}
        self._addresses: dict[str, str] = {}  # the addresses of the nodes that listen, by name
        self._stopping = False

    async def run(self) -> None:
        """Run every node to its end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_at_signal, tasks)
            async with anyio.create_task_group() as nodes:
                for config in self._configs:
                    nodes.start_soon(self._run_node, config, tasks)
            tasks.cancel_scope.cancel()

    async def _run_node(self, config: Config, tasks: TaskGroup) -> None:
        while True:
            status, complaint = await self._run_once(config)
            if self._stopping:
                return
            if status == 0 and not self._replacing:
                log.info("node has ended as it was told, the others go on", node=config.name)
                return
            if not self._replacing or config.name not in self._addresses:
                self._lost(config.name, status, complaint)
                self._stop(tasks)
                return
            log.error("worker ended by itself, replacing it", node=config.name, status=status, complaint=complaint)
            await anyio.sleep(REPLACE_SECONDS)
            if self._stopping:
                return

    async def _run_once(self, config: Config) -> tuple[int, str]:
        """Run a node to its end. Returns its exit status, and its error message if it couldn't start."""
        try:
            process = await _start(config)
        except OSError as error:  # processes, memory or descriptors are short, but the other nodes go on
            return 1, f"can't be started: {error.strerror or error}"
        self._processes[config.name] = process
        if self._stopping:  # it was being started when all other nodes got the signal
            _signal(process, signal.SIGTERM)
        complaint = ""
        async with process:
            assert process.stderr is not None
            async for line in _lines(process.stderr):
                if line.startswith(_COMPLAINT):
                    complaint = line.removeprefix(_COMPLAINT)
                else:
                    logs.pass_on(line)
                    self._notice(config.name, line)
            status = await process.wait()
        del self._processes[config.name]
        return status, complaint

    def _notice(self, name: str, line: str) -> None:
        address = logs.listening(line)
        if not address or name in self._addresses:
            return
        self._addresses[name] = address
        if len(self._addresses) < len(self._configs):
            return
        systemd_notify.ready(f"{len(self._configs)} nodes serve")
        if not self._replacing:
            _invite(_invitation([self._addresses[config.name] for config in self._configs], self._configs[0]))

    def _lost(self, name: str, status: int, complaint: str) -> None:
        self.failed = True
        if complaint and name not in self._addresses:
            self.complaint = f"node {name}: {complaint}"
        else:
            log.error("node ended by itself, ending all", node=name, status=status, complaint=complaint)

    async def _stop_at_signal(self, tasks: TaskGroup) -> None:
        with anyio.open_signal_receiver(*self._heeded()) as heard:
            async for received in heard:
                if received is signal.SIGHUP and self._reloads:
                    self._reload()
                    continue
                if self._stopping:  # a second signal: the operator doesn't want to wait
                    self._kill()
                self._stop(tasks)

    @property
    def _reloads(self) -> bool:
        """Whether SIGHUP reloads files instead of ending the nodes. Only this process knows the service manager."""
        return self._configs[0].reloads or systemd_notify.managed()

    def _reload(self) -> None:
        """Forward SIGHUP to the nodes. Each node logs whether its reload succeeded."""
        up = len(self._addresses) == len(self._configs)
        if up:
            systemd_notify.reloading()
        if self._configs[0].reloads:
            for process in self._processes.values():
                _signal(process, signal.SIGHUP)
        else:
            log.info("there are no files to read again")
        if up:
            systemd_notify.ready(f"{len(self._configs)} nodes serve")

    def _heeded(self) -> list[signal.Signals]:
        """Return the signals to handle. SIGHUP is handled even under `nohup` if it reloads files."""
        if self._reloads:
            return [signal.SIGTERM, signal.SIGHUP, *skip_ignored_signals.unless_ignored(signal.SIGINT)]
        return [signal.SIGTERM, *skip_ignored_signals.unless_ignored(signal.SIGINT, signal.SIGHUP)]

    def _stop(self, tasks: TaskGroup) -> None:
        if not self._stopping:
            self._stopping = True
            systemd_notify.stopping()
            for process in self._processes.values():
                _signal(process, signal.SIGTERM)
            tasks.start_soon(self._kill_late)

    async def _kill_late(self) -> None:
        await anyio.sleep(self._configs[0].drain + STOP_SECONDS)
        log.error("killing nodes that don't end", nodes=", ".join(self._processes))
        self._kill()

    def _kill(self) -> None:
        for process in self._processes.values():
            _signal(process, signal.SIGKILL)


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the process has just ended
        process.send_signal(number)


async def _start(config: Config) -> Process:
    """Start a node that dies with this process. Its arguments have all settings but the URL, which may have a password.

    Raises OSError.
    """
    # Only this process reports to the service manager, for all nodes.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_") and k != systemd_notify.VARIABLE}
    return await anyio.open_process(
        parent_guard.command([sys.executable, "-P", "-m", "relay", "node", *options.arguments(config)]),
        stdin=subprocess.PIPE,  # the watchdog's lifeline
        stdout=None,
        stderr=subprocess.PIPE,
        env=environment | {"RELAY_REDIS_URL": config.redis or ""},
        start_new_session=True,  # a Ctrl-C in the terminal goes to this process, which stops all nodes
    )


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[str]:
    rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="backslashreplace")
    if rest:
        yield rest.decode(errors="backslashreplace")


def _invite(text: str) -> None:
    """Print the text. A full disk or a closed pipe doesn't end the cluster."""
    try:
        print(text, flush=True)
    except OutputLost as error:
        standard_streams.give_up_output()
        log.warning("can't show how to connect: standard output can't be written", error=str(error))


def _invitation(addresses: Sequence[str], config: Config) -> str:
    """Return the commands to type in two other terminals to chat across the first and the last node."""
    (host, port), (other_host, other_port) = (_host_and_port(address) for address in (addresses[0], addresses[-1]))
    tls = " --tls" if config.tls_cert is not None else ""  # a private CA needs --ca, too
    client, bare = _client_command(), "openssl s_client -quiet -connect {}:{}" if tls else "nc {} {}"
    first, last = (f"{bare.format(*where):<24}" for where in ((host, port), (other_host, other_port)))
    token = " TOKEN" if config.auth_jwt_key is not None else ""
    count = "1 node is" if len(addresses) == 1 else f"{len(addresses)} nodes are"
    scheme = "https" if tls else "http"
    page = (
        f"\nIn a browser: {scheme}://{host}:{port}/ and {scheme}://{other_host}:{other_port}/\n" if config.page else ""
    )
    return f"""
{count} up: {", ".join(addresses)}. To chat, in two other terminals:

    {client} alice{tls} --server {host}:{port}
    {client} bob --to alice{tls} --server {other_host}:{other_port}

or without any client:

    {first} then type: alice{token}
    {last} then type: bob{token}, To:alice and whatever you like, each on a line of its own
{page}
Ctrl-C ends everything.
"""


def _host_and_port(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return ("localhost" if host in _ANY_ADDRESS else host), port


def _client_command() -> str:
    """Return `pairchat`, or its path if it isn't on PATH (a virtual environment that isn't activated)."""
    beside = Path(sys.executable).parent / "pairchat"
    if shutil.which("pairchat") or not beside.exists():
        return "pairchat"
    with suppress(OSError):  # raised if the working directory has been deleted
        return os.path.relpath(beside)
    return str(beside)
