"""TLS on one connection: a protocol for the TCP transport below, and a transport for the client's connection above.

asyncio's own implementation (`sslproto`) buffers up to half a megabyte of a connection that isn't read, and reports
everything as written while TCP still holds some of it. The first costs a node memory, and the second would falsify
acknowledgements. This one passes the kernel's back-pressure on, and buffers no more than one read
(docs/decisions/0008).
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final, NoReturn, cast

from relay.configuration.config import ConfigError, bounded
from relay.net.tls_error_words import tls_error_words

# The time from the connection to the end of the handshake. It takes two round trips and the check of a certificate,
# which is less than a second nearly everywhere. A slower peer would occupy a place that others could have.
HANDSHAKE_SECONDS: Final = 10.0
# The most that a peer may send during the handshake: its hello (16 KiB at most) and certificates, some kilobytes each.
# OpenSSL would keep 100 KiB of certificates for a peer that nobody knows. The handshake is read in small pieces,
# because OpenSSL's buffers never shrink.
HANDSHAKE_BYTES: Final = 48 * 1024
HANDSHAKE_READ_BYTES: Final = 4 * 1024
# The most that one TLS record holds. Data is written in pieces of this size, because OpenSSL's buffers never shrink.
RECORD_BYTES: Final = 16 * 1024
# The size of one read from the network: a little more than the largest record, so that a record rarely takes two reads.
CIPHER_BYTES: Final = 17 * 1024
# The most that TLS itself may buffer for a peer that doesn't read: its answers to key updates. An honest peer updates
# its keys once a gigabyte.
OWED_BYTES: Final = 4 * 1024
# No compressed certificate (RFC 8879) is accepted, because many of them would be small on the wire and large here.
# OpenSSL accepts them since 3.2 if built with compression. Python has no name for this option; older OpenSSLs ignore
# it.
NO_COMPRESSED_CERTIFICATES: Final = ssl.Options(1 << 33)
# With TLS 1.2, only ciphers with forward secrecy and authenticated encryption are allowed. TLS 1.3 has no others.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_buffer: Final = memoryview(bytearray(CIPHER_BYTES))  # shared by all connections: each read is copied out at once

Client = asyncio.BufferedProtocol


def server_context(cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Return a node's context for TLS 1.2 and 1.3.

    TLS sessions aren't resumed: a client's certificate is checked each time, and no key outlives its connection.

    Args:
        cert: the certificate chain, in PEM.
        key: the private key, in PEM and without a passphrase.
        client_ca: certificates, one of which has to have signed the client's; None: clients need none.

    Raises:
        ConfigError: a file can't be read, or holds something else.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | NO_COMPRESSED_CERTIFICATES
    context.num_tickets = 0

    def ask() -> NoReturn:  # without this callback, OpenSSL would ask at the terminal
        raise ConfigError(f"--tls-key {str(key)!r} is encrypted; it has to be a key without a passphrase")

    try:
        with bounded("--tls-cert", cert) as cert_file, bounded("--tls-key", key) as key_file:
            context.load_cert_chain(cert_file, key_file, password=ask)
    except (OSError, ValueError) as error:
        _must_hold(cert, "--tls-cert", "certificate")
        _must_hold(key, "--tls-key", "private key")
        raise ConfigError(
            f"--tls-cert {str(cert)!r} and --tls-key {str(key)!r} can't be used: {tls_error_words(error)}"
        ) from None
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            with bounded("--tls-client-ca", client_ca) as client_ca_file:
                context.load_verify_locations(client_ca_file)
        except (OSError, ValueError) as error:
            _must_hold(client_ca, "--tls-client-ca", "certificate")
            raise ConfigError(f"--tls-client-ca {str(client_ca)!r} can't be used: {tls_error_words(error)}") from None
    return context


def _must_hold(file: Path, option: str, kind: str) -> None:
    """Raise ConfigError if the file holds nothing of this kind: OpenSSL doesn't say which file is wrong.

    A pipe isn't checked, since its content has been consumed.
    """
    # These words end "BEGIN TRUSTED CERTIFICATE", "BEGIN EC PRIVATE KEY", and the like.
    if file.is_file() and f"{kind.upper()}-----".encode() not in file.read_bytes():
        raise ConfigError(f"{option} {str(file)!r} holds no {kind} in PEM") from None


class Inward(Enum):
    """The state of the receiving direction."""

    OPEN = auto()
    ENDING = auto()  # the peer sends nothing more
    ENDED = auto()  # the client's connection has been told so
    BROKEN = auto()  # the received data isn't valid TLS


# These are needed at every read, and on Python 3.11 looking up a member in its class costs ten times a global.
_OPEN: Final = Inward.OPEN
_ENDING: Final = Inward.ENDING
_BROKEN: Final = Inward.BROKEN


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """The TLS layer between a TCP transport and a client's connection.

    Args:
        context: the node's TLS settings.
        ready: returns the client's connection; it is called once the handshake is done.
        failed: is called with whether the handshake timed out, if the connection ends before the handshake does.
    """

    def __init__(self, context: ssl.SSLContext, ready: Callable[[], Client], failed: Callable[[bool], None]) -> None:
        super().__init__()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ready, self._failed = ready, failed
        self._client: Client | None = None
        self._late = False
        self._shaken = 0  # bytes received during the handshake
        self._wanted = True  # the client's connection hasn't paused reading
        self._stopped = False  # reading from TCP is paused
        self._full = False  # the kernel's send buffer is full
        self._inward = Inward.OPEN

    # --- below: TCP

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the peer to begin the handshake, for `HANDSHAKE_SECONDS` at most."""
        self._tcp = cast(asyncio.Transport, transport)
        self._tcp.set_write_buffer_limits(high=0)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._late = True
        self._tcp.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a buffer for the next read, no larger than the client's connection would read now."""
        if self._client is None:
            return _buffer[:HANDSHAKE_READ_BYTES]
        return _buffer[: len(cast(memoryview, self._client.get_buffer(sizehint)))]

    def buffer_updated(self, nbytes: int) -> None:
        """Continue the handshake, or decrypt what arrived and pass it on."""
        if self._inward is not _OPEN:
            return  # the peer sent this after its end
        self._incoming.write(_buffer[:nbytes])
        if self._client is not None or self._shake(nbytes):
            self._read()

    def eof_received(self) -> bool:
        """Note the end of TCP. TLS's close_notify isn't required, because lines show by themselves where they end."""
        if self._client is None:
            return False
        self._end()
        self._read()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on to the client's connection, or report a failed handshake."""
        self._timer.cancel()
        self._stopped = True
        client, self._client = self._client, None  # a reference cycle would wait for the cyclic garbage collector
        if client is not None:
            client.connection_lost(exc)
        else:
            self._failed(self._late)

    def pause_writing(self) -> None:
        """Pass the kernel's back-pressure on to the client's connection."""
        self._full = True
        if self._client is not None:
            self._client.pause_writing()

    def resume_writing(self) -> None:
        """Write what TLS itself has buffered, then let the client's connection write again."""
        self._full = False
        self._send()
        if self._client is not None and not self._full:
            self._client.resume_writing()

    def _shake(self, nbytes: int) -> bool:
        """Continue the handshake. Returns whether it is done."""
        self._shaken += nbytes
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            if self._shaken > HANDSHAKE_BYTES:
                self._tcp.abort()
            return False
        except (ssl.SSLError, ssl.CertificateError):
            self._send()  # the alert that says why
            self._tcp.close()
            return False
        self._timer.cancel()
        self._send()
        self._client = self._ready()
        self._client.connection_made(self)
        if self._full:
            self._client.pause_writing()
        return True

    def _read(self) -> None:
        """Decrypt and pass on what arrived, until the client's connection pauses reading."""
        drained = False
        while self._wanted and not drained:
            client = cast(Client, self._client)  # it may have changed with the last bytes
            buffer = cast(memoryview, client.get_buffer(-1))
            count = self._fill(buffer)
            drained = count < len(buffer)
            if count:
                client.buffer_updated(count)
        if self._inward is _BROKEN:
            self._send()  # the alert that says why
            self._tcp.abort()
        elif self._outgoing.pending and not self._full:
            self._send()
        elif self._outgoing.pending > OWED_BYTES:
            self._tcp.abort()
        elif self._inward is _ENDING and drained:
            self._inward = Inward.ENDED
            cast(Client, self._client).eof_received()

    def _fill(self, buffer: memoryview) -> int:
        """Decrypt into the buffer, with all records of one read together. Returns the number of bytes."""
        count = 0
        try:
            while count < len(buffer):
                got = self._tls.read(len(buffer) - count, buffer[count:])
                if not got:
                    self._end()
                    break
                count += cast(int, got)
                if not self._incoming.pending and not self._tls.pending():
                    break  # the usual case; the exception below would take as long as decrypting the record
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end()
        except ssl.SSLError:
            self._inward = Inward.BROKEN
        return count

    def _end(self) -> None:
        if self._inward is _OPEN:
            self._inward = Inward.ENDING

    def _send(self) -> None:
        self._pass_on(self._outgoing.read())

    def _pass_on(self, data: bytes) -> None:
        if data and not self._tcp.is_closing():
            self._tcp.write(data)

    # --- above: the client's connection

    def pause_reading(self) -> None:
        """Pass nothing on, and leave further data in the kernel."""
        self._wanted = False
        if not self._stopped and not self._tcp.is_closing():
            self._stopped = True
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Pass on what has been received already, then read again."""
        self._wanted = True
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._wanted and not self._tcp.is_closing():
            self._read()
        if self._wanted and self._stopped and not self._tcp.is_closing():
            self._stopped = False
            self._tcp.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt the data and send it to the peer."""
        rest, records = memoryview(data), []
        try:
            while rest:
                rest = rest[self._tls.write(rest[:RECORD_BYTES]) :]
                records.append(self._outgoing.read())
        except ssl.SSLError:
            self._tcp.abort()
            return
        self._pass_on(records[0] if len(records) == 1 else b"".join(records))

    def close(self) -> None:
        """Send TLS's close_notify, and close."""
        if not self._tcp.is_closing():
            with suppress(ssl.SSLError):  # raised because the peer hasn't sent its close_notify, which it needn't
                self._tls.unwrap()
            self._send()
            self._tcp.close()

    def abort(self) -> None:
        """Close at once."""
        self._tcp.abort()

    def can_write_eof(self) -> bool:
        """Return whether `write_eof` works, which it does."""
        return True

    def write_eof(self) -> None:
        """Send TLS's close_notify and the end of TCP, and go on reading."""
        if not self._tcp.is_closing():
            with suppress(ssl.SSLError):  # as in `close`
                self._tls.unwrap()
            self._send()
            self._tcp.write_eof()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol take over from the client's connection."""
        self._client = cast(Client, protocol)

    def is_closing(self) -> bool:
        """Return whether the connection is closed, or about to be."""
        return self._tcp.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of the TCP transport: no other buffer holds written data."""
        self._tcp.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what the TCP transport knows under this name."""
        return self._tcp.get_extra_info(name, default)
