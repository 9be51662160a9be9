"""The Redis client for everything but messages: it sends each call to the server of its key, and has one error."""

import hashlib
import importlib.resources
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import redis.exceptions
import structlog
from anyio.abc import TaskGroup

from relay.clock import clocks
from relay.configuration.config import OLDEST_SERVER, StartError
from relay.metrics import Counts
from relay.redis_client import engine
from relay.redis_client.backoff import Backoff
from relay.redis_client.dialing import Connection
from relay.redis_client.pipeline import PipelineConnection
from relay.redis_client.reply_to_dict import formed, info
from relay.redis_client.request_queue import CALL_SECONDS, NO_ANSWER, Call, RequestQueue, Unavailable
from relay.redis_client.slot_map import redirection
from relay.redis_client.topology_interface import ASKING_FAILED, SECTIONS, wrong_server

__all__ = ["RedisClient", "Script", "Unavailable"]

# The pause before a retry. A server that restarts refuses connections at once.
RETRY_SECONDS: Final = 0.05
# The interval at which calls are checked for time-outs.
CHECK_SECONDS: Final = 0.05
# The interval at which the topology is checked although nothing is wrong: a server whose place another one has taken
# may go on answering.
GLANCE_SECONDS: Final = 1.0
# The pause between two reads of the topology after a failure: the first if it has changed, and longer ones while it
# doesn't change.
DOUBT_SECONDS: Final = (0.1, 0.2, 0.4, 0.5)
# The maximum number of redirections of one call. While a slot moves there are two.
HOPS: Final = 5
# The commands whose key follows a script and a number.
_SCRIPTS: Final = ("EVALSHA", "EVAL")

log = structlog.get_logger()


class Script:
    """A Lua script of the directory, with `server.lua` before it."""

    __slots__ = ("sha", "text")

    def __init__(self, name: str) -> None:
        scripts = importlib.resources.files("relay").joinpath("directory", "scripts")
        self.text = b"".join(scripts.joinpath(f"{part}.lua").read_bytes() for part in ("server", name))
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()


