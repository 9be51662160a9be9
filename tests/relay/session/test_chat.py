"""One side of a chat: messages in flight, new messages, and the outcome of every id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocol.errors import Reason
from relay.session.chat import FLIGHT_BYTES, OUTCOMES_KEPT, PAST_KEPT, Chat, Outcomes
from relay.session.peer_messages import Ack, Resync, Text
from relay.shared_types import Party

BEN = Party("n2", "ben", "Ben", 7, "node", 0.0)
ANN = Party("n1", "ann", "Ann", 3, "client", 30.0)
NOON = 1_795_404_840.0


@pytest.fixture
def chat() -> Chat:
    """Ann's side of a chat with Ben."""
    return Chat("c1", BEN)


def text(id: int, *texts: str, prev: int | None = None) -> Text:
    """Return a text from Ben."""
    return Text("ann", "c1", 7, id, id - 1 if prev is None else prev, NOON, list(texts))


class TestFates:
    def test_an_outcome_is_remembered_by_id(self) -> None:
        outcomes = Outcomes()
        outcomes.record(1, 4, "c1", None)
        outcomes.record(5, 6, "c1", Reason.LEFT)
        assert [outcomes.of(id) for id in (1, 4, 5, 6)] == [("c1", None)] * 2 + [("c1", Reason.LEFT)] * 2

    def test_acknowledged_spans_of_a_chat_grow_together(self) -> None:
        outcomes = Outcomes()
        for id in range(1, OUTCOMES_KEPT * 2):
            outcomes.record(id, id, "c1", None)
        assert outcomes.of(1) == ("c1", None)

    @pytest.mark.parametrize(("chat", "first"), [("c2", 2), ("c1", 3)])
    def test_spans_of_another_chat_or_behind_a_jump_stay_apart(self, chat: str, first: int) -> None:
        outcomes = Outcomes()
        outcomes.record(1, 1, "c1", None)
        outcomes.record(first, first, chat, None)
        assert outcomes.of(1) == ("c1", None)
        assert outcomes.of(first) == (chat, None)
        assert first == 2 or outcomes.of(2) == (None, Reason.LOST)

    def test_an_acknowledgement_behind_a_report_does_not_change_the_report(self) -> None:
        outcomes = Outcomes()
        outcomes.record(1, 1, "c1", Reason.LOST)
        outcomes.record(2, 2, "c1", None)
        assert (outcomes.of(1), outcomes.of(2)) == (("c1", Reason.LOST), ("c1", None))

    def test_an_id_too_old_to_be_remembered_counts_as_lost(self) -> None:
        outcomes = Outcomes()
        for id in range(1, OUTCOMES_KEPT + 2):
            outcomes.record(id, id, "c1", Reason.LEFT)
        assert outcomes.of(1) == (None, Reason.LOST)
        assert outcomes.of(2) == ("c1", Reason.LEFT)

    def test_why_a_chat_ended_is_remembered_for_a_bounded_number_of_chats(self) -> None:
        outcomes = Outcomes()
        for n in range(PAST_KEPT + 1):
            outcomes.ended(f"c{n}", Reason.QUIT)
        assert (outcomes.why("c0"), outcomes.why("c1"), outcomes.why("never")) == (
            Reason.LOST,
            Reason.QUIT,
            Reason.LOST,
        )


