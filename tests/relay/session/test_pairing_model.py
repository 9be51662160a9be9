"""Pairing compared with a small model: in any order of actions and peer messages, all agree in the end."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.protocol.commands_and_events import Call, Leave, Left, Messages, Paired, Quit, Refused, Say
from relay.protocol.errors import Code
from tests.relay.world import User, World, enter

NAMES = ("ann", "ben", "cas", "dot", "eve")
names = st.sampled_from(NAMES)


class Pairings(RuleBasedStateMachine):
    """Five users on three nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.users: dict[str, User] = {}
        self.calls = dict.fromkeys(NAMES, 0)  # number of calls of each user
        for number, name in enumerate(NAMES):
            self._enter(name, number)

    def _enter(self, name: str, number: int) -> None:
        self.users[name] = enter(self.world.place(f"n{number % 3}"), name)
        self.calls[name] = 0

    @rule(caller=names, callee=names)
    def call(self, caller: str, callee: str) -> None:
        if caller != callee:
            self.calls[caller] += 1
            self.users[caller].says(Call(callee))

    @rule(name=names)
    def leave(self, name: str) -> None:
        self.users[name].says(Leave())

    @rule(name=names, text=st.text("xyz", min_size=1, max_size=3))
    def say(self, name: str, text: str) -> None:
        self.users[name].says(Say(f"{name}:{text}"))

    @rule(name=names, data=st.data())
    def quit_and_return(self, name: str, data: st.DataObject) -> None:
        self.users[name].says(Quit())
        self._quiet()
        assert self.users[name].closed
        self._enter(name, data.draw(st.integers(0, 2)))

    @precondition(lambda self: self.world.choices())
    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        self.world.happen(data.draw(st.sampled_from(self.world.choices())))

    @rule(seconds=st.sampled_from([0.5, 1.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def all_is_quiet(self) -> None:
        self._quiet()

    def _acknowledge(self) -> None:
        for user in self.users.values():
            if user.session.named:
                user.session.flushed()

    def _quiet(self) -> None:
        """Deliver everything, and have all clients read."""
        while True:
            self.world.settle()
            self._acknowledge()
            if not self.world.choices():
                break
        self._agreement()

    def _agreement(self) -> None:
        for name, user in self.users.items():
            session = user.session
            if not session.named:
                continue
            assert not session.blocked, f"{name} waits for ever: {session.pairing.step}"
            believed = user.partner
            actual = session.chat.partner.display_name if session.chat else None
            assert believed == actual, f"{name} was told {believed} and has {actual}"
            if actual is not None:
                other = self.users[actual].session
                assert session.chat is not None
                assert other.chat is not None, f"{name} talks to {actual}, who talks to nobody"
                assert other.chat.id == session.chat.id
            answers = [e for e in user.told if (isinstance(e, Paired) and e.caller) or _refuses_a_call(e)]
            assert len(answers) >= self.calls[name] or _answered_by_a_mutual_call(user), f"{name}: {user.told}"

    @invariant()
    def nobody_hears_anyone_but_a_partner(self) -> None:
        for user in self.users.values():
            partner = None
            for event in user.told:
                if isinstance(event, Paired):
                    partner = event.name
                elif isinstance(event, Left):
                    partner = None
                elif isinstance(event, Messages):
                    assert event.sender == partner
                    assert all(text.startswith(f"{partner}:") for text in event.texts)

    def teardown(self) -> None:
        self._quiet()


def _refuses_a_call(event: Any) -> bool:
    return isinstance(event, Refused) and event.code in (Code.BUSY, Code.AWAY, Code.NO_SUCH_USER, Code.UNAVAILABLE)


def _answered_by_a_mutual_call(user: User) -> bool:
    return any(isinstance(event, Paired) and not event.caller for event in user.told)


TestPairings = Pairings.TestCase
TestPairings.settings = settings(stateful_step_count=40)
