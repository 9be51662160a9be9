"""A resumed session and its partner find each other again, or learn that the chat is over."""

from typing import cast, get_args

import pytest
from msgspec import Struct
from msgspec.structs import replace

from relay.protocol.commands_and_events import (
    Acked,
    Away,
    EndOfStream,
    Leave,
    Left,
    Messages,
    Paired,
    Refused,
    Say,
    Welcome,
)
from relay.protocol.errors import Presence, Reason
from relay.session import resume
from relay.session.drain import dismiss
from relay.session.operator_kick import kick
from relay.session.peer_messages import Mail, Text
from relay.session.session import State
from relay.shared_types import Located
from tests.golden.samples import samples
from tests.relay import movers
from tests.relay.movers import GRACE
from tests.relay.world import CHAT, User, World, comes_back, enter, is_found, pair

world, ann, ben = movers.world, movers.ann, movers.ben


def test_two_partners_who_move_at_once_find_each_other(world: World, ann: User, ben: User) -> None:
    """Each looks where the other was. That node answers that it doesn't have the session, which ends nothing."""
    chat = pair(ann, ben)
    for user in (ann, ben):
        user.says(EndOfStream())
    world.settle()
    ann, ben = comes_back(ann, world.place("n3"), chat), comes_back(ben, world.place("n4"), chat)
    is_found(ann)
    is_found(ben)
    world.settle()
    for user in (ann, ben):
        assert not [event for event in user.hears() if isinstance(event, Left)]
        assert user.session.chat is not None
    ann.says(Say("a", 1))
    world.settle()
    assert ben.texts() == ["a"]