class RedisClient:
    """A client of one Redis or Valkey, of the primary that sentinels name, or of a cluster.

    Calls to one server in the same iteration of the loop go out as one pipeline. `run` must be running while calls are
    made.
    """

    def __init__(self, url: str, counts: Counts | None = None, password_file: Path | None = None) -> None:
        """Raises ConfigError if a file that connections need can't be used."""
        self._counts = counts or Counts()
        self._engine = engine(url, password_file)
        self._queues: dict[str, RequestQueue] = {}
        self._tasks: TaskGroup | None = None
        self._sorted = 0  # the version of the topology by which queued calls were last sorted
        self._doubtful = anyio.Event()

    async def run(self) -> None:
        """Carry out calls and follow changes of the topology until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for queue in self._queues.values():
                tasks.start_soon(queue.run)
            tasks.start_soon(self._watch)
            tasks.start_soon(self._follow)

    async def _watch(self) -> None:
        """End calls that have waited for too long, and move queued calls to the servers that have their keys now."""
        while True:
            await anyio.sleep(CHECK_SECONDS)
            if self._sorted != self._engine.version:
                self._sort()
            now = clocks.monotonic()
            for queue in self._queues.values():
                queue.end_overdue(now)

    async def _follow(self) -> None:
        """Read the topology until cancelled: at once after a failure, and regularly otherwise."""
        backoff = Backoff(DOUBT_SECONDS)
        while True:
            with anyio.move_on_after(GLANCE_SECONDS):
                await self._doubtful.wait()
            doubtful, self._doubtful = self._doubtful.is_set(), anyio.Event()
            before = self._engine.version
            try:
                await (self._engine.refresh() if doubtful else self._engine.check())
            except ASKING_FAILED as error:
                log.debug("redis can't be looked for", error=str(error))
            if doubtful:
                await anyio.sleep(backoff.after(well=before != self._engine.version))

    def doubt(self) -> None:
        """Have the topology read soon, after a failure that may mean that another server is the right one."""
        self._doubtful.set()

    # --- calls

    @property
    def answering(self) -> bool:
        """Whether all servers answered their last pipelines."""
        return all(queue.answering for queue in self._queues.values())

    @property
    def crowded(self) -> bool:
        """Whether calls queue up at a server that answers."""
        return any(queue.crowded for queue in self._queues.values())

    def _put(self, call: Call) -> None:
        """Queue a call at the server that has its key."""
        home = self._engine.home(_key(call.args))
        if home is None:
            self.doubt()
            call.end(redis.exceptions.ConnectionError("no server serves this key"))
        else:
            self._shard(home).put(call)

    def _shard(self, home: str) -> RequestQueue:
        queue = self._queues.get(home)
        if queue is None:
            # A member of a cluster may get a call for a slot that is moving there, before it serves any.
            current = self._engine.current if not self._engine.sharded else lambda _: True
            line = PipelineConnection(lambda: self._engine.connect(home), current)
            queue = RequestQueue(line, self._counts, lambda call, error: self._failed(home, call, error))
            self._queues[home] = queue
            if self._tasks is not None:
                self._tasks.start_soon(queue.run)
        return queue

    def _failed(self, home: str, call: Call, error: Exception) -> None:
        """Handle a call that was refused or got no reply. A redirection sends it to another server."""
        if isinstance(error, redis.exceptions.NoScriptError):
            call.end(error)
            return
        self.doubt()
        if wrong_server(error):
            self._engine.doubt()
        named = redirection(str(error), home)
        if named is None or call.hops >= HOPS:
            call.end(error)
            return
        call.hops += 1
        call.asking = named.asking
        if not named.asking:
            self._engine.moved(named.slot, named.home)
        self._shard(named.home).put(call)

    def _sort(self) -> None:
        """Follow a change of the topology: leave servers that serve nothing now, and move the queued calls."""
        self._sorted = self._engine.version
        homes = self._engine.homes()
        for home, queue in list(self._queues.items()):
            queue.sort(lambda call, home=home: self._elsewhere(call, home))  # type: ignore[misc]
            if home not in homes and not queue.asking:
                del self._queues[home]
                queue.leave()

    def _elsewhere(self, call: Call, home: str) -> bool:
        if call.asking or self._engine.home(_key(call.args)) == home:
            return False
        self._put(call)
        return True

    async def call(self, *args: Any, urgent: bool = False) -> Any:
        """Send one command and return its reply. Retry on new connections for CALL_SECONDS; then raise Unavailable.

        The command must be one that may be carried out twice. Time in the queue doesn't count while other calls are
        answered: a crowd takes time, and if it were turned away it would only come back. Urgent calls go first.
        """
        began = clocks.monotonic()
        failure: BaseException | None = None  # the last one that says more than that the time is over
        while True:
            call = Call(args, began, urgent=urgent)
            self._put(call)
            result = await call.done
            if not isinstance(result, BaseException):
                return formed(args[0], result)
            if isinstance(result, redis.exceptions.NoScriptError):
                raise result
            failure = failure if failure and result is NO_ANSWER else result
            if result is NO_ANSWER or clocks.monotonic() + RETRY_SECONDS > began + CALL_SECONDS:
                raise Unavailable(str(failure))
            await anyio.sleep(RETRY_SECONDS)

    async def each(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Send many commands at once, without retries. Return their replies, with Unavailable for each that failed."""
        began = clocks.monotonic()
        calls = [Call(args, began) for args in commands]
        for call in calls:
            self._put(call)
        results = [await call.done for call in calls]
        return [Unavailable(str(result)) if isinstance(result, BaseException) else result for result in results]

    async def calls(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Send many commands at once, without retries, and return their replies. Raises Unavailable if any fails."""
        results = await self.each(commands)
        for result in results:
            if isinstance(result, Unavailable):
                raise result
        return results

    async def scripts(self, script: Script, keys: Iterable[str], *args: Any) -> list[Any]:
        """Run a script on many keys, as `calls` does. One key of each server goes first, to load the script."""
        answers: dict[str, Any] = dict.fromkeys(keys)
        firsts = {self._engine.home(key): key for key in answers}.values()
        for key in firsts:
            answers[key] = await self.script(script, key, *args)
        others = [key for key in answers if key not in firsts]
        answers |= zip(others, await self.calls(("EVALSHA", script.sha, 1, key, *args) for key in others), strict=True)
        return list(answers.values())

    async def script(self, script: Script, key: str, *args: Any, urgent: bool = False) -> Any:
        """Run a script on one key. Load it if the server doesn't have it."""
        try:
            return await self.call("EVALSHA", script.sha, 1, key, *args, urgent=urgent)
        except redis.exceptions.NoScriptError:
            return await self.call("EVAL", script.text, 1, key, *args, urgent=urgent)

    # --- the servers

    async def check(self) -> set[str]:
        """Check that most of the servers are there and usable. Return those, as `home` names them.

        Raises StartError for a lasting failure, Unavailable for one that may pass.
        """
        try:
            await self._engine.refresh()
        except ASKING_FAILED as error:
            raise _refused(error) from None
        answers = await self._infos("server")
        there, failed, silent = set[str](), list[Exception](), False
        for home, answer in answers.items():
            match answer:
                case redis.exceptions.NoPermissionError():
                    there.add(home)
                    silent = True
                case Exception():
                    failed.append(answer)
                case _:
                    there.add(home)
                    _check_version(answer)
        if silent:
            log.warning("redis doesn't say who it is (INFO is refused): a failover that loses writes is noticed late")
        if len(failed) >= len(there):
            raise _refused(failed[0]) if failed else Unavailable("no server serves anything")
        return there

    async def servers(self) -> dict[str, dict[str, Any] | Unavailable]:
        """Return each data server's INFO, or the error of the request, by the server's address.

        Servers that refuse INFO are left out. Raises Unavailable if no server is known.
        """
        await self.refresh_topology()
        answers = await self._infos(*SECTIONS)
        return {
            self._engine.address(home): Unavailable(_words(answer)) if isinstance(answer, Exception) else answer
            for home, answer in answers.items()
            if not isinstance(answer, redis.exceptions.NoPermissionError)
        }

    async def eviction(self) -> set[str]:
        """Return the eviction policies (`maxmemory-policy`) of the servers that tell them."""
        infos = (await self._infos("memory")).values()
        return {
            str(info["maxmemory_policy"]) for info in infos if isinstance(info, dict) and "maxmemory_policy" in info
        }

    async def _infos(self, *sections: str) -> dict[str, dict[str, Any] | Exception]:
        """Ask all servers that hold data concurrently for INFO. Return each one's fields, or its error, by its home."""
        answers: dict[str, dict[str, Any] | Exception] = {}

        async def ask(home: str) -> None:
            try:
                answers[home] = await _info(await self._engine.connect(home), sections)
            except ASKING_FAILED as error:
                answers[home] = error

        async with anyio.create_task_group() as tasks:
            for home in sorted(self._engine.homes()):
                tasks.start_soon(ask, home)
        return answers

    @property
    def sharded(self) -> bool:
        """Whether channels are sharded: each belongs to one server (SPUBLISH, SSUBSCRIBE)."""
        return self._engine.sharded

    @property
    def layout(self) -> int:
        """The version of the topology: a number that changes when keys or channels may have another home."""
        return self._engine.version

    def home(self, channel: str) -> str | None:
        """Return the server that is known to serve a key or channel; None while there is none."""
        return self._engine.home(channel)

    async def connect(self, home: str | None) -> Connection:
        """Return a new connection to a channel's home, set up (TLS, AUTH) and idle, for a caller that speaks RESP.

        Raises Unavailable, also as soon as another server takes that one's place. The caller closes the connection.
        """
        if home is None:
            raise Unavailable("no server serves this channel")
        made: list[Connection] = []
        error: Exception = redis.exceptions.ConnectionError(
            f"another server has the place of {self._engine.address(home)}"
        )
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._unless_left, home, tasks.cancel_scope)
                try:
                    made.append(await self._engine.connect(home))
                except ASKING_FAILED as why:
                    error = why
                tasks.cancel_scope.cancel()
        except BaseException:
            for connection in made:
                connection.close()
            raise
        if not made:
            raise Unavailable(_words(error))
        return made[0]

    async def _unless_left(self, home: str, scope: anyio.CancelScope) -> None:
        """Cancel the scope once the server serves nothing any more, as it may never answer."""
        while home in self._engine.homes():
            layout = self.layout
            while layout == self.layout:  # noqa: ASYNC110  no event tells of a change
                await anyio.sleep(CHECK_SECONDS)
        scope.cancel()

    async def publish(self, channel: str, messages: Sequence[bytes]) -> None:
        """Publish messages once, on a connection made for that. On a cluster each server passes them on to the others.

        Raises Unavailable.
        """
        first, error = self.home(channel), Unavailable("no server serves this channel")
        for home in sorted(self._engine.homes(), key=lambda home: home != first):
            try:
                return await self._publish(await self.connect(home), channel, messages)
            except Unavailable as why:
                error = why
        raise error

    async def _publish(self, connection: Connection, channel: str, messages: Sequence[bytes]) -> None:
        try:
            for message in messages:
                await connection.ask(("PUBLISH", channel, message))
        except ASKING_FAILED as error:
            raise Unavailable(_words(error)) from None
        finally:
            connection.close()

    async def refresh_topology(self) -> None:
        """Read the topology now. Raises Unavailable."""
        try:
            await self._engine.refresh()
        except ASKING_FAILED as error:
            raise Unavailable(_words(error)) from None

    @property
    def latency(self) -> float:
        """The network round trip to the farthest server in seconds; 0 while unknown."""
        return max((queue.latency for queue in self._queues.values()), default=0.0)

    @property
    def unwatched(self) -> str:
        """The reason why a failover of Redis wouldn't be noticed, for operators; empty if it would."""
        return self._engine.unwatched

    @property
    def files(self) -> str:
        """The paths of the files that new connections need (TLS, password), for the log."""
        return ", ".join(map(str, self._engine.files))

    def renew(self) -> None:
        """Read these files again, whether or not they look changed. Raises ConfigError if one can't be used."""
        self._engine.renew()

    def current(self, connection: Connection) -> bool:
        """Return whether a connection from `connect` is believed to lead to the same server as a new one."""
        return self._engine.current(connection)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.aclose()


