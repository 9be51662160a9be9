"""The way to Redis for everything that isn't a message: pipelines, time-outs, one kind of error."""

import asyncio
import hashlib
import importlib.resources
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import redis.exceptions
import structlog

from relay.config import OLDEST_SERVER, StartError
from relay.metrics import Counts
from relay.redis_client import engine
from relay.redis_client.dialing import Connection

# Whoever waits for the directory is told "unavailable" within a second, the way back included.
CALL_SECONDS: Final = 0.9
# Pause before another try. A restarting server refuses connections at once.
RETRY_SECONDS: Final = 0.05
# Calls that wait behind others, while those are answered, are given up after so long.
QUEUE_SECONDS: Final = 10.0
# How often it is looked for calls to give up.
LOOK_SECONDS: Final = 0.05
# Commands in one pipeline: a few milliseconds of this node's time, so that a thousand users who come at once don't hold
# up the messages of the others. Larger ones save hardly anything.
BATCH: Final = 32
# Calls that came while others were under way wait so long for more: fewer, larger pipelines cost a crowd that logs in
# less (docs/performance.md). Who comes alone doesn't wait, nor does a full pipeline.
GATHER_SECONDS: Final = 0.002
# What asking may end in. uvloop raises RuntimeError on a connection that broke while it was being set up.
_FAILED: Final = (redis.exceptions.RedisError, OSError, RuntimeError)

log = structlog.get_logger()


class Unavailable(Exception):
    """Redis can't be asked right now. Whether the command was carried out is unknown."""


_NO_ANSWER: Final = Unavailable("no answer in time")


class Script:
    """A Lua transition from a file of the directory, with what is put before each."""

    __slots__ = ("sha", "text")

    def __init__(self, name: str) -> None:
        scripts = importlib.resources.files("relay").joinpath("directory", "scripts")
        self.text = b"".join(scripts.joinpath(f"{part}.lua").read_bytes() for part in ("server", name))
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()


class _Call:
    """A command that waits for its turn, then for its answer, and who waits for that."""

    __slots__ = ("args", "began", "done", "until")

    def __init__(self, args: Sequence[Any], began: float) -> None:
        self.args = args
        self.began = began
        self.until = 0.0  # once it was sent to a server that answers: how long that may take
        # The answer, or an exception as a value. No event and scope with a deadline: a crowd has thousands of these.
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def end(self, result: Any) -> None:
        """Whoever waits has this result, if nobody has given up before."""
        if not self.done.done():
            self.done.set_result(result)


