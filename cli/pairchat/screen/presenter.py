"""This module turns events into entries on the screen and in the log, and keeps the partner's state."""

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
from pairchat.screen.log_file import LogFile
from pairchat.screen.status_bar import Partner
from pairchat.screen.transcript import Entry, Transcript
from pairchat.wording import moment, notice

TYPING_SHOWN = 6.0  # seconds; two typing notices fit, in case one is lost

Call = Callable[[str, str], None]


class Presenter:
    """One user's session on the screen. `call` notifies the user, with a name and what that user did."""

    def __init__(self, history: Transcript, partner: Partner, call: Call) -> None:
        self.history = history
        self.partner = partner
        self.log = LogFile()
        self.names: dict[str, None] = {}  # the names seen so far, for completion
        self.invited: Invited | None = None  # the present incoming call
        self.called = ""  # the name in our call, until its outcome is on the screen
        self._call = call
        self._chat_id: str | None = None  # the id of the chat that was announced last
        self._shown: set[Outgoing] = set()  # our texts on the screen without an outcome

    # --- from the user

    def said(self, chat: Chat, text: Outgoing) -> Entry:
        """Show a text of ours. Returns its entry."""
        entry = self.history.own(chat.name or "", text, self.partner.name)
        self._logged(lambda: self.log.said(entry.who, text.text, entry.at))
        if text.fate is DeliveryStatus.PENDING:
            self._shown.add(text)
        return entry

    def notice(self, words: str) -> None:
        """Show and log a notice. The words must be safe to print."""
        entry = self.history.notice(words)
        self._logged(lambda: self.log.happened(words, entry.at))

    def error(self, words: str) -> None:
        """Show an error. The words must be safe to print."""
        self.history.error(words)

    def _logged(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.log.stop()
            self.error(f"Nothing is logged any more: {word(error.strerror or str(error))}")

    # --- from the relay

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
                return  # `/who` shows it
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
        """Drop a settled text from those without an outcome. Show it first if an earlier program sent it."""
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
        if event.chat != self._chat_id:  # the same id is only a repeated confirmation
            self._chat_id = event.chat
            name = word(event.name)
            how = "" if ours else f", who called. /block {name} ends it for good"
            self.notice(f"You are chatting with {name}{how}.")
            self._call(event.name, "is chatting with you")

    def _joined(self, chat: Chat, event: Joined) -> None:
        """Show the pending texts of an earlier program whose session was resumed."""
        for text in chat.pending:
            if text not in self._shown and event.resumed:
                self.said(chat, text)

    def _left(self) -> None:
        self._chat_id = None
        self.partner.gone()
