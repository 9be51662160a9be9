"""The JSON dialect, for programs: it maps frames to commands and events to frames, and requires `hello` first."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from relay.protocol.commands_and_events import (
    AcceptCall,
    Acked,
    Acknowledge,
    Away,
    Back,
    Block,
    Blocked,
    Bye,
    Call,
    Cancel,
    Claim,
    Command,
    DeclineCall,
    Event,
    Invited,
    Known,
    Leave,
    Left,
    Malformed,
    Messages,
    Missed,
    Moving,
    NotifyTyping,
    Paired,
    PartnerTyping,
    Ping,
    Pong,
    Quit,
    Refused,
    Replaced,
    Resume,
    Rings,
    Say,
    Unblock,
    Unconfirmed,
    Welcome,
    Who,
)
from relay.protocol.dialects.framing import Line, TooLong, too_long
from relay.protocol.errors import Code
from relay.protocol.frame_errors import REFUSALS, About, about_beginning, bad_frame
from relay.protocol.json_frames import (
    SUPPORTED,
    VERSION,
    BadFrame,
    ClientAccept,
    ClientAck,
    ClientBlock,
    ClientCancel,
    ClientDecline,
    ClientFrame,
    ClientHello,
    ClientLeave,
    ClientMsg,
    ClientPing,
    ClientQuit,
    ClientTo,
    ClientTyping,
    ClientUnblock,
    ClientWho,
    NodeAck,
    NodeAway,
    NodeBack,
    NodeBlocked,
    NodeBye,
    NodeError,
    NodeFrame,
    NodeInvited,
    NodeLeft,
    NodeMissed,
    NodeMoving,
    NodeMsg,
    NodePaired,
    NodePong,
    NodePresence,
    NodeReplaced,
    NodeRinging,
    NodeTyping,
    NodeUnblocked,
    NodeUnconfirmed,
    NodeWelcome,
    decode_ascii,
    decode_client,
    encode,
    encode_all,
)

_REFUSALS: Final = (BadFrame, *REFUSALS)


def _claim(frame: ClientHello) -> Claim:
    if frame.token is None:
        return Claim(frame.name, frame.acks, None, frame.ask, frame.auth)
    resume = Resume(frame.token, frame.chat, frame.sent, frame.last, frame.left, frame.at)
    return Claim(frame.name, frame.acks, resume, frame.ask, frame.auth)


COMMANDS: Final[Mapping[type[ClientFrame], Callable[[Any], Command]]] = {
    ClientHello: _claim,
    ClientTo: lambda frame: Call(frame.name, frame.ref),
    ClientCancel: lambda frame: Cancel(frame.ref),
    ClientAccept: lambda frame: AcceptCall(frame.chat, frame.ref),
    ClientDecline: lambda frame: DeclineCall(frame.chat, frame.ref),
    ClientBlock: lambda frame: Block(frame.name, frame.ref),
    ClientUnblock: lambda frame: Unblock(frame.name, frame.ref),
    ClientTyping: lambda frame: NotifyTyping(frame.chat),
    ClientMsg: lambda frame: Say(frame.text, frame.id, frame.chat),
    ClientAck: lambda frame: Acknowledge(frame.id, frame.chat),
    ClientLeave: lambda frame: Leave(frame.chat, frame.ref),
    ClientWho: lambda frame: Who(frame.name, frame.ref),
    ClientPing: lambda _: Ping(),
    ClientQuit: lambda frame: Quit(frame.now),
}


def _welcome(event: Welcome) -> NodeWelcome:
    return NodeWelcome(
        v=VERSION,
        name=event.name,
        token=event.token,
        resumed=event.resumed,
        grace=_seconds(event.grace),
        window=event.window,
        window_bytes=event.window_bytes,
        ping=_seconds(event.ping),
        node=event.node,
        max_line=event.max_line,
    )


def _refused(event: Refused) -> NodeError:
    supported = SUPPORTED if event.code is Code.BAD_VERSION and event.supported is None else event.supported
    return NodeError(event.code, event.message, event.id, event.name, event.expected, supported, event.ref)


def _seconds(value: float) -> float:
    """Return whole seconds as an integer, so that JSON shows no fraction."""
    return int(value) if value == int(value) else value


FRAMES: Final[Mapping[type[Event], Callable[[Any], NodeFrame]]] = {
    Welcome: _welcome,
    Paired: lambda event: NodePaired(
        event.name, event.chat, event.acks, event.resumed, event.last, event.at, event.ref
    ),
    Unconfirmed: lambda event: NodeUnconfirmed(event.first, event.last, event.reason, event.chat),
    Away: lambda event: NodeAway(event.name, _seconds(event.grace), event.chat),
    Back: lambda event: NodeBack(event.name, event.chat),
    Left: lambda event: NodeLeft(event.name, event.reason, event.chat, event.ref),
    Known: lambda event: NodePresence(event.name, event.state, event.ref),
    Invited: lambda event: NodeInvited(event.name, event.chat, _seconds(event.wait)),
    Missed: lambda event: NodeMissed(event.name, event.chat, event.ref),
    Rings: lambda event: NodeRinging(event.name, _seconds(event.wait), event.chat, event.ref),
    Blocked: lambda event: (NodeBlocked if event.on else NodeUnblocked)(event.name, event.ref),
    PartnerTyping: lambda event: NodeTyping(event.name, event.chat),
    Moving: lambda _: NodeMoving(),
    Replaced: lambda _: NodeReplaced(),
    Refused: _refused,
    Pong: lambda _: NodePong(),
    Bye: lambda _: NodeBye(),
}


class JsonDialect:
    """The dialect of JSON objects, one a line."""

    def parse(self, line: bytes, named: bool) -> Command:
        """Return the command in the line. `hello` must be the first frame of a session, and no other may be one."""
        try:
            frame = decode_ascii(line) if line.isascii() else decode_client(line)
        except _REFUSALS as error:
            bad = error if isinstance(error, BadFrame) else bad_frame(line, error)
            # A second `hello` is an error whatever its version.
            return Malformed(Code.BAD_FRAME if named else bad.code, bad.message, bad.about)
        if type(frame) is ClientMsg and named:  # nearly all frames
            return Say(frame.text, frame.id, frame.chat)
        if named is isinstance(frame, ClientHello):
            return _out_of_place(frame, named)
        return COMMANDS[type(frame)](frame)

    def too_long(self, mark: TooLong) -> Malformed:
        """Return the refusal of a line that was too long, with the type and id that its beginning shows."""
        return too_long(mark, about_beginning(mark.beginning))

    def more(self, said: Say, lines: Iterable[Line], most: int, room: int) -> list[str]:
        """Return the texts of the `msg` frames that follow with the next ids and the same `chat`."""
        assert said.id is not None
        texts, id, chat = list[str](), said.id, said.chat
        for line in islice(lines, most):
            if type(line) is not bytes or len(line) > room:
                break
            try:
                frame = decode_ascii(line) if line.isascii() else decode_client(line)
            except _REFUSALS:
                break
            id += 1
            if type(frame) is not ClientMsg or frame.id != id or frame.chat != chat:
                break
            room -= len(line)
            texts.append(frame.text)
        return texts

    def render(self, event: Event) -> bytes:
        """Return the frame of the event, or one frame for each of several messages."""
        if type(event) is Messages:
            texts = event.texts
            if len(texts) == 1:
                return encode_all((NodeMsg(event.id, event.sender, event.chat, texts[0], event.at),))
            sender, chat, at = event.sender, event.chat, event.at
            return encode_all([NodeMsg(id, sender, chat, text, at) for id, text in enumerate(texts, event.id)])
        if type(event) is Acked:
            return encode_all((NodeAck(event.id, event.chat, event.at),))
        return encode(FRAMES[type(event)](event))


def _out_of_place(frame: ClientFrame, named: bool) -> Malformed:
    message = "a second hello" if named else "nothing may come before hello"
    about = About(getattr(frame, "id", None), getattr(frame, "name", None), getattr(frame, "ref", None))
    return Malformed(Code.BAD_FRAME, message, about)


JSON: Final = JsonDialect()
