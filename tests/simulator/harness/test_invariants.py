"""What a record may not say otherwise than the session that it is about."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from relay.directory.record import Record, SessionRecord
from relay.hub.hub import Hub
from relay.session.session import Session
from simulator.harness.invariants import differs

HUB = cast(Hub, SimpleNamespace(node_id="n1"))
SESSION = cast(Session, SimpleNamespace(session_id="s1", fencing_token=7, chat=SimpleNamespace(id="c1")))
ALONE = cast(Session, SimpleNamespace(session_id="s1", fencing_token=7, chat=None))
BODY = SessionRecord("ann", 8.0, "hash", False, "c1", None)
RECORD = Record(7, "n1", "1", "s1", BODY)


def test_one_that_says_the_same_is_right() -> None:
    assert not list(differs(RECORD, HUB, SESSION))
    assert not list(differs(replace(RECORD, body=replace(BODY, chat="")), HUB, ALONE))


@pytest.mark.parametrize(
    ("change", "word"),
    [({"node_id": "n2"}, "node"), ({"session_id": "s2"}, "session"), ({"fencing_token": 6}, "fence")],
)
def test_one_of_another_owner_is_wrong(change: dict[str, Any], word: str) -> None:
    (said,) = differs(replace(RECORD, **change), HUB, SESSION)
    assert word in said


@pytest.mark.parametrize(("chat", "session"), [("", SESSION), ("c2", SESSION), ("c1", ALONE)])
def test_one_with_another_chat_is_wrong(chat: str, session: Session) -> None:
    (said,) = differs(replace(RECORD, body=replace(BODY, chat=chat)), HUB, session)
    assert "chat" in said
