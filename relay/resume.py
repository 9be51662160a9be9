"""A program's return to its session: on the node that still holds it, or on any other, from the record.

The client proves itself with the token and says what it has (`last`) and how far it had numbered (`sent`). The node
asks the partner what that one has, and only then announces the chat, so that `last` in `paired` is as high as it can be
known to be; a partner that doesn't answer soon is found later, by its own return. Each side sends again what the other
has not acknowledged, and leaves out what it had already got.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from relay.chat import Chat
from relay.errors import Code, Presence, Reason
from relay.events import Away, Claim, Left, Paired, Resume, Welcome
from relay.host import Located
from relay.mail import Party, Sync
from relay.names import Name

if TYPE_CHECKING:
    from relay.session import Session


class Ended(Struct, array_like=True, frozen=True):
    """The last chat of a session that is over."""

    chat: str
    name: str  # the partner's, as shown
    reason: Reason


class Legacy(Struct, frozen=True):
    """What the directory remembers of a session that comes back on another node."""

    name: Name
    sid: str
    fence: int
    token_hash: str
    chat: str  # empty: none
    partner: Party | None
    ended: Ended | None


def inherit(session: "Session", legacy: Legacy) -> None:
    """Be the session that the directory remembers."""
    session.name, session.sid, session.fence = legacy.name, legacy.sid, legacy.fence
    session.token_hash, session.ended = legacy.token_hash, legacy.ended
    if legacy.partner is not None:
        session.chat = Chat(legacy.chat, legacy.partner)
    if legacy.ended is not None:
        session.outbox.fates.ended(legacy.ended.chat, legacy.ended.reason)


def come_back(session: "Session", claim: Claim) -> None:
    """The session has a client again; it is welcomed once the partner has answered, or after `limits.reunion`."""
    resume = _resume(claim)
    chat, host = session.chat, session.host
    session.attach(claim)
    session.outbox.resume(resume.sent)
    host.save(session)
    if chat is None:
        announce(session, claim)
        return
    chat.forget_untold()
    if resume.chat == chat.id:
        ack = chat.caught_up(resume.last)
        if ack is not None:
            host.post(chat.partner.uid, ack)
    sync = chat.sync(session.party, reply=True)
    host.post(chat.partner.uid, sync)
    host.locate(chat.partner.owned, lambda found: _located(session, claim, chat, found))
    host.alarm(host.limits.reunion, lambda: _alone(session, claim))


def _located(session: "Session", claim: Claim, chat: Chat, found: Located | Code) -> None:
    if session.chat is not chat or isinstance(found, Code):
        return
    if found.state is Presence.OFFLINE:
        gone(session, Reason.LOST, 0)
    elif found.uid != chat.partner.uid:
        session.host.post(found.uid, chat.sync(session.party, reply=True))


def _alone(session: "Session", claim: Claim) -> None:
    if session.pending is claim:
        announce(session, claim)


def reunited(session: "Session", mail: Sync) -> None:
    """The partner answered."""
    claim = session.pending
    if isinstance(claim, Claim) and session.chat is not None:
        session.outbox.known(session.chat, mail.last)
        announce(session, claim, mail.last, away=mail.away)


def gone(session: "Session", reason: Reason, last: int) -> None:
    """The chat is over; a client that is just coming back hears so after its welcome."""
    claim, chat = session.pending, session.chat
    if chat is None:
        return
    if isinstance(claim, Claim):
        _welcome(session, claim)
    session.over(reason, last)


def announce(session: "Session", claim: Claim, last: int = 0, *, away: bool = False) -> None:
    """Welcome the client, and tell what became of its chat."""
    host, resume, chat = session.host, _resume(claim), session.chat
    _welcome(session, claim)
    if chat is not None:
        host.tell(session, Paired(chat.partner.shown, chat.id, chat.partner.acks, resumed=True, last=last))
        if away:
            chat.gone_away()
            host.tell(session, Away(chat.partner.shown, chat.partner.grace))
    elif resume.chat is not None:
        ended = session.ended
        known = ended is not None and ended.chat == resume.chat
        host.tell(session, Left(ended.name, ended.reason) if ended and known else Left("", Reason.LOST))
    host.wake(session)


def _welcome(session: "Session", claim: Claim) -> None:
    host, limits = session.host, session.host.limits
    assert session.name is not None
    session.pending = None
    shown, token = session.name.shown, _resume(claim).token
    host.tell(
        session, Welcome(shown, token, True, limits.grace, limits.window, limits.window_bytes, limits.ping, host.node)
    )


def _resume(claim: Claim) -> Resume:
    assert claim.resume is not None
    return claim.resume
