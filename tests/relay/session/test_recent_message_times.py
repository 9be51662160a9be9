"""A message has one time for both sides: the time at which a node first accepted it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.commands_and_events import Acked, Acknowledge, Claim, EndOfStream, Messages, Paired, Resume, Say
from relay.session.peer_messages import Text
from relay.session.recent_message_times import TIMES_KEPT, TIMES_SPARE, RecentMessageTimes
from tests.relay import movers
from tests.relay.world import NOON, User, World, comes_back, enter, pair

world = movers.world


def times_told(user: User) -> dict[int, float]:
    """Return the times of a user's new messages."""
    told = [event for event in user.hears() if isinstance(event, Messages)]
    return {event.id + n: event.at for event in told for n in range(len(event.texts))}


def acks(user: User) -> list[tuple[int, float | None]]:
    """Return ids and times of a user's new acknowledgements."""
    return [(event.id, event.at) for event in user.hears() if isinstance(event, Acked)]


@pytest.fixture
def ann(world: World) -> User:
    return enter(world.place("n1"), "ann", acks=True)


@pytest.fixture
def ben(world: World) -> User:
    return enter(world.place("n2"), "ben", acks=True)


class TestTimes:
    @given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.floats(1, 100)), max_size=20))
    def test_the_first_time_that_is_noted_stays(self, notes: list[tuple[int, int, float]]) -> None:
        times, known, next = RecentMessageTimes(), dict[int, float](), 1
        for step, count, at in notes:
            first = max(1, next + step - 2)  # again, after the last one, or with a gap
            fresh = times.note(first, count, at)
            assert fresh is (first >= next)
            for id in range(first, first + count):
                known.setdefault(id, at)
            next = max(next, first + count)
        assert {id: times.of(id) for id in range(next + 1) if times.of(id) is not None} == known
        last, latest = times.latest
        copy = RecentMessageTimes()
        copy.learn(last, latest)
        assert [copy.of(id) for id in range(next + 1)] == [times.of(id) for id in range(next + 1)]

    def test_only_the_latest_times_are_kept(self) -> None:
        times = RecentMessageTimes()
        last = TIMES_KEPT + TIMES_SPARE + 1
        for id in range(1, last + 1):
            times.note(id, 1, id)
        oldest = last - TIMES_KEPT + 1
        assert (times.of(oldest - 1), times.of(oldest), len(times.latest[1])) == (None, oldest, TIMES_KEPT)
        times.note(TIMES_KEPT + 2, 3 * TIMES_KEPT, 7)
        assert (times.of(TIMES_KEPT + 1), times.of(4 * TIMES_KEPT + 1), len(times.latest[1])) == (None, 7, TIMES_KEPT)
        times.note(10**9, 1, 8)
        assert times.latest == (10**9, [8])

    def test_texts_are_cut_where_the_time_changes(self) -> None:
        times = RecentMessageTimes()
        times.note(2, 1, 5.0)
        assert list(times.runs(1, ["a", "b", "c", "d"], 9.0)) == [
            (1, ["a"], 9.0),
            (2, ["b"], 5.0),
            (3, ["c", "d"], 9.0),
        ]

    @pytest.mark.parametrize(("last", "times"), [(0, [1.0, 2.0]), (1, [1.0] * 5), (-5, [1.0])])
    def test_times_that_no_node_says_harm_nothing(self, last: int, times: list[float]) -> None:
        some = RecentMessageTimes()
        some.learn(last, times)
        assert some.of(0) is None


def test_the_sender_is_told_the_time_that_the_partner_was_told(world: World, ann: User, ben: User) -> None:
    pair(ann, ben)
    ann.says(Say("a", 1))
    world.pass_time(2)
    ann.says(Say("b", 2))
    world.settle()
    assert times_told(ben) == {1: NOON, 2: NOON + 2}
    world.pass_time(3)
    ben.says(Acknowledge(2))
    world.settle()
    assert acks(ann) == [(2, NOON + 2)]
    ann.says(Say("a", 1), Say("b", 2))  # they are sent again, and each keeps its time
    assert acks(ann) == [(1, NOON), (2, NOON + 2)]


