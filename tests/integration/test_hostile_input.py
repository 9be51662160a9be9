"""Bad input: the error of the protocol, a usable connection, and no effect on other users."""

import contextlib
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import JsonClient, TextClient
from tests.support.guests import Guests
from tests.support.node import Node

MEGABYTE = 1 << 20
PAGE = resource.getpagesize()  # bytes
LIMIT = 1 << 16  # bytes, the default of --max-line

USUAL = 0.05  # seconds for a round trip; half of them must be faster
WORST = 1.0  # seconds for the slowest round trip, on a busy machine


def unframed_flood(client: TextClient) -> None:
    for _ in range(64):
        client.send_bytes(MEGABYTE * b"x")


def frames_too_long(client: TextClient) -> None:
    for _ in range(32):
        client.send_bytes(b'{"type":"msg","id":1,"text":"' + MEGABYTE * b"x" + b'"}\n')


def depth_bombs(client: TextClient) -> None:
    for _ in range(200):
        client.send_bytes(b'{"x":' + 60_000 * b"[" + b"\n")


def huge_numbers(client: TextClient) -> None:
    for _ in range(200):
        client.send_bytes(b'{"type":"ack","id":' + 60_000 * b"9" + b"}\n")


def unpaired_surrogates(client: TextClient) -> None:
    for _ in range(200):
        client.send_bytes(b'{"type":"who","name":"' + 10_000 * b"\\ud800" + b'"}\n')


def empty_lines(client: TextClient) -> None:
    client.send_bytes(b'{"type":"hello"}\n')
    client.send_bytes(8 * MEGABYTE * b"\n")


def invalid_utf8(client: TextClient) -> None:
    client.send_bytes(b"eve\n")
    for _ in range(100):
        client.send_bytes(30_000 * b"\xff\xfe" + b"\n")


def names_of_marks(client: TextClient) -> None:
    for _ in range(200):
        client.send_bytes(b"a" + 30_000 * "\u0301".encode() + b"\n")


def calls_to_long_names(client: TextClient) -> None:
    client.send_bytes(b"eve\n")
    for _ in range(200):
        client.send_bytes(b"To:" + 20_000 * "\uff21".encode() + b"\n")


ATTACKS = [
    unframed_flood,
    frames_too_long,
    depth_bombs,
    huge_numbers,
    unpaired_surrogates,
    empty_lines,
    invalid_utf8,
    names_of_marks,
    calls_to_long_names,
]


@contextlib.contextmanager
def under_attack(node: Node, attack: Callable[[TextClient], None]) -> Iterator[threading.Thread]:
    """Run the attack in the background, and discard its answers."""
    with TextClient(node.address) as eve:
        reader = threading.Thread(target=swallow, args=(eve,))
        writer = threading.Thread(target=flood, args=(eve, attack))
        reader.start()
        writer.start()
        yield writer
        writer.join()
        with contextlib.suppress(OSError):
            eve.socket.shutdown(2)
        reader.join()


def swallow(client: TextClient) -> None:
    with contextlib.suppress(OSError):
        while client.socket.recv(MEGABYTE):
            pass


