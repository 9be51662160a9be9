"""Mail between two nodes: once, in order, whatever pub/sub loses. No I/O.

Each direction is a stream of numbered frames. The receiver acknowledges what it has got in order, with its own frames
or, where it has nothing to say, with a frame of its own after a short while. Only the lack of that acknowledgement, or
a frame that says what is missing, makes the sender send again: how slowly a client reads plays no part. A receiver
that gave the sender up for dead has forgotten the stream and misses frames that it had acknowledged before; then the
sender starts a new stream, and the sessions settle among themselves what was lost with the old one.

Frame: version, kind, uid of the sender, its stream and number, stream and number of what it acknowledges, body.
"""

import secrets
import struct
from collections import deque
from enum import IntEnum
from typing import Final

from msgspec import Struct

from relay.bus.fair_queue import FairQueue, cost
from relay.metrics import Counts
from relay.session.peer_messages import VERSION, Mail, encode

_HEADER: Final = struct.Struct("!BB16s8sQ8sQ")
HEADER_BYTES: Final = _HEADER.size
NODE_ID_LENGTH: Final = 16
_NO_STREAM: Final = bytes(8)

# Without an acknowledgement for so long a frame is sent again. Far above any round trip; gaps are reported at once.
RESEND_SECONDS: Final = 0.5
# An acknowledgement waits so long for a frame that can carry it.
ACK_SECONDS: Final = 0.05
# More frames than this without one, and it doesn't wait.
ACK_FRAMES: Final = 32
# A gap is reported again after this, if nothing has filled it.
REPORT_SECONDS: Final = 0.1
RESEND_MAX_SECONDS: Final = 4.0  # the pause doubles up to this while nothing is heard
# Bytes of mail in one frame: a fraction of a millisecond of anyone's time, well below a server's output buffers.
FRAME_BYTES: Final = 64 * 1024
# Bytes under way without acknowledgement; what comes beyond waits, where it can be shared out. More would wait in Redis
# or the other node, ahead of everyone: beside 2,000 floods others' words took 6 ms with this, 11 with 1 MiB (medians).
# At a round trip of 1 ms it still is 250 MB a second.
FLIGHT_BYTES: Final = 256 * 1024
# Bytes after which an acknowledgement doesn't wait: the sender must not run dry.
ACK_BYTES: Final = 64 * 1024
# So many pieces of mail are packed before anyone looks how large they are: they mostly fit, and to look costs more.
FEW: Final = 32


class Kind(IntEnum):
    """What a frame is for."""

    MAIL = 1
    ACK = 2  # acknowledges only
    MISSING = 3  # acknowledges, and asks for everything after it once more
    PROBE = 4  # a node to itself
    ROLL_CALL = 5  # to everyone: has anyone users? Then write them back, for Redis has forgotten some
    HERE = 6  # the answer
    FAREWELL = 7  # to everyone: this node ends now
    DRAIN = 8  # from an operator to everyone: the node whose uid is the body has to end
    KICK = 9  # likewise: so has the session that owns the name in the body


_KINDS: Final = {int(kind): kind for kind in Kind}
# What every frame asks for: on Python 3.11 a member looked up in its class costs ten times a global.
MAIL: Final = Kind.MAIL
MISSING: Final = Kind.MISSING


class Frame(Struct, frozen=True, gc=False):
    """One frame, taken apart."""

    kind: Kind
    node_id: str
    stream: bytes
    number: int
    ack_stream: bytes
    ack: int
    body: bytes


class BadFrame(ValueError):
    """Bytes that are no frame of this version."""


def pack(
    kind: Kind,
    node_id: str,
    stream: bytes,
    number: int,
    ack_stream: bytes = _NO_STREAM,
    ack: int = 0,
    body: bytes = b"",
) -> bytes:
    """A frame as bytes."""
    return _HEADER.pack(VERSION, kind, node_id.encode(), stream, number, ack_stream, ack) + body


def note(kind: Kind, node_id: str, number: int = 0, body: bytes = b"") -> bytes:
    """A frame outside any stream."""
    return pack(kind, node_id, _NO_STREAM, number, body=body)


