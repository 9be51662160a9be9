"""Handlers of the peer messages from a session's partner, or from a caller.

A `Resync` about a chat that the session doesn't have is answered by `ChatEnded`. That repairs any state that a crash or
a long pause left half done on the other side.
"""

from collections.abc import Callable
from typing import Any, Final

from relay.protocol.commands_and_events import Away as AwayEvent
from relay.protocol.commands_and_events import Back, Messages, PartnerTyping
from relay.protocol.errors import Code, Reason
from relay.session import resume
from relay.session.chat import FLIGHT_BYTES
from relay.session.peer_messages import (
    Accept,
    Ack,
    Away,
    CallConfirmed,
    ChatEnded,
    Decline,
    FlowAck,
    HalfClosed,
    Invite,
    Knew,
    Mail,
    Resync,
    Ringing,
    SessionMoved,
    Text,
    Typing,
    UnknownSession,
)
from relay.session.runtime_interface import SessionRuntime
from relay.session.session import AWAY, RESUMING, Session
from relay.session.unacked_messages import size


def receive(session: Session, mail: Mail) -> None:
    """Handle one peer message; they must come in order.

    While the client is resuming, messages that it would be told of wait for its welcome.
    """
    if session.state is RESUMING and type(mail) in _TOLD:
        session.postpone(mail)
    else:
        _MAIL[type(mail)](session, mail)


def undeliverable(runtime: SessionRuntime, mail: Mail) -> None:
    """Answer a peer message for a name that no session here owns, if its sender waits for an answer."""
    if isinstance(mail, Invite):
        runtime.post(mail.caller.node_id, Decline(mail.caller.canonical_name, mail.chat, Code.NO_SUCH_USER))
    elif isinstance(mail, Accept):
        runtime.post(mail.callee.node_id, ChatEnded(mail.callee.canonical_name, mail.chat, Reason.LOST, 0, 0))
    elif isinstance(mail, Resync):
        runtime.post(mail.party.node_id, UnknownSession(mail.party.canonical_name, mail.chat, runtime.node_id))
    elif isinstance(mail, SessionMoved):
        runtime.moved(mail)


def _invite(session: Session, mail: Invite) -> None:
    session.pairing.invited(mail)


def _accept(session: Session, mail: Accept) -> None:
    session.pairing.accepted(mail)


def _decline(session: Session, mail: Decline) -> None:
    session.pairing.declined(mail)


def _ringing(session: Session, mail: Ringing) -> None:
    session.pairing.rings(mail)


def _typing(session: Session, mail: Typing) -> None:
    chat = session.chat
    if session.resumable and chat is not None and chat.id == mail.chat and session.pending is None:
        session.runtime.send_if_writable(session, PartnerTyping(chat.partner.display_name, chat.id))


def _call_confirmed(session: Session, mail: CallConfirmed) -> None:
    session.pairing.confirmed(mail)


def _text(session: Session, mail: Text) -> None:
    chat = session.chat
    if chat is None or chat.id != mail.chat or mail.fencing_token < chat.partner.fencing_token:
        return  # the chat is over and its ChatEnded is on the way, or the sender is a stale owner
    if session.state is AWAY:  # the text comes again after a resume, maybe from another node: it keeps its time
        chat.times.note(mail.id, len(mail.texts), mail.at)
        return
    fresh = chat.receive(mail)
    if fresh is None:
        if chat.gap:
            return
        chat.gap = True
        session.runtime.post(chat.partner.node_id, chat.sync(session.party, reply=True))
        return
    runtime, partner = session.runtime, chat.partner
    if fresh:
        count = len(fresh)
        first = chat.received + 1 - count
        runtime.counts.delivered += count
        if chat.times.note(first, count, mail.at):
            runtime.tell(session, Messages(first, partner.display_name, chat.id, fresh, mail.at))
        else:
            chat.retold = chat.received
            for id, texts, at in chat.times.runs(first, fresh, mail.at):
                runtime.tell(session, Messages(id, partner.display_name, chat.id, texts, at))
    else:  # the partner sent again what is here already, so it may lack our acknowledgement
        chat.retold = chat.received
        runtime.post(partner.node_id, chat.ack())
        chat.flow_unreported = FLIGHT_BYTES
    if session.acks:
        chat.flow_unreported += size("".join(fresh))


def _ack(session: Session, mail: Ack) -> None:
    chat = session.chat
    if chat is not None and chat.id == mail.chat:
        session.send_window.acked(chat, mail.id, mail.at)
        if session.pending is not None:
            session.proceed()


