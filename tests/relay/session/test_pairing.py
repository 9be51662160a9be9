"""The agreement of two users, as one of them sees it: a table of every step and every event."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from relay.protocol.commands_and_events import Call, EndOfStream
from relay.protocol.errors import Code, Presence, Reason
from relay.session.pairing import Answering
from relay.session.peer_messages import Accept, CallConfirmed, ChatEnded, Decline, Invite, Mail
from relay.shared_types import Party
from tests.relay.world import User, World, enter, in_words
from tests.support.rows import each_row

BEN = Party("n2", "ben", "Ben", 9, "client", 30.0)
CAS = Party("n3", "cas", "Cas", 8, "node", 0.0)
LOW, HIGH = "a", "zzz"  # chat ids below and above all proposed ones


class Desk:
    """Ann on n1. Her peer messages to n2 and n3 aren't delivered: the test reads and answers them."""

    def __init__(self) -> None:
        self.world = World()
        self.place = self.world.place("n1")
        self.ann = enter(self.place, "Ann")
        self.ben = enter(self.world.place("n2"), "Ben")
        enter(self.world.place("n3"), "Cas")
        self.chat = ""  # the chat that she proposed

    @property
    def step(self) -> str:
        """Return her step."""
        step = self.ann.session.pairing.step
        if step is not None:
            return type(step).__name__
        return "paired" if self.ann.session.chat else "free"

    def call(self) -> None:
        self.ann.says(Call("Ben"))
        step = self.ann.session.pairing.step
        assert step is not None
        self.chat = step.chat

    def answer(self) -> None:
        """Have the directory answer its first question."""
        self.world.happen("directory")

    def refuse(self) -> None:
        """The directory can't be had."""
        self.world.directory.available = False
        self.world.happen("directory")

    def hears(self, mail: Mail) -> None:
        self.place.deliver(mail)

    def posted(self) -> list[str]:
        """What she sent since last asked: kind, to whom."""
        mail = self.world.lose()
        return [f"{type(m).__name__} {m.to}{f' {m.code}' if isinstance(m, Decline) else ''}" for _, m in mail]

    def told(self) -> list[str]:
        return [in_words(event) for event in self.ann.hears()]


Deed = Callable[[Desk], None]


def _calling(desk: Desk) -> None:
    desk.call()
    desk.answer()


def _confirming(desk: Desk) -> None:
    _calling(desk)
    desk.hears(Accept("ann", desk.chat, BEN))


def _answering(desk: Desk) -> None:
    desk.hears(Invite("ann", HIGH, BEN))


def _reserved(desk: Desk) -> None:
    _answering(desk)
    desk.answer()


def _paired(desk: Desk) -> None:
    _reserved(desk)
    desk.hears(CallConfirmed("ann", HIGH))


def _answering_whom_she_called(desk: Desk) -> None:
    _calling(desk)
    desk.hears(Invite("ann", LOW, BEN))


def _reserved_for_whom_she_called(desk: Desk) -> None:
    _answering_whom_she_called(desk)
    desk.answer()


def _away(desk: Desk) -> None:
    desk.ann.says(EndOfStream())


STEPS: dict[str, Deed] = {
    "free": lambda _: None,
    "away": _away,
    "looking": Desk.call,
    "calling": _calling,
    "confirming": _confirming,
    "answering": _answering,
    "reserved": _reserved,
    "paired": _paired,
    "answering whom she called": _answering_whom_she_called,
    "reserved for whom she called": _reserved_for_whom_she_called,
}


def _located(presence: Presence | None) -> Deed:
    def deed(desk: Desk) -> None:
        if presence is Presence.AWAY:
            there = desk.world.records["ben"]
            desk.world.records["ben"] = replace(there, body=replace(there.body, away=True))
        elif presence is Presence.OFFLINE:
            del desk.world.records["ben"]
        desk.answer() if presence else desk.refuse()

    return deed


def _in_her_chat(mail: Callable[[str], Mail]) -> Deed:
    def deed(desk: Desk) -> None:
        step = desk.ann.session.pairing.step
        desk.hears(mail(step.chat if step else HIGH))

    return deed


