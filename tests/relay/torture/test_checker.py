"""Every rule of the checker, and each of its exceptions, against histories made up for it."""

from collections.abc import Callable
from typing import Final

import pytest

from relay.torture.checker import AFTERMATH_SECONDS, IMPAIRING, LEAST_DELIVERED, RULES, Verdict
from relay.torture.history import End, Kind, close, cut, reconnect
from tests.relay.torture.tale import CHAT, GRACE, LEASE, Tale


def tale(happens: Callable[[Tale], None]) -> Tale:
    told = Tale()
    happens(told)
    return told


def test_a_history_without_a_flaw_breaks_no_rule() -> None:
    told = Tale()
    told.believes(told.ann, "bob")
    told.believes(told.bob, "ann")
    assert told.verdict == Verdict({}, said=LEAST_DELIVERED, delivered=LEAST_DELIVERED, unconfirmed={})
    assert told.verdict.clean


# --- one history for each rule that breaks it and no other


def lost(told: Tale) -> None:
    told.says(told.ann, "bob", "acked")


def doubled(told: Tale) -> None:
    said = told.says(told.ann, "bob", "acked")
    told.hears(told.bob, said)
    told.hears(told.bob, said)


def reordered(told: Tale) -> None:
    first, second = told.says(told.ann, "bob", "acked"), told.says(told.ann, "bob", "acked")
    told.hears(told.bob, second)
    told.hears(told.bob, first)


def misdelivered(told: Tale) -> None:
    said = told.says(told.ann, "bob", "acked")
    told.hears(told.owner("carol"), said)
    told.hears(told.bob, said)


def unreported(told: Tale) -> None:
    told.hears(told.bob, told.says(told.ann, "bob"))


def contradicted(told: Tale) -> None:
    told.hears(told.bob, told.says(told.ann, "bob", "acked", "lost"))


def two_owners(told: Tale) -> None:
    told.owner("bob", stranger=True)
    close(told.bob, End.NAME_LOST, 11.0)


def forgotten(told: Tale) -> None:
    cut(told.bob, 10.0)
    close(told.bob, End.FORGOTTEN, 11.0)


def unfounded(told: Tale) -> None:
    told.parts(told.ann, "bob", "lost")


def unasked(told: Tale) -> None:
    told.parts(told.ann, "bob", "left")
    told.parts(told.bob, "ann", "left")


def lopsided(told: Tale) -> None:
    told.believes(told.ann, "bob")
    told.believes(told.bob, "")


def odd(told: Tale) -> None:
    told.history.oddities.append("bob: was told nonsense")


def refusing(told: Tale) -> None:
    for _ in range(20):
        told.says(told.ann, "bob", "lost")


