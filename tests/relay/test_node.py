"""A node's own reports: whether new clients may come, `/metrics`, and the report for `relay status`."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from structlog.testing import capture_logs

from relay import node as node_module
from relay.bus.reliable_link import unpack
from relay.clock import clock, clocks
from relay.configuration.config import Config
from relay.node import Node
from relay.process import systemd_notify
from relay.process.operating_system import OperatingSystem
from relay.protocol.errors import Reason
from relay.session.peer_messages import Text
from relay.tasks import restart
from relay.tasks.restart import RestartedTasks
from tests.relay.bus_desk import Publisher
from tests.relay.desk import until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

UID = "1" * 16
TEXT = Text("ann", "c1", 1, 1, 0, 1.0, ["hi"])
LEASE = 5.0
# All tasks that a node runs for ever. "reload" only reads files again, and doesn't run without any.
TASKS = [
    "http",
    "redis",
    "bus",
    "lease",
    "peers",
    "shards",
    "sweep",
    "memory",
    "links",
    "heap",
    "clients",
    "windows",
    "loop",
    "report",
    "port",
]


class Parts:
    """A node that serves clients, holds its lease and hears itself; nothing of it runs."""

    # private: a node that doesn't run shows its parts to nobody else
    def __init__(self, tasks: TaskGroup) -> None:
        self.config = Config(redis="redis://127.0.0.1:1", lease=LEASE, max_connections=3)
        self.node = node = Node(self.config)
        node._assemble(UID, tasks)
        self.redis_client, self.lease, self.bus, self.hub = node._redis_client, node._lease, node._bus, node._hub
        self.admission, self.publishing, self.echo_probe = node._admission, node._bus._publishing, node._bus._echo_probe
        self.reporter, self.why_not_ready, self.read = node._reporter, node._why_not_ready, node._read
        self.report = node._reporter._report
        node.serving = self.hub.control_messages.serving = True
        self.lease.incarnation, self.lease.deadline = 1, clock() + LEASE
        self.publisher = Publisher()
        self.publishing._publisher = self.publisher
        self.publishing.answered(1)
        self.echo_probe.anew()
        self.echo()

    def echo(self) -> None:
        """The last probe comes back."""
        self.echo_probe.echo(unpack(self.publisher.probes[-1][2]).number)


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    async with anyio.create_task_group() as tasks:
        yield Parts(tasks)


def lose_lease(parts: Parts) -> None:
    parts.lease.deadline = clock()


def wait(parts: Parts) -> None:
    begin_again(parts)
    parts.node._waits = "no answer from redis:1"  # private: else it would have to wait for a server


def be_silent(parts: Parts) -> None:
    lose_lease(parts)
    parts.lease.why = "Timeout connecting to redis:1"


def be_misconfigured(parts: Parts) -> None:
    lose_lease(parts)
    parts.lease.why = "redis:1: MISCONF Redis is configured to save"


def be_full(parts: Parts) -> None:
    parts.lease.refused = "OOM command not allowed"


def go_deaf(parts: Parts) -> None:
    parts.echo_probe.doubt()


def refuse(parts: Parts) -> None:
    parts.publishing.answered(Exception("NOPERM"))
    parts.echo()


def begin_again(parts: Parts) -> None:
    parts.node.serving = parts.hub.control_messages.serving = False


def drain(parts: Parts) -> None:
    parts.node._stopping = True  # private: else it would have to run


def fill(parts: Parts) -> None:
    parts.admission.open = 3


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (lambda parts: None, ""),
        (begin_again, "starting: waiting for Redis"),
        (wait, "starting: waiting for Redis: no answer from redis:1"),
        (lose_lease, "no lease: Redis is away"),
        (be_silent, "no lease: Redis is away: Timeout connecting to redis:1"),
        (be_misconfigured, "no lease: Redis refuses: redis:1: MISCONF Redis is configured to save"),
        (be_full, "no new names: Redis at redis:1 refuses new data: OOM command not allowed"),
        (go_deaf, "deaf: not subscribed yet"),
        (refuse, "can't publish: redis:1 refuses: NOPERM"),
        (drain, "draining"),
        (fill, "as many connections as there may be"),
    ],
)
async def test_each_trouble_alone_keeps_new_clients_away(
    parts: Parts, trouble: Callable[[Parts], None], why: str
) -> None:
    trouble(parts)
    assert parts.why_not_ready() == why
    reading = await parts.read()
    assert reading.ready is (why == "")
    assert parts.report().trouble == why


async def test_metrics_are_told_of_lease_bus_and_memory(parts: Parts) -> None:
    parts.hub.memory_budget.share_out([100, 200])
    parts.bus.post("2" * 16, TEXT)
    reading = await parts.read()
    assert (reading.node, reading.lease, reading.hearing, reading.redis) == (parts.config.name, True, True, True)
    assert (reading.memory, reading.waiting) == (300, 1)
    assert 0 <= reading.lease_age < LEASE
    parts.lease.deadline -= 2 * LEASE
    go_deaf(parts)
    parts.redis_client._shard("").answering = False  # private: else it would have to be asked in vain for a second
    reading = await parts.read()
    assert (reading.lease, reading.hearing, reading.redis) == (False, False, False)
    assert 2 * LEASE <= reading.lease_age < 3 * LEASE


async def test_a_report_tells_rates_since_the_one_before(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, passed, monotonic = parts.hub.counts, 0.0, clocks.monotonic
    monkeypatch.setattr(clocks, "monotonic", lambda: monotonic() + passed)
    parts.report()
    passed += 10.0
    counts.accepted, counts.delivered = 200, 100
    counts.unconfirmed[Reason.LEFT], counts.unconfirmed[Reason.LOST] = 2, 3
    parts.hub.memory_budget.share_out([4096])
    report = parts.report()
    assert report.received == pytest.approx(20.0, rel=0.1)
    assert report.delivered == pytest.approx(10.0, rel=0.1)
    assert (report.unconfirmed, report.memory, report.lease) == (5, 4096, LEASE)
    passed += 10.0
    report = parts.report()
    assert (report.received, report.delivered) == (0.0, 0.0)


async def test_no_task_of_a_node_that_fails_ends_it(
    redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them fails once, as a task with its own task group does. Then a user logs in."""
    monkeypatch.setattr(restart, "AGAIN_SECONDS", 0.01)
    start, failed = RestartedTasks.start, list[str]()

    def start_failing(self: RestartedTasks, name: str, task: Callable[..., Awaitable[None]], *about: Any) -> None:
        async def fail_at_first() -> None:
            if name not in failed:
                failed.append(name)
                raise ExceptionGroup("in its group", [OSError(24, "Too many open files")])
            await task(*about)

        start(self, name, fail_at_first)

    monkeypatch.setattr(RestartedTasks, "start", start_failing)
    node = Node(Config(redis=redis_server.url, prefix=prefix, port=0, http_port=0))
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.run)
            await until(lambda: any(line["event"] == "listening" for line in lines) and len(failed) == len(TASKS))
            (said,) = (line for line in lines if line["event"] == "listening")
            host, _, port = said["address"].rpartition(":")
            async with await anyio.connect_tcp(host, int(port)) as client:
                await client.send(b"alice\n")
                assert await client.receive() == b"OK\n"
                node._told.set()  # private: as a signal does, which would end this process
                assert await client.receive() == b"* This node is going away; please reconnect.\n"
    assert sorted(failed) == sorted(TASKS)
    assert sorted(line["task"] for line in lines if line["log_level"] == "error") == sorted(TASKS)


