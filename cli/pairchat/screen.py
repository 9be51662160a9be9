"""In a terminal: a line to type on, and everything else scrolling above it."""

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from pairchat.client import Chat
from pairchat.errors import NameLost, PairchatError, Refused
from pairchat.escape import word
from pairchat.events import Event, Lost, Message, Paired
from pairchat.tasks import alongside
from pairchat.wording import notice, refusal, said, stamped, unsettled

HELP = """\
/to NAME   chat with somebody, leaving a present chat
/leave     end the chat, stay online
/quit      leave for good (or Ctrl-D)
/help      this
//text     say something that begins with a slash
Ctrl-C     drop the line; on an empty line: quit"""


class Screen:
    """A conversation in a terminal."""

    def __init__(self) -> None:
        # The typed line is erased and printed again with a stamp, like the partner's.
        self._prompt: PromptSession[str] = PromptSession(key_bindings=_keys(), erase_when_done=True)
        self._chat_id: str | None = None  # of the pairing announced last

    async def ask_name(self) -> str | None:
        """Ask which name to take; None if the user would rather leave."""
        while True:
            line = await self._read("Your name: ")
            if line is None or line.strip():
                return line and line.strip()

    async def run(self, chat: Chat, to: str | None) -> None:
        """Chat until the user quits. Raises `PairchatError` if the connection or the name is lost."""
        self._chat = chat
        await self._show(f"* You are {word(chat.name or '')}. /help lists the commands.")
        try:
            await alongside(self._follow, lambda: self._converse(to))
        except PairchatError:
            for text in chat.pending:
                await self._show(f"* {unsettled(text)}")
            raise

    # --- what happens

    async def _follow(self) -> None:
        async for event in self._chat:
            if said := self._told(event):
                await self._show(said)
            if isinstance(event, Lost):
                raise NameLost(event.message)

    def _told(self, event: Event) -> str | None:
        if isinstance(event, Message):
            return stamped(event)
        if isinstance(event, Paired):
            if event.chat == self._chat_id:  # only confirmed again
                return None
            self._chat_id = event.chat
        said = notice(event)
        return said and f"* {said}"

    async def _show(self, text: str) -> None:
        """Print above the line being typed; done when it is on the screen."""
        await run_in_terminal(lambda: print(text, flush=True))

    # --- what is typed

    async def _converse(self, to: str | None) -> None:
        if to is not None:
            await self._call(to)
        while (line := await self._read(f"{word(self._chat.name or '')}> ")) is not None:
            if not await self._do(line):
                break
        if self._chat.pending:
            await self._show("* Waiting until everything has arrived; Ctrl-C gives up.")
        await self._chat.quit()

    async def _read(self, prompt: str) -> str | None:
        try:
            # SIGINT is the program's: between two prompts it has to work as well.
            return await self._prompt.prompt_async(prompt, handle_sigint=False)
        except EOFError:
            return None

    async def _do(self, line: str) -> bool:
        """Carry out one line. False: the user is done."""
        if line.startswith("/") and not line.startswith("//"):
            return await self._command(line)
        text = line[1:] if line.startswith("//") else line
        if text.strip():
            await self._say(text)
        return True

    async def _say(self, text: str) -> None:
        try:
            await self._chat.send(text)
        except (Refused, ValueError) as error:
            why = refusal(error) if isinstance(error, Refused) else "it is not Unicode text"
            await self._show(f"* Not sent, {why}: {word(text)}")
        else:
            await self._show(said(self._chat.name or "", text))

    async def _command(self, line: str) -> bool:
        match line.split(maxsplit=1):
            case ["/quit"]:
                return False
            case ["/help"]:
                await self._show(HELP)
            case ["/leave"]:
                await self._leave()
            case ["/to", name]:
                await self._call(name.strip())
            case ["/to"]:
                await self._show("* Whom? /to NAME")
            case [command, *_]:
                await self._show(f"* There is no {word(command)}; nothing was sent. /help lists the commands.")
        return True

    async def _call(self, name: str) -> None:
        try:
            await self._chat.call(name)
        except Refused as error:
            await self._show(f"* {refusal(error)}")

    async def _leave(self) -> None:
        try:
            await self._chat.leave()
        except Refused as error:
            await self._show(f"* {refusal(error)}")


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=EOFError)

    return keys
