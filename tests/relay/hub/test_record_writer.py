"""Records follow sessions: one write at a time, none lost, none overtaken, also if the server is away."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from relay.directory import record as directory_record
from relay.directory.directory import Directory, Lease, Unavailable
from relay.directory.record import SessionRecord
from relay.hub.record_writer import RecordWriter, body
from relay.protocol.commands_and_events import EndOfStream
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import Keys
from relay.session.session import Session, State
from tests.relay.desk import LEASE_SECONDS, NODE_ID, patient, until
from tests.relay.world import World, enter, pair
from tests.support.clocks import own_clock
from tests.support.rows import each_row
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio


class Desk:
    """Writes records of sessions to a directory on a real server."""

    def __init__(self, server: RedisServer, prefix: str, tasks: TaskGroup) -> None:
        self.redis_client, self.keys = RedisClient(server.url), Keys(prefix)
        lease = Lease(self.redis_client, self.keys, NODE_ID, LEASE_SECONDS)
        self.directory = Directory(self.redis_client, self.keys, lease, self)
        self.turns = 0
        self.records = RecordWriter(self.directory, tasks, self._changed)
        self.world = World()
        self.client = server.client()
        tasks.start_soon(self.redis_client.run)

    def _changed(self) -> None:
        self.turns += 1

    def partitions_lost(self, *partitions: int) -> None:
        """Do nothing: these tests lose no partition."""

    def here(self, session_id: str) -> bool:
        """Every session lives, because no test asks about a dead one."""
        return True

    def left(self, session_id: str) -> bool:
        return False

    def user(self, name: str) -> Session:
        """Return a session that has claimed its name elsewhere."""
        return enter(self.world.place("n1"), name).session

    def written(self, session: Session) -> directory_record.Record | None:
        """Return the record in Redis."""
        place = self.keys.place(session.canonical_name)
        raw = self.client.hget(place.key, place.field)
        return directory_record.decode(str(raw).encode()) if raw else None


@pytest.fixture
async def desk(redis_server: RedisServer, prefix: str) -> AsyncIterator[Desk]:
    with patient():
        async with anyio.create_task_group() as tasks:
            desk = Desk(redis_server, prefix, tasks)
            yield desk
            await until(lambda: desk.records.quiet)
            tasks.cancel_scope.cancel()
    await desk.redis_client.aclose()
    desk.client.close()


@pytest.fixture
async def away(own_redis: RedisServer, prefix: str) -> AsyncIterator[tuple[Desk, RedisServer]]:
    """A desk whose server is stopped."""
    async with anyio.create_task_group() as tasks:
        desk = Desk(own_redis, prefix, tasks)
        own_redis.stop()
        yield desk, own_redis
        tasks.cancel_scope.cancel()
    await desk.redis_client.aclose()


class TestSaving:
    async def test_a_save_is_told_once_the_record_is_there_in_a_turn_of_its_own(self, desk: Desk) -> None:
        ann = desk.user("Ann")
        told: list[tuple[bool, int]] = []
        desk.records.save(ann, lambda ok: told.append((ok, desk.turns)))
        assert not desk.records.quiet
        await until(lambda: told)
        assert told == [(True, 1)]
        found = desk.written(ann)
        assert found is not None
        assert (found.node_id, found.session_id, found.body) == (NODE_ID, ann.session_id, body(ann))
        assert ann.fencing_token == found.fencing_token

    async def test_everyone_who_asked_is_told_and_the_last_state_is_the_one_that_stays(self, desk: Desk) -> None:
        first, second = enter(desk.world.place("n1"), "ann"), enter(desk.world.place("n1"), "ben")
        told: list[bool] = []
        for _ in range(3):
            desk.records.save(first.session, told.append)
        chat = pair(first, second)
        desk.records.save(first.session, told.append)
        await until(lambda: len(told) == 4)
        found = desk.written(first.session)
        assert found is not None
        assert found.body.chat == chat
        assert all(told)

    async def test_a_change_during_the_write_of_a_record_is_written_after_it(self, desk: Desk) -> None:
        first, second = enter(desk.world.place("n1"), "ann"), enter(desk.world.place("n1"), "ben")
        desk.records.save(first.session)
        await anyio.lowlevel.checkpoint()  # the write is in flight
        chat = pair(first, second)
        done: list[bool] = []
        desk.records.save(first.session, done.append)
        await until(lambda: done)
        found = desk.written(first.session)
        assert found is not None
        assert found.body.chat == chat

    async def test_a_session_without_a_name_has_no_record(self, desk: Desk) -> None:
        told: list[bool] = []
        desk.records.save(desk.world.place("n1").user().session, told.append)
        await until(lambda: told)
        assert told == [False]

    async def test_a_defect_keeps_nobody_from_being_told_and_no_record_from_being_written(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save, failures = desk.directory.save, 1

        async def fail_at_first(*about: Any) -> int:
            nonlocal failures
            if failures:
                failures -= 1
                raise RuntimeError("a defect")
            return await save(*about)

        def fail(ok: bool) -> None:
            raise RuntimeError("another one")

        monkeypatch.setattr(desk.directory, "save", fail_at_first)
        ann = desk.user("Ann")
        told: list[bool] = []
        desk.records.save(ann, fail)
        desk.records.save(ann, told.append)
        await until(lambda: told)
        assert told == [False]
        await until(lambda: desk.written(ann))

    async def test_a_name_is_given_back_whatever_fails_at_first(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        release, failures = desk.directory.release, 1

        async def fail_at_first(*about: Any) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise RuntimeError("a defect")
            await release(*about)

        monkeypatch.setattr(desk.directory, "release", fail_at_first)
        ann = desk.user("Ann")
        desk.records.save(ann)
        await until(lambda: desk.written(ann))
        told: list[bool] = []
        desk.records.release(ann, lambda: told.append(True))
        await until(lambda: told and desk.written(ann) is None)
        assert told == [True]

    async def test_a_name_that_is_another_s_is_lost(self, desk: Desk) -> None:
        ann = desk.user("ann")
        place = desk.keys.place("ann")
        other = SessionRecord("ann", 0.0, "", False, "", None)
        desk.client.hset(place.key, place.field, f"9 other/1/s9 {directory_record.encode(other).decode()}")
        desk.client.expire(place.key, 60)
        told: list[bool] = []
        desk.records.save(ann, told.append)
        await until(lambda: told)
        assert told == [False]
        assert ann.state is State.NAMELESS
        assert str(desk.client.hget(place.key, place.field)).startswith("9 other/1/s9 ")

    async def test_a_session_that_was_resumed_elsewhere_is_replaced_though_nobody_knows_whether_its_node_lives(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The node's lease is on a server that doesn't answer, and the record on one that does."""
        ann = desk.user("ann")
        place = desk.keys.place("ann")
        other = SessionRecord("ann", 30.0, ann.token_hash, False, "", None)
        desk.client.hset(place.key, place.field, f"9 other/1/s9 {directory_record.encode(other).decode()}")
        desk.client.expire(place.key, 60)

        async def silent(_node_id: str) -> None:
            raise Unavailable

        monkeypatch.setattr(desk.directory.node_liveness, "lapsed", silent)
        desk.client.hset(place.key, "@", "0")
        assert (await desk.directory.find_token("ann", ann.token_hash)) is not None
        monkeypatch.setattr(type(ann), "name_lost", None)
        desk.records.save(ann)
        await until(lambda: not ann.named)

    async def test_nobody_has_lost_a_name_while_it_cannot_be_asked_whose_it_is(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ann = desk.user("ann")
        place = desk.keys.place("ann")
        other = SessionRecord("ann", 30.0, ann.token_hash, False, "", None)
        desk.client.hset(place.key, place.field, f"9 other/1/s9 {directory_record.encode(other).decode()}")
        desk.client.expire(place.key, 60)
        resumed, asked = desk.directory.resumed, []

        async def silent(*about: str) -> directory_record.Record | None:
            asked.append(about)
            if len(asked) == 1:
                raise Unavailable
            assert ann.named
            return await resumed(*about)

        monkeypatch.setattr(desk.directory, "resumed", silent)
        monkeypatch.setattr(type(ann), "name_lost", None)
        desk.records.save(ann)
        await until(lambda: not ann.named)


class TestReleasing:
    async def test_a_release_comes_behind_the_record_that_is_being_written(self, desk: Desk) -> None:
        ann = desk.user("ann")
        desk.records.save(ann)
        await anyio.lowlevel.checkpoint()
        done: list[bool] = []
        desk.records.release(ann, lambda: done.append(True))
        await until(lambda: done)
        await until(lambda: desk.records.quiet)
        assert desk.written(ann) is None

    async def test_whoever_is_told_finds_the_name_free(self, desk: Desk) -> None:
        ann = desk.user("ann")
        saved: list[bool] = []
        desk.records.save(ann, saved.append)
        await until(lambda: saved)
        seen: list[object] = []
        desk.records.release(ann, lambda: seen.append(desk.written(ann)))
        await until(lambda: seen)
        assert seen == [None]


class TestWithoutRedis:
    async def test_a_save_fails_within_a_second_and_is_written_when_redis_is_back(
        self, away: tuple[Desk, RedisServer]
    ) -> None:
        desk, server = away
        ann = desk.user("ann")
        told: list[bool] = []
        desk.records.save(ann, told.append)
        async with own_clock() as clock:
            await until(lambda: told)
            assert clock() < 1.2
        assert told == [False]
        await anyio.to_thread.run_sync(server.start)
        desk.client = server.client()
        await until(lambda: desk.written(ann))
        await until(lambda: desk.records.quiet)
        assert told == [False]

    async def test_a_name_is_given_back_when_redis_is_back_and_nobody_waits_for_it(
        self, away: tuple[Desk, RedisServer]
    ) -> None:
        desk, server = away
        ann = desk.user("ann")
        done: list[bool] = []
        desk.records.release(ann, lambda: done.append(True))
        async with own_clock() as clock:
            await until(lambda: done)
            assert clock() < 1.2
        assert not desk.records.quiet
        await anyio.to_thread.run_sync(server.start)
        await until(lambda: desk.records.quiet)
        assert done == [True]

    async def test_writing_all_back_fails_but_goes_on(self, away: tuple[Desk, RedisServer]) -> None:
        desk, server = away
        users = [desk.user(name) for name in ("ann", "ben", "cas")]
        with pytest.raises(Unavailable):
            await desk.records.write_all(users)
        await anyio.to_thread.run_sync(server.start)
        desk.client = server.client()
        await until(lambda: all(desk.written(user) for user in users))


async def test_all_records_are_written_back(desk: Desk) -> None:
    users = [desk.user(f"user{n}") for n in range(20)]
    await desk.records.write_all(users)
    assert all(desk.written(user) for user in users)
    await desk.records.write_all([])


class TestTheBody:
    def test_the_body_says_what_others_have_to_know(self) -> None:
        world = World()
        ann, tim = enter(world.place("n1"), "Ann"), enter(world.place("n2"), "Tim", program=False)
        chat = pair(ann, tim)
        grace = world.limits.grace
        assert body(ann.session) == SessionRecord("Ann", grace, ann.session.token_hash, False, chat, tim.session.party)
        assert body(tim.session) == SessionRecord("Tim", 0.0, "", False, chat, ann.session.party)

    def test_someone_away_is_away(self) -> None:
        ann = enter(World().place("n1"), "Ann")
        ann.says(EndOfStream())
        assert body(ann.session).away

    def test_a_record_comes_out_as_it_went_in(self) -> None:
        world = World()
        ann, tim = enter(world.place("n1"), "Ann"), enter(world.place("n2"), "Tim")
        pair(ann, tim)
        raw = b"7 n1/2/s1 " + directory_record.encode(body(ann.session))
        found = directory_record.decode(raw)
        assert found == directory_record.Record(7, "n1", "2", "s1", body(ann.session))
        assert found.version == "7 n1/2/s1"

    @each_row(
        "raw", [b"", b"0", b"7 n1/1 []", b"x n1/1/s []", b"7 n1/1/s {}", b"7 n1/1/s " + b"[" * 9999, b"7 \xff/1/s []"]
    )
    def test_a_record_that_no_node_wrote_is_refused(self, raw: bytes) -> None:
        with pytest.raises(directory_record.BadRecord):
            directory_record.decode(raw)