# private: this is one step of its start, and the next one needs a server
async def test_a_node_that_does_not_hear_itself_at_the_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "PATIENCE_SECONDS", 0.001)
    node = Node(Config(redis="redis://127.0.0.1:1"))
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            node._assemble(UID, tasks)
            tasks.start_soon(node._hear_ourselves)
            await until(lambda: lines)
            node._bus.ready.set()
    assert lines[0]["error"] == "can't publish: not connected yet"


class Signals(OperatingSystem):
    """Gives a node the signals of a test instead of those of this process."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[signal.Signals](9)

    def raise_signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._send.send_nowait(number)

    @contextmanager
    def signals(self, *numbers: signal.Signals) -> Iterator[AsyncIterator[signal.Signals]]:
        with self._send, self._receive:
            yield self._receive

    def spare_the_collector(self) -> None:
        """Do nothing, because the collector is the test's too."""


async def test_a_second_signal_ends_a_node_that_drains(redis_server: RedisServer, prefix: str) -> None:
    """An operator who doesn't want to wait for clients that don't move says so with another Ctrl-C."""
    operating_system = Signals()
    config = Config(redis=redis_server.url, prefix=prefix, port=0, http_port=None, drain=3600.0)
    ended = anyio.Event()

    async def run() -> None:
        await Node(config, operating_system).run()
        ended.set()

    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await until(lambda: any(line["event"] == "listening" for line in lines))
            (said,) = (line for line in lines if line["event"] == "listening")
            host, _, port = said["address"].rpartition(":")
            async with await anyio.connect_tcp(host, int(port)) as client:
                await client.send(b'{"type":"hello","name":"alice"}\n')
                assert b'"welcome"' in await client.receive()
                operating_system.raise_signal()
                assert b'"moving"' in await client.receive()
                await client.send(b'{"type":"ping"}\n')
                assert b'"pong"' in await client.receive()
                operating_system.raise_signal()
                await ended.wait()
    assert "stopped" not in [line["event"] for line in lines]


