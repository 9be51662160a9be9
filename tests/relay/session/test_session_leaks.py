"""A session that is over is gone at once, in any situation: nothing waits for the cyclic garbage collector."""

import gc
import json
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from relay.hub.hub import Hub
from relay.metrics import Limit
from relay.session.drain import dismiss
from relay.session.runtime_interface import Limits
from relay.session.session import Session
from tests.relay.desk import Wire, a_hub, until
from tests.support.server import RedisServer

pytestmark = pytest.mark.anyio

# No timer of a session goes off during a test, except the one of a client that doesn't come back.
NEVER = 600.0
LIMITS = Limits(grace=0.02, lease=NEVER, name=NEVER, patience=NEVER, reunion=NEVER, ask=NEVER, call=NEVER)

DIALECTS = ["text", "classic", "json"]


class Client:
    """A client of any dialect. Nothing is left of it once it has `left`."""

    def __init__(self, hub: Hub, dialect: str) -> None:
        self.dialect = dialect
        self.wire: Any = Wire(hub, classic=dialect == "classic")

    def says(self, text: str, /, **frame: Any) -> None:
        """Send a person's line, or a frame."""
        self.wire.send(json.dumps(frame).encode() + b"\n" if self.dialect == "json" else text.encode() + b"\n")

    async def hears(self, *words: bytes) -> bytes:
        """Wait for one of these."""
        await until(lambda: any(word in self.wire.sent for word in words))
        sent = bytes(self.wire.sent)
        self.wire.lines()
        return sent

    async def enters(self, name: str, **more: Any) -> None:
        """Claim a name."""
        self.says(name, type="hello", name=name, **more)
        await self.hears(b"OK", b'"welcome"')

    async def calls(self, name: str) -> None:
        """Call a free user."""
        self.says(f"To:{name}", type="to", name=name)

    def leaves(self) -> None:
        """Break the connection. As a transport of asyncio does, the wire lets go of its connection then."""
        self.wire.reset()
        self.wire.socket.close()
        self.wire.connection = None
        self.wire = None


class Stage:
    """A node, its clients, and a check of every session that there ever was."""

    def __init__(self, hub: Hub, dialect: str, sessions: "list[weakref.ref[Session]]") -> None:
        self.hub, self._dialect = hub, dialect
        self._clients: list[Client] = []
        self._sessions = sessions

    def client(self, dialect: str = "") -> Client:
        """Return a new client."""
        self._clients.append(Client(self.hub, dialect or self._dialect))
        return self._clients[-1]

    def cuts_off(self) -> None:
        """Cut off all remaining clients."""
        for client in self._clients:
            if client.wire is not None:
                client.leaves()

    async def is_empty(self) -> None:
        """Cut off all remaining clients, and return whether nothing is left of them."""
        self.cuts_off()
        await until(lambda: self.left() == [])

    def left(self) -> list[Any]:
        """Return the sessions that are still in memory."""
        return [session.state for session in (there() for there in self._sessions) if session is not None]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=DIALECTS)