EVENTS: dict[str, Deed] = {
    "found": _located(Presence.FREE),
    "found away": _located(Presence.AWAY),
    "not found": _located(Presence.OFFLINE),
    "no directory": _located(None),
    "record written": Desk.answer,
    "record not written": Desk.refuse,
    "invite": lambda desk: desk.hears(Invite("ann", "x", CAS)),
    "invite back, lower": lambda desk: desk.hears(Invite("ann", LOW, BEN)),
    "invite back, higher": lambda desk: desk.hears(Invite("ann", HIGH, BEN)),
    "accept": _in_her_chat(lambda chat: Accept("ann", chat, BEN)),
    "accept of another call": lambda desk: desk.hears(Accept("ann", "x", CAS)),
    "decline": _in_her_chat(lambda chat: Decline("ann", chat, Code.BUSY)),
    "decline of another call": lambda desk: desk.hears(Decline("ann", "x", Code.BUSY)),
    "settle": _in_her_chat(lambda chat: CallConfirmed("ann", chat)),
    "settle of another call": lambda desk: desk.hears(CallConfirmed("ann", "x")),
    "gone": _in_her_chat(lambda chat: ChatEnded("ann", chat, Reason.LEFT, 0)),
    "gone of another call": lambda desk: desk.hears(ChatEnded("ann", "x", Reason.LEFT, 0)),
    "call overdue": lambda desk: desk.world.pass_time(desk.world.limits.call),
    "lease over": lambda desk: desk.world.pass_time(desk.world.limits.lease),
    "node lost": lambda desk: desk.ann.session.node_lost("n2", 0.0),
    "another node lost": lambda desk: desk.ann.session.node_lost("n3", 0.0),
    "name lost": lambda desk: desk.ann.session.name_lost(),
}

LOST = "name_lost None"

# Step and event; the step after it, the peer messages that she sends, and the events that she is told.
TABLE: list[tuple[str, str, str, list[str], list[str]]] = [
    ("free", "invite", "Answering", [], []),
    ("free", "accept of another call", "free", ["ChatEnded cas"], []),
    ("free", "decline of another call", "free", [], []),
    ("free", "settle of another call", "free", [], []),
    ("free", "gone of another call", "free", [], []),
    ("away", "invite", "free", ["Decline cas away"], []),
    ("looking", "found", "Calling", ["Invite ben"], []),
    ("looking", "found away", "free", [], ["away Ben"]),
    ("looking", "not found", "free", [], ["no_such_user Ben"]),
    ("looking", "no directory", "free", [], ["unavailable Ben"]),
    ("looking", "invite", "Calling", ["Decline cas busy"], []),
    ("looking", "invite back, lower", "Answering", [], []),
    ("looking", "invite back, higher", "Answering", [], []),
    ("looking", "node lost", "Calling", [], []),
    ("looking", "call overdue", "free", [], ["unavailable Ben"]),
    ("looking", "name lost", "free", [], [LOST]),
    ("calling", "accept", "Confirming", [], []),
    ("calling", "accept of another call", "Calling", ["ChatEnded cas"], []),
    ("calling", "decline", "free", [], ["busy Ben"]),
    ("calling", "decline of another call", "Calling", [], []),
    ("calling", "settle", "Calling", [], []),
    ("calling", "gone", "free", [], ["unavailable Ben"]),
    ("calling", "gone of another call", "Calling", [], []),
    ("calling", "invite", "Calling", ["Decline cas busy"], []),
    ("calling", "invite back, lower", "Answering", [], []),
    ("calling", "invite back, higher", "Calling", [], []),
    ("calling", "node lost", "free", [], ["unavailable Ben"]),
    ("calling", "another node lost", "Calling", [], []),
    ("calling", "call overdue", "free", ["ChatEnded ben"], ["unavailable Ben"]),
    ("calling", "name lost", "free", ["ChatEnded ben"], [LOST]),
    ("confirming", "record written", "paired", ["CallConfirmed ben"], ["calling Ben"]),
    ("confirming", "record not written", "free", ["ChatEnded ben"], ["unavailable Ben"]),
    ("confirming", "accept of another call", "Confirming", ["ChatEnded cas"], []),
    ("confirming", "decline", "Confirming", [], []),
    ("confirming", "settle", "Confirming", [], []),
    ("confirming", "gone", "free", [], ["unavailable Ben"]),
    ("confirming", "invite", "Confirming", ["Decline cas busy"], []),
    ("confirming", "invite back, lower", "Confirming", ["Decline ben busy"], []),
    ("confirming", "node lost", "free", [], ["unavailable Ben"]),
    ("confirming", "another node lost", "Confirming", [], []),
    ("confirming", "call overdue", "free", ["ChatEnded ben"], ["unavailable Ben"]),
    ("confirming", "name lost", "free", ["ChatEnded ben"], [LOST]),
    ("answering", "record written", "Reserved", ["Accept ben"], []),
    ("answering", "record not written", "free", ["Decline ben unavailable"], []),
    ("answering", "accept of another call", "Answering", ["ChatEnded cas"], []),
    ("answering", "decline", "Answering", [], []),
    ("answering", "settle", "Answering", [], []),
    ("answering", "gone", "free", [], []),
    ("answering", "gone of another call", "Answering", [], []),
    ("answering", "invite", "Answering", ["Decline cas busy"], []),
    ("answering", "node lost", "free", [], []),
    ("answering", "another node lost", "Answering", [], []),
    ("answering", "name lost", "free", ["ChatEnded ben"], [LOST]),
    ("reserved", "settle", "paired", [], ["called by Ben"]),
    ("reserved", "settle of another call", "Reserved", [], []),
    ("reserved", "decline", "Reserved", [], []),
    ("reserved", "gone", "free", [], []),
    ("reserved", "gone of another call", "Reserved", [], []),
    ("reserved", "invite", "Reserved", ["Decline cas busy"], []),
    ("reserved", "node lost", "free", [], []),
    ("reserved", "another node lost", "Reserved", [], []),
    ("reserved", "call overdue", "Reserved", [], []),
    ("reserved", "lease over", "free", ["ChatEnded ben"], []),
    ("reserved", "name lost", "free", ["ChatEnded ben"], [LOST]),
    ("answering whom she called", "record written", "Reserved", ["Accept ben"], []),
    ("answering whom she called", "record not written", "free", ["Decline ben unavailable"], ["unavailable Ben"]),
    ("answering whom she called", "gone", "free", [], ["unavailable Ben"]),
    ("answering whom she called", "call overdue", "Answering", [], []),
    ("answering whom she called", "node lost", "free", [], ["unavailable Ben"]),
    ("reserved for whom she called", "settle", "paired", [], ["called by Ben"]),
    ("reserved for whom she called", "gone", "free", [], ["unavailable Ben"]),
    ("reserved for whom she called", "call overdue", "Reserved", [], []),
    ("reserved for whom she called", "lease over", "free", ["ChatEnded ben"], ["unavailable Ben"]),
    ("reserved for whom she called", "node lost", "free", [], ["unavailable Ben"]),
    ("paired", "invite", "paired", ["Decline cas busy"], []),
    ("paired", "accept of another call", "paired", ["ChatEnded cas"], []),
    ("paired", "decline", "paired", [], []),
    ("paired", "settle", "paired", [], []),
    ("paired", "gone", "free", [], ["Ben left"]),
    ("paired", "gone of another call", "paired", [], []),
    ("paired", "lease over", "paired", [], []),
    ("paired", "another node lost", "paired", [], []),
]


