"""Many concurrent programs that acknowledge messages, resume after a lost connection, and check every message.

Each keeps copies of its messages until they have an outcome, as the protocol asks of clients. The ids that it receives
must rise by one; otherwise a message was lost, duplicated or out of order, and the test ends.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from tests.support.node import Address
from tests.support.process import PATIENCE

Frame = dict[str, Any]

LINE = 1 << 20  # bytes; longer than any line of these tests
WINDOW = 256  # messages without an outcome that a program may have
AT_ONCE = 200  # programs that pair up at the same time
AGAIN = 0.02  # seconds between two attempts to reach a node
LOOK = 0.02  # seconds between two checks of a condition


class Lost(AssertionError):
    """A promise about a message was broken."""


class Program:
    """One client. `places` are the nodes that it tries in turn, its home first."""

    def __init__(self, name: str, places: Sequence[Address], acks: bool = True) -> None:
        self.name = name
        self.acks = acks
        self._places = list(places)
        self._tries = 0
        self.partner: Program | None = None
        self.token: str | None = None
        self.chat: str | None = None
        self.said = 0  # the highest id that it used
        self.under_way: dict[int, str] = {}  # its messages without an outcome
        self.unconfirmed: set[int] = set()
        self.heard = 0  # the highest id that it received
        self.delays: list[float] = []  # seconds from sending to receiving, for each received message
        self.returns: list[float] = []  # seconds from a new connection to the welcome
        self.drops = 0  # number of connections that broke
        self.told: list[Frame] = []  # all received frames except messages and acknowledgements
        self.ready = asyncio.Event()  # set while a node serves the session
        self.paired = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    # --- sending

    def call(self, partner: "Program") -> None:
        self.partner, partner.partner = partner, self
        self.send("to", name=partner.name)

    def say(self, text: str = "") -> None:
        """Send a message that begins with the time at which it is sent. Does nothing while the window is full."""
        if len(self.under_way) >= WINDOW:
            return
        self.said += 1
        self.under_way[self.said] = f"{time.monotonic()} {text}"
        if self.ready.is_set():
            self.send("msg", id=self.said, text=self.under_way[self.said])

    def send(self, type: str, **fields: Any) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps({"type": type, **fields}).encode() + b"\n")

    # --- its connection

    async def live(self) -> None:
        """Stay connected for ever."""
        while True:
            place = self._places[self._tries % len(self._places)]
            try:
                reader, self._writer = await asyncio.open_connection(*place, limit=LINE)
            except OSError:
                self._tries += 1
                await asyncio.sleep(AGAIN)
                continue
            try:
                await self._serve(reader)
            except (OSError, asyncio.IncompleteReadError):
                self.drops += 1
            finally:
                writer, self._writer = self._writer, None
                self.ready.clear()
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            self._tries += 1
            await asyncio.sleep(AGAIN)

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        connected = time.monotonic()
        resuming = self.token is not None
        self._hello()
        while True:
            line = await reader.readuntil()
            frame = json.loads(line)
            match frame["type"]:
                case "welcome":
                    assert frame["resumed"] is resuming, f"{self}: {frame}"
                    self.token = frame["token"]
                    if resuming:
                        self.returns.append(time.monotonic() - connected)
                    else:
                        self.ready.set()
                    if self.chat is None:
                        self.ready.set()
                case "error" if frame["code"] == "unavailable" and not self.ready.is_set():
                    await asyncio.sleep(AGAIN)
                    self._hello()
                case _:
                    self._take(frame)

    def _hello(self) -> None:
        fields: dict[str, Any] = {}
        if self.token is not None:
            fields = {"token": self.token, "sent": self.said, "last": self.heard}
            if self.chat is not None:
                fields["chat"] = self.chat
        self.send("hello", name=self.name, acks=self.acks, **fields)

    # --- receiving

    def _take(self, frame: Frame) -> None:
        match frame["type"]:
            case "msg":
                self._message(frame)
                return
            case "ack":
                self._covered(frame["id"])
                return
            case "paired":
                self._paired(frame)
            case "error" if frame["code"] == "unavailable" and self.partner and not self.paired.is_set():
                self.send("to", name=self.partner.name)  # on a busy machine a call may take too long
                return
            case "unconfirmed":
                for id in range(frame["from"], frame["to"] + 1):
                    self.under_way.pop(id, None)
                    self.unconfirmed.add(id)
        self.told.append(frame)

    def _message(self, frame: Frame) -> None:
        if frame["id"] != self.heard + 1:
            raise Lost(f"{self} heard {frame['id']} after {self.heard}")
        assert self.partner is not None
        if frame["from"] != self.partner.name:
            raise Lost(f"{self} heard what {frame['from']} said")
        self.heard = frame["id"]
        self.delays.append(time.monotonic() - float(frame["text"].partition(" ")[0]))
        if self.acks:
            self.send("ack", id=self.heard)

    def _covered(self, upto: int) -> None:
        for id in [id for id in self.under_way if id <= upto]:
            del self.under_way[id]

    def _paired(self, frame: Frame) -> None:
        if frame["resumed"]:
            if frame["chat"] != self.chat:
                raise Lost(f"{self} is back in another chat")
            self._covered(frame["last"])
            self.ready.set()
            for id, text in self.under_way.items():
                self.send("msg", id=id, text=text)
        else:
            self.chat = frame["chat"]
            self.heard = 0
        self.paired.set()


class Swarm:
    """Programs in pairs."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = list(programs)

    async def pair_up(self, patience: float = PATIENCE) -> None:
        """Let the first program call the second, the third the fourth, and so on. Raises TimeoutError."""
        async with asyncio.timeout(patience):
            for program in self.programs:
                await program.ready.wait()
            for start in range(0, len(self.programs), AT_ONCE):
                some = self.programs[start : start + AT_ONCE]
                for caller, callee in zip(some[::2], some[1::2], strict=True):
                    caller.call(callee)
                for program in some:
                    await program.paired.wait()

    async def talk(self, rate: float, seconds: float) -> None:
        """Let each program send `rate` messages a second, evenly spread."""
        began, said = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * rate * len(self.programs))
            for n in range(said, due):
                self.programs[n % len(self.programs)].say()
            said = due
            await asyncio.sleep(LOOK / 2)

    async def settle(self, patience: float = PATIENCE) -> None:
        """Wait until every message has its outcome."""
        await until(
            lambda: not any(program.under_way for program in self.programs),
            lambda: f"without an outcome: {[(p, list(p.under_way)[:3]) for p in self.programs if p.under_way][:5]}",
            patience,
        )

    def check(self) -> None:
        """Check that every message was received, and that no program got an unexpected frame."""
        for program in self.programs:
            assert program.partner is not None
            assert not program.unconfirmed, f"{program} was told {program.told}"
            assert program.partner.heard == program.said, f"{program.partner} missed the end"
            assert program.said > 0
            strange = [frame for frame in program.told if frame["type"] not in ("paired", "away", "back")]
            assert not strange, f"{program} was told {strange[:3]}"

    @property
    def delays(self) -> list[float]:
        return sorted(delay for program in self.programs for delay in program.delays)

    @property
    def returns(self) -> list[float]:
        return [delay for program in self.programs for delay in program.returns]


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def until(condition: Callable[[], object], what: Callable[[], str], patience: float = PATIENCE) -> None:
    """Poll until the condition holds. Raises AssertionError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience} s: {what()}"
        await asyncio.sleep(LOOK)


async def everybody_hears(swarm: Swarm, patience: float) -> None:
    """Wait until each program has received a message sent from now on. Another task must keep them talking."""
    said = {program: program.said for program in swarm.programs}

    def behind() -> list[str]:
        return [program.name for program, upto in said.items() if program.partner and program.partner.heard <= upto]

    await until(lambda: not behind(), lambda: f"nothing heard of {behind()}", patience)


@contextlib.asynccontextmanager
async def alive(programs: Sequence[Program]) -> AsyncIterator[Swarm]:
    """Keep all programs connected during the block. An error of a program, such as `Lost`, ends it."""
    async with asyncio.TaskGroup() as tasks:
        lives = [tasks.create_task(program.live()) for program in programs]
        yield Swarm(programs)
        for life in lives:
            life.cancel()


def couples(pairs: int, here: Sequence[Address], there: Sequence[Address], acks: bool = True) -> list[Program]:
    """Return pairs of programs, with the home of the first in `here` and that of the second in `there`."""
    return [program for n in range(pairs) for program in (Program(f"a{n}", here, acks), Program(f"b{n}", there, acks))]
