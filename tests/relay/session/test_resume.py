"""Clients that come back on another node, one of two partners or both of them."""

from collections.abc import Callable

import pytest
from msgspec import structs

from relay.directory.directory import SessionRecord
from relay.hub.record_writer import body
from relay.protocol.commands_and_events import (
    Acked,
    Acknowledge,
    Away,
    Back,
    Call,
    EndOfStream,
    Leave,
    Left,
    Messages,
    Paired,
    Quit,
    Refused,
    Say,
    Unconfirmed,
    Welcome,
)
from relay.protocol.errors import MESSAGES, Code, Presence, Reason
from relay.session import resume
from relay.session.chat import Chat
from relay.session.pairing import Confirming, Reserved
from relay.session.peer_messages import ChatEnded
from relay.session.session import Session
from tests.relay import movers
from tests.relay.movers import GRACE
from tests.relay.world import CHAT, NOON, User, World, comes_back, enter, is_found, pair

world, ann, ben = movers.world, movers.ann, movers.ben


def test_a_client_that_comes_back_goes_on_where_it_was(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    ben.says(EndOfStream())
    world.settle()
    ann.says(Say("a", 1))
    again = comes_back(ben, world.place("n3"), chat)
    world.settle()
    assert [type(event) for event in again.hears()[:2]] == [Welcome, Paired]
    assert again.session.chat is not None
    assert again.session.chat.received == 1
    assert ann.hears() == [Away("ben", GRACE, CHAT), Back("ben", CHAT)]


@pytest.mark.parametrize("partner", ["away", "just back", "lost with its node"])
@pytest.mark.parametrize("id", [1, 3, 7])
def test_where_nobody_knows_how_far_the_client_numbered_the_first_id_is_right(
    world: World, ann: User, ben: User, partner: str, id: int
) -> None:
    chat = pair(ann, ben)
    ann.says(Say("a", 1), Say("b", 2))
    world.settle()
    ben.says(EndOfStream())
    world.settle()
    if partner == "just back":
        ben = comes_back(ben, world.place("n4"), chat)
        world.settle()
    elif partner == "lost with its node":
        world.crash("n2")
    world.crash("n1")
    again = comes_back(ann, world.place("n3"), chat, sent=None)
    world.settle()
    world.pass_time(world.limits.reunion)
    world.settle()
    again.hears()
    again.says(Say("x", id), Say("y", id + 1), Say("z", id + 3))
    assert [event.expected for event in again.hears() if isinstance(event, Refused)] == [id + 2]
    assert again.session.chat is not None
    assert list(again.session.chat.unacked) == [(id, "x"), (id + 1, "y")]


def test_the_last_id_of_a_client_counts_where_the_node_or_the_partner_knows_it(
    world: World, ann: User, ben: User
) -> None:
    chat = pair(ann, ben)
    here = comes_back(ann, world.place("n1"), chat, sent=None)  # any node would do; it numbered nothing yet
    world.settle()
    here.says(Say("a", 1), Say("b", 2))
    world.settle()
    ben.says(Acknowledge(2))
    world.settle()
    again = comes_back(here, world.place("n3"), chat, sent=None)
    world.settle()
    again.hears()
    again.says(Say("x", 4))
    assert [event.expected for event in again.hears() if isinstance(event, Refused)] == [3]


def test_a_client_that_says_it_used_no_id_begins_with_1(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    again = comes_back(ann, world.place("n3"), chat, sent=0)
    world.settle()
    again.hears()
    again.says(Say("x", 2))
    assert [event.expected for event in again.hears() if isinstance(event, Refused)] == [1]


def test_a_chat_that_the_client_knows_to_be_over_does_not_go_on(world: World, ann: User, ben: User) -> None:
    """Its node had told it so, and was killed before the record said it.

    Otherwise ann's text would reach ben once more.
    """
    chat = pair(ann, ben)
    ann.says(Say("a", 1))
    world.settle()
    assert ben.texts() == ["a"]
    ann.hears()
    again = comes_back(ben, world.place("n3"), left=chat)
    world.settle()
    assert [type(event) for event in again.hears()] == [Welcome]
    assert again.session.chat is None
    assert ann.hears() == [Unconfirmed(1, 1, Reason.LEFT, ("a",), CHAT), Left("ben", Reason.LEFT, CHAT)]
    assert not world.records["ben"].body.chat
    assert pair(ann, again) != chat


def test_a_message_of_an_earlier_chat_is_not_acknowledged_because_later_ones_of_this_chat_are(
    world: World, ann: User, ben: User
) -> None:
    """Only the node that is gone knew what had become of it, and ids rise through all chats of a session."""
    cid = enter(world.place("n2"), "cid", acks=True)
    earlier = pair(ann, ben)
    ann.says(Say("a", 1, earlier))  # ben doesn't acknowledge it
    world.settle()
    ben.says(Leave())
    world.settle()
    assert Unconfirmed(1, 1, Reason.LEFT, ("a",), earlier) in ann.hears()  # say that this got lost with her connection
    ben.hears()
    chat = pair(ann, cid)
    ann.says(Say("b", 2, chat))
    world.settle()
    cid.says(Acknowledge(2))
    world.settle()
    again = comes_back(ann, world.place("n3"), chat, sent=2)
    world.settle()
    welcome, paired, *_ = again.hears()
    assert isinstance(welcome, Welcome)
    assert isinstance(paired, Paired)
    assert paired.last == 2
    again.says(Say("a", 1, earlier), Say("b", 2, chat))
    world.settle()
    (unconfirmed, acked) = again.hears()
    assert unconfirmed == Unconfirmed(1, 1, Reason.LEFT, ("a",), earlier)
    assert isinstance(acked, Acked)
    assert (acked.id, acked.chat) == (2, chat)


def test_a_chat_that_goes_on_for_the_client_is_not_the_one_that_it_left(world: World, ann: User, ben: User) -> None:
    chat = pair(ann, ben)
    again = comes_back(ben, world.place("n3"), chat, left=chat)
    world.settle()
    assert [type(event) for event in again.hears()] == [Welcome, Paired]
    assert ann.hears() == []


def test_a_call_taken_by_a_callee_who_moves_at_once_goes_on_where_the_callee_moved_to(
    world: World, ann: User, ben: User
) -> None:
    """The old place waits for the caller's answer in vain. It must not take the chat back from the new place."""
    ann.says(Call("ben"))
    while ann.session.chat is None:
        world.happen(world.choices()[0])
    assert isinstance(ben.session.pairing.step, Reserved)
    again = comes_back(ben, world.place("n3"))
    world.happen("directory")
    world.settle()
    world.pass_time(world.limits.lease + 1)
    world.settle()
    assert [type(event) for event in again.hears()] == [Welcome, Paired]
    assert [type(event) for event in ann.hears()] == [Paired]


def test_an_agreement_in_which_the_callee_moves_before_it_is_settled_comes_to_nothing_on_both_sides(
    world: World, ann: User, ben: User
) -> None:
    ann.says(Call("ben"))
    while not isinstance(ann.session.pairing.step, Confirming):
        world.happen(world.choices()[0])
    record_written = world.carry_out()
    again = comes_back(ben, world.place("n3"))
    world.settle()
    record_written()
    world.settle()
    world.pass_time(world.limits.lease + 1)
    world.settle()
    assert ann.hears() == [Refused(Code.UNAVAILABLE, MESSAGES[Code.UNAVAILABLE], name="ben")]
    assert [type(event) for event in again.hears()] == [Welcome, Left]
    for user in (ann, again):
        assert user.session.chat is None
        assert not user.session.blocked
    assert pair(ann, again)


class TestAPartnerWhoseSessionAnOlderOwnerDenies:
    """Ann's chat knows a fencing token of ben's session that is above the one of him who answers in ben's name."""

    @pytest.fixture
    def chat(self, world: World, ann: User, ben: User) -> Chat:
        """The chat after ben's session was lost without a trace, and his name given away with a lower token."""
        pair(ann, ben)
        chat = ann.session.chat
        assert chat is not None
        ann.says(Say("hi", 1))
        world.crash("n2")
        del world.records["ben"]
        enter(world.place("n3"), "ben", acks=True)
        ann.session.partner_is(structs.replace(chat.partner, fencing_token=chat.partner.fencing_token + 1000))
        resume.find_partner(ann.session, chat)
        world.settle()
        return chat

    def wait(self, world: World) -> None:
        for seconds in (resume.DENIED_SECONDS, world.limits.reunion):
            world.pass_time(seconds)
            world.settle()

    def test_the_chat_is_lost_once_the_directory_has_led_to_that_owner_again(
        self, world: World, ann: User, chat: Chat
    ) -> None:
        assert chat.partner.node_id == "n3"
        assert ann.hears() == []
        self.wait(world)
        assert ann.hears() == [Unconfirmed(1, 1, Reason.LOST, ("hi",), chat.id), Left("ben", Reason.LOST, chat.id)]

    def test_the_chat_goes_on_if_the_directory_leads_elsewhere_by_then(
        self, world: World, ann: User, chat: Chat
    ) -> None:
        """The answer was that of a former owner, whom a server knew that another one has replaced."""
        world.records["ben"] = structs.replace(world.records["ben"], node_id="n4")
        self.wait(world)
        assert ann.session.chat is chat
        assert chat.partner.node_id == "n4"

    def test_the_chat_goes_on_if_the_partner_answers_meanwhile(self, world: World, ann: User, chat: Chat) -> None:
        """It is the present owner, so that what the former one says later counts as little as the first time."""
        end = ChatEnded("ann", chat.id, Reason.LOST, 0, 1)
        world.pass_time(resume.DENIED_SECONDS / 2)
        sync = chat.sync(chat.partner, reply=False)
        world.place("n1").deliver(structs.replace(sync, to="ann", last=0))
        self.wait(world)
        world.place("n1").deliver(end)
        world.settle()
        assert ann.session.chat is chat

    def test_its_word_counts_for_nothing_before_it_is_asked_again(self, world: World, ann: User, chat: Chat) -> None:
        for _ in range(3):
            world.place("n1").deliver(ChatEnded("ann", chat.id, Reason.LOST, 0, 1))
            world.settle()
        assert ann.session.chat is chat


class TestASwitchInWhichTheCallerMoves:
    """Ann chats with ben and calls cid. Her record names both chats, and exactly one of them goes on."""

    @pytest.fixture
    def cid(self, world: World) -> User:
        return enter(world.place("n4"), "cid", acks=True)

    def confirming(self, world: World, ann: User) -> Callable[[], None]:
        """Begin to write her record. Returns a function that tells her of the result."""
        ann.says(Call("cid"))
        while not isinstance(ann.session.pairing.step, Confirming):
            world.happen(world.choices()[0])
        return world.carry_out()

    def test_a_caller_who_moves_before_the_switch_is_settled_keeps_the_old_chat(
        self, world: World, ann: User, ben: User, cid: User
    ) -> None:
        chat = pair(ann, ben)
        ben.says(Say("a", 1))
        self.confirming(world, ann)
        again = comes_back(ann, world.place("n3"), chat)
        world.settle()
        assert [type(event) for event in again.hears()] == [Welcome, Paired, Messages]
        assert again.session.chat is not None
        assert again.session.chat.id == chat
        assert ben.hears() == []
        again.says(Say("b", 1))
        again.says(Acknowledge(1, chat))
        world.settle()
        assert ben.texts() == ["b"]
        assert Acked(1, chat, NOON) in ben.hears()
        assert cid.hears() == []
        assert cid.session.presence is Presence.FREE
        assert pair(enter(world.place("n1"), "dan"), cid)

    def test_a_caller_who_moves_once_the_switch_is_settled_goes_on_in_the_new_chat(
        self, world: World, ann: User, ben: User, cid: User
    ) -> None:
        """Her node dies before she learns of it, and before her record says that the old chat is over."""
        old = pair(ann, ben)
        written = self.confirming(world, ann)
        written()
        while cid.session.chat is None:
            world.happen(("n1", "n4"))
        world.lose()
        again = comes_back(ann, world.place("n3"), old)
        world.crash("n1")
        world.settle()
        assert [type(event) for event in again.hears()] == [Welcome, Paired]
        assert again.session.chat is not None
        assert again.session.chat.id == cid.session.chat.id
        assert again.session.previous_chat is None
        assert ben.hears() == [Left("ann", Reason.LEFT, CHAT)]
        assert [type(event) for event in cid.hears()] == [Paired]

    def test_whoever_returns_is_asked_by_the_old_partner_and_answers_when_it_knows(
        self, world: World, ann: User, ben: User, cid: User
    ) -> None:
        """Ben's node looks for ann as soon as it learns that she has moved, and would believe a negative answer."""
        chat = pair(ann, ben)
        self.confirming(world, ann)
        again = is_found(comes_back(ann, world.place("n3"), chat))
        chat_of_ben = ben.session.chat
        assert chat_of_ben is not None
        resume.find_partner(ben.session, chat_of_ben)
        while ("n2", "n3") not in world.choices():
            world.happen(next(choice for choice in world.choices() if choice != ("n3", "n4")))
        world.happen(("n2", "n3"))
        assert len(again.session.deferred) == 1
        world.settle()
        assert [type(event) for event in again.hears()] == [Welcome, Paired]
        assert ben.session.chat is chat_of_ben
        assert ben.hears() == []

    @pytest.mark.parametrize("ends", ["replaced", "name_lost", "superseded"])
    def test_the_answer_to_a_search_for_the_partner_means_nothing_to_a_session_that_has_ended_meanwhile(
        self, world: World, ann: User, ben: User, ends: str
    ) -> None:
        """The answer about ann's place comes when nobody here asks for it any more."""
        pair(ann, ben)
        chat = ben.session.chat
        assert chat is not None
        ben.says(Say("hi", 1))
        resume.find_partner(ben.session, chat)
        getattr(ben.session, ends)()
        del world.records["ann"]
        ben.hears()
        world.settle()
        assert not ben.session.named
        assert ben.hears() == []

    def test_a_caller_who_moves_and_knows_of_the_new_chat_goes_back_to_nobody_when_that_chat_ends(
        self, world: World, ann: User, ben: User, cid: User
    ) -> None:
        """She knows of the new chat, and so of the end of the old one, whatever her record says."""
        pair(ann, ben)
        written = self.confirming(world, ann)
        written()
        new = ann.session.chat
        assert new is not None
        world.lose()
        again = comes_back(ann, world.place("n3"), new.id)
        world.crash("n1")
        cid.says(Quit())
        world.settle()
        assert [type(event) for event in again.hears()] == [Welcome, Left]
        assert again.session.chat is None
        assert ben.hears() == [Left("ann", Reason.LEFT, CHAT)]

    def test_a_caller_who_moves_while_the_callees_node_is_silent_keeps_the_chat_that_she_knows_of(
        self, world: World, ann: User, ben: User, cid: User
    ) -> None:
        chat = pair(ann, ben)
        self.confirming(world, ann)
        again = comes_back(ann, world.place("n3"), chat)
        world.crash("n4")
        world.settle()
        world.pass_time(world.limits.reunion)
        world.settle()
        assert [event.chat for event in again.hears() if isinstance(event, Paired)] == [chat]
        assert ben.hears() == []


def test_the_record_of_a_switch_names_one_chat_again_once_it_is_settled(
    world: World, ann: User, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = enter(world.place("n4"), "cid")
    old = pair(ann, ben)
    saved: list[SessionRecord] = []
    hub = world.place("n1").hub
    save = hub.save

    def noted(session: Session, then: Callable[[bool], None] | None = None) -> None:
        saved.append(body(session))
        save(session, then)

    monkeypatch.setattr(hub, "save", noted)
    ann.says(Call("cid"))
    world.settle()
    assert cid.session.chat is not None
    new = cid.session.chat.id
    first, last = saved
    assert (first.chat, first.previous_chat) == (new, (old, ben.session.party))
    assert first.knows(old)
    assert first.knows(new)
    assert (last.chat, last.previous_chat) == (new, None)
    assert not last.knows(old)
