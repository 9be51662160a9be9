"""This package is the mode for a terminal: a full screen, with the input line at the bottom."""

import math
import os
import re
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import anyio

from pairchat.client import Chat, connect
from pairchat.errors import NameLost, PairchatError, Refused
from pairchat.escape import word
from pairchat.events import Lost, Message
from pairchat.run_alongside import run_alongside
from pairchat.sansio_protocol import AuthToken
from pairchat.screen.attention import KEEP_FOCUS, TELL_FOCUS, Attention, Notify, choose, learn_focus_keys, sequence
from pairchat.screen.input_line import InputLine
from pairchat.screen.job_control import job_control
from pairchat.screen.layout import application
from pairchat.screen.line_executor import LineExecutor
from pairchat.screen.presenter import Presenter
from pairchat.screen.status_bar import SPINNING, StatusBar
from pairchat.screen.terminal_output import TerminalOutput
from pairchat.screen.theme import Theme
from pairchat.screen.transcript import Transcript
from pairchat.screen.unfinished_paste import PasteInput
from pairchat.screen.viewport import Viewport
from pairchat.settings import Settings
from pairchat.stdio import StreamFailed
from pairchat.wording import Exit, sentence, unsettled

_OTHER_NAME = ("name_taken", "name_invalid")  # refusals that another name can help
_FINAL = ("replaced", "kicked")  # ends of a session that another name can't help; the node then disconnects
_TOKEN = re.compile('(?<="token":")[^"]*|(?<="auth":")[^"]*')  # matches secrets in frames that are shown
_HIDDEN = "…"


