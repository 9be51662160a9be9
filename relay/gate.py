"""What a new connection passes before it is a client's: TLS, where the node has a certificate."""

import ssl
from collections.abc import Callable
from functools import partial

from relay.connection import Connection
from relay.metrics import Limit
from relay.router import Router
from relay.tls import TlsTransport

Protocol = Connection | TlsTransport


class Gate:
    """The way in of one node, for all its ports for clients. `context` may be replaced; connections keep theirs."""

    def __init__(self, router: Router, max_line: int, context: ssl.SSLContext | None) -> None:
        self.context = context
        self._router = router
        self._max_line = max_line
        self._arriving: set[TlsTransport] = set()

    def arrive(self, *, classic: bool) -> Protocol:
        """The protocol of a connection that was just accepted."""
        connect = partial(Connection, self._router, self._max_line, classic=classic)
        return connect() if self.context is None else self._encrypted(self.context, connect)

    def _encrypted(self, context: ssl.SSLContext, connect: Callable[[], Connection]) -> TlsTransport:
        def ready() -> Connection:
            self._arriving.discard(layer)
            return connect()

        def failed(late: bool) -> None:
            self._arriving.discard(layer)
            if late:
                self._router.counts.hit(Limit.HANDSHAKE_TIME)

        layer = TlsTransport(context, ready, failed)
        self._arriving.add(layer)
        return layer

    def shut(self) -> None:
        """Nobody comes in any more; whoever is about to is sent away."""
        for layer in list(self._arriving):
            layer.abort()
