"""Handlers of the client's commands, one for each, for sessions that aren't blocked."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from relay.names.parse import InvalidName, Name, parse
from relay.protocol.commands_and_events import (
    AcceptCall,
    Acknowledge,
    Block,
    Bye,
    Call,
    Cancel,
    Claim,
    Command,
    DeclineCall,
    DrainClose,
    EndOfStream,
    Event,
    Known,
    Leave,
    Malformed,
    Moving,
    Noop,
    NotifyTyping,
    Ping,
    Pong,
    Quit,
    Refused,
    Say,
    Unblock,
    Who,
)
from relay.protocol.errors import Code, Ending, Reason
from relay.protocol.frame_errors import Ref
from relay.session.peer_messages import Typing
from relay.shared_types import Located

if TYPE_CHECKING:
    from relay.session.session import Session


def before_name(session: "Session", command: Command) -> None:
    """Handle a command in a session that owns no name."""
    match command:
        case Claim():
            _claim(session, command)
        case Quit() | EndOfStream():
            session.end(Ending.QUIT)
        case Malformed():
            _malformed(session, command)
        case _:
            session.refuse(Code.BAD_FRAME)


def _claim(session: "Session", command: Claim) -> None:
    runtime = session.runtime
    if runtime.authenticates and not session.resumable:
        command = _with_token(command)
    refusal = runtime.admit(session, command)
    if refusal is not None:
        runtime.counts.claim(refusal)
        session.refuse(refusal, name=command.name)
        return
    name = _name(session, command.name)
    if name is None:
        session.runtime.counts.claim(Code.NAME_INVALID)
    else:
        session.claim(name, command)


def _with_token(command: Claim) -> Claim:
    """Split a text client's first line, `name token`, into name and token."""
    name, *auth = command.name.split(maxsplit=1) or [""]
    return Claim(name, auth=auth[0] if auth else None)


def _name(session: "Session", typed: str, ref: Ref | None = None) -> Name | None:
    """Parse a name that was typed. If it is invalid, refuses it and returns None."""
    try:
        return parse(typed)
    except InvalidName as error:
        session.runtime.tell(session, Refused(Code.NAME_INVALID, str(error), name=typed, ref=ref))
        return None


def _call(session: "Session", command: Call) -> None:
    if not session.runtime.admits_call(session):
        session.pairing.refuse(Code.RATE_LIMITED, command)
        return
    name = _name(session, command.name, command.ref)
    if name is None:
        session.runtime.counts.call(Code.NAME_INVALID)
        return
    chat = session.chat
    if name.canonical_name == session.canonical_name:
        session.pairing.refuse(Code.SELF_CHAT, command)
    elif chat is not None and chat.partner.canonical_name == name.canonical_name:
        session.announce(chat, caller=True, ref=command.ref)
    elif chat is not None and chat.unacked:
        session.wait(command)  # a switch waits for the outcome of the messages before it
    else:
        session.pairing.start(name, command)


def _say(session: "Session", command: Say) -> None:
    session.send_window.say(command)


def _acknowledge(session: "Session", command: Acknowledge) -> None:
    chat = session.chat
    if chat is None or not session.acks or command.chat not in (None, chat.id):
        return
    ack = chat.confirm(command.id)
    if ack is not None:
        session.runtime.post(chat.partner.node_id, ack)


def _who(session: "Session", command: Who) -> None:
    if not session.runtime.admits_call(session):
        session.refuse(Code.RATE_LIMITED, name=command.name, ref=command.ref)
        return
    name = _name(session, command.name, command.ref)
    if name is None:
        return

    def located(found: Located | Code) -> None:
        if not session.answered(command):
            return
        if isinstance(found, Code):
            session.refuse(found, name=command.name, ref=command.ref)
        else:
            session.runtime.tell(session, Known(command.name, found.state, command.ref))

    session.await_answer(command)
    session.runtime.locate(name.canonical_name, located)


def _ping(session: "Session", command: Ping) -> None:
    session.runtime.tell(session, Pong())


def _cancel(session: "Session", command: Cancel) -> None:
    if not session.cancels(command):
        return
    call = session.pending
    if isinstance(call, Call):  # it still waits behind messages, so nobody was told of it
        session.drop_pending()
        session.pairing.refuse(Code.DECLINED, call)
        session.runtime.wake(session)
    else:
        session.pairing.cancel()


def _accept_call(session: "Session", command: AcceptCall) -> None:
    session.call_policy.accept(command)


def _decline_call(session: "Session", command: DeclineCall) -> None:
    session.call_policy.decline(command)


def _block(session: "Session", command: Block) -> None:
    name = _name(session, command.name, command.ref)
    if name is not None:
        session.call_policy.block(name, command)


def _unblock(session: "Session", command: Unblock) -> None:
    name = _name(session, command.name, command.ref)
    if name is not None:
        session.call_policy.unblock(name, command)


def _notify_typing(session: "Session", command: NotifyTyping) -> None:
    chat = session.chat
    if chat is None or command.chat not in (None, chat.id) or not chat.partner.rings or chat.away or chat.half_closed:
        return
    session.runtime.post_if_writable(chat.partner.node_id, Typing(chat.partner.canonical_name, chat.id))


def _noop(session: "Session", command: Noop) -> None:
    pass


def _claim_again(session: "Session", command: Claim) -> None:
    session.refuse(Code.BAD_FRAME, name=command.name)


def _malformed(session: "Session", command: Malformed) -> None:
    about = command.about
    session.runtime.tell(session, Refused(command.code, command.message, id=about.id, name=about.name, ref=about.ref))


def _leave(session: "Session", command: Leave) -> None:
    if session.chat is None or command.chat not in (None, session.chat.id):
        session.refuse(Code.NOT_PAIRED, ref=command.ref)
    elif session.chat.unacked:
        session.wait(command)
    else:
        session.part(Reason.LEFT, ref=command.ref)
        session.runtime.save(session)


def _end(session: "Session", command: Command, why: Ending, *last_words: Event) -> None:
    """Give the name back once every message before has its outcome."""
    if _has_unacked(session):
        session.wait(command)
    else:
        session.part(Reason.QUIT)
        session.end(why, *last_words)


def _has_unacked(session: "Session") -> bool:
    return session.chat is not None and bool(session.chat.unacked)


def _quit(session: "Session", command: Quit) -> None:
    if command.now:
        session.pairing.withdraw(Reason.LEFT)
        session.drop_pending()
        session.part(Reason.QUIT)
        session.end(Ending.QUIT, Bye())
    else:
        _end(session, command, Ending.QUIT, Bye())


def _end_of_stream(session: "Session", command: EndOfStream) -> None:
    if session.resumable:
        session.detach()
    else:
        _end(session, command, Ending.HUNG_UP)


def _drain_close(session: "Session", command: DrainClose) -> None:
    if not _has_unacked(session):  # told first: the node may close the connection while the name is being given back
        session.runtime.tell(session, Moving())
    _end(session, command, Ending.DRAINED)


COMMANDS: Final[dict[type, Callable[["Session", Any], None]]] = {
    Say: _say,
    Acknowledge: _acknowledge,
    Call: _call,
    Leave: _leave,
    Who: _who,
    Cancel: _cancel,
    AcceptCall: _accept_call,
    DeclineCall: _decline_call,
    Block: _block,
    Unblock: _unblock,
    NotifyTyping: _notify_typing,
    Ping: _ping,
    Quit: _quit,
    EndOfStream: _end_of_stream,
    DrainClose: _drain_close,
    Noop: _noop,
    Malformed: _malformed,
    Claim: _claim_again,
}
