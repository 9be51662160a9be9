"""Several nodes on this machine, each a process of its own, on one server.

`relay up`: they start and end together. `relay node --workers`: they share the ports, and one that ends is replaced.
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

from relay import logs, options
from relay.config import Config, ConfigError, StartError
from relay.net import listeners
from relay.process import embedded_redis, parent_guard, signals, standard_streams, systemd_notify
from relay.process.standard_streams import OutputLost

log = structlog.get_logger()

MAX_NODES: Final = 64  # more would only take the machine down; a node is a whole process
MAX_WORKERS: Final = 64  # likewise; far more than there are cores
REPLACE_SECONDS: Final = 0.5  # pause before a worker that ended is replaced: it may end again at once
STOP_SECONDS: Final = 10.0  # for a node to end once it has drained; longer than it gives itself
_COMPLAINT: Final = "relay: "  # the line of a node that can't start
_ANY_ADDRESS: Final = ("127.0.0.1", "0.0.0.0", "::", "::1")


def plan(first: Config, nodes: int) -> list[Config]:
    """Return the settings of that many nodes: names of their own, and each port (0 stays 0) one up from node to node.

    Raises ConfigError, for a port that counts up past the end too.
    """
    if not 1 <= nodes <= MAX_NODES:
        raise ConfigError(f"--nodes must be between 1 and {MAX_NODES}, not {nodes}")
    # On a Redis of its own a short name can't be taken; on a shared one another machine's `relay up` has an n1 too.
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
        )
        for number in range(nodes)
    ]


def plan_workers(node: Config, workers: int) -> list[Config]:
    """Return the settings of that many workers of a node whose ports they share; an HTTP port is each one's own.

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
    """Run that many workers of a node as `run` does, but replace one that ends by itself once it has listened."""
    plan_workers(node, workers)  # refuses a count that can't work before a port is touched
    with listeners.reserved(node) as settled:
        return run(plan_workers(settled, workers), replacing=True)


def run(configs: Sequence[Config], *, replacing: bool = False) -> int:
    """Run the nodes until SIGTERM, SIGHUP or Ctrl-C, and return the exit status. Call it from the main thread.

    Where nodes have files to read again, SIGHUP has them do that instead.

    A Ctrl-C before it listens for signals raises KeyboardInterrupt. SIGHUP and Ctrl-C mean nothing where they were
    ignored at the start, as by `nohup`.

    A node that ends by itself ends all of them: StartError if it never listened, else status 1. Should this process
    be killed, SIGKILL included, the nodes and the embedded server are killed too.
    """
    with embedded_redis.server_unless(configs[0].redis) as url:
        cluster = _Cluster([replace(config, redis=url) for config in configs], replacing)
        anyio.run(cluster.run)
    if cluster.complaint:
        raise StartError(cluster.complaint)
    return 1 if cluster.failed else 0


class _Cluster:
    """The node processes of one `relay up`, or the workers of one node. `replacing`: a lost one gets a successor."""

    def __init__(self, configs: Sequence[Config], replacing: bool) -> None:
        self.complaint = ""  # why a node couldn't start
        self.failed = False
        self._configs = configs
        self._replacing = replacing
        self._processes: dict[str, Process] = {}
        self._addresses: dict[str, str] = {}  # of the nodes that listen, by name
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
        """Run a node to its end: its status, and what it complained about if it couldn't start."""
        try:
            process = await _start(config)
        except OSError as error:  # no process, memory or descriptor left: the other nodes go on
            return 1, f"can't be started: {error.strerror or error}"
        self._processes[config.name] = process
        if self._stopping:  # it was being started when all others were told
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
                if self._stopping:  # asked twice: somebody is in a hurry
                    self._kill()
                self._stop(tasks)

    @property
    def _reloads(self) -> bool:
        """Whether SIGHUP has files read again, and ends nothing; a node knows nothing of the service manager."""
        return self._configs[0].reloads or systemd_notify.managed()

    def _reload(self) -> None:
        """Pass it on; each node says in the log what came of it."""
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
        """Those that mean something here. Being asked to read files again is nothing that `nohup` is meant against."""
        if self._reloads:
            return [signal.SIGTERM, signal.SIGHUP, *signals.unless_ignored(signal.SIGINT)]
        return [signal.SIGTERM, *signals.unless_ignored(signal.SIGINT, signal.SIGHUP)]

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
    with suppress(ProcessLookupError):  # it has just ended
        process.send_signal(number)


async def _start(config: Config) -> Process:
    """Start a node that dies with this process. Its arguments tell it all but the URL, which may hold a password."""
    # To a service manager this process speaks for all of them.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RELAY_") and k != systemd_notify.VARIABLE}
    return await anyio.open_process(
        parent_guard.command([sys.executable, "-P", "-m", "relay", "node", *options.arguments(config)]),
        stdin=subprocess.PIPE,  # the watchdog's lifeline
        stdout=None,
        stderr=subprocess.PIPE,
        env=environment | {"RELAY_REDIS_URL": config.redis or ""},
        start_new_session=True,  # a Ctrl-C in the terminal comes through us, and to all of them at once
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
    """Show it. A full disk, or nobody who reads, is no reason to end a cluster."""
    try:
        print(text, flush=True)
    except OutputLost as error:
        standard_streams.give_up_output()
        log.warning("can't show how to connect: standard output can't be written", error=str(error))


def _invitation(addresses: Sequence[str], config: Config) -> str:
    """What to type, in two other terminals, to chat across the first and the last node."""
    (host, port), (other_host, other_port) = (_host_and_port(address) for address in (addresses[0], addresses[-1]))
    tls = " --tls" if config.tls_cert is not None else ""  # and --ca, where it isn't one that everybody trusts
    client, bare = _client_command(), "openssl s_client -quiet -connect {}:{}" if tls else "nc {} {}"
    first, last = (f"{bare.format(*where):<24}" for where in ((host, port), (other_host, other_port)))
    token = " TOKEN" if config.auth_jwt_key is not None else ""
    count = "1 node is" if len(addresses) == 1 else f"{len(addresses)} nodes are"
    return f"""
{count} up: {", ".join(addresses)}. To chat, in two other terminals:

    {client} alice{tls} --server {host}:{port}
    {client} bob --to alice{tls} --server {other_host}:{other_port}

or without any client:

    {first} then type: alice{token}
    {last} then type: bob{token}, To:alice and whatever you like, each on a line of its own

Ctrl-C ends everything.
"""


def _host_and_port(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return ("localhost" if host in _ANY_ADDRESS else host), port


def _client_command() -> str:
    """`pairchat`, by its path if typing that alone wouldn't find it (a virtual environment that isn't activated)."""
    beside = Path(sys.executable).parent / "pairchat"
    if shutil.which("pairchat") or not beside.exists():
        return "pairchat"
    with suppress(OSError):  # the working directory has been deleted
        return os.path.relpath(beside)
    return str(beside)
