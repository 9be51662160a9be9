"""OpenSSL's errors about a file are told in words that help an operator."""

import ssl
from pathlib import Path

import pytest

from relay.net.tls_error_words import tls_error_words
from tests.support.certificates import Authority


def trust(file: Path) -> str:
    """Return the error about the certificates in a file."""
    with pytest.raises(OSError) as caught:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    return tls_error_words(caught.value)


def test_a_file_without_a_certificate_is_said_to_hold_none(tmp_path: Path) -> None:
    for content in (b"", b"nonsense", Authority(tmp_path).issue("node")[1].read_bytes()):
        (tmp_path / "file").write_bytes(content)
        assert trust(tmp_path / "file") == "it holds no certificate in PEM"


def test_a_file_with_something_else_in_place_of_a_certificate_is_no_pem(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    assert trust(tmp_path / "file") == "it isn't PEM"


def test_a_key_of_another_certificate_is_said_to_be_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, other = authority.issue("node")[0], authority.issue("other")[1]
    with pytest.raises(ssl.SSLError) as caught:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, other)
    assert tls_error_words(caught.value) == "key values mismatch"


def test_the_words_of_the_system_stay(tmp_path: Path) -> None:
    assert "No such file" in trust(tmp_path / "absent")
