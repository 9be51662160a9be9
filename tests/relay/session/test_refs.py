"""A client's `ref` of a request comes back in every answer to it, and a call can be given up by it at any time."""

from collections.abc import Callable
from typing import Any

import pytest

from relay.hub.rate_limit import RateLimiter
from relay.protocol.commands_and_events import (
    AcceptCall,
    Acknowledge,
    Block,
    Blocked,
    Call,
    Cancel,
    DeclineCall,
    EndOfStream,
    Event,
    Invited,
    Known,
    Leave,
    Left,
    Missed,
    Paired,
    Quit,
    Refused,
    Rings,
    Say,
    Unblock,
    Who,
)
from relay.protocol.errors import Code
from relay.session.runtime_interface import Limits
from relay.session.session import Session
from tests.relay.session.test_incoming_call_policy import asking
from tests.relay.world import User, World, enter, pair


@pytest.fixture
def limits() -> Limits:
    return Limits(blocks=1)


@pytest.fixture
def world(limits: Limits) -> World:
    return World(limits)


@pytest.fixture
def ann(world: World) -> User:
    return enter(world.place("n1"), "ann")


@pytest.fixture
def ben(world: World) -> User:
    return enter(world.place("n2"), "ben")


def refs(told: list[Event]) -> list[tuple[str, Any]]:
    """Return the new events with their refs."""
    return [(type(event).__name__, getattr(event, "ref", None)) for event in told]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (Call("ben", "r"), Paired),
        (Call("ann", "r"), Refused),
        (Call("nobody", "r"), Refused),
        (Call("{", "r"), Refused),
        (Who("ben", "r"), Known),
        (Who("{", "r"), Refused),
        (Block("ben", "r"), Blocked),
        (Block("ann", "r"), Refused),
        (Block("{", "r"), Refused),
        (Unblock("ben", "r"), Blocked),
        (Unblock("{", "r"), Refused),
        (Leave(ref="r"), Refused),
        (AcceptCall(ref="r"), Refused),
        (DeclineCall(ref="r"), Refused),
    ],
)
def test_every_answer_has_the_ref_of_its_request(
    world: World, ann: User, ben: User, command: Any, answer: type
) -> None:
    ann.says(command)
    world.settle()
    assert refs(ann.hears()) == [(answer.__name__, "r")]


def test_the_answer_to_one_blocked_name_too_many_has_the_ref(ann: User) -> None:
    ann.says(Block("a", 1), Block("b", 2))
    assert refs(ann.hears()) == [("Blocked", 1), ("Refused", 2)]


@pytest.mark.parametrize("command", [Call("ben", 7), Who("ben", 7)])
def test_the_answer_to_a_request_that_is_not_possible_or_too_fast_has_the_ref(
    world: World, ann: User, ben: User, command: Any
) -> None:
    world.directory.available = False
    ann.says(command)
    world.settle()
    ann.rate_limiter = RateLimiter(Limits(calls=1))
    assert ann.rate_limiter.may_call(world.time)
    ann.says(command)
    assert refs(ann.hears()) == [("Refused", 7), ("Refused", 7)]


def test_the_refusal_of_a_call_that_nobody_answers_has_the_ref(world: World, ann: User, ben: User) -> None:
    ann.says(Call("ben", 7))
    world.pass_time(1)
    assert refs(ann.hears()) == [("Refused", 7)]


def test_two_users_who_call_each_other_get_their_own_refs(world: World, ann: User, ben: User) -> None:
    ann.says(Call("ben", "a"))
    ben.says(Call("ann", "b"))
    world.settle()
    assert (refs(ann.hears()), refs(ben.hears())) == ([("Paired", "a")], [("Paired", "b")])


def test_the_present_partner_is_confirmed_with_the_ref(world: World, ann: User, ben: User) -> None:
    pair(ann, ben)
    ann.says(Call("ben", 1))
    assert refs(ann.hears()) == [("Paired", 1)]


def test_a_switch_has_the_ref_in_both_of_its_answers(world: World, ann: User, ben: User) -> None:
    enter(world.place("n2"), "cas")
    old = pair(ann, ben)
    ann.says(Call("cas", 1))
    world.settle()
    left, paired = ann.hears()
    assert isinstance(left, Left)
    assert isinstance(paired, Paired)
    assert (left.chat, left.ref, paired.ref) == (old, 1, 1)
    [left] = ben.hears()
    assert isinstance(left, Left)
    assert (left.chat, left.ref) == (old, None)


