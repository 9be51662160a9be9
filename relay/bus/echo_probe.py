"""A node publishes probes to itself, on the connections of its peer messages, to check that both directions work.

A node without an echo is deaf, and one without replies to PUBLISH is mute, however alive its connections look.
Either is noticed within about two seconds, and the connections concerned are replaced.
"""

from typing import Final

import anyio

from relay.bus.publisher import Publisher
from relay.bus.subscriber import Subscriber
from relay.clock import clock
from relay.logs import Spell
from relay.metrics import Counts

# The interval between probes, and how long an echo may be missing beyond the round trip to Redis.
PROBE_SECONDS: Final = 0.5
DEAF_SECONDS: Final = 1.2
# The number of recent probes whose round trip is still measured: those of about the last half minute.
MEASURED: Final = 64


class EchoProbe:
    """Sends probes and waits for their echoes. Only probes sent since the last failure count."""

    def __init__(self, publishing: Publisher, subscription: Subscriber, counts: Counts) -> None:
        self._publishing = publishing
        self._subscription = subscription
        self._counts = counts
        self._number = 0  # number of the last probe
        self._wanted = 1  # the first probe whose echo counts
        self._heard = float("-inf")
        self._echoed = float("-inf")  # time of the last echo of any probe
        self._probed: dict[int, float] = {}
        self._no_echo = Spell("deaf: no echo of the own probe, connecting anew", "hearing the own probe again")
        self._mute = Spell("mute: no answer to what is published, connecting anew", "publishing is answered again")
        self.ready = anyio.Event()  # is set at the first echo that counts

    @property
    def hearing(self) -> bool:
        """Whether an echo has come recently, and since the last failure."""
        return clock() - self._heard < DEAF_SECONDS + self._subscription.latency

    @property
    def trouble(self) -> str:
        """The reason why the node can't reach others, for operators; empty if it can."""
        if trouble := self._publishing.trouble:
            return trouble
        if self.hearing:
            return ""
        return f"deaf: {self._subscription.trouble or 'no echo of the own probe'}"

    def doubt(self) -> None:
        """Handle a failure: echoes of earlier probes no longer count."""
        self._wanted = self._number + 1
        self._heard = float("-inf")

    def anew(self) -> None:
        """Probe a new connection."""
        self.doubt()
        self.probe()

    def probe(self) -> None:
        """Publish a probe to this node itself."""
        self._number += 1
        self._probed[self._number] = clock()
        if len(self._probed) > MEASURED:
            del self._probed[next(iter(self._probed))]
        self._publishing.probe(self._number)

    def echo(self, number: int) -> None:
        """Handle the echo of a probe of this node."""
        if (probed := self._probed.pop(number, None)) is not None:
            self._counts.echo.observe(clock() - probed)
        self._echoed = clock()
        if self._wanted <= number <= self._number:
            self._heard = self._echoed
            self._no_echo.over()
            self.ready.set()

    async def run(self) -> None:
        """Probe until cancelled, and close connections that don't work so that they are replaced."""
        while True:
            self.probe()
            await anyio.sleep(PROBE_SECONDS)
            self._check()

    def _check(self) -> None:
        publishing, subscription = self._publishing, self._subscription
        publishing.check_refusal()
        silent = publishing.give_up_silent()
        if silent:
            self._counts.missed_publish_replies += 1
            self._mute.again(server=publishing.address)
        elif self.hearing:
            self._mute.over()
        missed = clock() - max(self._echoed, subscription.since) >= DEAF_SECONDS + subscription.latency
        if subscription.connection is not None and missed and (silent or publishing.well):
            self._counts.missed_echoes += 1
            self._no_echo.again(server=subscription.address)
            subscription.abort()
            publishing.abort()
