"""The owner of a name that needs proof: the user's latest connection, on any node."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from relay.directory.directory import Record, SessionRecord
from relay.hub.hub import Hub
from relay.hub.name_claims import TRIES
from relay.hub.rate_limit import RateLimiter, TokenBucket
from relay.metrics import Limit
from relay.session.peer_messages import SessionMoved
from relay.session.runtime_interface import Limits
from relay.session.session import State
from tests.relay.desk import Guests, Wire, a_hub, answer, token_of, until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

LIMITS = Limits(calls=1)


@pytest.fixture
async def here(redis_server: RedisServer, prefix: str) -> AsyncIterator[Hub]:
    async with a_hub(redis_server.url, prefix, LIMITS) as hub:
        yield needing_proof(hub)


@pytest.fixture
async def there(redis_server: RedisServer, prefix: str, here: Hub) -> AsyncIterator[Hub]:
    async with a_hub(redis_server.url, prefix, LIMITS, "m" * 16) as hub:
        yield needing_proof(hub)


def needing_proof(hub: Hub) -> Hub:
    hub.verify_token, hub.authenticates = lambda name, token: token == "good", True
    return hub


@pytest.fixture
async def guests() -> AsyncIterator[Guests]:
    guests = Guests(auth="good")
    yield guests
    guests.close()


def says(wire: Wire, **frame: str) -> None:
    wire.send(json.dumps(frame).encode() + b"\n")


async def code(wire: Wire) -> str:
    return str((await answer(wire))["code"])


async def test_a_user_who_proves_a_name_again_elsewhere_has_it_there(
    here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[tuple[str, Any]] = []
    old = guests.at(there)
    await token_of(old)
    session_id = there.sessions["ann"].session_id
    monkeypatch.setattr(here, "post", lambda node_id, mail: posted.append((node_id, mail)))
    await token_of(guests.at(here))
    assert posted == [(there.node_id, SessionMoved("ann", session_id, superseded=True))]
    there.receive([SessionMoved("ann", session_id, superseded=True)])
    await until(lambda: old.closed)
    assert "ann" not in there.sessions


async def test_of_two_connections_that_prove_a_name_at_once_on_one_node_the_later_one_has_it(
    here: Hub, guests: Guests
) -> None:
    first, second = guests.at(here), guests.at(here)
    await token_of(second)
    await until(lambda: first.closed)
    assert here.sessions["ann"].client is second.connection


@pytest.mark.parametrize("program", [True, False])
async def test_a_connection_that_broke_while_it_waited_takes_the_name_from_nobody(
    here: Hub, guests: Guests, program: bool
) -> None:
    """It is the same user's, and waits for another claim. It is gone before its turn."""
    first = guests.at(here)
    broken = guests.connect(here)
    broken.send(b'{"type":"hello","name":"ann","auth":"good"}\n' if program else b"ann good\n")
    broken.reset()
    await until(lambda: here.sessions["ann"].named)
    await until(lambda: broken.connection.session.state in (State.ENDED, State.NAMELESS))
    assert here.sessions["ann"].client is first.connection
    assert not first.closed
    await token_of(first)


