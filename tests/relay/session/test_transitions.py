"""The states of a session: the promises of their table, and that no code changes them past the table."""

import ast
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

import relay
from relay.session import peer_handlers
from relay.session import session as owner
from relay.session.peer_messages import Mail, Typing
from relay.session.runtime_interface import Limits
from relay.session.session import NAMED, TRANSITIONS, IllegalTransition, Session, State, Transition
from tests.relay.twins import Twins
from tests.relay.world import World, enter
from tests.support.rows import each_row

ROOT = Path(relay.__file__).parent
OWNER = Path(owner.__file__)
# Attributes that only a session assigns. Other code reads them, and calls the method for an event.
OWNED = {"state", "named", "pending", "chat", "fallback_chat", "deferred", "client", "partner", "away", "fencing_token"}
OWNED |= {"resumable", "call_policy", "send_window", "session_id", "token_hash"}

MOVES = [(transition, state) for transition in Transition for state in State]


def a_session(state: State) -> Session:
    session = enter(World().place("n1"), "ann").session
    session.state, session.named = state, state in NAMED
    return session


@each_row(("transition", "state"), MOVES, ids=lambda member: member.name)
# private: no method makes a transition that the table doesn't have
def test_a_transition_leads_where_the_table_says_or_is_a_defect_that_changes_nothing(
    transition: Transition, state: State
) -> None:
    session = a_session(state)
    after = TRANSITIONS[transition].get(state)
    if after is None:
        with pytest.raises(IllegalTransition, match=f"{transition.name} in the state {state.name}"):
            session._move(transition)
    else:
        session._move(transition)
    assert session.state is (after or state)
    assert session.named is (session.state in NAMED)


def test_every_state_can_be_reached_and_left_but_the_last() -> None:
    ways = {(before, after) for moves in TRANSITIONS.values() for before, after in moves.items() if before is not after}
    assert {after for _, after in ways} == set(State)
    assert {before for before, _ in ways} == set(State) - {State.ENDED}


def test_every_transition_has_a_row_and_a_method_that_makes_it() -> None:
    source = OWNER.read_text(encoding="utf-8")
    assert set(TRANSITIONS) == set(Transition)
    for transition in Transition:
        assert f"self._move(Transition.{transition.name})" in source


async def told_after_a_defect() -> tuple[list[str], bytes]:
    """Return the log of both nodes after an impossible transition of ben's session, and what he is told then."""
    async with Twins(Limits(), max_line=120) as twins:
        ann, ben = twins.wire(0), twins.wire(1)
        ann.send(b'{"type":"hello","name":"ann"}\n')
        ben.send(b'{"type":"hello","name":"ben"}\n')
        await twins.settle()
        ann.send(b'{"type":"to","name":"ben"}\n')
        await twins.settle()
        ben.lines()
        with capture_logs() as log:
            ann.send(b'{"type":"typing"}\n')
            await twins.settle()
        ann.send(b'{"type":"msg","id":1,"text":"a"}\n')
        await twins.settle()
        told = ben.sent
    return [line["event"] for line in log], told


def test_a_defect_of_one_session_is_logged_and_its_node_serves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = peer_handlers.receive

    def fail_at_typing(session: Session, mail: Mail) -> None:
        session.welcome_back("token") if isinstance(mail, Typing) else receive(session, mail)

    monkeypatch.setattr(peer_handlers, "receive", fail_at_typing)
    log, told = anyio.run(told_after_a_defect)
    assert log == ["a step failed"]
    assert b'"text":"a"' in told
    assert b"welcome" not in told


def trespasses(source: str) -> Iterator[str]:
    """Yield the places where other code assigns a session's attributes, or touches the messages that it postpones."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(ast.Name("self"), _, ast.Store() | ast.Del()):
                continue  # it is the session's own
            case ast.Attribute(_, name, ast.Store() | ast.Del()) if name in OWNED:
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.Attribute(_, "deferred", ast.Load()):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            case ast.Call(ast.Name("setattr" | "delattr"), [_, ast.Constant(name), *_]) if name in OWNED:
                yield f"line {node.lineno}: {ast.unparse(node)}"


def test_nobody_else_assigns_what_belongs_to_a_sessions_state() -> None:
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        if file != OWNER:
            found += [f"{file.relative_to(ROOT)} {one}" for one in trespasses(file.read_text(encoding="utf-8"))]
    assert found == []


@each_row(
    ("source", "where"),
    [
        ("session.state = 1", "line 1: session.state"),
        ("a, session.chat = 1, 2", "line 1: session.chat"),
        ("def f(self):\n    self._session.pending = None", "line 2: self._session.pending"),
        ("here.named |= True", "line 1: here.named"),
        ("for session.fallback_chat in (): pass", "line 1: session.fallback_chat"),
        ("with a as session.chat: pass", "line 1: session.chat"),
        ("del session.pending", "line 1: session.pending"),
        ("session.deferred.clear()", "line 1: session.deferred"),
        ("setattr(session, 'state', 1)", "line 1: setattr(session, 'state', 1)"),
    ],
)
def test_an_assignment_from_outside_is_found(source: str, where: str) -> None:
    assert list(trespasses(source)) == [where]


def test_another_class_may_assign_its_own_attribute_of_the_same_name() -> None:
    assert list(trespasses("class A:\n    def f(self):\n        self.state = session.chat = None")) == [
        "line 3: session.chat"
    ]
