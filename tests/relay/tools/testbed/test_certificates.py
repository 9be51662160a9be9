"""The certificate that a run creates for its nodes, and the message if it can't."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from relay.configuration.config import ConfigError, StartError
from relay.tools.testbed import certificates
from relay.tools.testbed.process import HOST


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Do a TLS handshake in memory. Raises the client's error about a certificate."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=HOST)
    answering = server.wrap_bio(there, back, server_side=True)
    for end in (asking, answering, asking, answering):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert asking.version() == answering.version() == "TLSv1.3"


def test_clients_trust_a_made_certificate(tmp_path: Path) -> None:
    certificate, key = certificates.make_certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    shake_hands(certificates.client_context(str(certificate)), server)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certificates.client_context(None), server)


def test_without_openssl_the_message_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match=r"^--tls needs the command openssl, to make a certificate: No such file"):
        certificates.make_certificate(tmp_path)


def test_the_words_of_openssl_are_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"^openssl makes no certificate: .+"):
        certificates.make_certificate(tmp_path / "absent")


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"nonsense", "used: it holds no certificate in PEM"), (None, "read: No such file or directory")],
)
def test_a_file_that_is_no_certificate_is_refused(content: bytes | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        certificates.check(tls=True, ca=str(file), servers=True)
    assert str(caught.value) == f"--ca {str(file)!r} can't be {why}"


@pytest.mark.parametrize(("tls", "servers"), [(False, True), (True, False), (False, False)])
def test_a_certificate_to_trust_is_for_servers_that_show_one(tls: bool, servers: bool) -> None:
    with pytest.raises(ConfigError, match=r"^--ca needs --tls and --server: "):
        certificates.check(tls=tls, ca="any", servers=servers)
