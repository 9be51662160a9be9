"""What a node says of itself: whether new clients may come, what `/metrics` and `relay status` are told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from structlog.testing import capture_logs

from relay import node as node_module
from relay.clock import clock
from relay.config import Config
from relay.node import Node
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
# All that a node runs for ever; "reload" does nothing else and isn't run without files to read again.
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


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node that serves clients, holds its lease and hears itself; nothing of it runs."""
    async with anyio.create_task_group() as tasks:
        yield _serving(tasks)


def _serving(tasks: TaskGroup) -> Node:
    node = Node(Config(redis="redis://127.0.0.1:1", lease=LEASE, max_connections=3))
    node._assemble(UID, tasks)
    node._control_messages.serving = True
    node._lease.incarnation, node._lease.deadline = 1, clock() + LEASE
    node._bus._publishing._publisher = Publisher()
    node._bus._publishing.answered(1)
    node._bus._echo_probe.anew()
    node._bus._echo_probe.echo(node._bus._echo_probe._number)
    return node


def lose_lease(node: Node) -> None:
    node._lease.deadline = clock()


def wait(node: Node) -> None:
    begin_again(node)
    node._waits = "no answer from redis:1"


def be_silent(node: Node) -> None:
    lose_lease(node)
    node._lease.why = "Timeout connecting to redis:1"


def be_misconfigured(node: Node) -> None:
    lose_lease(node)
    node._lease.why = "redis:1: MISCONF Redis is configured to save"


def be_full(node: Node) -> None:
    node._lease.refused = "OOM command not allowed"


def go_deaf(node: Node) -> None:
    node._bus._echo_probe.doubt()


def refuse(node: Node) -> None:
    node._bus._publishing.answered(Exception("NOPERM"))
    node._bus._echo_probe.echo(node._bus._echo_probe._number)


def begin_again(node: Node) -> None:
    node._control_messages.serving = False


def drain(node: Node) -> None:
    node._stopping = True


def fill(node: Node) -> None:
    node._admission.open = 3


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (lambda node: None, ""),
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
async def test_each_trouble_alone_keeps_new_clients_away(node: Node, trouble: Callable[[Node], None], why: str) -> None:
    trouble(node)
    assert node._why_not_ready() == why
    reading = await node._read()
    assert reading.ready is (why == "")
    assert (node._reporter._report()).trouble == why


async def test_metrics_are_told_of_lease_bus_and_memory(node: Node) -> None:
    node._hub.memory_budget.look([100, 200])
    node._bus.post("2" * 16, TEXT)
    reading = await node._read()
    assert (reading.node, reading.lease, reading.hearing, reading.redis) == (node._config.name, True, True, True)
    assert (reading.memory, reading.waiting) == (300, 1)
    assert 0 <= reading.lease_age < LEASE
    node._lease.deadline -= 2 * LEASE
    go_deaf(node)
    node._redis_client._shard("").answering = False
    reading = await node._read()
    assert (reading.lease, reading.hearing, reading.redis) == (False, False, False)
    assert 2 * LEASE <= reading.lease_age < 3 * LEASE


async def test_a_report_tells_rates_since_the_one_before(node: Node) -> None:
    counts, reporter = node._hub.counts, node._reporter
    reporter._report()
    reporter._last -= 10.0
    counts.taken, counts.delivered = 200, 100
    counts.unconfirmed[Reason.LEFT], counts.unconfirmed[Reason.LOST] = 2, 3
    node._hub.memory_budget.look([4096])
    report = reporter._report()
    assert report.received == pytest.approx(20.0, rel=0.1)
    assert report.delivered == pytest.approx(10.0, rel=0.1)
    assert (report.unconfirmed, report.memory, report.lease) == (5, 4096, LEASE)
    reporter._last -= 10.0
    report = reporter._report()
    assert (report.received, report.delivered) == (0.0, 0.0)


async def test_no_task_of_a_node_that_fails_ends_it(
    redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them fails once, as one does that has tasks of its own; then somebody logs in."""
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
                node._told.set()
                assert await client.receive() == b"* This node is going away; please reconnect.\n"
    assert sorted(failed) == sorted(TASKS)
    assert sorted(line["task"] for line in lines if line["log_level"] == "error") == sorted(TASKS)


async def test_a_node_that_does_not_hear_itself_at_the_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "PATIENCE_SECONDS", 0.001)
    node = Node(Config(redis="redis://127.0.0.1:1"))
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            node._assemble(UID, tasks)
            tasks.start_soon(node._hear_ourselves)
            await until(lambda: lines)
            node._bus._echo_probe.ready.set()
    assert lines[0]["error"] == "can't publish: not connected yet"
