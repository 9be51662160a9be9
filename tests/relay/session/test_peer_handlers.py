"""Peer messages from a partner: which are told, which are refused, and how two sides repair a loss."""

import pytest

from relay.protocol.commands_and_events import (
    Acked,
    Acknowledge,
    Away,
    Back,
    Call,
    EndOfStream,
    Event,
    Left,
    Messages,
    Say,
    Unconfirmed,
)
from relay.protocol.errors import Code, Reason
from relay.session import peer_handlers
from relay.session.peer_messages import (
    Accept,
    Ack,
    CallConfirmed,
    ChatEnded,
    Decline,
    HalfClosed,
    Invite,
    Mail,
    Resync,
    Text,
    UnknownSession,
)
from relay.session.peer_messages import Away as AwayMail
from relay.session.session import Session
from relay.shared_types import Party
from tests.relay.world import World, enter, pair
from tests.support.rows import each_row

NOON = 1_795_404_840.0


class Desk:
    """Ann in a chat with Ben, who lives on n2. The test reads the peer messages to him."""

    def __init__(self, *, acks: bool = True) -> None:
        self.world = World()
        self.ann = enter(self.world.place("n1"), "Ann", acks=acks)
        ben = enter(self.world.place("n2"), "Ben", acks=True)
        self.chat = pair(self.ann, ben)
        self.ben = ben.session.party

    @property
    def session(self) -> Session:
        return self.ann.session

    def gets(self, *mails: Mail) -> list[Event]:
        """Deliver a peer message. Returns the events that she is told."""
        for mail in mails:
            peer_handlers.receive(self.session, mail)
        return self.ann.hears()

    def text(
        self, id: int, *texts: str, prev: int | None = None, fencing_token: int | None = None, chat: str = ""
    ) -> Text:
        """Return a text from Ben."""
        fencing_token = self.ben.fencing_token if fencing_token is None else fencing_token
        return Text("ann", chat or self.chat, fencing_token, id, id - 1 if prev is None else prev, NOON, list(texts))

    def sync(self, last: int, *, reply: bool = True, chat: str = "", party: Party | None = None) -> Resync:
        """Return Ben's node and last message as a `Resync`."""
        return Resync("ann", chat or self.chat, party or self.ben, last, reply)

    def posted(self) -> list[tuple[str, Mail]]:
        """What she sent since last asked, and to which node."""
        return [(node_id, mail) for (_, node_id), mail in self.world.lose()]

    def moved(self, node_id: str) -> Party:
        """Return the message that Ben has come back on another node."""
        self.world.place(node_id)
        old = self.ben
        return Party(node_id, old.canonical_name, old.display_name, old.fencing_token + 1, old.acks, old.grace)


@pytest.fixture
def desk() -> Desk:
    return Desk()


class TestText:
    def test_a_text_is_told_with_its_sender_time_and_chat(self, desk: Desk) -> None:
        assert desk.gets(desk.text(1, "a", "b")) == [
            Messages(1, "Ben", desk.chat, ["a", "b"], NOON),
        ]

    def test_a_text_that_comes_twice_is_told_once(self, desk: Desk) -> None:
        desk.gets(desk.text(1, "a"))
        told = desk.gets(desk.text(1, "a"), desk.text(1, "a", "b", prev=0))
        assert [(event.id, event.texts) for event in told if isinstance(event, Messages)] == [(2, ["b"])]

    def test_a_text_of_another_chat_is_told_to_nobody(self, desk: Desk) -> None:
        assert desk.gets(desk.text(1, "secret", chat="old")) == []

    def test_a_text_of_a_stale_owner_is_told_to_nobody(self, desk: Desk) -> None:
        assert desk.gets(desk.text(1, "forged", fencing_token=desk.ben.fencing_token - 1)) == []

    def test_a_gap_asks_for_what_is_missing(self, desk: Desk) -> None:
        desk.gets(desk.text(1, "a"))
        assert desk.gets(desk.text(3, "c")) == []
        ((node_id, sync),) = desk.posted()
        assert node_id == "n2"
        assert isinstance(sync, Resync)
        assert (sync.to, sync.chat, sync.reply, sync.party) == ("ben", desk.chat, True, desk.session.party)

    def test_the_gap_is_filled_in_order(self, desk: Desk) -> None:
        desk.gets(desk.text(1, "a"), desk.text(3, "c"))
        told = desk.gets(desk.text(2, "b", "c", prev=0))
        assert [text for event in told if isinstance(event, Messages) for text in event.texts] == ["b", "c"]

    def test_a_text_for_someone_away_counts_as_not_received(self, desk: Desk) -> None:
        desk.ann.says(EndOfStream())
        desk.posted()
        assert desk.gets(desk.text(1, "a")) == []
        assert desk.posted() == []
        assert desk.session.chat is not None
        assert desk.session.chat.received == 0