def _check_version(info: dict[str, Any]) -> None:
    if info.get("server_name") == "valkey":
        return  # Valkey's first release is newer than the oldest allowed; its redis_version always says 7.2
    version = str(info.get("redis_version", "0"))
    if int(version.split(".")[0]) < OLDEST_SERVER:
        raise StartError(f"Redis {version} is too old: {OLDEST_SERVER} or later is needed")


def _refused(error: Exception) -> StartError | Unavailable:
    """Return a StartError for a failure that won't pass by itself, and Unavailable for one that may."""
    words = _words(error)
    if "cluster support disabled" in words:
        return StartError(f"Redis Cluster can't be used: cluster mode is not enabled: {words}")
    if isinstance(error, redis.exceptions.AuthenticationError):
        return StartError(f"Redis refuses the credentials: {words}")
    if isinstance(error, redis.exceptions.ResponseError) and not wrong_server(error):
        return StartError(f"Redis refuses: {words}")
    return Unavailable(words)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


async def _info(connection: Connection, sections: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a server's INFO, and close the connection."""
    try:
        (reply,) = await connection.ask(("INFO", *sections))
    finally:
        connection.close()
    if isinstance(reply, Exception):
        raise reply
    return info(reply)


def _key(args: Sequence[Any]) -> str:
    """Return the key of a command; empty if it has none, so that any server may answer."""
    place = 3 if args[0] in _SCRIPTS else 1
    return str(args[place]) if len(args) > place else ""