class TestSaying:
    def test_messages_of_one_turn_leave_as_one_mail(self, chat: Chat) -> None:
        first = chat.say(1, "a", 3, NOON, generation=1)
        assert chat.say(2, "b", 3, NOON, generation=1) is None
        assert first == Text("ben", "c1", 3, 1, 0, NOON, ["a", "b"])

    def test_a_new_turn_begins_a_new_mail_that_names_the_id_before_it(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        chat.say(2, "b", 3, NOON, generation=1)
        assert chat.say(3, "c", 3, NOON, generation=2) == Text("ben", "c1", 3, 3, 2, NOON, ["c"])

    def test_a_jump_of_the_id_begins_a_new_mail_that_bridges_it(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        assert chat.say(4, "b", 3, NOON, generation=1) == Text("ben", "c1", 3, 4, 1, NOON, ["b"])

    def test_the_first_message_names_no_id_before_it_whatever_its_own(self, chat: Chat) -> None:
        mail = chat.say(17, "a", 3, NOON, generation=1)
        assert mail is not None
        assert mail.prev == 0

    def test_beyond_the_flight_messages_wait_until_the_partner_has_taken_some(self, chat: Chat) -> None:
        half = "x" * (FLIGHT_BYTES // 2)
        mails = [chat.say(id, half, 3, NOON, generation=id) for id in range(1, 6)]
        assert [mail is not None for mail in mails] == [True, True, False, False, False]
        chat.flow_acked = 1
        assert [(mail.id, mail.prev, len(mail.texts)) for mail in chat.go_on(3)] == [(3, 2, 1)]
        chat.unacked.pop_upto(3)
        assert [(mail.id, mail.prev, len(mail.texts)) for mail in chat.go_on(3)] == [(4, 3, 2)]
        assert not chat.paused

    def test_a_message_that_waits_is_not_overtaken(self, chat: Chat) -> None:
        chat.say(1, "x" * FLIGHT_BYTES, 3, NOON, generation=1)
        assert chat.say(2, "y" * FLIGHT_BYTES, 3, NOON, generation=2) is None
        chat.unacked.pop_upto(1)
        assert chat.say(3, "z", 3, NOON, generation=3) is None
        assert [(mail.id, len(mail.texts)) for mail in chat.go_on(3)] == [(2, 1)]
        chat.unacked.pop_upto(2)
        assert [(mail.id, mail.texts) for mail in chat.go_on(3)] == [(3, ["z"])]

    def test_a_message_alone_always_leaves(self, chat: Chat) -> None:
        assert chat.say(1, "x" * 10 * FLIGHT_BYTES, 3, NOON, generation=1) is not None

    def test_messages_that_were_said_stay_in_the_window(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        chat.say(2, "b", 3, NOON, generation=1)
        assert list(chat.unacked) == [(1, "a"), (2, "b")]


class TestSayingOn:
    def test_messages_join_the_mail_of_the_one_before_all_at_once(self, chat: Chat) -> None:
        mail = chat.say(4, "a", 3, NOON, generation=1)
        assert chat.say_on(5, ["b", "c"], NOON, generation=1)
        assert mail == Text("ben", "c1", 3, 4, 0, NOON, ["a", "b", "c"])
        assert list(chat.unacked) == [(4, "a"), (5, "b"), (6, "c")]
        assert chat.say(7, "d", 3, NOON, generation=2) == Text("ben", "c1", 3, 7, 6, NOON, ["d"])

    def test_messages_do_not_join_a_mail_that_has_left(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        assert not chat.say_on(2, ["b"], NOON, generation=2)
        assert list(chat.unacked) == [(1, "a")]

    def test_messages_do_not_join_one_that_was_said_at_another_time(self, chat: Chat) -> None:
        first = chat.say(1, "a", 3, NOON, generation=1)
        assert not chat.say_on(2, ["b"], NOON + 1, generation=1)
        assert chat.say(2, "b", 3, NOON + 1, generation=1) == Text("ben", "c1", 3, 2, 1, NOON + 1, ["b"])
        assert first == Text("ben", "c1", 3, 1, 0, NOON, ["a"])

    def test_messages_do_not_join_behind_an_id_that_went_elsewhere(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        assert not chat.say_on(3, ["b"], NOON, generation=1)
        assert list(chat.unacked) == [(1, "a")]

    def test_messages_do_not_join_for_a_partner_who_is_away(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        chat.gone_away()
        assert not chat.say_on(2, ["b"], NOON, generation=1)

    def test_messages_do_not_join_beyond_the_flight(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        assert not chat.say_on(2, ["b", "x" * FLIGHT_BYTES], NOON, generation=1)
        assert list(chat.unacked) == [(1, "a")]

    def test_messages_do_not_join_while_something_waits(self, chat: Chat) -> None:
        chat.say(1, "x" * FLIGHT_BYTES, 3, NOON, generation=1)
        chat.say(2, "y" * FLIGHT_BYTES, 3, NOON, generation=1)
        chat.unacked.pop_upto(1)
        assert chat.paused
        assert not chat.say_on(3, ["b"], NOON, generation=1)


class TestSayingAgain:
    def test_everything_without_an_acknowledgement_goes_again_with_the_fence_of_now(self, chat: Chat) -> None:
        for id in (1, 2, 3):
            chat.say(id, f"t{id}", 3, NOON, generation=id)
        chat.unacked.pop_upto(1)
        assert chat.retransmit(9) == [Text("ben", "c1", 9, 2, 0, NOON, ["t2", "t3"])]

    def test_a_jump_of_the_id_splits_a_repetition_and_is_bridged(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        chat.say(4, "b", 3, NOON, generation=1)
        assert [(mail.id, mail.prev) for mail in chat.retransmit(3)] == [(1, 0), (4, 1)]

    def test_nothing_joins_a_mail_that_was_repeated(self, chat: Chat) -> None:
        chat.say(1, "a", 3, NOON, generation=1)
        (again,) = chat.retransmit(3)
        later = chat.say(2, "b", 3, NOON, generation=1)
        assert later == Text("ben", "c1", 3, 2, 1, NOON, ["b"])
        assert again.texts == ["a"]


class TestTaking:
    def test_new_messages_are_taken_in_order_with_their_ids(self, chat: Chat) -> None:
        assert chat.receive(text(1, "a", "b")) == ["a", "b"]
        assert chat.receive(text(3, "c")) == ["c"]

    def test_a_message_that_came_before_is_not_taken_twice(self, chat: Chat) -> None:
        chat.receive(text(1, "a", "b"))
        assert chat.receive(text(1, "a", "b")) == []
        assert chat.receive(text(1, "a", "b", "c", prev=0)) == ["c"]
        assert chat.received == 3

    def test_a_gap_is_seen_and_nothing_taken(self, chat: Chat) -> None:
        chat.receive(text(1, "a"))
        assert chat.receive(text(3, "c")) is None
        assert chat.received == 1

    def test_ids_that_were_used_elsewhere_are_no_gap(self, chat: Chat) -> None:
        chat.receive(text(1, "a"))
        assert chat.receive(text(9, "b", prev=1)) == ["b"]
        assert chat.received == 9

    @given(st.data())
    def test_whatever_is_lost_repeated_or_late_each_message_is_taken_once_and_in_order(
        self, data: st.DataObject
    ) -> None:
        ids = sorted(data.draw(st.sets(st.integers(1, 30), min_size=1)))
        sender, receiver, mails = Chat("c", ANN), Chat("c", BEN), []
        for id in ids:
            mail = sender.say(id, str(id), 1, NOON, generation=data.draw(st.integers(0, 1)))
            mails += [mail] if mail else []
        mails += sender.retransmit(1)
        taken: list[str] = []
        for mail in data.draw(st.lists(st.sampled_from(mails))):
            taken += receiver.receive(mail) or []
        for mail in sender.retransmit(1):
            taken += receiver.receive(mail) or []
        assert taken == list(map(str, ids))


class TestConfirming:
    def test_an_acknowledgement_goes_to_the_partner_once(self, chat: Chat) -> None:
        chat.receive(text(1, "a", "b"))
        assert chat.confirm(2) == Ack("ben", "c1", 2)
        assert chat.confirm(2) is None
        assert chat.confirm(1) is None

    def test_nothing_is_acknowledged_that_was_not_told(self, chat: Chat) -> None:
        assert chat.confirm(5) is None
        chat.receive(text(1, "a", "b"))
        assert chat.confirm(99) == Ack("ben", "c1", 2)

    def test_a_message_that_a_lost_client_has_not_acknowledged_comes_again(self, chat: Chat) -> None:
        chat.receive(text(1, "a", "b"))
        chat.confirm(1)
        chat.forget_untold()
        assert chat.receive(text(1, "a", "b")) == ["b"]


def test_absences_are_counted(chat: Chat) -> None:
    chat.gone_away()
    assert (chat.away, chat.absences) == (True, 1)


def test_a_sync_says_where_this_side_lives_and_how_far_it_is(chat: Chat) -> None:
    chat.receive(text(1, "a"))
    chat.confirm(1)
    assert chat.sync(ANN, reply=True) == Resync("ben", "c1", ANN, 1, True)
