"""What a node says of itself: whether new clients may come, what `/metrics` and `relay status` are told."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import pytest
from structlog.testing import capture_logs

from relay import node as node_module
from relay import subscription, upkeep
from relay.config import Config
from relay.directory.lease import clock
from relay.errors import Reason
from relay.mail import Text
from relay.node import Node
from relay.upkeep import Upkeep
from tests.relay.desk import until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

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
    "clients",
    "windows",
    "loop",
    "report",
    "port",
]


def serving() -> Node:
    """A node that serves clients, holds its lease and hears itself; nothing of it runs."""
    node = Node(Config(redis="redis://127.0.0.1:1", lease=LEASE, max_connections=3))
    node._notices.serving = True
    node._lease.incarnation, node._lease.deadline = 1, clock() + LEASE
    node._bus._subscription._heard = clock()
    return node


def lose_lease(node: Node) -> None:
    node._lease.deadline = clock()


def go_deaf(node: Node) -> None:
    node._bus._subscription._heard = clock() - subscription.DEAF_SECONDS


def begin_again(node: Node) -> None:
    node._notices.serving = False


def drain(node: Node) -> None:
    node._stopping = True


def fill(node: Node) -> None:
    node._gate.open = 3


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (lambda node: None, ""),
        (begin_again, "starting: waiting for Redis"),
        (lose_lease, "no lease: Redis is away"),
        (go_deaf, "deaf: no echo of the own probe"),
        (drain, "draining"),
        (fill, "as many connections as there may be"),
    ],
)
async def test_each_trouble_alone_keeps_new_clients_away(trouble: Callable[[Node], None], why: str) -> None:
    node = serving()
    trouble(node)
    assert node._why_not_ready() == why
    reading = await node._read()
    assert reading.ready is (why == "")
    assert (await node._reporter._report()).trouble == why


async def test_metrics_are_told_of_lease_bus_and_memory() -> None:
    node = serving()
    node._router.budget.look([100, 200])
    node._bus.post("2" * 16, TEXT)
    reading = await node._read()
    assert (reading.node, reading.lease, reading.hearing, reading.redis) == (node._config.name, True, True, True)
    assert (reading.memory, reading.waiting) == (300, 1)
    assert 0 <= reading.lease_age < LEASE
    node._lease.deadline -= 2 * LEASE
    go_deaf(node)
    node._store.answering = False
    reading = await node._read()
    assert (reading.lease, reading.hearing, reading.redis) == (False, False, False)
    assert 2 * LEASE <= reading.lease_age < 3 * LEASE


async def test_a_report_tells_rates_since_the_one_before() -> None:
    node = serving()
    counts, reporter = node._router.counts, node._reporter
    await reporter._report()
    reporter._last -= 10.0
    counts.taken, counts.delivered = 200, 100
    counts.unconfirmed[Reason.LEFT], counts.unconfirmed[Reason.LOST] = 2, 3
    node._router.budget.look([4096])
    report = await reporter._report()
    assert report.received == pytest.approx(20.0, rel=0.1)
    assert report.delivered == pytest.approx(10.0, rel=0.1)
    assert (report.unconfirmed, report.memory, report.lease) == (5, 4096, LEASE)
    reporter._last -= 10.0
    report = await reporter._report()
    assert (report.received, report.delivered) == (0.0, 0.0)


async def test_each_time_that_the_own_probe_is_missed_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "PROBE_SECONDS", 0.01)
    node, ended = serving(), []

    class Connection:
        def abort(self) -> None:
            ended.append(self)

    go_deaf(node)
    node._bus._subscription.connection = cast(Any, Connection())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node._bus._subscription._listen)
        await until(lambda: len(ended) > 1)
        tasks.cancel_scope.cancel()
    assert node._counts.deaf == len(ended)


async def test_no_task_of_a_node_that_fails_ends_it(
    redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them fails once, as one does that has tasks of its own; then somebody logs in."""
    monkeypatch.setattr(upkeep, "AGAIN_SECONDS", 0.01)
    start, failed = Upkeep.start, list[str]()

    def start_failing(self: Upkeep, name: str, task: Callable[..., Awaitable[None]], *about: Any) -> None:
        async def fail_at_first() -> None:
            if name not in failed:
                failed.append(name)
                raise ExceptionGroup("in its group", [OSError(24, "Too many open files")])
            await task(*about)

        start(self, name, fail_at_first)

    monkeypatch.setattr(Upkeep, "start", start_failing)
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
    monkeypatch.setattr(node_module, "WAIT_SECONDS", 0.0001)
    node = serving()
    with capture_logs() as lines:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node._hear_ourselves)
            await until(lambda: lines)
            node._bus.ready.set()
    assert lines[0] == {
        "event": "waiting for redis",
        "log_level": "warning",
        "error": "no echo of the own probe",
    }
