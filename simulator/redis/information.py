"""The answer to INFO. Of its hundreds of fields it has those that clients read, and what one looks for first."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from simulator.redis.server import Server

_DAY: Final = 86_400
# Names of several sections together.
_GROUPS: Final = (b"all", b"everything", b"default")


def _server(server: "Server") -> str:
    up = max(0, server.now // 1_000_000 - server.started)
    return (
        "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n"
        f"server_mode:{'cluster' if server.cluster is not None else 'standalone'}\r\n"
        f"run_id:{server.run_id}\r\ntcp_port:{server.port}\r\nserver_time_usec:{server.now}\r\n"
        f"uptime_in_seconds:{up}\r\nuptime_in_days:{up // _DAY}\r\nhz:10"
    )


def _clients(server: "Server") -> str:
    subscribed = sum(client.subscribed for client in server.connections)
    return f"connected_clients:{len(server.connections)}\r\nmaxclients:10000\r\npubsub_clients:{subscribed}"


def _memory(server: "Server") -> str:
    settings = server.settings
    most, policy = settings[b"maxmemory"].decode(), settings[b"maxmemory-policy"].decode()
    return f"used_memory:{server.used_memory}\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}"


def _persistence(server: "Server") -> str:
    return f"loading:{int(server.loading)}"


def _stats(server: "Server") -> str:
    return f"total_connections_received:{server.received}\r\ntotal_commands_processed:{server.processed}"


def _replication(server: "Server") -> str:
    return server.replication.information()


def _cluster(server: "Server") -> str:
    return f"cluster_enabled:{int(server.cluster is not None)}"


def _keyspace(server: "Server") -> str:
    lines = []
    for number, database in enumerate(server.databases):
        if database.data:
            counts = f"keys={len(database.data)},expires={len(database.expires)},avg_ttl=0"
            lines.append(f"db{number}:{counts}")
    return "\r\n".join(lines)


_SECTIONS: Final[dict[bytes, Callable[["Server"], str]]] = {
    b"server": _server,
    b"clients": _clients,
    b"memory": _memory,
    b"persistence": _persistence,
    b"stats": _stats,
    b"replication": _replication,
    b"cluster": _cluster,
    b"keyspace": _keyspace,
}


def information(server: "Server", names: tuple[bytes, ...]) -> bytes:
    """Return the sections of INFO with these names, or all if there are none. Unknown names are left out."""
    parts = []
    for title, section in _sections(names):
        text = section(server)
        parts.append(f"{title}{text}\r\n" if text else title)
    return "\r\n".join(parts).encode()


@lru_cache  # each script asks for the same ones
def _sections(names: tuple[bytes, ...]) -> list[tuple[str, Callable[["Server"], str]]]:
    """Return the titles of the sections with these names, and what writes each."""
    wanted = {name.lower() for name in names}
    if not wanted or not wanted.isdisjoint(_GROUPS):
        wanted = set(_SECTIONS)
    return [(f"# {name.decode().capitalize()}\r\n", _SECTIONS[name]) for name in _SECTIONS if name in wanted]
