"""TLS on one connection: a protocol to the TCP transport below it, a transport to the client's connection above it.

asyncio has one of its own (`sslproto`), which keeps up to half a megabyte of a connection that isn't read, and says
that all is written while TCP still holds some of it. Acknowledgements depend on the latter, a node's memory on the
former: this one passes on when the kernel takes no more, and holds no more than one read (docs/decisions/0008).
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final, NoReturn, cast

from relay.config import ConfigError, bounded
from relay.net.openssl_errors import in_words

# From the connection to the end of the handshake. Two round trips, and a certificate that is looked at: less than a
# second nearly everywhere; whoever takes longer than this holds a place that others could have.
HANDSHAKE_SECONDS: Final = 10.0
# What a peer may say until then: its hello (16 KiB at most) and certificates, some kilobytes each. OpenSSL would keep
# 100 KiB of the latter for somebody whom nobody knows. Read in small pieces, as OpenSSL's buffers never shrink.
HANDSHAKE_BYTES: Final = 48 * 1024
HANDSHAKE_READ_BYTES: Final = 4 * 1024
# The most that one record of TLS holds: what is written goes through OpenSSL's buffer in such pieces, likewise.
RECORD_BYTES: Final = 16 * 1024
# One read from the network: a little more than the largest record, so that one is rarely taken in two reads.
CIPHER_BYTES: Final = 17 * 1024
# What TLS itself owes a peer that doesn't read: answers to changes of keys. An honest one changes them once a gigabyte.
OWED_BYTES: Final = 4 * 1024
# No certificate comes compressed (RFC 8879): a crowd of them would be small on the way and large here. OpenSSL takes
# them since 3.2, where it was built with compression. Python has no name for this option; an older OpenSSL ignores it.
NO_COMPRESSED_CERTIFICATES: Final = ssl.Options(1 << 33)
# For TLS 1.2: forward secrecy and authenticated encryption, nothing else. TLS 1.3 has no others.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_buffer: Final = memoryview(bytearray(CIPHER_BYTES))  # all connections': it is empty between two calls of the loop

Client = asyncio.BufferedProtocol


def server_context(cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """What a node needs for its side of TLS 1.2 and 1.3.

    `client_ca`: clients need a certificate that one of these signed. Sessions aren't resumed: a client's certificate is
    looked at each time, and no key outlives its connection.

    Raises:
        ConfigError: a file can't be read, or holds something else.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | NO_COMPRESSED_CERTIFICATES
    context.num_tickets = 0

    def ask() -> NoReturn:  # without it, OpenSSL would ask at the terminal
        raise ConfigError(f"--tls-key {str(key)!r} is encrypted; it has to be a key without a passphrase")

    try:
        with bounded("--tls-cert", cert) as cert_file, bounded("--tls-key", key) as key_file:
            context.load_cert_chain(cert_file, key_file, password=ask)
    except (OSError, ValueError) as error:
        _must_hold(cert, "--tls-cert", "certificate")
        _must_hold(key, "--tls-key", "private key")
        raise ConfigError(
            f"--tls-cert {str(cert)!r} and --tls-key {str(key)!r} can't be used: {in_words(error)}"
        ) from None
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            with bounded("--tls-client-ca", client_ca) as client_ca_file:
                context.load_verify_locations(client_ca_file)
        except (OSError, ValueError) as error:
            _must_hold(client_ca, "--tls-client-ca", "certificate")
            raise ConfigError(f"--tls-client-ca {str(client_ca)!r} can't be used: {in_words(error)}") from None
    return context


def _must_hold(file: Path, option: str, kind: str) -> None:
    """OpenSSL doesn't say which file is something else. Of a pipe there is nothing left to look at."""
    # The last words of "BEGIN TRUSTED CERTIFICATE", "BEGIN EC PRIVATE KEY", and the like
    if file.is_file() and f"{kind.upper()}-----".encode() not in file.read_bytes():
        raise ConfigError(f"{option} {str(file)!r} holds no {kind} in PEM") from None


class Inward(Enum):
    """How far the peer's side of the connection has come."""

    OPEN = auto()
    ENDING = auto()  # the peer sends nothing more
    ENDED = auto()  # and the client knows
    BROKEN = auto()  # what came isn't TLS


