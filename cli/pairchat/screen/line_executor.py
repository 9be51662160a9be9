"""This module carries out the lines that the user types, texts and commands, one after another."""

import time
from collections.abc import Awaitable, Callable

import anyio

from pairchat.call_retry import call_with_retry
from pairchat.client import Chat
from pairchat.errors import NameLost, Refused
from pairchat.escape import word
from pairchat.events import Invited
from pairchat.frame_handlers import same_name
from pairchat.screen.presenter import Presenter
from pairchat.screen.slash_commands import Wrong, help_text, parse
from pairchat.screen.transcript import Entry
from pairchat.screen.viewport import Viewport
from pairchat.wording import PRESENCE, refusal, sentence

TYPING_EVERY = 3.0  # seconds between two typing notices to the partner
PENDING_LINES = 100  # number of lines that may wait while another one is being carried out


class LineExecutor:
    """The user's actions in a session. `quit` ends the program."""

    def __init__(
        self, chat: Chat, presenter: Presenter, viewport: Viewport, quit: Callable[[], None], redraw: Callable[[], None]
    ) -> None:
        self._redraw = redraw
        self._told_typing = -TYPING_EVERY
        self._wait = False  # True while a call is repeated until it succeeds
        self._waiting = anyio.CancelScope()
        self._chat = chat
        self._presenter = presenter
        self._viewport = viewport
        self._quit = quit
        self.raw = False  # True while frames are shown
        self._found: list[Entry] = []  # the search results that were not shown yet, the latest last
        self._send, self._lines = anyio.create_memory_object_stream[str](PENDING_LINES)
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "": self._say,
            "/to": self._call,
            "/leave": self._leave,
            "/accept": self._accept,
            "/decline": self._decline,
            "/block": self._block,
            "/unblock": self._unblock,
            "/who": self._who,
            "/retry": self._retry,
            "/search": self._search,
            "/clear": self._clear,
            "/log": self._log,
            "/raw": self._raw,
            "/help": self._help,
            "/quit": self._end,
        }

    def typed(self, line: str) -> None:
        """Queue a line. It is carried out after the lines before it."""
        if not line.strip():
            return
        if self._presenter.partner.calling and line.strip() == "/leave":
            self._chat.cancel_call()
            if self._wait:
                self._waiting.cancel()
            return
        try:
            self._send.send_nowait(line)
        except anyio.WouldBlock:
            self._presenter.error(f"Too much is waiting; not sent: {word(line)}")

    async def run(self, to: str | None, *, wait: bool = False) -> None:
        """Call `to`, if it is given, and then carry out typed lines for ever."""
        with self._send, self._lines:
            if to is not None:
                await self._try(lambda: self._call(to, wait=wait))
            async for line in self._lines:
                await self._try(lambda line=line: self._do(line))  # type: ignore[misc]

    async def _do(self, line: str) -> None:
        typed = parse(line)
        await self._commands[typed.command](typed.rest)

    async def _try(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Wrong as error:
            self._presenter.error(word(str(error)))
        except (Refused, NameLost) as error:
            self._presenter.error(sentence(error))
        finally:
            self._redraw()

    # --- the commands

    async def _say(self, text: str) -> None:
        try:
            receipt = await self._chat.send(text)
        except (Refused, ValueError) as error:
            why = refusal(error) if isinstance(error, Refused) else "it is not Unicode text"
            self._presenter.error(f"Not sent, {why}: {word(text)}")
        else:
            self._told_typing = -TYPING_EVERY
            self._viewport.found = ""
            self._viewport.to_end()
            self._presenter.said(self._chat, receipt.outgoing)

    async def _call(self, name: str, *, wait: bool = False) -> None:
        self._presenter.names[name] = None
        self._presenter.partner.calling = self._presenter.called = name
        self._redraw()
        paired = False
        try:
            self._wait = wait
            with anyio.CancelScope() as self._waiting:
                await call_with_retry(self._chat, name, wait=wait)
                paired = True
        finally:
            self._presenter.partner.calling = ""
            if not paired:
                self._presenter.called = ""

    async def _leave(self, _: str) -> None:
        await self._chat.leave()

    async def _accept(self, _: str) -> None:
        await self._chat.accept(self._invitation())

    async def _decline(self, _: str) -> None:
        self._chat.decline(self._invitation())
        self._presenter.invited = None

    def _invitation(self) -> Invited:
        invited = self._presenter.invited
        if invited is None:
            raise Wrong("Nobody is calling.")
        return invited

    async def _block(self, name: str) -> None:
        await self._chat.block(name)
        if self._chat.partner is not None and same_name(name, self._chat.partner):
            await self._chat.leave()

    async def _unblock(self, name: str) -> None:
        await self._chat.unblock(name)

    def typing(self, text: str) -> None:
        """Send a typing notice if it is due, after the user changed the line."""
        now = time.monotonic()
        if text and not text.startswith("/") and self._chat.partner and now - self._told_typing > TYPING_EVERY:
            self._told_typing = now
            self._chat.typing()

    async def _who(self, name: str) -> None:
        state = await self._chat.who(name)
        self._presenter.names[name] = None
        self._presenter.notice(f"{word(name)} {PRESENCE.get(state) or 'is ' + word(state)}.")

    async def _retry(self, _: str) -> None:
        partner = self._presenter.partner.name
        failed = [entry for entry in self._presenter.history.failed() if entry.partner == partner]
        if not failed:
            raise Wrong(f"Nothing to send again to {partner}." if partner else "Nobody is chatting with you.")
        for entry in failed:
            receipt = await self._chat.send(entry.text)
            entry.retried = True
            self._presenter.said(self._chat, receipt.outgoing)

    async def _search(self, words: str) -> None:
        if words:
            self._viewport.found = words
            self._found = self._presenter.history.find(words)
        if not self._found:
            where = "further back" if not words and self._viewport.found else "found"
            raise Wrong(
                f"Nothing {where}: {words or self._viewport.found}" if words or self._viewport.found else "Find what?"
            )
        self._viewport.show(self._found.pop())

    async def _clear(self, _: str) -> None:
        self._presenter.history.clear()
        self._viewport.to_end()

    async def _log(self, name: str) -> None:
        log = self._presenter.log
        if not name:
            words = f"Nothing is logged to {word(log.path)} any more." if log.open else "Log to what? /log FILE"
            log.stop()
            self._presenter.notice(words)
            return
        try:
            log.start(name)
        except OSError as error:
            raise Wrong(f"Can't write {name}: {error.strerror}") from None
        self._presenter.notice(f"All that is said is appended to {word(log.path)} from now on.")

    async def _raw(self, _: str) -> None:
        self.raw = not self.raw
        words = "Frames are shown: > to the node, < from it." if self.raw else "Frames are not shown any more."
        self._presenter.notice(words)

    async def _help(self, _: str) -> None:
        self._presenter.history.help(help_text())

    async def _end(self, _: str) -> None:
        self._quit()
