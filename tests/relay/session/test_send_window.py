"""The messages of a client: their ids, the number in flight, and one outcome for every id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.commands_and_events import (
    Acked,
    Acknowledge,
    Call,
    Event,
    Leave,
    Messages,
    Quit,
    Refused,
    Say,
    Unconfirmed,
)
from relay.protocol.errors import Code, Reason
from relay.session.runtime_interface import Limits
from tests.relay.world import CHAT, NOON, User, World, enter, pair

LIMITS = Limits(window=4, window_bytes=100)


@pytest.fixture
def ben(world: World) -> User:
    return enter(world.place("n2"), "Ben")


def heard(user: User) -> list[tuple[int, str]]:
    """Return the ids of a user's new messages."""
    told = [event for event in user.hears() if isinstance(event, Messages)]
    return [(event.id + n, text) for event in told for n, text in enumerate(event.texts)]


def refusals(user: User) -> list[tuple[Code, int | None, int | None]]:
    """Return code, id and expected id of a user's new errors."""
    return [(event.code, event.id, event.expected) for event in user.hears() if isinstance(event, Refused)]


def outcomes(user: User) -> list[Event]:
    """Return the new outcomes of a user's own messages."""
    return [event for event in user.hears() if isinstance(event, Acked | Unconfirmed)]


class TestIds:
    def test_ids_start_at_1_and_rise_by_one(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1), Say("b", 2))
        world.settle()
        assert heard(ben) == [(1, "a"), (2, "b")]

    def test_the_messages_of_a_client_that_knows_no_ids_are_numbered(self, world: World, ben: User) -> None:
        tim = enter(world.place("n1"), "tim", program=False)
        pair(tim, ben)
        tim.says(Say("a"), Say("b"))
        world.settle()
        assert heard(ben) == [(1, "a"), (2, "b")]

    @pytest.mark.parametrize("id", [2, 9])
    def test_a_jump_is_refused_with_the_id_that_should_have_come(self, id: int, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", id))
        assert refusals(ann) == [(Code.BAD_ORDER, id, 1)]

    def test_ids_go_on_in_the_next_chat(self, world: World, ann: User, ben: User) -> None:
        cas = enter(world.place("n3"), "cas")
        pair(ann, ben)
        ann.says(Say("a", 1))
        world.settle()
        ben.reads()
        ann.says(Leave())
        ann.hears()
        pair(ann, cas)
        ann.says(Say("b", 2))
        world.settle()
        assert heard(cas) == [(2, "b")]

    def test_a_message_that_was_refused_takes_no_id(self, world: World, ann: User, ben: User) -> None:
        ann.says(Say("a", 1), Say("a", 7))
        assert refusals(ann) == [(Code.NOT_PAIRED, 1, None), (Code.NOT_PAIRED, 7, None)]
        pair(ann, ben)
        ann.says(Say("b", 1))
        world.settle()
        assert heard(ben) == [(1, "b")]


class TestRepeats:
    def test_a_repeated_message_that_is_still_under_way_is_ignored(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1), Say("a", 1))
        world.settle()
        assert heard(ben) == [(1, "a")]
        assert ann.hears() == []

    def test_another_text_under_an_id_that_is_under_way_is_refused(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1), Say("b", 1))
        world.settle()
        assert refusals(ann) == [(Code.BAD_ORDER, 1, 2)]
        assert heard(ben) == [(1, "a")]

    def test_a_known_outcome_is_repeated(self, world: World, ann: User, ben: User) -> None:
        chat = pair(ann, ben)
        ann.says(Say("a", 1))
        world.settle()
        ben.reads()
        ann.says(Say("b", 2))
        ben.says(Quit())
        world.settle()
        assert outcomes(ann) == [Acked(1, chat, NOON), Unconfirmed(2, 2, Reason.QUIT, ("b",), CHAT)]
        ann.says(Say("a", 1), Say("b", 2))
        assert outcomes(ann) == [Acked(1, chat, NOON), Unconfirmed(2, 2, Reason.QUIT, ("b",), CHAT)]

    def test_an_outcome_is_repeated_in_the_next_chat_and_nothing_sent(self, world: World, ann: User, ben: User) -> None:
        cas = enter(world.place("n3"), "cas")
        old = pair(ann, ben)
        ann.says(Say("a", 1))
        world.settle()
        ben.reads()
        ben.says(Leave())
        world.settle()
        ann.hears()
        pair(ann, cas)
        ann.says(Say("a", 1))
        world.settle()
        assert outcomes(ann) == [Acked(1, old, NOON)]
        assert heard(cas) == []


