"""Each counter rises by the events that it counts, and by no others."""

from functools import partial
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from relay.bus import link_table
from relay.bus.reliable_link import Kind, Link, pack, unpack
from relay.hub import periodic_checks
from relay.hub.hub import Hub
from relay.metrics import CALLS, CLAIMS, SECONDS, Counts, Histogram, Limit, Outcome
from relay.protocol.commands_and_events import Block, Call, Claim, Leave, Resume, Say
from relay.protocol.errors import Code, Reason
from relay.redis_client.client import RedisClient, Script, Unavailable
from relay.server.connection import TURN_LINES
from relay.session import peer_handlers
from relay.session.peer_messages import Ack, Resync, encode
from relay.session.runtime_interface import Limits
from tests.relay.bus_desk import Desk
from tests.relay.desk import Connect, text, until
from tests.relay.world import World, enter, pair
from tests.support.rows import each_row
from tests.support.server import RedisServer

WINDOW = 8
LIMITS = Limits(window=WINDOW)


def risen(counts: dict[Any, int]) -> dict[Any, int]:
    """Return the counters that aren't zero."""
    return {label: count for label, count in counts.items() if count}


class TestHistogram:
    @each_row(("value", "place"), [(0, 0), (1, 0), (1.001, 1), (2, 1), (9, 2)])
    def test_a_value_counts_under_the_first_bound_that_it_does_not_exceed(self, value: float, place: int) -> None:
        histogram = Histogram((1, 2))
        histogram.observe(value)
        assert (histogram.counts.index(1), sum(histogram.counts), histogram.sum) == (place, 1, value)


def test_every_known_label_is_there_from_the_start() -> None:
    counts = Counts()
    assert set(counts.limits) == set(Limit)
    assert set(counts.claims) == set(CLAIMS)
    assert set(counts.calls) == set(CALLS)


class TestClaims:
    def test_claims_count_by_outcome(self) -> None:
        world = World()
        place = world.place("n1")
        ann = enter(place, "Ann")
        place.user().says(Claim("ann"))
        place.user().says(Claim("a{n"))
        place.user().says(Claim("ann", resume=Resume("wrong")))
        place.user().says(Claim("ann", resume=Resume(ann.token)))
        world.settle()
        world.directory.available = False
        place.user().says(Claim("ben"))
        world.settle()
        assert risen(place.counts.claims) == {
            Outcome.GRANTED: 1,
            Code.NAME_TAKEN: 1,
            Code.NAME_INVALID: 1,
            Code.BAD_TOKEN: 1,
            Outcome.RESUMED: 1,
            Code.UNAVAILABLE: 1,
        }


class TestCalls:
    def test_calls_count_by_outcome_where_the_caller_is(self) -> None:
        world = World()
        here, there = world.place("n1"), world.place("n2")
        ann, ben, cas = enter(here, "Ann"), enter(there, "Ben"), enter(here, "Cas")
        cas.says(Call("nobody"), Call("cas"), Call("{"))
        world.settle()
        pair(ann, ben)
        cas.says(Call("ben"))
        world.settle()
        assert risen(here.counts.calls) == {
            Code.NO_SUCH_USER: 1,
            Code.SELF_CHAT: 1,
            Code.NAME_INVALID: 1,
            Outcome.PAIRED: 1,
            Code.BUSY: 1,
        }
        assert not risen(there.counts.calls)

    def test_two_who_call_each_other_both_get_what_they_asked_for(self) -> None:
        world = World()
        here, there = world.place("n1"), world.place("n2")
        ann, ben = enter(here, "Ann"), enter(there, "Ben")
        ann.says(Call("ben"))
        ben.says(Call("ann"))
        world.settle()
        assert risen(here.counts.calls) == risen(there.counts.calls) == {Outcome.PAIRED: 1}

    def test_a_call_that_a_lost_node_cuts_short_counts_as_unavailable(self) -> None:
        world = World()
        here, there = world.place("n1"), world.place("n2")
        ann, _ = enter(here, "Ann"), enter(there, "Ben")
        ann.says(Call("ben"))
        world.happen("directory")
        ann.session.node_lost("n2", 0.0)
        assert risen(here.counts.calls) == {Code.UNAVAILABLE: 1}


class TestLimitsOfSessions:
    def test_a_full_window_that_refuses_a_message_counts(self) -> None:
        world = World(Limits(window=2))
        ann, ben = enter(world.place("n1"), "Ann", acks=True), enter(world.place("n2"), "Ben", acks=True)
        pair(ann, ben)
        ann.says(Say("a", 1), Say("b", 2))
        assert not risen(world.place("n1").counts.limits)
        ann.says(Say("c", 3))
        assert risen(world.place("n1").counts.limits) == {Limit.WINDOW: 1}

    def test_names_blocked_beyond_the_bound_count(self) -> None:
        world = World(Limits(blocks=1))
        ann = enter(world.place("n1"), "Ann")
        ann.says(Block("ben"), Block("cas"))
        assert risen(world.place("n1").counts.limits) == {Limit.BLOCKS: 1}


