"""Without a terminal: lines in, lines out, one chat.

Input lines wait for the chat and for room in the window. At the end of the input everything said is waited for; a
program that was started with an empty input and without `--to` is there to listen, and ends when its partner leaves.
"""

from collections.abc import Callable

from pairchat.client import Chat
from pairchat.errors import ConnectionLost, NameLost, PairchatError, Refused
from pairchat.escape import lines, word
from pairchat.events import DeliveryStatus, Left, Lost, Message, Paired, Settled
from pairchat.retry import call_with_retry
from pairchat.stdio import LineReader, LineTooLong, StreamFailed, write_all
from pairchat.tasks import alongside
from pairchat.wording import Exit, notice, refusal, unsettled


class Pipe:
    """One chat between a file to read from and a file to write to."""

    _chat: Chat

    def __init__(self, source: int, sink: int, say: Callable[[str], None]) -> None:
        """`say` gets each line beside the chat, to be told at once. Raises `StreamFailed`."""
        self._input = LineReader(source)
        self._listening = self._input.over()  # asked now, because a call may come as soon as we have a name
        self._sink = sink
        self._tell = say
        self._status = Exit.OK
        self._with: str | None = None  # the partner whose leaving ends this
        self._input_over = False
        self._line = 0

    async def run(self, chat: Chat, to: str | None, *, wait: bool = False) -> Exit:
        """Chat until the input or the chat is over.

        Raises `PairchatError` if the connection or the name is lost, `StreamFailed` if input or output are no good.
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
            await alongside(self._print, self._feed)
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
                    if event.resumed and self._with is None:  # a program before us was in this chat
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
                return  # nothing to say: the printer listens on
            await self._chat.settled()
            await self._chat.quit()
        except (ConnectionLost, NameLost):
            return  # the printer meets it too, after everything that was told before

    async def _next(self) -> bytes | None:
        while True:
            self._line += 1
            try:
                return await self._input.line()
            except LineTooLong:
                self._not_sent("it is too long")

    async def _send(self, line: bytes) -> None:
        """Send one line. An empty one is nothing to say."""
        if not line:
            return
        partner = await self._chat.paired()
        self._with = self._with or partner
        try:
            if partner != self._with:  # one left, another called: what was written for one is not for the other
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
    """Each line of a text under the sender's name, so that no text can pass for somebody else's."""
    return b"".join(f"{word(message.sender)}: {line}\n".encode() for line in lines(message.text))
