"""One user: the commands of each state, and the lines that wait. test_session_ends.py has the ends."""

import pytest

from relay.protocol.commands_and_events import (
    Acked,
    Acknowledge,
    Call,
    Claim,
    Command,
    EndOfStream,
    Event,
    Known,
    Leave,
    Malformed,
    Noop,
    Ping,
    Pong,
    Quit,
    Refused,
    Resume,
    Say,
    Welcome,
    Who,
)
from relay.protocol.errors import Code, Presence
from relay.protocol.frame_errors import About
from relay.session.runtime_interface import Limits
from relay.session.session import State
from tests.relay.world import NOON, User, World, codes, enter, pair

GRACE = 20.0
LIMITS = Limits(grace=GRACE)


class TestBeforeTheName:
    @pytest.mark.parametrize(
        "command", [Call("ben"), Say("hi", 1), Acknowledge(1), Leave(), Who("ben"), Ping(), Noop()], ids=repr
    )
    def test_no_other_command_is_understood_before_the_name(self, command: Command, world: World) -> None:
        user = world.place("n1").user()
        user.says(command)
        assert codes(user) == [Code.BAD_FRAME]

    def test_a_malformed_line_before_the_name_is_refused_with_its_reason(self, world: World) -> None:
        user = world.place("n1").user()
        user.says(Malformed(Code.BAD_VERSION, "what?", About(7, "x")))
        assert user.hears() == [Refused(Code.BAD_VERSION, "what?", id=7, name="x")]

    @pytest.mark.parametrize("command", [Quit(), EndOfStream()], ids=repr)
    def test_whoever_goes_is_let_go_without_a_word(self, command: Command, world: World) -> None:
        user = world.place("n1").user()
        user.says(command)
        assert (user.closed, user.hears(), user.session.state) == (True, [], State.ENDED)


class TestClaiming:
    def test_the_welcome_says_what_the_client_has_to_know(self, world: World) -> None:
        user = world.place("n1").user()
        user.says(Claim("Ann"))
        world.settle()
        limits = world.limits
        (welcome,) = user.hears()
        assert isinstance(welcome, Welcome)
        assert welcome.token
        assert welcome == Welcome(
            "Ann", welcome.token, False, GRACE, limits.window, limits.window_bytes, limits.ping, "n1", limits.max_line
        )

    def test_lines_behind_a_claim_wait_for_its_outcome(self, world: World) -> None:
        user = world.place("n1").user()
        user.says(Claim("ann"), Ping())
        assert user.hears() == []
        assert user.session.state is State.CLAIMING
        world.settle()
        assert [type(event) for event in user.hears()] == [Welcome, Pong]

    @pytest.mark.parametrize("name", ["", "a b", "x" * 33, "quit", "a:b", "\u0430dmin"])
    def test_an_invalid_name_is_refused_and_another_may_follow(self, name: str, world: World) -> None:
        user = world.place("n1").user()
        user.says(Claim(name))
        assert [(e.code, e.name) for e in user.hears() if isinstance(e, Refused)] == [(Code.NAME_INVALID, name)]
        user.says(Claim("ann"))
        world.settle()
        assert isinstance(user.hears()[0], Welcome)

    def test_a_name_that_is_taken_is_refused_and_another_may_follow(self, world: World, ann: User) -> None:
        user = world.place("n2").user()
        user.says(Claim("aNN"), Claim("anna"))
        world.settle()
        refused, welcome = user.hears()
        assert isinstance(refused, Refused)
        assert (refused.code, refused.name) == (Code.NAME_TAKEN, "aNN")
        assert isinstance(welcome, Welcome)

    def test_a_claim_without_a_directory_is_unavailable(self, world: World) -> None:
        user = world.place("n1").user()
        world.directory.available = False
        user.says(Claim("ann"))
        world.settle()
        assert codes(user) == [Code.UNAVAILABLE]
        assert user.session.state is State.NAMELESS

    def test_a_second_claim_is_out_of_place(self, ann: User) -> None:
        ann.says(Claim("other"))
        assert codes(ann) == [Code.BAD_FRAME]
        assert ann.session.canonical_name == "ann"

    def test_a_token_that_nobody_knows_is_refused(self, world: World) -> None:
        user = world.place("n1").user()
        user.says(Claim("ann", resume=Resume("no such token")))
        world.settle()
        assert codes(user) == [Code.BAD_TOKEN]


