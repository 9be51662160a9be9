"""Admission of a new connection: it checks limits, reads a load balancer's header, and begins TLS."""

import asyncio
import ssl
from collections.abc import Collection
from ipaddress import IPv6Address
from typing import Final, cast

import structlog
from msgspec import Struct

from relay.hub.hub import Hub
from relay.hub.rate_limit import MINUTE, ClientSource, TokenBucket
from relay.metrics import Limit
from relay.net import proxy_protocol
from relay.net.fd_guard import Descriptors
from relay.net.tls_transport import TlsTransport
from relay.server.connection import Connection
from relay.server.http_exchange import HttpServer
from relay.server.refused_connection import REFUSED_AT_ONCE, Refusal, RefusedConnection
from relay.web.responder import HttpResponder

# A load balancer sends its header at once, with the first bytes on the connection.
HEADER_SECONDS: Final = 10.0
# Each limit that is reached is logged at most once in this time, because strangers can provoke these lines.
SAY_SECONDS: Final = 60.0
# The owner of an IPv6 network has at least 2^64 addresses, so the first 8 bytes identify the owner.
_NETWORK: Final = slice(0, 8)

log = structlog.get_logger()


class AdmissionLimits(Struct, frozen=True):
    """The limits on new connections. A 0 means that there is no limit."""

    connections: int = 50_000
    connections_per_address: int = 10_000
    claims_per_address: int = 10_000  # a minute
    proxied: bool = False  # a load balancer's header gives the client's address