def test_a_message_has_the_same_time_when_the_partner_comes_back_elsewhere(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    ann.says(Say("a", 1))
    world.settle()
    world.pass_time(5)
    again = comes_back(ben, world.place("n3"), chat)
    world.settle()
    assert times_told(again) == {1: NOON}
    again.says(Acknowledge(1))
    world.settle()
    assert acks(ann) == [(1, NOON)]


@pytest.mark.parametrize("told", [True, False])
def test_a_message_has_the_same_time_when_the_sender_says_it_again_on_another_node(
    world: World, ann: User, ben: User, told: bool
) -> None:
    """Her node is dead, with everything that it knew. His node has the message, whether he was told or is away."""
    chat = pair(ann, ben)
    if not told:
        ann.says(Say("a", 1), Say("b", 2))
        ben.says(EndOfStream())
    else:
        ann.says(Say("a", 1), Say("b", 2))
    world.settle()
    assert times_told(ben) == ({1: NOON, 2: NOON} if told else {})
    world.crash("n1")
    world.pass_time(5)
    again = comes_back(ann, world.place("n3"), chat, sent=2)
    world.settle()
    again.hears()
    again.says(Say("a", 1), Say("b", 2), Say("c", 3))
    world.settle()
    partner = ben
    if not told:
        partner = comes_back(ben, world.place("n2"), chat)
        world.settle()
    later = times_told(partner)
    assert later == ({3: NOON + 5} if told else {1: NOON, 2: NOON, 3: NOON + 5})
    for id in (1, 2, 3):
        partner.says(Acknowledge(id))
        world.settle()
    assert acks(again) == [(1, NOON), (2, NOON), (3, NOON + 5)]


def test_a_message_has_the_same_time_when_the_sender_moves_before_anybody_was_told(
    world: World, ann: User, ben: User
) -> None:
    """He is away, so only her first node has seen it. That node lives, and passes its knowledge on."""
    chat = pair(ann, ben)
    ben.says(EndOfStream())
    world.settle()
    ann.says(Say("a", 1))
    world.pass_time(1)
    ann.says(Say("b", 2))
    world.pass_time(5)
    again = comes_back(ann, world.place("n3"), chat, sent=2)
    world.settle()
    again.hears()
    again.says(Say("a", 1), Say("b", 2), Say("c", 3))
    world.settle()
    back = comes_back(ben, world.place("n2"), chat)
    world.settle()
    assert times_told(back) == {1: NOON, 2: NOON + 1, 3: NOON + 6}
    for id in (1, 2, 3):
        back.says(Acknowledge(id))
        world.settle()
    assert acks(again) == [(1, NOON), (2, NOON + 1), (3, NOON + 6)]


def test_a_message_that_was_acknowledged_meanwhile_has_its_time_too(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    ann.says(Say("a", 1))
    world.pass_time(1)
    ann.says(Say("b", 2))
    world.settle()
    ben.says(Acknowledge(2))
    world.crash("n1")
    world.pass_time(5)
    again = comes_back(ann, world.place("n3"), chat, sent=2)
    world.settle()
    [paired] = [event for event in again.hears() if isinstance(event, Paired)]
    assert (paired.last, paired.at) == (2, NOON + 1)
    again.says(Say("a", 1), Say("b", 2))
    assert acks(again) == [(1, NOON), (2, NOON + 1)]


def test_a_partner_who_comes_back_says_what_time_it_was_told(world: World, ann: User, ben: User) -> None:
    """Both nodes are dead, so nobody else knows it."""
    chat = pair(ann, ben)
    ann.says(Say("a", 1))
    world.settle()
    world.crash("n1")
    world.crash("n2")
    world.pass_time(5)
    user = world.place("n4").user()
    user.says(Claim("ben", True, Resume(ben.token, chat, 0, 1, None, NOON)))
    world.settle()
    world.pass_time(1)
    world.settle()
    again = comes_back(ann, world.place("n3"), chat, sent=1)
    world.settle()
    [paired] = [event for event in again.hears() if isinstance(event, Paired)]
    assert (paired.last, paired.at) == (1, NOON)


def test_a_partner_says_the_time_of_its_last_message_also_to_a_sender_who_came_back_first(
    world: World, ann: User, ben: User
) -> None:
    """His record names only her old node, so his first peer message reaches nobody."""
    chat = pair(ann, ben)
    ann.says(Say("a", 1))
    world.settle()
    world.crash("n1")
    world.crash("n2")
    world.pass_time(5)
    again = comes_back(ann, world.place("n3"), chat, sent=1)
    world.settle()
    world.pass_time(1)
    world.settle()
    again.hears()
    user = world.place("n4").user()
    user.says(Claim("ben", True, Resume(ben.token, chat, 0, 1, None, NOON)))
    world.settle()
    assert acks(again) == [(1, NOON)]


@pytest.mark.parametrize("first", ["sender", "partner"])
def test_a_message_has_the_same_time_when_the_senders_node_dies_and_the_partner_moves(
    world: World, ann: User, ben: User, first: str
) -> None:
    """The partner's first node lives, and passes its knowledge on. His client doesn't say which messages it had."""
    chat = pair(ann, ben)
    ann.says(Say("a", 1))
    world.settle()
    world.pass_time(1)
    ann.says(Say("b", 2))
    world.settle()
    assert times_told(ben) == {1: NOON, 2: NOON + 1}
    world.crash("n1")
    world.pass_time(5)

    def sender() -> User:
        user = comes_back(ann, world.place("n3"), chat, sent=2)
        world.settle()
        world.pass_time(world.limits.reunion)
        world.settle()
        user.says(Say("a", 1), Say("b", 2))
        return user

    if first == "sender":
        again = sender()
    back = comes_back(ben, world.place("n4"), chat)
    world.settle()
    world.pass_time(world.limits.reunion)
    world.settle()
    if first == "partner":
        again = sender()
    world.settle()
    assert times_told(back) == {1: NOON, 2: NOON + 1}
    back.says(Acknowledge(2))
    world.settle()
    assert acks(again)[-1:] == [(2, NOON + 1)]


def test_a_sender_who_moves_takes_along_what_its_node_had_learnt(world: World, ann: User, ben: User) -> None:
    """The partner's node is dead, and hers lives. It knows the times of the messages that he was told."""
    chat = pair(ann, ben)
    ann.says(Say("a", 1))
    world.settle()
    assert times_told(ben) == {1: NOON}
    world.crash("n2")
    world.pass_time(5)
    again = comes_back(ann, world.place("n3"), chat, sent=1)
    world.settle()
    world.pass_time(world.limits.reunion)
    world.settle()
    again.says(Say("a", 1))
    back = comes_back(ben, world.place("n4"), chat)
    world.settle()
    assert times_told(back) == {1: NOON}
    back.says(Acknowledge(1))
    world.settle()
    assert acks(again)[-1:] == [(1, NOON)]


def test_a_person_s_stamp_is_the_same_time(world: World, ann: User) -> None:
    tim = enter(world.place("n2"), "tim", program=False)
    chat = pair(ann, tim)
    ann.says(Say("a", 1))
    world.settle()
    world.crash("n1")
    world.pass_time(5)
    again = comes_back(ann, world.place("n3"), chat, sent=1)
    again.says(Say("a", 1))
    world.settle()
    tim.reads()
    assert times_told(tim) == {1: NOON}
    assert acks(again)[-1:] == [(1, NOON)]


def test_only_mail_of_the_present_chat_and_owner_is_noted(world: World, ann: User, ben: User) -> None:
    """Messages for another chat, or from a former owner, leave no note."""
    pair(ann, ben)
    assert ben.session.chat is not None
    ben.place.deliver(Text("ben", "another", 9, 1, 0, 1.0, ["x"]))
    ben.place.deliver(Text("ben", ben.session.chat.id, 0, 1, 0, 1.0, ["x"]))
    assert ben.session.chat.times.of(1) is None