def test_a_slow_answer_does_not_overrule_a_partner_that_has_moved_and_found_us_meanwhile(
    world: World, ann: User, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their nodes stop, and both move at once.

    Ben isn't at the place that the directory names, so no answer comes from there.
    """
    chat = pair(ann, ben)
    for user in (ann, ben):
        user.says(EndOfStream())
    world.settle()
    place, answers = world.place("n3"), []
    with monkeypatch.context() as patch:
        patch.setattr(place.hub, "locate", lambda canonical_name, then: answers.append(then))
        ann = comes_back(ann, place, chat)
        world.settle()
    ben = comes_back(ben, place, chat)
    world.settle()
    world.crash("n2")
    (late,) = answers
    late(Located(Presence.AWAY, "n2"))
    world.settle()
    ann.says(Say("a", 1))
    world.settle()
    assert ben.texts() == ["a"]


def test_a_partner_that_nobody_knows_any_more_is_lost(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    ann.says(EndOfStream())
    world.settle()
    world.nodes["n2"].sessions.clear()
    world.records.pop("ben")
    again = comes_back(ann, world.place("n3"), chat)
    world.settle()
    assert again.hears()[-1] == Left("ben", Reason.LOST, CHAT)


def test_a_partner_that_is_just_arriving_is_waited_for(world: World, ann: User, ben: User) -> None:
    """The directory names a node that doesn't have the partner yet.

    That node is asked again, and nobody is told anything.
    """
    chat = pair(ann, ben)
    ann.says(EndOfStream())
    world.settle()
    arriving = world.nodes["n2"].sessions.pop("ben")
    ann = comes_back(ann, world.place("n3"), chat)
    world.settle()
    world.nodes["n2"].sessions["ben"] = arriving
    world.pass_time(world.limits.reunion)
    world.settle()
    ben.says(Say("b", 1))
    world.settle()
    assert ann.texts() == ["b"]
    assert not [event for event in ann.hears() if isinstance(event, Left)]


def test_a_redis_that_is_away_is_asked_again(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    ben.says(EndOfStream())
    world.settle()
    ann.says(EndOfStream())
    world.settle()
    ann = comes_back(ann, world.place("n3"), chat)
    ben = comes_back(ben, world.place("n4"), chat)
    is_found(ann)
    is_found(ben)
    world.directory.available = False
    world.settle()
    world.directory.available = True
    world.pass_time(1.0)
    world.settle()
    ann.says(Say("a", 1))
    world.settle()
    assert ben.texts() == ["a"]


def test_the_grace_ends_nothing_for_a_partner_who_came_back_unheard(world: World, ann: User, ben: User) -> None:
    """The partner's node died, and it came back elsewhere. No message of that arrived, but the directory knows it."""
    chat = pair(ann, ben)
    ann.session.node_lost("n2", 0.0)
    again = is_found(comes_back(ben, world.place("n3"), chat))
    world.lose()
    world.pass_time(GRACE)
    world.settle()
    assert not [event for event in ann.hears() if isinstance(event, Left)]
    ann.says(Say("a", 1))
    world.settle()
    assert again.texts() == ["a"]
    again.session.runtime.post("n1", again.session.chat.confirm(1))  # type: ignore[union-attr, arg-type]
    world.settle()
    assert ann.hears()[-1] == Acked(1, chat, world.time)


def test_a_farewell_that_was_lost_with_a_node_that_only_slept_is_asked_for(world: World, ann: User, ben: User) -> None:
    """Ben's node was cut off, and taken for dead. Meanwhile he left, and the message of that was lost with the link."""
    pair(ann, ben)
    ann.session.node_lost("n2", 0.0)
    ben.says(Leave())
    world.lose()
    resume.ask_partner_on(ann.session, "n2")
    world.settle()
    assert ann.hears() == [Away("ben", GRACE, CHAT), Left("ben", Reason.LEFT, CHAT)]


def test_a_farewell_that_was_lost_is_asked_for_when_the_grace_is_over(world: World, ann: User, ben: User) -> None:
    """Nobody noticed that the node was back."""
    pair(ann, ben)
    ann.session.node_lost("n2", 0.0)
    ben.says(Leave())
    world.lose()
    world.pass_time(GRACE)
    world.settle()
    world.pass_time(world.limits.reunion)
    world.settle()
    assert ann.hears() == [Away("ben", GRACE, CHAT), Left("ben", Reason.LEFT, CHAT)]


def test_nothing_is_told_before_the_welcome(world: World, ann: User, ben: User) -> None:
    """While the node waits for the partner's answer, earlier messages of the partner may arrive."""
    chat = pair(ann, ben)
    ben.says(EndOfStream())
    world.settle()
    again = is_found(comes_back(ben, world.place("n3"), chat))
    world.place("n3").deliver(Text("ben", chat, ann.session.fencing_token, 1, 0, world.time, ["a"]))
    assert again.hears() == []
    world.settle()
    told = again.hears()
    assert [type(event) for event in told] == [Welcome, Paired, Messages]


@pytest.mark.parametrize("kind", get_args(Mail), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("which", ["least", "all"])
def test_no_peer_message_is_told_before_the_welcome(
    kind: type[Struct], which: str, world: World, ann: User, ben: User
) -> None:
    """Each kind comes from the partner while the node waits for its answer to the `Resync`."""
    chat = pair(ann, ben)
    ben.says(EndOfStream())
    world.settle()
    again = is_found(comes_back(ben, world.place("n3"), chat, sent=1))
    told = again.hears()
    assert told == []
    mail = dict(samples(kind))[which]
    party = ann.session.party
    about = {"to": "ben", "chat": chat, "fencing_token": party.fencing_token, "node_id": "n1", "id": 1, "prev": 0}
    about |= {"party": party, "caller": party, "callee": party, "last": 1, "timed": 0, "said": 0}
    known = {name: about[name] for name in mail.__struct_fields__ if name in about}
    world.place("n3").deliver(cast(Mail, replace(mail, **known)))
    told = again.hears()
    assert told == [] or isinstance(told[0], Welcome)


def test_a_client_whose_node_stops_before_its_welcome_is_away_and_hears_nothing(
    world: World, ann: User, ben: User
) -> None:
    chat = pair(ann, ben)
    ann.says(EndOfStream())
    world.settle()
    again = is_found(comes_back(ann, world.place("n3"), chat))
    assert again.session.state is State.RESUMING
    world.place("n3").deliver(Text("ann", chat, ben.session.fencing_token, 1, 0, world.time, ["a"]))
    dismiss(again.session)
    world.settle()
    world.pass_time(world.limits.reunion)
    world.settle()
    assert (again.hears(), again.session.state, again.session.deferred) == ([], State.AWAY, [])


def test_a_client_that_is_kicked_before_its_welcome_is_not_welcomed(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    ann.says(EndOfStream())
    world.settle()
    again = is_found(comes_back(ann, world.place("n3"), chat))
    kick(again.session)
    world.pass_time(world.limits.reunion)
    world.settle()
    assert [type(event) for event in again.hears()] == [Refused]


def test_a_partner_on_a_dead_node_is_known_to_be_away(world: World, ann: User, ben: User) -> None:
    """All sessions of this node were told before this one came to it."""
    chat = pair(ann, ben)
    ann.says(EndOfStream())
    world.settle()
    ben.session.state = State.AWAY  # as far as the directory knows
    world.crash("n2")
    again = comes_back(ann, world.place("n3"), chat)
    world.settle()
    world.pass_time(1)
    assert again.hears()[2:] == [Away("ben", GRACE, CHAT)]
    world.records.pop("ben")
    world.pass_time(GRACE)
    world.settle()
    assert again.hears() == [Left("ben", Reason.LOST, CHAT)]


def test_a_partner_whose_node_had_died_before_is_lost_once_the_directory_can_tell(
    world: World, ann: User, ben: User
) -> None:
    """Nobody tells a session of a death that its new node knew of before the session came."""
    chat = pair(ann, ben)
    world.crash("n2", lapsed=False)
    ann.says(EndOfStream())
    world.settle()
    ann = comes_back(ann, world.place("n3"), chat)
    world.settle()
    world.pass_time(2 * world.limits.reunion + world.limits.lease)
    world.settle()
    assert [type(event) for event in ann.hears()] == [Welcome, Paired]
    del world.records["ben"]
    world.pass_time(2 * world.limits.lease)
    world.settle()
    (left,) = ann.hears()
    assert isinstance(left, Left)
    assert left.reason is Reason.LOST


def test_a_person_whose_partner_moved_while_their_node_slept_finds_it(world: World, ann: User) -> None:
    """The new place told a node that was taken for dead. Only the directory tells of the move."""
    tom = enter(world.place("n1"), "tom", program=False)
    chat = pair(ann, tom)
    ann.says(EndOfStream())
    world.settle()
    world.bus.cut_off.add("n1")
    again = comes_back(ann, world.place("n3"), chat)
    world.settle()
    world.lose()
    world.bus.cut_off.clear()
    ann.session.replaced()
    tom.says(Say("b"))
    world.settle()
    world.pass_time(1)
    world.settle()
    assert again.texts() == ["b"]


def test_a_text_user_on_a_dead_node_is_lost_after_the_welcome(world: World, ann: User) -> None:
    tom = enter(world.place("n2"), "tom", program=False)
    chat = pair(ann, tom)
    ann.says(EndOfStream())
    world.settle()
    again = is_found(comes_back(ann, world.place("n3"), chat))
    again.session.node_lost("n2", 0.0)
    assert [type(event) for event in again.hears()] == [Welcome, Left]


def test_the_grace_doesnt_end_while_nobody_could_come_back(world: World, ann: User, ben: User) -> None:
    pair(ann, ben)
    ben.says(EndOfStream())
    world.settle()
    world.directory.available = False
    world.pass_time(GRACE)
    world.settle()
    assert ben.session.named
    world.directory.available = True
    world.pass_time(GRACE)
    world.settle()
    assert not ben.session.named
    assert ann.hears() == [Away("ben", GRACE, CHAT), Left("ben", Reason.LOST, CHAT)]