class Screen:
    """A conversation in a terminal."""

    def __init__(
        self,
        settings: Settings,
        state: Path | None = None,
        tls: ssl.SSLContext | None = None,
        auth: AuthToken | None = None,
    ) -> None:
        """Create the screen. `settings` must have been checked. `state` is the folder for saved sessions."""
        self._settings = settings
        self._state, self._tls, self._auth = state, tls, auth
        self._notify = Notify(settings.notify)
        self._transcript = Transcript()
        self._status_bar = StatusBar()
        self._attention = Attention()
        self._viewport = Viewport(self._transcript, self._speakers)
        self._presenter = Presenter(self._transcript, self._status_bar.partner, self._call)
        self._input_line = InputLine(self._typed, self._typing, lambda: self._presenter.names)
        learn_focus_keys()
        theme, mouse, leave = Theme(settings.theme), settings.mouse, self._leave
        self._keyboard, self._paper = PasteInput(sys.stdin), TerminalOutput(sys.stdout)
        self._app = application(
            self._viewport,
            self._status_bar,
            self._input_line,
            self._attention,
            theme=theme,
            mouse=mouse,
            leave=leave,
            keyboard=self._keyboard,
            output=self._paper.output(),
        )
        self._line_executor: LineExecutor | None = None
        self._name_typed: anyio.Event | None = None  # set while the program asks for a name
        self._name: str | None = None
        self._leaving = anyio.Event()
        self._talking = anyio.CancelScope()
        self._failure: PairchatError | None = None

    async def run(self) -> Exit:
        """Chat until the user quits.

        Raises `PairchatError` for an error that ends the session, and `StreamFailed` if the terminal is gone.
        """
        name, to = self._settings.name, self._settings.to
        output = self._app.output
        output.write_raw(TELL_FOCUS)
        try:
            await run_alongside(self._draw, lambda: self._talk(name, to))
        finally:
            self._presenter.log.stop()
            pending = self._status_bar.chat.pending if self._status_bar.chat is not None else ()
            with suppress(OSError):
                output.write_raw(KEEP_FOCUS)
                for text in pending:
                    output.write_raw(f"* {unsettled(text)}\n")
                output.flush()
            await self._paper.close()
        if self._failure is not None:
            raise self._failure
        return Exit.NOT_CONFIRMED if pending else Exit.OK

    # --- tasks

    async def _draw(self) -> None:
        async def run() -> None:
            await self._app.run_async(handle_sigint=False, set_exception_handler=False)

        try:
            with job_control(self._app):
                await run_alongside(run, lambda: self._paper.serve(self._redraw))
        except (EOFError, OSError):
            raise StreamFailed("the terminal is gone") from None

    def _redraw(self) -> None:
        if self._app.is_running:
            self._app.renderer.clear()
            self._app.invalidate()

    async def _talk(self, name: str | None, to: str | None) -> None:
        try:
            with anyio.CancelScope() as self._talking:
                await run_alongside(lambda: self._sessions(name, to), self._tick)
        except PairchatError as error:
            self._failure = error
        if self._app.is_running:
            self._app.exit()

    async def _tick(self) -> None:
        """Redraw countdowns, and end a paste whose end mark is overdue."""
        counting = False
        while True:
            await anyio.sleep(SPINNING)
            if self._status_bar.counting or counting:  # one last redraw shows the end of the countdown
                self._app.invalidate()
            counting = self._status_bar.counting
            if (keys := self._keyboard.overdue()) and self._app.context is not None:
                self._app.key_processor.feed_multiple(keys)
                self._app.context.copy().run(self._app.key_processor.process_keys)

    async def _sessions(self, name: str | None, to: str | None) -> None:
        """Run a session under a name, and another one under another name if that one is refused or lost."""
        while name := name or await self._ask_name():
            try:
                await self._session(name, to)
                return
            except Refused as error:
                if error.code not in _OTHER_NAME:
                    raise
                self._presenter.error(sentence(error))
                name = None
            except NameLost as error:
                self._presenter.error(f"{sentence(error)} What you said stays; take a name to go on.")
                self._presenter.partner.gone()
                self._status_bar.chat = None
                name, to = None, None

    async def _ask_name(self) -> str:
        """Ask for a name. Returns an empty string if the user leaves instead."""
        self._name_typed, self._input_line.prompt = anyio.Event(), "Your name: "
        self._app.invalidate()
        await self._name_typed.wait()
        self._name_typed, self._input_line.prompt = None, "> "
        return self._name or ""

    async def _session(self, name: str, to: str | None) -> None:
        settings = self._settings
        # Each attempt has its own connection, because the relay closes one that claims no name in time.
        async with connect(
            *settings.servers,
            reconnect_timeout=math.inf,
            state=self._state,
            trace=self._tap,
            tls=self._tls,
            ask=settings.ask,
            auth=self._auth,
            proxy=settings.proxy,
        ) as chat:
            await chat.claim(name)  # not by `connect`, which would wait for a taken name; we ask for another one
            self._status_bar.chat = chat
            self._presenter.names[chat.name or ""] = None
            self._presenter.notice(f"You are {word(chat.name or '')}. /help lists the commands.")
            actions = LineExecutor(chat, self._presenter, self._viewport, self._leave, self._app.invalidate)
            self._line_executor = actions
            try:
                await run_alongside(
                    lambda: self._follow(chat),
                    lambda: run_alongside(lambda: self._part(chat), lambda: actions.run(to, wait=settings.wait)),
                )
            finally:
                self._line_executor = None

    async def _follow(self, chat: Chat) -> None:
        async for event in chat:
            if isinstance(event, Message):
                if not self._attention.here or not self._viewport.at_end:
                    self._transcript.mark_new()
                self._viewport.unseen += not self._viewport.at_end
            self._presenter.take(chat, event)
            self._app.invalidate()
            if isinstance(event, Lost) and event.code not in _FINAL:
                raise NameLost(event.message)

    async def _part(self, chat: Chat) -> None:
        await self._leaving.wait()
        if chat.pending or not chat.online:
            self._presenter.notice("Waiting until everything has arrived; Ctrl-C gives up.")
            self._app.invalidate()
        await chat.quit()
        await anyio.sleep_forever()  # `_follow` ends at the `Bye`

    # --- callbacks

    def _speakers(self) -> list[str]:
        """Return the names that need a column: those of both users, and those of texts in the history."""
        chat = self._status_bar.chat
        return [*self._transcript.speakers, self._status_bar.partner.name, (chat.name if chat else None) or ""]

    def _leave(self) -> None:
        """Leave at the user's request. A second request does not wait for outcomes."""
        if self._name_typed is not None:
            self._name = None
            self._name_typed.set()
        elif self._leaving.is_set() or self._line_executor is None:
            self._talking.cancel()
        else:
            self._leaving.set()

    def _typed(self, line: str) -> None:
        if self._line_executor is not None:
            self._line_executor.typed(line)
        elif self._name_typed is not None and (name := line.strip()):
            self._name_is(name)

    def _name_is(self, typed: str) -> None:
        """Take the answer to the prompt for a name. Commands are no names; `//x` gives the name `/x`."""
        assert self._name_typed is not None
        if typed == "/quit":
            self._leave()
        elif typed.startswith("/") and not typed.startswith("//"):
            self._presenter.error("A name first; then /help lists the commands. /quit leaves.")
            self._app.invalidate()
        else:
            self._name = typed.removeprefix("/")
            self._name_typed.set()

    def _typing(self, text: str) -> None:
        if self._line_executor is not None and self._settings.typing:
            self._line_executor.typing(text)

    def _tap(self, direction: str, line: bytes) -> None:
        if self._line_executor is not None and self._line_executor.raw:
            self._transcript.raw(f"{direction} {_TOKEN.sub(_HIDDEN, line.decode(errors='backslashreplace'))}")
            self._app.invalidate()

    def _call(self, who: str, what: str) -> None:
        """Notify the user, unless the terminal has the user's attention."""
        if self._attention.here or self._notify is Notify.OFF:
            return
        how = choose(self._notify, os.environ)
        self._app.output.write_raw("\a" + sequence(how, who, what, os.environ))
        self._app.output.flush()
