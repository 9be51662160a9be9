"""The checker's rules about chats: their ends, and the users in each at the end."""

import pytest

from relay.tools.torture.checker import AFTERMATH_SECONDS
from relay.tools.torture.history import End, Kind, close, cut, reconnect
from tests.relay.tools.torture.breaking import tale, unfounded
from tests.relay.tools.torture.tale import CHAT, GRACE, LEASE, Tale

# --- unfounded


def test_a_chat_is_lost_with_its_partners_session() -> None:
    told = tale(unfounded)
    close(told.bob, End.NAME_LOST, 10.5)
    assert told.rules == []


def test_a_partner_that_was_never_told_of_the_chat_lost_none() -> None:
    told = tale(unfounded)
    told.history.chats[CHAT].remove(told.bob.serial)
    assert told.rules == []


def test_a_session_that_went_on_for_a_lease_and_a_grace_was_not_lost() -> None:
    told = tale(unfounded)
    close(told.bob, End.QUIT, 10.0 + LEASE + GRACE + 0.1)
    assert told.rules == ["unfounded"]


def test_the_word_that_the_other_side_had_left_may_come_as_lost() -> None:
    told = tale(unfounded)
    told.parts(told.bob, "ann", "left")
    assert told.rules == []


@pytest.mark.parametrize("kind", [Kind.LAZY, Kind.PERSON])
def test_only_programs_that_acknowledge_are_judged_by_what_they_were_told(kind: Kind) -> None:
    told = Tale()
    told.parts(told.owner("lea", kind), "bob", "lost")
    assert told.rules == []


@pytest.mark.parametrize(("kind", "stranger"), [(Kind.PERSON, False), (Kind.PROGRAM, True)])
def test_a_person_and_a_stranger_come_and_go(kind: Kind, stranger: bool) -> None:
    told = Tale()
    told.owner("pat", kind, at=0.0, stranger=stranger)
    told.parts(told.ann, "pat", "lost")
    assert told.rules == []


@pytest.mark.parametrize(("seconds", "rules"), [(GRACE - AFTERMATH_SECONDS, []), (4.0, ["unfounded"])])
def test_a_partner_that_was_away_for_nearly_the_grace_may_count_as_lost(seconds: float, rules: list[str]) -> None:
    told = tale(unfounded)
    cut(told.bob, 3.0)
    reconnect(told.bob, 2, 3.0 + seconds)
    assert told.rules == rules


@pytest.mark.parametrize(("seconds", "rules"), [(GRACE - AFTERMATH_SECONDS, []), (4.0, ["unfounded"])])
def test_a_user_who_comes_back_just_before_being_given_up_may_be_told_the_same(
    seconds: float, rules: list[str]
) -> None:
    """Its node ends the chat for it, while another node takes the session over."""
    told = tale(unfounded)
    cut(told.ann, 10.0 - seconds)
    reconnect(told.ann, 2, 10.0)
    assert told.rules == rules


@pytest.mark.parametrize(("kind", "rules"), [("flush", []), ("pause", ["unfounded"])])
def test_a_redis_that_forgot_may_have_lost_the_chat(kind: str, rules: list[str]) -> None:
    told = tale(unfounded)
    told.breaks(kind, 9.0, 9.1)
    assert told.rules == rules


@pytest.mark.parametrize(("bob_told", "rules"), [(15.0, []), (25.0, ["unfounded"])])
def test_a_chat_that_redis_forgot_may_be_told_to_one_side_long_after_the_other(
    bob_told: float, rules: list[str]
) -> None:
    """Bob came back to find no chat. Ann's own node failed before she was told."""
    told = Tale()
    told.breaks("flush", 9.0, 9.1)
    told.parts(told.bob, "", "lost", at=bob_told)
    told.parts(told.ann, "bob", "lost", at=26.0)
    assert told.rules == rules


# --- unasked


@pytest.mark.parametrize("asked", ["ann", "bob"])
def test_a_chat_is_left_if_either_side_wants_to(asked: str) -> None:
    told = Tale()
    told.parts(told.ann, "bob", "left", asked=asked == "ann")
    told.parts(told.bob, "ann", "left", asked=asked == "bob")
    assert told.rules == []


def test_a_chat_with_a_session_that_ended_was_not_left() -> None:
    told = Tale()
    told.parts(told.ann, "bob", "left")
    told.parts(told.bob, "ann", "quit")
    assert told.rules == []


def test_a_person_may_have_wanted_the_end() -> None:
    told = Tale()
    told.parts(told.ann, "pat", "left")
    assert told.rules == []


# --- lopsided


def test_a_partner_must_be_there() -> None:
    told = Tale()
    told.believes(told.ann, "bob")
    assert told.rules == ["lopsided"]


def test_two_partners_must_be_in_the_same_chat() -> None:
    told = Tale()
    told.believes(told.ann, "bob", "chat-1")
    told.believes(told.bob, "ann", "chat-2")
    assert told.verdict.violations.keys() == {"lopsided"}


def test_a_person_knows_of_no_chat_but_of_a_partner() -> None:
    told = Tale()
    pat = told.owner("pat", Kind.PERSON)
    told.believes(told.ann, "pat")
    told.believes(pat, "ann")
    assert told.rules == []
    told.believes(pat, "bob")
    assert told.rules == ["lopsided"]


def test_nobody_needs_a_partner() -> None:
    told = Tale()
    told.believes(told.ann, "")
    told.believes(told.bob, "")
    assert told.rules == []
