"""TLS on a connection without sockets: what it passes on, what it holds back, and how it ends."""

import asyncio
import contextlib
import gc
import ssl
import warnings
import weakref
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from relay.configuration.config import ConfigError
from relay.net import tls_transport
from relay.net.tls_transport import CIPHER_BYTES, OWED_BYTES, RECORD_BYTES, TlsTransport, server_context
from tests.relay.desk import Tcp, until
from tests.support.certificates import Authority

pytestmark = pytest.mark.anyio

READ = 4096  # bytes of the client's buffer


class Network(Tcp):
    """The transport below TLS. It may be closed once only."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.layer: TlsTransport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("extra", name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        if self.full:
            self.layer.pause_writing()

    def close(self) -> None:
        assert not self.closed
        super().close()


class Client(asyncio.BufferedProtocol):
    """The protocol above TLS. With `greedy` it takes everything."""

    def __init__(self) -> None:
        self.heard = b""
        self.events: list[str] = []
        self.greedy = True
        self._buffer = bytearray(READ)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport
        self.events.append("made")

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self._buffer[:nbytes]
        if not self.greedy:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


class Peer:
    """The other end, and the network between."""

    def __init__(self, server: ssl.SSLContext, trusted: ssl.SSLContext) -> None:
        self.tcp, self.client, self.late = Network(), Client(), list[bool]()
        self.layer = TlsTransport(server, lambda: self.client, self.late.append)
        self.tcp.layer = self.layer
        self.layer.connection_made(self.tcp)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusted.wrap_bio(self._in, self._out, server_hostname="localhost")

    def exchange(self) -> None:
        """Carry the data of both sides, for as long as the node reads."""
        self._in.write(self.tcp.sent)
        self.tcp.sent.clear()
        while self._out.pending and self.tcp.reading and not self.tcp.is_closing():
            self.feed(self._out.read(CIPHER_BYTES))

    def feed(self, data: bytes) -> None:
        room = self.layer.get_buffer(-1)
        for start in range(0, len(data), len(room)):
            piece = data[start : start + len(room)]
            self.layer.get_buffer(-1)[: len(piece)] = piece
            self.layer.buffer_updated(len(piece))

    def shake(self) -> None:
        for _ in range(6):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            self.exchange()

    def say(self, data: bytes) -> None:
        self.tls.write(data)
        self.exchange()

    def hear(self) -> bytes:
        self.exchange()
        heard = b""
        try:
            while data := self.tls.read(READ):
                heard += data
        except ssl.SSLWantReadError:
            pass
        return heard

    def end(self) -> None:
        """Send nothing more."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.exchange()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("node")


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def peer(request: pytest.FixtureRequest, authority: Authority, certificate: tuple[Path, Path]) -> Peer:
    trusted = authority.trust()
    trusted.maximum_version = request.param
    peer = Peer(server_context(*certificate, None), trusted)
    peer.shake()
    assert peer.tls.version() == request.param.name.replace("_", ".")
    assert peer.client.events == ["made"]
    return peer


@pytest.fixture
async def stranger(authority: Authority, certificate: tuple[Path, Path]) -> Peer:
    """A peer that has sent nothing yet."""
    return Peer(server_context(*certificate, None), authority.trust())