class TestAcknowledgements:
    def test_acknowledgements_are_passed_on(self, desk: Desk) -> None:
        desk.ann.says(Say("a", 1))
        assert desk.gets(Ack("ann", desk.chat, 1)) == [Acked(1, desk.chat, NOON)]

    def test_acknowledgements_of_another_chat_mean_nothing(self, desk: Desk) -> None:
        desk.ann.says(Say("a", 1))
        assert desk.gets(Ack("ann", "old", 1)) == []


class TestTheEnd:
    def test_messages_that_the_partner_had_are_acknowledged_and_the_rest_reported(self, desk: Desk) -> None:
        desk.ann.says(Say("a", 1), Say("b", 2))
        assert desk.gets(ChatEnded("ann", desk.chat, Reason.LOST, 1)) == [
            Acked(1, desk.chat, NOON),
            Unconfirmed(2, 2, Reason.LOST, ("b",), desk.chat),
            Left("Ben", Reason.LOST, desk.chat),
        ]

    def test_the_end_of_another_chat_ends_nothing(self, desk: Desk) -> None:
        assert desk.gets(ChatEnded("ann", "old", Reason.QUIT, 0)) == []
        assert desk.session.chat is not None

    def test_the_end_of_a_chat_is_told_once(self, desk: Desk) -> None:
        gone = ChatEnded("ann", desk.chat, Reason.QUIT, 0)
        assert desk.gets(gone, gone) == [Left("Ben", Reason.QUIT, desk.chat)]

    def test_last_words_of_a_partner_who_cannot_be_told_any_more_are_heard(self, desk: Desk) -> None:
        told = desk.gets(
            HalfClosed("ann", desk.chat, 0), desk.text(1, "bye"), ChatEnded("ann", desk.chat, Reason.QUIT, 0)
        )
        assert told == [Messages(1, "Ben", desk.chat, ["bye"], NOON), Left("Ben", Reason.QUIT, desk.chat)]

    def test_the_half_close_of_another_chat_makes_nobody_deaf(self, desk: Desk) -> None:
        desk.gets(HalfClosed("ann", "old", 0))
        assert desk.session.chat is not None
        assert not desk.session.chat.half_closed


class TestAway:
    def test_the_absence_of_a_partner_is_told_once(self, desk: Desk) -> None:
        away = AwayMail("ann", desk.chat, 30.0)
        assert desk.gets(away, away) == [Away("Ben", 30.0, desk.chat)]

    def test_an_absence_in_another_chat_is_not_told(self, desk: Desk) -> None:
        assert desk.gets(AwayMail("ann", "old", 30.0)) == []


