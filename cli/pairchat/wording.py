"""This module has the messages for people, each on one line that is safe to print."""

from datetime import datetime
from enum import IntEnum

from pairchat.errors import BadServer, BadSettings, ConnectionFailed, ConnectionLost, NameLost, PairchatError, Refused
from pairchat.escape import word
from pairchat.events import (
    Away,
    Back,
    Blocked,
    Complaint,
    DeliveryStatus,
    Dropped,
    Event,
    Expired,
    Invited,
    Joined,
    Left,
    Missed,
    Outgoing,
    Paired,
    Ringing,
    Settled,
)


class Exit(IntEnum):
    """The exit status."""

    OK = 0
    NOT_CONFIRMED = 1  # a text was not sent, or no acknowledgement came for it
    USAGE = 2  # the status of every typer program for wrong usage
    CONNECTION = 3  # there was no connection, or it was lost
    NAME = 4  # the name was refused or lost
    PARTNER = 5  # the partner isn't there, or left before the end of the input
    TIMEOUT = 6  # the run took longer than `--timeout`


_REFUSALS = {
    "name_taken": "the name {name} is taken",
    "name_invalid": "{name} can't be a name: {message}",
    "no_such_user": "there is nobody called {name}",
    "busy": "{name} is talking with someone else",
    "away": "{name} is away",
    "self_chat": "{name} is you",
    "not_paired": "nobody is chatting with you",
    "declined": "{name} did not take the call",
    "not_called": "nobody is calling",
    "too_many": "too many names are blocked; /unblock one first",
    "unavailable": "not possible right now, try again",
}

_NOT_SENT = {
    "not_sent": "the chat ended first",
    "too_long": "it is too long",
    "window_full": "the relay has no room for it",
}

_NOT_CONFIRMED = {
    "lost": "the partner was lost",
    "quit": "the partner quit",
    "left": "the chat ended",
    "kicked": "the operator disconnected the partner",
    "name_lost": "your name was lost",
}

PRESENCE = {
    "free": "is there, and free",
    "busy": "is talking with someone",
    "away": "is away and may come back",
    "offline": "is not there",
}

_ENDINGS = {
    "quit": "{name} has quit.",
    "left": "The chat with {name} is over.",
    "lost": "{name} was lost.",
    "kicked": "{name} was disconnected by the operator.",
}


def refusal(error: Refused) -> str:
    """Return the reason for a refusal."""
    words = _REFUSALS.get(error.code, "{message}")
    return words.format(name=word(error.name or "this"), message=word(error.message))


def complaint(error: PairchatError) -> str:
    """Return the message for an error that ends the program."""
    return refusal(error) if isinstance(error, Refused) else word(str(error))


def sentence(error: PairchatError) -> str:
    """Return the sentence for an error after which the program goes on. A name at its beginning keeps its case."""
    words = complaint(error)
    if not (isinstance(error, Refused) and _REFUSALS.get(error.code, "").startswith("{name}")):
        words = _capital(words)
    return words if words.endswith((".", "!", "?")) else f"{words}."


def exit_status(error: PairchatError) -> Exit:
    """Return the exit status for an error that ends the program."""
    match error:
        case BadServer() | BadSettings():
            return Exit.USAGE
        case ConnectionFailed() | ConnectionLost() | Refused(code="unavailable"):
            return Exit.CONNECTION
        case NameLost() | Refused():
            return Exit.NAME
        case _:
            return Exit.NOT_CONFIRMED


def why_unsettled(text: Outgoing) -> str:
    """Return the reason for a text's failure, in lower case because it stands after or below the text."""
    if text.fate is DeliveryStatus.REFUSED:
        return f"not sent ({_NOT_SENT.get(text.detail) or word(text.detail)})"
    return f"may not have arrived ({_NOT_CONFIRMED.get(text.detail) or word(text.detail) or 'no acknowledgement'})"


def unsettled(text: Outgoing) -> str:
    """Return the message for a text that was not acknowledged and won't be."""
    return f"{_capital(why_unsettled(text))}: {word(text.text)}"


def notice(event: Event) -> str | None:
    """Return the message for an event, or None if it needs none."""
    match event:
        case Paired() if not event.resumed:
            return f"You are chatting with {word(event.name)}."
        case Left():
            return _ENDINGS.get(event.reason, "The chat with {name} is over.").format(name=word(event.name))
        case Away():
            return f"{word(event.name)} is away and may come back within {event.grace:.0f} s."
        case Back():
            return f"{word(event.name)} is back."
        case Settled() if event.text.fate is not DeliveryStatus.DELIVERED:
            return unsettled(event.text)
        case Dropped():
            return f"{_capital(word(event.reason))}; connecting again."
        case Joined() if event.resumed:
            return f"Connected as {word(event.name)} again."
        case Expired():
            return f"The relay has given {word(event.name)} up meanwhile; claiming the name again."
        case Ringing():
            return f"It rings at {word(event.name)}, for {event.wait:g} s at most."
        case Invited():
            return f"{word(event.name)} calls. /accept or /decline, within {event.wait:g} s."
        case Missed():
            return f"{word(event.name)} does not call any more."
        case Blocked() if event.on:
            return f"{word(event.name)} can't call you any more, as long as you stay."
        case Blocked():
            return f"{word(event.name)} may call you again."
        case Complaint():
            return word(event.message)
        case _:
            return None


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def moment(at: float) -> datetime:
    """Convert a node's Unix time to local time. Returns the present time if it is out of range on this machine."""
    try:
        return datetime.fromtimestamp(at)
    except (ValueError, OverflowError, OSError):
        return datetime.now()
