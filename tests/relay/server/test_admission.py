"""Admission before a client's connection: counts by address, the time for a header, and what remains afterwards."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from relay.hub.hub import Hub
from relay.hub.rate_limit import NOWHERE, ClientSource
from relay.metrics import Limit
from relay.net import tls_transport
from relay.server import admission as module
from relay.server import refused_connection
from relay.server.admission import Admission, AdmissionLimits, PendingConnection
from relay.server.connection import Connection
from relay.web.forwarded import TrustedProxies
from relay.web.origins import OriginRules
from relay.web.responder import HttpResponder
from tests.relay.desk import Tcp, until
from tests.support.certificates import Authority
from tests.support.web import handshake

pytestmark = pytest.mark.anyio

HEADER = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x00\x01\x27\x0f"


class Visitor(Tcp):
    """A connection from an address."""

    def __init__(self, admission: Admission, address: str, sock: socket.socket, *, classic: bool = False) -> None:
        super().__init__()
        self.address, self.socket = address, sock
        self.written = b""
        self.protocol: Any = admission.arrive(classic=classic)
        self.protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.address, 1) if name == "peername" else self.socket

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        super().abort()
        self.protocol.connection_lost(None)

    def say(self, data: bytes) -> None:
        """Send data, in the pieces that each buffer takes."""
        while data and not self.aborted:
            room = self.protocol.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count] = data[:count]
            data = data[count:]
            self.protocol.buffer_updated(count)


Come = Callable[..., Visitor]


@pytest.fixture
async def come(hub: Hub) -> AsyncIterator[Come]:
    """Connects a visitor."""
    came: list[Visitor] = []
    sock = socket.socket()

    def connect(admission: Admission, address: str = "192.0.2.1", *, classic: bool = False) -> Visitor:
        came.append(Visitor(admission, address, sock, classic=classic))
        return came[-1]

    yield connect
    for one in came:
        if not one.aborted:
            one.abort()
    sock.close()


async def test_a_connection_is_a_client_s_at_once_where_nothing_stands_before(hub: Hub, come: Come) -> None:
    admission = Admission(hub, AdmissionLimits())
    one = come(admission)
    assert isinstance(one.protocol, Connection)
    assert admission.open == 1
    one.abort()
    assert admission.open == 0


async def test_connections_of_an_address_are_counted_until_they_are_gone(hub: Hub, come: Come) -> None:
    admission = Admission(hub, AdmissionLimits(connections_per_address=2))
    first, second, third = (come(admission) for _ in range(3))
    assert [one.aborted for one in (first, second, third)] == [False, False, True]
    assert admission.open == 2
    other = come(admission, "192.0.2.2")
    assert not other.aborted
    first.abort()
    assert not come(admission).aborted
    assert hub.counts.limits[Limit.ADDRESS] == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "", True),
    ],
)
async def test_only_addresses_of_one_network_count_as_one_address(
    one: str, other: str, same: bool, hub: Hub, come: Come
) -> None:
    admission = Admission(hub, AdmissionLimits(connections_per_address=1))
    come(admission, one)
    assert come(admission, other).aborted is same


async def test_nothing_is_kept_of_an_address_that_is_gone(hub: Hub, come: Come) -> None:
    admission = Admission(hub, AdmissionLimits())
    stays = come(admission, "192.0.2.9")
    for number in range(50):
        come(admission, f"198.51.100.{number}").abort()
    assert list(admission.networks) == ["192.0.2.9"]
    assert admission._sweeping is None  # private: a timer that is left shows nowhere else
    assert not stays.aborted


async def test_an_address_that_has_claimed_is_forgotten_when_its_claims_are_back(
    hub: Hub, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MINUTE", 0.01)
    admission = Admission(hub, AdmissionLimits(claims_per_address=3000))  # one claim in 20 ms
    one = come(admission)
    assert one.protocol.rate_limiter.may_claim(asyncio.get_running_loop().time())
    one.abort()
    assert len(admission.networks) == 1
    await until(lambda: not admission.networks)
    assert admission._sweeping is None  # private: a timer that is left shows nowhere else


async def test_the_objects_of_a_forgotten_address_are_gone_at_once(hub: Hub, come: Come) -> None:
    """Otherwise a crowd with an address each would stay until Python's cyclic garbage collector runs."""
    admission = Admission(hub, AdmissionLimits(proxied=True))
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            one = come(admission)
            one.say(HEADER)
            one.abort()
            one.protocol = None
        assert not admission.networks
        await until(
            lambda: not [one for one in gc.get_objects() if isinstance(one, ClientSource) and one is not NOWHERE]
        )
    finally:
        gc.enable()


