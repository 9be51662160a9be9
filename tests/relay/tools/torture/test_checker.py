"""Every rule of the checker, and each of its exceptions, with made-up histories."""

import pytest

from relay.tools.torture.checker import ANSWER_SECONDS, LEAST_DELIVERED, RULES, Verdict
from relay.tools.torture.history import OPEN
from tests.relay.tools.torture.breaking import BREAKING, tale
from tests.relay.tools.torture.tale import LEASE, Tale
from tests.support.rows import each_row


def test_a_history_without_a_flaw_breaks_no_rule() -> None:
    told = Tale()
    told.believes(told.ann, "bob")
    told.believes(told.bob, "ann")
    assert told.verdict == Verdict({}, said=LEAST_DELIVERED, delivered=LEAST_DELIVERED, unconfirmed={})
    assert told.verdict.clean


@each_row("rule", RULES)
def test_a_rule_is_broken_by_its_history_and_by_no_other(rule: str) -> None:
    told = tale(BREAKING[rule])
    assert told.rules == [rule]
    assert len(told.verdict.violations[rule]) == 1
    assert not told.verdict.clean


# --- refusing


def test_a_run_in_which_hardly_anything_arrived_shows_nothing() -> None:
    assert Tale(LEAST_DELIVERED - 1).rules == ["refusing"]


@pytest.mark.parametrize("reason", ["left", "quit", "kicked"])
def test_an_unconfirmed_message_in_a_chat_that_somebody_ended_on_purpose_is_no_refusal(reason: str) -> None:
    told = Tale()
    for _ in range(20):
        told.says(told.ann, "bob", reason)
    assert told.rules == []
    assert told.verdict.unconfirmed == {reason: 20}


@pytest.mark.parametrize("reason", ["lost", "name_lost"])
def test_losses_count_up_to_their_share(reason: str) -> None:
    told = Tale()
    for _ in range(LEAST_DELIVERED // 9):
        told.says(told.ann, "bob", reason)
    assert told.rules == []
    told.says(told.ann, "bob", reason)
    assert told.rules == ["refusing"]


def test_a_message_that_is_unconfirmed_and_arrived_all_the_same_is_no_loss() -> None:
    told = Tale()
    for _ in range(20):
        told.hears(told.bob, told.says(told.ann, "bob", "lost"))
    assert told.rules == []
    assert told.verdict.unconfirmed == {}


# --- late


def test_a_newcomer_may_wait_for_the_lease_of_a_directory_that_forgot() -> None:
    told = Tale()
    told.comes(answered=10.0 + LEASE + ANSWER_SECONDS, left=10.0 + LEASE + 2 * ANSWER_SECONDS)
    assert told.rules == []


def test_a_newcomer_may_wait_for_another_lease_if_the_directory_forgets_meanwhile() -> None:
    told = Tale()
    told.comes(answered=10.1 + LEASE + ANSWER_SECONDS, left=10.2 + LEASE + ANSWER_SECONDS)
    assert told.rules == ["late"]
    told.breaks("flush", 11.0, 11.0)
    assert told.rules == []


def test_a_newcomer_who_is_never_answered_is_late_and_so_is_the_word_of_a_call() -> None:
    told = Tale()
    told.comes()
    told.comes(answered=10.1)
    told.comes(answered=10.1, left=10.2 + ANSWER_SECONDS)
    assert [line.partition(": ")[2] for line in told.verdict.violations["late"]] == [
        "no name after 20.0 s",
        "no word of a call after 19.9 s",
        "no word of a call after 3.1 s",
    ]


def test_a_newcomer_who_still_waits_is_not_late_yet() -> None:
    told = Tale()
    told.comes(ended=OPEN)
    told.comes(answered=10.1, ended=OPEN)
    assert told.rules == []


def test_a_newcomer_whose_connection_ended_soon_is_not_late() -> None:
    told = Tale()
    told.comes(ended=12.0)
    assert told.rules == []


@pytest.mark.parametrize(("kind", "node", "rules"), [("pause", 0, []), ("pause", 1, ["late"]), ("slow", 0, ["late"])])
def test_a_node_that_is_not_there_answers_nobody(kind: str, node: int, rules: list[str]) -> None:
    told = Tale()
    told.comes()
    told.breaks(kind, 11.0, 20.0, node=node)
    assert told.rules == rules
