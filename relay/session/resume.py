"""A JSON client's return to its session: on the node that still holds it, or on any other node from the record.

The client proves itself with the token, and says up to which id it has the partner's messages (`last`) and which id it
used last (`sent`). The node asks the partner up to which id it has messages, and only then announces the chat, so that
`last` in `paired` is as high as possible. If the partner doesn't answer soon, the chat is announced without that; both
sides agree when the partner returns. Each side sends again the messages that the other has not acknowledged, and drops
those that it already has.

A record that was written during a switch names two chats: the one that was being agreed on, and the one before it
(`fallback_chat`). The partner of the new chat knows whether it exists.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from relay.metrics import Outcome
from relay.names.parse import Name
from relay.protocol.commands_and_events import Away, Claim, Left, Paired, Resume
from relay.protocol.errors import Code, Presence, Reason
from relay.session.chat import Chat
from relay.session.peer_messages import ChatEnded, Resync
from relay.shared_types import ChatRef, Ended, FormerSession, Located

if TYPE_CHECKING:
    from relay.session.session import Session


# The time after which a partner is looked for whose chat an owner with a lower fencing token denies. By then no server
# is asked any more that another one has replaced (docs/guarantees.md).
DENIED_SECONDS: Final = 5.0
# This many denials stand for a partner that was looked for since the first one, and asked once more.
ASKED_AGAIN: Final = 2


class RestoredState(Struct, frozen=True):
    """The state of a session from its record, for a session that is resumed on another node."""

    name: Name
    session_id: str
    fencing_token: int
    token_hash: str
    chat: ChatRef | None
    ended: Ended | None
    previous_chat: ChatRef | None = None  # see `relay.directory.directory.SessionRecord`
    former: FormerSession | None = None  # the session on the former node


def come_back(session: "Session", claim: Claim) -> None:
    """Attach a client that resumes. It is welcomed once the partner has answered, or after `limits.reunion`."""
    resume = _resume(claim)
    chat, runtime = session.chat, session.runtime
    away = session.away
    runtime.counts.claim(Outcome.RESUMED)
    session.attach(claim)
    session.send_window.resume(resume.sent)
    if away:
        runtime.save(session)
    if chat is None or _abandoned(chat, resume):
        announce(session, claim)
        return
    if chat.id == resume.chat:
        _stands(session)
    _reunite(session, claim, chat)


def _reunite(session: "Session", claim: Claim, chat: Chat) -> None:
    """Ask the partner which messages it has, and wait for the answer for `limits.reunion` at most."""
    runtime, resume = session.runtime, _resume(claim)
    chat.forget_untold()
    if resume.chat == chat.id:
        if resume.last and resume.at is not None:
            chat.times.note(resume.last, 1, resume.at)
        ack = chat.caught_up(resume.last)
        if ack is not None:
            runtime.post(chat.partner.node_id, ack)
    sync = chat.sync(session.party, reply=True)
    runtime.post(chat.partner.node_id, sync)
    _find_partner_until_it_answers(session, chat)
    session.later(runtime.limits.reunion, lambda session: _alone(session, claim))


def _find_partner_until_it_answers(session: "Session", chat: Chat) -> None:
    """Look the partner up now, and again after each lease in which it hasn't answered.

    The watch reports a dead node once, perhaps before this session came to this node. Until the directory can tell that
    the node is dead, it says that the partner is still there.
    """
    known = chat.partner

    def find_again(session: "Session") -> None:
        if session.chat is chat and chat.partner is known:
            _find_partner_until_it_answers(session, chat)

    find_partner(session, chat, lambda session, _: session.later(session.runtime.limits.lease, find_again))


def _stands(session: "Session") -> None:
    """Leave the previous chat, if there is one, because the chat is known to exist."""
    fallback = session.drop_fallback()
    if fallback is not None:
        chat, partner = fallback
        session.send_window.outcomes.ended(chat, Reason.LEFT)
        session.runtime.post(
            partner.node_id, ChatEnded(partner.canonical_name, chat, Reason.LEFT, 0, session.fencing_token)
        )
        session.runtime.save(session)


def _fall_back(session: "Session", claim: Claim) -> None:
    """Go on with the previous chat, because the new one failed."""
    chat = session.fall_back()
    session.runtime.save(session)
    _reunite(session, claim, chat)


def find_partner(
    session: "Session", chat: Chat, otherwise: Callable[["Session", Located], None] = lambda *_: None
) -> None:
    """Look the partner up in the directory, because it may have moved while this session couldn't be told.

    If the partner is still on the same node, calls `otherwise` after `limits.reunion`.
    """
    known = chat.partner

    def located(found: Located | Code) -> None:
        if session.chat is not chat:
            return
        if chat.partner is not known:  # the partner told us meanwhile where it is, so the answer may be stale
            find_partner(session, chat, otherwise)
        elif isinstance(found, Code):
            _later(session, chat, lambda session: find_partner(session, chat, otherwise))
        elif found.state is Presence.OFFLINE:
            gone(session, Reason.LOST, 0)
        elif found.node_id != chat.partner.node_id:
            session.partner_is(structs.replace(chat.partner, node_id=found.node_id))
            _ask(session, chat)
        elif found.state is Presence.AWAY and not chat.away:
            partner_away(session, chat, chat.partner.grace)
        else:
            _later(session, chat, lambda session: otherwise(session, found))

    session.runtime.locate(chat.partner.canonical_name, located)


def unknown(session: "Session", chat: Chat, node_id: str) -> None:
    """Look for the partner, because that node has no session of its name.

    It may have moved on, may be arriving there just now, or may be gone.
    """
    if chat.partner.node_id == node_id:
        find_partner(session, chat, lambda session, _: _ask(session, chat))


def denied(session: "Session", chat: Chat) -> None:
    """Handle the end of the chat by an owner of the partner's name whose fencing token is below the known one.

    Usually that is a former owner, which the partner's present node doesn't know of. But if Redis lost its data and its
    clock was set back, a node that has started since gives the name of a lost session away with a lower token. Only the
    new owner can still answer then, so its word counts if the directory leads to it once more, some time later.
    """
    partner = chat.partner

    def look(session: "Session") -> None:
        if session.chat is chat and chat.partner is partner and chat.denials:
            find_partner(session, chat, lambda session, _: ask_again(session))

    def ask_again(session: "Session") -> None:
        if chat.partner is partner and chat.denials:
            chat.denials = ASKED_AGAIN
            _ask(session, chat)

    if chat.denials == ASKED_AGAIN:
        gone(session, Reason.LOST, 0)
    elif not chat.denials:
        chat.denials = 1
        session.later(DENIED_SECONDS, look)


def partner_lost(session: "Session", node_id: str, since: float) -> None:
    """Handle the death of a node `since` seconds ago: a partner there is away for the rest of its grace, or lost."""
    chat = session.chat
    if chat is None or chat.partner.node_id != node_id:
        return
    left = chat.partner.grace - since
    if left <= 0:
        gone(session, Reason.LOST, 0)
    else:
        partner_away(session, chat, left)


def partner_away(session: "Session", chat: Chat, left: float) -> None:
    """Note that the partner is away, with `left` seconds of its grace left, and time that here.

    Its node is dead, or has not told us, so it can't be relied on to say when the grace is over.
    """
    if not chat.away:
        chat.gone_away()
        if session.returning is None:  # otherwise the client is told with the welcome
            session.runtime.tell(session, Away(chat.partner.display_name, round(left, 3), chat.id))
    grace_period = chat.absences
    session.later(left, lambda session: _overdue(session, chat, grace_period))


def _overdue(session: "Session", chat: Chat, grace_period: int) -> None:
    """Look the partner up after its grace: if it came back on any node the chat goes on, otherwise it ends."""

    def still(session: "Session", found: Located) -> None:
        if found.state is not Presence.AWAY:  # it is back, and its Resync was lost
            _ask(session, chat)
        _overdue(session, chat, grace_period)

    if session.chat is chat and chat.away and chat.absences == grace_period:
        find_partner(session, chat, still)


def ask_partner_on(session: "Session", node_id: str) -> None:
    """If the partner is on that node, ask which messages it has, because peer messages from or to it may be lost."""
    chat = session.chat
    if chat is not None and chat.partner.node_id == node_id:
        _ask(session, chat)


def _ask(session: "Session", chat: Chat) -> None:
    """Ask the partner which messages it has, and whether it still knows the chat."""
    session.runtime.post(chat.partner.node_id, chat.sync(session.party, reply=True, away=session.away))


def _later(session: "Session", chat: Chat, then: Callable[["Session"], None]) -> None:
    def still(session: "Session") -> None:
        if session.chat is chat:
            then(session)

    session.later(session.runtime.limits.reunion, still)


def _alone(session: "Session", claim: Claim) -> None:
    chat, fallback = session.chat, session.fallback_chat
    if session.returning is not claim:
        return
    if chat is not None and fallback is not None and fallback.id == _resume(claim).chat:  # it wasn't told of `chat`
        runtime, partner = session.runtime, chat.partner
        runtime.post(partner.node_id, ChatEnded(partner.canonical_name, chat.id, Reason.LOST, 0, session.fencing_token))
        _fall_back(session, claim)
    else:
        announce(session, claim)


def reunited(session: "Session", mail: Resync) -> None:
    """Announce the chat to a client that waits for its welcome, because the partner answered."""
    claim, chat = session.returning, session.chat
    assert claim is not None
    assert chat is not None
    session.send_window.known(chat, mail.last)
    if not mail.away:
        chat.came_back()
    elif not chat.away:
        chat.gone_away()
    announce(session, claim, mail.last)


def gone(session: "Session", reason: Reason, last: int) -> None:
    """End the chat. A client that is resuming is told after its welcome, unless a previous chat goes on."""
    claim = session.returning
    if claim is not None:
        if session.fallback_chat is not None:
            _fall_back(session, claim)
            return
        session.welcome_back(_resume(claim).token)
    session.over(reason, last)


def announce(session: "Session", claim: Claim, last: int = 0) -> None:
    """Welcome the client, and tell it of its chat or of that chat's end. The partner has messages up to `last`."""
    runtime, resume = session.runtime, _resume(claim)
    _stands(session)
    session.welcome_back(resume.token)
    if session.chat is not None and _abandoned(session.chat, resume):
        session.part(Reason.LEFT, told=True)
        runtime.save(session)
    chat = session.chat
    if chat is not None:
        partner, at = chat.partner, session.send_window.outcomes.when(last)
        runtime.tell(session, Paired(partner.display_name, chat.id, partner.acks, resumed=True, last=last, at=at))
        if chat.away:
            runtime.tell(session, Away(partner.display_name, partner.grace, chat.id))
    elif resume.chat is not None:
        ended = session.ended
        known = ended is not None and ended.chat == resume.chat
        name, reason = (ended.name, ended.reason) if ended and known else ("", Reason.LOST)
        runtime.tell(session, Left(name, reason, resume.chat))
    runtime.wake(session)


def _abandoned(chat: Chat, resume: Resume) -> bool:
    """Return whether the client was told before that this chat is over.

    The end was forgotten because the node that announced it is dead, or Redis went back to an older state. If the chat
    went on, the client would get messages again that it had there before.
    """
    return chat.id == resume.left and chat.id != resume.chat


def _resume(claim: Claim) -> Resume:
    assert claim.resume is not None
    return claim.resume
