"""A link delivers peer messages between two nodes once and in order, whatever pub/sub loses. No I/O.

Each direction is a stream of numbered frames. The receiver acknowledges the frames that it has received in order. The
acknowledgement rides on its own frames or, if it has none, on an empty frame after a short delay. The sender
retransmits only if that acknowledgement is missing or a frame reports a gap: how slowly a client reads plays no part. A
receiver that took the sender for dead has forgotten the stream, and reports frames as missing that it had acknowledged.
The sender then starts a new stream, and the sessions reconcile what was lost with the old one.

A frame has a version, a kind, the sender's node id, its stream and number, the stream and number that it acknowledges,
and a body.
"""

import struct
from collections import deque
from enum import IntEnum
from typing import Final

from msgspec import Struct

from relay.bus.fair_queue import FairQueue, cost
from relay.entropy import entropy
from relay.metrics import Counts
from relay.session.peer_messages import VERSION, Mail, encode

_HEADER: Final = struct.Struct("!BB16s8sQ8sQ")
HEADER_BYTES: Final = _HEADER.size
NODE_ID_LENGTH: Final = 16
_NO_STREAM: Final = bytes(8)

# The initial retransmission timeout. It is far above any round trip, as gaps are reported at once.
RESEND_SECONDS: Final = 0.5
# How long an acknowledgement waits for a frame that can carry it.
ACK_SECONDS: Final = 0.05
# The number of unacknowledged frames from which an acknowledgement doesn't wait.
ACK_FRAMES: Final = 32
# The interval at which a gap that isn't filled is reported again.
REPORT_SECONDS: Final = 0.1
RESEND_MAX_SECONDS: Final = 4.0  # the timeout doubles up to this without an acknowledgement
# The largest body of a frame of several messages. It takes a fraction of a millisecond to handle, and is well below the
# output buffer limits of a server.
FRAME_BYTES: Final = 64 * 1024
# The number of unacknowledged bytes from which messages wait here, in the fair queue. With more, they would wait in
# Redis or the other node, ahead of everyone: beside 2,000 floods, other messages took 6 ms with this, and 11 ms with
# 1 MiB (medians). At a round trip of 1 ms it still allows 250 MB a second.
FLIGHT_BYTES: Final = 256 * 1024
# The number of unacknowledged bytes from which an acknowledgement doesn't wait, so that the sender doesn't stall.
ACK_BYTES: Final = 64 * 1024
# Up to this number, messages are packed before their size is checked: they mostly fit, and to count the bytes of each
# costs more than to pack it.
FEW: Final = 128


class Kind(IntEnum):
    """The purpose of a frame."""

    MAIL = 1
    ACK = 2  # acknowledges only
    MISSING = 3  # acknowledges, and asks to retransmit everything after that
    PROBE = 4  # from a node to itself
    ROLL_CALL = 5  # to all nodes: Redis has lost records, so nodes with users answer and write theirs again
    HERE = 6  # the answer to a roll call
    FAREWELL = 7  # to all nodes: the sender stops now
    DRAIN = 8  # from an operator to all nodes: the node whose id is the body has to stop
    KICK = 9  # from an operator to all nodes: the session that owns the name in the body has to end


_KINDS: Final = {int(kind): kind for kind in Kind}
# Every frame is compared with these. On Python 3.11 the look-up of an enum's member costs ten times that of a global.
MAIL: Final = Kind.MAIL
MISSING: Final = Kind.MISSING


class Frame(Struct, frozen=True, gc=False):
    """A parsed frame."""

    kind: Kind
    node_id: str
    stream: bytes
    number: int
    ack_stream: bytes
    ack: int
    body: bytes


class BadFrame(ValueError):
    """The bytes aren't a frame of this version."""


def pack(
    kind: Kind,
    node_id: str,
    stream: bytes,
    number: int,
    ack_stream: bytes = _NO_STREAM,
    ack: int = 0,
    body: bytes = b"",
) -> bytes:
    """Return a frame as bytes."""
    return _HEADER.pack(VERSION, kind, node_id.encode(), stream, number, ack_stream, ack) + body


