"""This module handles each frame that a node sends. It does no I/O.

A node marks each answer with the request that it is for (`ref`). A node of an earlier version doesn't. In that case a
pairing answers our call, and is no call by another user, if it has the name that we called. The node may report that
name in another spelling, which only the node can compare. So a ping follows each call: the node handles lines in order,
and therefore the last pairing before the pong is the answer. (A pong may overtake a call that waits behind
unacknowledged texts. Then the next pairing is the answer, because no other user can call us during a chat.)
"""

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pairchat import events
from pairchat.errors import Refused
from pairchat.events import Event, Outgoing
from pairchat.pending_requests import Kind, Request, given_up
from pairchat.states import State
from pairchat.unacked_messages import UnackedMessages
from relay.protocol import json_frames

if TYPE_CHECKING:
    from pairchat.sansio_protocol import ClientProtocol

# Codes that refuse a frame as such, independent of its request. A ping can be refused with these only.
_ABOUT_FRAMES: Final = frozenset({"bad_frame", "rate_limited"})
_REPLACED: Final = ("replaced", "another connection took this session over")
# The codes of close frames that end a session.
_CLOSED: Final = {
    4000: _REPLACED,
    4001: ("kicked", "the operator disconnected this session"),
    4002: ("name_lost", "the name belongs to another connection now"),
}
_TOO_BIG: Final = 1009


def answer(p: "ClientProtocol", frame: json_frames.NodeFrame) -> list[Event]:
    """Handle one frame and return its events."""
    handler = _HANDLERS.get(type(frame))
    return handler(p, frame) if handler else []


def closed(p: "ClientProtocol", code: int) -> list[Event]:
    """Handle the code of a close frame like the frame that means the same, unless that one came before it."""
    if p.name is not None and code in _CLOSED:
        return _end(p, *_CLOSED[code])
    claim = p.pending_requests.first(Kind.CLAIM)
    if p.name is None and claim is not None and code == _TOO_BIG:
        p.pending_requests.answer(claim, Refused("too_long", "the name and its proof are too long", name=claim.name))
    return []


def _welcome(p: "ClientProtocol", frame: json_frames.NodeWelcome) -> list[Event]:
    p.name, p.token, p.node = frame.name, frame.token, frame.node
    p.ping_every, p.grace = frame.ping, frame.grace
    p.marks = frame.max_line is not None  # both came with the same version
    p.max_line = frame.max_line or p.max_line
    if frame.resumed:
        p.state = State.RETURNING
        p.unacked_messages.reopen(frame.window, frame.window_bytes)
        p.put(Request(Kind.RETURN, json_frames.ClientPing()))
    else:
        p.unacked_messages = UnackedMessages(frame.window, frame.window_bytes)
    joined = events.Joined(frame.name, frame.node, frame.resumed, p.max_line)
    p.pending_requests.answer(p.pending_requests.first(Kind.CLAIM), joined)
    return [joined] if frame.resumed else [joined, *_resume_work(p)]


def _resume_work(p: "ClientProtocol") -> list[Event]:
    """Send the requests and texts without an outcome again, once the node has reported the session's state."""
    p.state = State.ONLINE
    p.pending_requests.resumed()
    p.write_blocks()
    settled = _settled(p.unacked_messages.forsake(p.chat) + p.unacked_messages.give_up_if(p.too_long))
    p.write_ack()
    p.write_texts()
    for request in p.pending_requests.open:
        p.put(request)
    return settled