async def test_a_client_whose_name_was_taken_over_before_it_heard_that_it_had_it_is_told(
    here: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the name belongs to the user's older connection here."""
    old = guests.at(here)
    await token_of(old)
    take_over, taken, told, session_ids = here.directory.take_over, anyio.Event(), anyio.Event(), []

    async def told_late(holder: Record, canonical_name: str, session_id: str, body: SessionRecord) -> int | None:
        fencing_token = await take_over(holder, canonical_name, session_id, body)
        session_ids.append(session_id)
        taken.set()
        await told.wait()
        return fencing_token

    monkeypatch.setattr(here.directory, "take_over", told_late)
    new = guests.at(here)
    await taken.wait()
    here.receive([SessionMoved("ann", session_ids[0], superseded=True)])
    told.set()
    await until(lambda: new.closed)
    assert b'"replaced"' in new.sent
    assert old.closed
    assert "ann" not in here.sessions


async def test_nobody_has_a_name_without_the_proof(here: Hub, guests: Guests) -> None:
    assert await code(guests.at(here, auth="bad")) == "bad_auth"


async def test_a_name_that_is_let_go_meanwhile_is_claimed_as_a_vacant_one(
    here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    await token_of(guests.at(there))
    find, session_id = here.directory.find, there.sessions["ann"].session_id

    async def find_late(canonical_name: str) -> Record | None:
        await there.directory.release("ann", session_id)
        return await find(canonical_name)

    monkeypatch.setattr(here.directory, "find", find_late)
    await token_of(guests.at(here))


async def test_a_client_that_is_always_overtaken_gives_up_and_hears_that_the_name_is_taken(
    here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand others may have the same proof."""
    tries: list[str] = []
    token = await token_of(guests.at(there))

    async def overtaken(holder: Record, *about: Any) -> int | None:
        tries.append(holder.session_id)
        return None

    monkeypatch.setattr(here.directory, "take_over", overtaken)
    assert await code(guests.at(here)) == "name_taken"
    assert len(tries) == TRIES
    assert await code(guests.at(here, token=token)) == "bad_token"
    assert len(tries) == 2 * TRIES


async def test_a_client_that_asks_for_names_too_often_is_refused_and_counted(here: Hub, guests: Guests) -> None:
    wire = guests.connect(here)
    wire.connection.rate_limiter = RateLimiter(here.limits, TokenBucket(1, here.now))
    says(wire, type="hello", name="ann", auth="bad")
    assert await code(wire) == "bad_auth"
    says(wire, type="hello", name="ann", auth="good")
    assert await code(wire) == "rate_limited"
    assert here.counts.limits[Limit.CLAIMS] == 1


@pytest.mark.parametrize("type", ["to", "who"])
async def test_a_client_that_calls_or_looks_up_too_often_is_refused_and_counted(
    type: str, here: Hub, guests: Guests
) -> None:
    ann = guests.at(here)
    await token_of(ann)
    says(ann, type="to", name="zoe")
    assert await code(ann) == "no_such_user"
    says(ann, type=type, name="zoe")
    assert await answer(ann) | {"message": ""} == {
        "type": "error",
        "code": "rate_limited",
        "message": "",
        "name": "zoe",
    }
    assert here.counts.limits[Limit.CALLS] == 1


# A defect of our own that one client triggers can't be foreseen.


async def broken(*about: Any, **more: Any) -> Any:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("step", ["claim", "take_over", "find_token", "locate"])
async def test_a_defect_in_a_step_is_logged_and_costs_that_client_its_answer_only(
    step: str, here: Hub, there: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await token_of(guests.at(there))
    ben = guests.at(here, "ben")
    await token_of(ben)
    node = there if step == "find_token" else here  # the session must still be found there
    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(node.directory, step, broken)
        if step == "locate":
            says(ben, type="who", name="ann")
            assert await code(ben) == "unavailable"
        else:
            more = {"name": "zoe"} if step == "claim" else {"token": token}
            assert await code(guests.at(node, **more)) == "unavailable"
    assert [line["log_level"] for line in log] == ["error"]
    says(ben, type="ping")
    assert (await answer(ben))["type"] == "pong"


async def test_a_defect_behind_an_answer_is_logged_and_the_node_goes_on(
    here: Hub, guests: Guests, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(here, "wake", lambda session: 1 / 0)
        await token_of(guests.at(here))
        await until(lambda: [line for line in log if line["event"] == "a step failed"])
    await token_of(guests.at(here, "ben"))


async def test_a_claim_that_waits_for_another_one_leaves_the_name_free_once_the_node_is_being_stopped(
    here: Hub, there: Hub, guests: Guests
) -> None:
    guests.at(here)
    late = guests.at(here)
    here.dismiss()
    await until(lambda: not here.sessions and here.written)
    assert not late.sent
    assert await there.directory.find("ann") is None
