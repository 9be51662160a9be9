"""This module calls a user who may not be there yet."""

import anyio

from pairchat.client import Chat
from pairchat.errors import Refused

# Seconds between two calls. This is fast enough for a person, and hardly any load for a relay.
PAUSE = 1.0
# Refusals that time may change.
_FOR_NOW = frozenset({"no_such_user", "busy", "away", "unavailable", "declined", "rate_limited"})


async def call_with_retry(chat: Chat, name: str, *, wait: bool) -> str:
    """Call a user, and return the name. With `wait`, repeat the call until it succeeds.

    Raises `Refused`; with `wait` only for refusals that time can't change.
    """
    while True:
        try:
            return await chat.call(name)
        except Refused as error:
            if not wait or error.code not in _FOR_NOW:
                raise
        await anyio.sleep(PAUSE)
