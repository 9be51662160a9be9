"""Sentinels: which one is believed if they differ, what they tell about each other, and invalid answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis.exceptions
from structlog.testing import capture_logs

from relay.configuration.config import ConfigError, StartError
from relay.configuration.redis_url import parse
from relay.redis_client.client import RedisClient
from relay.redis_client.sentinel import LEARNED, Sentinels
from relay.tools.testbed.process import HOST, free_port
from tests.relay.desk import until

pytestmark = pytest.mark.anyio

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


def bulk(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w.encode()), w.encode()) for w in words)


class Guard:
    """A scripted sentinel."""

    def __init__(self, primary: tuple[str, int] | None, epoch: int = 1, name: str = "") -> None:
        self.primary = primary
        self.epoch = epoch
        self.others: list[tuple[str, str, str]] = []  # host, port, id
        self.silent = False
        self.refused: set[str] = set()
        self.port = 0
        self.name = name or f"id-{id(self)}"
        self.asked = 0
        self._open = 0

    def answer(self, words: list[bytes]) -> bytes:
        """Return the answer to one command."""
        verb = b" ".join(words[:2]).decode()
        if verb in self.refused:
            return b"-NOPERM no\r\n"
        match verb:
            case "SENTINEL GET-MASTER-ADDR-BY-NAME":
                self.asked += 1
                return b"*-1\r\n" if self.primary is None else bulk(self.primary[0], str(self.primary[1]))
            case "SENTINEL MASTER":
                return bulk("name", "service", "config-epoch", str(self.epoch))
            case "SENTINEL SENTINELS":
                rows = [bulk("ip", host, "port", port, "runid", name) for host, port, name in self.others]
                return b"*%d\r\n" % len(rows) + b"".join(rows)
            case "SENTINEL MYID":
                return b"$%d\r\n%b\r\n" % (len(self.name), self.name.encode())
        return b"+PONG\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            while data := await reader.read(65_536):
                for command in data.split(b"*")[1:]:
                    if not self.silent:
                        writer.write(self.answer(command.split(b"\r\n")[2::2]))
        except ConnectionResetError:
            pass
        writer.close()
        self._open -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.serve, HOST, self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await until(lambda: not self._open)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Starts sentinels, of which the first ones are in the URL."""
    async with AsyncExitStack() as stack:

        async def start(*guards: Guard, given: int | None = None) -> Sentinels:
            for guard in guards:
                await stack.enter_async_context(guard.running())
            hosts = ",".join(f"{HOST}:{guard.port}" for guard in guards[:given])
            sentinels = Sentinels(parse(f"redis+sentinel://{hosts}/service"))
            stack.push_async_callback(sentinels.aclose)
            return sentinels

        yield start


Start = Callable[..., Any]


async def found(sentinels: Sentinels) -> tuple[str, int] | None:
    await sentinels.refresh()
    return sentinels._primary  # private: else a connection to it would have to be made


async def test_the_latest_configuration_counts_whoever_else_says_so(start: Start) -> None:
    assert await found(await start(Guard(OLD, 3), Guard(OLD, 3), Guard(NEW, 4))) == NEW


async def test_of_the_same_configuration_counts_what_most_say(start: Start) -> None:
    assert await found(await start(Guard(OLD), Guard(NEW), Guard(NEW))) == NEW


async def test_silent_sentinels_hold_nobody_up_and_one_that_answers_is_enough(start: Start) -> None:
    silent = [Guard(OLD, 9), Guard(OLD, 9)]
    for guard in silent:
        guard.silent = True
    assert await found(await start(*silent, Guard(NEW))) == NEW


async def test_answers_that_sentinels_may_not_give_are_done_without(start: Start) -> None:
    guard = Guard(NEW)
    guard.refused = {"SENTINEL MASTER", "SENTINEL SENTINELS", "SENTINEL MYID"}
    assert await found(await start(guard)) == NEW


@pytest.mark.parametrize("nonsense", [b":5\r\n", b"+OK\r\n", b"*1\r\n:5\r\n", b"*2\r\n$12\r\nconfig-epoch\r\n+x\r\n"])
async def test_a_senseless_answer_costs_only_the_sentinel_that_gives_it(start: Start, nonsense: bytes) -> None:
    guard, sane = Guard(OLD), Guard(NEW)
    guard.answer = lambda words: b"+PONG\r\n" if words[0] == b"PING" else nonsense  # type: ignore[method-assign]
    assert await found(await start(guard, sane)) == NEW


@pytest.mark.parametrize("epoch", ["", "-1", "x", "\u0663"])
async def test_an_epoch_that_is_no_number_is_older_than_any(start: Start, epoch: str) -> None:
    guard, sane = Guard(OLD), Guard(NEW, 1)
    guard.epoch = epoch  # type: ignore[assignment]
    sentinels = await start(guard, sane)
    assert await found(sentinels) == NEW
    sane.refused = {"SENTINEL GET-MASTER-ADDR-BY-NAME"}
    assert await found(sentinels) == OLD


async def test_sentinels_that_others_tell_of_are_asked_when_none_of_the_url_answers(start: Start) -> None:
    first, other = Guard(OLD), Guard(NEW, 2)
    sentinels = await start(first, other, given=1)
    first.others = [(HOST, str(other.port), other.name)]
    assert await found(sentinels) == OLD
    assert other.asked == 0, "those of the URL are enough"
    first.primary = None
    with capture_logs() as lines:
        assert await found(sentinels) == NEW
    assert lines == []
    assert sentinels.unwatched == ""


