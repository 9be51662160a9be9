"""Publishing on a cluster: each message goes to the primary that serves its channel at that time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from redis.crc import key_slot
from structlog.testing import capture_logs

from relay.bus import cluster_publisher_backend as backend_module
from relay.bus.cluster_publisher_backend import ClusterPublisherBackend
from relay.configuration.redis_url import Login
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.dialing import Connection, Dialer
from relay.redis_client.keys import Keys
from tests.relay.desk import until

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1"
KEYS = Keys("t")
FROZEN = b""


class Primary:
    """Answers what is published with `answer`, and records it."""

    def __init__(self) -> None:
        self.answer = b":1\r\n"
        self.pause = 0.0  # seconds before each answer
        self.published: list[tuple[bytes, ...]] = []
        self.clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients += 1
        try:
            await self._serve(reader, writer)
        finally:
            self.clients -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await _command(reader):
            if command[0] == b"PING":  # the connection is being set up
                writer.write(b"+PONG\r\n")
            else:
                self.published.append(command)
                await asyncio.sleep(self.pause)
                writer.write(self.answer)


async def _command(reader: asyncio.StreamReader) -> tuple[bytes, ...]:
    head = await reader.readline()
    parts = []
    for _ in range(int(head[1:] or 0)):
        length = int((await reader.readline())[1:])
        parts.append((await reader.readexactly(length + 2))[:-2])
    return tuple(parts)


class Topology:
    """Takes the place of the Redis client: it maps channels to primaries. `look` learns `truth`."""

    def __init__(self, homes: dict[str, str]) -> None:
        self.known = homes
        self.truth = dict(homes)
        self.down: set[str] = set()
        self.layout = 0

    def home(self, channel: str) -> str | None:
        return self.known.get(channel)

    async def refresh_topology(self) -> None:
        self.known = dict(self.truth)

    async def connect(self, home: str) -> Connection:
        if home in self.down:
            raise Unavailable("down")
        return await Dialer(Login()).dial(HOST, int(home))


class Scene:
    """Two primaries with the inbox `a` on the first and `b` on the second, and a backend with connections to both."""

    def __init__(self, primaries: list[Primary], ports: list[str]) -> None:
        self.primaries = primaries
        self.ports = ports
        self.topology = Topology({"a": ports[0], "b": ports[1]})
        self.answers: list[Any] = []
        self.lost = 0
        self.mute = 0
        self.repeated: list[str] = []
        self.backend = ClusterPublisherBackend(
            cast(RedisClient, self.topology),
            KEYS,
            "a",
            delegate=self,
        )

    def answered(self, reply: object, count: int, server: str) -> None:
        assert server in self.ports
        self.answers += [reply] * count

    def gave_up(self) -> None:
        self.mute += 1

    def unanswered(self, count: int) -> None:
        self.lost += count

    def connected(self) -> None:
        pass

    def rerouted(self, channels: Iterable[str]) -> None:
        self.repeated += channels

    def say(self, *channels: str) -> None:
        self.backend.send(*(("PUBLISH", channel, b"hi") for channel in channels))


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(backend_module, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(backend_module, "SILENT_SECONDS", 0.2)
    async with _a_scene() as scene:
        yield scene


@asynccontextmanager
async def _a_scene() -> AsyncIterator[Scene]:
    primaries = [Primary(), Primary()]
    async with AsyncExitStack() as stack:
        ports = []
        for primary in primaries:
            server = await stack.enter_async_context(await asyncio.start_server(primary.serve, HOST, 0))
            ports.append(str(server.sockets[0].getsockname()[1]))
        scene = Scene(primaries, ports)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.backend.run)
            await checkpoint()
            scene.say("a", "b")  # this opens the connections
            await until(lambda: sorted(scene.repeated) == ["a", "b"])
            assert scene.lost == 2
            scene.repeated.clear()
            scene.lost = 0
            yield scene
            tasks.cancel_scope.cancel()


async def test_each_message_goes_to_the_primary_that_serves_its_channel(scene: Scene) -> None:
    scene.say("a", "b", "a")
    await until(lambda: len(scene.answers) == 3)
    assert [primary.published for primary in scene.primaries] == [
        [(b"SPUBLISH", b"a", b"hi")] * 2,
        [(b"SPUBLISH", b"b", b"hi")],
    ]


async def test_a_message_for_everyone_is_said_once_and_not_sharded(scene: Scene) -> None:
    scene.say(KEYS.everyone)
    await until(lambda: scene.answers)
    assert [said for primary in scene.primaries for said in primary.published] == [
        (b"PUBLISH", KEYS.everyone.encode(), b"hi")
    ]


async def test_a_channel_that_was_refused_is_looked_for_and_what_was_under_way_goes_again(scene: Scene) -> None:
    scene.primaries[0].answer = b"-MOVED 1 127.0.0.1:1\r\n"
    scene.topology.truth["a"] = scene.ports[1]
    scene.say("a")
    await until(lambda: scene.repeated)
    assert (scene.lost, scene.answers, scene.repeated) == (1, [], ["a"])
    scene.say("a")
    await until(lambda: scene.answers)
    assert scene.primaries[1].published == [(b"SPUBLISH", b"a", b"hi")]


async def test_a_channel_that_nobody_serves_is_tried_again_and_again(scene: Scene) -> None:
    scene.primaries[0].answer = b"-CLUSTERDOWN Hash slot not served\r\n"
    scene.say("a")
    for rounds in range(1, 4):
        await until(lambda rounds=rounds: len(scene.repeated) == rounds)  # type: ignore[misc]
        scene.say("a")
    assert set(scene.repeated) == {"a"}


async def test_a_primary_that_is_silent_is_given_up_and_the_other_one_is_not(scene: Scene) -> None:
    scene.primaries[0].answer = FROZEN
    scene.topology.truth["a"] = scene.ports[1]  # its replica has taken over, and the old primary doesn't say so
    scene.say("a", "a")
    scene.say("b")
    await until(lambda: scene.repeated)
    assert (scene.lost, scene.answers, scene.repeated) == (2, [1], ["a"])
    scene.say("a")
    await until(lambda: len(scene.answers) == 2)


async def test_a_primary_that_another_one_has_replaced_is_left_though_it_still_answers(scene: Scene) -> None:
    scene.topology.known = {"a": scene.ports[1], "b": scene.ports[1]}
    scene.topology.layout += 1
    await until(lambda: scene.repeated == ["a"])
    await until(lambda: not scene.primaries[0].clients)
    scene.say("a")
    await until(lambda: scene.answers)
    assert scene.primaries[1].published == [(b"SPUBLISH", b"a", b"hi")]


async def test_a_primary_that_answers_slowly_is_not_given_up(scene: Scene) -> None:
    scene.primaries[0].pause = 0.05
    scene.say(*"aaaaaaaa")  # this takes longer than SILENT_SECONDS
    await until(lambda: len(scene.answers) == 8)
    assert (scene.lost, scene.repeated) == (0, [])


async def test_a_primary_that_is_gone_is_tried_until_it_is_back(scene: Scene) -> None:
    scene.topology.down.add(scene.ports[0])
    scene.primaries[0].answer = FROZEN
    scene.say("a")
    await until(lambda: scene.lost == 1)
    scene.say("a", "b")
    await until(lambda: scene.answers)
    assert (scene.lost, scene.repeated) == (2, [])
    scene.topology.down.clear()
    await until(lambda: scene.repeated == ["a"])


async def test_a_probe_has_every_primary_answer_also_those_where_nothing_is_published(scene: Scene) -> None:
    scene.backend.probe(("PUBLISH", "a", b"hi"))
    await until(lambda: scene.answers and scene.primaries[1].published)
    assert scene.primaries[0].published == [(b"SPUBLISH", b"a", b"hi")]
    assert scene.primaries[1].published == [(b"SPUBLISH", KEYS.beside("b").encode(), b"")]
    assert key_slot(KEYS.beside("t:inbox:x").encode()) == key_slot(b"t:inbox:x")
    assert (scene.answers, scene.lost, scene.backend.silent("")) == ([1], 0, 0)


async def test_a_primary_that_no_longer_answers_is_noticed_although_nothing_is_published_there(scene: Scene) -> None:
    scene.primaries[1].answer = FROZEN
    with capture_logs() as lines:
        while not scene.repeated:
            scene.backend.probe(("PUBLISH", "a", b"hi"))
            await anyio.sleep(0.01)
        await until(lambda: scene.mute)
    assert scene.repeated == ["b"]
    assert scene.backend.trouble == ""
    assert "no answer" in lines[0]["error"]
    assert scene.backend.silent("") == 1
    assert lines[0]["event"] == "a primary can't be published at"
    assert lines[0]["primary"] == scene.ports[1]
    scene.primaries[1].answer = b":0\r\n"
    scene.backend.probe(("PUBLISH", "a", b"hi"))
    await until(lambda: not scene.backend.silent(""))


async def test_a_refusal_is_the_trouble_of_its_primary_unless_the_channel_only_moved(scene: Scene) -> None:
    scene.primaries[0].answer = b"-CLUSTERDOWN Hash slot not served\r\n"
    scene.say("a")
    await until(lambda: scene.lost)
    assert scene.backend.trouble == f"{scene.ports[0]} refuses: CLUSTERDOWN Hash slot not served"
    scene.primaries[0].answer = b":1\r\n"
    scene.say("a")
    await until(lambda: scene.answers)
    scene.primaries[0].answer = b"-MOVED 1 127.0.0.1:1\r\n"
    scene.say("a")
    await until(lambda: scene.lost == 2)
    assert scene.backend.trouble == ""


async def test_an_inbox_that_is_forgotten_is_looked_for_anew(scene: Scene) -> None:
    scene.backend.forget("a")
    assert scene.backend.trouble == "no server serves the own inbox"
    scene.topology.known["a"] = scene.ports[1]
    scene.say("a")
    await until(lambda: scene.answers)
    assert scene.primaries[1].published == [(b"SPUBLISH", b"a", b"hi")]


async def test_a_refusal_that_another_server_would_repeat_is_the_answer(scene: Scene) -> None:
    scene.primaries[0].answer = b"-NOPERM no permissions to publish\r\n"
    scene.say("a")
    await until(lambda: scene.answers)
    assert str(scene.answers[0]) == "NOPERM no permissions to publish"
    assert (scene.lost, scene.repeated) == (0, [])


async def test_a_frame_for_a_channel_that_no_server_serves_is_lost(scene: Scene) -> None:
    scene.say("nobody's", "a")
    assert scene.lost == 1
    await until(lambda: scene.answers)


async def test_garbage_takes_no_more_memory_than_so_many_channels_and_costs_nobody_a_message(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "CHANNELS", 2)
    for number in range(10):
        scene.topology.known[str(number)] = scene.ports[1]
        scene.say(str(number))
        assert len(scene.backend._homes) <= 2  # private: a memory that only grows shows nowhere else
    scene.say("a", "b")
    await until(lambda: len(scene.answers) == 12)
    assert scene.primaries[0].published == [(b"SPUBLISH", b"a", b"hi")]