async def test_an_address_is_remembered_for_as_long_as_its_claims_are_used_up(
    hub: Hub, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MINUTE", 0.01)
    admission = Admission(hub, AdmissionLimits(claims_per_address=1))
    first = come(admission)
    assert first.protocol.rate_limiter.may_claim(asyncio.get_running_loop().time())
    first.abort()
    await asyncio.sleep(0.05)  # several sweeps, which leave no trace
    assert not come(admission).protocol.rate_limiter.may_claim(asyncio.get_running_loop().time())
    admission.shut()


async def test_a_header_is_read_and_not_a_byte_more(hub: Hub, come: Come) -> None:
    admission = Admission(hub, AdmissionLimits(proxied=True, connections_per_address=1))
    one = come(admission, "10.0.0.1")
    one.say(HEADER[:5])
    assert isinstance(one.protocol, PendingConnection)
    one.say(HEADER[5:] + b"nobody")
    assert isinstance(one.protocol, Connection)
    assert list(admission.networks) == ["192.0.2.7"]
    one.say(b"\n")
    await until(lambda: one.protocol.session.canonical_name == "nobody")


async def test_a_start_that_can_be_no_header_is_not_waited_for(hub: Hub, come: Come) -> None:
    one = come(Admission(hub, AdmissionLimits(proxied=True)))
    one.say(HEADER[:12])
    assert not one.aborted
    one.say(b"\x31")  # version 3, and nothing follows
    assert one.aborted
    assert hub.counts.limits[Limit.HEADER] == 1


async def test_a_header_that_does_not_come_is_not_waited_for(
    hub: Hub, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEADER_SECONDS", 0.05)
    admission = Admission(hub, AdmissionLimits(proxied=True))
    silent, prompt = come(admission), come(admission)
    prompt.say(HEADER)
    await until(lambda: silent.aborted)
    assert not prompt.aborted
    assert hub.counts.limits[Limit.HEADER] == 1


@pytest.mark.parametrize("late", [True, False])
async def test_a_handshake_that_is_not_done_in_time_is_counted(
    hub: Hub, come: Come, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    monkeypatch.setattr(tls_transport, "HANDSHAKE_SECONDS", 0.05)
    admission = Admission(
        hub, AdmissionLimits(), tls_transport.server_context(*Authority(tmp_path).issue("node"), None)
    )
    stranger = come(admission)
    if not late:
        stranger.abort()
    await until(lambda: stranger.aborted)
    assert hub.counts.limits[Limit.HANDSHAKE_TIME] == late
    assert admission.open == 0


async def test_at_the_end_whoever_is_about_to_come_in_is_sent_away(hub: Hub, come: Come) -> None:
    admission = Admission(hub, AdmissionLimits(proxied=True))
    waiting, there = come(admission), come(admission)
    there.say(HEADER)
    admission.shut()
    assert waiting.aborted
    assert not there.aborted


async def test_beyond_the_most_connections_nobody_gets_in_until_one_is_gone(hub: Hub, come: Come) -> None:
    admission = Admission(hub, AdmissionLimits(connections=1))
    first, second = come(admission), come(admission)
    assert [one.aborted for one in (first, second)] == [False, True]
    assert admission.why_full == "as many connections as there may be"
    assert hub.counts.limits[Limit.CONNECTIONS] == 1
    first.abort()
    assert (admission.why_full, admission.open) == ("", 0)
    assert not come(admission).aborted


async def test_addresses_whose_claims_are_used_up_are_looked_at_together(
    hub: Hub, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them share one timer."""
    admission = Admission(hub, AdmissionLimits(claims_per_address=1))
    for number in range(3):
        one = come(admission, f"192.0.2.{number}")
        assert one.protocol.rate_limiter.may_claim(asyncio.get_running_loop().time())
        one.abort()
    admission.shut()
    loop, timers = asyncio.get_running_loop(), list[object]()
    call_later = loop.call_later

    def counted(*about: Any) -> asyncio.TimerHandle:
        timers.append(about)
        return call_later(*about)

    monkeypatch.setattr(loop, "call_later", counted)
    admission._sweep()  # private: in a node it comes once a minute
    admission.shut()
    assert len(timers) == 1
    assert len(admission.networks) == 3


class TestNoRoom:
    """A browser is told that there is none; whoever else comes is closed without a word."""

    GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

    @staticmethod
    def admission(hub: Hub, *proxies: str, **terms: int) -> Admission:
        responder = HttpResponder(OriginRules((), loopback=False), TrustedProxies(proxies), None)
        return Admission(hub, AdmissionLimits(**terms), responder=responder)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("terms", "status"), [({"connections": 1}, b" 503 "), ({"connections_per_address": 1}, b" 429 ")]
    )
    async def test_a_browser_is_told_that_there_is_no_room(
        self, terms: dict[str, int], status: bytes, hub: Hub, come: Come
    ) -> None:
        admission = self.admission(hub, **terms)
        come(admission)
        browser = come(admission)
        assert admission.open == 1, "it takes no place of another"
        for byte in self.GET:
            browser.say(bytes([byte]))
        assert status in browser.written
        assert b"\r\nRetry-After: " in browser.written
        assert browser.eof_written
        browser.abort()
        assert (admission.open, admission.turned_away) == (1, 0)

    async def test_a_trusted_proxy_has_as_many_connections_as_it_has_clients(self, hub: Hub, come: Come) -> None:
        admission = self.admission(hub, "192.0.2.0/24", connections_per_address=1)
        come(admission)
        come(admission)
        assert (admission.open, admission.turned_away) == (2, 0)

    async def test_nobody_but_a_browser_is_told_that_there_is_no_room(self, hub: Hub, come: Come) -> None:
        admission = self.admission(hub, connections=1)
        come(admission)
        for said in (b"ann\n", b"{"):
            one = come(admission)
            one.say(said)
            assert one.aborted
            assert not one.written

    async def test_a_refused_client_that_says_nothing_is_not_waited_for(
        self, hub: Hub, come: Come, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(refused_connection, "REFUSED_SECONDS", 0.02)
        admission = self.admission(hub, connections=1)
        come(admission)
        one = come(admission)
        await until(lambda: one.closed)

    async def test_only_so_many_refused_connections_are_kept_to_be_told(
        self, hub: Hub, come: Come, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "REFUSED_AT_ONCE", 2)
        admission = self.admission(hub, connections=1)
        assert [come(admission).aborted for _ in range(4)] == [False, False, False, True]
        assert hub.counts.limits[Limit.CONNECTIONS] == 3

    async def test_on_the_classic_port_there_are_no_browsers(self, hub: Hub, come: Come) -> None:
        admission = self.admission(hub, connections=1)
        come(admission)
        one = come(admission, classic=True)
        assert one.aborted

    async def test_behind_a_proxy_each_browser_counts_for_its_own_address(self, hub: Hub, come: Come) -> None:
        responder = HttpResponder(OriginRules((), loopback=False), TrustedProxies(["10.0.0.0/8"]), None)
        admission = Admission(hub, AdmissionLimits(connections_per_address=2), responder=responder)
        browsers = [come(admission, "10.0.0.1") for _ in range(2)]
        for number, browser in enumerate(browsers):
            browser.say(handshake(x_forwarded_for=f"203.0.113.{number}"))
            assert b" 101 " in browser.written
        assert sorted(admission.networks) == ["203.0.113.0", "203.0.113.1"]
        assert admission.open == 2
        third = come(admission, "10.0.0.1")
        assert not third.aborted
        third.say(handshake(x_forwarded_for="203.0.113.0"))
        fourth = come(admission, "10.0.0.1")
        fourth.say(handshake(x_forwarded_for="203.0.113.0"))
        assert b" 429 " in fourth.written
        for browser in (*browsers, third, fourth):
            browser.abort()
        assert admission.open == 0
        assert not admission.networks