def _paired(p: "ClientProtocol", frame: json_frames.NodePaired) -> list[Event]:
    request = p.pending_requests.marked(frame.ref)
    if accepted := p.pending_requests.first(Kind.ACCEPT):
        request = request or (accepted if accepted.name == frame.chat else None)
    call = p.pending_requests.first(Kind.CALL) if request is None and not p.marks else None
    if call is not None and (call.overtaken or same_name(call.name, frame.name)):
        request = call
    unasked = request.given_up if request is not None else frame.resumed and _forsaken(p, frame.name)
    if unasked and frame.chat != p.chat:
        return _unwanted(p, frame, request)
    if frame.chat != p.chat:
        p.left = p.chat or p.left
        p.last = p.acknowledged = 0
    p.partner, p.chat, p.acks = frame.name, frame.chat, frame.acks
    ref = request.ref if request is not None else None
    paired = events.Paired(frame.name, frame.chat, frame.acks, frame.resumed, ref)
    p.pending_requests.answer(request, paired)
    if request is None and call is not None:
        call.perhaps = paired
    p.unacked_messages.sent = max(p.unacked_messages.sent, frame.last or 0)
    return [paired, *_settled(p.unacked_messages.acknowledged(frame.last, frame.chat, frame.at) if frame.last else [])]


def _forsaken(p: "ClientProtocol", name: str) -> bool:
    """Return True if a chat that began while we were away comes from a call that was given up meanwhile."""
    return any(same_name(one, name) for one in p.pending_requests.forsaken)


def _unwanted(p: "ClientProtocol", frame: json_frames.NodePaired, call: Request | None) -> list[Event]:
    """Leave a chat whose call was answered while it was being given up, before the program hears of it.

    `call` is None if it has its outcome already because it was given up without a connection.
    """
    if call is not None:
        p.pending_requests.answer(call, given_up(call))
    told = [events.Left(p.partner or "", "left", p.chat)] if p.chat is not None else []  # None: reported already
    p.partner = p.chat = None
    p.leave_at_once(frame.chat)
    return list(told)


def _message(p: "ClientProtocol", frame: json_frames.NodeMsg) -> list[Event]:
    if frame.chat != p.chat:
        return []
    if frame.id <= p.last:  # a duplicate, sent again after a resume
        p.write_ack()
        return []
    p.last = frame.id
    return [events.Message(frame.id, frame.sender, frame.chat, frame.text, frame.at)]


def _ack(p: "ClientProtocol", frame: json_frames.NodeAck) -> list[Event]:
    return _settled(p.unacked_messages.acknowledged(frame.id, frame.chat, frame.at))


def _unconfirmed(p: "ClientProtocol", frame: json_frames.NodeUnconfirmed) -> list[Event]:
    return _settled(p.unacked_messages.unconfirmed(frame.first, frame.last, frame.reason))


def _away(p: "ClientProtocol", frame: json_frames.NodeAway) -> list[Event]:
    return [events.Away(frame.name, frame.grace, frame.chat or p.chat or "")]


def _back(p: "ClientProtocol", frame: json_frames.NodeBack) -> list[Event]:
    return [events.Back(frame.name, frame.chat or p.chat or "")]


def _left(p: "ClientProtocol", frame: json_frames.NodeLeft) -> list[Event]:
    name = frame.name
    if p.state is State.RETURNING:  # the node may not know the name any more
        name = name or p.partner or ""
    chat = frame.chat or (p.chat if name == p.partner else None)
    if chat is not None and chat == p.left:
        return []  # we left this chat ourselves before the program heard of it
    if chat is not None and chat == p.chat:  # False if a switch has already reported the next chat
        p.left = p.chat
        p.partner = p.chat = None
    request = p.pending_requests.about(frame.ref, Kind.LEAVE)
    left = events.Left(name, frame.reason, chat or "", request.ref if request is not None else None)
    if request is not None and request.kind is Kind.LEAVE:
        p.pending_requests.answer(request, left)
    return [left]


def _presence(p: "ClientProtocol", frame: json_frames.NodePresence) -> list[Event]:
    request = p.pending_requests.about(frame.ref, Kind.WHO)
    presence = events.Presence(frame.name, frame.state, request.ref if request is not None else None)
    p.pending_requests.answer(request, presence)
    return [presence]


def _typing(p: "ClientProtocol", frame: json_frames.NodeTyping) -> list[Event]:
    return [events.Typing(frame.name, frame.chat)] if frame.chat == p.chat else []


