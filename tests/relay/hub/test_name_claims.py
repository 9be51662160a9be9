"""The owner of a name, if several ask at once: on one node core, and on two that share a real directory."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import redis

from relay.directory import directory
from relay.directory.directory import Record, Unavailable
from relay.hub.hub import Hub
from relay.hub.name_claims import PATIENCE_SECONDS
from relay.hub.record_writer import RETRY_SECONDS
from relay.protocol.commands_and_events import Call
from relay.protocol.errors import Code
from relay.redis_client.keys import Keys, RecordKey
from relay.session import grace_period
from relay.session.chat import Chat
from relay.session.pairing import Confirming
from relay.session.peer_messages import Mail, SessionMoved
from relay.session.runtime_interface import Limits
from relay.session.session import State
from relay.shared_types import Located, Party
from tests.relay.desk import Guests, a_hub, answer, token_of, until, written
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

DAY_US = 86_400_000_000
LIMITS = Limits(grace=20.0, reunion=0.05)


@pytest.fixture
async def here(redis_server: RedisServer, prefix: str) -> AsyncIterator[Hub]:
    async with a_hub(redis_server.url, prefix, LIMITS) as hub:
        yield hub


@pytest.fixture
async def there(redis_server: RedisServer, prefix: str, here: Hub) -> AsyncIterator[Hub]:
    async with a_hub(redis_server.url, prefix, LIMITS, "m" * 16) as hub:
        yield hub


@pytest.fixture
async def elsewhere(redis_server: RedisServer, prefix: str, here: Hub) -> AsyncIterator[Hub]:
    async with a_hub(redis_server.url, prefix, LIMITS, "k" * 16) as hub:
        yield hub


@pytest.fixture
async def guests() -> AsyncIterator[Guests]:
    guests = Guests()
    yield guests
    guests.close()


async def test_a_resume_waits_for_the_outcome_of_a_strangers_claim(here: Hub, there: Hub, guests: Guests) -> None:
    """The name is being claimed here. It isn't known yet that the session with this token has it elsewhere."""
    token = await token_of(guests.at(there))
    stranger = guests.at(here)
    again = guests.at(here, token=token)
    assert (await answer(stranger))["code"] == "name_taken"
    welcome = await answer(again)
    assert (welcome["type"], welcome["resumed"]) == ("welcome", True)


async def test_of_two_resumes_at_once_on_one_node_the_later_one_wins(here: Hub, there: Hub, guests: Guests) -> None:
    token = await token_of(guests.at(there))
    first, second = guests.at(here, token=token), guests.at(here, token=token)
    assert (await answer(second))["resumed"] is True
    await until(lambda: first.closed)
    assert b'"replaced"' in first.sent


async def test_of_two_resumes_at_once_on_two_nodes_neither_is_told_that_there_is_no_session(
    here: Hub, there: Hub, guests: Guests
) -> None:
    token = await token_of(guests.at(there))
    again = [guests.at(hub, token=token) for hub in (here, there, here, there)]
    for wire in again:
        assert (await answer(wire))["type"] in ("welcome", "replaced")