class TestChats:
    def test_a_message_to_a_chat_that_is_over_takes_its_id_and_is_unconfirmed(
        self, world: World, ann: User, ben: User
    ) -> None:
        cas = enter(world.place("n3"), "cas")
        old = pair(ann, ben)
        ben.says(Leave())
        world.settle()
        ann.hears()
        new = pair(ann, cas)
        ann.says(Say("secret", 1, old), Say("b", 2, new))
        world.settle()
        assert outcomes(ann) == [Unconfirmed(1, 1, Reason.LEFT, ("secret",), old)]
        assert heard(cas) == [(2, "b")]
        cas.reads()
        assert outcomes(ann) == [Acked(2, new, NOON)]

    def test_a_message_for_a_chat_that_is_over_is_unconfirmed_without_a_partner_too(
        self, world: World, ann: User, ben: User
    ) -> None:
        old = pair(ann, ben)
        ben.says(Quit())
        world.settle()
        ann.hears()
        ann.says(Say("a", 1, old), Say("b", 2, "never was"))
        assert outcomes(ann) == [
            Unconfirmed(1, 1, Reason.QUIT, ("a",), CHAT),
            Unconfirmed(2, 2, Reason.LOST, ("b",), "never was"),
        ]

    def test_a_message_with_another_outcome_in_between_is_left_out_of_the_ranges(
        self, world: World, ann: User, ben: User
    ) -> None:
        chat = pair(ann, ben)
        ann.says(Say("a", 1), Say("x", 2, "never was"), Say("b", 3), Say("c", 4))
        ben.says(Quit())
        ann.hears()
        world.settle()
        assert outcomes(ann) == [
            Unconfirmed(1, 1, Reason.QUIT, ("a",), CHAT),
            Unconfirmed(3, 4, Reason.QUIT, ("b", "c"), CHAT),
        ]
        assert ann.session.send_window.outcomes.of(2) == ("never was", Reason.LOST)
        assert ann.session.send_window.outcomes.of(3) == (chat, Reason.QUIT)

    def test_an_acknowledgement_past_an_unconfirmed_message_does_not_change_its_outcome(
        self, world: World, ann: User, ben: User
    ) -> None:
        chat = pair(ann, ben)
        ann.says(Say("a", 1), Say("x", 2, "never was"), Say("b", 3))
        world.settle()
        ann.hears()
        ben.reads()
        assert outcomes(ann) == [Acked(3, chat, NOON)]
        assert [ann.session.send_window.outcomes.of(id) for id in (1, 2, 3)] == [
            (chat, None),
            ("never was", Reason.LOST),
            (chat, None),
        ]

    def test_nothing_is_put_under_way_to_a_partner_that_cannot_be_told_any_more(self, world: World, ann: User) -> None:
        tim = enter(world.place("n2"), "tim", program=False)
        pair(ann, tim)
        ann.says(Say("a", 1))
        tim.session.unplugged()
        world.settle()
        ann.says(Say("b", 2))
        assert outcomes(ann) == [
            Unconfirmed(1, 1, Reason.QUIT, ("a",), CHAT),
            Unconfirmed(2, 2, Reason.QUIT, ("b",), CHAT),
        ]


class TestAcknowledgements:
    def test_an_acknowledgement_covers_all_up_to_its_id(self, world: World, ann: User) -> None:
        ada = enter(world.place("n2"), "ada", acks=True)
        chat = pair(ann, ada)
        ann.says(Say("a", 1), Say("b", 2), Say("c", 3))
        world.settle()
        ada.says(Acknowledge(2))
        world.settle()
        assert outcomes(ann) == [Acked(2, chat, NOON)]
        ada.says(Acknowledge(3))
        world.settle()
        assert outcomes(ann) == [Acked(3, chat, NOON)]

    def test_an_acknowledgement_that_says_nothing_new_is_not_passed_on(self, world: World, ann: User) -> None:
        ada = enter(world.place("n2"), "ada", acks=True)
        pair(ann, ada)
        ann.says(Say("a", 1))
        world.settle()
        ada.says(Acknowledge(1), Acknowledge(1), Acknowledge(0))
        world.settle()
        assert len(outcomes(ann)) == 1