@each_row(("step", "event", "after", "mail", "told"), TABLE, ids=[f"{row[0]}: {row[1]}" for row in TABLE])
def test_each_event_leads_from_step_to_step_as_the_table_says(
    step: str, event: str, after: str, mail: list[str], told: list[str]
) -> None:
    desk = Desk()
    STEPS[step](desk)
    desk.posted()
    desk.told()
    EVENTS[event](desk)
    assert (desk.step, desk.posted(), desk.told()) == (after, mail, told)


def test_no_event_is_left_out_of_the_table() -> None:
    assert {row[1] for row in TABLE} == EVENTS.keys()
    assert {row[0] for row in TABLE} == STEPS.keys()


@each_row("step", [step for step in STEPS if step not in ("free", "away", "paired")])
def test_no_step_lasts_longer_than_a_lease_and_lines_wait_meanwhile(step: str) -> None:
    desk = Desk()
    STEPS[step](desk)
    assert desk.ann.session.blocked
    desk.world.directory.available = False
    for _ in range(2):
        desk.world.pass_time(desk.world.limits.lease)
        while "directory" in desk.world.choices():
            desk.answer()
    assert desk.step == "free"
    assert not desk.ann.session.blocked


@each_row(
    ("step", "chat"),
    [("looking", None), ("calling", None), ("confirming", "its"), ("answering", "its"), ("reserved", "its")],
)
def test_the_record_names_the_partner_as_soon_as_one_is_promised(step: str, chat: str | None) -> None:
    desk = Desk()
    STEPS[step](desk)
    engaged = desk.ann.session.engaged
    assert (engaged is None) is (chat is None)
    assert engaged is None or engaged.partner == BEN


@pytest.mark.parametrize("step", ["looking", "calling", "confirming"])
def test_a_call_in_a_crowd_takes_the_time_that_its_turn_takes(step: str) -> None:
    """A user who is refused because others come first would only call again."""
    desk = Desk()
    STEPS[step](desk)
    desk.world.directory.crowded = True
    desk.world.pass_time(5 * desk.world.limits.call)
    assert desk.ann.session.blocked
    assert desk.told() == []
    desk.world.directory.crowded = False  # the rest were answered, or nobody is any more
    desk.world.pass_time(desk.world.limits.call)
    assert desk.step == "free"
    assert desk.told() == ["unavailable Ben"]


@pytest.mark.parametrize("ends", ["replaced", "name_lost", "superseded"])
@pytest.mark.parametrize("available", [True, False])
def test_the_outcome_of_a_step_means_nothing_after_the_end_of_the_session(
    world: World, ann: User, ben: User, ends: str, available: bool
) -> None:
    """The record of a callee is being written while its session ends."""
    ann.says(Call("Ben"))
    world.happen("directory")  # it finds where ben is
    world.happen(("n1", "n2"))
    assert isinstance(ben.session.pairing.step, Answering)
    getattr(ben.session, ends)()
    ben.hears()
    world.directory.available = available
    world.settle()
    assert not ben.session.named
    assert ben.hears() == []