BREAKING: Final = {
    "lost": lost,
    "doubled": doubled,
    "reordered": reordered,
    "misdelivered": misdelivered,
    "unreported": unreported,
    "contradicted": contradicted,
    "two owners": two_owners,
    "forgotten": forgotten,
    "unfounded": unfounded,
    "unasked": unasked,
    "lopsided": lopsided,
    "odd": odd,
    "refusing": refusing,
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_broken_by_its_history_and_by_no_other(rule: str) -> None:
    told = tale(BREAKING[rule])
    assert told.rules == [rule]
    assert len(told.verdict.violations[rule]) == 1
    assert not told.verdict.clean


# --- lost


def test_a_lazy_program_may_lose_what_was_on_its_way_when_its_connection_broke() -> None:
    told = Tale()
    lazy = told.owner("lea", Kind.LAZY, at=0.0)
    told.says(told.ann, "lea", "acked")
    assert told.rules == ["lost"]
    cut(lazy, 10.5)
    assert told.rules == []


def test_a_person_may_lose_it_too() -> None:
    told = Tale()
    person = told.owner("pat", Kind.PERSON, at=0.0)
    told.says(told.ann, "pat", "acked")
    assert told.rules == ["lost"]
    close(person, End.BROKEN, 10.5)
    assert told.rules == []


def test_a_program_that_acknowledges_loses_nothing_with_its_connection() -> None:
    told = tale(lost)
    cut(told.bob, 10.5)
    reconnect(told.bob, 2, 10.6)
    assert told.rules == ["lost"]


def test_only_the_connection_that_a_message_was_said_to_excuses_its_loss() -> None:
    told = Tale()
    lazy = told.owner("lea", Kind.LAZY, at=0.0)
    reconnect(lazy, 1, 5.0)
    told.says(told.ann, "lea", "acked")
    assert told.rules == ["lost"]


def test_a_message_to_a_name_that_nobody_had_counts_for_its_latest_owner() -> None:
    told = Tale()
    close(told.owner("pat", Kind.PERSON, at=0.0), End.BROKEN, 9.9)
    told.says(told.ann, "pat", "acked")
    told.owner("pat", Kind.PERSON, at=10.1)
    assert told.rules == []


def test_what_was_reported_unconfirmed_is_not_lost() -> None:
    told = Tale()
    told.says(told.ann, "bob", "left")
    assert told.rules == []
    assert told.verdict.unconfirmed == {"left": 1}


# --- doubled


def test_a_message_must_not_come_again_to_the_next_session_of_its_name() -> None:
    told = Tale()
    said = told.says(told.ann, "bob", "acked")
    told.hears(told.bob, said)
    close(told.bob, End.QUIT, 10.0)
    told.hears(told.owner("bob", at=11.0), said, at=11.0)
    assert told.rules == ["doubled"]


def test_a_message_to_two_people_is_misdelivered_and_not_doubled() -> None:
    assert tale(misdelivered).rules == ["misdelivered"]


# --- misdelivered


def test_a_text_that_nobody_said_is_misdelivered() -> None:
    told = Tale()
    said = told.says(told.ann, "bob", "left")
    del told.history.said[said.key]
    told.hears(told.bob, said)
    assert told.rules == ["misdelivered"]


def test_a_message_must_not_arrive_in_another_chat_of_the_same_two() -> None:
    told = Tale()
    told.hears(told.bob, told.says(told.ann, "bob", "acked"), chat="chat-2")
    assert told.rules == ["misdelivered"]


def test_a_message_must_come_in_the_name_of_its_sender() -> None:
    told = Tale()
    told.hears(told.bob, told.says(told.ann, "bob", "acked"), sender="carol")
    assert told.rules == ["misdelivered"]


def test_a_text_client_is_told_of_no_chat_so_only_the_name_counts() -> None:
    told = Tale()
    person = told.owner("pat", Kind.PERSON)
    told.hears(person, told.says(told.ann, "pat", "acked"))
    assert told.rules == []
    told.hears(person, told.says(told.ann, "bob", "left"))
    assert told.rules == ["misdelivered"]


def test_a_persons_line_may_reach_whoever_was_told_of_a_chat_with_that_person() -> None:
    told = Tale()
    pat, carol = told.owner("pat", Kind.PERSON), told.owner("carol")
    told.hears(carol, told.says(pat, "bob"))
    assert told.rules == ["misdelivered"]
    told.pair(pat, carol)
    assert told.rules == []


# --- reordered


def test_order_counts_within_one_session_of_the_reader() -> None:
    told = Tale()
    first, second = told.says(told.ann, "bob", "acked"), told.says(told.ann, "bob", "acked")
    told.hears(told.bob, second)
    close(told.bob, End.QUIT, 10.0)
    told.hears(told.owner("bob", at=11.0), first, at=11.0)
    assert told.rules == []


# --- unreported


@pytest.mark.parametrize("end", End)
def test_an_outcome_is_owed_while_the_senders_session_lives_and_before_its_bye(end: End) -> None:
    told = tale(unreported)
    if end is not End.OPEN:
        close(told.ann, end, 10.0 + GRACE)
    owed = end in (End.OPEN, End.QUIT)
    assert ("unreported" in told.rules) is owed


def test_each_line_of_a_person_that_did_not_arrive_takes_one_refusal() -> None:
    told = Tale()
    pat = told.owner("pat", Kind.PERSON)
    told.says(pat, "bob")
    assert told.rules == ["unreported"]
    pat.refusals = 1
    assert told.rules == []
    told.says(pat, "bob")
    assert told.rules == ["unreported"]
    told.says(pat, "bob", "unsure")
    pat.refusals = 2
    assert told.rules == []


def test_a_persons_line_may_go_with_the_connection_that_it_was_said_to() -> None:
    told = Tale()
    told.says(told.owner("pat", Kind.PERSON), "bob")
    assert told.rules == ["unreported"]
    cut(told.bob, 10.5)
    assert told.rules == []


def test_a_persons_line_that_arrived_needs_no_report() -> None:
    told = Tale()
    pat = told.owner("pat", Kind.PERSON)
    told.pair(pat, told.bob)
    told.hears(told.bob, told.says(pat, "bob"))
    assert told.rules == []


# --- two owners


@pytest.mark.parametrize("kind", sorted(IMPAIRING | {"rollback"}))
def test_a_name_may_be_taken_whose_node_was_kept_from_showing_that_it_lives(kind: str) -> None:
    told = tale(two_owners)
    told.breaks(kind, 5.0, 10.0 - AFTERMATH_SECONDS, node=1)
    assert told.rules == []


@pytest.mark.parametrize("kind", ["kill", "term", "deaf", "pubsub", "buffer", "flush", "evict"])
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
    """As after a rollback, to a session that had been given up."""
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
def test_who_comes_back_just_before_it_is_given_up_may_be_told_the_same(seconds: float, rules: list[str]) -> None:
    """Its node ends the chat for it, while another one takes the session over."""
    told = tale(unfounded)
    cut(told.ann, 10.0 - seconds)
    reconnect(told.ann, 2, 10.0)
    assert told.rules == rules


@pytest.mark.parametrize(("kind", "rules"), [("flush", []), ("pause", ["unfounded"])])
def test_a_redis_that_forgot_may_have_lost_the_chat(kind: str, rules: list[str]) -> None:
    told = tale(unfounded)
    told.breaks(kind, 9.0, 9.1)
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


def test_a_person_may_have_wanted_it() -> None:
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
