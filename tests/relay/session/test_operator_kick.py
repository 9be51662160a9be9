"""A user whom an operator disconnects."""

from relay.protocol.commands_and_events import EndOfStream, Left, Refused, Say, Unconfirmed
from relay.protocol.errors import MESSAGES, Code, Reason
from relay.session.operator_kick import kick
from relay.session.session import State
from tests.relay.world import CHAT, World, enter, pair

KICKED = Refused(Code.KICKED, MESSAGES[Code.KICKED])


def test_the_session_of_a_program_is_over_at_once_and_the_partner_told() -> None:
    world = World()
    ann, ben = enter(world.place("n1"), "Ann"), enter(world.place("n2"), "Ben", acks=True)
    pair(ann, ben)
    ann.says(Say("a", 1))
    kick(ann.session)
    world.settle()
    assert ann.hears() == [Unconfirmed(1, 1, Reason.KICKED, ("a",), CHAT), KICKED]
    assert ann.closed
    assert ben.hears()[-1] == Left("Ann", Reason.KICKED, CHAT)
    assert "ann" not in world.records
    assert ann.session.state is State.ENDED


def test_the_session_of_a_person_is_over_at_once() -> None:
    world = World()
    tim = enter(world.place("n1"), "Tim", program=False)
    kick(tim.session)
    world.settle()
    assert (tim.hears(), tim.closed, "tim" in world.records) == ([KICKED], True, False)


def test_a_kicked_user_who_is_away_may_not_come_back() -> None:
    world = World()
    ann = enter(world.place("n1"), "Ann")
    ann.says(EndOfStream())
    world.settle()
    kick(ann.session)
    world.settle()
    assert "ann" not in world.records
