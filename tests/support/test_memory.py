"""The directory in memory answers as the one on a server does: each test runs on both."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio
import msgspec
import pytest

from relay.directory.directory import Directory, NameLost, SessionRecord, Unavailable
from relay.protocol.errors import Presence
from relay.shared_types import FormerSession, Located
from tests.relay.desk import on_a_server
from tests.support.memory import MemoryDirectory, MemoryDirectoryView
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

ONE, TWO = "1" * 16, "2" * 16
BODY = SessionRecord("Ann", 30.0, "hash", False, "", None)


class Hubs:
    """The delegate of the directory on both nodes. It says which of their sessions are alive, and which have moved."""

    def __init__(self) -> None:
        self.alive = {"s1", "s2"}
        self.moved = set[str]()

    def partitions_lost(self, *partitions: int) -> None:
        raise AssertionError("no server has lost anything")

    def here(self, session_id: str) -> bool:
        return session_id in self.alive

    def left(self, session_id: str) -> bool:
        return session_id in self.moved


@dataclass
class Nodes:
    """One directory as two nodes see it. `hubs` knows the sessions of both."""

    one: Directory | MemoryDirectoryView
    two: Directory | MemoryDirectoryView
    hubs: Hubs


@pytest.fixture(params=["in memory", "on a server"])
async def nodes(
    request: pytest.FixtureRequest, redis_server: RedisServer, prefix: str, anyio_backend: str
) -> AsyncIterator[Nodes]:
    hubs = Hubs()
    if request.param == "in memory":
        directory = MemoryDirectory()
        yield Nodes(directory.node(ONE, hubs), directory.node(TWO, hubs), hubs)
        return
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(on_a_server(redis_server.url, prefix, node_id)) for node_id in (ONE, TWO)
        ]
        yield Nodes(one.directory(hubs), two.directory(hubs), hubs)


async def claimed(nodes: Nodes) -> int:
    fencing_token = await nodes.one.claim("ann", "s1", BODY)
    assert fencing_token is not None
    return fencing_token


async def test_a_name_has_one_owner(nodes: Nodes) -> None:
    fencing_token = await claimed(nodes)
    assert await nodes.two.claim("ann", "s2", BODY) is None
    assert await nodes.one.claim("ann", "s2", BODY) is None
    holder = await nodes.two.find("ann")
    assert holder is not None
    assert (holder.fencing_token, holder.node_id, holder.incarnation, holder.session_id, holder.body) == (
        fencing_token,
        ONE,
        "1",
        "s1",
        BODY,
    )


async def test_a_name_whose_session_is_over_is_to_be_had_on_its_node_alone(nodes: Nodes) -> None:
    fencing_token = await claimed(nodes)
    nodes.hubs.alive.discard("s1")
    assert await nodes.two.claim("ann", "s2", BODY) is None
    second = await nodes.one.claim("ann", "s2", BODY)
    assert second is not None
    assert second > fencing_token


async def test_a_name_whose_session_has_moved_is_not_to_be_had_where_its_record_is_still_the_former_one(
    nodes: Nodes,
) -> None:
    await claimed(nodes)
    nodes.hubs.alive.discard("s1")
    nodes.hubs.moved.add("s1")
    assert await nodes.one.claim("ann", "s2", BODY) is None
    with pytest.raises(Unavailable):
        await nodes.one.locate("ann")
    nodes.hubs.moved.discard("s1")
    assert (await nodes.one.locate("ann")).state is Presence.OFFLINE
    assert await nodes.one.claim("ann", "s2", BODY) is not None


async def test_a_name_that_was_given_back_is_free(nodes: Nodes) -> None:
    await claimed(nodes)
    await nodes.two.release("ann", "s1")
    await nodes.one.release("ann", "s2")
    assert await nodes.two.claim("ann", "s2", BODY) is None, "neither of them owned it"
    await nodes.one.release("ann", "s1")
    assert await nodes.one.find("ann") is None
    assert await nodes.two.claim("ann", "s2", BODY) is not None


async def test_a_session_is_found_by_its_token(nodes: Nodes) -> None:
    await claimed(nodes)
    assert await nodes.two.find_token("ann", "hash") == await nodes.two.find("ann") is not None
    assert await nodes.two.resumed("ann", "hash") is not None
    assert await nodes.two.find_token("ann", "another") is await nodes.two.resumed("ann", "another") is None
    assert await nodes.two.find_token("ben", "hash") is None


async def test_the_first_of_two_callers_that_saw_the_record_takes_the_name_over(nodes: Nodes) -> None:
    """Of two callers that saw the same record, the first one takes the name over."""
    fencing_token = await claimed(nodes)
    away = msgspec.structs.replace(BODY, away=True, calling=True, returns=3)
    assert await nodes.one.save("ann", "s1", fencing_token, away) == fencing_token
    seen = await nodes.two.find("ann")
    assert seen is not None
    second = await nodes.two.take_over(seen, "ann", "s2")
    assert second is not None
    assert second > fencing_token
    assert await nodes.one.take_over(seen, "ann", "s3") is None
    holder = await nodes.one.find("ann")
    assert holder is not None
    taken = msgspec.structs.replace(BODY, former=FormerSession("s1", 3))
    assert (holder.fencing_token, holder.node_id, holder.session_id, holder.body) == (second, TWO, "s2", taken)


async def test_a_new_session_brings_its_own_body(nodes: Nodes) -> None:
    await claimed(nodes)
    seen = await nodes.two.find("ann")
    assert seen is not None
    other = msgspec.structs.replace(BODY, display_name="ANN", token="another")
    assert await nodes.two.take_over(seen, "ann", "s2", other) is not None
    holder = await nodes.one.find("ann")
    assert holder is not None
    assert holder.body == other


async def test_a_session_that_lost_its_name_is_told_when_its_record_is_written(nodes: Nodes) -> None:
    fencing_token = await claimed(nodes)
    seen = await nodes.two.find("ann")
    assert seen is not None
    await nodes.two.take_over(seen, "ann", "s2")
    with pytest.raises(NameLost):
        await nodes.one.save("ann", "s1", fencing_token, BODY)


async def test_a_record_that_is_missing_is_put_back_with_a_higher_fencing_token(nodes: Nodes) -> None:
    fencing_token = await claimed(nodes)
    await nodes.one.release("ann", "s1")
    assert await nodes.one.save("ann", "s1", fencing_token, BODY) == fencing_token + 1
    assert await nodes.two.claim("ann", "s2", BODY) is None


@pytest.mark.parametrize(
    ("change", "presence"),
    [
        ({}, Presence.FREE),
        ({"chat": "c"}, Presence.BUSY),
        ({"calling": True}, Presence.BUSY),
        ({"chat": "c", "away": True}, Presence.AWAY),
    ],
    ids=str,
)
async def test_a_look_up_tells_what_a_user_does(
    nodes: Nodes, change: dict[str, str | bool], presence: Presence
) -> None:
    fencing_token = await claimed(nodes)
    await nodes.one.save("ann", "s1", fencing_token, msgspec.structs.replace(BODY, **change))
    assert await nodes.two.locate("ann") == Located(presence, ONE)
    assert await nodes.one.locate("ben") == Located(Presence.OFFLINE)


# --- controls for tests


async def test_the_directory_can_be_unavailable() -> None:
    directory = MemoryDirectory()
    directory.available = False
    with pytest.raises(Unavailable):
        await directory.node(ONE, Hubs()).locate("ann")


async def test_questions_are_answered_one_by_one_and_from_what_is_known_by_then() -> None:
    directory = MemoryDirectory(step_by_step=True)
    one, two = (directory.node(node_id, Hubs()) for node_id in (ONE, TWO))
    fencing_tokens = dict[str, int | None]()

    async def claim(view: MemoryDirectoryView, session_id: str) -> None:
        fencing_tokens[session_id] = await view.claim("ann", session_id, BODY)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(claim, one, "s1")
        tasks.start_soon(claim, two, "s2")
        await anyio.wait_all_tasks_blocked()
        assert (directory.waiting(), fencing_tokens, directory.records) == (2, {}, {})
        directory.answer()
        await anyio.wait_all_tasks_blocked()
        assert (directory.waiting(), fencing_tokens) == (1, {"s1": 1})
        directory.answer()
    assert fencing_tokens == {"s1": 1, "s2": None}
