"""What a record may not say otherwise than the session that it is about."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from relay.directory.record import Record, SessionRecord
from relay.hub.hub import Hub
from relay.session.session import Session
from relay.session.unacked_messages import Run, UnackedMessages
from simulator.harness.invariants import differs, miscounted

HUB = cast(Hub, SimpleNamespace(node_id="n1"))
SESSION = cast(Session, SimpleNamespace(session_id="s1", fencing_token=7, chat=SimpleNamespace(id="c1")))
ALONE = cast(Session, SimpleNamespace(session_id="s1", fencing_token=7, chat=None))
BODY = SessionRecord("ann", 8.0, "hash", False, "c1", None)
RECORD = Record(7, "n1", "1", "s1", BODY)


def test_a_record_that_says_the_same_as_its_session_is_right() -> None:
    assert not list(differs(RECORD, HUB, SESSION))
    assert not list(differs(replace(RECORD, body=replace(BODY, chat="")), HUB, ALONE))


@pytest.mark.parametrize(
    ("change", "word"),
    [({"node_id": "n2"}, "node"), ({"session_id": "s2"}, "session"), ({"fencing_token": 6}, "fence")],
)
def test_a_record_of_another_owner_is_wrong(change: dict[str, Any], word: str) -> None:
    (said,) = differs(replace(RECORD, **change), HUB, SESSION)
    assert word in said


@pytest.mark.parametrize(("chat", "session"), [("", SESSION), ("c2", SESSION), ("c1", ALONE)])
def test_a_record_with_another_chat_is_wrong(chat: str, session: Session) -> None:
    (said,) = differs(replace(RECORD, body=replace(BODY, chat=chat)), HUB, session)
    assert "chat" in said


def window(*runs: Run) -> UnackedMessages:
    made = UnackedMessages()
    for run in runs:
        made.add(run.id, run.texts, run.at)
    return made


def test_a_window_that_has_each_message_once_is_right() -> None:
    made = window(Run(1, ["a", "é"], 0, 1.0), Run(3, ["b"], 0, 2.0), Run(9, ["c"], 0, 2.0))
    assert miscounted(made) == ""
    made.pop_upto(2)
    assert miscounted(made) == ""


def test_a_window_with_a_message_twice_or_with_wrong_sums_is_wrong() -> None:
    assert miscounted(window(Run(1, ["a", "b"], 0, 1.0), Run(2, ["b"], 0, 2.0))) == "has message 2 after 2"
    made = window(Run(1, ["a"], 0, 1.0))
    made.bytes += 1
    assert miscounted(made) == "has 1 messages of 1 bytes, and counts 1 of 2"
