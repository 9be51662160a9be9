"""Checks that a cluster works: two new programs on two nodes claim names, call, exchange messages and quit."""

import ssl
from collections.abc import Sequence
from contextlib import aclosing, suppress
from itertools import count
from random import Random
from typing import Final

import anyio
from redis.crc import key_slot

from relay.redis_client.keys import Keys
from relay.tools.testbed.topology_setup import EVERYWHERE
from relay.tools.testbed.user_connection import BROKEN, Address, UserConnection, dial
from relay.tools.testbed.waiting import until
from relay.tools.torture.history import History, Kind
from relay.tools.torture.json_client import JsonClient
from relay.tools.torture.lab import PREFIX

RETRY_SECONDS: Final = 0.1
NUDGE_SECONDS: Final = 0.1
TEXTS: Final = 3  # messages in each direction
_KEYS: Final = Keys(PREFIX)


async def fails(
    caller: Address,
    callee: Address,
    tag: str,
    seconds: float,
    tls: ssl.SSLContext | None = None,
    slots: Sequence[range] = EVERYWHERE,
) -> str:
    """Have two users do everything, and try again if that fails, for this number of seconds.

    Returns "" if an attempt succeeded, and otherwise the step at which each attempt stopped. On a cluster the users
    have names in these slots.
    """
    attempts: list[_Attempt] = []
    with anyio.move_on_after(seconds):
        while True:
            attempts.append(_Attempt(f"{tag}-{len(attempts)}", slots))
            with anyio.move_on_after(seconds / 2):
                if await attempts[-1].talk(caller, callee, tls):
                    return ""
            await anyio.sleep(RETRY_SECONDS)
    return ", then ".join(attempt.step for attempt in attempts)


def _name(who: str, tag: str, slots: Sequence[range]) -> str:
    """Return a name whose record is in one of these slots."""
    names = (f"{who}{n}-{tag}" for n in count())
    return next(name for name in names if any(key_slot(_KEYS.place(name).key.encode()) in some for some in slots))


class _Attempt:
    """Two users who do everything once. `step` says what they are doing."""

    def __init__(self, tag: str, slots: Sequence[range]) -> None:
        self.step = "connect"
        self._history = History()
        rng = Random(tag)
        names = (_name(who, tag, slots) for who in ("ann", "bob"))
        self._ann, self._bob = (JsonClient(name, Kind.PROGRAM, self._history, rng) for name in names)

    async def talk(self, caller: Address, callee: Address, tls: ssl.SSLContext | None) -> bool:
        """Run all steps. Returns whether all of them succeeded."""
        anns, bobs = await dial(caller, tls=tls), await dial(callee, tls=tls)
        if anns is None or bobs is None:
            return False
        async with aclosing(anns), aclosing(bobs), anyio.create_task_group() as tasks:
            for wire, user in ((anns, self._ann), (bobs, self._bob)):
                tasks.start_soon(_listen, wire, user, tasks.cancel_scope)
                tasks.start_soon(_nudge, wire, user)
            await self._steps(anns, bobs)
            tasks.cancel_scope.cancel()
        return self._ann.done and self._bob.done

    async def _steps(self, anns: UserConnection, bobs: UserConnection) -> None:
        ann, bob = self._ann, self._bob
        self.step = "claim"
        await until(lambda: ann.ready and bob.ready)
        self.step = "call"
        await anns.send(ann.call(bob.name))
        await until(lambda: bool(ann.partner and bob.partner))
        self.step = "talk"
        await anns.send(b"".join(ann.say(0.0) for _ in range(TEXTS)))
        await bobs.send(b"".join(bob.say(0.0) for _ in range(TEXTS)))
        await until(lambda: ann.settled and bob.settled and len(self._history.heard) == 2 * TEXTS)
        self.step = "quit"
        await anns.send(ann.quit(0.0))
        await bobs.send(bob.quit(0.0))
        await until(lambda: ann.done and bob.done)


async def _listen(wire: UserConnection, user: JsonClient, scope: anyio.CancelScope) -> None:
    with suppress(*BROKEN):
        await wire.send(user.opened(0))
        while not (user.done or user.refused):
            await wire.send(user.feed(await wire.receive(), 0.0))
    if not user.done:
        scope.cancel()


async def _nudge(wire: UserConnection, user: JsonClient) -> None:
    """Send the acknowledgements that a program delays. Never returns."""
    while True:
        await anyio.sleep(NUDGE_SECONDS)
        await wire.send(user.nudge() if user.ready else b"")