def unpack(raw: bytes) -> Frame:
    """Take a frame apart. Raises BadFrame: whoever reaches Redis can send anything."""
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
    """Both directions between this node (`node_id`) and one other."""

    def __init__(self, node_id: str, counts: Counts) -> None:
        self._node_id = node_id
        self._counts = counts
        self.outbox: list[Mail] = []
        self._fair_queue = FairQueue()  # came before that, and waits for acknowledgements
        self.flushed = float("-inf")  # when mail last left
        self.heard = float("-inf")  # when a frame last came
        self._new_stream()
        self._their_stream = _NO_STREAM
        self._got = 0  # number of the last frame taken in order
        self._pending_acks = 0  # frames taken since the last acknowledgement
        self._pending_ack_bytes = 0
        self._owed_since = 0.0
        self._reported = float("-inf")

    def _new_stream(self) -> None:
        self._stream = secrets.token_bytes(8)
        self._number = 0
        self._acked = 0
        self._flight = 0  # bytes in `_sent`
        self._rto = RESEND_SECONDS
        self._sent: deque[_Sent] = deque()

    @property
    def quiet(self) -> bool:
        """Nothing is under way or owed: no timer needed."""
        return not (self._sent or self._pending_acks or self.waiting)

    @property
    def waiting(self) -> bool:
        """There is mail that has still to leave."""
        return bool(self.outbox or self._fair_queue)

    @property
    def full(self) -> bool:
        """As much is under way as may be at once: mail has to wait."""
        return self._flight >= FLIGHT_BYTES

    @property
    def under_way(self) -> int:
        """Frames without acknowledgement."""
        return len(self._sent)

    def flush(self, now: float) -> list[bytes]:
        """Frames for the mail that waits, as far as it may be under way at once."""
        if self._fair_queue:
            return self._catch_up(now)
        frames, outbox, start = [], self.outbox, 0
        while start < len(outbox) and self._flight < FLIGHT_BYTES:
            body, end = _pack_mail(outbox, start)
            frames.append(self._send(body, end - start, now))
            start = end
        if start < len(outbox):
            self._fair_queue.extend(outbox[start:])
        self.outbox = []
        return frames

    def _catch_up(self, now: float) -> list[bytes]:
        """Frames for mail that has waited: shared out, so that nobody waits for the floods of others."""
        self._fair_queue.extend(self.outbox)
        self.outbox, frames = [], []
        while self._fair_queue and self._flight < FLIGHT_BYTES:
            mail = self._fair_queue.take(FRAME_BYTES)
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
        return pack(
            MAIL, self._node_id, self._stream, sent.number, ack_stream=self._their_stream, ack=self._got, body=sent.body
        )

    def take(self, frame: Frame, now: float) -> tuple[bool, list[bytes]]:
        """Handle a frame of this link. Returns whether its body is to be delivered, and frames to send back."""
        replies = self._acknowledged(frame, now)
        if frame.kind is not MAIL:
            return False, replies
        if frame.stream != self._their_stream:
            self._their_stream, self._got, self._pending_acks, self._reported = frame.stream, 0, 0, float("-inf")
        if frame.number == self._got + 1:
            self._got += 1
            if not self._pending_acks:
                self._owed_since = now
            self._pending_acks += 1
            self._pending_ack_bytes += len(frame.body)
            if self._pending_acks >= ACK_FRAMES or self._pending_ack_bytes >= ACK_BYTES:
                replies.append(self._answer(Kind.ACK))
            return True, replies
        if frame.number <= self._got:  # sent again although it is here: say so
            self._pending_acks = max(self._pending_acks, 1)
        elif now - self._reported > REPORT_SECONDS:
            self._reported = now
            self._counts.gaps += 1
            replies.append(self._answer(MISSING))
        return False, replies

    def _acknowledged(self, frame: Frame, now: float) -> list[bytes]:
        if frame.ack_stream != self._stream:
            return []
        ack, sent = frame.ack, self._sent
        self._acked = max(self._acked, min(ack, self._number))
        while sent and sent[0].number <= ack:
            self._flight -= len(sent.popleft().body)
            self._rto = RESEND_SECONDS
        return self.retransmit(now) if frame.kind is MISSING else []

    def lost(self, frame: Frame) -> bool:
        """Whether the frame says that our stream was forgotten; then a new one begins, without what was under way.

        To be asked before `take`.
        """
        if frame.kind is not MISSING or frame.ack_stream != self._stream or frame.ack >= self._acked:
            return False
        self._counts.resets += 1
        self._new_stream()
        return True

    def retransmit(self, now: float) -> list[bytes]:
        """Everything under way, once more."""
        self._counts.frames_resent += len(self._sent)
        for sent in self._sent:
            sent.at = now
        return [self._pack(sent) for sent in self._sent]

    def request_retransmit(self) -> bytes:
        """Ask for whatever came while we couldn't hear."""
        return self._answer(MISSING)

    def _answer(self, kind: Kind) -> bytes:
        self._pending_acks = self._pending_ack_bytes = 0
        return pack(kind, self._node_id, _NO_STREAM, 0, ack_stream=self._their_stream, ack=self._got)

    def tick(self, now: float) -> list[bytes]:
        """What has become due: an acknowledgement without a frame to ride on, frames that were never acknowledged."""
        frames = []
        if self._sent and now - self._sent[0].at > self._rto:
            self._rto = min(2 * self._rto, RESEND_MAX_SECONDS)
            frames = self.retransmit(now)
        if self._pending_acks and now - self._owed_since > ACK_SECONDS:
            frames.append(self._answer(Kind.ACK))
        return frames


def _pack_mail(mail: list[Mail], start: int) -> tuple[bytes, int]:
    """The body of the frame that begins at `start`, and where it ends."""
    end = len(mail)
    if end - start <= FEW and (len(body := encode(mail[start:])) <= FRAME_BYTES or end == start + 1):
        return body, end
    end = _frame_end(mail, start)
    return encode(mail[start:end]), end


def _frame_end(mail: list[Mail], start: int) -> int:
    """Where the frame that begins at `start` ends: at least one piece of mail, and no more once it's large."""
    room = FRAME_BYTES
    for index in range(start, len(mail)):
        room -= cost(mail[index])
        if room <= 0:
            return index + 1
    return len(mail)
