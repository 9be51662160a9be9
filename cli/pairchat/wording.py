"""What a person is told, each on one line that is safe to print."""

from datetime import datetime
from enum import IntEnum

from pairchat.errors import BadServer, ConnectionFailed, ConnectionLost, NameLost, PairchatError, Refused
from pairchat.escape import lines, word
from pairchat.events import (
    Away,
    Back,
    Complaint,
    Dropped,
    Event,
    Expired,
    Fate,
    Joined,
    Left,
    Message,
    Outgoing,
    Paired,
    Settled,
)


class Exit(IntEnum):
    """The exit status."""

    OK = 0
    NOT_CONFIRMED = 1  # a text was not sent, or no acknowledgement came for it
    USAGE = 2  # as of every typer program
    CONNECTION = 3  # no connection, or it was lost
    NAME = 4  # the name was refused or lost
    PARTNER = 5  # the partner isn't there, or left before the end of the input


_REFUSALS = {
    "name_taken": "the name {name} is taken",
    "name_invalid": "{name} can't be a name: {message}",
    "no_such_user": "there is nobody called {name}",
    "busy": "{name} is talking with someone else",
    "away": "{name} is away",
    "self_chat": "{name} is you",
    "not_paired": "nobody is chatting with you",
    "unavailable": "not possible right now, try again",
}

_NOT_SENT = {"not_sent": "the chat ended first"}

_ENDINGS = {
    "quit": "{name} has quit.",
    "left": "The chat with {name} is over.",
    "lost": "{name} was lost.",
    "kicked": "{name} was disconnected by the operator.",
}


def refusal(error: Refused) -> str:
    """Why something could not be done."""
    words = _REFUSALS.get(error.code, "{message}")
    return words.format(name=word(error.name or "this"), message=word(str(error)))


def complaint(error: PairchatError) -> str:
    """An error that ends the program."""
    return refusal(error) if isinstance(error, Refused) else word(str(error))


def exit_status(error: PairchatError) -> Exit:
    """The exit status for an error that ends the program."""
    match error:
        case BadServer():
            return Exit.USAGE
        case ConnectionFailed() | ConnectionLost() | Refused(code="unavailable"):
            return Exit.CONNECTION
        case NameLost() | Refused():
            return Exit.NAME
        case _:
            return Exit.NOT_CONFIRMED


def unsettled(text: Outgoing) -> str:
    """A text that nobody acknowledged, or will."""
    shown = word(text.text)
    if text.fate is Fate.REFUSED:
        return f"Not sent ({_NOT_SENT.get(text.detail) or word(text.detail)}): {shown}"
    return f"May not have arrived ({word(text.detail) or 'no acknowledgement'}): {shown}"


def notice(event: Event) -> str | None:
    """What to say of an event; None for nothing."""
    match event:
        case Paired() if not event.resumed:
            return f"You are chatting with {word(event.name)}."
        case Left():
            return _ENDINGS.get(event.reason, "The chat with {name} is over.").format(name=word(event.name))
        case Away():
            return f"{word(event.name)} is away and may come back within {event.grace:g} s."
        case Back():
            return f"{word(event.name)} is back."
        case Settled() if event.text.fate is not Fate.DELIVERED:
            return unsettled(event.text)
        case Dropped():
            return f"{_sentence(word(event.reason))}; connecting again."
        case Joined() if event.resumed:
            return f"Connected as {word(event.name)} again."
        case Expired():
            return f"The relay has given {word(event.name)} up meanwhile; claiming the name again."
        case Complaint():
            return word(event.message)
        case _:
            return None


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def stamped(message: Message) -> str:
    """A text for the screen: `HH:MM name: text`, further lines below the text."""
    return said(message.sender, message.text, _clock(message.at))


def said(name: str, text: str, at: str | None = None) -> str:
    """`HH:MM name: text`, by default of now."""
    head = f"{at or datetime.now().strftime('%H:%M')} {word(name)}: "
    # The indent is by code points; the width of a wide name is a matter for a full screen.
    return head + ("\n" + " " * len(head)).join(lines(text))


def _clock(at: float) -> str | None:
    try:
        return datetime.fromtimestamp(at).strftime("%H:%M")
    except (ValueError, OverflowError, OSError):
        return None  # not a time that this machine knows
