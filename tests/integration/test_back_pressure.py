"""Partners who don't read: the sender is slowed down, memory is bounded, and everything arrives in the end."""

import contextlib
import json
import select
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.integration.conftest import StartNode
from tests.support.bystanders import Bystanders
from tests.support.certificates import Authority
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until
from tests.support.server import RedisServer, calls_of
from tests.support.swarm import percentile

MIB = 1024 * 1024
GROWTH = 8 * MIB  # growth of a node during one flood
PATIENCE = 2.0  # seconds without progress, after which everything is full
TEXT = 20_000 * "x"
SENDER_BYTES = 64 * 1024
BESIDE = 1.0  # seconds for a message of another pair, far above the usual time
PROBES = 2 * 2 + 2  # probes a second of two nodes, and their other messages when nothing happens


def resident(node: Node) -> int:
    """Return the resident memory of the node in bytes."""
    pages = int(Path(f"/proc/{node.pid}/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("megabytes", "seconds"), [(20, 3.0), pytest.param(100, 30.0, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
def test_a_flood_at_one_who_does_not_read_costs_eight_megabytes_at_most_and_is_published_once(
    guests: Guests,
    start_node: StartNode,
    own_redis: RedisServer,
    megabytes: int,
    seconds: float,
    tls: bool,
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    options = dict(zip(("tls_cert", "tls_key"), authority.issue("node"), strict=True)) if tls else {}
    one, two = (start_node(redis=own_redis.url, **options) for _ in range(2))
    one.tls = two.tls = authority.trust() if tls else None
    flood, sink = guests.json(one, "flood"), guests.json(two, "sink")
    alice, bob = guests.text(one, "alice"), guests.text(two, "bob")
    flood.call("sink")
    sink.expect("paired")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    before = [resident(node) for node in (one, two)]
    count = megabytes * MIB // len(TEXT)
    sender = Sender(flood, count)
    sender.start()
    wait_until(lambda: sender.stalled_for > 0.5, "the sender's socket stalls")
    published, began = calls_of(own_redis.client(), "publish"), time.monotonic()
    talks = 0
    while time.monotonic() - began < seconds:
        alice.send("beside")
        bob.expect_message("alice", "beside", patience=BESIDE)
        talks += 1
        time.sleep(0.1)  # the length of the stall is what is tested
    assert sender.sent < count
    # A talk is a message and its acknowledgements, which travel between the nodes alone or with the next message.
    again = calls_of(own_redis.client(), "publish") - published - 4 * talks
    assert again < PROBES * (time.monotonic() - began) + 10
    assert max(resident(node) - then for node, then in zip((one, two), before, strict=True)) < GROWTH
    for n in range(1, count + 1):
        sink.expect("msg", id=n, text=TEXT)
    sender.join()
    flood.expect_acked(count)


class Sender(threading.Thread):
    """Sends a number of messages as fast as possible."""

    def __init__(self, client: JsonClient, count: int) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._count = count
        self._last = time.monotonic()
        self.sent = 0

    @property
    def stalled_for(self) -> float:
        return time.monotonic() - self._last

    def run(self) -> None:
        self._client.socket.settimeout(None)
        for n in range(1, self._count + 1):
            self._client.send("msg", id=n, text=TEXT)
            self.sent = n
            self._last = time.monotonic()


@pytest.mark.parametrize(
    ("pairs", "memory"), [(300, 48), pytest.param(2000, 256, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_many_who_do_not_read_stay_inside_the_memory_of_a_node_and_hold_up_nobody_else(
    guests: Guests, start_node: StartNode, tmp_path: Path, pairs: int, memory: int
) -> None:
    """`memory` is in MiB; 256 is the default."""
    one, two = (start_node(memory=memory) for _ in range(2))
    floods = []
    for n in range(pairs):
        sink, flood = guests.json(two, f"sink{n}"), guests.json(one, f"flood{n}")
        flood.call(f"sink{n}")
        sink.expect("paired")
        floods.append(Flood(flood, sink))
    before = [resident(node) for node in (one, two)]
    with Bystanders(one, two, tmp_path) as others:
        began = time.monotonic()
        last = Flood.fill(floods)
        growth = [resident(node) - then for node, then in zip((one, two), before, strict=True)]
        heard = others.stop()
    assert sum(flood.said for flood in floods) * len(TEXT) > memory * MIB, "it would have been too much"
    assert max(growth) < memory * MIB
    delays = {
        "while they fill": sorted(delay for said, delay in heard if said < last),
        "then": sorted(delay for said, delay in heard if said >= last),
    }
    print(f"{pairs} floods: nodes grew by {growth[0] / MIB:.0f} and {growth[1] / MIB:.0f} MiB in {last - began:.1f} s;")
    for when, those in delays.items():
        p50, p99 = (1000 * percentile(those, share) for share in (0.5, 0.99))
        print(f"{when}: others' p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert max(delay for _, delay in heard) < BESIDE
    Flood.drain(floods)
    assert [flood.heard for flood in floods] == [flood.said for flood in floods]


class Flood:
    """One pair: it sends all that the socket takes, and reads it later."""

    def __init__(self, sender: JsonClient, sink: JsonClient) -> None:
        self.sender, self.sink = sender.socket, sink.socket
        self.sender.setblocking(False)
        self.sink.setblocking(False)
        # A real client's buffer is on its own machine. 2,000 large buffers would use up Linux's memory for TCP here.
        self.sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENDER_BYTES)
        self.rest = b""
        self._got = bytearray()
        self.said = 0
        self.heard = 0

    def push(self) -> bool:
        """Send, and return whether the socket took something."""
        took = False
        with contextlib.suppress(BlockingIOError):
            while True:
                if not self.rest:
                    self.said += 1
                    self.rest = json.dumps({"type": "msg", "id": self.said, "text": TEXT}).encode() + b"\n"
                self.rest = self.rest[self.sender.send(self.rest) :]
                took = True
        return took

    def pull(self) -> None:
        """Read what has arrived, and check its order."""
        with contextlib.suppress(BlockingIOError):
            while data := self.sink.recv(MIB):
                self._got += data
        *lines, rest = bytes(self._got).split(b"\n")
        self._got = bytearray(rest)
        for line in lines:
            frame = json.loads(line)
            assert (frame["type"], frame["id"]) == ("msg", self.heard + 1)
            self.heard += 1
        if self.rest:  # the last one isn't sent yet
            with contextlib.suppress(BlockingIOError):
                self.rest = self.rest[self.sender.send(self.rest) :]
        with contextlib.suppress(BlockingIOError):  # the acknowledgements
            self.sender.recv(MIB)

    @staticmethod
    def fill(floods: "list[Flood]") -> float:
        """Have all pairs send until everything is full. Returns the (monotonic) time of the last progress."""
        by_number = {flood.sender.fileno(): flood for flood in floods}
        last = time.monotonic()
        with select.epoll() as poll:
            for number in by_number:
                poll.register(number, select.EPOLLOUT)
            while time.monotonic() - last < PATIENCE:
                for number, _ in poll.poll(PATIENCE):
                    if by_number[number].push():
                        last = time.monotonic()
        return last

    @staticmethod
    def drain(floods: "list[Flood]") -> None:
        """Have all partners read until everything has arrived."""
        sinks: dict[socket.socket, Flood] = {flood.sink: flood for flood in floods}
        poll = select.epoll()
        by_number = {sink.fileno(): flood for sink, flood in sinks.items()}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        deadline = time.monotonic() + 300
        with poll:
            while any(flood.heard < flood.said for flood in floods):
                assert time.monotonic() < deadline, [(flood.said, flood.heard) for flood in floods][:10]
                for number, _ in poll.poll(1):
                    by_number[number].pull()
                for flood in floods:
                    if flood.rest:
                        flood.pull()