def _ringing(p: "ClientProtocol", frame: json_frames.NodeRinging) -> list[Event]:
    call = p.pending_requests.about(frame.ref, Kind.CALL)
    if call is not None and call.given_up:
        return []
    return [events.Ringing(frame.name, frame.wait, frame.chat or "", call.ref if call is not None else None)]


def _invited(p: "ClientProtocol", frame: json_frames.NodeInvited) -> list[Event]:
    return [events.Invited(frame.name, frame.chat, frame.wait)]


def _missed(p: "ClientProtocol", frame: json_frames.NodeMissed) -> list[Event]:
    accepted = p.pending_requests.first(Kind.ACCEPT)
    if accepted is not None and accepted.name != frame.chat:
        accepted = None
    missed = events.Missed(frame.name, frame.chat, accepted.ref if accepted is not None else None)
    p.pending_requests.answer(accepted, missed)
    return [missed]


def _blocked(p: "ClientProtocol", frame: json_frames.NodeBlocked) -> list[Event]:
    request = p.pending_requests.about(frame.ref, Kind.BLOCK)
    if request is None or request.name != frame.name:
        return []  # the answer to a block that was repeated after a resume
    p.blocked[frame.name] = None
    blocked = events.Blocked(frame.name, True, request.ref)
    p.pending_requests.answer(request, blocked)
    return [blocked]


def _unblocked(p: "ClientProtocol", frame: json_frames.NodeUnblocked) -> list[Event]:
    for name in [name for name in p.blocked if same_name(name, frame.name)]:
        del p.blocked[name]
    request = p.pending_requests.about(frame.ref, Kind.UNBLOCK)
    unblocked = events.Blocked(frame.name, False, request.ref if request is not None else None)
    p.pending_requests.answer(request, unblocked)
    return [unblocked]


def _moving(p: "ClientProtocol", frame: json_frames.NodeMoving) -> list[Event]:
    p.stranded = True
    return [events.Moving()]


def _replaced(p: "ClientProtocol", frame: json_frames.NodeReplaced) -> list[Event]:
    return _end(p, *_REPLACED)


def _pong(p: "ClientProtocol", frame: json_frames.NodePong) -> list[Event]:
    request = p.pending_requests.pong()
    if request is None:
        return []
    request.overtaken = True
    if request.perhaps and request.outcome is None:
        if request.given_up:
            p.leave(request.perhaps.ref)
        p.pending_requests.answer(request, request.perhaps)
    return _resume_work(p) if request.kind is Kind.RETURN else []


def _bye(p: "ClientProtocol", frame: json_frames.NodeBye) -> list[Event]:
    bye = events.Bye()
    p.pending_requests.answer(p.pending_requests.first(Kind.QUIT), bye)
    _forget(p, "we have quit")
    p.state = State.OVER
    return [bye]


def _error(p: "ClientProtocol", frame: json_frames.NodeError) -> list[Event]:
    if frame.code in ("name_lost", "kicked"):
        return _end(p, frame.code, frame.message)
    if p.name is None and frame.code == "bad_frame":
        return []  # it answers a frame that we sent before we knew that the name was lost
    if p.name is not None and p.state in (State.RESUMING, State.CLAIMING):
        return _not_back(p, frame)
    if frame.id is not None:
        return _settled(p.unacked_messages.refused(frame.id, frame.code))
    if frame.code == "too_long" and p.unacked_messages.pending and not p.marks:
        return _settled(p.unacked_messages.refused_longest(frame.code))
    error = Refused(frame.code, frame.message, name=frame.name)
    if request := p.pending_requests.marked(frame.ref):
        p.pending_requests.answer(request, error)
        return []
    return _refusal(p, error)


