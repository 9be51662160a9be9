"""For programs: commands in and events out, one JSON object a line.

In: `to`, `msg`, `leave`, `who`, `block`, `unblock`, `accept`, `decline`, `typing`, `quit`, as in the protocol, but that
a `msg` needs no id. Out: every event, as the frame it came in as far as there is one. The end of the input is a `quit`.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec

from pairchat import events
from pairchat.client import Chat
from pairchat.errors import ConnectionLost, NameLost, Refused
from pairchat.events import Event, Fate, Lost, Settled
from pairchat.reach import reach
from pairchat.stdio import LineReader, LineTooLong, write_all
from pairchat.tasks import alongside
from pairchat.wording import Exit


class Frames:
    """One session between a file to read commands from and a file to write events to."""

    _chat: Chat

    def __init__(self, source: int, sink: int) -> None:
        self._input = LineReader(source)
        self._sink = sink
        self._writing = anyio.Lock()
        self._told = 0  # events
        self._unsaid: events.Outgoing | None = None  # a text that was taken, while this is still to be said
        self._changed = anyio.Event()  # set when one of these changes, and replaced
        self._status = Exit.OK
        self._invited: events.Invited | None = None  # the latest call
        self._commands: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "to": self._to,
            "msg": self._msg,
            "leave": self._leave,
            "who": self._who,
            "block": lambda command: self._chat.block(command["name"]),
            "unblock": lambda command: self._chat.unblock(command["name"]),
            "accept": self._accept,
            "decline": self._decline,
            "typing": self._typing,
        }

    async def run(self, chat: Chat, to: str | None, *, wait: bool = False) -> Exit:
        """Do what is asked until `quit` or the end. Raises `PairchatError` if the connection or the name is lost."""
        self._chat = chat

        async def ask() -> None:
            if to is not None:
                await self._try({"type": "to", "name": to}, lambda _: self._reach(to, wait))
            await self._listen()

        await alongside(self._tell, ask)
        return self._status

    async def _reach(self, name: str, wait: bool) -> None:
        try:
            await reach(self._chat, name, wait=wait)
        except Refused:
            self._status = Exit.PARTNER
            raise

    # --- out

    async def _tell(self) -> None:
        async for event in self._chat:
            while isinstance(event, Settled) and event.text is self._unsaid:
                await self._changed.wait()
            await self._write(_frame_of(event))
            self._told += 1
            self._wake()
            if isinstance(event, Settled) and event.text.fate is not Fate.DELIVERED:
                self._status = Exit.NOT_CONFIRMED
            if isinstance(event, events.Invited):
                self._invited = event
            if isinstance(event, Lost):
                raise NameLost(event.message)

    async def _write(self, frame: dict[str, Any]) -> None:
        # ASCII: then no text can hold what some reader takes for the end of a line.
        async with self._writing:
            await write_all(self._sink, json.dumps(frame, separators=(",", ":")).encode() + b"\n")

    async def _answer(self, frame: dict[str, Any]) -> None:
        """Write what is no event, behind all events so far: `sent` stands behind the `paired` that it needed."""
        due = self._chat.happened
        while self._told < due:
            await self._changed.wait()
        await self._write(frame)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _error(self, code: str, message: str, about: dict[str, Any]) -> None:
        echo: dict[str, Any] = {key: about[key] for key in ("name", "ref") if key in about}
        await self._answer({"type": "error", "code": code, "message": message, **echo})

    # --- in

    async def _listen(self) -> None:
        try:
            while (line := await self._next()) is not None:
                command = await self._parse(line)
                if command is None:
                    continue
                if command["type"] == "quit":
                    break
                await self._try(command, self._commands[command["type"]])
            await self._chat.quit()
        except (ConnectionLost, NameLost):
            return  # the other task meets it too, after everything that was told before

    async def _next(self) -> bytes | None:
        while True:
            try:
                return await self._input.line()
            except LineTooLong:
                await self._error("too_long", "this line is too long", {})

    async def _parse(self, line: bytes) -> dict[str, Any] | None:
        try:
            command = json.loads(line)
        except (ValueError, RecursionError):
            command = None
        if not isinstance(command, dict):
            await self._error("bad_frame", "not a JSON object", {})
            return None
        kind = command.get("type")
        needed = _NEEDED.get(str(kind))
        if kind != "quit" and kind not in self._commands:
            await self._error("bad_frame", f"there is no {kind!r}", command)
        elif needed is not None and not isinstance(command.get(needed), str):
            await self._error("bad_frame", f"{kind} needs a {needed}", command)
        else:
            return command
        return None

    async def _try(self, command: dict[str, Any], do: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        try:
            await do(command)
        except Refused as error:
            await self._error(error.code, str(error), command)
        except ValueError as error:
            await self._error("bad_frame", str(error), command)

    async def _to(self, command: dict[str, Any]) -> None:
        await self._chat.call(command["name"])

    async def _msg(self, command: dict[str, Any]) -> None:
        receipt = await self._chat.send(command["text"])
        self._unsaid = receipt.outgoing  # its fate stands behind this
        ref = {"ref": command["ref"]} if "ref" in command else {}
        await self._answer({"type": "sent", "id": receipt.id, **ref})
        self._unsaid = None
        self._wake()

    async def _accept(self, _: dict[str, Any]) -> None:
        await self._chat.accept(self._invitation())

    async def _decline(self, _: dict[str, Any]) -> None:
        self._chat.decline(self._invitation())

    def _invitation(self) -> events.Invited:
        if self._invited is None:
            raise Refused("not_called", "nobody is calling")
        return self._invited

    async def _typing(self, _: dict[str, Any]) -> None:
        self._chat.typing()

    async def _leave(self, _: dict[str, Any]) -> None:
        await self._chat.leave()

    async def _who(self, command: dict[str, Any]) -> None:
        await self._chat.who(command["name"])


_NEEDED = {"to": "name", "who": "name", "block": "name", "unblock": "name", "msg": "text"}


def _frame_of(event: Event) -> dict[str, Any]:
    """How an event is told."""
    match event:
        case events.Joined():
            return _frame("welcome", name=event.name, node=event.node, resumed=event.resumed)
        case events.Message():
            return _frame("msg", id=event.id, **{"from": event.sender}, chat=event.chat, text=event.text, at=event.at)
        case Settled() if event.text.fate is Fate.DELIVERED:
            return _frame("ack", id=event.text.id, chat=event.text.chat, by=event.text.by)
        case Settled():
            text = event.text
            return _frame(text.fate.value, id=text.id, chat=text.chat, text=text.text, reason=text.detail)
        case events.Complaint():
            return _frame("error", code=event.code, message=event.message)
        case _:
            return _frame(type(event).__name__.lower(), **msgspec.structs.asdict(event))


def _frame(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}
