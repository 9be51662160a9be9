"""Calls to a cluster: each goes to the server that has its key now, and waits for no other one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import fail_after
from anyio.lowlevel import checkpoint

from relay.redis_client import client as client_module
from relay.redis_client import dns_lookup, round_trip_timeout
from relay.redis_client import request_queue as queue_module
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.dns_lookup import Place
from relay.redis_client.slot_map import SLOTS, slot_of
from relay.tools.testbed.process import free_port
from tests.relay.desk import until
from tests.support.clocks import own_clock

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1"
OTHER_HOST = "127.0.0.2"
HALF = SLOTS // 2
LOW, HIGH = "b", "a"  # keys in the lower and in the upper half of the slots
CALL_SECONDS = 0.3  # seconds after which a call is given up
MOMENT = 10.0  # seconds, enough for a busy machine
OK = b"+OK\r\n"

Owner = tuple[int, int, "Member", int]  # first and last slot, primary, epoch


def test_the_keys_are_where_these_tests_say() -> None:
    assert slot_of(LOW.encode()) < HALF <= slot_of(HIGH.encode())


class Member:
    """One server of a cluster. `refusal` is its answer to GET in place of its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host, self.port = HOST, 0
        self.view: list[Owner] = []
        self.refusal: bytes | None = None
        self.silent = False
        self.connections = 0  # number of connections so far
        self.open: set[asyncio.StreamWriter] = set()
        self.asked: list[list[str]] = []
        self.published: list[list[str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while command := await _command(reader):
                await until(lambda: not self.silent)
                writer.write(self._answer(command))
        except (ConnectionError, EOFError, ValueError):  # the client disconnected in the middle of a command
            pass
        finally:
            writer.close()
            self.open.discard(writer)

    async def hang_up(self) -> None:
        """Close all connections, and wait for that."""
        self.silent = False
        for writer in self.open:
            writer.transport.abort()
        await until(lambda: not self.open)
        await checkpoint()

    def _answer(self, command: list[str]) -> bytes:
        match command:
            case ["CLUSTER", "SLOTS"]:
                rows = [[first, last, [it.host, it.port, it.name]] for first, last, it, _ in self.view]
                return _reply(rows)
            case ["CLUSTER", "NODES"]:
                return _reply(
                    "".join(f"{it.name} :0@0 master - 0 0 {epoch} connected\n" for *_, it, epoch in self.view)
                )
            case ["GET", *_]:
                self.asked.append(command)
                return self.refusal or _reply(self.name)
            case ["PUBLISH", *_]:
                self.published.append(command)
            case ["ASKING"]:
                self.asked.append(command)
        return OK


def _reply(value: Any) -> bytes:
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, str):
        return b"$%d\r\n%s\r\n" % (len(value), value.encode())
    return b"*%d\r\n" % len(value) + b"".join(map(_reply, value))


async def _command(reader: asyncio.StreamReader) -> list[str]:
    head = await reader.readline()
    words = []
    for _ in range(int(head[1:] or 0)):
        length = int((await reader.readline())[1:])
        words.append((await reader.readexactly(length + 2))[:-2].decode())
    return words


class Scene:
    """Three members, two of which serve half of the slots each."""

    def __init__(self, members: list[Member]) -> None:
        self.low, self.high, self.third = members
        self.everybody_sees((0, HALF - 1, self.low, 1), (HALF, SLOTS - 1, self.high, 2))

    def everybody_sees(self, *owners: Owner, unless: Member | None = None) -> None:
        for member in (self.low, self.high, self.third):
            if member is not unless:
                member.view = list(owners)


@asynccontextmanager
async def listening(member: Member, host: str = HOST, port: int = 0) -> AsyncIterator[None]:
    server = await asyncio.start_server(member.serve, host, port)
    member.host, member.port = host, server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        await member.hang_up()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        members = [Member(name) for name in ("low", "high", "third")]
        for member in members:
            await stack.enter_async_context(listening(member))
        yield Scene(members)


@asynccontextmanager
async def a_store(given: Iterable[str]) -> AsyncIterator[RedisClient]:
    redis_client = RedisClient("redis+cluster://" + ",".join(given))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        await redis_client.refresh_topology()
        yield redis_client
        tasks.cancel_scope.cancel()
    await redis_client.aclose()


def give_up_after(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client_module, queue_module):
        monkeypatch.setattr(module, "CALL_SECONDS", seconds)


@pytest.fixture
async def redis_client(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisClient]:
    """Return a client with short time-outs."""
    monkeypatch.setattr(client_module, "GLANCE_SECONDS", 0.02)
    give_up_after(CALL_SECONDS, monkeypatch)
    async with a_store(f"{HOST}:{member.port}" for member in (scene.low, scene.third)) as redis_client:
        yield redis_client


async def test_each_goes_to_the_primary_of_its_slot(scene: Scene, redis_client: RedisClient) -> None:
    assert [await redis_client.call("GET", key) for key in (LOW, HIGH)] == [b"low", b"high"]
    assert await redis_client.calls([("GET", HIGH), ("GET", LOW)]) == [b"high", b"low"]


async def test_a_call_goes_at_once_to_the_server_that_another_names_and_so_does_the_next(
    scene: Scene, redis_client: RedisClient
) -> None:
    scene.low.refusal = b"-MOVED %d %s:%d\r\n" % (slot_of(LOW.encode()), HOST.encode(), scene.high.port)
    scene.everybody_sees((0, SLOTS - 1, scene.high, 3))
    assert await redis_client.call("GET", LOW) == b"high"
    assert await redis_client.calls([("GET", LOW)]) == [b"high"]
    assert len(scene.low.asked) == 1


async def test_a_slot_that_is_on_its_way_is_asked_for_there_and_the_next_begins_where_it_was(
    scene: Scene, redis_client: RedisClient
) -> None:
    scene.low.refusal = b"-ASK %d %s:%d\r\n" % (slot_of(LOW.encode()), HOST.encode(), scene.third.port)
    for _ in range(2):
        assert await redis_client.call("GET", LOW) == b"third"
    assert scene.third.asked == [["ASKING"], ["GET", LOW]] * 2
    assert len(scene.low.asked) == 2


@pytest.mark.parametrize("refusal", ["TRYAGAIN later", "CLUSTERDOWN Hash slot not served", "LOADING", "MOVED 1 ?:1"])
async def test_a_call_whose_refusal_may_pass_is_tried_again_wherever_the_slot_is_by_then(
    scene: Scene, redis_client: RedisClient, refusal: str
) -> None:
    scene.low.refusal = f"-{refusal}\r\n".encode()
    scene.everybody_sees((0, HALF - 1, scene.third, 3), (HALF, SLOTS - 1, scene.high, 2), unless=scene.low)
    with fail_after(MOMENT):
        while True:
            try:
                assert await redis_client.call("GET", LOW) == b"third"
                break
            except Unavailable:
                continue


async def test_two_that_name_each_other_are_given_up(scene: Scene, redis_client: RedisClient) -> None:
    slot = slot_of(LOW.encode())
    scene.low.refusal = b"-MOVED %d %s:%d\r\n" % (slot, HOST.encode(), scene.high.port)
    scene.high.refusal = b"-MOVED %d %s:%d\r\n" % (slot, HOST.encode(), scene.low.port)
    with pytest.raises(Unavailable, match="MOVED"):
        await redis_client.call("GET", LOW)


async def test_a_silent_server_holds_up_calls_to_no_other_one(scene: Scene, redis_client: RedisClient) -> None:
    scene.low.silent = True
    refused: list[float] = []

    async def ask(began: float) -> None:
        with pytest.raises(Unavailable):
            await redis_client.call("GET", LOW)
        refused.append(clock() - began)

    answered = 0
    async with own_clock() as clock, anyio.create_task_group() as tasks:
        while clock() < 1.5 * CALL_SECONDS:
            tasks.start_soon(ask, clock())
            assert await redis_client.call("GET", HIGH) == b"high"
            assert await redis_client.call("GET", HIGH, urgent=True) == b"high"
            answered += 2
            await anyio.sleep(0.01)
    assert max(refused) < CALL_SECONDS + 1.0
    assert answered > 10
    assert not redis_client.answering
    scene.low.silent = False
    with fail_after(MOMENT):
        while not redis_client.answering:
            with anyio.move_on_after(MOMENT):
                try:
                    await redis_client.call("GET", LOW)
                except Unavailable:
                    continue


async def test_a_server_that_others_have_replaced_is_left_though_it_answers(
    scene: Scene, redis_client: RedisClient
) -> None:
    assert await redis_client.call("GET", LOW) == b"low"
    before = redis_client.layout
    scene.everybody_sees((0, HALF - 1, scene.third, 3), (HALF, SLOTS - 1, scene.high, 2), unless=scene.low)
    await until(lambda: redis_client.layout != before)
    assert redis_client.home(LOW) == f"{HOST}:{scene.third.port}"
    assert await redis_client.call("GET", LOW) == b"third"


async def test_calls_that_wait_behind_a_silent_server_go_along_when_it_is_replaced(
    scene: Scene, redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up_after(MOMENT, monkeypatch)
    scene.low.silent = True
    async with anyio.create_task_group() as tasks:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await redis_client.call("GET", LOW))

        for _ in range(100):
            tasks.start_soon(ask)
        # private: that they wait in a line shows only once they are answered
        await until(lambda: (queue := redis_client._queues.get(f"{HOST}:{scene.low.port}")) and queue._queue)
        scene.everybody_sees((0, HALF - 1, scene.third, 3), (HALF, SLOTS - 1, scene.high, 2), unless=scene.low)
        await redis_client.refresh_topology()
    assert answers == [b"third"] * 100
    scene.low.silent = False


async def test_a_connection_to_a_silent_server_is_not_waited_for_once_it_is_replaced(
    scene: Scene, redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wait in ("FIRST_SECONDS", "SLACK_SECONDS", "LONGEST_SECONDS"):
        monkeypatch.setattr(round_trip_timeout, wait, MOMENT)
    scene.low.silent = True
    home, before = redis_client.home(LOW), scene.low.connections
    async with anyio.create_task_group() as tasks:

        async def connect() -> None:
            with pytest.raises(Unavailable, match="another server has the place of"):
                await redis_client.connect(home)

        tasks.start_soon(connect)
        await until(lambda: scene.low.connections > before)
        scene.everybody_sees((0, HALF - 1, scene.third, 3), (HALF, SLOTS - 1, scene.high, 2), unless=scene.low)
        await redis_client.refresh_topology()
    scene.low.silent = False


async def test_a_message_for_everyone_is_published_at_another_server_where_its_own_is_away(
    scene: Scene, redis_client: RedisClient
) -> None:
    gone = Member("gone")
    gone.port = free_port()
    scene.everybody_sees((0, HALF - 1, gone, 3), (HALF, SLOTS - 1, scene.high, 2))
    await redis_client.refresh_topology()
    await redis_client.publish(LOW, [b"one", b"two"])
    assert scene.high.published == [["PUBLISH", LOW, "one"], ["PUBLISH", LOW, "two"]]


async def test_slots_that_nobody_serves_are_unavailable_and_the_others_are_not(scene: Scene) -> None:
    scene.everybody_sees((HALF, SLOTS - 1, scene.high, 2))
    async with a_store([f"{HOST}:{scene.third.port}"]) as redis_client:
        nobody, there = await redis_client.each([("GET", LOW), ("GET", HIGH)])
        assert str(nobody) == "no server serves this key"
        assert there == b"high"


async def test_changes_that_follow_one_another_are_looked_for_without_a_pause(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "DOUBT_SECONDS", (0.0, 3600.0))
    monkeypatch.setattr(client_module, "GLANCE_SECONDS", 3600.0)
    async with a_store([f"{HOST}:{scene.low.port}"]) as redis_client:
        for epoch, owner in enumerate((scene.third, scene.high, scene.low), 3):
            scene.everybody_sees((0, SLOTS - 1, owner, epoch))
            redis_client.doubt()
            with fail_after(MOMENT):
                await until(lambda: redis_client.home(HIGH) == f"{HOST}:{owner.port}")  # noqa: B023


@pytest.mark.parametrize("answer", [b":5\r\n", b"+OK\r\n", b"*1\r\n:5\r\n"])
async def test_members_whose_answers_make_no_sense_are_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    for member in (scene.low, scene.high, scene.third):
        monkeypatch.setattr(member, "_answer", lambda command: OK if command == ["PING"] else answer)
    redis_client = RedisClient(f"redis+cluster://{HOST}:{scene.low.port},{HOST}:{scene.high.port}")
    with pytest.raises(Unavailable, match="answers CLUSTER SLOTS in a way that can't be understood"):
        await redis_client.check()
    await redis_client.aclose()


async def test_epochs_that_make_no_sense_are_done_without(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = scene.low._answer
    monkeypatch.setattr(
        scene.low, "_answer", lambda command: b":5\r\n" if command == ["CLUSTER", "NODES"] else answer(command)
    )
    async with a_store([f"{HOST}:{scene.low.port}"]) as redis_client:
        assert await redis_client.call("GET", LOW) == b"low"


async def test_members_that_are_all_elsewhere_are_found_by_the_name_that_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses, port = [HOST], free_port()

    def places(host: str, port: int, flags: int = 0) -> list[Place]:
        return before(addresses[0] if host == "members.example" and not flags else host, port, flags)

    before = dns_lookup._places  # private: what the system's resolver answers has no other way in
    monkeypatch.setattr(dns_lookup, "_places", places)  # private: likewise
    old, new = Member("old"), Member("new")
    async with listening(new, OTHER_HOST, port):
        async with listening(old, HOST, port):
            old.view, new.view = [(0, SLOTS - 1, old, 1)], [(0, SLOTS - 1, new, 1)]
            context = a_store([f"members.example:{port}"])
            redis_client = await context.__aenter__()
            assert await redis_client.call("GET", LOW) == b"old"
        old.silent, old.refusal = False, b"-LOADING\r\n"
        addresses[0] = OTHER_HOST
        with fail_after(MOMENT):
            while redis_client.home(LOW) != f"{OTHER_HOST}:{port}":
                try:
                    await redis_client.call("GET", LOW)
                except Unavailable:
                    continue
        assert await redis_client.call("GET", LOW) == b"new"
        await context.__aexit__(None, None, None)


async def test_a_cluster_whose_members_serve_nothing_yet_is_said_to_be_so(
    scene: Scene, redis_client: RedisClient
) -> None:
    """Its members are up, and nobody has given them slots."""
    scene.everybody_sees()
    with pytest.raises(Unavailable, match="no server of the cluster serves any slot"):
        await redis_client.refresh_topology()
    assert redis_client.home(LOW) == f"{HOST}:{scene.low.port}"  # it is still the best that is known
