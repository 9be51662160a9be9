"""Every limit of a node is reached once, and other users are not affected."""

import http.client
import re
import resource
import socket
import statistics
import time
from contextlib import ExitStack

import pytest

from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient, TextClient
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import wait_until
from tests.support.wire import Wire

HALF_LINES = 2000
HALF_PROBES = 200
CONNECT_SECONDS = 0.1  # the median of others' connects, with greeting and name
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TOO_FAST = "* Too fast; slow down."


def metric(node: Node, pattern: str) -> float:
    """Return a value of /metrics."""
    connection = http.client.HTTPConnection(*node.http_address, timeout=10)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    found = re.search(rf"^{pattern} (\S+)$", page, re.MULTILINE)
    assert found, f"no {pattern} in {page}"
    return float(found[1])


def held(node: Node) -> float:
    """Return the bytes of messages, replies and half lines."""
    return metric(node, "relay_memory_held_bytes")


def hits(node: Node, limit: str) -> float:
    """Return how often the limit was hit, according to /metrics."""
    return metric(node, rf'relay_limit\w*{{[^}}]*limit="{limit}"[^}}]*}}')


def header(address: str) -> bytes:
    """Return a balancer's header for a connection from there."""
    v6 = ":" in address
    packed = socket.inet_pton(socket.AF_INET6 if v6 else socket.AF_INET, address)
    rest = packed + bytes(len(packed)) + b"\x00\x01\x27\x0f"
    return SIGNATURE + (b"\x21\x21" if v6 else b"\x21\x11") + len(rest).to_bytes(2, "big") + rest


def from_address(guests: Guests, node: Node, address: str) -> TextClient:
    client = guests.text(node)
    client.send_bytes(header(address))
    return client


def turned_away(node: Node) -> bool:
    with Wire(node.address) as wire:
        return wire.rest() == b""


