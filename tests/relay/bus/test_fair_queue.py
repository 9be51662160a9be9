"""Messages that wait for a link take turns: a few short ones pass the floods of others, and each order is kept."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relay.bus.fair_queue import CREDIT_BYTES, MAIL_BYTES, FairQueue, cost
from relay.session.peer_messages import Ack, Mail, Text

PIECE = 20_000
FRAME = 64 * 1024
FLOODS = 200


def text(to: str, id: int = 1, size: int = PIECE) -> Text:
    return Text(to, "c", 1, id, id - 1, 0.0, ["x" * size])


def flood(backlog: FairQueue, pieces: int = 3) -> None:
    """Queue the same amount for every recipient."""
    for n in range(FLOODS):
        backlog.extend([text(f"sink{n}", id) for id in range(1, pieces + 1)])


def test_nothing_waits_in_an_empty_queue() -> None:
    backlog = FairQueue()
    assert not backlog
    assert backlog.take(FRAME) == []


def test_at_least_one_message_leaves_and_each_begins_within_the_room_that_there_is() -> None:
    backlog = FairQueue()
    backlog.extend([text("ben", id) for id in range(1, 6)])
    assert [len(backlog.take(room)) for room in (1, PIECE, PIECE + MAIL_BYTES + 1, FRAME)] == [1, 1, 2, 1]
    assert not backlog


def test_a_piece_counts_with_all_its_texts() -> None:
    assert cost(Ack("ben", "c", 1)) == MAIL_BYTES
    assert cost(Text("ben", "c", 1, 1, 0, 0.0, ["ab", "cde"])) == MAIL_BYTES + 5


def test_a_word_passes_floods_that_all_wait_for_the_same() -> None:
    backlog = FairQueue()
    flood(backlog)
    for _ in range(FLOODS):  # this holds at any time
        backlog.take(FRAME // 2)
        word = text("ben", size=40)
        backlog.extend([word])
        assert word in backlog.take(1)


def test_words_pass_floods_that_come_again_and_again() -> None:
    backlog = FairQueue()
    flood(backlog)
    for id in range(1, 1000):
        word = text("ben", id, size=40)
        backlog.extend([word])
        left = backlog.take(FRAME)
        assert word in left
        backlog.extend([text(mail.to, 9) for mail in left if mail.to != "ben"])


def test_floods_get_the_same_each() -> None:
    backlog = FairQueue()
    flood(backlog)
    got = Counter[str]()
    for _ in range(FLOODS):
        for mail in backlog.take(FRAME):
            got[mail.to] += 1
            backlog.extend([text(mail.to)])
    assert max(got.values()) - min(got.values()) <= 1


def test_a_recipient_that_was_silent_for_long_gets_no_more_ahead_of_floods_than_its_credit() -> None:
    backlog = FairQueue()
    flood(backlog)
    for _ in range(10 * FLOODS):
        backlog.extend([text(mail.to) for mail in backlog.take(1)])
    backlog.extend([text("ben", size=40)])
    assert backlog.take(1)[0].to == "ben"  # an earlier message for someone else adds nothing to it
    backlog.extend([text("late") for _ in range(20)])
    ahead = 0
    while (mail := backlog.take(1)[0]).to == "late":
        ahead += cost(mail)
    assert CREDIT_BYTES - PIECE <= ahead <= CREDIT_BYTES + PIECE + MAIL_BYTES


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2 * FRAME)), max_size=5), max_size=20))
def test_everything_leaves_once_and_everyones_in_order(turns: list[list[tuple[str, int]]]) -> None:
    backlog, put, got = FairQueue(), list[Mail](), list[Mail]()
    for turn in turns:
        mails = [text(to, len(put) + n, size) for n, (to, size) in enumerate(turn)]
        put += mails
        backlog.extend(mails)
        got += backlog.take(random.Random(len(put)).choice((0, 1, FRAME)))
    while backlog:
        got += backlog.take(FRAME)
    for to in "abc":
        assert [mail for mail in got if mail.to == to] == [mail for mail in put if mail.to == to]
    assert len(got) == len(put)
