"""The certificate that a run makes for its nodes, and what is said where it can't."""

import ssl
from pathlib import Path

import pytest

from relay.config import ConfigError, StartError
from relay.torture import trust


def test_clients_trust_it(tmp_path: Path) -> None:
    certificate, key = trust.make_certificate(tmp_path)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    assert trust.client_context(str(certificate)).get_ca_certs()


def test_without_openssl_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match=r"^--tls needs the command openssl, to make a certificate: No such file"):
        trust.make_certificate(tmp_path)


def test_what_openssl_says_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"^openssl makes no certificate: .+"):
        trust.make_certificate(tmp_path / "absent")


@pytest.mark.parametrize(("content", "why"), [(b"nonsense", "it isn't PEM"), (None, "No such file or directory")])
def test_a_file_that_is_no_certificate_is_refused(content: bytes | None, why: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        trust.check(tls=True, ca=str(file), servers=True)
    assert str(caught.value) == f"--ca {str(file)!r} can't be used: {why}"


@pytest.mark.parametrize(("tls", "servers"), [(False, True), (True, False), (False, False)])
def test_a_certificate_to_trust_is_for_servers_that_show_one(tls: bool, servers: bool) -> None:
    with pytest.raises(ConfigError, match=r"^--ca needs --tls and --server: "):
        trust.check(tls=tls, ca="any", servers=servers)
