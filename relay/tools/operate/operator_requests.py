"""Publishes an operator's request to all nodes, and watches Redis for its effect."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from relay.bus.reliable_link import NODE_ID_LENGTH, Kind, note
from relay.configuration.config import Config, StartError
from relay.directory import record
from relay.directory.record import BadRecord
from relay.redis_client.client import RedisClient
from relay.redis_client.keys import Keys
from relay.tools.status.gather import Node, asking

POLL_SECONDS: Final = 0.1
# Requests go over pub/sub, which may lose them, so they are repeated after this many checks.
AGAIN_EVERY: Final = 10
# The sender's node id in the frame of an operator's request, which no node has.
OPERATOR: Final = "0" * NODE_ID_LENGTH


async def drain(told: Config, node: str, timeout: float) -> None:
    """Have the node of this name or node id end as at SIGTERM. Returns when its lease is gone. Raises StartError."""
    async with asking(told) as ask:

        async def living() -> list[Node]:
            return [
                found for found in await ask.nodes() if node in (found.report.name, found.node_id) and _may_live(found)
            ]

        meant = await living()
        if not meant:
            raise StartError(f"no node called {node} is there")
        if len(meant) > 1:
            which = ", ".join(f"{found.node_id} (up for {found.report.up:.0f} s)" for found in meant)
            raise StartError(f"{len(meant)} nodes are called {node}: say which by its uid, {which}")

        async def gone() -> bool:
            return all(found.node_id != meant[0].node_id for found in await living())

        frames = [note(Kind.DRAIN, OPERATOR, body=meant[0].node_id.encode())]
        if not await _tell_until(ask.redis_client, told.prefix, frames, gone, timeout):
            raise StartError(f"{node} hasn't ended in {timeout:g} s")


def _may_live(node: Node) -> bool:
    return node.lives or node.unknown


async def kick(told: Config, canonical_name: str, timeout: float) -> None:
    """End the session that owns the name. Returns when it no longer owns it. Raises StartError."""
    async with asking(told) as ask:
        before = await _owner(ask.redis_client, told.prefix, canonical_name)
        if before is None:
            raise StartError("nobody has this name")

        async def gone() -> bool:
            return await _owner(ask.redis_client, told.prefix, canonical_name) != before

        frames = [note(Kind.KICK, OPERATOR, body=canonical_name.encode())]
        if not await _tell_until(ask.redis_client, told.prefix, frames, gone, timeout):
            raise StartError(f"nothing has come of it in {timeout:g} s")


async def _owner(redis_client: RedisClient, prefix: str, canonical_name: str) -> str | None:
    """Return the id of the session that owns a name, or None if there is none. Raises Unavailable."""
    place = Keys(prefix).place(canonical_name)
    raw = await redis_client.call("HGET", place.key, place.field)
    try:
        return None if raw is None else record.decode(raw).session_id
    except BadRecord:
        return None


async def _tell_until(
    redis_client: RedisClient, prefix: str, frames: list[bytes], done: Callable[[], Awaitable[bool]], timeout: float
) -> bool:
    with anyio.move_on_after(timeout):
        looks = 0
        while True:
            if looks % AGAIN_EVERY == 0:
                await redis_client.publish(Keys(prefix).everyone, frames)
            if await done():
                return True
            looks += 1
            await anyio.sleep(POLL_SECONDS)
    return False