class Store:
    """A client of one Redis or Valkey, of the primary that sentinels name, or of a cluster.

    What is asked in one turn of the loop goes out as one pipeline. `run` has to run for as long as calls are made.
    """

    def __init__(self, url: str, counts: Counts | None = None, password_file: Path | None = None) -> None:
        """Raises ConfigError where a file that connections need can't be used."""
        self.answering = True  # the last pipeline was answered
        self._counts = counts or Counts()
        self._engine = engine(url, password_file)
        self._queue: deque[_Call] = deque()
        self._urgent: deque[_Call] = deque()
        self._asked: Sequence[_Call] = ()  # in the pipeline that is under way
        self._wake = anyio.Event()

    async def run(self) -> None:
        """Carry out what is asked, one pipeline at a time: what comes meanwhile, or soon after, makes the next one."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            while True:
                if not self._queue and not self._urgent:
                    self._wake = anyio.Event()
                    await self._wake.wait()
                calls: list[_Call] = []
                for queue in (self._urgent, self._queue):
                    while queue and len(calls) < BATCH:
                        call = queue.popleft()
                        if not call.done.done():
                            calls.append(call)
                if calls:
                    await self._pipeline(calls)
                if self._queue and not self._urgent and len(self._queue) < BATCH:
                    await anyio.sleep(GATHER_SECONDS)

    async def _pipeline(self, calls: list[_Call]) -> None:
        now = time.monotonic()
        self._asked = calls
        for call in calls:
            call.until = now + CALL_SECONDS if self.answering else 0.0
        try:
            results = await self._engine.ask([call.args for call in calls])
        except Exception as error:
            # Not only RedisError: RedisClusterException is none.
            results = [error] * len(calls)
        self.answering = not all(map(_no_answer, results))
        if self.answering:
            self._counts.round_trips.observe(time.monotonic() - now)
        else:
            self._counts.redis_failures += 1
        for call, result in zip(calls, results, strict=True):
            call.end(result)

    async def _watch(self) -> None:
        """Give up what has waited for too long."""
        while True:
            await anyio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for call in self._asked:
                if now >= max(call.began + CALL_SECONDS, call.until):
                    call.end(_NO_ANSWER)
            # While others are answered, waiting for one's turn doesn't count.
            patience = QUEUE_SECONDS if self.answering else CALL_SECONDS
            for queue in (self._urgent, self._queue):
                if not self.answering or (queue and now >= queue[0].began + patience):
                    for call in queue:
                        if now >= call.began + patience:
                            call.end(_NO_ANSWER)

    @property
    def crowded(self) -> bool:
        """Calls wait for their turn, and others are answered meanwhile."""
        return self.answering and len(self._queue) >= BATCH

    async def call(self, *args: Any, urgent: bool = False) -> Any:
        """One command. Tried again on a new connection until CALL_SECONDS are over; then raises Unavailable.

        So it must be one that may be carried out twice. While others are being answered, waiting for one's turn doesn't
        count: a crowd takes time, and to send it away would only make it come back. `urgent` goes before all others.
        """
        began = time.monotonic()
        while True:
            call = _Call(args, began)
            (self._urgent if urgent else self._queue).append(call)
            self._wake.set()
            result = await call.done
            if not isinstance(result, BaseException):
                return result
            if isinstance(result, redis.exceptions.NoScriptError):
                raise result
            if result is _NO_ANSWER or time.monotonic() + RETRY_SECONDS > began + CALL_SECONDS:
                raise Unavailable(str(result))
            await anyio.sleep(RETRY_SECONDS)

    async def scripts(self, script: Script, keys: Iterable[str], *args: Any) -> list[Any]:
        """The same transition on many keys, as `calls`; one on each server goes by itself, so that it loads there."""
        answers: dict[str, Any] = dict.fromkeys(keys)
        firsts = {self._engine.home(key): key for key in answers}.values()
        for key in firsts:
            answers[key] = await self.script(script, key, *args)
        others = [key for key in answers if key not in firsts]
        answers |= zip(others, await self.calls(("EVALSHA", script.sha, 1, key, *args) for key in others), strict=True)
        return list(answers.values())

    async def calls(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Many commands at once, without another try. Raises Unavailable if any of them fails."""
        began = time.monotonic()
        calls = [_Call(args, began) for args in commands]
        self._queue.extend(calls)
        self._wake.set()
        results = [await call.done for call in calls]
        for result in results:
            if isinstance(result, BaseException):
                raise Unavailable(str(result))
        return results

    async def script(self, script: Script, key: str, *args: Any, urgent: bool = False) -> Any:
        """One transition on one key; loads it where the server doesn't know it yet, or has forgotten it."""
        try:
            return await self.call("EVALSHA", script.sha, 1, key, *args, urgent=urgent)
        except redis.exceptions.NoScriptError:
            return await self.call("EVAL", script.text, 1, key, *args, urgent=urgent)

    async def check(self) -> None:
        """Look whether this is a server that will do. Raises StartError for good, Unavailable for now."""
        try:
            for info in await self._engine.infos("server"):
                _check_version(info)
        except redis.exceptions.NoPermissionError:
            log.warning("redis doesn't say who it is (INFO is refused): a failover that loses writes is noticed late")
        except redis.exceptions.AuthenticationError as error:
            raise StartError(f"Redis refuses the credentials: {error}") from None
        except (redis.exceptions.BusyLoadingError, redis.exceptions.ClusterDownError) as error:
            raise Unavailable(str(error)) from None
        except redis.exceptions.ResponseError as error:
            raise StartError(f"Redis refuses: {error}") from None
        except redis.exceptions.RedisClusterException as error:
            raise _cluster_error(str(error)) from None
        except _FAILED as error:
            raise Unavailable(str(error) or type(error).__name__) from None

    async def servers(self) -> dict[str, dict[str, Any]]:
        """What each server that holds data says of itself (INFO), by its address. Raises Unavailable."""
        try:
            return await self._engine.servers()
        except redis.exceptions.NoPermissionError:
            return {}
        except (*_FAILED, redis.exceptions.RedisClusterException) as error:
            raise Unavailable(str(error) or type(error).__name__) from None

    async def eviction(self) -> set[str]:
        """What the servers do when their memory is full (`maxmemory-policy`), as far as they may say so."""
        try:
            infos = await self._engine.infos("memory")
        except (*_FAILED, redis.exceptions.RedisClusterException):
            return set()
        return {str(info["maxmemory_policy"]) for info in infos if "maxmemory_policy" in info}

    @property
    def sharded(self) -> bool:
        """Whether each channel has a server of its own (SPUBLISH, SSUBSCRIBE)."""
        return self._engine.sharded

    def home(self, channel: str) -> str | None:
        """The server that serves a key or channel, as far as is known; None while none does."""
        return self._engine.home(channel)

    async def connect(self, home: str | None) -> Connection:
        """A connection of its own to a channel's home, set up (TLS, AUTH) and idle, for one who speaks the protocol.

        Raises Unavailable. The caller disconnects it.
        """
        try:
            if home is None:
                raise Unavailable("no server serves this channel")
            return await self._engine.connect(home)
        except (*_FAILED, redis.exceptions.RedisClusterException) as error:
            raise Unavailable(str(error) or type(error).__name__) from None

    async def publish(self, channel: str, messages: Iterable[bytes]) -> None:
        """Tell whoever listens, once, on a connection made for that. Raises Unavailable."""
        connection = await self.connect(self.home(channel))
        try:
            for message in messages:
                await connection.ask(("PUBLISH", channel, message))
        except _FAILED as error:
            raise Unavailable(str(error) or type(error).__name__) from None
        finally:
            connection.close()

    async def look(self) -> None:
        """Find out where the server is now. Raises Unavailable."""
        try:
            await self._engine.look()
        except (*_FAILED, redis.exceptions.RedisClusterException) as error:
            raise Unavailable(str(error) or type(error).__name__) from None

    def renew(self) -> None:
        """Read the files that new connections need (TLS, password) again. Raises ConfigError."""
        self._engine.renew()

    def current(self, connection: Connection) -> bool:
        """Whether, as far as is known, a connection from `connect` leads to where a new one would."""
        return self._engine.current(connection)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.aclose()


def _no_answer(result: Any) -> bool:
    return isinstance(result, Exception) and not isinstance(result, redis.exceptions.NoScriptError)


def _check_version(info: dict[str, Any]) -> None:
    if info.get("server_name") == "valkey":
        return  # Valkey's first release is newer than what is asked for; its redis_version says 7.2 for ever
    version = str(info.get("redis_version", "0"))
    if int(version.split(".")[0]) < OLDEST_SERVER:
        raise StartError(f"Redis {version} is too old: {OLDEST_SERVER} or later is needed")


def _cluster_error(message: str) -> Exception:
    """redis-py has one error for all that keeps it from a cluster; only its text tells what will not pass by itself."""
    for sign in ("not enabled", "WRONGPASS", "NOAUTH", "NOPERM", "invalid username"):
        if sign in message:
            return StartError(f"Redis Cluster can't be used: {message}")
    return Unavailable(message)