def flood(client: TextClient, attack: Callable[[TextClient], None]) -> None:
    with contextlib.suppress(OSError):  # the node may close an attacker's connection
        attack(client)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_pair_on_the_same_node_is_not_disturbed_by(
    guests: Guests, node: Node, attack: Callable[[TextClient], None]
) -> None:
    alice, bob = guests.text(node, "alice"), guests.text(node, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    took: list[float] = []
    with under_attack(node, attack) as attacker:
        while attacker.is_alive() or len(took) < 20:
            started = time.monotonic()
            alice.send("ping")
            bob.expect_message("alice", "ping")
            took.append(time.monotonic() - started)
    assert statistics.median(took) < USUAL
    assert max(took) < WORST


def test_a_flood_without_line_ends_is_not_gathered_in_memory(guests: Guests, node: Node) -> None:
    before = resident(node)
    client = guests.text(node, "alice")
    for _ in range(64):
        client.send_bytes(MEGABYTE * b"x")
    client.send("")
    client.expect_notice("long")
    client.expect_nothing_so_far()
    assert resident(node) - before < 16 * MEGABYTE


def resident(node: Node) -> int:
    """Return the resident memory of the process in bytes."""
    return int(Path(f"/proc/{node.pid}/statm").read_text().split()[1]) * PAGE


def test_each_bad_line_gets_its_notice_and_the_good_ones_arrive(guests: Guests, node: Node) -> None:
    alice, bob = guests.text(node, "alice"), guests.text(node, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    for n in range(20):
        alice.send_bytes(b"\xff\n" + (LIMIT + 1) * b"x" + b"\n\xc3\n")
        alice.send(f"good {n}")
        alice.expect_notice("utf-8")
        alice.expect_notice("long")
        alice.expect_notice("utf-8")
        bob.expect_message("alice", f"good {n}")


def test_no_control_reaches_a_person_raw(guests: Guests, nodes: list[Node]) -> None:
    alice, bob = guests.json(nodes[0], "alice"), guests.text(nodes[1], "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    controls = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0)) if chr(n) != "\n"]
    bidi = [*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", "\u2028", "\u2029"]
    for n, control in enumerate([*controls, *bidi], start=1):
        alice.send("msg", id=n, text=f"<{control}>")
        shown = f"\\x{ord(control):02x}" if ord(control) < 0x100 else f"\\u{ord(control):04x}"
        bob.expect_message("alice", f"<{shown}>")


def test_a_refusal_quotes_no_control(guests: Guests, node: Node) -> None:
    alice = guests.text(node, "alice")
    for line in ("To:\x1b[2J", "To:a\x1b]0;pwned\x07", "To:\u202eevil", "To:a\x9b31m"):
        alice.send(line)
        assert alice.expect_notice().isprintable()


def test_logs_carry_no_text_and_no_raw_control(guests: Guests, nodes: list[Node]) -> None:
    written = [len(node.text()) for node in nodes]
    alice, bob = guests.text(nodes[0], "alice"), guests.json(nodes[1], "bob")
    bob.call("alice")
    alice.expect("* bob is chatting with you.")
    alice.send("xyzzy to bob", "xyzzy" + LIMIT * "x")
    alice.expect_notice("long")
    alice.send_bytes(b"xyzzy \xff\n")
    alice.expect_notice("utf-8")
    bob.expect("msg", text="xyzzy to bob")
    bob.send("msg", id=2, text="xyzzy out of order")
    bob.expect_error("bad_order")
    bob.send_line('{"type":"msg","text":"xyzzy in a bad frame"')
    bob.expect_error("bad_frame")
    bob.send("msg", id=1, text="xyzzy to alice")
    alice.expect_message("bob", "xyzzy to alice")
    bob.reset()
    alice.expect("* bob is away.")
    alice.send("xyzzy to one who is away")
    alice.expect("* May not have arrived: xyzzy to one who is away", "Quit.")
    stranger = guests.json(nodes[2])
    stranger.send("hello", name="\x1b[31m\u202e\nxy")
    stranger.expect_error("name_invalid")
    for node, start in zip(nodes, written, strict=True):
        log = node.text()[start:]
        assert "xyzzy" not in log
        assert "\x1b" not in log
        assert "\u202e" not in log


def test_unknown_bytes_on_the_classic_port_disturb_nobody(guests: Guests, node: Node) -> None:
    alice = guests.classic(node, "alice")
    bob = guests.text(node, "bob")
    bob.call("alice")
    noise = guests.classic(node)
    noise.send_bytes(bytes(range(256)))
    assert noise.read().startswith("* ")
    bob.send("hi")
    alice.expect_message("bob", "hi")


def test_a_client_that_never_reads_its_refusals_is_stopped_not_served_for_ever(guests: Guests, node: Node) -> None:
    before = resident(node)
    client = guests.json(node, "alice")
    client.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(1_000_000):
            client.send_bytes(1000 * b'{"type":"dance"}\n')
    assert resident(node) - before < 16 * MEGABYTE
    other: JsonClient = guests.json(node, "bob")
    other.expect_nothing_so_far()
