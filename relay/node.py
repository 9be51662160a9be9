"""The composition root: it puts one node together, starts it, serves and stops it."""

import asyncio
import importlib.util
import re
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup

from relay import logs
from relay.bus.bus import Bus
from relay.bus.reliable_link import Kind
from relay.configuration.config import Config, ConfigError, StartError, one_start_error, redact
from relay.directory.directory import Directory, Lease, Unavailable
from relay.entropy import entropy
from relay.hub import periodic_checks
from relay.hub.hub import Hub
from relay.logs import Spell
from relay.metrics import Counts
from relay.net import listeners, tcp_health
from relay.net.fd_guard import Port, raise_limit
from relay.net.tls_transport import server_context
from relay.observe import loop_lag, session_stats
from relay.observe.probe_server import Probes
from relay.observe.prometheus_page import PrometheusPage, Reading
from relay.observe.status_publisher import StatusPublisher
from relay.process import systemd_notify
from relay.process.operating_system import OperatingSystem
from relay.process.skip_ignored_signals import unless_ignored
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import Keys
from relay.server.admission import Admission, AdmissionLimits
from relay.server.auth import Authenticator
from relay.session.drain import Drain
from relay.session.runtime_interface import Limits
from relay.tasks.restart import RestartedTasks
from relay.web import page_files
from relay.web.forwarded import TrustedProxies
from relay.web.origins import OriginRules
from relay.web.responder import HttpResponder

# The pause between tries to reach Redis at the start, and how long the first echo may take before the log says so.
WAIT_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 2.0
# The number of node ids tried until one has its keys on servers that are there. If two of three are, nearly every
# second id does.
DRAWS: Final = 1000
# How long a node that stops may spend on releasing names and on its last messages.
STOP_SECONDS: Final = 3.0
STOP_POLL_SECONDS: Final = 0.01
# The interval at which a draining node checks all its sessions, which takes some milliseconds if there are many.
DRAIN_POLL_SECONDS: Final = 0.1
MEBIBYTE: Final = 1024 * 1024
# The number of connections that may wait to be accepted. The kernel may allow fewer.
BACKLOG: Final = 4096

# The beginning of a server's error reply, perhaps after its address: OOM, READONLY, MISCONF.
_REFUSAL: Final = re.compile(r"(?:^|: )[A-Z]{3,} ")

log = structlog.get_logger()


def main(config: Config) -> None:
    """Run a node until SIGTERM or SIGINT. Raises StartError."""
    raise_limit()
    uvloop = importlib.util.find_spec("uvloop") is not None
    with one_start_error():
        anyio.run(Node(config).run, backend_options={"use_uvloop": uvloop})


