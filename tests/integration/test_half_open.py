"""Peers that vanish without a FIN or an RST, and answer no more."""

import contextlib
import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from functools import partial

from tests.support.clients import Client, JsonClient, TextClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until

NOTICED = 30.0  # seconds from a peer's end until its partner is told
FLOOD = 400  # lines for partners who don't read
LINE = "x" * 60_000  # a line that doesn't fit into the kernel's buffers together with others
STILL = 50  # checks, 10 ms apart
SMALL = 65_536  # bytes that the kernel keeps for a client that doesn't read

Kind = Callable[[Node, str], Client]


def test_the_partners_of_those_who_vanish_are_told_within_30_seconds_and_one_who_does_not_read_stays(
    guests: Guests, nodes: list[Node]
) -> None:
    """All kinds of peers are tested at once, because this takes the promised 30 seconds."""
    slow, to_slow, flood = flooded(guests, nodes, "slow")
    stuck, to_stuck, _ = flooded(guests, nodes, "stuck")
    kinds: list[Kind] = [guests.text, guests.classic, guests.json, partial(guests.json, acks=True)]
    quiet = [couple(guests, nodes, kind, f"quiet{n}") for n, kind in enumerate(kinds)]
    written_to = [couple(guests, nodes, kind, f"written-to{n}") for n, kind in enumerate(kinds)]
    wait_until_full(stuck)
    for peer in [stuck, *(peer for peer, _ in quiet + written_to)]:
        peer.vanish()
    vanished = time.monotonic()
    for _, partner in written_to:
        partner.send("msg", id=1, text="are you there?")
    for peer, partner in quiet + written_to:
        assert not ended(partner.frames_so_far()), f"{peer} did not vanish, but break the connection"
    for _, partner in quiet + written_to:
        while not ended([partner.frame(vanished + NOTICED - time.monotonic())]):
            pass
    while to_stuck.line(vanished + NOTICED - time.monotonic()) != "Quit.":
        pass  # the line tells what may not have arrived
    assert flood.is_alive(), "all of it went into the kernel's buffers"
    for _ in range(FLOOD):
        slow.expect_message(str(to_slow.name), LINE)
    flood.join()


def flooded(guests: Guests, nodes: list[Node], name: str) -> tuple[TextClient, TextClient, threading.Thread]:
    """Return a client that doesn't read and closes its window soon, its partner who writes, and the task of that."""
    peer, partner = guests.text(nodes[0], name), guests.text(nodes[1], f"{name}-partner")
    partner.call(name)
    peer.expect(f"* {partner.name} is chatting with you.")
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    partner.socket.settimeout(2 * NOTICED)
    flood = threading.Thread(target=pour, args=[partner])
    flood.start()
    return peer, partner, flood


def wait_until_full(peer: Client) -> None:
    """Wait until the window is closed: nothing has arrived for half a second, though data is on its way."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(struct.unpack("i", fcntl.ioctl(peer.socket, termios.FIONREAD, b"...."))[0])
        return seen[-1] > 0 and seen[-STILL:] == [seen[-1]] * STILL

    wait_until(still, f"{peer}'s kernel takes no more")


def pour(sender: TextClient) -> None:
    """Send lines until the last one is taken or the connection is closed."""
    with contextlib.suppress(OSError):
        sender.send(*[LINE] * FLOOD)


def couple(guests: Guests, nodes: list[Node], kind: Kind, name: str) -> tuple[Client, JsonClient]:
    """Return a client of this kind that has read everything, and a partner on another node."""
    peer, partner = kind(nodes[0], name), guests.json(nodes[1], f"{name}-partner")
    partner.call(name)
    if isinstance(peer, TextClient):
        peer.expect(f"* {partner.name} is chatting with you.")
    elif isinstance(peer, JsonClient):
        peer.expect("paired")
    return peer, partner


def ended(frames: list[dict[str, object]]) -> bool:
    """Return whether the partner is told that the peer is gone: a person for good, a program for the time being."""
    return any(frame["type"] in ("left", "away") for frame in frames)
