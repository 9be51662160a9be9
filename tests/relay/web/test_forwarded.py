"""The address of a client behind proxies."""

import pytest

from relay.web.forwarded import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("address", "forwarded", "client"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.9", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.7, 10.1.1.1"], "203.0.113.7"),
        ("10.0.0.1", ["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
        ("10.0.0.1", ["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, unknown, 10.1.1.1"], "10.1.1.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7,"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, , 10.1.1.1", ""], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7:51234"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::1]:51234"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["x" * 5000], "10.0.0.1"),
        ("", ["203.0.113.7"], ""),
    ],
)
def test_the_client_is_the_last_address_that_is_not_trusted(address: str, forwarded: list[str], client: str) -> None:
    assert PROXIES.client(address, forwarded) == client


def test_nobody_is_trusted_unasked() -> None:
    assert TrustedProxies(()).client("127.0.0.1", ["203.0.113.7"]) == "127.0.0.1"
    assert TrustedProxies(()).scheme("127.0.0.1", ["https"], "http") == "http"


@pytest.mark.parametrize("network", ["10.0.0.1/8", "x", "", "10.0.0.0/33"])
def test_a_text_that_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError):
        TrustedProxies([network])


@pytest.mark.parametrize(
    ("address", "said", "scheme"),
    [
        ("10.0.0.1", ["https"], "https"),
        ("10.0.0.1", ["http, HTTPS"], "https"),
        ("10.0.0.1", ["wss"], "http"),
        ("10.0.0.1", [], "http"),
        ("192.0.2.1", ["https"], "http"),
    ],
)
def test_the_scheme_is_the_proxy_s_word_too(address: str, said: list[str], scheme: str) -> None:
    assert PROXIES.scheme(address, said, "http") == scheme