async def stage(
    redis_server: RedisServer,
    prefix: str,
    request: pytest.FixtureRequest,
    no_collector: None,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    sessions: list[weakref.ref[Session]] = []
    plug = Hub.plug

    def noted(self: Hub, *about: Any, **more: Any) -> Session:
        session = plug(self, *about, **more)
        sessions.append(weakref.ref(session))
        return session

    monkeypatch.setattr(Hub, "plug", noted)
    async with a_hub(redis_server.url, prefix, LIMITS) as hub:
        stage = Stage(hub, request.param, sessions)
        yield stage
        stage.cuts_off()  # the test has failed


Scene = Callable[[Stage], Awaitable[None]]


async def says_nothing(stage: Stage) -> None:
    stage.client()


async def quits_before_it_has_a_name(stage: Stage) -> None:
    stage.client().says("Quit", type="quit")


async def asks_for_what_it_cannot_have(stage: Stage) -> None:
    await stage.client().enters("ann")
    second = stage.client()
    second.says("ann", type="hello", name="ann")
    await second.hears(b"Reuse", b"name_taken")
    second.says("a b c", type="hello", name="a b c")
    await second.hears(b"* ", b"name_invalid")


async def is_cut_off_while_it_asks_for_a_name(stage: Stage) -> None:
    ann = stage.client()
    ann.says("ann", type="hello", name="ann")
    ann.leaves()
    await until(lambda: not stage.hub.sessions)


async def quits(stage: Stage) -> None:
    ann = stage.client()
    await ann.enters("ann")
    ann.says("Quit", type="quit")
    await ann.hears(b"Quit", b"bye")


async def is_cut_off(stage: Stage) -> None:
    await stage.client().enters("ann")


async def talks(stage: Stage) -> None:
    ann, ben = stage.client(), stage.client()
    await ann.enters("ann")
    await ben.enters("ben")
    await ann.calls("ben")
    if ann.dialect != "classic":
        await ann.hears(b"You are chatting", b"paired")
    ann.says("hi", type="msg", id=1, text="hi")
    await ben.hears(b"ann: (hi)", b'"text":"hi"')
    ben.says("ho", type="msg", id=1, text="ho")
    await ann.hears(b"ben: (ho)", b'"text":"ho"')
    ann.says("Quit", type="quit")
    await ben.hears(b"Quit.", b'"left"')


async def quits_behind_what_it_said(stage: Stage) -> None:
    """The partner's program takes its time to acknowledge, so the end waits for that."""
    ann, ben = stage.client(), stage.client("json")
    await ann.enters("ann")
    await ben.enters("ben", acks=True)
    ben.says("", type="to", name="ann")
    await ben.hears(b"paired")
    ann.says("hi", type="msg", id=1, text="hi")
    await ben.hears(b'"text":"hi"')
    ann.says("Quit", type="quit")
    await until(lambda: stage.hub.sessions["ann"].pending is not None)
    ben.says("", type="ack", id=1)
    await ben.hears(b'"left"')


async def calls_and_is_called(stage: Stage) -> None:
    ann, ben, cid = stage.client(), stage.client("json"), stage.client("json")
    await ann.enters("ann")
    await ben.enters("ben", ask=True)
    await cid.enters("cid")
    await ann.calls("zoe")
    await ann.hears(b"not exist", b"no_such_user")
    await ann.calls("ben")
    await ben.hears(b"invited")
    ben.says("", type="decline")
    await ann.hears(b"did not take the call", b"declined")
    await cid.calls("ben")
    await ben.hears(b"invited")
    cid.leaves()  # it leaves while the call rings
    ben.says("", type="block", name="ann")
    await ben.hears(b"blocked")
    await ann.calls("ben")
    await ann.hears(b"talking with someone else", b"busy")
    ann.leaves()


async def loses_its_name(stage: Stage) -> None:
    ann, ben = stage.client(), stage.client()
    await ann.enters("ann")
    await ben.enters("ben")
    await ann.calls("ben")
    await ben.hears(b"is chatting with you" if ann.dialect != "classic" else b"", b"paired")
    stage.hub.open_tick()
    stage.hub.sessions["ann"].name_lost()
    await ann.hears(b"now belongs to another", b"name_lost")


async def goes_on_elsewhere(stage: Stage) -> None:
    ann = stage.client()
    await ann.enters("ann")
    stage.hub.open_tick()
    stage.hub.sessions["ann"].replaced()
    await ann.hears(b"now belongs to another", b"replaced")


async def says_too_much_at_once(stage: Stage) -> None:
    """It is cut off while it isn't read because of its many lines, which is longer than the test waits."""
    stage.hub.limits = replace(stage.hub.limits, bytes=1)
    ann = stage.client()
    await ann.enters("ann")
    ann.says("what nobody hears", type="ping")
    assert stage.hub.counts.limits[Limit.RATE] == 1


async def is_sent_home(stage: Stage) -> None:
    await stage.client().enters("ann")
    stage.client()
    stage.hub.open_tick()
    for session in list(stage.hub.sessions.values()):
        dismiss(session)


@pytest.mark.parametrize(
    "scene",
    [
        says_nothing,
        quits_before_it_has_a_name,
        asks_for_what_it_cannot_have,
        is_cut_off_while_it_asks_for_a_name,
        quits,
        is_cut_off,
        talks,
        quits_behind_what_it_said,
        calls_and_is_called,
        loses_its_name,
        goes_on_elsewhere,
        says_too_much_at_once,
        is_sent_home,
    ],
)
async def test_nothing_is_left_of_a_client_that(scene: Scene, stage: Stage) -> None:
    await scene(stage)
    await stage.is_empty()


async def token_of(client: Client, name: str) -> str:
    client.says("", type="hello", name=name)
    return str(json.loads((await client.hears(b"welcome")).splitlines()[0])["token"])


@pytest.mark.parametrize("stage", ["json"], indirect=True)
@pytest.mark.parametrize("cut_off_before", [False, True])
async def test_nothing_is_left_of_a_client_that_came_back(
    stage: Stage, cut_off_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.hub, "limits", Limits(reunion=0.01))
    ann, ben = stage.client(), stage.client()
    token = await token_of(ann, "ann")
    await ben.enters("ben")
    await ann.calls("ben")
    (paired,) = [json.loads(line) for line in (await ann.hears(b"paired")).splitlines()]
    if cut_off_before:
        ann.leaves()
        await ben.hears(b'"away"')
    again = stage.client()
    again.says("", type="hello", name="ann", token=token, chat=paired["chat"], sent=0, last=0)
    await again.hears(b"paired")
    for client in (again, ben):
        client.says("", type="quit")
        await client.hears(b"bye")
    await stage.is_empty()
