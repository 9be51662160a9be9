"""Turns error replies of a server into exceptions of redis-py."""

from typing import Final

import redis.exceptions

# The exception for the first word of an error reply. Any other one is a ResponseError.
_KINDS: Final[dict[str, type[redis.exceptions.RedisError]]] = {
    "NOAUTH": redis.exceptions.AuthenticationError,
    "WRONGPASS": redis.exceptions.AuthenticationError,
    "NOPERM": redis.exceptions.NoPermissionError,
    "NOSCRIPT": redis.exceptions.NoScriptError,
    "LOADING": redis.exceptions.BusyLoadingError,
    "MASTERDOWN": redis.exceptions.MasterDownError,
    "READONLY": redis.exceptions.ReadOnlyError,
    "CLUSTERDOWN": redis.exceptions.ClusterDownError,
}
# Error replies with ERR are told apart by the words after it.
_SENTENCES: Final[dict[str, type[redis.exceptions.RedisError]]] = {
    "ERR max number of clients": redis.exceptions.ConnectionError,
    "ERR AUTH <password> called without any password": redis.exceptions.AuthenticationError,
    "ERR invalid password": redis.exceptions.AuthenticationError,
}
# The number of characters that are kept. Only the explanation of protected mode is longer, a page of text.
WORDS: Final = 200


def refusal(text: str, said_by: str = "") -> redis.exceptions.RedisError:
    """Return the exception for an error reply, with the server's words, and `said_by` before them if it isn't empty."""
    words = text if len(text) <= WORDS else f"{text[:WORDS]}…"
    kind = _KINDS.get(text.partition(" ")[0])
    if kind is None:
        kind = next((its for start, its in _SENTENCES.items() if text.startswith(start)), None)
    return (kind or redis.exceptions.ResponseError)(f"{said_by}: {words}" if said_by else words)
