"""What happens, as it goes to the screen: events to entries, the partner's state, the log."""

import time
from collections.abc import Callable

from pairchat.client import Chat
from pairchat.escape import word
from pairchat.events import (
    Away,
    Back,
    DeliveryStatus,
    Event,
    Expired,
    Invited,
    Joined,
    Left,
    Message,
    Missed,
    Outgoing,
    Paired,
    Presence,
    Settled,
    Typing,
)
from pairchat.screen.chat_log import ChatLog
from pairchat.screen.status import Partner
from pairchat.screen.transcript import Entry, Transcript
from pairchat.wording import moment, notice

TYPING_SHOWN = 6.0  # seconds: two words of it, in case one goes missing

Call = Callable[[str, str], None]


class Presenter:
    """One user's session on the screen. `call` gets who and what where the user should be called."""

    def __init__(self, history: Transcript, partner: Partner, call: Call) -> None:
        self.history = history
        self.partner = partner
        self.log = ChatLog()
        self.names: dict[str, None] = {}  # seen so far
        self.invited: Invited | None = None  # who calls at the moment
        self.called = ""  # whom we call, until that has an outcome on the screen
        self._call = call
        self._chat_id: str | None = None  # of the pairing announced last
        self._shown: set[Outgoing] = set()  # ours without a fate

    # --- what we do

    def said(self, chat: Chat, text: Outgoing) -> Entry:
        """We said something."""
        entry = self.history.own(chat.name or "", text, self.partner.name)
        self._logged(lambda: self.log.said(entry.who, text.text, entry.at))
        if text.fate is DeliveryStatus.PENDING:
            self._shown.add(text)
        return entry

    def notice(self, words: str) -> None:
        """Something happened, or was found out. The words are safe to print."""
        entry = self.history.notice(words)
        self._logged(lambda: self.log.happened(words, entry.at))

    def error(self, words: str) -> None:
        """Something didn't work. The words are safe to print."""
        self.history.error(words)

    def _logged(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.log.stop()
            self.error(f"Nothing is logged any more: {word(error.strerror or str(error))}")

    # --- what happens

    def take(self, chat: Chat, event: Event) -> None:
        """Show an event."""
        match event:
            case Message():
                self._message(event)
                return
            case Paired():
                self._paired(event)
                return
            case Joined():
                self._joined(chat, event)
            case Settled():
                self._settled(chat, event)
                return
            case Presence():
                return  # whoever asked shows it
            case Typing():
                self.partner.typing_until = time.monotonic() + TYPING_SHOWN
                return
            case Invited():
                self.invited = event
                self._call(event.name, "is calling")
            case Missed():
                self.invited = None
            case Left():
                self._left()
            case Away():
                self.partner.away_until = time.monotonic() + min(event.grace, 3600)
            case Back():
                self.partner.here(event.name)
            case Expired():
                self._chat_id = None
        if words := notice(event):
            self.notice(words)

    def _settled(self, chat: Chat, event: Settled) -> None:
        """Its tick changes. What a program before us said may be settled before it had a place on the screen."""
        if event.text in self._shown:
            self._shown.remove(event.text)
        else:
            self.said(chat, event.text)

    def _message(self, event: Message) -> None:
        self.partner.here(event.sender)
        at = moment(event.at)
        self.history.text(event.sender, event.text, at)
        self._logged(lambda: self.log.said(event.sender, event.text, at))
        self._call(event.sender, event.text)

    def _paired(self, event: Paired) -> None:
        self.partner.here(event.name)
        self.names[event.name] = None
        ours = self.called or self.invited or event.resumed
        self.called, self.invited = "", None
        if event.chat != self._chat_id:  # else it is only confirmed again
            self._chat_id = event.chat
            name = word(event.name)
            how = "" if ours else f", who called. /block {name} ends it for good"
            self.notice(f"You are chatting with {name}{how}.")
            self._call(event.name, "is chatting with you")

    def _joined(self, chat: Chat, event: Joined) -> None:
        """Texts of a program that was killed before us have their place on the screen as well."""
        for text in chat.pending:
            if text not in self._shown and event.resumed:
                self.said(chat, text)

    def _left(self) -> None:
        self._chat_id = None
        self.partner.gone()
