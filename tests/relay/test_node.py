"""What a node says of itself: whether new clients may come, what `/metrics` and `relay status` are told."""

from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest
from structlog.testing import capture_logs

from relay import node as node_module
from relay import subscription
from relay.config import Config
from relay.directory.lease import clock
from relay.errors import Reason
from relay.mail import Text
from relay.node import Node
from tests.relay.desk import until

pytestmark = pytest.mark.anyio

TEXT = Text("ann", "c1", 1, 1, 0, 1.0, ["hi"])
LEASE = 5.0


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
    node._store._shard("").answering = False
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