class TestAlone:
    def test_a_ping_is_answered(self, ann: User) -> None:
        ann.says(Ping())
        assert ann.hears() == [Pong()]

    def test_an_empty_line_is_ignored(self, tim: User) -> None:
        tim.says(Noop())
        assert tim.hears() == []

    def test_there_is_nobody_to_leave(self, ann: User) -> None:
        ann.says(Leave())
        assert codes(ann) == [Code.NOT_PAIRED]

    def test_there_is_nothing_to_acknowledge(self, ben: User) -> None:
        ben.says(Acknowledge(1))
        assert ben.hears() == []

    def test_a_malformed_line_is_refused_with_its_reason(self, ann: User) -> None:
        ann.says(Malformed(Code.TOO_LONG, "too long", About(7, "x")))
        assert ann.hears() == [Refused(Code.TOO_LONG, "too long", id=7, name="x")]


class TestWho:
    def presence(self, world: World, ann: User, name: str) -> Presence:
        ann.says(Who(name))
        assert ann.session.blocked is (name.lower() not in world.place("n1").sessions)  # else it is known here
        world.settle()
        (known,) = ann.hears()
        assert isinstance(known, Known)
        assert known.name == name
        return known.state

    def test_a_look_up_tells_what_others_do(self, world: World, ann: User, ben: User, tim: User) -> None:
        assert self.presence(world, ann, "ben") is Presence.FREE
        pair(tim, ben)
        assert self.presence(world, ann, "BEN") is Presence.BUSY
        ben.says(EndOfStream())
        assert self.presence(world, ann, "ben") is Presence.AWAY
        assert self.presence(world, ann, "nobody") is Presence.OFFLINE
        assert self.presence(world, ann, "ann") is Presence.FREE

    def test_an_invalid_name_is_refused(self, ann: User) -> None:
        ann.says(Who("a b"))
        assert codes(ann) == [Code.NAME_INVALID]

    def test_a_look_up_without_a_directory_is_unavailable(self, world: World, ann: User) -> None:
        world.directory.available = False
        ann.says(Who("ben"))
        world.settle()
        assert codes(ann) == [Code.UNAVAILABLE]

    def test_the_answer_for_a_session_that_lost_its_name_is_dropped(self, world: World, ann: User) -> None:
        ann.says(Who("ben"))
        ann.session.name_lost()
        ann.hears()
        world.settle()
        assert ann.hears() == []


class TestWhatWaits:
    """While a session is `blocked`, the connection keeps the lines.

    If it is `draining`, acknowledgements and pings pass.
    """

    @pytest.mark.parametrize(
        ("command", "blocked", "draining"),
        [
            (Say("b", 2), False, False),
            (Ping(), False, False),
            (Acknowledge(1), False, False),
            (Noop(), False, False),
            (Who("tim"), True, False),
            (Leave(), True, True),
            (Quit(), True, True),
            (Call("tim"), True, True),
            (Call("ben"), False, False),
            (EndOfStream(), False, False),
        ],
        ids=repr,
    )
    def test_some_commands_wait_behind_a_message_without_outcome(
        self, command: Command, blocked: bool, draining: bool, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1), command)
        assert (ann.session.blocked, ann.session.draining) == (blocked, draining)

    @pytest.mark.parametrize("acks", [True, False])
    def test_acknowledgements_are_taken_only_from_clients_that_said_so(self, acks: bool, world: World) -> None:
        ada, ann = enter(world.place("n1"), "ada", acks=acks), enter(world.place("n2"), "ann")
        chat = pair(ann, ada)
        ann.says(Say("a", 1))
        world.settle()
        ada.says(Acknowledge(1, "another chat"))
        world.settle()
        assert ann.hears() == []
        ada.says(Acknowledge(1, chat))
        world.settle()
        assert ann.hears() == ([Acked(1, chat, NOON)] if acks else [])

    def test_a_client_that_acknowledges_itself_is_not_acknowledged_for_by_the_kernel(
        self, world: World, ann: User, ben: User
    ) -> None:
        pair(ann, ben)
        ann.says(Say("a", 1))
        world.settle()
        ben.reads()
        assert ann.hears() == []


@pytest.mark.parametrize("node_id", ["n1", "n3"])
def test_a_name_is_taken_in_every_spelling_that_looks_like_it(world: World, ann: User, node_id: str) -> None:
    told: list[Event] = []
    for name in ("ann", "ANN", "\uff21nn"):
        user = world.place(node_id).user()
        user.says(Claim(name))
        world.settle()
        told += user.hears()
    assert [event.code for event in told if isinstance(event, Refused)] == [Code.NAME_TAKEN] * 3