class Node:
    """A node with its parts, and its life cycle."""

    def __init__(self, config: Config, operating_system: OperatingSystem | None = None) -> None:
        assert config.redis is not None
        self._config = config
        self._operating_system = operating_system or OperatingSystem()
        self._keys = Keys(config.prefix)
        self._counts = Counts()
        self._redis_client = RedisClient(config.redis, self._counts, config.redis_password_file)
        self._auth = _authenticator(config)
        self._context = _context(config)
        self._loopback = True
        self._told = anyio.Event()  # is set when the node is told to stop
        self._reloads: list[tuple[str, Callable[[], None]]] = []  # names for the log, and calls that read files again
        if self._auth is not None:
            self._reloads.append((str(config.auth_jwt_key), self._auth.reload))
        if config.tls_cert is not None:
            self._reloads.append((str(config.tls_cert), self._renew_certificate))
        if self._redis_client.files:
            self._reloads.append((self._redis_client.files, self._redis_client.renew))
        self.serving = False  # the node has started, and accepts clients
        self._stopping = False
        self._waits = ""  # the reason why the node can't start yet
        self._waiting = Spell("waiting for redis", "redis is there")

    @property
    def hub(self) -> Hub:
        """The hub with all sessions. It exists once the node serves."""
        return self._hub

    def _assemble(self, node_id: str, tasks: TaskGroup) -> None:
        """Make the parts that depend on the node's id. None of them runs yet."""
        config = self._config
        self._node_id = node_id
        self._lease = Lease(self._redis_client, self._keys, node_id, config.lease, self._counts)
        self._hub = Hub(
            node_id,
            config.name,
            _limits(config),
            tasks,
            directory=partial(Directory, self._redis_client, self._keys, self._lease),
            bus=partial(
                Bus,
                self._redis_client,
                self._keys,
                node_id,
                lease=self._lease,
                counts=self._counts,
                gather=config.gather / 1000,
            ),
            drain=self._told.set,
            memory=config.memory * MEBIBYTE,
            counts=self._counts,
            general_way=config.general_way,
            verify_token=self._auth.vouches if self._auth is not None else None,
        )
        self._directory, self._bus, self._control_messages = (
            self._hub.directory,
            self._hub.bus,
            self._hub.control_messages,
        )
        self._admission = Admission(self._hub, _terms(config), self._context, _responder(config, self._loopback))
        self._reporter = StatusPublisher(
            config, node_id, self._redis_client, self._keys, hub=self._hub, trouble=self._why_not_ready
        )

    async def run(self) -> None:
        """Start, serve and stop. Raises StartError, alone or in an exception group."""
        asyncio.get_running_loop().set_exception_handler(_stray)
        sockets = self._operating_system.bind(self._config)
        self._loopback = listeners.is_loopback(sockets["address"])
        try:
            reloads = self._config.reloads or systemd_notify.managed()
            ends = [signal.SIGINT] if reloads else [signal.SIGINT, signal.SIGHUP]
            with self._operating_system.signals(signal.SIGTERM, *unless_ignored(*ends)) as signals:
                async with anyio.create_task_group() as tasks:
                    self._assemble(entropy.token_hex(8), tasks)
                    try:
                        if reloads:
                            RestartedTasks(tasks).start("reload", self._reload_when_told)
                        await self._serve(sockets, signals, tasks)
                    finally:
                        self._hub.halt()
                    tasks.cancel_scope.cancel()
        finally:
            for sock in sockets.values():
                sock.close()
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await self._redis_client.aclose()

    async def _serve(
        self, sockets: dict[str, socket.socket], signals: AsyncIterator[signal.Signals], tasks: TaskGroup
    ) -> None:
        starting = anyio.CancelScope()

        async def wait_for_signal() -> None:
            await anext(signals)
            self._told.set()
            starting.cancel()
            await anext(signals)
            tasks.cancel_scope.cancel()  # a second signal stops the node at once

        tasks.start_soon(wait_for_signal)
        if "http" in sockets:  # starts before Redis is there, as a node that waits for it is alive
            probes = Probes(self._why_not_ready, PrometheusPage(self._read).page, lambda: self._redis_client.unwatched)
            RestartedTasks(tasks).start("http", probes.serve, sockets["http"])
        with starting:
            await self._start(tasks)
        if self._told.is_set():
            return
        self._operating_system.spare_the_collector()
        async with self._listening(sockets, tasks):
            await self._told.wait()
        await self._drain()
        await self._stop()

    # --- start

    async def _start(self, tasks: TaskGroup) -> None:
        """Subscribe, wait for the first echo, make missing partitions, and only then take the lease."""
        await self._reach_redis(tasks)
        await self._warn_of_eviction()
        restarted_tasks = RestartedTasks(tasks)
        restarted_tasks.start("redis", self._redis_client.run)
        restarted_tasks.start("bus", self._bus.run)
        await self._hear_ourselves()
        while True:
            try:
                await self._directory.found(self._control_messages.alone)
                await self._lease.take()  # comes last, as with long round trips the rest may take longer than a lease
                break
            except Unavailable as error:
                self._wait_for_redis(str(error))
                await anyio.sleep(WAIT_SECONDS)
        self._waiting.over()
        restarted_tasks.start("lease", self._lease.keep, self._hub.restore, self._hub.stand)
        peer_node_loss = self._hub.peer_node_loss
        restarted_tasks.start(
            "peers",
            self._directory.node_liveness.watch,
            peer_node_loss.watched,
            peer_node_loss.lost,
            peer_node_loss.back,
        )
        restarted_tasks.start(
            "shards", self._directory.data_loss.watch, self._control_messages.partitions_lost, self._hub.write_back
        )
        restarted_tasks.start("sweep", self._directory.sweep)
        restarted_tasks.start("memory", periodic_checks.share_out_memory, self._hub)
        restarted_tasks.start("links", periodic_checks.forget_lost_nodes, self._bus, self._directory.node_liveness)
        restarted_tasks.start("heap", self._operating_system.trim_heap)
        restarted_tasks.start("clients", periodic_checks.check_tcp_peers, self._hub, tcp_health.CHECK_SECONDS)
        restarted_tasks.start("windows", session_stats.watch_windows, self._hub, self._counts)
        restarted_tasks.start("loop", loop_lag.watch_loop, self._counts)
        restarted_tasks.start("report", self._reporter.run)

    def _wait_for_redis(self, why: str) -> None:
        self._waits = why
        self._waiting.again(url=redact(self._config.redis or ""), error=why)

    async def _reach_redis(self, tasks: TaskGroup) -> None:
        while True:
            try:
                return self._choose_node_id(await self._redis_client.check(), tasks)
            except Unavailable as error:
                self._wait_for_redis(str(error))
                await anyio.sleep(WAIT_SECONDS)

    def _choose_node_id(self, homes: set[str], tasks: TaskGroup) -> None:
        """Take a node id whose lease and inbox are on these servers, as others of a cluster may be away for long."""
        node_id = self._node_id
        for _ in range(DRAWS):
            if {self._redis_client.home(key(node_id)) for key in (self._keys.lease, self._keys.inbox)} <= homes:
                break
            node_id = entropy.token_hex(8)
        if node_id != self._node_id:
            self._assemble(node_id, tasks)

    async def _hear_ourselves(self) -> None:
        while not self._bus.ready.is_set():
            with anyio.move_on_after(PATIENCE_SECONDS):
                await self._bus.ready.wait()
                return
            self._wait_for_redis(self._bus.trouble)

    async def _warn_of_eviction(self) -> None:
        for policy in await self._redis_client.eviction() - {"noeviction"}:
            log.warning("redis may evict the directory: set maxmemory-policy noeviction", policy=policy)

    @asynccontextmanager
    async def _listening(self, sockets: dict[str, socket.socket], tasks: TaskGroup) -> AsyncIterator[None]:
        config, admission = self._config, self._admission
        opened = [
            Port(sock, partial(admission.arrive, classic=role == "classic"), BACKLOG)
            for role, sock in sockets.items()
            if role != "http"
        ]
        self.serving = self._control_messages.serving = True
        try:
            for port in opened:
                await port.open()
                RestartedTasks(tasks).start("port", port.reopen_for_ever)
        except OSError as error:
            raise StartError(f"can't listen: {error.strerror or error}") from None
        admission.descriptors.start(opened)
        addresses = {role: listeners.show(sock) for role, sock in sockets.items()}
        logs.always().info("listening", **addresses, node=config.name, redis=redact(config.redis or ""))
        systemd_notify.ready("serving")
        if config.tls_cert is None and not listeners.is_loopback(sockets["address"]):
            log.warning(
                "what clients say crosses the network unencrypted: set --tls-cert, or use a network of your own"
            )
        try:
            yield
        finally:
            admission.descriptors.start(())
            for port in opened:
                port.close()

    async def _reload_when_told(self) -> None:
        """Read the files for new connections again at each SIGHUP, until cancelled. A broken one changes nothing."""
        with self._operating_system.signals(signal.SIGHUP) as signals:
            async for _ in signals:
                serving = self.serving
                if serving:
                    systemd_notify.reloading()
                for file, reload in self._reloads:
                    await self._reload(file, reload)
                if not self._reloads:
                    log.info("there are no files to read again")
                if serving:
                    systemd_notify.ready("serving")

    async def _reload(self, file: str, reload: Callable[[], None]) -> None:
        try:
            await anyio.to_thread.run_sync(reload)
        except ConfigError as error:
            log.warning("not reloaded, the old one stays", error=str(error))
        else:
            log.info("reloaded", file=file)

    def _renew_certificate(self) -> None:
        self._context = self._admission.context = _context(self._config)

    def _why_not_ready(self) -> str:
        if self._stopping:
            return "draining"
        if not self.serving:
            return _with_reason("starting: waiting for Redis", self._waits)
        if not self._lease.standing:
            return _no_lease(self._lease.why)
        if self._bus.trouble:
            return self._bus.trouble
        if self._lease.refused:
            server = self._redis_client.home(self._keys.lease(self._node_id)) or self._bus.address
            return f"no new names: Redis at {server} refuses new data: {self._lease.refused}"
        return self._admission.why_full

    async def _read(self) -> Reading:
        """Return the state of this node for /metrics."""
        return Reading(
            node=self._config.name,
            counts=self._counts,
            tally=await session_stats.count(self._hub),
            ready=not self._why_not_ready(),
            redis=self._redis_client.answering and self._lease.incarnation > 0,
            hearing=self._bus.hearing,
            publishing=self._bus.publishing,
            links=self._bus.links,
            silent=self._bus.silent,
            unwatched=bool(self._redis_client.unwatched),
            writable=not self._lease.refused,
            waiting=len(self._bus.waiting()),
            lease=self._lease.standing,
            lease_age=self._lease.age,
            memory=self._hub.memory_budget.used,
        )

    # --- stop

    async def _drain(self) -> None:
        """Wait until the clients have moved to other nodes, for the configured time at most."""
        log.info("draining", node=self._config.name, seconds=self._config.drain)
        systemd_notify.stopping()
        self._stopping = self._admission.draining = True
        drain = Drain(self._hub.sessions, self._hub.open_tick)
        with anyio.move_on_after(self._config.drain):
            while not drain.poll():  # noqa: ASYNC110  no event tells when sessions come and go
                await anyio.sleep(DRAIN_POLL_SECONDS)

    async def _stop(self) -> None:
        """Release names, tell partners, and end the lease, so that no client has to wait for it to resume elsewhere."""
        log.info("stopping", node=self._config.name)
        self._admission.shut()
        self._hub.dismiss()
        for _ in range(round(STOP_SECONDS / STOP_POLL_SECONDS)):
            if self._hub.quiet and self._bus.quiet:
                break
            await anyio.sleep(STOP_POLL_SECONDS)
        with suppress(Unavailable):
            await self._lease.end()
            await self._reporter.withdraw()
        self._bus.announce(Kind.FAREWELL)
        log.info("stopped", node=self._config.name)


