"""A pair of users who chat: how many messages may be sent now, and their outcome. No I/O."""

from collections import Counter
from enum import Enum, auto
from typing import Final

from relay.tools.bench.client_dialects import Heard, Speech
from relay.tools.bench.histogram import Histogram
from relay.tools.bench.run_settings import MAX_IN_FLIGHT

MAX_LINE: Final = 1 << 20  # bytes; a longer line doesn't come from a relay


class Stage(Enum):
    """The state of one user."""

    GREETING = auto()
    FREE = auto()
    PAIRED = auto()
    ENDED = auto()  # it was refused, or its chat or connection is over


class End:
    """One user."""

    def __init__(self, name: str, speech: Speech) -> None:
        self.name = name
        self.stage = Stage.GREETING
        self.complaints: Counter[str] = Counter()
        self.later = False  # the last request has to be repeated
        self.received = 0
        self.answered = 0
        self.unconfirmed = 0
        self.window = MAX_IN_FLIGHT
        self._speech = speech
        self._rest = b""

    def feed(self, data: bytes) -> Heard | None:
        """Return what the lines in this data mean, or None if no line is complete yet."""
        block, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        if len(rest) > MAX_LINE:
            self.end("a line without end")
        if not newline:
            return None
        heard = self._speech.read(block + newline)
        self._note(heard)
        return heard

    def _note(self, heard: Heard) -> None:
        self.received += sum(heard.stamps.values())
        self.answered = max(self.answered, heard.answered)
        self.unconfirmed += heard.unconfirmed
        self.window = heard.window or self.window
        if heard.greeted:
            self.stage = Stage.FREE
        if heard.paired:
            self.stage = Stage.PAIRED
        if heard.later:
            self._put_off()
        for complaint in heard.complaints:
            self.end(complaint)

    def _put_off(self) -> None:
        if self.stage is Stage.PAIRED:
            self.end("unavailable")
        else:
            self.later = True

    def end(self, complaint: str) -> None:
        """Record an error and send nothing more, because the ids may be out of step."""
        self.stage = Stage.ENDED
        self.complaints[complaint] += 1


class Pair:
    """A sender, a receiver, and the messages from the one to the other."""

    def __init__(self, number: int, tag: str, speech: Speech, *, in_flight: int, answers: bool) -> None:
        self.number = number
        self.sender = End(f"{tag}s{number}", speech)
        self.receiver = End(f"{tag}r{number}", speech)
        self.sent = 0
        self._speech = speech
        self._in_flight = in_flight
        self._answers = answers  # the dialect reports the outcome of each message

    @property
    def ready(self) -> bool:
        """Whether both are in the chat."""
        return self.sender.stage is Stage.PAIRED and self.receiver.stage is Stage.PAIRED

    @property
    def answered(self) -> int:
        """The number of messages whose outcome the sender knows."""
        return self.sender.answered if self._answers else self.sent

    @property
    def settled(self) -> bool:
        """Whether no message is in flight any more."""
        return self.receiver.received >= self.sent and self.answered >= self.sent

    def room(self) -> int:
        """Return how many messages may be sent now."""
        if not self.ready:
            return 0
        free = self._in_flight - (self.sent - self.receiver.received)
        return max(0, min(free, self.sender.window - (self.sent - self.answered)))

    def say(self, count: int, stamp: int) -> bytes:
        """Return the bytes of `count` messages, each stamped with the time in nanoseconds."""
        first = self.sent + 1
        self.sent += count
        return self._speech.say(first, count, stamp)

    def hear(self, data: bytes, now: int, latencies: Histogram | None) -> bytes:
        """Handle data that the receiver read, and return its answer."""
        heard = self.receiver.feed(data)
        if heard is None or not heard.stamps:
            return b""
        if latencies is not None:
            for stamp, count in heard.stamps.items():
                latencies.add(now - int(stamp), count)
        return self._speech.confirm(heard.last)
