"""This module is the mode without a terminal: it reads and writes lines of text, for one chat.

Input lines wait for the chat and for room in the window. At the end of the input the program waits for the outcome of
every text. A program that was started with an empty input and without `--to` listens, and ends when its partner leaves.
"""

from collections.abc import Callable

from pairchat.call_retry import call_with_retry
from pairchat.client import Chat
from pairchat.errors import ConnectionLost, NameLost, PairchatError, Refused
from pairchat.escape import lines, word
from pairchat.events import DeliveryStatus, Left, Lost, Message, Paired, Settled
from pairchat.run_alongside import run_alongside
from pairchat.stdio import LineReader, LineTooLong, StreamFailed, write_all
from pairchat.wording import Exit, notice, refusal, unsettled


class Pipe:
    """One chat that reads texts from one file and writes them to another."""

    _chat: Chat

    def __init__(self, source: int, sink: int, say: Callable[[str], None]) -> None:
        """Create it. `say` shows each notice at once, beside the chat. Raises `StreamFailed`."""
        self._input = LineReader(source)
        self._listening = self._input.over()  # checked now, because a call may arrive as soon as we have a name
        self._sink = sink
        self._tell = say
        self._status = Exit.OK
        self._with: str | None = None  # the partner; the program ends when that one leaves
        self._input_over = False
        self._line = 0

    async def run(self, chat: Chat, to: str | None, *, wait: bool = False) -> Exit:
        """Chat until the input or the chat is over.

        Raises `PairchatError` if the connection or the name is lost, `StreamFailed` if the input or output fails.
        """
        self._chat = chat
        self._input.limit = chat.max_line
        if to is not None:
            self._listening = False
            try:
                self._with = await call_with_retry(chat, to, wait=wait)
            except Refused as error:
                self._say(refusal(error))
                return Exit.PARTNER
        try:
            await run_alongside(self._print, self._feed)
        except (PairchatError, StreamFailed):
            for text in self._chat.pending:
                self._say(unsettled(text))
            raise
        return self._status

    async def _print(self) -> None:
        async for event in self._chat:
            if said := notice(event):
                self._say(said)
            match event:
                case Message():
                    await write_all(self._sink, _plain(event))
                case Settled() if event.text.fate is not DeliveryStatus.DELIVERED:
                    self._status = Exit.NOT_CONFIRMED
                case Paired():
                    if event.resumed and self._with is None:  # an earlier program began this chat
                        self._say(f"You are chatting with {word(event.name)}.")
                    self._with = self._with or event.name
                case Left() if event.name == self._with:
                    if not self._input_over:
                        self._status = self._status or Exit.PARTNER
                    return
                case Lost():
                    raise NameLost(event.message)

    async def _feed(self) -> None:
        try:
            while (line := await self._next()) is not None:
                await self._send(line)
            self._input_over = True
            if self._listening or (self._with is None and self._chat.partner is None):
                return  # there is nothing to send; `_print` goes on
            await self._chat.settled()
            await self._chat.quit()
        except (ConnectionLost, NameLost):
            return  # `_print` gets the same error after the earlier events

    async def _next(self) -> bytes | None:
        while True:
            self._line += 1
            try:
                return await self._input.line()
            except LineTooLong:
                self._not_sent("it is too long")

    async def _send(self, line: bytes) -> None:
        """Send one line as a text. An empty line is ignored."""
        if not line:
            return
        partner = await self._chat.paired()
        self._with = self._with or partner
        try:
            if partner != self._with:  # the first partner left and another one called, for whom the line is not meant
                raise Refused("not_paired", "")
            await self._chat.send(line.decode())
        except UnicodeDecodeError:
            self._not_sent("it is not UTF-8")
        except Refused as error:
            self._not_sent(refusal(error))

    def _say(self, line: str) -> None:
        self._tell(f"* {line}")

    def _not_sent(self, why: str) -> None:
        self._say(f"Line {self._line} was not sent: {why}")
        self._status = Exit.NOT_CONFIRMED


def _plain(message: Message) -> bytes:
    """Return the lines of a text, each under the sender's name, so that no text can pass for another sender's."""
    return b"".join(f"{word(message.sender)}: {line}\n".encode() for line in lines(message.text))