def _not_back(p: "ClientProtocol", frame: json_frames.NodeError) -> list[Event]:
    """Handle an error that says that the node can't resume the session or give the name back."""
    if frame.code == "bad_auth":
        if asked := p.pending_requests.first(Kind.CLAIM):
            p.pending_requests.answer(asked, Refused(frame.code, frame.message, name=p.name))
            return []
        p.stranded = p.unproved = True
        return [events.Complaint(frame.code, frame.message)]
    if p.state is State.RESUMING and frame.code == "bad_token":
        return _expired(p)
    if p.state is State.CLAIMING and frame.code in ("name_taken", "name_invalid", "bad_token"):
        asked = p.pending_requests.first(Kind.CLAIM)
        p.pending_requests.answer(asked, Refused(frame.code, frame.message, name=p.name))
        lost = _end(p, frame.code, frame.message)
        return [] if asked else lost
    p.stranded = True
    return []


def _expired(p: "ClientProtocol") -> list[Event]:
    """Claim the name again because the session is gone. Open requests are sent again afterwards."""
    assert p.name is not None
    told = _settled(p.unacked_messages.abandon("lost"))
    if p.partner is not None:
        told.append(events.Left(p.partner, "lost", p.chat or ""))
    p.pending_requests.answer(p.pending_requests.first(Kind.LEAVE), events.Left(p.partner or "", "lost", p.chat or ""))
    p.token = p.partner = p.chat = p.left = None
    p.last = p.acknowledged = 0
    told.append(events.Expired(p.name))
    p.reconnect()
    return told


def _refusal(p: "ClientProtocol", error: Refused) -> list[Event]:
    """Match an error without an id to its request."""
    if error.code == "not_paired":
        p.pending_requests.answer(p.pending_requests.first(Kind.LEAVE), error)  # None is open if the partner left first
        return []
    if error.name is None and error.code in _ABOUT_FRAMES and p.pending_requests.ping_refused():
        return []
    if error.code == "not_called":
        p.pending_requests.answer(
            p.pending_requests.first(Kind.ACCEPT), error
        )  # None is open if we declined a call that was over
        return []
    request = p.pending_requests.first(Kind.CLAIM, Kind.CALL, Kind.WHO, Kind.BLOCK, Kind.UNBLOCK)
    if request is None:
        return [events.Complaint(error.code, error.message)]
    p.pending_requests.answer(request, error)
    return []


def _end(p: "ClientProtocol", code: str, message: str) -> list[Event]:
    """End a session that the other side ended. `Lost` follows the outcome of every text."""
    settled = _settled(p.unacked_messages.abandon(code))
    _forget(p, message)
    p.state = State.OVER if code in ("replaced", "kicked") else State.NAMELESS
    return [*settled, events.Lost(code, message)]


def _forget(p: "ClientProtocol", message: str) -> None:
    p.name = p.token = p.partner = p.chat = p.left = None
    p.pending_requests.fail(message)


_HANDLERS: dict[type, Callable[["ClientProtocol", Any], list[Event]]] = {
    json_frames.NodeWelcome: _welcome,
    json_frames.NodePaired: _paired,
    json_frames.NodeMsg: _message,
    json_frames.NodeAck: _ack,
    json_frames.NodeUnconfirmed: _unconfirmed,
    json_frames.NodeAway: _away,
    json_frames.NodeBack: _back,
    json_frames.NodeLeft: _left,
    json_frames.NodePresence: _presence,
    json_frames.NodeTyping: _typing,
    json_frames.NodeRinging: _ringing,
    json_frames.NodeInvited: _invited,
    json_frames.NodeMissed: _missed,
    json_frames.NodeBlocked: _blocked,
    json_frames.NodeUnblocked: _unblocked,
    json_frames.NodeMoving: _moving,
    json_frames.NodeReplaced: _replaced,
    json_frames.NodeError: _error,
    json_frames.NodePong: _pong,
    json_frames.NodeBye: _bye,
}


def _settled(entries: list[Outgoing]) -> list[Event]:
    return [events.Settled(entry) for entry in entries]


def same_name(asked: str, told: str) -> bool:
    """Return True if two spellings certainly mean one name. Only the node can tell that two names differ."""
    return unicodedata.normalize("NFKC", asked.strip()).casefold() == unicodedata.normalize("NFKC", told).casefold()