def test_the_answer_to_a_leave_has_the_ref_also_where_the_partner_was_first(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    ann.says(Leave("another", 1), Leave(chat, 2))
    assert refs(ann.hears()) == [("Refused", 1), ("Left", 2)]
    world.settle()
    ben.hears()
    pair(ann, ben)
    ann.says(Say("a", 1), Leave(ref=3))
    ben.says(Quit())
    world.settle()
    assert refs(ann.hears())[-1] == ("Left", 3)


def test_a_call_that_is_asked_about_has_its_ref_on_both_sides(world: World, ann: User) -> None:
    ben = asking(world, "ben")
    ann.says(Call("ben", "a"))
    world.settle()
    [rings] = ann.hears()
    [invited] = ben.hears()
    assert isinstance(rings, Rings)
    assert isinstance(invited, Invited)
    assert (rings.ref, rings.chat) == ("a", invited.chat)
    ben.says(AcceptCall(invited.chat, "b"))
    world.settle()
    assert (refs(ann.hears()), refs(ben.hears())) == ([("Paired", "a")], [("Paired", "b")])


def test_a_call_rings_before_it_is_answered_however_fast_that_is(world: World, ann: User) -> None:
    """This holds also if her own record is written late."""
    ben = asking(world, "ben")
    ann.says(Call("ben", "a"))
    while not any(isinstance(event, Invited) for event in ben.told):
        world.happen(world.choices()[0])
    ben.says(AcceptCall())
    world.settle()
    assert [kind for kind, _ in refs(ann.hears())] == ["Rings", "Paired"]


def test_the_answer_to_calling_back_has_the_ref_whatever_comes_of_the_call(world: World, ann: User) -> None:
    ben = asking(world, "ben")
    for lost in (False, True):
        ann.says(Call("ben"))
        world.settle()
        ben.hears()
        ben.says(Call("ann", "b"))
        if lost:
            ben.session.node_lost("n1", 0)
            assert refs(ben.hears()) == [("Refused", "b"), ("Missed", None)]
        else:
            world.settle()
            assert refs(ben.hears()) == [("Paired", "b")]
            ben.says(Leave())
            world.settle()
            ben.hears()


def test_the_answer_to_an_acceptance_that_comes_too_late_has_the_ref(world: World, ann: User) -> None:
    ben = asking(world, "ben")
    ann.says(Call("ben"))
    world.settle()
    ben.hears()
    ben.says(AcceptCall(ref="b"))
    ann.session.receive(Cancel())
    world.settle()
    assert refs(ben.hears()) == [("Missed", "b")]


# --- giving up


def located(world: World) -> None:
    world.happen("directory")


def invited(world: World) -> None:
    located(world)
    world.happen(("n1", "n2"))


def accepted(world: World) -> None:
    invited(world)
    world.happen("directory")
    world.happen(("n2", "n1"))


STEPS: list[Callable[[World], None]] = [lambda _: None, located, invited, accepted]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("command", [Cancel(), Cancel(7)])
def test_a_call_is_given_up_however_far_it_has_come(
    world: World, ann: User, ben: User, step: Callable[[World], None], command: Cancel
) -> None:
    ann.says(Call("ben", 7))
    step(world)
    assert ann.session.draining
    assert ann.session.passes(command)
    ann.session.receive(command)
    [refused] = ann.hears()
    assert isinstance(refused, Refused)
    assert (refused.code, refused.name, refused.ref) == (Code.DECLINED, "ben", 7)
    world.settle()
    world.pass_time(10)
    world.settle()
    assert (ann.hears(), ben.hears()) == ([], [])
    pair(ben, ann)


def test_another_call_is_not_given_up(world: World, ann: User, ben: User) -> None:
    ann.says(Call("ben", 7))
    assert not ann.session.passes(Cancel(8))
    assert not ann.session.passes(Cancel("7"))
    ann.session.receive(Cancel(8))
    world.settle()
    assert refs(ann.hears()) == [("Paired", 7)]
    ann.says(Cancel(), Cancel(7))
    assert ann.hears() == []


def test_a_switch_that_waits_for_what_was_said_is_given_up(world: World, ann: User, ben: User) -> None:
    enter(world.place("n2"), "cas")
    chat = pair(ann, ben)
    ann.says(Say("a", 1), Call("cas", 7))
    assert ann.session.draining
    assert ann.session.passes(Cancel(7))
    ann.session.receive(Cancel(7))
    world.settle()
    ben.reads()
    assert refs(ann.hears())[0] == ("Refused", 7)
    assert ann.session.chat is not None
    assert ann.session.chat.id == chat


def test_a_mutual_call_that_one_user_gives_up_pairs_nobody(world: World, ann: User, ben: User) -> None:
    """She has accepted his call, because she called him."""
    ann.says(Call("ben"))
    ben.says(Call("ann"))
    while ann.session.pairing.promised is None:
        world.happen(world.choices()[0])
    ann.session.receive(Cancel())
    world.settle()
    assert refs(ann.hears()) == [("Refused", None)]
    assert ann.session.pairing.step is ben.session.pairing.step is None
    assert ann.session.chat is ben.session.chat is None


# --- busy users


def test_whoever_calls_or_is_called_is_busy_meanwhile(world: World, ann: User) -> None:
    ben, cas = asking(world, "ben"), enter(world.place("n2"), "cas")

    def looks(name: str) -> str:
        cas.says(Who(name))
        world.settle()
        [known] = cas.hears()
        assert isinstance(known, Known)
        return known.state

    ann.says(Call("ben"))
    world.settle()
    assert (looks("ann"), looks("ben")) == ("busy", "busy")
    assert (ann.session.calling, ben.session.calling) == (True, True)
    ben.says(DeclineCall())
    world.settle()
    assert (looks("ann"), looks("ben")) == ("free", "free")
    assert (ann.session.calling, ben.session.calling) == (False, False)


@pytest.mark.parametrize(
    "end",
    [
        lambda ann, ben: ben.says(DeclineCall()),
        lambda ann, ben: ben.says(AcceptCall()),
        lambda ann, ben: ben.says(Block("ann")),
        lambda ann, ben: ann.session.receive(Cancel()),
        lambda ann, ben: ann.session.unplugged(),
    ],
)
def test_the_record_says_that_a_user_is_calling_for_as_long_as_the_call_rings(
    world: World, ann: User, end: Callable[[User, User], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = asking(world, "ben")
    written: dict[str, bool] = {}
    for user in (ann, ben):
        save = user.session.runtime.save

        def noted(session: Session, then: Any = None, save: Any = save) -> None:
            written[session.canonical_name] = session.calling
            save(session, then)

        monkeypatch.setattr(user.session.runtime, "save", noted)
    ann.says(Call("ben"))
    world.settle()
    assert written == {"ann": True, "ben": True}
    end(ann, ben)
    world.settle()
    assert written == {"ann": False, "ben": False}


def test_nobody_is_asked_about_a_call_that_is_over_before_the_record_is_written(world: World, ann: User) -> None:
    ben = asking(world, "ben")
    ann.says(Call("ben"))
    invited(world)
    ann.session.receive(Cancel())
    world.happen(("n1", "n2"))
    world.settle()
    assert ben.hears() == []
    assert not any(isinstance(event, Missed) for event in ben.told)


# --- quitting at once


def test_whoever_quits_now_waits_for_nobody(world: World, ann: User) -> None:
    bob = enter(world.place("n2"), "bob", acks=True)
    chat = pair(ann, bob)
    ann.says(Say("a", 1), Quit())
    world.settle()
    assert not ann.closed
    assert ann.session.passes(Quit(now=True))
    assert not ann.session.passes(Quit())
    ann.session.receive(Quit(now=True))
    world.settle()
    assert ann.closed
    assert [type(event).__name__ for event in ann.hears()] == ["Unconfirmed", "Bye"]
    assert [type(event).__name__ for event in bob.hears()] == ["Messages", "Left"]
    assert "ann" not in world.records
    bob.says(Acknowledge(1, chat))
    world.settle()


def test_a_call_that_rings_is_taken_back_by_quitting_at_once(world: World, ann: User) -> None:
    ben = asking(world, "ben")
    ann.says(Call("ben", 1))
    world.settle()
    ann.hears()
    ann.session.receive(Quit(now=True))
    world.settle()
    assert ann.closed
    assert [type(event).__name__ for event in ben.hears()] == ["Invited", "Missed"]
    ben.says(EndOfStream())