def _with_reason(what: str, why: str) -> str:
    return f"{what}: {why}" if why else what


def _no_lease(why: str) -> str:
    return _with_reason("no lease: Redis refuses" if _REFUSAL.search(why) else "no lease: Redis is away", why)


def _limits(config: Config) -> Limits:
    return Limits(
        grace=config.grace,
        lease=config.lease,
        name=config.name_time,
        max_line=config.max_line,
        window=config.window,
        window_bytes=config.window_bytes,
        calls=config.max_calls,
        lines=config.max_lines,
        bytes=config.max_bytes,
    )


def _terms(config: Config) -> AdmissionLimits:
    return AdmissionLimits(
        connections=config.max_connections,
        connections_per_address=config.max_connections_per_address,
        claims_per_address=config.max_claims,
        proxied=config.proxy_protocol,
    )


def _responder(config: Config, loopback: bool) -> HttpResponder:
    """Return the rules for browsers. `loopback`: the node listens on a loopback address."""
    rules = OriginRules(config.origin, loopback=loopback, siblings=config.siblings)
    page = page_files.load() if config.page else None
    return HttpResponder(
        rules, TrustedProxies(config.trusted_proxy), page, secure=config.tls_cert is not None, siblings=config.siblings
    )


def _authenticator(config: Config) -> Authenticator | None:
    """Return the verifier of tokens, or None if names need none. Raises ConfigError."""
    if config.auth_jwt_key is None:
        return None
    return Authenticator(
        config.auth_jwt_key,
        audience=config.auth_jwt_audience,
        issuer=config.auth_jwt_issuer,
        leeway=config.auth_jwt_leeway,
    )


def _context(config: Config) -> ssl.SSLContext | None:
    """Return the TLS context for clients, or None without TLS. Raises ConfigError."""
    if config.tls_cert is None or config.tls_key is None:
        return None
    return server_context(config.tls_cert, config.tls_key, config.tls_client_ca)


def _stray(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log stray errors. A connection to Redis that breaks while it is closed is no defect, but asyncio reports it."""
    if "future" in context and isinstance(context.get("exception"), OSError):
        log.debug("a connection broke while it was given up", error=str(context["exception"]))
    else:
        loop.default_exception_handler(context)
