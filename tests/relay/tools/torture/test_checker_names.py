"""The checker's rules about names and sessions: their owners, and when a session may be forgotten."""

import pytest

from relay.tools.torture.checker import AFTERMATH_SECONDS, IMPAIRING
from relay.tools.torture.history import End, Kind, close, cut, reconnect, stall
from tests.relay.tools.torture.breaking import forgotten, tale, two_owners
from tests.relay.tools.torture.tale import GRACE, LEASE, Tale
from tests.support.rows import each_row

# --- two owners


@each_row("kind", sorted(IMPAIRING | {"rollback"}))
def test_a_name_may_be_taken_whose_node_was_kept_from_showing_that_it_lives(kind: str) -> None:
    told = tale(two_owners)
    told.breaks(kind, 5.0, 10.0 - AFTERMATH_SECONDS, node=1)
    assert told.rules == []


@each_row("kind", ["kill", "term", "deaf", "pubsub", "buffer", "flush", "evict"])
def test_no_other_fault_lets_a_connected_owners_name_be_taken(kind: str) -> None:
    told = tale(two_owners)
    told.breaks(kind, 5.0, 15.0, node=1)
    assert told.rules == ["two owners"]


@pytest.mark.parametrize(("kind", "rules"), [(Kind.PERSON, []), (Kind.PROGRAM, ["two owners"])])
def test_a_person_who_does_not_read_has_not_seen_that_its_node_is_gone(kind: Kind, rules: list[str]) -> None:
    told = Tale()
    close(told.owner("pat", kind, at=5.0, node=2), End.BROKEN, 11.0)
    told.breaks("term", 9.0, 14.0, node=2)
    told.owner("pat", at=10.0, stranger=True)
    assert told.rules == rules


def _reset_while_it_reads_nothing(
    kind: Kind = Kind.PERSON, end: End = End.BROKEN, *, fault: str = "resets", at: float = 6.0, node: int = 2
) -> list[str]:
    """Have a stranger get the name of a client that reads nothing from second 5 to 11. Return the rules broken."""
    told = Tale()
    pat = told.owner("pat", kind, at=3.0, node=2)
    stall(pat, 5.0, 8.0)
    stall(pat, 7.5, 11.0)
    told.breaks(fault, at, at, node=node)
    told.owner("pat", at=10.0, stranger=True)
    close(pat, end, 11.1)
    return told.rules


@each_row("fault", ["resets", "kill", "term"])
def test_a_person_who_does_not_read_has_not_seen_that_its_connection_is_gone(fault: str) -> None:
    assert _reset_while_it_reads_nothing(fault=fault) == []


def test_a_program_keeps_its_name_when_its_connection_is_gone() -> None:
    assert _reset_while_it_reads_nothing(Kind.PROGRAM) == ["two owners"]


def test_a_person_whose_connection_goes_on_keeps_its_name() -> None:
    assert _reset_while_it_reads_nothing(end=End.NAME_LOST) == ["two owners"]


@each_row("at", [4.9, 10.1])
def test_a_fault_that_a_person_would_have_seen_or_that_came_later_excuses_nothing(at: float) -> None:
    assert _reset_while_it_reads_nothing(at=at) == ["two owners"]


def test_resets_at_another_node_excuse_nothing() -> None:
    assert _reset_while_it_reads_nothing(node=1) == ["two owners"]


def test_a_person_who_reads_sees_that_its_connection_is_gone() -> None:
    told = Tale()
    pat = told.owner("pat", Kind.PERSON, at=3.0, node=2)
    stall(pat, 5.0, 8.0)
    told.breaks("resets", 6.0, 6.0, node=2)
    told.owner("pat", at=10.0, stranger=True)
    close(pat, End.BROKEN, 11.0)
    assert told.rules == ["two owners"]


def test_only_the_owners_own_node_counts() -> None:
    told = tale(two_owners)
    told.breaks("pause", 5.0, 15.0, node=2)
    assert told.rules == ["two owners"]


def test_a_fault_that_was_over_for_long_or_came_later_excuses_nothing() -> None:
    told = tale(two_owners)
    told.breaks("pause", 2.0, 10.0 - AFTERMATH_SECONDS - 0.1, node=1)
    told.breaks("pause", 10.0 + LEASE + 0.1, 15.0, node=1)
    assert told.rules == ["two owners"]


def test_a_name_comes_free_when_its_owner_was_away_for_the_grace() -> None:
    told = Tale()
    cut(told.bob, 10.0)
    told.owner("bob", at=10.0 + GRACE, stranger=True)
    close(told.bob, End.FORGOTTEN, 20.0)
    assert told.rules == []


def test_a_name_does_not_come_free_before_the_grace_is_over() -> None:
    told = Tale()
    cut(told.bob, 10.0)
    told.owner("bob", at=10.0 + GRACE - 0.1, stranger=True)
    close(told.bob, End.FORGOTTEN, 20.0)
    assert told.rules == ["two owners"]


@pytest.mark.parametrize(
    ("faults", "rules"),
    [(["kill", "flush"], []), (["kill"], ["two owners"]), (["flush"], ["two owners"]), ([], ["two owners"])],
)
def test_an_absent_owners_name_may_go_if_its_node_and_redis_both_forgot(faults: list[str], rules: list[str]) -> None:
    told = Tale()
    cut(told.bob, 10.0)
    for kind in faults:
        told.breaks(kind, 10.0, 10.1, node=1 if kind == "kill" else -1)
    told.owner("bob", at=12.0, stranger=True)
    close(told.bob, End.FORGOTTEN, 13.0)
    assert told.rules == rules


def test_an_absence_counts_also_where_its_client_comes_back_later() -> None:
    """After a rollback a client may return to a session that had been given up."""
    told = Tale()
    cut(told.bob, 2.0)
    close(told.owner("bob", at=2.0 + GRACE, stranger=True), End.QUIT, 11.0)
    reconnect(told.bob, 2, 12.0)
    assert told.rules == []


def test_a_name_given_back_is_free() -> None:
    told = Tale()
    close(told.bob, End.QUIT, 9.9)
    told.owner("bob")
    assert told.rules == []


def test_a_name_has_one_owner_at_the_end_whatever_was_broken() -> None:
    told = Tale()
    told.breaks("pause", 5.0, 10.0, node=1)
    told.owner("bob", node=2)
    assert told.rules == ["two owners"]


# --- forgotten


def test_a_session_may_be_forgotten_once_its_grace_is_over() -> None:
    told = Tale()
    cut(told.bob, 10.0)
    close(told.bob, End.FORGOTTEN, 10.0 + GRACE)
    assert told.rules == []


@pytest.mark.parametrize(
    ("faults", "rules"),
    [(["term", "evict"], []), (["term"], ["forgotten"]), (["evict"], ["forgotten"]), (["deaf"], ["forgotten"])],
)
def test_a_session_may_be_forgotten_if_its_node_and_redis_both_forgot(faults: list[str], rules: list[str]) -> None:
    told = tale(forgotten)
    for kind in faults:
        told.breaks(kind, 9.0, 9.5)
    assert told.rules == rules


def test_a_session_whose_name_was_taken_is_another_rules_matter() -> None:
    told = tale(two_owners)
    told.bob.end = End.FORGOTTEN
    assert told.rules == ["two owners"]
