"""The checker's rules about messages: lost, doubled, misdelivered, reordered, unreported, and their exceptions."""

from relay.tools.torture.history import End, Kind, close, cut, reconnect
from tests.relay.tools.torture.breaking import lost, misdelivered, tale, unreported
from tests.relay.tools.torture.tale import GRACE, Tale
from tests.support.rows import each_row

# --- lost


def test_a_lazy_program_may_lose_what_was_on_its_way_when_its_connection_broke() -> None:
    told = Tale()
    lazy = told.owner("lea", Kind.LAZY, at=0.0)
    told.says(told.ann, "lea", "acked")
    assert told.rules == ["lost"]
    cut(lazy, 10.5)
    assert told.rules == []


def test_a_person_whose_connection_broke_may_have_lost_a_message() -> None:
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


def test_a_message_that_was_reported_unconfirmed_is_not_lost() -> None:
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


@each_row("end", End)
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