def note(kind: Kind, node_id: str, number: int = 0, body: bytes = b"") -> bytes:
    """Return a frame outside any stream as bytes."""
    return pack(kind, node_id, _NO_STREAM, number, body=body)


def unpack(raw: bytes) -> Frame:
    """Parse a frame. Raises BadFrame, as anyone with access to Redis can publish any bytes."""
    if len(raw) < HEADER_BYTES:
        raise BadFrame("too short")
    version, kind, node_id, stream, number, ack_stream, ack = _HEADER.unpack_from(raw)
    if version != VERSION:
        raise BadFrame(f"version {version}")
    try:
        sender = node_id.decode("ascii")
        return Frame(_KINDS[kind], sender, stream, number, ack_stream=ack_stream, ack=ack, body=raw[HEADER_BYTES:])
    except (KeyError, ValueError) as error:
        raise BadFrame(str(error)) from None


class _Sent(Struct):
    number: int
    body: bytes
    at: float


class Link:
    """Both directions between this node (`node_id`) and another one."""

    def __init__(self, node_id: str, counts: Counts) -> None:
        self._node_id = node_id
        self._counts = counts
        self.outbox: list[Mail] = []
        self.fair_queue = FairQueue()  # older than the outbox; waits for acknowledgements
        self._sender = node_id.encode()
        self.flushed = float("-inf")  # time when a frame with messages last left
        self.heard = float("-inf")  # time when a frame last arrived
        self._new_stream()
        self.their_stream = _NO_STREAM
        self._got = 0  # number of the last frame received in order
        self._pending_acks = 0  # frames received since the last acknowledgement
        self._pending_ack_bytes = 0
        self._owed_since = 0.0
        self._reported = float("-inf")

    def _new_stream(self) -> None:
        self._stream = entropy.token_bytes(8)
        self._number = 0
        self._acked = 0
        self._flight = 0  # unacknowledged bytes, those in `_sent`
        self._rto = RESEND_SECONDS
        self._sent: deque[_Sent] = deque()

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way, queued or to be acknowledged, so that no timer is needed."""
        return not (self._sent or self._pending_acks or self.waiting)

    @property
    def waiting(self) -> bool:
        """Whether messages are queued."""
        return bool(self.outbox or self.fair_queue.heap)

    @property
    def full(self) -> bool:
        """Whether the bytes in flight have reached the bound, so that messages have to wait."""
        return self._flight >= FLIGHT_BYTES

    @property
    def under_way(self) -> int:
        """The number of unacknowledged frames."""
        return len(self._sent)

    def flush(self, now: float) -> list[bytes]:
        """Return frames for the queued messages, up to the limit of bytes under way."""
        if self.fair_queue.heap:
            return self._catch_up(now)
        outbox = self.outbox
        if 0 < len(outbox) <= FEW and self._flight < FLIGHT_BYTES and len(body := encode(outbox)) <= FRAME_BYTES:
            self.outbox = []  # nearly always they fit into one frame
            return [self._send(body, len(outbox), now)]
        frames, start = [], 0
        while start < len(outbox) and self._flight < FLIGHT_BYTES:
            body, end = _pack_mail(outbox, start)
            frames.append(self._send(body, end - start, now))
            start = end
        if start < len(outbox):
            self.fair_queue.extend(outbox[start:])
        self.outbox = []
        return frames

    def _catch_up(self, now: float) -> list[bytes]:
        """Return frames for messages that have waited, in fair order, so that nobody waits for the floods of others."""
        self.fair_queue.extend(self.outbox)
        self.outbox, frames = [], []
        while self.fair_queue.heap and self._flight < FLIGHT_BYTES:
            mail = self.fair_queue.take(FRAME_BYTES)
            frames.append(self._send(encode(mail), len(mail), now))
        return frames

    def _send(self, body: bytes, pieces: int, now: float) -> bytes:
        self._number += 1
        sent = _Sent(self._number, body, now)
        self._sent.append(sent)
        self._flight += len(body)
        self._counts.batches.observe(pieces)
        self.flushed = now
        return self._pack(sent)

    def _pack(self, sent: _Sent) -> bytes:
        self._pending_acks = self._pending_ack_bytes = 0
        header = _HEADER.pack(VERSION, MAIL, self._sender, self._stream, sent.number, self.their_stream, self._got)
        return header + sent.body

    def take(self, frame: Frame, now: float) -> tuple[bool, list[bytes]]:
        """Handle a frame of this link. Return whether to deliver its body, and frames to send back."""
        replies: list[bytes] = []
        if frame.ack_stream == self._stream:
            sent = self._sent  # forget our frames up to `ack`, which the other node has
            self._acked = max(self._acked, min(frame.ack, self._number))
            while sent and sent[0].number <= frame.ack:
                self._flight -= len(sent.popleft().body)
                self._rto = RESEND_SECONDS
            if frame.kind is MISSING:
                replies = self.retransmit(now)
        if frame.kind is not MAIL:
            return False, replies
        if frame.stream != self.their_stream:
            self.their_stream, self._got, self._pending_acks, self._reported = frame.stream, 0, 0, float("-inf")
        if frame.number == self._got + 1:
            self._got += 1
            if not self._pending_acks:
                self._owed_since = now
            self._pending_acks += 1
            self._pending_ack_bytes += len(frame.body)
            if self._pending_acks >= ACK_FRAMES or self._pending_ack_bytes >= ACK_BYTES:
                replies.append(self._answer(Kind.ACK))
            return True, replies
        if frame.number <= self._got:  # a duplicate: acknowledge again
            self._pending_acks = max(self._pending_acks, 1)
        elif now - self._reported > REPORT_SECONDS:
            self._reported = now
            self._counts.gaps += 1
            replies.append(self._answer(MISSING))
        return False, replies

    def lost(self, frame: Frame) -> bool:
        """Return whether the frame shows that the other node forgot our stream. If so, begin a new, empty one.

        A report of missing frames shows it, and so does the first message of a new stream of theirs: a node that has
        forgotten us calls a user here, say, and what we answered in the old stream would be lost. Both say that they
        have less of our stream than they have acknowledged before. Call this before `take`.
        """
        if frame.kind is MAIL and frame.stream != self.their_stream:
            forgot = self._acked > (frame.ack if frame.ack_stream == self._stream else 0)
        else:
            forgot = frame.kind is MISSING and frame.ack_stream == self._stream and frame.ack < self._acked
        if not forgot:
            return False
        self._counts.resets += 1
        self._new_stream()
        return True

    def retransmit(self, now: float) -> list[bytes]:
        """Return all unacknowledged frames, to be sent again."""
        self._counts.frames_resent += len(self._sent)
        for sent in self._sent:
            sent.at = now
        return [self._pack(sent) for sent in self._sent]

    def request_retransmit(self) -> bytes:
        """Return a frame that asks the other node to retransmit what was sent while we couldn't receive."""
        return self._answer(MISSING)

    def _answer(self, kind: Kind) -> bytes:
        self._pending_acks = self._pending_ack_bytes = 0
        return pack(kind, self._node_id, _NO_STREAM, 0, ack_stream=self.their_stream, ack=self._got)

    def tick(self, now: float) -> list[bytes]:
        """Return the frames that are due: a delayed acknowledgement, and retransmissions of unacknowledged frames."""
        frames = []
        if self._sent and now - self._sent[0].at > self._rto:
            self._rto = min(2 * self._rto, RESEND_MAX_SECONDS)
            frames = self.retransmit(now)
        if self._pending_acks and now - self._owed_since > ACK_SECONDS:
            frames.append(self._answer(Kind.ACK))
        return frames


def _pack_mail(mail: list[Mail], start: int) -> tuple[bytes, int]:
    """Return the body of the frame that begins with message `start`, and the index behind its last message."""
    end = len(mail)
    if end - start <= FEW and (len(body := encode(mail[start:])) <= FRAME_BYTES or end == start + 1):
        return body, end
    end = _frame_end(mail, start)
    return encode(mail[start:end]), end


def _frame_end(mail: list[Mail], start: int) -> int:
    """Return the index behind the last message of the frame that begins at `start`.

    It has at least one message, and ends with the one that fills it.
    """
    room = FRAME_BYTES
    for index in range(start, len(mail)):
        room -= cost(mail[index])
        if room <= 0:
            return index + 1
    return len(mail)
