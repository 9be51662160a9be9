"""What a session makes of each frame that the node sends. No I/O.

How a pairing is told from a call by somebody else: by its name if that is the one we called. It may be told in another
spelling that only the node can compare, so each call is followed by a ping: lines are handled in order, so the last
pairing before the pong is the answer. (A pong may overtake a call that waits behind unacknowledged texts. Then the next
pairing is the answer: nobody else can call us during a chat.)
"""

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pairchat import events
from pairchat.errors import Refused
from pairchat.events import Event, Outgoing
from pairchat.outbox import Outbox
from pairchat.requests import Kind, Request
from pairchat.states import State
from relay import frames

if TYPE_CHECKING:
    from pairchat.protocol import ClientProtocol

# Refusals of a frame itself, whatever it asked for: those of a ping look like these.
_ABOUT_FRAMES: Final = frozenset({"bad_frame", "rate_limited"})


def answer(p: "ClientProtocol", frame: frames.NodeFrame) -> list[Event]:
    """Take one frame in: what it tells."""
    handler = _HANDLERS.get(type(frame))
    return handler(p, frame) if handler else []


def _welcome(p: "ClientProtocol", frame: frames.NodeWelcome) -> list[Event]:
    p.name, p.token, p.node = frame.name, frame.token, frame.node
    p.ping_every, p.grace = frame.ping, frame.grace
    if frame.resumed:
        p.state = State.RETURNING
        p.outbox.reopen(frame.window, frame.window_bytes)
        p.put(Request(Kind.RETURN, frames.ClientPing()))
    else:
        p.outbox = Outbox(frame.window, frame.window_bytes)
    joined = events.Joined(frame.name, frame.node, frame.resumed)
    p.requests.answer(p.requests.first(Kind.CLAIM), joined)
    return [joined] if frame.resumed else [joined, *_resume_work(p)]


def _resume_work(p: "ClientProtocol") -> list[Event]:
    """All that stands has been told: ask and say again what has no outcome."""
    p.state = State.ONLINE
    p.write_blocks()
    settled = _settled(p.outbox.forsake(p.chat))
    p.write_ack()
    p.write_texts()
    for request in p.requests.open:
        p.put(request)
    return settled


def _paired(p: "ClientProtocol", frame: frames.NodePaired) -> list[Event]:
    if frame.chat != p.chat:
        p.left = p.chat or p.left
        p.last = p.acknowledged = 0
    p.partner, p.chat, p.acks = frame.name, frame.chat, frame.acks
    paired = events.Paired(frame.name, frame.chat, frame.acks, frame.resumed)
    if call := p.requests.first(Kind.CALL):
        call.perhaps = paired
        if call.overtaken or same_name(call.name, frame.name):
            p.requests.answer(call, paired)
    if (accepted := p.requests.first(Kind.ACCEPT)) and accepted.name == frame.chat:
        p.requests.answer(accepted, paired)
    p.outbox.sent = max(p.outbox.sent, frame.last or 0)
    return [paired, *_settled(p.outbox.acknowledged(frame.last, frame.chat) if frame.last else [])]


def _message(p: "ClientProtocol", frame: frames.NodeMsg) -> list[Event]:
    if frame.chat != p.chat:
        return []
    if frame.id <= p.last:  # sent again after a resume: we have it
        p.write_ack()
        return []
    p.last = frame.id
    return [events.Message(frame.id, frame.sender, frame.chat, frame.text, frame.at)]


def _ack(p: "ClientProtocol", frame: frames.NodeAck) -> list[Event]:
    return _settled(p.outbox.acknowledged(frame.id, frame.chat))


def _unconfirmed(p: "ClientProtocol", frame: frames.NodeUnconfirmed) -> list[Event]:
    return _settled(p.outbox.unconfirmed(frame.first, frame.last, frame.reason))


def _away(p: "ClientProtocol", frame: frames.NodeAway) -> list[Event]:
    return [events.Away(frame.name, frame.grace)]


