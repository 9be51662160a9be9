"""The ends of chats and sessions: a leave, a quit, a broken connection, a dead node, a lost name."""

import pytest

from relay.protocol.commands_and_events import (
    Acked,
    Acknowledge,
    Away,
    Bye,
    Call,
    Claim,
    Command,
    EndOfStream,
    Leave,
    Left,
    Ping,
    Pong,
    Quit,
    Refused,
    Say,
    Unconfirmed,
    Welcome,
)
from relay.protocol.errors import Code, Presence, Reason
from relay.session.runtime_interface import Limits
from relay.session.session import State
from tests.relay.world import CHAT, NOON, User, World, codes, enter, pair

GRACE = 20.0
LIMITS = Limits(grace=GRACE)


class TestLeaving:
    def test_both_partners_are_told_of_a_leave_and_stay_logged_in(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Leave())
        world.settle()
        assert ann.hears() == [Left("Ben", Reason.LEFT, CHAT, own=True)]
        assert ben.hears() == [Left("Ann", Reason.LEFT, CHAT)]
        assert ann.session.presence is ben.session.presence is Presence.FREE
        pair(ben, ann)

    def test_a_leave_waits_behind_the_messages_before_it(self, world: World, ann: User, ben: User) -> None:
        chat = pair(ann, ben)
        ann.says(Say("a", 1), Leave(), Say("b", 2))
        world.settle()
        assert ann.session.blocked
        assert ann.session.draining
        assert ann.hears() == []
        ben.says(Acknowledge(1))
        world.settle()
        acked, left, refused = ann.hears()
        assert (acked, left) == (Acked(1, chat, NOON), Left("Ben", Reason.LEFT, CHAT, own=True))
        assert isinstance(refused, Refused)
        assert refused.code is Code.NOT_PAIRED

    def test_whoever_waits_to_leave_and_is_left_is_told_once(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1), Leave(), Ping())
        ben.says(Quit())
        world.settle()
        assert ann.hears() == [Unconfirmed(1, 1, Reason.QUIT, ("a",), CHAT), Left("Ben", Reason.QUIT, CHAT), Pong()]

    def test_a_message_that_the_leaver_was_still_to_get_is_unconfirmed(
        self, world: World, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        ben.says(Say("late", 1))
        ann.says(Leave())
        world.settle()
        assert ben.hears() == [Unconfirmed(1, 1, Reason.LEFT, ("late",), CHAT), Left("Ann", Reason.LEFT, CHAT)]


class TestQuitting:
    def test_the_name_is_given_back_before_the_goodbye(self, world: World, ann: User) -> None:
        ann.says(Quit())
        assert (ann.hears(), ann.closed) == ([], False)
        world.settle()
        assert (ann.hears(), ann.closed) == ([Bye()], True)
        enter(world.place("n2"), "ann")

    def test_the_partner_is_told(self, world: World, tim: User, ben: User) -> None:
        pair(tim, ben)
        tim.says(Quit())
        world.settle()
        assert ben.hears() == [Left("Tim", Reason.QUIT, CHAT)]
        assert tim.hears() == [Bye()]

    @pytest.mark.parametrize("last", [Quit(), EndOfStream()], ids=repr)
    def test_a_person_s_quit_or_end_of_stream_waits_behind_the_messages_before_it(
        self, last: Command, world: World, tim: User, ben: User
    ) -> None:
        pair(tim, ben)
        tim.says(Say("a"), last)
        world.settle()
        assert not tim.closed
        ben.says(Acknowledge(1))
        world.settle()
        assert tim.closed
        assert ben.hears()[-1] == Left("Tim", Reason.QUIT, CHAT)

    def test_a_quit_ends_as_well_when_the_message_that_it_waits_for_is_unconfirmed(
        self, world: World, tim: User, ben: User
    ) -> None:
        pair(tim, ben)
        tim.says(Say("a"), Quit())
        world.settle()
        tim.session.node_lost("n2", GRACE)
        world.settle()
        assert tim.hears() == [Unconfirmed(1, 1, Reason.LOST, ("a",), CHAT), Left("Ben", Reason.LOST, CHAT), Bye()]
        assert tim.closed

    def test_nothing_is_handled_after_a_quit(self, world: World, ann: User) -> None:
        ann.says(Quit(), Ping())
        world.settle()
        assert ann.hears() == [Bye()]


class TestALostConnection:
    def test_a_person_whose_connection_is_lost_quits(self, world: World, tim: User, ben: User) -> None:
        pair(tim, ben)
        tim.says(EndOfStream())
        world.settle()
        assert ben.hears() == [Left("Tim", Reason.QUIT, CHAT)]
        assert (tim.hears(), tim.closed) == ([], True)
        assert "tim" not in world.records

    def test_a_program_whose_connection_is_lost_is_away_until_its_grace_is_over(
        self, world: World, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        ann.says(EndOfStream())
        world.settle()
        assert ben.hears() == [Away("Ann", GRACE, CHAT)]
        assert ann.closed
        world.pass_time(GRACE - 1)
        world.settle()
        assert "ann" in world.records
        world.pass_time(1)
        world.settle()
        assert ben.hears() == [Left("Ann", Reason.LOST, CHAT)]
        assert "ann" not in world.records

    def test_a_program_whose_connection_is_lost_does_not_wait_behind_its_messages(
        self, world: World, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1), EndOfStream())
        assert ann.session.away

    def test_messages_to_someone_away_are_kept_in_the_window(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(EndOfStream())
        world.settle()
        ben.says(Say("a", 1))
        world.settle()
        ann.reads()
        assert ben.session.chat is not None
        assert list(ben.session.chat.unacked) == [(1, "a")]
        world.pass_time(GRACE)
        world.settle()
        assert ben.hears() == [
            Away("Ann", GRACE, CHAT),
            Unconfirmed(1, 1, Reason.LOST, ("a",), CHAT),
            Left("Ann", Reason.LOST, CHAT),
        ]

    def test_someone_away_is_told_to_callers(self, world: World, ann: User, ben: User) -> None:
        ann.says(EndOfStream())
        ben.says(Call("ann"))
        world.settle()
        assert codes(ben) == [Code.AWAY]

    def test_the_partner_of_a_person_whose_connection_broke_learns_what_did_not_arrive(
        self, world: World, tim: User, ann: User
    ) -> None:
        pair(ann, tim)
        ann.says(Say("a", 1), Say("b", 2))
        tim.session.unplugged()
        tim.says(EndOfStream())
        world.settle()
        assert ann.hears() == [Unconfirmed(1, 2, Reason.QUIT, ("a", "b"), CHAT), Left("Tim", Reason.QUIT, CHAT)]

    def test_two_persons_whose_connections_broke_do_not_wait_for_each_other(self, world: World, tim: User) -> None:
        tom = enter(world.place("n2"), "tom", program=False)
        pair(tim, tom)
        for user in (tim, tom):
            user.says(Say("x"))
            user.session.unplugged()
            user.says(EndOfStream())
        world.settle()
        assert tim.closed
        assert tom.closed

    @pytest.mark.parametrize("others_node", ["n1", "n2"])
    def test_two_persons_who_became_a_pair_after_their_connections_broke_do_not_wait_for_each_other(
        self, others_node: str, world: World, tim: User
    ) -> None:
        tom = enter(world.place(others_node), "tom", program=False)
        for user, other in ((tim, "tom"), (tom, "tim")):
            user.says(Call(other), Say("x"))
            user.session.unplugged()
            user.says(EndOfStream())
        world.settle()
        assert tim.closed
        assert tom.closed


class TestADeadNode:
    def test_a_person_on_a_dead_node_is_lost(self, world: World, ann: User) -> None:
        tom = enter(world.place("n2"), "tom", program=False)
        pair(ann, tom)
        world.crash("n2")
        ann.session.node_lost("n2", 0.0)
        assert ann.hears() == [Left("tom", Reason.LOST, CHAT)]

    def test_a_program_on_a_dead_node_is_away_for_the_rest_of_its_grace(
        self, world: World, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        world.crash("n2")
        world.pass_time(2.0)
        ann.session.node_lost("n2", 2.0)
        assert ann.hears() == [Away("Ben", GRACE - 2, CHAT)]
        world.pass_time(GRACE - 2.1)
        assert ann.hears() == []
        world.pass_time(0.1)
        world.settle()
        assert ann.hears() == [Left("Ben", Reason.LOST, CHAT)]

    def test_a_program_whose_grace_is_over_is_lost(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1))
        ann.session.node_lost("n2", GRACE)
        assert ann.hears() == [Unconfirmed(1, 1, Reason.LOST, ("a",), CHAT), Left("Ben", Reason.LOST, CHAT)]

    def test_the_partner_is_told_once(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.session.node_lost("n2", 0.0)
        ann.session.node_lost("n2", 1.0)
        assert len(ann.hears()) == 1

    def test_a_dead_node_ends_the_grace_of_someone_who_was_away_already(
        self, world: World, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        ben.says(EndOfStream())
        world.settle()
        world.crash("n2")
        ann.session.node_lost("n2", 0.0)
        world.pass_time(GRACE)
        world.settle()
        assert ann.hears() == [Away("Ben", GRACE, CHAT), Left("Ben", Reason.LOST, CHAT)]

    def test_another_node_is_none_of_our_business(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.session.node_lost("n3", GRACE)
        assert ann.hears() == []


class TestALostName:
    def test_a_program_is_back_before_hello(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1))
        world.settle()
        ann.session.name_lost()
        told = ann.hears()
        assert told[0] == Unconfirmed(1, 1, Reason.NAME_LOST, ("a",), CHAT)
        assert [event.code for event in told[1:] if isinstance(event, Refused)] == [Code.NAME_LOST]
        assert not ann.closed
        world.settle()
        assert ben.hears()[-1] == Left("Ann", Reason.LOST, CHAT)
        world.records.pop("ann")
        ann.says(Say("b", 2), Claim("anna"))
        world.settle()
        refused, welcome = ann.hears()
        assert isinstance(refused, Refused)
        assert isinstance(welcome, Welcome)

    def test_the_ids_of_a_program_start_anew_after_a_lost_name(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1))
        ann.session.name_lost()
        world.settle()
        world.records.pop("ann")
        ann.says(Claim("ann"))
        world.settle()
        ann.hears()
        ben.hears()
        pair(ann, ben)
        ann.says(Say("b", 1))
        world.settle()
        assert ben.texts() == ["b"]

    def test_a_person_is_told_and_closed(self, world: World, tim: User) -> None:
        tim.session.name_lost()
        assert codes(tim) == [Code.NAME_LOST]
        assert tim.closed

    def test_a_person_whose_record_turns_out_to_be_anothers_is_told_and_closed(self, world: World, tim: User) -> None:
        world.directory.grant("tim", "n9", "another", world.records["tim"].body)
        tim.session.runtime.save(tim.session)
        world.settle()
        assert codes(tim) == [Code.NAME_LOST]
        assert tim.closed

    def test_a_session_that_is_away_ends(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        ann.says(EndOfStream())
        ann.session.name_lost()
        world.settle()
        assert ann.session.state is State.ENDED
        assert ben.hears()[-1] == Left("Ann", Reason.LOST, CHAT)
        world.pass_time(GRACE)
        assert "ann" in world.records  # the name is the new owner's: the old session's grace releases nothing


def test_a_quit_is_not_forgotten_with_a_lost_name() -> None:
    """It waited for a message, and the name is lost meanwhile. The client still waits for the end that it asked for."""
    world = World()
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben", acks=True)
    pair(ann, ben)
    ann.says(Say("a", 1), Quit())
    ann.session.name_lost()
    world.settle()
    assert ann.closed
