"""Whether a node hears its own voice: the probes that it publishes to itself, on the connections that its mail takes.

Without an echo it is deaf, and without answers to what it publishes it is mute, however alive its connections look.
Both are noticed within some two seconds, and the connections concerned are made anew.
"""

from typing import Final

import anyio

from relay.bus.publisher import Publisher
from relay.bus.subscriber import Subscriber
from relay.clock import clock
from relay.logs import Spell
from relay.metrics import Counts

# How often a node listens for its own voice, and for how long it may miss it, beside the way to Redis and back.
PROBE_SECONDS: Final = 0.5
DEAF_SECONDS: Final = 1.2
# Probes whose way through Redis is still measured: those of the last half minute.
MEASURED: Final = 64


class EchoProbe:
    """Sends the probes and waits for their echoes. Only what was sent since the last failure counts as heard."""

    def __init__(self, publishing: Publisher, subscription: Subscriber, counts: Counts) -> None:
        self._publishing = publishing
        self._subscription = subscription
        self._counts = counts
        self._number = 0  # of the last probe
        self._wanted = 1  # the first whose echo counts
        self._heard = float("-inf")
        self._echoed = float("-inf")  # when any probe came
        self._probed: dict[int, float] = {}
        self._deaf = Spell("deaf: no echo of the own probe, connecting anew", "hearing the own probe again")
        self._mute = Spell("mute: no answer to what is published, connecting anew", "publishing is answered again")
        self.ready = anyio.Event()  # the node has heard itself for the first time

    @property
    def hearing(self) -> bool:
        """Whether the node has heard itself lately, and since the last failure."""
        return clock() - self._heard < DEAF_SECONDS + self._subscription.latency

    @property
    def trouble(self) -> str:
        """Why the node can't talk to others, for operators; empty if it can."""
        if trouble := self._publishing.trouble:
            return trouble
        if self.hearing:
            return ""
        return f"deaf: {self._subscription.trouble or 'no echo of the own probe'}"

    def doubt(self) -> None:
        """Something has failed: the node has to hear itself anew."""
        self._wanted = self._number + 1
        self._heard = float("-inf")

    def anew(self) -> None:
        """A connection was made: see whether it works."""
        self.doubt()
        self.probe()

    def probe(self) -> None:
        """Say something to this node itself."""
        self._number += 1
        self._probed[self._number] = clock()
        if len(self._probed) > MEASURED:
            del self._probed[next(iter(self._probed))]
        self._publishing.probe(self._number)

    def echo(self, number: int) -> None:
        """A probe of this node came."""
        if (probed := self._probed.pop(number, None)) is not None:
            self._counts.echo.observe(clock() - probed)
        self._echoed = clock()
        if self._wanted <= number <= self._number:
            self._heard = self._echoed
            self._deaf.over()
            self.ready.set()

    async def run(self) -> None:
        """Probe for ever, and have connections made anew that don't work."""
        while True:
            self.probe()
            await anyio.sleep(PROBE_SECONDS)
            self._look()

    def _look(self) -> None:
        publishing, subscription = self._publishing, self._subscription
        publishing.look()
        silent = publishing.give_up_silent()
        if silent:
            self._counts.mute += 1
            self._mute.again(server=publishing.address)
        elif self.hearing:
            self._mute.over()
        missed = clock() - max(self._echoed, subscription.since) >= DEAF_SECONDS + subscription.latency
        if subscription.connection is not None and missed and (silent or publishing.well):
            self._counts.deaf += 1
            self._deaf.again(server=subscription.address)
            subscription.abort()
            publishing.abort()
