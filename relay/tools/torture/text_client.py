"""A text client: it types as a person would into `nc`, and reads the answers. No I/O."""

import re
from collections.abc import Sequence
from random import Random
from typing import Final

from relay.tools.torture.history import End, Heard, History, Kind, Said, Session, View, close
from relay.tools.torture.user_moves import Move, Moves

_MESSAGE: Final = re.compile(r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\] (\S+): \((.*)\)")
_PAIRED: Final = re.compile(r"\* (?:You are chatting with (\S+)|(\S+) is chatting with you)\.")
_LEFT: Final = re.compile(r"\* \S+ left the chat\.|Quit\.")
_UNSURE: Final = re.compile(r"\* May not have arrived: (\S+).*")
# Answers that change nothing.
_NOTED: Final = re.compile(
    r"the user \S+ is not exist|\* \S+ is talking with someone else\.|\* \S+ is away\.|\* \S+ is back\."
    r"|\* Not possible right now, try again\.|Please don't try to talk with yourself\."
)
_GOING: Final = "* This node is going away; please reconnect."
_NAME_LOST: Final = "* Your name now belongs to another connection."
_ALONE: Final = "Nobody is chating"


class TextClient:
    """One user of the text dialect. `feed` handles data from the node, and `act` decides what to do next."""

    kind = Kind.PERSON

    def __init__(
        self, name: str, history: History, rng: Random, names: Sequence[str] = (), *, stranger: bool = False
    ) -> None:
        self.name = name
        self.stranger = stranger
        self.session: Session | None = None
        self.partner = ""
        self.done = False
        self.refused = False  # the client has to disconnect, and try again later
        self._history = history
        self._rng = rng
        self._moves = Moves(rng, [other for other in names if other != name])
        self._serial = 0
        self._node = -1
        self._buffer = b""
        self._quit_at: float | None = None

    @property
    def ready(self) -> bool:
        """Whether this client owns its name and is connected."""
        return self.session is not None

    @property
    def settled(self) -> bool:
        """Whether it is ready. It has no outcomes to wait for, because a text client isn't told what arrived."""
        return self.ready

    def opened(self, node: int) -> bytes:
        """Begin a connection to a node. Returns what to send first."""
        self._node, self.done, self.refused, self._quit_at, self._buffer = node, False, False, None, b""
        return f"{self.name}\n".encode()

    def closed(self, at: float) -> None:
        """Note that the connection is gone, and with it the session."""
        if self.session is not None:
            close(self.session, End.BROKEN, at if self._quit_at is None else self._quit_at)
        self.session, self.partner = None, ""

    give_up = closed

    def feed(self, data: bytes, at: float) -> bytes:
        """Handle data from the node. Returns nothing to send, because a text client answers nothing."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._take(line.decode(), at)
        return b""

    def _take(self, line: str, at: float) -> None:
        if self.session is None:
            self._answered(line, at)
        elif found := _MESSAGE.fullmatch(line):
            key = found[2].split(" ")[0]
            self._history.heard.append(Heard(key, self.session.serial, "", found[1], at))
            if found[1] != self.partner:
                self._odd(f"a message of {found[1]}, while with {self.partner or 'nobody'}")
        elif found := _PAIRED.fullmatch(line):
            self.partner = found[1] or found[2]
            self._history.paired(self.session, self.partner, at)
        elif found := _UNSURE.fullmatch(line):
            self._unsure(found[1])
        elif line == "Quit":
            close(self.session, End.QUIT, at if self._quit_at is None else self._quit_at)
            self.session, self.partner, self.done = None, "", True
        elif _LEFT.fullmatch(line):
            self.partner = ""
        elif line == _NAME_LOST:
            close(self.session, End.NAME_LOST, at)
            self.session, self.partner, self.refused = None, "", True
        elif line.startswith(_ALONE):
            self.session.refusals += 1
        elif line == _GOING:
            pass  # the connection ends next
        elif not _NOTED.fullmatch(line):
            self._odd(f"the line {line!r}")

    def _answered(self, line: str, at: float) -> None:
        if self.refused:
            pass  # a line after the loss of the name
        elif line == "OK":
            self.session = self._history.begin(self.name, self.kind, at, self._node, stranger=self.stranger)
        elif line == "Reuse" or line.startswith("* Not possible") or line == _GOING:
            self.refused = True
        elif not self.done:
            self._odd(f"the answer {line!r} to a name")

    def _unsure(self, key: str) -> None:
        said = self._history.said.get(key)
        if said is None:
            self._odd(f"a report about {key}, which was never said")
        else:
            said.outcomes.append("unsure")

    def act(self, at: float) -> tuple[bytes, Move]:
        """Draw the next move. Returns it with the bytes to send."""
        move = self._moves.next(self.partner, sane=self._quit_at is None)
        match move:
            case Move.SAY if self.partner:
                return b"".join(self._say(at) for _ in range(self._rng.randint(1, 4))), move
            case Move.CALL:
                return f"To:{self._moves.someone()}\n".encode(), move
            case Move.LEAVE | Move.QUIT:  # a text client can't leave otherwise
                return self.quit(at), Move.QUIT
        return b"", move

    def nudge(self) -> bytes:
        """Return an empty line, which the node ignores."""
        return b"\n"

    def quit(self, at: float) -> bytes:
        """Return the line that releases the name."""
        self._quit_at = at
        return b"Quit\n"

    def call(self, name: str) -> bytes:
        """Return the line that calls a user."""
        return f"To:{name}\n".encode()

    def _say(self, at: float) -> bytes:
        assert self.session is not None
        self._serial += 1
        key = f"{self.name}/{self._serial}"
        self._history.said[key] = Said(key, self.session.serial, self.partner, "", at)
        return f"{key} {'y' * self._rng.choice((0, 0, 30, 300))}\n".encode()

    def view(self) -> View | None:
        """Return the partner that the client believes to have, or None without a session."""
        if self.session is None:
            return None
        return View(self.session.serial, self.name, self.kind, self.partner, "")

    def _odd(self, what: str) -> None:
        self._history.oddities.append(f"{self.name}: {what}")
