"""The receiving end of the bus: a node's subscription."""

from contextlib import suppress
from functools import partial
from typing import Final

import anyio

from relay.bus.delegates import ConnectionDelegate
from relay.bus.reconnect import Ended, connected, keep
from relay.bus.reliable_link import BadFrame, Kind, unpack
from relay.clock import clock
from relay.logs import Spell
from relay.redis_client.client import RedisClient, Unavailable
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys

# How long the server may take to confirm a subscription, beyond the round trip.
CONFIRM_SECONDS: Final = 1.2


class Subscriber:
    """Receives frames on the node's inbox and on the channel of all nodes."""

    def __init__(self, redis_client: RedisClient, keys: Keys, node_id: str, *, delegate: ConnectionDelegate) -> None:
        self._redis_client = redis_client
        self._node_id = node_id
        self._inbox, self._everyone = keys.inbox(node_id), keys.everyone
        self._delegate = delegate
        self._why_lost = "not subscribed yet"
        self._refusal = ""
        self._bad_frames = Spell("bad frame on the bus")
        self._refusals = Spell("unexpected reply to subscribe")
        self.since = float("-inf")  # time when the subscription was confirmed
        self.connection: RespConnection | None = None  # set while the subscription is confirmed
        self._receiver: RespConnection | None = None  # the last connection, confirmed or not
        self._missing: set[bytes] = set()  # channels without a confirmation
        self._confirmed = anyio.Event()  # is set once all are confirmed, or one is refused

    @property
    def address(self) -> str:
        """The server of the subscription; empty without one."""
        return "" if self.connection is None else self.connection.origin.address

    @property
    def trouble(self) -> str:
        """The reason why there is no subscription; empty if there is one."""
        return self._why_lost if self.connection is None else ""

    @property
    def latency(self) -> float:
        """The network round trip to the server in seconds; 0 while unknown."""
        return 0.0 if self.connection is None else self.connection.latency

    def abort(self) -> None:
        """Close the connection, which there must be, because it doesn't work although it seems to."""
        assert self.connection is not None
        self.connection.abort()

    async def run(self) -> None:
        """Keep up the subscription until cancelled."""
        await keep(self._session, "subscriber", self._not_made)

    def _not_made(self, error: str) -> None:
        self._why_lost = error

    async def _session(self) -> Ended:
        with suppress(Unavailable):
            await self._redis_client.refresh_topology()  # another server may serve our inbox now
        take_over = partial(RespConnection, on_reply=self._pushed)
        async with connected(self._redis_client, self._inbox, take_over) as receiver:
            self._receiver, where = receiver, receiver.origin.address
            self._confirmed = anyio.Event()
            self._missing = {self._inbox.encode(), self._everyone.encode()}
            subscribe = "SSUBSCRIBE" if self._redis_client.sharded else "SUBSCRIBE"
            receiver.send((subscribe, self._inbox), ("SUBSCRIBE", self._everyone))
            with anyio.move_on_after(CONFIRM_SECONDS + receiver.latency):
                await self._confirmed.wait()
            if self._missing:
                raise Unavailable(f"{where} {self._refusal or 'does not confirm the subscription'}")
            self._refusal = ""
            self.connection, self.since = receiver, clock()
            try:
                self._delegate.subscribed()
                await receiver.lost.wait()
            finally:
                self.connection, self._why_lost = None, f"connection lost to {where}"
                self._delegate.doubt()
        return Ended(True, where)

    def _pushed(self, push: object) -> None:
        if not isinstance(push, list) or len(push) != 3:
            self._refusal = f"refuses to subscribe: {push}"
            self._refusals.again(reply=str(push))
            self._refused()
        elif push[0] == b"message" or push[0] == b"smessage":
            try:
                frame = unpack(push[2])
            except BadFrame as error:
                self._bad_frames.again(error=str(error))
                return
            if frame.node_id != self._node_id:
                self._delegate.received(frame)
            elif frame.kind is Kind.PROBE:
                self._delegate.echoed(frame.number)
        elif push[0] == b"sunsubscribe":  # the slot of our inbox has moved
            self._refused()
        else:
            self._missing.discard(push[1])
            if not self._missing:
                self._confirmed.set()

    def _refused(self) -> None:
        """Close the connection: the server doesn't serve our inbox, or no longer does."""
        if self._receiver is not None:
            self._receiver.abort()
        self._confirmed.set()
