"""Calling somebody who may not be there yet."""

import anyio

from pairchat.client import Chat
from pairchat.errors import Refused

# Seconds between two calls: soon enough for a person, and nothing for a relay.
PAUSE = 1.0
# Refusals that time may change.
_FOR_NOW = frozenset({"no_such_user", "busy", "away", "unavailable", "declined", "rate_limited"})


async def call_with_retry(chat: Chat, name: str, *, wait: bool) -> str:
    """Chat with somebody; `wait`: as soon as that one can be had. Raises `Refused`."""
    while True:
        try:
            return await chat.call(name)
        except Refused as error:
            if not wait or error.code not in _FOR_NOW:
                raise
        await anyio.sleep(PAUSE)