class TestTheHandshake:
    async def test_the_newest_version_is_preferred(self, stranger: Peer) -> None:
        stranger.shake()
        assert stranger.tls.version() == "TLSv1.3"

    async def test_older_versions_are_refused(self, authority: Authority, certificate: tuple[Path, Path]) -> None:
        trusted = authority.trust()
        trusted.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            trusted.minimum_version, trusted.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old = Peer(server_context(*certificate, None), trusted)
        with pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version"):
            old.shake()
        assert old.tcp.closed
        assert old.client.events == []

    async def test_something_else_is_refused(self, stranger: Peer) -> None:
        stranger.feed(b"alice\nTo:bob\n")
        assert stranger.tcp.closed
        stranger.layer.connection_lost(None)
        assert stranger.late == [False]
        assert stranger.client.events == []

    async def test_a_handshake_that_does_not_come_to_its_end_is_given_up(
        self, monkeypatch: pytest.MonkeyPatch, authority: Authority, certificate: tuple[Path, Path]
    ) -> None:
        monkeypatch.setattr(tls_transport, "HANDSHAKE_SECONDS", 0.05)
        slow = Peer(server_context(*certificate, None), authority.trust())
        with pytest.raises(ssl.SSLWantReadError):
            slow.tls.do_handshake()
        slow.exchange()
        assert not slow.tcp.aborted
        await until(lambda: slow.tcp.aborted)
        slow.layer.connection_lost(None)
        assert slow.late == [True]

    async def test_a_handshake_that_is_done_is_not_given_up(
        self, monkeypatch: pytest.MonkeyPatch, authority: Authority, certificate: tuple[Path, Path]
    ) -> None:
        monkeypatch.setattr(tls_transport, "HANDSHAKE_SECONDS", 0.05)
        peer = Peer(server_context(*certificate, None), authority.trust())
        peer.shake()
        await anyio.sleep(0.1)  # nothing happens, so there is no event to wait for
        assert not peer.tcp.aborted

    async def test_no_session_can_be_resumed_past_a_look_at_the_certificate(self, peer: Peer) -> None:
        session = peer.tls.session
        assert session is None or not session.has_ticket

    async def test_a_client_needs_a_certificate_where_an_authority_is_given(
        self, tmp_path: Path, authority: Authority, certificate: tuple[Path, Path]
    ) -> None:
        server = server_context(*certificate, authority.file)
        known = Peer(server, authority.trust(authority.issue("client")))
        known.shake()
        assert known.client.events == ["made"]
        other = Authority(tmp_path, "other")
        for unknown in (authority.trust(), authority.trust(other.issue("forged"))):
            refused = Peer(server, unknown)
            with pytest.raises(ssl.SSLError):
                refused.shake()
                refused.hear()
            assert refused.client.events == []
            assert refused.tcp.closed

    async def test_eof_in_the_middle_is_its_end(self, stranger: Peer) -> None:
        assert stranger.layer.eof_received() is False


class TestWhatIsPassedOn:
    async def test_bytes_are_passed_on_both_ways(self, peer: Peer) -> None:
        peer.say(b"hello\n")
        assert peer.client.heard == b"hello\n"
        peer.client.transport.write(b"x" * 50_000)
        assert peer.hear() == b"x" * 50_000

    async def test_records_of_one_read_go_up_together(self, peer: Peer) -> None:
        updates: list[int] = []
        peer.client.buffer_updated = updates.append  # type: ignore[method-assign,assignment]
        for _ in range(20):
            peer.tls.write(b"hi\n")
        peer.exchange()
        assert updates == [60]

    async def test_a_client_that_takes_no_more_stops_the_network(self, peer: Peer) -> None:
        peer.client.greedy = False
        said = bytes(range(256)) * 1000
        peer.say(said)
        assert len(peer.client.heard) == READ
        assert not peer.tcp.reading
        # private: what a layer holds back shows nowhere else
        assert peer.layer._incoming.pending <= CIPHER_BYTES
        while len(peer.client.heard) < len(said):
            peer.client.transport.resume_reading()
            await anyio.lowlevel.checkpoint()
            peer.exchange()
        assert peer.client.heard == said

    async def test_a_kernel_that_takes_no_more_is_told_at_once_and_its_end_too(self, peer: Peer) -> None:
        peer.tcp.full = True
        peer.client.transport.write(b"hello\n")
        assert peer.client.events == ["made", "pause"]
        peer.tcp.full = False
        peer.layer.resume_writing()
        assert peer.client.events == ["made", "pause", "resume"]
        assert peer.hear() == b"hello\n"

    async def test_a_kernel_that_took_no_more_in_the_handshake_is_told_once_there_is_a_client(
        self, stranger: Peer
    ) -> None:
        stranger.tcp.full = True
        stranger.shake()
        assert stranger.client.events == ["made", "pause"]
        stranger.layer.resume_writing()
        assert stranger.client.events == ["made", "pause", "resume"]

    async def test_an_answer_that_tls_owes_goes_out_at_once_while_the_kernel_takes_it(self, peer: Peer) -> None:
        peer.layer._outgoing.write(b"an answer")
        peer.tls.write(b"x")
        peer.feed(peer._out.read())
        assert peer.tcp.sent == b"an answer"

    async def test_an_answer_that_tls_owes_waits_for_the_kernel_and_is_bounded(self, peer: Peer) -> None:
        peer.tcp.full = True
        peer.client.transport.write(b"hello\n")
        sent = bytes(peer.tcp.sent)
        peer.layer._outgoing.write(b"an answer")
        peer.say(b"x")
        assert peer.tcp.sent == b""  # `exchange` has taken what was sent before
        assert sent
        assert not peer.tcp.aborted
        peer.layer._outgoing.write(b"!" * OWED_BYTES)
        peer.say(b"x")
        assert peer.tcp.aborted

    async def test_extra_info_is_that_of_tcp(self, peer: Peer) -> None:
        assert peer.client.transport.get_extra_info("socket") == ("extra", "socket")