def _back(p: "ClientProtocol", frame: frames.NodeBack) -> list[Event]:
    return [events.Back(frame.name)]


def _left(p: "ClientProtocol", frame: frames.NodeLeft) -> list[Event]:
    name = frame.name
    if p.state is State.RETURNING:  # it may be that nobody remembers the name
        name = name or p.partner or ""
    if name == p.partner:  # not so when a switch has already named the next one
        p.left = p.chat or p.left
        p.partner = p.chat = None
    left = events.Left(name, frame.reason)
    p.requests.answer(p.requests.first(Kind.LEAVE), left)
    return [left]


def _presence(p: "ClientProtocol", frame: frames.NodePresence) -> list[Event]:
    presence = events.Presence(frame.name, frame.state)
    p.requests.answer(p.requests.first(Kind.WHO), presence)
    return [presence]


def _typing(p: "ClientProtocol", frame: frames.NodeTyping) -> list[Event]:
    return [events.Typing(frame.name)] if frame.chat == p.chat else []


def _ringing(p: "ClientProtocol", frame: frames.NodeRinging) -> list[Event]:
    return [events.Ringing(frame.name, frame.wait)]


def _invited(p: "ClientProtocol", frame: frames.NodeInvited) -> list[Event]:
    return [events.Invited(frame.name, frame.chat, frame.wait)]


def _missed(p: "ClientProtocol", frame: frames.NodeMissed) -> list[Event]:
    missed = events.Missed(frame.name, frame.chat)
    if (accepted := p.requests.first(Kind.ACCEPT)) and accepted.name == frame.chat:
        p.requests.answer(accepted, missed)
    return [missed]


def _blocked(p: "ClientProtocol", frame: frames.NodeBlocked) -> list[Event]:
    request = p.requests.first(Kind.BLOCK)
    if request is None or request.name != frame.name:
        return []  # said again after a resume
    p.blocked[frame.name] = None
    blocked = events.Blocked(frame.name, True)
    p.requests.answer(request, blocked)
    return [blocked]


def _unblocked(p: "ClientProtocol", frame: frames.NodeUnblocked) -> list[Event]:
    for name in [name for name in p.blocked if same_name(name, frame.name)]:
        del p.blocked[name]
    unblocked = events.Blocked(frame.name, False)
    p.requests.answer(p.requests.first(Kind.UNBLOCK), unblocked)
    return [unblocked]


def _moving(p: "ClientProtocol", frame: frames.NodeMoving) -> list[Event]:
    p.stranded = True
    return [events.Moving()]


def _replaced(p: "ClientProtocol", frame: frames.NodeReplaced) -> list[Event]:
    return _end(p, "replaced", "another connection took this session over")


def _pong(p: "ClientProtocol", frame: frames.NodePong) -> list[Event]:
    request = p.requests.pong()
    if request is None:
        return []
    request.overtaken = True
    if request.perhaps:
        p.requests.answer(request, request.perhaps)
    return _resume_work(p) if request.kind is Kind.RETURN else []


def _bye(p: "ClientProtocol", frame: frames.NodeBye) -> list[Event]:
    bye = events.Bye()
    p.requests.answer(p.requests.first(Kind.QUIT), bye)
    _forget(p, "we have quit")
    p.state = State.OVER
    return [bye]


def _error(p: "ClientProtocol", frame: frames.NodeError) -> list[Event]:
    if frame.code in ("name_lost", "kicked"):
        return _end(p, frame.code, frame.message)
    if p.name is None and frame.code == "bad_frame":
        return []  # what we sent before we knew that the name was lost
    if p.name is not None and p.state in (State.RESUMING, State.CLAIMING):
        return _not_back(p, frame)
    if frame.id is not None:
        return _settled(p.outbox.refused(frame.id, frame.code))
    if frame.code == "too_long" and p.outbox.pending:
        return _settled(p.outbox.refused_longest(frame.code))
    return _refusal(p, Refused(frame.code, frame.message, name=frame.name))