class TestConnections:
    def test_all_connections_together_are_limited(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(max_connections=3)
        alice, bob = guests.text(node, "alice"), guests.text(node, "bob")
        assert node.readiness() == 200
        third = guests.classic(node, "carol")
        assert node.readiness() == 404
        assert turned_away(node)
        assert turned_away(node)
        assert hits(node, "connections") == 2
        assert node.text().count("--max-connections") == 1
        alice.call("bob")
        bob.expect("* alice is chatting with you.")
        third.close()
        wait_until(lambda: node.readiness() == 200, "there is room again")
        guests.text(node, "dave")

    def test_connections_from_one_address_are_limited(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(max_connections_per_address=2)
        alice = guests.text(node, "alice")
        guests.text(node, "bob")
        assert turned_away(node)
        assert hits(node, "connections_per_address") == 1
        alice.send("Quit")
        alice.expect("Quit")
        alice.expect_closed()
        guests.text(node, "carol")


class TestRates:
    def test_claims_of_one_address_are_limited(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(max_claims=3, proxy_protocol="")
        client = from_address(guests, node, "192.0.2.1")
        for _ in range(3):
            client.send("not a name")
            client.expect_notice("name")
        client.send("alice")
        client.expect(TOO_FAST)
        program = JsonClient(node.address)
        with program:
            program.send_bytes(header("192.0.2.1"))
            program.send("hello", name="bob")
            program.expect("error", code="rate_limited", name="bob")
        assert hits(node, "claims") == 2
        other = from_address(guests, node, "192.0.2.2")
        other.login("carol")

    def test_calls_and_look_ups_of_one_client_are_limited(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(max_calls=2)
        alice, bob = guests.json(node, "alice"), guests.json(node, "bob")
        assert alice.who("bob") == "free"
        alice.call("bob")
        bob.expect("paired")
        alice.send("to", name="nobody")
        alice.expect("error", code="rate_limited", name="nobody")
        alice.send("who", name="bob")
        alice.expect("error", code="rate_limited", name="bob")
        alice.send("msg", id=1, text="still here")
        bob.expect("msg", text="still here")
        assert hits(node, "calls") == 2

    @pytest.mark.parametrize(("option", "amount"), [("max_lines", 100), ("max_bytes", 1000)])
    def test_a_client_that_says_too_much_is_read_more_slowly_and_loses_nothing(
        self, option: str, amount: int, start_node: StartNode, guests: Guests
    ) -> None:
        """500 lines of 10 bytes: at most two seconds' worth of it goes at once, and the rest has to wait."""
        node = start_node(**{option: amount})
        alice, bob = guests.text(node, "alice"), guests.text(node, "bob")
        alice.call("bob")
        bob.expect("* alice is chatting with you.")
        began = time.monotonic()
        for n in range(50):  # ten lines each: what one read brings is let through
            alice.send(*(f"line {n:02}{m:02}" for m in range(10)))
            for m in range(10):
                bob.expect_message("alice", f"line {n:02}{m:02}")
        lasted = time.monotonic() - began
        assert lasted > (500 * 10 / 1000 if option == "max_bytes" else 500 / 100) - 2.5
        assert hits(node, "rate") > 0
        alice.expect_nothing_so_far()


class TestAName:
    def test_a_name_has_to_come_in_time(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(name_time=1)
        alice = guests.text(node, "alice")
        silent = guests.text(node)
        silent.expect_closed()
        assert hits(node, "name_time") == 1
        alice.expect_nothing_so_far()


class TestWindows:
    """Windows of a sender whose partner acknowledges nothing."""

    @pytest.mark.parametrize(("option", "amount", "size"), [("window", 2, 1), ("window_bytes", 2048, 1024)])
    def test_windows_hold_what_is_told(
        self, option: str, amount: int, size: int, start_node: StartNode, guests: Guests
    ) -> None:
        node = start_node(**{option: amount})
        alice, bob = guests.json(node), guests.json(node, "bob", acks=True)
        assert alice.hello("alice", acks=True)[option] == amount
        chat = alice.call("bob")["chat"]
        bob.expect("paired")
        for id in (1, 2, 3):
            alice.send("msg", id=id, text="x" * size)
        alice.expect_error("window_full", id=3)
        bob.expect("msg", id=1)
        bob.send("ack", chat=chat, id=1)
        alice.expect_acked(1)
        alice.send("msg", id=3, text="x" * size)
        bob.expect("msg", id=2)
        bob.expect("msg", id=3)
        assert hits(node, "window") == 1


class TestABalancer:
    def test_limits_see_the_addresses_that_a_balancer_tells(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(proxy_protocol="", max_connections_per_address=1)
        from_address(guests, node, "192.0.2.1").login("alice")
        assert "client=192.0.2.1" in node.wait_for_line("session started")
        from_address(guests, node, "192.0.2.2").login("bob")
        from_address(guests, node, "2001:db8:1::1").login("carol")
        for address in ("192.0.2.1", "::ffff:192.0.2.2", "2001:db8:1::2"):  # the last address is in the same network
            with Wire(node.address) as wire:
                wire.send_bytes(header(address))
                assert wire.rest() == b""
        from_address(guests, node, "2001:db8:1:1::1").login("dave")

    def test_a_balancer_s_header_may_come_in_pieces_or_with_the_client_s_lines_behind_it(
        self, start_node: StartNode, guests: Guests
    ) -> None:
        node = start_node(proxy_protocol="")
        client = guests.text(node)
        for byte in header("192.0.2.1"):
            client.send_bytes(bytes([byte]))
        client.login("alice")
        hasty = guests.text(node)
        hasty.send_bytes(header("192.0.2.1") + b"bob\nTo:alice\nhi\n")
        hasty.expect("OK", "* You are chatting with alice.")
        client.expect("* bob is chatting with you.")
        client.expect_message("bob", "hi")

    def test_nobody_gets_in_without_a_balancer(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(proxy_protocol="")
        for start in (
            b"alice\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 9999\r\nalice\n",
            SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12),
        ):
            with Wire(node.address) as wire:
                wire.send_bytes(start)
                assert wire.rest() == b""
        assert hits(node, "header") == 3
        check = guests.text(node)  # the balancer's own check
        check.send_bytes(SIGNATURE + b"\x20\x00\x00\x00")
        check.login("alice")


@pytest.fixture
def small(start_node: StartNode) -> Node:
    """A node that may have few file descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    node = start_node()
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (128, hard))
    assert soft
    return node


def test_without_file_descriptors_chats_go_on_and_newcomers_wait(small: Node, guests: Guests) -> None:
    alice, bob = guests.text(small, "alice"), guests.text(small, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    with ExitStack() as crowd:
        wires = [crowd.enter_context(TextClient(small.address)) for _ in range(200)]
        small.wait_for_line("file descriptors")
        for _ in range(HALF_PROBES):
            crowd.enter_context(socket.create_connection(small.http_address)).send(b"GET /hea")
        for number, wire in enumerate(wires):
            wire.send(f"guest{number}")
        last = wires[-1]
        alice.send("hi")
        bob.expect_message("alice", "hi")
        assert small.readiness() == 404
        assert small.client_sockets() < 128
        assert hits(small, "files") == 1
        for wire in wires[:-1]:
            wire.close()
        last.expect("OK")  # it was never closed, and had to wait
    guests.text(small, "carol")
    wait_until(lambda: small.readiness() == 200, "there is room again")
    assert "Traceback" not in small.text()
    assert "out of system resource" not in small.text()


def test_two_thousand_half_lines_leave_others_their_place(start_node: StartNode, guests: Guests) -> None:
    node = start_node()
    with ExitStack() as slow:
        wires = [slow.enter_context(socket.create_connection(node.address)) for _ in range(HALF_LINES)]
        for wire in wires:
            wire.sendall(b"al")
        wait_until(lambda: node.client_sockets() == HALF_LINES, "all of them are there")
        took = []
        for number in range(20):
            began = time.monotonic()
            guests.text(node, f"other{number}")
            took.append(time.monotonic() - began)
            wires[number].sendall(b"i")
        assert statistics.median(took) < CONNECT_SECONDS


class TestHalfLines:
    """Lines without an end: each is read up to the limit of lines."""

    COUNT, SAID = 700, 60_000  # clients and bytes
    MEBIBYTE = 1024 * 1024

    def hold(self, guests: Guests, node: Node, count: int, *, named: bool) -> list[TextClient]:
        """Return a crowd in the middle of their lines."""
        crowd = [guests.text(node, f"guest{number}" if named else None) for number in range(count)]
        for client in crowd:
            client.send_bytes(b"x" * self.SAID)
        return crowd

    @staticmethod
    def settled(node: Node) -> float:
        """Return the held bytes once thirty checks agree, which take longer than the budget's tenth of a second."""
        looks = [held(node)]

        def same() -> bool:
            looks.append(held(node))
            return looks[-1] > 0 and len(set(looks[-30:])) == 1 and len(looks) >= 30

        wait_until(same, "no more is read")
        return looks[-1]

    def test_half_lines_before_a_name_cost_next_to_nothing(self, start_node: StartNode, guests: Guests) -> None:
        node = start_node(max_claims=0)
        before = node.memory()
        crowd = self.hold(guests, node, self.COUNT, named=False)
        for client in crowd:
            client.expect("* line too long: at most 10240 bytes")
        assert node.memory() - before < 16 * self.MEBIBYTE
        crowd[0].send("")
        crowd[0].send("alice")
        crowd[0].expect("OK")

    def test_half_lines_after_a_name_count_and_the_memory_that_they_took_is_given_back(
        self, start_node: StartNode, guests: Guests
    ) -> None:
        node = start_node(max_claims=0, memory=256)
        before = node.memory()
        crowd = self.hold(guests, node, self.COUNT, named=True)
        wait_until(lambda: held(node) > 0.9 * self.COUNT * self.SAID, "all of it counts")
        for client in crowd:
            client.close()
        wait_until(lambda: held(node) == 0, "nothing is held")
        wait_until(lambda: node.memory() - before < 16 * self.MEBIBYTE, "the system has it again", 30)

    def test_half_lines_beyond_the_budget_wait_and_all_of_them_arrive(
        self, start_node: StartNode, guests: Guests
    ) -> None:
        """The budget is divided ten times a second.

        Data that arrives in between may exceed it, and later data waits.
        """
        node = start_node(max_claims=0, memory=16)
        crowd = self.hold(guests, node, 400, named=True)
        before, late = self.settled(node), [guests.text(node, f"late{number}") for number in range(100)]
        for client in late:
            client.send_bytes(b"x" * self.SAID)
        assert self.settled(node) - before < len(late) * self.SAID / 2
        crowd += late
        for client in crowd:
            client.send("")
        for client in crowd:
            client.expect("Nobody is chating with you. Maybe the one talked with you is talking with someone else")