class TestTheEnd:
    async def test_the_word_of_tls_is_an_eof_after_which_answers_still_go_out(self, peer: Peer) -> None:
        peer.say(b"Quit\n")
        peer.end()
        assert peer.client.events == ["made", "eof"]
        assert peer.client.heard == b"Quit\n"
        peer.client.transport.write(b"Quit\n")
        assert peer.tcp.sent
        peer.feed(b"x" * 1000)
        # private: what a layer holds back shows nowhere else
        assert peer.layer._incoming.pending == 0  # said behind the end
        assert peer.client.events == ["made", "eof"]

    async def test_the_end_of_tcp_alone_is_an_eof_too(self, peer: Peer) -> None:
        peer.say(b"Quit\n")
        assert peer.layer.eof_received() is True
        assert peer.client.events == ["made", "eof"]
        peer.client.transport.write(b"Quit\n")
        assert peer.hear() == b"Quit\n"

    async def test_the_end_is_told_once(self, peer: Peer) -> None:
        peer.end()
        peer.layer.eof_received()
        assert peer.client.events == ["made", "eof"]

    async def test_the_end_takes_its_place_behind_what_the_client_has_not_taken(self, peer: Peer) -> None:
        peer.client.greedy = False
        peer.say(b"x" * (READ + 10))
        peer.layer.eof_received()
        assert peer.client.events == ["made"]
        peer.client.greedy = True
        peer.client.transport.resume_reading()
        await until(lambda: peer.client.events == ["made", "eof"])
        assert len(peer.client.heard) == READ + 10

    async def test_closing_says_so_to_the_peer(self, peer: Peer) -> None:
        peer.client.transport.write(b"bye\n")
        peer.client.transport.close()
        assert peer.tcp.closed
        assert peer.hear() == b"bye\n"
        peer.tls.unwrap()  # it would wait for data, had the node not answered

    async def test_closing_again_says_nothing_more_and_what_is_written_then_goes_nowhere(self, peer: Peer) -> None:
        peer.client.transport.close()
        sent = bytes(peer.tcp.sent)
        peer.client.transport.close()
        peer.client.transport.write(b"late\n")
        assert peer.tcp.sent == sent
        assert peer.client.transport.is_closing()

    async def test_a_record_that_was_forged_on_the_way_breaks_the_connection_and_reaches_nobody(
        self, peer: Peer
    ) -> None:
        peer.tls.write(b"To:bob\n")
        forged = bytearray(peer._out.read())
        forged[-1] ^= 1
        peer.feed(bytes(forged))
        assert peer.tcp.aborted
        assert peer.client.heard == b""

    async def test_a_lost_connection_is_told(self, peer: Peer) -> None:
        peer.layer.connection_lost(ConnectionResetError())
        assert peer.client.events == ["made", "lost"]
        assert peer.late == []
        peer.client.transport.pause_reading()  # this has no effect now
        assert peer.tcp.reading


