"""What a server's refusal (an error reply) means, as the exceptions of redis-py that everybody here knows."""

from typing import Final

import redis.exceptions

# The first word of a refusal, and what it is raised as. Every other refusal is a ResponseError.
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
# Refusals that all begin with ERR are told apart by what follows.
_SENTENCES: Final[dict[str, type[redis.exceptions.RedisError]]] = {
    "ERR max number of clients": redis.exceptions.ConnectionError,
    "ERR AUTH <password> called without any password": redis.exceptions.AuthenticationError,
    "ERR invalid password": redis.exceptions.AuthenticationError,
}
# Servers say more than this only to explain their protected mode, in a page of text.
WORDS: Final = 200


def refusal(text: str, said_by: str = "") -> redis.exceptions.RedisError:
    """The exception that stands for an error reply. It keeps the server's words; `said_by` goes before them."""
    words = text if len(text) <= WORDS else f"{text[:WORDS]}…"
    kind = _KINDS.get(text.partition(" ")[0])
    if kind is None:
        kind = next((its for start, its in _SENTENCES.items() if text.startswith(start)), None)
    return (kind or redis.exceptions.ResponseError)(f"{said_by}: {words}" if said_by else words)
