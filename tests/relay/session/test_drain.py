"""A node that stops: programs move in their own time, then people are told, then the remaining users."""

from typing import Final

import pytest

from relay.protocol.commands_and_events import (
    Acked,
    Acknowledge,
    Away,
    Call,
    Claim,
    EndOfStream,
    Left,
    Messages,
    Moving,
    Paired,
    Refused,
    Say,
    Unconfirmed,
)
from relay.protocol.errors import Code, Reason
from relay.session.drain import Drain, dismiss
from relay.session.runtime_interface import Limits
from relay.session.session import State
from tests.relay.world import CHAT, NOON, Place, User, World, pair

GRACE: Final = 20.0
LIMITS: Final = Limits(grace=GRACE)


@pytest.fixture
def going(world: World) -> Place:
    """The node that stops."""
    return world.place("n1")


@pytest.fixture
def drain(going: Place) -> Drain:
    return Drain(going.sessions, lambda: None)


class TestDraining:
    def test_an_empty_node_is_done(self, drain: Drain) -> None:
        assert drain.poll()

    def test_a_program_is_told_once_and_served_until_it_has_gone(
        self, world: World, drain: Drain, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        assert not drain.poll()
        assert not drain.poll()
        assert ann.hears() == [Moving()]
        ann.says(Say("a", 1))
        world.settle()
        assert [event.texts for event in ben.hears() if isinstance(event, Messages)] == [["a"]]
        ben.says(Acknowledge(1))
        world.settle()
        assert ann.hears() == [Acked(1, CHAT, NOON)]
        ann.says(EndOfStream())
        assert drain.poll()

    def test_a_program_that_was_just_asking_for_a_name_is_told_when_it_has_it(
        self, world: World, drain: Drain, going: Place
    ) -> None:
        late = going.user()
        late.says(Claim("late"))
        going.sessions["late"] = late.session
        assert not drain.poll()
        assert late.hears() == []
        world.settle()
        assert not drain.poll()
        assert late.hears()[-1] == Moving()

    def test_a_person_stays_while_a_program_does(self, drain: Drain, ann: User, tim: User) -> None:
        assert not drain.poll()
        assert tim.hears() == []
        ann.says(EndOfStream())
        assert not drain.poll()

    def test_a_person_is_told_and_closed_once_all_programs_have_gone_and_the_partner_too(
        self, world: World, drain: Drain, tim: User, ben: User
    ) -> None:
        pair(tim, ben)
        drain.poll()
        world.settle()
        assert tim.hears() == [Moving()]
        assert tim.closed
        assert ben.hears() == [Left("Tim", Reason.QUIT, CHAT)]
        assert "tim" not in world.records
        assert drain.poll()

    def test_a_message_of_a_person_has_its_outcome_first(
        self, world: World, drain: Drain, tim: User, ben: User
    ) -> None:
        pair(tim, ben)
        tim.says(Say("a"))
        assert not drain.poll()
        world.settle()
        assert not drain.poll()
        assert tim.hears() == []
        ben.says(Acknowledge(1))
        world.settle()
        assert tim.hears() == [Acked(1, CHAT, NOON), Moving()]
        assert drain.poll()

    def test_a_call_that_a_person_has_made_has_its_answer_first(
        self, world: World, drain: Drain, tim: User, ben: User
    ) -> None:
        tim.says(Call("ben"))
        assert not drain.poll()
        assert tim.hears() == []
        world.settle()
        assert not drain.poll()
        assert [type(event) for event in tim.hears()] == [Paired, Moving]
        assert drain.poll()

    def test_whoever_is_away_is_not_waited_for(self, drain: Drain, ann: User) -> None:
        ann.says(EndOfStream())
        assert drain.poll()


def codes(user: User) -> list[Code]:
    """Return the new refusals of a user."""
    return [event.code for event in user.hears() if isinstance(event, Refused)]


class TestTheEnd:
    def test_a_person_is_told_and_closed_and_the_partner_too(self, world: World, tim: User, ben: User) -> None:
        pair(tim, ben)
        dismiss(tim.session)
        world.settle()
        assert tim.hears() == [Moving()]
        assert tim.closed
        assert ben.hears() == [Left("Tim", Reason.QUIT, CHAT)]
        assert "tim" not in world.records

    def test_a_person_learns_what_may_not_have_arrived(self, world: World, tim: User, ben: User) -> None:
        pair(tim, ben)
        tim.says(Say("a"))
        dismiss(tim.session)
        told = tim.hears()
        assert [event.texts for event in told if isinstance(event, Unconfirmed)] == [("a",)]

    def test_a_program_may_come_back(self, world: World, ann: User, ben: User) -> None:
        pair(ann, ben)
        dismiss(ann.session)
        world.settle()
        assert ann.closed
        assert ben.hears() == [Away("Ann", GRACE, CHAT)]
        assert "ann" in world.records

    def test_a_call_under_way_is_taken_back(self, world: World, ann: User, ben: User) -> None:
        ben.says(Call("ann"))
        world.happen("directory")
        world.happen(("n2", "n1"))
        dismiss(ann.session)
        world.settle()
        assert codes(ben) == [Code.UNAVAILABLE]

    def test_whoever_has_no_name_is_closed(self, world: World) -> None:
        user = world.place("n1").user()
        dismiss(user.session)
        assert (user.closed, user.hears()) == (True, [])


def test_a_name_granted_to_a_session_that_was_dismissed_meanwhile_is_given_back() -> None:
    world = World()
    user = world.place("n1").user()
    user.says(Claim("ann"))
    dismiss(user.session)
    world.settle()
    assert user.session.state is State.ENDED
    assert "ann" not in world.records
