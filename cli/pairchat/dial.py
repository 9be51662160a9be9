"""Opening connections: which addresses there are, in which order they are tried, and how long after one another."""

import os
import random
import socket
import ssl
from collections.abc import Iterator, Sequence

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from pairchat.address import Address
from pairchat.errors import ConnectionFailed

BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)

# Seconds until one address of several is given up: above any round trip, and a client of several nodes has a choice.
ADDRESS_WAIT = 3.0
FIRST_PAUSE = 0.25  # seconds at most before the first try to reconnect; all clients of a node lose it at once
PAUSE = 0.5  # seconds at most before the second; then twice as long each time
LONGEST_PAUSE = 5.0  # seconds: several tries within any sensible grace


class Route:
    """Which of several servers to try next: the one after the last that was tried, so that a bad one is left."""

    def __init__(self, servers: Sequence[Address], tls: ssl.SSLContext | None = None) -> None:
        self._servers = servers
        self._tls = tls
        self._tried = 0
        self.current = servers[0]  # as the user wrote it

    async def open(self, patience: float, *, only: float = ADDRESS_WAIT) -> ByteStream:
        """A connection to the first that answers, within `patience` seconds, `only` of them for each but a single one.

        A host name stands for all its addresses. Raises `ConnectionFailed` in the words of the system.
        """
        failure = ConnectionFailed(f"{self.current} does not answer")
        try:
            with anyio.fail_after(patience):
                found = await self._addresses()
                for index in range(len(found)):
                    server, address = found[(self._tried + index) % len(found)]
                    try:
                        stream = await _connect(server, address, self._tls, only if len(found) > 1 else patience)
                    except ConnectionFailed as error:
                        failure = error
                        continue
                    self._tried = (self._tried + index + 1) % len(found)
                    self.current = server
                    return stream
        except TimeoutError:
            pass
        raise failure

    async def _addresses(self) -> list[tuple[Address, Address]]:
        """Each server with each of its addresses. Raises `ConnectionFailed` if none is known."""
        found: list[tuple[Address, Address]] = []
        failure: ConnectionFailed | None = None
        for server in self._servers:
            try:
                known = await anyio.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
            except OSError as error:
                failure = ConnectionFailed(f"can't connect to {server}: {_reason(error)}")
                continue
            found += [(server, Address(host, server.port)) for host in dict.fromkeys(str(k[4][0]) for k in known)]
        if not found:
            assert failure is not None
            raise failure
        return found


async def _connect(server: Address, address: Address, tls: ssl.SSLContext | None, patience: float) -> ByteStream:
    """A connection within `patience` seconds, or `ConnectionFailed`."""
    try:
        with anyio.fail_after(patience):
            stream = await anyio.connect_tcp(address.host, address.port)
            return stream if tls is None else await _wrap(stream, server, tls)
    except TimeoutError:
        raise ConnectionFailed(f"{server} does not answer") from None
    except (OSError, *BROKEN) as error:
        raise ConnectionFailed(f"can't connect to {server}: {_reason(error)}") from error


async def _wrap(stream: ByteStream, server: Address, tls: ssl.SSLContext) -> ByteStream:
    try:
        return await TLSStream.wrap(stream, hostname=server.host, ssl_context=tls, standard_compatible=False)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


def pauses(random: random.Random) -> Iterator[float]:
    """Seconds before each try to reconnect: rising, and different for each client, so that they don't come at once."""
    yield random.uniform(0, FIRST_PAUSE)
    pause = PAUSE
    while True:
        yield random.uniform(pause / 2, pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _reason(error: BaseException) -> str:
    """The words of the system, from inside what trying several addresses wraps around them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS"
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if error.__cause__ is not None:
        return _reason(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio puts words of its own into `strerror`
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