def _not_back(p: "ClientProtocol", frame: frames.NodeError) -> list[Event]:
    """The node doesn't give us back what we had."""
    if p.state is State.RESUMING and frame.code == "bad_token":
        return _expired(p)
    if p.state is State.CLAIMING and frame.code in ("name_taken", "name_invalid", "bad_token"):
        asked = p.requests.first(Kind.CLAIM)
        p.requests.answer(asked, Refused(frame.code, frame.message, name=p.name))
        lost = _end(p, frame.code, frame.message)
        return [] if asked else lost
    p.stranded = True
    return []


def _expired(p: "ClientProtocol") -> list[Event]:
    """The session is gone. Claim the name again; what was asked for is asked again then."""
    assert p.name is not None
    told = _settled(p.outbox.abandon("lost"))
    if p.partner is not None:
        told.append(events.Left(p.partner, "lost"))
    p.requests.answer(p.requests.first(Kind.LEAVE), events.Left(p.partner or "", "lost"))
    p.token = p.partner = p.chat = p.left = None
    p.last = p.acknowledged = 0
    told.append(events.Expired(p.name))
    p.reconnect()
    return told


def _refusal(p: "ClientProtocol", error: Refused) -> list[Event]:
    """Find out which request an error without an id is about."""
    if error.code == "not_paired":
        p.requests.answer(p.requests.first(Kind.LEAVE), error)  # or the partner was first, and left in between
        return []
    if error.name is None and error.code in _ABOUT_FRAMES and p.requests.ping_refused():
        return []
    if error.code == "not_called":
        p.requests.answer(p.requests.first(Kind.ACCEPT), error)  # or we declined what was over already
        return []
    request = p.requests.first(Kind.CLAIM, Kind.CALL, Kind.WHO, Kind.BLOCK, Kind.UNBLOCK)
    if request is None:
        return [events.Complaint(error.code, str(error))]
    p.requests.answer(request, error)
    return []


def _end(p: "ClientProtocol", code: str, message: str) -> list[Event]:
    """The session is over against our will; `Lost` comes behind the fate of every text."""
    settled = _settled(p.outbox.abandon(code))
    _forget(p, message)
    p.state = State.OVER if code in ("replaced", "kicked") else State.NAMELESS
    return [*settled, events.Lost(code, message)]


def _forget(p: "ClientProtocol", message: str) -> None:
    p.name = p.token = p.partner = p.chat = p.left = None
    p.requests.fail(message)


_HANDLERS: dict[type, Callable[["ClientProtocol", Any], list[Event]]] = {
    frames.NodeWelcome: _welcome,
    frames.NodePaired: _paired,
    frames.NodeMsg: _message,
    frames.NodeAck: _ack,
    frames.NodeUnconfirmed: _unconfirmed,
    frames.NodeAway: _away,
    frames.NodeBack: _back,
    frames.NodeLeft: _left,
    frames.NodePresence: _presence,
    frames.NodeTyping: _typing,
    frames.NodeRinging: _ringing,
    frames.NodeInvited: _invited,
    frames.NodeMissed: _missed,
    frames.NodeBlocked: _blocked,
    frames.NodeUnblocked: _unblocked,
    frames.NodeMoving: _moving,
    frames.NodeReplaced: _replaced,
    frames.NodeError: _error,
    frames.NodePong: _pong,
    frames.NodeBye: _bye,
}


def _settled(entries: list[Outgoing]) -> list[Event]:
    return [events.Settled(entry) for entry in entries]


def same_name(asked: str, told: str) -> bool:
    """Whether two spellings surely mean one name. False is no proof that they don't: that is for the node to say."""
    return unicodedata.normalize("NFKC", asked.strip()).casefold() == unicodedata.normalize("NFKC", told).casefold()
