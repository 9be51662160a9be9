"""This module is the mode for programs: it reads commands and writes events, one JSON object a line.

The commands are `to`, `cancel`, `msg`, `leave`, `who`, `block`, `unblock`, `accept`, `decline`, `typing` and `quit`, as
in the protocol, except that a `msg` needs no id. Every event is written as the frame that reported it, if there is one.
The end of the input means `quit`.

Commands are carried out one after another, and the error for a bad line is written in its turn. Some commands are read
ahead, so that a `cancel` finds its call while the call is under way or waits for its turn.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from pairchat import events
from pairchat.call_retry import call_with_retry
from pairchat.client import Chat
from pairchat.errors import ConnectionLost, NameLost, Refused
from pairchat.events import DeliveryStatus, Event, Lost, Settled
from pairchat.pending_requests import GIVEN_UP
from pairchat.run_alongside import run_alongside
from pairchat.stdio import LineReader, LineTooLong, write_all
from pairchat.wording import Exit
from relay.protocol.json_frames import MAX_ID, MAX_REF

# Number of commands that may wait while one is carried out.
AHEAD: Final = 64
# Bytes of a command beside its text. The text itself may take six times its size, with each byte escaped (`\\u0000`).
_COMMAND_BYTES: Final = 4096

_Command = dict[str, Any]


class _Call:
    """A `to` command without an outcome."""

    def __init__(self, command: _Command) -> None:
        self.command = command
        self.begun = self.given_up = False
        self.trying = anyio.CancelScope()  # active while the call is being retried


class _Wrong(Exception):
    """A line is not a valid command."""

    def __init__(self, message: str, about: _Command | None = None, code: str = "bad_frame") -> None:
        super().__init__(message)
        self.code = code
        self.about = about or {}


class Frames:
    """One session that reads commands from one file and writes events to another."""

    _chat: Chat

    def __init__(self, source: int, sink: int) -> None:
        self._input = LineReader(source)
        self._sink = sink
        self._writing = anyio.Lock()
        self._told = 0  # the number of events written
        self._unsaid: events.Outgoing | None = None  # an accepted text whose `sent` is not written yet
        self._changed = anyio.Event()  # set and replaced when one of these two changes
        self._status = Exit.OK
        self._invited: events.Invited | None = None  # the latest call
        self._calls: list[_Call] = []  # oldest first
        self._commands: dict[str, Callable[[_Command], Awaitable[None]]] = {
            "to": lambda command: self._call(command, self._to),
            "msg": self._msg,
            "leave": self._leave,
            "who": self._who,
            "block": lambda command: self._chat.block(command["name"], ref=command.get("ref")),
            "unblock": lambda command: self._chat.unblock(command["name"], ref=command.get("ref")),
            "accept": self._accept,
            "decline": self._decline,
            "typing": self._typing,
        }

    async def run(self, chat: Chat, to: str | None, *, wait: bool = False) -> Exit:
        """Carry out commands until `quit` or the end of the input.

        Raises `PairchatError` if the connection or the name is lost.
        """
        self._chat = chat
        self._input.limit = 6 * chat.max_line + _COMMAND_BYTES
        commands, waiting = anyio.create_memory_object_stream[_Command | _Wrong](AHEAD)

        async def ask() -> None:
            if to is not None:
                first = self._noted({"type": "to", "name": to})
                await self._try(first, lambda command: self._call(command, lambda call: self._reach(call, wait)))
            await self._listen(waiting)

        with commands, waiting:
            await run_alongside(self._tell, lambda: run_alongside(ask, lambda: self._read(commands)))
        return self._status

    async def _reach(self, call: _Call, wait: bool) -> None:
        try:
            with call.trying:
                await call_with_retry(self._chat, call.command["name"], wait=wait)
                return
            raise Refused(GIVEN_UP, "the call was given up")
        except Refused:
            self._status = Exit.PARTNER
            raise

    # --- out

    async def _tell(self) -> None:
        async for event in self._chat:
            while isinstance(event, Settled) and event.text is self._unsaid:
                await self._changed.wait()
            await self._write(frame_of(event))
            self._told += 1
            self._wake()
            if isinstance(event, Settled) and event.text.fate is not DeliveryStatus.DELIVERED:
                self._status = Exit.NOT_CONFIRMED
            if isinstance(event, events.Invited):
                self._invited = event
            if isinstance(event, Lost):
                raise NameLost(event.message)

    async def _write(self, frame: dict[str, Any]) -> None:
        # ASCII output can't contain characters that some reader takes for a line end, such as U+2028.
        async with self._writing:
            await write_all(self._sink, json.dumps(frame, separators=(",", ":")).encode() + b"\n")

    async def _answer(self, frame: dict[str, Any]) -> None:
        """Write a frame that is no event after all events so far, so that `sent` follows the `paired` of its chat."""
        due = self._chat.happened
        while self._told < due:
            await self._changed.wait()
        await self._write(frame)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _error(self, code: str, message: str, about: dict[str, Any]) -> None:
        echo: dict[str, Any] = {key: about[key] for key in ("name", "ref") if _echoed(key, about.get(key))}
        await self._answer({"type": "error", "code": code, "message": message, **echo})

    # --- in

    async def _read(self, commands: MemoryObjectSendStream[_Command | _Wrong]) -> None:
        """Read and queue commands until `quit`, which the end of the input means as well."""
        kind = ""
        while kind != "quit":
            try:
                line = await self._input.line()
                command = self._parse(line) if line is not None else {"type": "quit"}
            except LineTooLong:
                await commands.send(_Wrong("this line is too long", code="too_long"))
            except _Wrong as wrong:
                await commands.send(wrong)
            else:
                kind = command["type"]
                if kind == "cancel":
                    self._cancel(command)
                else:
                    await commands.send(self._noted(command))

    async def _listen(self, waiting: MemoryObjectReceiveStream[_Command | _Wrong]) -> None:
        try:
            async for command in waiting:
                if isinstance(command, _Wrong):
                    await self._error(command.code, str(command), command.about)
                elif command["type"] == "quit":
                    break
                else:
                    await self._try(command, self._commands[command["type"]])
            await self._chat.quit()
        except (ConnectionLost, NameLost):
            return  # the task that writes events gets the same error after the earlier events

    def _parse(self, line: bytes) -> _Command:
        try:
            command = json.loads(line)
        except (ValueError, RecursionError):
            command = None
        if not isinstance(command, dict):
            raise _Wrong("not a JSON object")
        kind = command.get("type")
        needed = _NEEDED.get(str(kind))
        if kind not in ("quit", "cancel") and (not isinstance(kind, str) or kind not in self._commands):
            raise _Wrong(f"there is no {kind!r}", command)
        if command.get("ref") is not None and not _echoed("ref", command["ref"]):
            raise _Wrong(f"a ref is a string of {MAX_REF} characters at most, or an integer", command)
        if needed is not None and not isinstance(command.get(needed), str):
            raise _Wrong(f"{kind} needs a {needed}", command)
        return command

    async def _try(self, command: _Command, do: Callable[[_Command], Awaitable[None]]) -> None:
        try:
            await do(command)
        except Refused as error:
            await self._error(error.code, error.message, command)
        except ValueError as error:
            await self._error("bad_frame", str(error), command)

    # --- calls

    def _noted(self, command: _Command) -> _Command:
        """Record a call, so that `cancel` can give it up from now on. Returns the command."""
        if command["type"] == "to":
            self._calls.append(_Call(command))
        return command

    def _cancel(self, command: _Command) -> None:
        """Give up the oldest call without an outcome, or the one with this `ref`. Does nothing if there is none."""
        ref = command.get("ref")
        for call in self._calls:
            if ref in (None, call.command.get("ref")):
                call.given_up = True
                call.trying.cancel()
                if call.begun:
                    self._chat.cancel_call()
                return

    async def _call(self, command: _Command, do: Callable[[_Call], Awaitable[None]]) -> None:
        """Carry out a call, unless it was given up before its turn."""
        call = next(call for call in self._calls if call.command is command)
        try:
            if call.given_up:
                raise Refused(GIVEN_UP, "the call was given up")
            call.begun = True
            await do(call)
        finally:
            self._calls.remove(call)

    async def _to(self, call: _Call) -> None:
        await self._chat.call(call.command["name"], ref=call.command.get("ref"))

    # --- the other commands

    async def _msg(self, command: _Command) -> None:
        receipt = await self._chat.send(command["text"])
        self._unsaid = receipt.outgoing  # its outcome is written after `sent`
        ref = {"ref": command["ref"]} if command.get("ref") is not None else {}
        await self._answer({"type": "sent", "id": receipt.id, **ref})
        self._unsaid = None
        self._wake()

    async def _accept(self, command: _Command) -> None:
        await self._chat.accept(self._invitation(command), ref=command.get("ref"))

    async def _decline(self, command: _Command) -> None:
        self._chat.decline(self._invitation(command))

    def _invitation(self, command: _Command) -> events.Invited:
        if self._invited is None or command.get("chat") not in (None, self._invited.chat):
            raise Refused("not_called", "nobody is calling")
        return self._invited

    async def _typing(self, _: _Command) -> None:
        self._chat.typing()

    async def _leave(self, command: _Command) -> None:
        if command.get("chat") not in (None, self._chat.chat):
            raise Refused("not_paired", "that chat is over")
        await self._chat.leave(ref=command.get("ref"))

    async def _who(self, command: _Command) -> None:
        await self._chat.who(command["name"], ref=command.get("ref"))


def _echoed(key: str, value: object) -> bool:
    """Return True if an error may repeat this field of a command."""
    if key == "ref" and isinstance(value, int) and not isinstance(value, bool):
        return -MAX_ID <= value <= MAX_ID
    return isinstance(value, str) and (key != "ref" or len(value) <= MAX_REF)


_NEEDED = {"to": "name", "who": "name", "block": "name", "unblock": "name", "msg": "text"}


def frame_of(event: Event) -> dict[str, Any]:
    """Return an event as a frame: a node's own, with its names of fields, where there is one."""
    match event:
        case events.Joined():
            joined = msgspec.structs.asdict(event)
            return _frame("welcome", **joined)
        case events.Message():
            return _frame("msg", id=event.id, **{"from": event.sender}, chat=event.chat, text=event.text, at=event.at)
        case Settled() if event.text.fate is DeliveryStatus.DELIVERED:
            return _frame("ack", id=event.text.id, chat=event.text.chat, by=event.text.by, at=event.text.at)
        case Settled():
            text = event.text
            return _frame(text.fate.value, id=text.id, chat=text.chat, text=text.text, reason=text.detail)
        case events.Complaint():
            return _frame("error", code=event.code, message=event.message)
        case events.Blocked():
            return _frame("blocked" if event.on else "unblocked", name=event.name, ref=event.ref)
        case _:
            return _frame(type(event).__name__.lower(), **msgspec.structs.asdict(event))


def _frame(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a frame without the fields that are empty, except `name`."""
    return {"type": kind, **{key: value for key, value in fields.items() if value not in (None, "") or key == "name"}}
