"""The bus in memory keeps the promise of the one on a server: each test runs on both."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from relay.bus.bus import Bus
from relay.bus.delegates import BusDelegate
from relay.bus.reliable_link import Frame, Kind
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import Keys
from relay.session.peer_messages import Ack, Mail, Text, Typing
from tests.relay.desk import patient, until
from tests.support.memory_bus import MemoryBus, MemoryBusView
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

ONE, TWO, GONE = "1" * 16, "2" * 16, "9" * 16


class Lease:
    """The lease of a node, which holds until the test says otherwise."""

    seconds = 60.0
    standing = True

    def reconnected(self) -> None:
        pass


class Node:
    """A node as its bus sees it: `heard` has what came, in order."""

    def __init__(self, bus: Callable[[BusDelegate, Lease], Bus | MemoryBusView]) -> None:
        self.lease = Lease()
        self.heard: list[Mail | Frame | str] = []
        self.bus = bus(self, self.lease)

    def posts(self, node_id: str, *mail: Mail) -> None:
        """Send mail, each piece in a tick of its own."""
        for one in mail:
            self.bus.post(node_id, one)
            self.bus.flush()

    def open_tick(self) -> None:
        self.bus.flush()

    def receive(self, mails: list[Mail]) -> None:
        self.heard += mails

    def peer_forgot_us(self, node_id: str) -> None:
        self.heard.append(node_id)

    def heed(self, frame: Frame) -> None:
        self.heard.append(frame)


@dataclass
class Nodes:
    one: Node
    two: Node

    async def acquainted(self) -> None:
        """Have each hear of the other, and forget what that took."""
        self.one.posts(TWO, Typing("ben", "c"))
        self.two.posts(ONE, Typing("ann", "c"))
        await until(lambda: self.one.heard and self.two.heard)
        await until(lambda: self.one.bus.quiet and self.two.bus.quiet)
        self.one.heard.clear()
        self.two.heard.clear()


@asynccontextmanager
async def on_a_server(url: str, prefix: str, node_id: str) -> AsyncIterator[Node]:
    store = RedisClient(url)
    with patient():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            node = Node(lambda delegate, lease: Bus(store, Keys(prefix), node_id, delegate, lease=lease))
            assert isinstance(node.bus, Bus)
            tasks.start_soon(node.bus.run)
            await node.bus.ready.wait()
            yield node
            tasks.cancel_scope.cancel()
    await store.aclose()


def in_memory(bus: MemoryBus, node_id: str) -> Node:
    return Node(lambda delegate, lease: bus.node(node_id, delegate, lease))


@pytest.fixture(params=["in memory", "on a server"])
async def nodes(
    request: pytest.FixtureRequest, redis_server: RedisServer, prefix: str, anyio_backend: str
) -> AsyncIterator[Nodes]:
    if request.param == "in memory":
        bus = MemoryBus()
        yield Nodes(in_memory(bus, ONE), in_memory(bus, TWO))
        return
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(on_a_server(redis_server.url, prefix, node_id)) for node_id in (ONE, TWO)
        ]
        yield Nodes(one, two)


def texts(count: int) -> list[Mail]:
    return [Text("ben", "c", 1, id, id - 1, 1.0, ["x" * id]) for id in range(1, count + 1)]


async def test_mail_arrives_in_order_and_each_piece_once(nodes: Nodes) -> None:
    there, back = texts(100), [Ack("ann", "c", id) for id in range(1, 101)]
    for one, two in zip(there, back, strict=True):
        nodes.one.posts(TWO, one)
        nodes.two.posts(ONE, two)
    await until(lambda: len(nodes.one.heard) >= 100 and len(nodes.two.heard) >= 100)
    await until(lambda: nodes.one.bus.quiet and nodes.two.bus.quiet)
    assert (nodes.two.heard, nodes.one.heard) == (there, back)


async def test_mail_leaves_with_the_flush_and_as_it_is_by_then(nodes: Nodes) -> None:
    text = Text("ben", "c", 1, 1, 0, 1.0, ["a"])
    nodes.one.bus.post(TWO, text)
    assert nodes.one.bus.waiting() == {TWO}
    text.texts.append("b")
    nodes.one.bus.flush()
    text.texts.append("c")
    await until(lambda: nodes.two.heard)
    assert nodes.two.heard == [Text("ben", "c", 1, 1, 0, 1.0, ["a", "b"])]


async def test_a_node_without_a_lease_sends_nothing_until_it_has_one(nodes: Nodes) -> None:
    nodes.one.lease.standing = False
    assert not nodes.one.bus.flowing(TWO)
    nodes.one.posts(TWO, *texts(2))
    nodes.one.bus.announce(Kind.ROLL_CALL)
    await until(lambda: nodes.two.heard)
    assert isinstance(nodes.two.heard.pop(), Frame), "control frames need no lease"
    assert (nodes.two.heard, nodes.one.bus.waiting()) == ([], {TWO})
    nodes.one.lease.standing = True
    assert nodes.one.bus.flowing(TWO)
    nodes.one.bus.flush()
    await until(lambda: len(nodes.two.heard) == 2)
    assert nodes.two.heard == texts(2)


async def test_a_node_without_a_lease_takes_nothing_and_gets_it_all_once_it_asks(nodes: Nodes) -> None:
    await nodes.acquainted()
    nodes.two.lease.standing = False
    nodes.one.posts(TWO, *texts(3))
    nodes.one.bus.announce(Kind.ROLL_CALL)
    await until(lambda: nodes.two.heard)
    assert isinstance(nodes.two.heard.pop(), Frame), "control frames need no lease"
    assert (nodes.two.heard, nodes.one.bus.waiting()) == ([], {TWO})
    nodes.two.lease.standing = True
    nodes.two.bus.ask()
    await until(lambda: len(nodes.two.heard) == 3)
    assert nodes.two.heard == texts(3)
    await until(lambda: nodes.one.bus.quiet)


async def test_mail_for_a_node_that_is_gone_waits_until_that_node_is_forgotten(nodes: Nodes) -> None:
    nodes.one.posts(GONE, *texts(2))
    nodes.one.posts(TWO, *texts(1))
    await until(lambda: nodes.one.bus.waiting() == {GONE})
    assert not nodes.one.bus.quiet
    nodes.one.bus.forget(GONE)
    assert nodes.one.bus.quiet


async def test_a_node_that_was_forgotten_is_told_so_loses_what_it_sends_until_then_and_is_heard_after_that(
    nodes: Nodes,
) -> None:
    await nodes.acquainted()
    nodes.two.bus.forget(ONE)
    lost, *rest = texts(3)
    nodes.one.posts(TWO, lost)
    await until(lambda: nodes.one.heard)
    assert nodes.one.heard == [TWO]
    nodes.one.posts(TWO, *rest)
    await until(lambda: len(nodes.two.heard) >= 2)
    assert nodes.two.heard == rest


async def test_a_node_that_has_forgotten_another_one_is_heard_there_all_the_same(nodes: Nodes) -> None:
    await nodes.acquainted()
    nodes.two.bus.forget(ONE)
    nodes.two.posts(ONE, *texts(2))
    await until(lambda: len(nodes.one.heard) >= 3)
    assert nodes.one.heard == [TWO, *texts(2)]


async def test_a_control_frame_reaches_one_node_or_all_others(nodes: Nodes) -> None:
    nodes.one.bus.tell(TWO, Kind.HERE, 7)
    await until(lambda: nodes.two.heard)
    assert nodes.two.bus.announce(Kind.ROLL_CALL, 3)
    await until(lambda: nodes.one.heard)
    assert list(kinds(nodes.two)) == [(Kind.HERE, ONE, 7)]
    assert list(kinds(nodes.one)) == [(Kind.ROLL_CALL, TWO, 3)]


def kinds(node: Node) -> Iterator[tuple[Kind, str, int]]:
    for frame in node.heard:
        assert isinstance(frame, Frame)
        yield frame.kind, frame.node_id, frame.number


# --- what a test may ask for


async def test_mail_arrives_piece_by_piece_where_the_test_says_so() -> None:
    bus = MemoryBus(step_by_step=True)
    one, two = in_memory(bus, ONE), in_memory(bus, TWO)
    one.posts(TWO, *texts(2))
    two.posts(ONE, *texts(1))
    assert bus.ways() == [(ONE, TWO), (TWO, ONE)]
    bus.deliver(ONE, TWO)
    assert (one.heard, two.heard, bus.carried) == ([], texts(1), 1)
    assert bus.on_the_way(ONE) == [((ONE, TWO), texts(2)[1])]
    assert bus.lose() == [((ONE, TWO), texts(2)[1]), ((TWO, ONE), texts(1)[0])]
    assert bus.ways() == []


async def test_nothing_reaches_a_node_that_is_cut_off_until_it_is_back() -> None:
    bus = MemoryBus(step_by_step=True)
    one, two = in_memory(bus, ONE), in_memory(bus, TWO)
    bus.cut_off.add(TWO)
    one.posts(TWO, *texts(1))
    two.posts(ONE, *texts(1))
    assert bus.ways() == []
    bus.cut_off.clear()
    assert bus.ways() == [(ONE, TWO), (TWO, ONE)]


async def test_mail_that_a_dead_node_had_sent_or_sends_never_arrives() -> None:
    bus = MemoryBus(step_by_step=True)
    one, two = in_memory(bus, ONE), in_memory(bus, TWO)
    one.posts(TWO, *texts(1))
    two.posts(ONE, *texts(1))
    bus.crash(ONE)
    one.posts(TWO, *texts(1))
    assert bus.ways() == []
    assert two.bus.waiting() == {ONE}, "nobody has told it"