async def test_another_sentinel_at_the_address_of_before_is_not_believed(start: Start) -> None:
    """It belongs to another installation with a service of the same name."""
    first, stranger = Guard(OLD), Guard(NEW, 9, name="stranger")
    sentinels = await start(first, stranger, given=1)
    first.others = [(HOST, str(stranger.port), "friend")]
    assert await found(sentinels) == OLD
    first.primary = None
    assert await found(sentinels) == OLD, "where it was"
    assert "is another sentinel now" in sentinels.unwatched


@pytest.mark.parametrize(
    "told",
    [
        ("", "26379"),
        ("a b", "26379"),
        ("a\nb", "1"),
        ("h" * 300, "1"),
        (HOST, "0"),
        (HOST, "65536"),
        (HOST, "x"),
        ("@", "1"),
    ],
)
async def test_an_invalid_address_of_another_sentinel_or_a_primary_is_left_out(
    start: Start, told: tuple[str, str]
) -> None:
    guard = Guard(NEW)
    sentinels = await start(guard)
    guard.others = [(*told, "id")]
    assert await found(sentinels) == NEW
    assert sentinels._learned == {}  # private: else all others would have to be silent first
    guard.primary = (told[0], 1) if told[1] == "1" else None
    assert await found(sentinels) == NEW


async def test_however_many_are_told_of_few_are_remembered(start: Start) -> None:
    guard = Guard(NEW)
    sentinels = await start(guard)
    guard.others = [(f"10.1.{n // 250}.{n % 250}", "1", f"id{n}") for n in range(1000)]
    await sentinels.refresh()
    assert len(sentinels._learned) == LEARNED  # private: what is remembered beyond that shows nowhere else


async def test_the_silence_of_all_sentinels_is_said_once_and_so_is_its_end(start: Start) -> None:
    guard = Guard(NEW)
    sentinels = await start(guard)
    await sentinels.refresh()
    guard.refused = {"SENTINEL GET-MASTER-ADDR-BY-NAME"}
    with capture_logs() as lines:
        for _ in range(3):
            await sentinels.refresh()
        guard.refused = set()
        await sentinels.refresh()
    assert [line["event"] for line in lines] == [
        "no sentinel answers: a failover won't be noticed",
        "sentinels answer again",
    ]
    assert f"{HOST}:{guard.port}: NOPERM no" in lines[0]["error"]


async def test_a_service_that_nobody_knows_is_told_with_the_names_of_all(start: Start) -> None:
    guard = Guard(None)
    with pytest.raises(redis.exceptions.ConnectionError) as caught:
        await (await start(guard)).refresh()
    assert str(caught.value) == (
        f"no sentinel tells where the primary is: {HOST}:{guard.port} knows no service 'service'"
    )


async def test_many_sentinels_that_are_away_are_one_short_line() -> None:
    hosts = ",".join(f"{HOST}:{free_port()}" for _ in range(9))
    with pytest.raises(redis.exceptions.ConnectionError) as caught:
        await Sentinels(parse(f"redis+sentinel://{hosts}/service")).refresh()
    assert str(caught.value).endswith("; and 6 more")
    assert len(str(caught.value)) < 200


async def test_the_password_of_sentinels_is_read_for_each_connection(start: Start, tmp_path: Path) -> None:
    guard, file = Guard(NEW), tmp_path / "password"
    said: list[list[bytes]] = []
    answer = guard.answer

    def hear(words: list[bytes]) -> bytes:
        if words[0] == b"AUTH":
            said.append(words[1:])
        return answer(words)

    guard.answer = hear  # type: ignore[method-assign]
    await start(guard)
    file.write_text("one\n")
    url = f"redis+sentinel://{HOST}:{guard.port}/service?sentinel_username=me&sentinel_password_file={file}"
    for password in ("one", "two"):
        file.write_text(f"{password}\n")
        sentinels = Sentinels(parse(url))
        await sentinels.refresh()
        await sentinels.aclose()
    assert said == [[b"me", b"one"], [b"me", b"two"]]
    file.write_text("")
    with pytest.raises(ConfigError, match="sentinel_password_file"):
        Sentinels(parse(url))


async def test_a_password_that_sentinels_refuse_ends_a_start(start: Start) -> None:
    guard = Guard(NEW)
    await start(guard)
    guard.answer = lambda words: b"-NOAUTH Authentication required.\r\n"  # type: ignore[method-assign]
    redis_client = RedisClient(f"redis+sentinel://{HOST}:{guard.port}/service")
    with pytest.raises(StartError, match=f"Redis refuses the credentials: {HOST}:{guard.port}: NOAUTH"):
        await redis_client.check()
    await redis_client.aclose()


async def test_whoever_shares_a_question_shares_its_failure() -> None:
    """The first call is asking when the others come. These two share the next question, which fails too."""
    sentinels = Sentinels(parse(f"redis+sentinel://{HOST}:{free_port()}/service"))
    failures: list[Exception] = []

    async def connect() -> None:
        try:
            await sentinels.connect("")
        except Exception as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(connect)
    assert [type(failure) for failure in failures] == [redis.exceptions.ConnectionError] * 3