class Admission:
    """Admits connections on all client ports of one node.

    `context` may be replaced at any time; existing connections keep the one that they began with.
    """

    def __init__(
        self,
        hub: Hub,
        limits: AdmissionLimits,
        context: ssl.SSLContext | None = None,
        responder: HttpResponder | None = None,
    ) -> None:
        """`responder` answers HTTP on all ports but the classic one. Without it no client is taken for a browser."""
        self.context = context
        self.draining = False  # the node is about to stop, so that it lets no more browsers in
        self.http: Final = (
            HttpServer(hub, responder, hub.limits.max_line, why_full=lambda: self._why_no_browser, move=self._move)
            if responder
            else None
        )
        self.limits = limits
        self.hub = hub
        self.open = 0  # connections
        self.turned_away = 0  # connections for which there is no room, and which are told so
        self.descriptors = Descriptors(
            lambda: self.open + self.turned_away, lambda: self.refuse(Limit.FILES, "file descriptors")
        )
        self._arriving: dict[PendingConnection, None] = {}
        self._quotas: dict[str, AddressQuota] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._said: dict[Limit, float] = {}

    @property
    def networks(self) -> Collection[str]:
        """The addresses that are remembered, because connections from there are open or claims were used up."""
        return self._quotas.keys()

    def arrive(self, *, classic: bool) -> "PendingConnection":
        """Return the protocol for a connection that was just accepted."""
        return PendingConnection(self, classic)

    @property
    def why_full(self) -> str:
        """The reason why the node accepts no new connections, or "" if it does."""
        if self.descriptors.short:
            return "no file descriptors left"
        return "as many connections as there may be" if 0 < self.limits.connections <= self.open else ""

    @property
    def _why_no_browser(self) -> str:
        """The reason why a connection that has been accepted may not become a browser's, or "" if it may."""
        if self.draining:
            return "this node is going away"
        return "no file descriptors left" if self.descriptors.short else ""

    def _move(self, source: ClientSource, address: str) -> "ClientSource | None":
        """Count a connection for another address from now on. Returns None if that has too many."""
        quota = self.admit(address)
        if quota is None:
            return None
        source.moved()
        return Proxied(quota, address)

    def opened(self, arrival: "PendingConnection") -> bool:
        """Count a new connection. Returns whether it may stay."""
        self._arriving[arrival] = None
        self.open += 1
        self.descriptors.pause_or_resume()
        if 0 < self.limits.connections < self.open:
            return self.refuse(Limit.CONNECTIONS, "--max-connections")
        return True

    def closed(self) -> None:
        """Stop counting a connection that is closed."""
        self.open -= 1
        self.descriptors.pause_or_resume()

    def turn_away(self) -> bool:
        """Stop counting a connection for which there is no room. Returns whether it may be told so."""
        if self.http is None or self.turned_away >= REFUSED_AT_ONCE:
            return False
        self.open -= 1
        self.turned_away += 1
        return True

    def went_away(self) -> None:
        """Note that a connection for which there was no room is closed."""
        self.turned_away -= 1
        self.descriptors.pause_or_resume()

    def forget_arrival(self, arrival: "PendingConnection") -> None:
        """Forget a pending connection that has become a client's, or is closed."""
        self._arriving.pop(arrival, None)

    def admit(self, address: str) -> "AddressQuota | None":
        """Count a connection from this address, until `left` is called. Returns None if the address has too many."""
        network = _network(address)
        quota = self._quotas.get(network)
        if quota is None:
            claims = self.limits.claims_per_address
            bucket = TokenBucket(claims, asyncio.get_running_loop().time()) if claims else None
            quota = self._quotas[network] = AddressQuota(self, network, bucket)
        elif 0 < self.limits.connections_per_address <= quota.connections and not self._is_proxy(address):
            self.refuse(Limit.ADDRESS, "--max-connections-per-address", address)
            return None
        quota.connections += 1
        return quota

    def _is_proxy(self, address: str) -> bool:
        """Return whether the address is a trusted proxy's. The limit is for the clients behind it."""
        return self.http is not None and self.http.responder.proxies.trusts(address)

    def refuse(self, limit: Limit, option: str, address: str = "") -> bool:
        """Count a limit that was reached, and log it at most once a minute. Always returns False."""
        self.hub.counts.hit(limit)
        now = asyncio.get_running_loop().time()
        if now - self._said.get(limit, -SAY_SECONDS) >= SAY_SECONDS:
            self._said[limit] = now
            log.warning("limit met", option=option, **{"address": address} if address else {})
        return False

    def left(self, quota: "AddressQuota") -> None:
        """Stop counting a closed connection of this address."""
        self.closed()
        self.moved(quota)

    def moved(self, quota: "AddressQuota") -> None:
        """Stop counting a connection for this address. It stays open."""
        quota.connections -= 1
        if not quota.connections:
            self._forget(quota)

    def _forget(self, quota: "AddressQuota") -> None:
        """Forget an address without connections: now if its bucket of claims is full, otherwise a minute later."""
        loop = asyncio.get_running_loop()
        if quota.claims is None or quota.claims.full(loop.time()):
            del self._quotas[quota.network]
        elif self._sweeping is None:
            self._sweeping = loop.call_later(MINUTE, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        for quota in [one for one in self._quotas.values() if not one.connections]:
            self._forget(quota)

    def shut(self) -> None:
        """Abort the pending connections. The ports have to be closed already."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for arrival in list(self._arriving):
            arrival.abort()
        if self.http is not None:
            self.http.shut()


class AddressQuota(ClientSource):
    """The limits of one IPv4 address or one IPv6 network. All its connections share this object (0.4 KB)."""

    __slots__ = ("_admission", "connections", "network")

    def __init__(self, admission: Admission, network: str, claims: TokenBucket | None) -> None:
        super().__init__(claims)
        self._admission = admission
        self.network = network
        self.connections = 0

    def left(self) -> None:
        """Stop counting one of its connections, which is closed."""
        self._admission.left(self)

    def moved(self) -> None:
        """See `ClientSource`."""
        self._admission.moved(self)


class Proxied(ClientSource):
    """The source of a connection whose address comes from a load balancer's header."""

    __slots__ = ("_quota",)

    def __init__(self, quota: AddressQuota, peer: str) -> None:
        super().__init__(quota.claims, peer)
        self._quota = quota

    def left(self) -> None:
        """Stop counting the connection, which is closed."""
        self._quota.left()

    def moved(self) -> None:
        """See `ClientSource`."""
        self._quota.moved()


class PendingConnection(asyncio.BufferedProtocol):
    """A connection before TLS and before the client's first byte.

    With `--proxy-protocol` it reads the load balancer's header, and not a byte more.
    """

    def __init__(self, admission: Admission, classic: bool) -> None:
        self._admission, self._classic = admission, classic
        self._header = bytearray()
        self._buffer = memoryview(b"")
        self._timer: asyncio.TimerHandle | None = None
        self._quota: AddressQuota | None = None
        self._peer = ""  # the client's address from the load balancer's header, if there is one
        self._refusal: Refusal | None = None  # why there is no room for it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check the limits, then wait for the load balancer's header if there must be one."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._admission.opened(self) and not self._turned_away(
            503, "No room: as many connections as there may be."
        ):
            self.abort()
        elif self._admission.limits.proxied:
            self._timer = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._refuse)
        else:
            self._enter(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a buffer for the rest of the header only: the bytes after it are the client's."""
        whole = proxy_protocol.PREFIX_BYTES
        if len(self._header) >= whole:
            whole += proxy_protocol.rest_bytes(self._header)
        self._buffer = memoryview(bytearray(max(1, whole - len(self._header))))
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Go on once the header is complete, or refuse the connection if the header is malformed."""
        self._header += self._buffer[:nbytes]
        header = bytes(self._header)
        try:
            proxy_protocol.check(header)
            if len(header) < proxy_protocol.PREFIX_BYTES or len(
                header
            ) < proxy_protocol.PREFIX_BYTES + proxy_protocol.rest_bytes(header):
                return
            address = proxy_protocol.source(header)
        except proxy_protocol.BadHeader:
            self._refuse()
        else:
            self._enter(address)

    def eof_received(self) -> bool:
        """Have the transport closed: the peer ended the connection before it was a client's."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection, which is closed and never was a client's."""
        self._stop_timer()
        self._admission.forget_arrival(self)
        if self._refusal is not None:
            self._admission.went_away()
        elif self._quota is None:
            self._admission.closed()
        else:
            self._admission.left(self._quota)

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _refuse(self) -> None:
        self._admission.refuse(Limit.HEADER, "--proxy-protocol")
        self.abort()

    def _enter(self, address: str | None) -> None:
        """Count the connection for its client's address, then begin TLS or hand it to the client's protocol."""
        self._stop_timer()
        if address is not None:
            self._peer = address
        else:
            peer: tuple[str, int] | None = self._transport.get_extra_info("peername")
            address = peer[0] if peer else ""
        if self._refusal is None:
            self._quota = self._admission.admit(address)
            if self._quota is None and not self._turned_away(429, "Too many connections from this address."):
                self.abort()
                return
        context = self._admission.context
        self._hand_over(self._ready() if context is None else TlsTransport(context, self._ready, self._failed))

    def _turned_away(self, status: int, reason: str) -> bool:
        """Return whether the client can be told that there is no room. On the classic port there are no browsers."""
        if self._classic or not self._admission.turn_away():
            return False
        self._refusal = Refusal(status, reason)
        return True

    def _hand_over(self, protocol: Connection | RefusedConnection | TlsTransport) -> None:
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    def _ready(self) -> Connection | RefusedConnection:
        admission, quota = self._admission, self._quota
        admission.forget_arrival(self)
        if self._refusal is not None:
            return RefusedConnection(self._refusal, admission.went_away)
        assert quota is not None
        origin = Proxied(quota, self._peer) if self._peer else quota
        http = None if self._classic else admission.http
        return Connection(admission.hub, admission.hub.limits.max_line, classic=self._classic, origin=origin, http=http)

    def _failed(self, late: bool) -> None:
        if late:
            self._admission.hub.counts.hit(Limit.HANDSHAKE_TIME)
        self.connection_lost(None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _network(address: str) -> str:
    """Return the key that quotas are kept by: an IPv4 address, or the first 64 bits of an IPv6 address."""
    if ":" not in address:
        return address
    whole = IPv6Address(address.partition("%")[0])
    return str(whole.ipv4_mapped or whole.packed[_NETWORK].hex())
