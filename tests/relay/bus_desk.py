"""A bus without a server: what it publishes is kept, and what it hears a test hands to it."""

from types import SimpleNamespace
from typing import Any, cast

from relay.bus.bus import Bus
from relay.bus.reconnect import SILENT_SECONDS
from relay.bus.reliable_link import Frame, unpack
from relay.metrics import Counts
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.session.peer_messages import Mail, decode

HERE, THERE, OTHER = "1" * 16, "2" * 16, "3" * 16
LEASE = 5.0


class Publisher:
    """Takes what is published; `probes`: commands that have to be answered."""

    address = "redis:1"
    silence = 0.0

    def __init__(self) -> None:
        self.trouble = ""
        self.mail: list[list[Mail]] = []
        self.frames: list[bytes] = []
        self.probes: list[tuple[str, str, bytes]] = []
        self.aborted = False

    def send(self, *commands: tuple[str, str, bytes]) -> None:
        self.frames += [frame for _, _, frame in commands]
        self.mail += [decode(unpack(frame).body) for _, _, frame in commands]

    def probe(self, command: tuple[str, str, bytes]) -> None:
        self.probes.append(command)

    @property
    def connections(self) -> tuple[RespConnection, ...]:
        return ()

    def silent(self, trouble: str) -> int:
        return int(bool(trouble))

    def forget(self, channel: str) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True

    def give_up_silent(self) -> bool:
        if self.silence < SILENT_SECONDS:
            return False
        self.abort()
        return True


class Receiver:
    """The connection that messages come on."""

    latency = 0.0

    def __init__(self) -> None:
        self.aborted = False
        self.origin = SimpleNamespace(address="redis:2")

    def abort(self) -> None:
        self.aborted = True


class Lease:
    """The lease of a node, which stands until a test says otherwise."""

    seconds = LEASE

    def __init__(self) -> None:
        self.standing = True
        self.connections = 0

    def reconnected(self) -> None:
        self.connections += 1


class Desk:
    """A bus with both its connections, and its delegate; `heard`: the frames and mail that it passed on."""

    def __init__(self) -> None:
        self.lease = Lease()
        self.forgetful: list[str] = []  # nodes that had forgotten this one
        self.begun = 0  # how often the bus asked for a tick
        self.heard: list[Frame | list[Mail]] = []
        self.counts = Counts()
        self.bus = Bus(
            cast(Any, None),
            Keys("t"),
            HERE,
            self,
            lease=self.lease,
            counts=self.counts,
        )
        self.publisher, self.receiver = Publisher(), Receiver()
        self.bus._publishing._publisher = self.publisher
        self.bus._subscription._receiver = cast(Any, self.receiver)

    def open_tick(self) -> None:
        self.begun += 1
        self.bus.flush()

    def receive(self, mails: list[Mail]) -> None:
        self.heard.append(mails)

    def forgot(self, node_id: str) -> None:
        self.forgetful.append(node_id)

    def heed(self, frame: Frame) -> None:
        self.heard.append(frame)

    def hear(self, frame: bytes) -> None:
        """A frame comes on the node's own channel."""
        self.bus._subscription._pushed([b"message", b"t:inbox", frame])

    def turn(self, *mail: Mail) -> list[list[Mail]]:
        """Post, flush, and see which frames left."""
        for one in mail:
            self.bus.post(THERE, one)
        self.publisher.mail.clear()
        self.bus.flush()
        return self.publisher.mail