# Asked for with every read: on Python 3.11 a member looked up in its class costs ten times a global.
_OPEN: Final = Inward.OPEN
_ENDING: Final = Inward.ENDING
_BROKEN: Final = Inward.BROKEN


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """See above.

    `ready`: makes the client's connection, once the handshake is done. `failed(late)`: there will be none; `late`, if
    only because it took too long.
    """

    def __init__(self, context: ssl.SSLContext, ready: Callable[[], Client], failed: Callable[[bool], None]) -> None:
        super().__init__()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ready, self._failed = ready, failed
        self._client: Client | None = None
        self._late = False
        self._shaken = 0  # bytes of the handshake that came
        self._wanted = True  # the client takes what comes
        self._stopped = False  # TCP isn't read
        self._full = False  # the kernel takes no more
        self._inward = Inward.OPEN

    # --- below: TCP

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there; the peer begins."""
        self._tcp = cast(asyncio.Transport, transport)
        self._tcp.set_write_buffer_limits(high=0)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._late = True
        self._tcp.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next read goes: no more than the client would read now."""
        if self._client is None:
            return _buffer[:HANDSHAKE_READ_BYTES]
        return _buffer[: len(cast(memoryview, self._client.get_buffer(sizehint)))]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self._inward is not _OPEN:
            return  # said behind the end
        self._incoming.write(_buffer[:nbytes])
        if self._client is not None or self._shake(nbytes):
            self._read()

    def eof_received(self) -> bool:
        """TCP ends, with or without the word of TLS that it should: lines say themselves where they end."""
        if self._client is None:
            return False
        self._end()
        self._read()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP is gone."""
        self._timer.cancel()
        self._stopped = True
        client, self._client = self._client, None  # both would wait for the cyclic collector
        if client is not None:
            client.connection_lost(exc)
        else:
            self._failed(self._late)

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self._full = True
        if self._client is not None:
            self._client.pause_writing()

    def resume_writing(self) -> None:
        """The kernel has all of it."""
        self._full = False
        self._send()
        if self._client is not None and not self._full:
            self._client.resume_writing()

    def _shake(self, nbytes: int) -> bool:
        """Go on with the handshake, and say whether it is done."""
        self._shaken += nbytes
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            if self._shaken > HANDSHAKE_BYTES:
                self._tcp.abort()
            return False
        except (ssl.SSLError, ssl.CertificateError):
            self._send()  # why not
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
        """Hand on what came, for as long as the client takes it."""
        client, drained = cast(Client, self._client), False
        while self._wanted and not drained:
            buffer = cast(memoryview, client.get_buffer(-1))
            count = self._fill(buffer)
            drained = count < len(buffer)
            if count:
                client.buffer_updated(count)
        if self._inward is _BROKEN:
            self._send()  # why
            self._tcp.abort()
        elif self._outgoing.pending and not self._full:
            self._send()
        elif self._outgoing.pending > OWED_BYTES:
            self._tcp.abort()
        elif self._inward is _ENDING and drained:
            self._inward = Inward.ENDED
            client.eof_received()

    def _fill(self, buffer: memoryview) -> int:
        """Put what can be read into the buffer, records of one read together; returns how many bytes."""
        count = 0
        try:
            while count < len(buffer):
                got = self._tls.read(len(buffer) - count, buffer[count:])
                if not got:
                    self._end()
                    break
                count += cast(int, got)
                if not self._incoming.pending and not self._tls.pending():
                    break  # nearly always; to be told so by an exception takes as long as to read the record
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
        """Hand nothing on, and leave what comes in the kernel."""
        self._wanted = False
        if not self._stopped and not self._tcp.is_closing():
            self._stopped = True
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Hand on what is here already, then read again."""
        self._wanted = True
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._wanted and not self._tcp.is_closing():
            self._read()
        if self._wanted and self._stopped and not self._tcp.is_closing():
            self._stopped = False
            self._tcp.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send to the client."""
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
        """Say that nothing more comes, and close."""
        if not self._tcp.is_closing():
            with suppress(ssl.SSLError):  # the peer hasn't said so yet; it needn't
                self._tls.unwrap()
            self._send()
            self._tcp.close()

    def abort(self) -> None:
        """Close at once."""
        self._tcp.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._tcp.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """That of TCP; it is what is held back here."""
        self._tcp.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What TCP knows."""
        return self._tcp.get_extra_info(name, default)