# private: a step of its start
async def test_a_node_without_a_server_for_any_of_its_ids_goes_on_with_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_module, "DRAWS", 3)
    async with anyio.create_task_group() as tasks:
        node = Parts(tasks).node
        node._choose_node_id(set(), tasks)
        assert len(node.hub.node_id) == len(UID)
        assert node.hub.node_id != UID


# private: a step of a node that runs until it is told to end
@pytest.mark.parametrize(("serving", "told"), [(False, []), (True, ["reloading", "ready"])])
async def test_the_service_manager_is_told_of_a_reload_unless_the_node_has_not_started_yet(
    serving: bool, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ready` would end the start, although the node waits for Redis."""
    said = list[str]()
    monkeypatch.setattr(systemd_notify, "reloading", lambda: said.append("reloading"))
    monkeypatch.setattr(systemd_notify, "ready", lambda status: said.append("ready"))
    operating_system = Signals()
    node = Node(Config(redis="redis://127.0.0.1:1"), operating_system)
    node.serving = serving
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            operating_system.raise_signal(signal.SIGHUP)
            operating_system.raise_signal(signal.SIGHUP)
            tasks.start_soon(node._reload_when_told)
            await until(lambda: len(lines) == 2)
            await until(lambda: said == 2 * told)
            tasks.cancel_scope.cancel()
    assert {line["event"] for line in lines} == {"there are no files to read again"}


# private: a step of its end
async def test_a_node_whose_last_messages_nobody_takes_gives_its_lease_back_all_the_same(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "STOP_SECONDS", 3 * node_module.STOP_POLL_SECONDS)
    ended = list[str]()

    async def end() -> None:
        ended.append("lease")

    async def withdraw() -> None:
        ended.append("report")

    monkeypatch.setattr(parts.lease, "end", end)
    monkeypatch.setattr(parts.reporter, "withdraw", withdraw)
    monkeypatch.setattr(parts.bus, "announce", lambda kind: ended.append(kind.name))
    parts.bus.post("2" * 16, TEXT)
    await parts.node._stop()
    assert not parts.bus.quiet
    assert ended == ["lease", "report", "FAREWELL"]


# private: only the loop of a node calls it
async def test_a_connection_that_breaks_while_it_is_given_up_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    loop, future = asyncio.get_running_loop(), "a future"
    with capture_logs() as lines:
        node_module._stray(loop, {"message": "never retrieved", "future": future, "exception": ConnectionResetError()})
    assert [line["log_level"] for line in lines] == ["debug"]
    assert not caplog.records
    for context in ({"future": future, "exception": ValueError()}, {"exception": ConnectionResetError()}, {}):
        node_module._stray(loop, {"message": "a defect", **context})
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
