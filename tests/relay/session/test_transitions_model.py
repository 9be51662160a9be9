"""In any order of events the states of sessions follow the table, and mean what they say."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.protocol.commands_and_events import Acknowledge, Call, Claim, Command, Leave, Quit, Say, Who
from relay.session.drain import dismiss
from relay.session.operator_kick import kick
from relay.session.session import NAMED, Session, State
from tests.relay.world import User, World, comes_back

NAMES = ("ann", "ben", "cas")
names = st.sampled_from(NAMES)
nodes = st.sampled_from(["n1", "n2", "n3"])
commands = st.sampled_from(
    [*map(Call, NAMES), Say("a"), Say("b"), Acknowledge(1), Leave(), Who("ben"), Quit(), Quit(now=True)]
)


class Lives(RuleBasedStateMachine):
    """Three users on three nodes, two of them in a chat, who come and go in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.users: dict[str, User] = {}
        for number, name in enumerate(NAMES):
            self._connect(name, f"n{number % 3 + 1}", program=name != "cas")
        self.world.settle()
        self.users["ann"].says(Call("ben"))
        self.world.settle()

    def _connect(self, name: str, node: str, *, program: bool = True) -> None:
        self.users[name] = self.world.place(node).user(program=program)
        self.users[name].says(Claim(name, acks=program))

    @rule(name=names, command=commands)
    def say(self, name: str, command: Command) -> None:
        user = self.users[name]
        if not user.closed and not user.hung_up:
            user.says(command)

    @rule(name=names)
    def break_off(self, name: str) -> None:
        """Lose the connection, as `Connection.connection_lost` reports it.

        It drops its lines, also the end of the stream, if the session has let it go by then.
        """
        user = self.users[name]
        if user.session.client is user and not user.hung_up:
            user.breaks_off()

    @rule(name=names, node=nodes, known=st.booleans())
    def come_back(self, name: str, node: str, known: bool) -> None:
        session = self.users[name].session
        chat = session.chat.id if known and session.chat is not None else ""
        if not session.named or not session.resumable:
            if session.state is not State.CLAIMING:
                self._connect(name, node, program=session.resumable)
        else:
            self.users[name] = comes_back(self.users[name], self.world.place(node), chat)

    @rule(name=names)
    def stop_the_node_for(self, name: str) -> None:
        if self.users[name].session.state is not State.ENDED:
            dismiss(self.users[name].session)

    @rule(name=names)
    def kick(self, name: str) -> None:
        if self.users[name].session.named:
            kick(self.users[name].session)

    @rule(name=names)
    def lose_the_name(self, name: str) -> None:
        session = self.users[name].session
        there = self.world.records.get(name)
        if session.named and there is not None and there.session_id == session.session_id:
            del self.world.records[name]
            session.name_lost()

    @precondition(lambda self: self.world.choices())
    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        self.world.happen(data.draw(st.sampled_from(self.world.choices())))

    @rule(seconds=st.sampled_from([0.1, 0.5, 6.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(available=st.booleans())
    def redis_comes_or_goes(self, available: bool) -> None:
        self.world.directory.available = available

    @rule()
    def all_is_quiet(self) -> None:
        self.world.settle()
        for user in self.users.values():
            if user.session.named:
                user.session.flushed()

    @invariant()
    def states_mean_what_they_say(self) -> None:
        for place in self.world.nodes.values():
            for session in place.begun:
                check(session)


def check(session: Session) -> None:
    """Check that the other attributes of each session fit its state."""
    state, claims = session.state, isinstance(session.pending, Claim)
    assert session.named is (state in NAMED)
    assert not session.named or session.canonical_name
    assert not session.named or session.session_id
    assert (session.returning is not None) is (state is State.RESUMING)
    match state:
        case State.NAMELESS:
            assert (session.name, session.pending, session.chat) == (None, None, None)
        case State.CLAIMING:
            assert claims
        case State.ACTIVE:
            assert not claims
            assert not session.deferred
        case State.RESUMING:
            assert claims
        case State.AWAY:
            assert not claims
            assert session.client is None
        case State.ENDED:
            assert session.chat is None


TestLives: Any = Lives.TestCase
TestLives.settings = settings(stateful_step_count=30)
