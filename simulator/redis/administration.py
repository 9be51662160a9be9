"""The commands about a server: TIME, CONFIG, and the scripts."""

from typing import TYPE_CHECKING, Final, cast

from simulator.redis.commands import Commands
from simulator.redis.patterns import compiled
from simulator.redis.replies import OK, CommandError
from simulator.redis.words import integer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.redis.connection import ClientConnection
    from simulator.redis.server import Server

ADMINISTRATION: Final = Commands()


def _server(client: "ClientConnection") -> "Server":
    """Return the server of a connection. Only servers have the commands of this table."""
    return cast("Server", client.server)


@ADMINISTRATION.add("time", 1, loading=True, stale=True)
def _time(client: "ClientConnection", words: list[bytes]) -> object:
    return [b"%d" % part for part in divmod(_server(client).now, 1_000_000)]


# --- CONFIG


@ADMINISTRATION.add("config get", -3, in_scripts=False, loading=True, stale=True)
def _config_get(client: "ClientConnection", words: list[bytes]) -> object:
    settings = _server(client).settings
    patterns = [compiled(word.lower()) for word in words[2:]]
    return {
        name: value for name, value in sorted(settings.items()) if any(pattern.fullmatch(name) for pattern in patterns)
    }


@ADMINISTRATION.add("config set", -4, in_scripts=False, loading=True, stale=True)
def _config_set(client: "ClientConnection", words: list[bytes]) -> object:
    if len(words) % 2:
        raise CommandError("ERR wrong number of arguments for 'config|set' command")
    changes = {name.lower(): value for name, value in zip(words[2::2], words[3::2], strict=True)}
    for name in changes:
        if name not in _server(client).settings:
            raise CommandError(b"ERR Unknown option or number of arguments for CONFIG SET - '%b'" % name)
    _server(client).configure(changes)
    return OK


@ADMINISTRATION.add("config resetstat", 2, in_scripts=False, loading=True, stale=True)
def _config_resetstat(client: "ClientConnection", words: list[bytes]) -> object:
    return OK


# --- scripts


def _script_keys(words: list[bytes]) -> "Sequence[bytes]":
    """Return the keys of EVAL and EVALSHA: their number comes first."""
    return words[3 : 3 + int(words[2])] if words[2].isdigit() else ()


def _count_of_keys(words: list[bytes]) -> int:
    count = integer(words[2])
    if count > len(words) - 3:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    return count


@ADMINISTRATION.add("eval", -3, keys=_script_keys, in_scripts=False, waits_for_writes=True)
def _eval(client: "ClientConnection", words: list[bytes]) -> object:
    count = _count_of_keys(words)
    return _server(client).run_script(client, _server(client).scripts.load(words[1]), count, words[3:])


@ADMINISTRATION.add("evalsha", -3, keys=_script_keys, in_scripts=False, waits_for_writes=True)
def _evalsha(client: "ClientConnection", words: list[bytes]) -> object:
    return _server(client).run_script(client, words[1], _count_of_keys(words), words[3:])


@ADMINISTRATION.add("script load", 3, in_scripts=False, stale=True)
def _script_load(client: "ClientConnection", words: list[bytes]) -> object:
    return _server(client).scripts.load(words[2])


@ADMINISTRATION.add("script exists", -3, in_scripts=False, stale=True)
def _script_exists(client: "ClientConnection", words: list[bytes]) -> object:
    return [int(sha in _server(client).scripts) for sha in words[2:]]


@ADMINISTRATION.add("script flush", -2, in_scripts=False, stale=True)
def _script_flush(client: "ClientConnection", words: list[bytes]) -> object:
    if len(words) > 3 or (len(words) == 3 and words[2].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    _server(client).scripts.flush()
    return OK