class TestSync:
    def test_messages_that_a_sync_lacks_go_again_to_where_the_partner_lives_now(self, desk: Desk) -> None:
        desk.ann.says(Say("a", 1), Say("b", 2), Say("c", 3))
        desk.posted()
        desk.gets(desk.sync(1, party=desk.moved("n3")))
        posted = desk.posted()
        assert {node_id for node_id, _ in posted} == {"n3"}
        sync, text = (mail for _, mail in posted)
        assert isinstance(text, Text)
        assert (text.id, text.prev, text.texts) == (2, 0, ["b", "c"])
        assert isinstance(sync, Resync)
        assert not sync.reply

    def test_messages_that_a_sync_has_are_acknowledged(self, desk: Desk) -> None:
        desk.ann.says(Say("a", 1))
        assert desk.gets(desk.sync(1)) == [Acked(1, desk.chat, NOON)]

    def test_an_answer_is_not_answered(self, desk: Desk) -> None:
        desk.gets(desk.sync(0, reply=False))
        assert desk.posted() == []

    def test_a_partner_who_was_away_is_back_with_a_sync(self, desk: Desk) -> None:
        desk.gets(AwayMail("ann", desk.chat, 30.0))
        assert desk.gets(desk.sync(0, party=desk.moved("n3"))) == [Back("Ben", desk.chat)]
        assert desk.gets(desk.sync(0, party=desk.moved("n3"))) == []

    def test_a_partner_who_was_on_a_dead_node_is_back_in_time(self, desk: Desk) -> None:
        desk.session.node_lost("n2", 0.0)
        assert desk.gets(desk.sync(0, party=desk.moved("n3"))) == [Away("Ben", 30.0, desk.chat), Back("Ben", desk.chat)]
        desk.world.pass_time(60.0)
        assert desk.ann.hears() == []

    def test_a_partner_who_came_back_and_went_again_has_its_grace_anew(self, desk: Desk) -> None:
        desk.session.node_lost("n2", 0.0)
        desk.world.pass_time(20.0)
        desk.gets(desk.sync(0, party=desk.moved("n3")))
        desk.session.node_lost("n3", 0.0)
        desk.world.pass_time(20.0)
        assert desk.ann.hears() == [Away("Ben", 30.0, desk.chat)]
        desk.world.records.clear()
        desk.world.pass_time(10.0)
        desk.world.settle()
        assert desk.ann.hears() == [Left("Ben", Reason.LOST, desk.chat)]

    def test_a_stale_owner_changes_nothing(self, desk: Desk) -> None:
        new = desk.moved("n3")
        desk.gets(desk.sync(0, party=new))
        desk.posted()
        desk.gets(desk.sync(0))
        assert desk.posted() == []
        assert desk.session.chat is not None
        assert desk.session.chat.partner == new

    def test_a_sync_for_a_chat_that_is_over_is_answered_with_its_end(self, desk: Desk) -> None:
        desk.gets(desk.sync(0, chat="old"))
        assert desk.posted() == [("n2", ChatEnded("ben", "old", Reason.LOST, 0, fencing_token=1))]
        assert desk.session.chat is not None

    def test_two_sides_that_missed_everything_find_together_again(self) -> None:
        """Both nodes forget the link between them, and each side asks once."""
        world = World()
        ann, ben = enter(world.place("n1"), "Ann", acks=True), enter(world.place("n2"), "Ben", acks=True)
        pair(ann, ben)
        ann.says(*(Say(f"a{id}", id) for id in range(1, 4)))
        ben.says(*(Say(f"b{id}", id) for id in range(1, 4)))
        world.lose()
        chat = ann.session.chat
        assert chat is not None
        ann.session.runtime.post("n2", chat.sync(ann.session.party, reply=True))
        world.settle()
        assert ann.texts() == ["b1", "b2", "b3"]
        assert ben.texts() == ["a1", "a2", "a3"]
        for user in (ann, ben):
            user.hears()
            user.says(Acknowledge(3))
        world.settle()
        assert [type(event) for user in (ann, ben) for event in user.hears()] == [Acked, Acked]


class TestNobodyHere:
    """Peer messages for a name without an owner here: a sender that waits for an answer gets one."""

    CAS = Party("n2", "cas", "Cas", 1, "node", 0.0)

    @each_row(
        ("mail", "answer"),
        [
            (Invite("ann", "c", CAS), [Decline("cas", "c", Code.NO_SUCH_USER)]),
            (Accept("ann", "c", CAS), [ChatEnded("cas", "c", Reason.LOST, 0)]),
            (Resync("ann", "c", CAS, 0, True), [UnknownSession("cas", "c", "n1")]),
            (CallConfirmed("ann", "c"), []),
            (Text("ann", "c", 1, 1, 0, NOON, ["x"]), []),
            (Ack("ann", "c", 1), []),
            (ChatEnded("ann", "c", Reason.QUIT, 0), []),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_whoever_waits_for_an_answer_gets_one_and_nobody_else(self, mail: Mail, answer: list[Mail]) -> None:
        world = World()
        place = world.place("n1")
        world.place("n2")
        place.deliver(mail)
        assert [mail for _, mail in world.mail()] == answer


def test_a_caller_of_someone_who_forgot_the_chat_is_told(desk: Desk) -> None:
    """The other side knows no chat, so it is over here too, and a new call is possible."""
    told = desk.gets(ChatEnded("ann", desk.chat, Reason.LOST, 0))
    assert [type(event) for event in told] == [Left]
    desk.ann.says(Call("Ben"))
    assert desk.session.pairing.step is not None


def test_a_message_that_a_program_has_not_acknowledged_is_not_acknowledged_by_a_sync() -> None:
    world = World()
    ann, ben = enter(world.place("n1"), "ann"), enter(world.place("n2"), "ben", acks=True)
    pair(ann, ben)
    ann.says(Say("a", 1))
    world.settle()
    assert ben.texts() == ["a"]
    chat = ben.session.chat
    assert chat is not None
    ben.session.runtime.post("n1", chat.sync(ben.session.party, reply=True))  # as a node that forgot the link
    world.settle()
    assert not [event for event in ann.hears() if isinstance(event, Acked)]