@pytest.mark.anyio
class TestLimitsOfConnections:
    async def test_connections_are_counted_also_those_that_are_gone(self, hub: Hub, wire: Connect) -> None:
        wire().reset()
        wire()
        assert hub.counts.connections == 2

    async def test_a_line_that_is_too_long_counts(self, hub: Hub, wire: Connect) -> None:
        client = await text(wire, b"ann")
        client.send(b"x" * 70_000 + b"\n")
        await until(lambda: client.sent)
        assert risen(hub.counts.limits) == {Limit.LINE: 1}

    @pytest.mark.parametrize("flood", [b"x\n" * WINDOW * 2, b"x\n" * 8000], ids=["few", "more than one read"])
    async def test_a_full_window_that_stops_reading_counts(self, flood: bytes, hub: Hub, wire: Connect) -> None:
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        ben.full = True
        ann.send(b"To:ben\n")
        await until(lambda: ben.sent)
        ann.send(flood)
        await until(lambda: hub.counts.limits[Limit.WINDOW])
        assert not ann.reading
        assert risen(hub.counts.limits) == {Limit.WINDOW: 1}
        ben.read()
        await until(lambda: ann.reading)
        ben.full = True
        ann.send(b"x\n" * WINDOW * 2)
        await until(lambda: hub.counts.limits[Limit.WINDOW] >= 2)

    async def test_replies_that_nobody_reads_count(self, hub: Hub, wire: Connect) -> None:
        client = wire()
        client.send(b'{"type":"hello","name":"ann"}\n')
        await until(lambda: b"welcome" in client.sent)
        client.full = True
        client.send(b'{"type":"ping"}\n')
        for _ in range(40):
            client.send(b'{"type":"ping"}\n' * TURN_LINES)
            await anyio.lowlevel.checkpoint()
        await until(lambda: not client.reading)
        assert risen(hub.counts.limits) == {Limit.REPLIES: 1}

    async def test_a_name_that_never_comes_counts(self, hub: Hub, wire: Connect) -> None:
        hub.limits = replace(hub.limits, name=0.01)
        client = wire()
        await until(lambda: client.aborted)
        assert risen(hub.counts.limits) == {Limit.NAME_TIME: 1}

    # private: clients that hold as much as the test wants aren't connections, which alone can be plugged in
    async def test_memory_each_time_that_it_gets_short(self, hub: Hub) -> None:
        hoarder: Any = Holder(1 << 40)
        waiting: Any = Holder(0)
        hub.plug(waiting, resumable=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(periodic_checks.share_out_memory, hub)
            for times in (1, 2):
                session = hub.plug(hoarder, resumable=True)
                hub.memory_holders[hoarder] = None
                await until(lambda: hub.memory_budget.short)
                hoarder.looks = 0
                await until(lambda: hoarder.looks > 2)
                assert risen(hub.counts.limits) == {Limit.MEMORY: times}, "once, for as long as it stays short"
                assert waiting.ended_ticks == times - 1
                hub.unplug(session, hoarder)
                await until(lambda: not hub.memory_budget.short)
                await until(partial(waiting.has_ended, times))  # there is memory again, so it may go on
            tasks.cancel_scope.cancel()


class Holder:
    """A connection that holds a number of bytes, and has lines that wait."""

    lines = (b"more",)

    def __init__(self, bytes: int) -> None:
        self._bytes = bytes
        self.looks = self.ended_ticks = 0

    @property
    def held_bytes(self) -> int:
        self.looks += 1
        return self._bytes

    def end_tick(self) -> None:
        self.ended_ticks += 1

    def has_ended(self, times: int) -> bool:
        return self.ended_ticks == times


@pytest.mark.anyio
async def test_links_with_too_many_nodes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts only if all links are in use; otherwise the oldest quiet one is dropped."""
    monkeypatch.setattr(link_table, "LINKS", 1)
    desk = Desk()
    for kind, node_id in ((Kind.ACK, "2" * 16), (Kind.MAIL, "3" * 16)):
        desk.hear(pack(kind, node_id, b"a stream", 1, body=encode([])))
    assert risen(desk.counts.limits) == {}
    desk.hear(pack(Kind.ACK, "4" * 16, bytes(8), 0))
    assert risen(desk.counts.limits) == {Limit.LINKS: 1}


class TestMessages:
    @pytest.fixture
    def world(self) -> World:
        return World(Limits(window=4))

    def test_a_message_counts_where_it_is_accepted_delivered_and_acknowledged(self, world: World) -> None:
        here, there = world.place("n1"), world.place("n2")
        ann, ben = enter(here, "Ann"), enter(there, "Ben")
        pair(ann, ben)
        ann.says(Say("a"), Say("b"))
        world.settle()
        assert (here.counts.accepted, here.counts.acknowledged, there.counts.delivered) == (2, 0, 2)
        world.pass_time(0.25)
        ben.reads()
        assert here.counts.acknowledged == 2
        latency = here.counts.latency
        assert (latency.counts[SECONDS.index(0.25)], sum(latency.counts)) == (1, 1), "not above its own bound"
        assert latency.sum == pytest.approx(0.25, abs=1e-5)
        assert (here.counts.delivered, there.counts.accepted, there.counts.acknowledged) == (0, 0, 0)

    def test_a_clock_that_was_set_back_takes_no_time(self, world: World) -> None:
        """A sum that falls would look like the restart of a node."""
        here = world.place("n1")
        ann, ben = enter(here, "Ann"), enter(world.place("n2"), "Ben")
        pair(ann, ben)
        ann.says(Say("a"))
        world.settle()
        world.loop.wall_step = -3600
        ben.reads()
        assert (here.counts.acknowledged, here.counts.latency.sum) == (1, 0.0)

    def test_a_message_without_an_outcome_is_unconfirmed_by_its_reason(self, world: World) -> None:
        here, there = world.place("n1"), world.place("n2")
        ann, ben = enter(here, "Ann"), enter(there, "Ben")
        chat = pair(ann, ben)
        ann.says(Say("a"), Say("b"))
        ben.says(Leave())
        world.settle()
        ann.says(Say("c", None, chat))
        assert risen(here.counts.unconfirmed) == {Reason.LEFT: 3}
        assert (here.counts.accepted, here.counts.acknowledged) == (3, 0)

    def test_a_message_that_the_partner_may_have_missed_counts_as_sent_again(self, world: World) -> None:
        here, there = world.place("n1"), world.place("n2")
        ann, ben = enter(here, "Ann"), enter(there, "Ben")
        chat = pair(ann, ben)
        ann.says(Say("a"), Say("b"))
        world.settle()
        assert ben.session.chat is not None
        peer_handlers.receive(ann.session, Resync("ann", chat, ben.session.party, 1, reply=False))
        assert here.counts.resent == 1, "the first is known to be there"


class TestTheBus:
    def test_batches_count_their_mail(self) -> None:
        counts = Counts()
        link = Link("1" * 16, counts)
        link.outbox += [Ack("ann", "c1", id) for id in range(3)]
        link.flush(0.0)
        assert (sum(counts.batches.counts), counts.batches.sum) == (1, 3)

    def test_gaps_what_is_sent_again_for_them_and_streams_begun_anew(self) -> None:
        here, there = Counts(), Counts()
        one, other = Link("1" * 16, here), Link("2" * 16, there)
        frames = []
        for id in range(3):
            one.outbox.append(Ack("ann", "c1", id))
            frames += one.flush(0.0)
        _, replies = other.take(unpack(frames[2]), 0.0)
        assert (there.gaps, here.frames_resent) == (1, 0)
        one.take(unpack(replies[0]), 0.0)
        assert (there.gaps, here.frames_resent, here.resets) == (1, 3, 0)
        other.take(unpack(frames[0]), 0.0)
        one.take(unpack(other.tick(60.0)[0]), 0.0)
        one.lost(unpack(Link("2" * 16, Counts()).request_retransmit()))
        assert here.resets == 0, "of no stream of ours"
        one.take(unpack(other.request_retransmit()), 0.0)
        forgetful = Link("2" * 16, Counts())
        forgetful.take(unpack(frames[1]), 0.0)
        assert one.lost(unpack(forgetful.request_retransmit()))
        assert here.resets == 1


@pytest.mark.anyio
async def test_a_script_that_the_server_does_not_know_yet_is_an_answer_too(own_redis: RedisServer) -> None:
    counts = Counts()
    redis_client = RedisClient(own_redis.url, counts)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis_client.run)
        assert await redis_client.script(Script("find"), "relay:{p1}", "nobody", 1, 1000)
        assert (counts.redis_failures, sum(counts.round_trips.counts)) == (0, 2)
        own_redis.process.kill()
        with pytest.raises(Unavailable):
            await redis_client.call("PING")
        assert counts.redis_failures > 0
        assert not redis_client.answering
        tasks.cancel_scope.cancel()
    await redis_client.aclose()