async def test_a_resume_that_another_overtook_before_it_heard_of_its_own_is_told(
    here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message that the session has moved arrives before the answer that makes it a session of this node."""
    token = await token_of(guests.at(there))
    take_over, taken, told, session_ids = here.directory.take_over, anyio.Event(), anyio.Event(), []

    async def told_late(holder: Record, canonical_name: str, session_id: str) -> int | None:
        fencing_token = await take_over(holder, canonical_name, session_id)
        session_ids.append(session_id)
        taken.set()
        await told.wait()
        return fencing_token

    monkeypatch.setattr(here.directory, "take_over", told_late)
    first = guests.at(here, token=token)
    await taken.wait()
    second = guests.at(there, token=token)
    assert (await answer(second))["resumed"] is True
    here.receive([SessionMoved("ann", session_ids[0])])
    told.set()
    await until(lambda: first.closed)
    assert b'"replaced"' in first.sent
    assert "ann" not in here.sessions
    assert not here._name_claims._moved  # private: what is kept of a session that is over shows nowhere else


async def test_a_wrong_token_behind_a_strangers_claim_is_refused(here: Hub, guests: Guests) -> None:
    stranger = guests.at(here)
    again = guests.at(here, token="wrong")
    await token_of(stranger)
    assert (await answer(again))["code"] == "bad_token"


async def test_a_session_that_moved_on_unheard_is_not_resumed_where_it_was(
    here: Hub, there: Hub, guests: Guests
) -> None:
    """The message of the move was lost. The old node's session is stale, and only the directory knows it."""
    old = guests.at(there)
    token = await token_of(old)
    old.reset()
    await until(lambda: there.sessions["ann"].away)
    await written(there)
    moved = guests.at(here, token=token)
    await token_of(moved)
    stale = there.sessions["ann"]
    again = guests.at(there, token=token)
    assert (await answer(again))["resumed"] is True
    assert there.sessions["ann"] is not stale
    assert stale.state is State.ENDED


async def test_a_record_of_a_switch_under_way_brings_back_the_chat_before_it_and_ends_it_nowhere(
    here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The callee knows nothing. Ann's partner and she herself know of one chat only."""
    token = await token_of(guests.at(there))
    old = there.sessions["ann"]
    ben, cid = (Party("nowhere", name, name, 1, "node", 0.0) for name in ("ben", "cid"))
    old.chat, old.pairing.step = Chat("old", ben), Confirming("new", cid, Call("cid"))
    there.save(old)
    await written(there)
    monkeypatch.setattr(here, "locate", lambda *_: None)
    again = guests.at(here, token=token, chat="old")
    await until(lambda: here.sessions["ann"].fallback_chat is not None)
    there.save(old)
    await until(lambda: old.state is State.ENDED)
    assert old.ended is None
    await until(lambda: b'"paired"' in again.sent)
    assert b'"chat":"old"' in again.sent


@pytest.mark.parametrize("ahead", [0, DAY_US])
@pytest.mark.parametrize("hears", ["from the directory", "from the other node"])
async def test_a_client_that_meets_a_stale_session_once_redis_forgot_is_cut_off_and_not_told_that_another_has_it(
    here: Hub,
    there: Hub,
    guests: Guests,
    redis_store: redis.Redis,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    hears: str,
    ahead: int,
) -> None:
    """The stale session was the first to write itself back, so the directory believes it for a moment.

    The clock of the server that had granted the move was ahead of the nodes' clocks, or was not.
    """
    monkeypatch.setattr(grace_period, "RIVALS_SECONDS", 0.0)  # the client came back long ago
    here.directory.know(time.time_ns() // 1000 + ahead)
    posted = list[Mail]()
    monkeypatch.setattr(here.bus, "post", lambda _, mail: posted.append(mail))
    old, keys = guests.at(there), Keys(prefix)
    token = await token_of(old)
    old.reset()
    await until(lambda: there.sessions["ann"].away)
    await written(there)
    moved = guests.at(here, token=token)
    await token_of(moved)
    moved.reset()
    await until(lambda: here.sessions["ann"].away)
    await written(here)
    stale = there.sessions["ann"]
    place = keys.place("ann")
    redis_store.delete(place.key)
    there.write_back(keys.partition_of("ann"))
    await until(lambda: redis_store.hexists(place.key, place.field))
    again = guests.at(there, token=token)
    assert (await answer(again))["resumed"] is True
    await written(there)
    stale_record = redis_store.hget(place.key, place.field)
    here.write_back(keys.partition_of("ann"))
    await until(lambda: redis_store.hget(place.key, place.field) != stale_record)
    if hears == "from the directory":
        there.write_back(keys.partition_of("ann"))
    else:  # it is late, because its message waited for Redis
        there.receive([mail for mail in posted if isinstance(mail, SessionMoved)])
    await until(lambda: again.closed)
    assert stale.state is State.ENDED
    assert b'"replaced"' not in again.sent
    assert (await answer(guests.at(there, token=token)))["resumed"] is True


@pytest.mark.parametrize("hears", ["at a write", "at a resume"])
async def test_a_client_that_resumed_from_what_a_replaced_server_knew_is_not_told_that_another_has_its_session(
    here: Hub, there: Hub, elsewhere: Hub, guests: Guests, redis_store: redis.Redis, prefix: str, hears: str
) -> None:
    """Its former session, which the new server knows, has the higher fencing token by that server's clock."""
    keys = Keys(prefix)
    place = keys.place("ann")
    here.directory.know(time.time_ns() // 1000 + DAY_US)
    token = await token_of(guests.at(there))
    await written(there)
    on_the_replaced_one = redis_store.hget(place.key, place.field) or ""
    assert (await answer(guests.at(here, token=token)))["resumed"] is True
    await written(here)
    on_the_new_one = redis_store.hget(place.key, place.field) or ""
    redis_store.hset(place.key, place.field, on_the_replaced_one)
    again = guests.at(elsewhere, token=token)
    assert (await answer(again))["resumed"] is True
    await written(elsewhere)
    redis_store.hset(place.key, place.field, on_the_new_one)
    if hears == "at a write":
        elsewhere.write_back(keys.partition_of("ann"))
    else:
        assert (await answer(guests.at(elsewhere, token=token)))["resumed"] is True
    await until(lambda: again.closed)
    assert b'"replaced"' not in again.sent
    assert (await answer(guests.at(elsewhere, token=token)))["resumed"] is True


@pytest.mark.parametrize("hears", ["from the directory", "from the other node"])
async def test_a_client_that_came_back_is_told_if_another_resumes_the_session_later(
    here: Hub, there: Hub, guests: Guests, prefix: str, monkeypatch: pytest.MonkeyPatch, hears: str
) -> None:
    posted = list[Mail]()
    monkeypatch.setattr(here.bus, "post", lambda _, mail: posted.append(mail))
    old = guests.at(there)
    token = await token_of(old)
    again = guests.at(there, token=token)
    assert (await answer(again))["resumed"] is True
    await written(there)
    assert (await answer(guests.at(here, token=token)))["resumed"] is True
    if hears == "from the directory":
        there.write_back(Keys(prefix).partition_of("ann"))
    else:
        there.receive([mail for mail in posted if isinstance(mail, SessionMoved)])
    await until(lambda: again.closed)
    assert b'"replaced"' in again.sent


@pytest.mark.parametrize(("seconds", "replaced"), [(0.0, False), (60.0, True)], ids=["long ago", "just now"])
async def test_a_client_that_came_back_is_told_by_a_node_that_does_not_say_when_the_session_moved_if_it_is_a_rival(
    there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch, seconds: float, replaced: bool
) -> None:
    """A node of an earlier release says the fencing token only, which is a time of another machine."""
    monkeypatch.setattr(grace_period, "RIVALS_SECONDS", seconds)
    token = await token_of(guests.at(there))
    again = guests.at(there, token=token)
    assert (await answer(again))["resumed"] is True
    session_id = there.sessions["ann"].session_id
    there.receive([SessionMoved("ann", session_id, fencing_token=time.time_ns() // 1000 + DAY_US, node_id="m" * 16)])
    await until(lambda: again.closed)
    assert (b'"replaced"' in again.sent) is replaced


async def test_once_a_node_is_over_its_timers_do_nothing(here: Hub) -> None:
    """They may go off between the end of its tasks and the end of its process."""
    rung, later = [], anyio.Event()
    here.call_later(0.0, lambda: rung.append("before"))
    await until(lambda: rung)
    here.call_later(0.0, lambda: rung.append("after"))
    here.halt()
    asyncio.get_running_loop().call_later(0.001, later.set)
    await later.wait()
    assert rung == ["before"]


async def test_a_stale_owner_refuses_nobody(here: Hub, there: Hub, guests: Guests, redis_server: RedisServer) -> None:
    """The name belongs to another session, and the old owner's node doesn't know it yet."""
    old = guests.at(there)
    await token_of(old)
    stale = there.sessions["ann"]
    await there.directory.release("ann", stale.session_id)
    token = await token_of(guests.at(here))
    again = guests.at(there, token=token)
    assert (await answer(again))["resumed"] is True
    assert b'"name_lost"' in old.sent
    assert there.sessions["ann"] is not stale


async def moved_away(here: Hub, there: Hub, guests: Guests, redis_store: redis.Redis, place: RecordKey) -> None:
    """Have a session move from here to another node, and Redis forget that, as a server does that was replaced."""
    token = await token_of(guests.at(here))
    await written(here)
    before = redis_store.hget(place.key, place.field) or ""
    session = here.sessions["ann"]
    assert (await answer(guests.at(there, token=token)))["resumed"] is True
    await written(there)
    here.open_tick()
    here.post(here.node_id, SessionMoved("ann", session.session_id, node_id=there.node_id))
    await until(lambda: "ann" not in here.sessions)
    redis_store.hset(place.key, place.field, before)


async def test_a_name_that_moved_away_is_given_to_nobody_where_a_replaced_server_still_has_the_former_owner(
    here: Hub, there: Hub, guests: Guests, redis_store: redis.Redis, prefix: str
) -> None:
    """The new owner's node already follows the new primary, and this one still asks the former one."""
    await moved_away(here, there, guests, redis_store, Keys(prefix).place("ann"))
    assert (await answer(guests.at(here)))["code"] == "name_taken"


async def test_nobody_is_told_that_the_owner_of_a_name_that_moved_away_is_offline(
    here: Hub, there: Hub, guests: Guests, redis_store: redis.Redis, prefix: str
) -> None:
    """A partner here would take the chat for lost."""
    found = list[Located | Code]()
    await moved_away(here, there, guests, redis_store, Keys(prefix).place("ann"))
    here.locate("ann", found.append)
    await until(lambda: found)
    assert found == [Code.UNAVAILABLE]


async def test_the_record_of_a_session_that_moved_away_is_dropped_once_no_replaced_server_is_asked(
    here: Hub,
    there: Hub,
    guests: Guests,
    redis_store: redis.Redis,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a replaced server that doesn't remember it the name would be free."""
    place, kept = Keys(prefix).place("ann"), list[bool]()

    def left(session_id: str) -> bool:
        """It has left just now, and long ago when it is asked about again."""
        kept.append(redis_store.hexists(place.key, place.field))
        return len(kept) == 1

    await moved_away(here, there, guests, redis_store, place)
    assert here.left(str(redis_store.hget(place.key, place.field)).split()[1].rpartition("/")[2])
    monkeypatch.setattr(here, "left", left)
    monkeypatch.setattr(directory, "REPLACED_SERVER_SECONDS", 0.0)
    await here.directory.tidy([place.partition])
    assert kept == [True, True]
    assert not redis_store.hexists(place.key, place.field)


async def test_a_client_that_has_hung_up_takes_nothing_from_one_that_is_there(
    here: Hub, there: Hub, guests: Guests
) -> None:
    """A node that was suspended finds the lines of a client that has gone elsewhere."""
    owner = guests.at(there)
    token = await token_of(owner)
    ghost = guests.at(here, token=token)
    ghost.end()
    assert (await answer(ghost))["code"] == "bad_token"
    owner.send(b'{"type":"ping"}\n')
    assert (await answer(owner))["type"] == "pong"
    assert there.sessions["ann"].client is owner.connection


async def test_a_client_that_has_hung_up_takes_nothing_from_its_own_next_try(
    here: Hub, there: Hub, guests: Guests
) -> None:
    token = await token_of(guests.at(there))
    await written(there)
    live = guests.at(here, token=token)
    ghost = guests.at(here, token=token)
    ghost.end()
    assert (await answer(live))["resumed"] is True
    assert (await answer(ghost))["code"] == "bad_token"
    assert not live.closed


async def test_a_client_that_has_hung_up_may_come_back_to_a_session_that_is_away(
    here: Hub, there: Hub, guests: Guests
) -> None:
    owner = guests.at(there)
    token = await token_of(owner)
    owner.reset()
    await until(lambda: there.quiet or there.sessions["ann"].away)
    await written(there)
    script = guests.at(here, token=token)
    script.end()
    assert (await answer(script))["resumed"] is True


async def test_a_resume_that_comes_through_once_the_node_is_being_stopped_is_left_to_another_node(
    here: Hub, there: Hub, guests: Guests
) -> None:
    old = guests.at(there)
    token = await token_of(old)
    old.reset()
    await until(lambda: there.sessions["ann"].away and there.written)
    late = guests.at(here, token=token)
    here.dismiss()
    await until(lambda: not here.sessions)
    assert not late.sent
    assert (await answer(guests.at(there, token=token)))["resumed"] is True


async def test_a_claim_that_is_refused_once_the_node_is_being_stopped_has_no_answer(
    here: Hub, there: Hub, guests: Guests
) -> None:
    await token_of(guests.at(there))
    late = guests.at(here)
    here.dismiss()
    await until(lambda: not here.sessions)
    assert not late.sent
    assert here.counts.claims[str(Code.NAME_TAKEN)] == 0


async def test_a_resume_that_waits_for_another_claim_is_left_to_another_node_once_its_own_is_being_stopped(
    here: Hub, there: Hub, guests: Guests
) -> None:
    token = await token_of(guests.at(there))
    guests.at(here)
    late = guests.at(here, token=token)
    here.dismiss()
    await until(lambda: not here.sessions)
    assert not late.sent
    found = await there.directory.find("ann")
    assert found is not None
    assert found.node_id == there.node_id


async def test_a_resume_on_the_own_node_that_is_being_stopped_is_left_to_another_node(
    here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_token, answered = here.directory.find_token, anyio.Event()

    async def find(*about: str) -> Record | None:
        found = await find_token(*about)
        answered.set()
        return found

    monkeypatch.setattr(here.directory, "find_token", find)
    token = await token_of(guests.at(here))
    late = guests.at(here, token=token)
    here.dismiss()
    await answered.wait()
    assert here.sessions["ann"].away
    assert not late.sent
    assert (await answer(guests.at(there, token=token)))["resumed"] is True


async def test_a_resume_is_refused_by_a_session_that_lost_its_name_and_has_claimed_it_anew(
    here: Hub, guests: Guests
) -> None:
    first = guests.at(here)
    token = await token_of(first)
    session = here.sessions["ann"]
    again = guests.at(here, token=token)
    here.open_tick()
    session.name_lost()
    first.send(b'{"type":"hello","name":"ann"}\n')
    assert here.sessions["ann"] is session
    assert (await answer(again))["code"] == "bad_token"
    assert session.named
    assert not first.closed


async def test_a_token_is_not_called_bad_while_nobody_can_know(
    here: Hub, there: Hub, guests: Guests, redis_store: redis.Redis, prefix: str
) -> None:
    """Redis lost the name, and its owner's node misses the roll call."""
    token = await token_of(guests.at(there))
    await written(there)
    redis_store.delete(Keys(prefix).place("ann").key)
    assert (await answer(guests.at(here, token=token)))["code"] == "unavailable"
    there.write_back(Keys(prefix).partition_of("ann"))
    await until(lambda: redis_store.hexists(Keys(prefix).place("ann").key, Keys(prefix).place("ann").field))
    assert (await answer(guests.at(here, token=token)))["resumed"] is True


async def test_a_token_is_not_called_bad_where_a_server_that_went_back_remembers_a_session_before_it(
    here: Hub,
    there: Hub,
    guests: Guests,
    redis_store: redis.Redis,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, waits = Keys(prefix).place("ann"), list[int]()
    first = guests.at(there)
    await token_of(first)
    before = redis_store.hget(place.key, place.field) or ""
    first.send(b'{"type":"quit"}\n')
    await until(lambda: first.closed)
    token = await token_of(guests.at(there))
    redis_store.hset(place.key, mapping={place.field: before, "@": "1 another"})
    monkeypatch.setattr(here, "partitions_lost", waits.append)
    again = guests.at(here, token=token)
    await until(lambda: len(waits) > 1)  # at first the partition named another server
    assert not again.lines()
    there.write_back(place.partition)
    assert (await answer(again))["resumed"] is True


async def test_a_name_is_not_kept_for_a_program_that_gave_up_waiting(
    here: Hub, guests: Guests, redis_store: redis.Redis, prefix: str
) -> None:
    """Its partition lost its data, so the claim waits for a lease. Meanwhile the client disconnects."""
    redis_store.delete(Keys(prefix).place("ann").key)
    guests.at(here).end()
    await until(lambda: "ann" in here.sessions)
    await anyio.sleep(PATIENCE_SECONDS)
    redis_store.hset(Keys(prefix).place("ann").key, "@", "0")  # the lease is over
    await until(lambda: "ann" not in here.sessions)
    await token_of(guests.at(here))


async def test_a_resume_whose_answer_was_lost_can_be_tried_again(
    here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis executes it now or later. The session is then this node's, and only the client's token resumes it."""
    token = await token_of(guests.at(there))
    take_over = here.directory.take_over

    async def unanswered(*about: Any) -> int | None:
        await take_over(*about)
        raise Unavailable("no answer in time")

    with monkeypatch.context() as patch:
        patch.setattr(here.directory, "take_over", unanswered)
        assert (await answer(guests.at(here, token=token)))["code"] == "unavailable"
    with anyio.fail_after(5):
        await written(here)
        await anyio.sleep(2 * RETRY_SECONDS)  # failed claims are taken back about now, but not this one
        for hub in (here, there):
            assert (await answer(guests.at(hub)))["code"] == "name_taken"
        assert (await answer(guests.at(here, token=token)))["resumed"] is True
