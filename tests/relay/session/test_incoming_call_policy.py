"""The policy for calls: blocked names, and calls that a client answers itself; and the sign of typing."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from relay.protocol.commands_and_events import (
    AcceptCall,
    Block,
    Blocked,
    Call,
    Cancel,
    Claim,
    DeclineCall,
    EndOfStream,
    Event,
    Invited,
    Leave,
    Missed,
    NotifyTyping,
    Paired,
    PartnerTyping,
    Ping,
    Pong,
    Quit,
    Refused,
    Resume,
    Rings,
    Say,
    Unblock,
    Welcome,
    Who,
)
from relay.protocol.errors import Code, Presence
from relay.session.peer_messages import Decline, Invite
from relay.session.runtime_interface import Limits
from tests.relay.world import User, World, enter, pair

LIMITS = Limits(blocks=2)


def refusals(told: list[Event]) -> list[tuple[Code, str | None]]:
    return [(event.code, event.name) for event in told if isinstance(event, Refused)]


def asking(world: World, name: str, node_id: str = "n2") -> User:
    """A user whose client answers calls itself."""
    user = world.place(node_id).user()
    user.says(Claim(name, True, None, True))
    world.settle()
    assert isinstance(user.hears()[-1], Welcome)
    return user


# --- blocking


@pytest.mark.parametrize("node_id", ["n1", "n2"])
def test_a_blocked_caller_hears_busy_and_nobody_else_hears_anything(world: World, node_id: str) -> None:
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place(node_id), "ben")
    ben.says(Block("Ann"))
    assert ben.hears() == [Blocked("Ann", True)]
    ann.says(Call("ben"))
    world.settle()
    assert refusals(ann.hears()) == [(Code.BUSY, "ben")]
    assert ben.hears() == []
    pair(enter(world.place("n1"), "cas"), ben)  # others may call


def test_a_name_is_unblocked(world: World) -> None:
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
    ben.says(Block("ann"), Unblock("ANN"), Unblock("never blocked"))
    assert ben.hears()[:2] == [Blocked("ann", True), Blocked("ANN", False)]
    pair(ann, ben)


def test_whoever_blocks_may_still_call(world: World) -> None:
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
    ben.says(Block("ann"))
    ben.hears()
    pair(ben, ann)


def test_blocking_is_refused_beyond_its_bound_for_oneself_and_for_what_is_no_name(world: World) -> None:
    ben = enter(world.place("n2"), "ben")
    ben.says(Block("a"), Block("b"), Block("a"), Block("c"), Block("Ben"), Block("{"), Unblock("{"))
    told = ben.hears()
    assert [event.name for event in told if isinstance(event, Blocked)] == ["a", "b", "a"]
    wanted = [(Code.TOO_MANY, "c"), (Code.SELF_CHAT, "Ben"), (Code.NAME_INVALID, "{"), (Code.NAME_INVALID, "{")]
    assert refusals(told) == wanted


# --- asking


@pytest.mark.parametrize("node_id", ["n1", "n2"])
def test_a_call_is_accepted(world: World, node_id: str) -> None:
    ann, ben = enter(world.place("n1"), "ann"), asking(world, "ben", node_id)
    ann.says(Call("BEN"), Say("hi", 1))
    world.settle()
    [invited] = ben.hears()
    assert isinstance(invited, Invited)
    assert (invited.name, invited.wait) == ("ann", 30.0)
    assert ann.hears() == [Rings("BEN", 30.0, invited.chat)]
    world.pass_time(20)
    world.settle()
    assert (ann.hears(), ben.hears()) == ([], [])
    ben.says(AcceptCall(invited.chat))
    world.settle()
    [paired] = ann.hears()
    assert isinstance(paired, Paired)
    assert paired.chat == invited.chat
    assert [type(event).__name__ for event in ben.hears()] == ["Paired", "Messages"]  # the order is that of her lines
    world.pass_time(60)
    world.settle()
    assert (ann.hears(), ben.hears()) == ([], [])


def ringing(world: World) -> tuple[User, User, str]:
    """Have ann call ben, who is asked. Returns the id of their possible chat."""
    ann, ben = enter(world.place("n1"), "ann"), asking(world, "ben")
    ann.says(Call("ben"))
    world.settle()
    [invited] = ben.hears()
    assert isinstance(invited, Invited)
    ann.hears()
    return ann, ben, invited.chat


ENDS: dict[str, tuple[Callable[[User, User], None], Code | None, bool]] = {
    "declined": (lambda ann, ben: ben.says(DeclineCall()), Code.DECLINED, False),
    "given up": (lambda ann, ben: ann.session.receive(Cancel()), Code.DECLINED, True),
    "blocked": (lambda ann, ben: ben.says(Block("ann")), Code.BUSY, True),
    "callee quits": (lambda ann, ben: ben.says(Quit()), Code.NO_SUCH_USER, True),
    "callee's connection lost": (lambda ann, ben: ben.says(EndOfStream()), Code.AWAY, True),
    "callee calls another": (lambda ann, ben: ben.says(Call("nobody")), Code.BUSY, True),
    "caller's connection lost": (lambda ann, ben: ann.session.unplugged(), Code.DECLINED, True),
    "caller's node lost": (lambda ann, ben: ben.session.node_lost("n1", 0), None, True),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_call_that_is_not_taken_ends_for_both(world: World, end: str) -> None:
    ann, ben, chat = ringing(world)
    act, code, missed = ENDS[end]
    act(ann, ben)
    world.settle()
    assert refusals(ann.hears()) == ([(code, "ben")] if code else [])
    assert (Missed("ann", chat) in ben.hears()) is missed
    assert ann.session.blocked is (code is None)
    ben.session.receive(AcceptCall())
    assert refusals(ben.hears())[-1:] == ([(Code.NOT_CALLED, None)] if not ben.closed else [])


def test_a_call_that_nobody_answers_ends_by_itself(world: World) -> None:
    ann, ben, chat = ringing(world)
    world.pass_time(30.1)
    world.settle()
    assert refusals(ann.hears()) == [(Code.DECLINED, "ben")]
    assert ben.hears() == [Missed("ann", chat)]


def test_a_caller_whose_callees_node_says_nothing_gives_up(world: World) -> None:
    ann, _, _ = ringing(world)
    world.crash("n2")
    world.pass_time(31)
    assert refusals(ann.hears()) == [(Code.DECLINED, "ben")]


def test_a_second_caller_hears_busy_and_calling_back_accepts(world: World) -> None:
    ann, ben, _ = ringing(world)
    cas = enter(world.place("n1"), "cas")
    cas.says(Call("ben"))
    world.settle()
    assert refusals(cas.hears()) == [(Code.BUSY, "ben")]
    ben.says(Call("ann"))
    world.settle()
    assert [type(event) for event in (*ann.hears(), *ben.hears())] == [Paired, Paired]


def test_the_callee_may_do_other_things_meanwhile_and_so_may_the_callers_pings(world: World) -> None:
    ann, ben, _ = ringing(world)
    ben.says(Who("ann"), Ping())
    world.settle()
    assert [type(event).__name__ for event in ben.hears()] == ["Known", "Pong"]
    assert ann.session.draining
    assert ann.session.passes(Ping())
    assert ann.session.passes(Cancel())
    assert not ann.session.passes(Leave())
    ann.session.receive(Ping())
    assert ann.hears() == [Pong()]


def test_an_answer_to_another_call_is_refused(world: World) -> None:
    _, ben, _ = ringing(world)
    ben.says(AcceptCall("c0"), DeclineCall("c0"))
    assert refusals(ben.hears()) == [(Code.NOT_CALLED, None)] * 2
    assert ben.session.call_policy.ringing is not None


def test_a_call_taken_too_late_is_missed(world: World) -> None:
    ann, ben, chat = ringing(world)
    ben.says(AcceptCall())
    ann.session.receive(Cancel())
    world.settle()
    assert refusals(ann.hears()) == [(Code.DECLINED, "ben")]
    assert ben.hears() == [Missed("ann", chat)]
    pair(enter(world.place("n1"), "cas"), ann)  # both are free again


def test_a_call_taken_by_calling_back_is_missed_if_its_taker_gives_it_up_at_once(world: World) -> None:
    ann, ben, chat = ringing(world)
    ben.says(Call("ann"))
    ben.session.receive(Cancel())
    world.settle()
    missed, refused = ben.hears()
    assert missed == Missed("ann", chat)
    assert refusals([refused]) == [(Code.DECLINED, "ann")]
    assert refusals(ann.hears()) == [(Code.UNAVAILABLE, "ben")]
    pair(ben, enter(world.place("n1"), "cas"))  # both are free again
    assert ann.session.presence is Presence.FREE


def test_a_caller_on_a_node_of_an_earlier_release_hears_busy_at_once(world: World) -> None:
    """Its node would give the call up before anybody could have answered."""
    ann, ben = enter(world.place("n1"), "ann"), asking(world, "ben")
    ben.place.deliver(Invite("ben", "c0", replace(ann.session.party, rings=False)))
    assert [mail for _, mail in world.mail()] == [Decline("ann", "c0", Code.BUSY)]
    assert ben.hears() == []
    assert ben.session.presence is Presence.FREE


def test_a_callee_that_does_not_ask_is_paired_at_once_and_a_resume_may_change_that(world: World) -> None:
    ben = asking(world, "ben")
    ben.says(EndOfStream())
    again = world.place("n3").user()
    again.says(Claim("ben", True, Resume(ben.token), False))
    world.settle()
    again.hears()
    pair(enter(world.place("n1"), "ann"), again)


def test_giving_up_nothing_is_nothing(world: World) -> None:
    ann = enter(world.place("n1"), "ann")
    ann.says(Cancel())
    assert ann.hears() == []


# --- typing


def test_typing_is_told_to_the_partner_only(world: World) -> None:
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
    chat = pair(ann, ben)
    ann.says(NotifyTyping(), NotifyTyping(chat), NotifyTyping("another"))
    world.settle()
    assert ben.hears() == [PartnerTyping("ann", chat), PartnerTyping("ann", chat)]
    assert ann.hears() == []


def test_typing_alone_is_ignored(world: World) -> None:
    ann = enter(world.place("n1"), "ann")
    ann.says(NotifyTyping())
    assert ann.hears() == []


def test_typing_that_can_not_go_at_once_is_dropped_and_nothing_else(world: World) -> None:
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben")
    chat = pair(ann, ben)
    world.bus.flowing = False
    ann.says(NotifyTyping(), Say("one", 1))
    world.settle()
    world.bus.flowing = True
    ben.behind = True
    ann.says(NotifyTyping(), Say("two", 2))
    world.settle()
    ben.behind = False
    assert ben.texts() == ["one", "two"]
    assert PartnerTyping("ann", chat) not in ben.hears()


def test_typing_for_a_text_client_or_one_who_is_away_goes_nowhere(world: World) -> None:
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben", program=False)
    pair(ann, ben)
    ann.says(NotifyTyping())
    world.settle()
    assert ben.hears() == []
    cas, dan = enter(world.place("n1"), "cas"), enter(world.place("n2"), "dan")
    pair(cas, dan)
    dan.says(EndOfStream())
    world.settle()
    cas.says(NotifyTyping())
    assert world.mail() == []
