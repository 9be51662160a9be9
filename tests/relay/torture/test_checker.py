"""Every rule of the checker, and each of its exceptions, against histories made up for it."""

import pytest

from relay.torture.checker import LEAST_DELIVERED, RULES, Verdict
from tests.relay.torture.breaking import BREAKING, tale
from tests.relay.torture.tale import Tale


def test_a_history_without_a_flaw_breaks_no_rule() -> None:
    told = Tale()
    told.believes(told.ann, "bob")
    told.believes(told.bob, "ann")
    assert told.verdict == Verdict({}, said=LEAST_DELIVERED, delivered=LEAST_DELIVERED, unconfirmed={})
    assert told.verdict.clean


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_broken_by_its_history_and_by_no_other(rule: str) -> None:
    told = tale(BREAKING[rule])
    assert told.rules == [rule]
    assert len(told.verdict.violations[rule]) == 1
    assert not told.verdict.clean


# --- refusing


def test_a_run_in_which_hardly_anything_arrived_shows_nothing() -> None:
    assert Tale(LEAST_DELIVERED - 1).rules == ["refusing"]


@pytest.mark.parametrize("reason", ["left", "quit", "kicked"])
def test_what_somebody_ended_on_purpose_is_no_refusal(reason: str) -> None:
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


def test_what_is_unconfirmed_and_arrived_all_the_same_is_no_loss() -> None:
    told = Tale()
    for _ in range(20):
        told.hears(told.bob, told.says(told.ann, "bob", "lost"))
    assert told.rules == []
    assert told.verdict.unconfirmed == {}