def _flow_ack(session: Session, mail: FlowAck) -> None:
    chat = session.chat
    if chat is not None and chat.id == mail.chat:
        chat.flow_acked = max(chat.flow_acked, mail.id)
        if chat.paused:
            session.send_window.go_on(chat)


def _half_closed(session: Session, mail: HalfClosed) -> None:
    if session.chat is not None and session.chat.id == mail.chat:
        session.unheard(Reason.QUIT, mail.last)


def _chat_ended(session: Session, mail: ChatEnded) -> None:
    if session.pairing.concerns(mail.chat):
        session.pairing.taken_back()
    elif session.call_policy.concerns(mail.chat):
        session.call_policy.taken_back()
    elif _current(session, mail):
        resume.gone(session, mail.reason, mail.last)
    elif session.chat is not None and session.chat.id == mail.chat:
        resume.denied(session, session.chat)


def _away(session: Session, mail: Away) -> None:
    chat = session.chat
    if chat is not None and _current(session, mail) and not chat.away:
        chat.gone_away()
        session.runtime.tell(session, AwayEvent(chat.partner.display_name, mail.grace, chat.id))


def _resync(session: Session, mail: Resync) -> None:
    chat, runtime, agreeing = session.chat, session.runtime, session.pairing.concerns(mail.chat)
    if session.fallback_chat is not None and session.fallback_chat.id == mail.chat:
        session.postpone(mail)  # handled once it is known whether that chat goes on
        return
    if chat is None or chat.id != mail.chat or agreeing:
        reason = session.send_window.outcomes.why(mail.chat)
        runtime.post(
            mail.party.node_id, ChatEnded(mail.party.canonical_name, mail.chat, reason, 0, session.fencing_token)
        )
        if agreeing:  # the other side has moved in the middle of the agreement, so no side has the chat
            session.pairing.taken_back()
        return
    if mail.party.fencing_token < chat.partner.fencing_token:
        return
    session.partner_is(mail.party)
    session.send_window.outcomes.times.learn(mail.timed, mail.times)
    if session.state is RESUMING:
        resume.reunited(session, mail)
    session.send_window.acked(chat, mail.last)
    if chat.away and not mail.away:
        chat.came_back()
        runtime.tell(session, Back(chat.partner.display_name, chat.id))
    if mail.reply:
        runtime.post(chat.partner.node_id, chat.sync(session.party, reply=False, away=session.away))
    sent = chat.sent
    for text in chat.retransmit(session.fencing_token):
        runtime.counts.resent += max(0, min(len(text.texts), sent + 1 - text.id))
        runtime.post(chat.partner.node_id, text)
    session.proceed()


def _unknown_session(session: Session, mail: UnknownSession) -> None:
    if session.chat is not None and session.chat.id == mail.chat:
        session.chat.times.learn(mail.timed, mail.times)
        resume.unknown(session, session.chat, mail.node_id)


def _session_moved(session: Session, mail: SessionMoved) -> None:
    if session.session_id == mail.session_id:
        session.superseded() if mail.superseded else session.replaced(mail.returns, mail.node_id)
    else:
        session.runtime.moved(mail)


def _knew(session: Session, mail: Knew) -> None:
    chat = session.chat
    if chat is not None and chat.id == mail.chat:
        chat.times.learn(mail.timed, mail.times)
        session.send_window.outcomes.times.learn(mail.said, mail.said_times)


def _current(session: Session, mail: ChatEnded | Away) -> bool:
    """Return whether the message is about the present chat, and its sender hasn't lost the partner's name meanwhile."""
    chat = session.chat
    return chat is not None and chat.id == mail.chat and not (0 < mail.fencing_token < chat.partner.fencing_token)


_TOLD: Final = frozenset({Text, Ack, Away, HalfClosed, FlowAck})

_MAIL: Final[dict[type, Callable[[Session, Any], None]]] = {
    Text: _text,
    Ack: _ack,
    Invite: _invite,
    Accept: _accept,
    Decline: _decline,
    Ringing: _ringing,
    Typing: _typing,
    CallConfirmed: _call_confirmed,
    HalfClosed: _half_closed,
    ChatEnded: _chat_ended,
    Away: _away,
    Resync: _resync,
    SessionMoved: _session_moved,
    Knew: _knew,
    FlowAck: _flow_ack,
    UnknownSession: _unknown_session,
}
