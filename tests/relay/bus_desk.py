"""A bus without a server: what it publishes is kept, and what it hears a test hands to it."""

from types import SimpleNamespace
from typing import Any, cast

from relay.bus.bus import Bus
from relay.bus.link import Frame, unpack
from relay.metrics import Counts
from relay.redis_client.keys import Keys
from relay.session.peer_messages import Mail, decode

HERE, THERE, OTHER = "1" * 16, "2" * 16, "3" * 16
LEASE = 5.0


class Publisher:
    """Takes what is published; `probes`: commands that have to be answered."""

    address = "redis:1"
    silence = 0.0

    def __init__(self) -> None:
        self.mail: list[list[Mail]] = []
        self.probes: list[tuple[str, str, bytes]] = []
        self.aborted = False

    trouble = ""

    def send(self, *commands: tuple[str, str, bytes]) -> None:
        self.mail += [decode(unpack(frame).body) for _, _, frame in commands]

    def probe(self, command: tuple[str, str, bytes]) -> None:
        self.probes.append(command)

    def abort(self) -> None:
        self.aborted = True


class Receiver:
    """The connection that messages come on."""

    latency = 0.0

    def __init__(self) -> None:
        self.aborted = False
        self.origin = SimpleNamespace(address="redis:2")

    def abort(self) -> None:
        self.aborted = True


class Desk:
    """A bus with both its connections; `heard`: the frames and mail that it passed on."""

    def __init__(self) -> None:
        self.heard: list[Frame | list[Mail]] = []
        self.counts = Counts()
        self.bus = Bus(
            cast(Any, None),
            Keys("t"),
            HERE,
            standing=lambda: True,
            room=lambda: self.bus.flush(),
            deliver=self.heard.append,
            reset=lambda uid: None,
            notice=self.heard.append,
            connected=lambda: None,
            lease=LEASE,
            counts=self.counts,
        )
        self.publisher, self.receiver = Publisher(), Receiver()
        self.bus._publishing._publisher = cast(Any, self.publisher)
        self.bus._subscription._receiver = cast(Any, self.receiver)

    def turn(self, *mail: Mail) -> list[list[Mail]]:
        """Post, flush, and see which frames left."""
        for one in mail:
            self.bus.post(THERE, one)
        self.publisher.mail.clear()
        self.bus.flush()
        return self.publisher.mail