class TestFiles:
    def test_a_file_that_cannot_be_used_is_told_in_a_line_that_names_its_option(
        self, tmp_path: Path, authority: Authority, certificate: tuple[Path, Path]
    ) -> None:
        cert, key = certificate
        rubbish = tmp_path / "rubbish.pem"
        rubbish.write_text("rubbish")
        other = authority.issue("other")[1]
        encrypted = tmp_path / "encrypted.pem"
        encrypted.write_bytes(
            load_pem_private_key(key.read_bytes(), None).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            )
        )
        for files, words in {
            (tmp_path / "none", key, None): ("--tls-cert", "No such file"),
            (cert, tmp_path / "none", None): ("--tls-key", "No such file"),
            (rubbish, key, None): ("--tls-cert", "holds no certificate in PEM"),
            (key, cert, None): ("--tls-cert", "holds no certificate in PEM"),
            (cert, rubbish, None): ("--tls-key", "holds no private key in PEM"),
            (cert, other, None): ("--tls-key", "mismatch"),
            (cert, encrypted, None): ("--tls-key", "is encrypted"),
            (cert, key, rubbish): ("--tls-client-ca", "holds no certificate in PEM"),
            (cert, key, key): ("--tls-client-ca", "holds no certificate in PEM"),
            (cert, key, tmp_path): ("--tls-client-ca", "directory"),
        }.items():
            with pytest.raises(ConfigError) as told:
                server_context(*files)
            assert all(word in str(told.value) for word in words)
            assert "\n" not in str(told.value)


async def test_a_connection_that_is_lost_is_freed_at_once(peer: Peer) -> None:
    """The connection of its client is gone, too. Neither waits for Python's cyclic garbage collector."""
    layer, client = weakref.ref(peer.layer), weakref.ref(peer.client)
    gc.collect()
    gc.disable()
    try:
        peer.layer.connection_lost(None)
        assert peer.client.events[-1] == "lost"
        del peer.tcp.layer, peer.layer, peer.client
        assert (layer(), client()) == (None, None)
    finally:
        gc.enable()


async def test_a_large_write_goes_through_openssl_in_pieces(peer: Peer) -> None:
    """OpenSSL's buffer never shrinks: a connection that once got a megabyte would keep it."""
    waiting = list[int]()

    class Noted:
        def __init__(self, layer: TlsTransport) -> None:
            self._tls, self._outgoing = layer._tls, layer._outgoing

        def write(self, data: bytes | memoryview) -> int:
            count = self._tls.write(data)
            waiting.append(self._outgoing.pending)
            return count

    tls_object, peer.layer._tls = peer.layer._tls, Noted(peer.layer)  # type: ignore[assignment]
    peer.layer.write(b"x" * 100_000)
    peer.layer._tls = tls_object
    assert max(waiting) < RECORD_BYTES + 100
    assert peer.hear() == b"x" * 100_000


async def test_a_stranger_with_a_crowd_of_certificates_is_given_up(
    authority: Authority, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """OpenSSL would keep a hundred kilobytes of certificates for each connection."""
    cert, key = authority.issue("stranger")
    chain = tmp_path / "chain.crt"
    chain.write_bytes(cert.read_bytes() + 200 * authority.file.read_bytes())
    stranger = Peer(server_context(*certificate, authority.file), authority.trust((chain, key)))
    stranger.shake()
    assert stranger.tcp.aborted
    stranger.layer.connection_lost(None)
    assert stranger.late == [False]
    assert stranger.client.events == []


async def test_no_certificate_comes_compressed(authority: Authority, certificate: tuple[Path, Path]) -> None:
    """Compression would allow many of them. With an OpenSSL that supports it, the test above shows that too."""
    assert server_context(*certificate, authority.file).options & tls_transport.NO_COMPRESSED_CERTIFICATES


async def test_a_client_s_certificate_may_have_a_long_chain(
    authority: Authority, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = authority.issue("client")
    chain = tmp_path / "chain.crt"
    chain.write_bytes(cert.read_bytes() + 20 * authority.file.read_bytes())
    client = Peer(server_context(*certificate, authority.file), authority.trust((chain, key)))
    client.shake()
    assert client.client.events == ["made"]
