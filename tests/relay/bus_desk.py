"""A bus without a server: it records what it publishes, and the test hands it what it receives."""

from types import SimpleNamespace
from typing import Any, cast

from relay.bus.bus import Bus
from relay.bus.publisher import PublisherBackend
from relay.bus.reconnect import SILENT_SECONDS
from relay.bus.reliable_link import Frame, unpack
from relay.metrics import Counts
from relay.redis_client.connection import RespConnection
from relay.redis_client.keys import Keys
from relay.session.peer_messages import Mail, decode

HERE, THERE, OTHER = "1" * 16, "2" * 16, "3" * 16
LEASE = 5.0


class Publisher:
    """Records what is published. `probes` has the commands that need a reply."""

    address = "redis:1"
    silence = 0.0

    def __init__(self) -> None:
        self.trouble = ""
        self.mail: list[list[Mail]] = []
        self.frames: list[bytes] = []
        self.probes: list[tuple[str, str, bytes]] = []
        self.forgotten: list[str] = []  # channels
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
        self.forgotten.append(channel)

    def abort(self) -> None:
        self.aborted = True

    def give_up_silent(self) -> bool:
        if self.silence < SILENT_SECONDS:
            return False
        self.abort()
        return True


class Receiver:
    """The connection on which messages arrive."""

    latency = 0.0

    def __init__(self) -> None:
        self.aborted = False
        self.origin = SimpleNamespace(address="redis:2")

    def abort(self) -> None:
        self.aborted = True


class Lease:
    """The lease of a node, which holds until the test says otherwise."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.standing = True
        self.connections = 0

    def reconnected(self) -> None:
        self.connections += 1


class Desk:
    """A bus with both its connections and its delegate. `heard` has the frames and peer messages that it passed on."""

    def __init__(self, *, lease_seconds: float = LEASE, gather: float = 0.0) -> None:
        self.lease = Lease(lease_seconds)
        self.forgetful: list[str] = []  # nodes that had forgotten this one
        self.begun = 0  # the number of times when the bus asked for a tick
        self.heard: list[Frame | list[Mail]] = []
        self.counts = Counts()
        self.redis_client = SimpleNamespace()
        self.bus = Bus(
            cast(Any, self.redis_client),
            Keys("t"),
            HERE,
            self,
            lease=self.lease,
            counts=self.counts,
            gather=gather,
        )
        self.publisher, self.receiver = Publisher(), Receiver()
        # private: a bus makes its connections itself. Its parts are reached here, and in no other place.
        self.publishing, self.subscription = self.bus._publishing, self.bus._subscription
        self.echo_probe = self.bus._echo_probe  # private: likewise
        self.connect(cast(PublisherBackend, self.publisher), cast(RespConnection, self.receiver))

    def connect(self, publisher: PublisherBackend | None, receiver: RespConnection | None) -> None:
        """Give the bus these connections, the second of which isn't confirmed yet."""
        self.publishing._publisher, self.subscription._receiver = publisher, receiver  # private: see above

    def open_tick(self) -> None:
        self.begun += 1
        self.bus.flush()

    def receive(self, mails: list[Mail]) -> None:
        self.heard.append(mails)

    def peer_forgot_us(self, node_id: str) -> None:
        self.forgetful.append(node_id)

    def heed(self, frame: Frame) -> None:
        self.heard.append(frame)

    def hear(self, frame: bytes) -> None:
        """A frame comes on the node's own channel."""
        self.push([b"message", b"t:inbox", frame])

    def push(self, reply: object) -> None:
        """The server says something on the connection that messages come on."""
        self.subscription._pushed(reply)  # private: only the connection itself calls it

    def answered(self, reply: object = 1) -> None:
        """The server answers what was published."""
        self.publishing.answered(reply)

    def turn(self, *mail: Mail) -> list[list[Mail]]:
        """Post, flush, and return the frames that left."""
        for one in mail:
            self.bus.post(THERE, one)
        self.publisher.mail.clear()
        self.bus.flush()
        return self.publisher.mail