class TestAFullWindow:
    def test_a_client_that_acknowledges_itself_is_refused_and_takes_no_id(self, world: World, ben: User) -> None:
        ada = enter(world.place("n1"), "ada", acks=True)
        pair(ada, ben)
        ada.says(*(Say("x", id) for id in range(1, 6)))
        assert refusals(ada) == [(Code.WINDOW_FULL, 5, None)]
        assert not ada.session.blocked
        world.settle()
        ben.reads()
        ada.says(Say("y", 5))
        world.settle()
        assert heard(ben)[-1] == (5, "y")

    def test_messages_behind_a_refused_one_are_refused_alike_until_its_id_comes_again(
        self, world: World, ben: User
    ) -> None:
        """Room that comes in between isn't for the messages after a refused one."""
        ada = enter(world.place("n1"), "ada", acks=True)
        pair(ada, ben)
        ada.says(*(Say("x", id) for id in range(1, 8)))
        world.settle()
        ben.reads()
        ada.says(Say("x", 8), Say("x", 6))
        assert refusals(ada) == [(Code.WINDOW_FULL, id, None) for id in (5, 6, 7, 8, 6)]
        ada.says(Say("y", 5), Say("z", 6), Say("?", 8))
        assert refusals(ada) == [(Code.BAD_ORDER, 8, 7)]
        world.settle()
        assert heard(ben)[-2:] == [(5, "y"), (6, "z")]

    def test_the_end_of_the_chat_is_the_end_of_refusals_for_a_full_window(self, world: World, ben: User) -> None:
        ada = enter(world.place("n1"), "ada", acks=True)
        pair(ada, ben)
        ada.says(*(Say("x", id) for id in range(1, 7)))
        ben.says(Leave())
        world.settle()
        ada.hears()
        ben.hears()
        pair(ada, ben)
        ada.says(Say("y", 6), Say("y", 5))
        assert refusals(ada) == [(Code.BAD_ORDER, 6, 5)]

    @pytest.mark.parametrize("program", [True, False])
    def test_any_other_client_waits(self, program: bool, world: World, ben: User) -> None:
        tim = enter(world.place("n1"), "tim", program=program)
        pair(tim, ben)
        tim.says(*(Say("x") for _ in range(6)))
        world.settle()
        assert tim.session.blocked
        assert len(tim.lines) == 2
        assert [id for id, _ in heard(ben)] == [1, 2, 3, 4]
        ben.reads()
        assert not tim.session.blocked
        assert [id for id, _ in heard(ben)] == [5, 6]

    def test_bytes_fill_a_window_too(self, world: World, ben: User) -> None:
        ada = enter(world.place("n1"), "ada", acks=True)
        pair(ada, ben)
        ada.says(Say("é" * 30, 1), Say("é" * 21, 2), Say("é" * 20, 2))
        assert refusals(ada) == [(Code.WINDOW_FULL, 2, None)]
        assert ada.session.chat is not None
        assert ada.session.chat.unacked.bytes == 100

    def test_of_any_other_client_one_message_goes_over_the_bytes_and_the_next_waits(
        self, world: World, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        ann.says(Say("x" * 60, 1), Say("y" * 60, 2), Say("z", 3))
        world.settle()
        assert ann.hears() == []
        assert ann.session.blocked
        assert [id for id, _ in heard(ben)] == [1, 2]
        ben.reads()
        assert heard(ben) == [(3, "z")]

    def test_a_message_alone_goes_through_however_long(self, world: World, ben: User) -> None:
        ada = enter(world.place("n1"), "ada", acks=True)
        pair(ada, ben)
        ada.says(Say("x" * 1000, 1), Say("y", 2))
        assert refusals(ada) == [(Code.WINDOW_FULL, 2, None)]
        world.settle()
        assert heard(ben) == [(1, "x" * 1000)]


@given(st.lists(st.sampled_from(["say", "say", "old", "repeat", "read", "leave", "call", "settle"]), max_size=40))
def test_every_id_ends_in_exactly_one_outcome(deeds: list[str]) -> None:
    """Each accepted id is covered by one acknowledgement or listed in one `unconfirmed`, whatever happens."""
    world = World(Limits(window=4, window_bytes=100))
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
    id, repeated = 0, set[int]()
    for deed in deeds:
        if deed in ("say", "old"):
            if not ann.session.blocked and (ann.session.chat or deed == "old"):
                id += 1
                ann.says(Say(str(id), id, "old" if deed == "old" else None))
        elif deed == "repeat" and id and not ann.session.blocked:
            repeated.add(id)
            ann.says(Say(str(id), id))
        elif deed == "read":
            ben.reads()
        elif deed == "leave":
            ben.says(Leave())
        elif deed == "call":
            ben.says(Call("ann"))
        elif deed == "settle":
            world.settle()
    world.settle()
    ben.reads()
    ben.says(Quit())
    world.settle()
    covered = [0] * (id + 1)
    acked = 0
    for event in ann.hears():
        if isinstance(event, Unconfirmed):
            for n in range(event.first, event.last + 1):
                covered[n] += 1
        elif isinstance(event, Acked) and event.id > acked:
            reported = {n for n in range(acked + 1, event.id + 1) if covered[n]}
            for n in set(range(acked + 1, event.id + 1)) - reported:
                covered[n] += 1
            acked = event.id
    assert all(count == 1 or (n in repeated and count > 1) for n, count in enumerate(covered) if n)
