"""Which proxy leads to a WebSocket."""

import os
from base64 import b64decode

import pytest

from pairchat.address import WebAddress
from pairchat.errors import BadSettings
from pairchat.proxy import Proxy, parse_proxy, proxy_for

SECURE = WebAddress("relay.example", 443, True)
PLAIN = WebAddress("relay.example", 80, False)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)


def shown(proxy: Proxy | None) -> str | None:
    return str(proxy) if proxy is not None else None


@pytest.mark.parametrize(
    ("environment", "secure", "plain"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://a"}, "http://a:80", None),
        ({"https_proxy": "http://a", "HTTPS_PROXY": "http://b"}, "http://a:80", None),
        ({"HTTP_PROXY": "http://a:3128"}, None, "http://a:3128"),
        ({"http_proxy": "a:3128"}, None, "http://a:3128"),
        ({"ALL_PROXY": "https://a"}, "https://a:443", "https://a:443"),
        ({"all_proxy": "http://a", "https_proxy": "http://b"}, "http://b:80", "http://a:80"),
        ({"https_proxy": "http://a", "NO_PROXY": "relay.example"}, None, None),
        ({"https_proxy": "http://a", "no_proxy": "x, .example"}, None, None),
        ({"https_proxy": "http://a", "no_proxy": "*"}, None, None),
        ({"https_proxy": "http://a", "no_proxy": "relay.example:443"}, None, None),
        ({"https_proxy": "http://a", "no_proxy": "relay.example:9"}, "http://a:80", None),
        ({"https_proxy": "http://a", "no_proxy": "lay.example"}, "http://a:80", None),
        ({"https_proxy": ""}, None, None),
    ],
)
def test_the_environment_names_the_proxy(
    environment: dict[str, str], secure: str | None, plain: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert shown(proxy_for(SECURE)) == secure
    assert shown(proxy_for(PLAIN)) == plain


@pytest.mark.parametrize("excepted", ["::1", "[::1]", "[::1]:443"])
def test_an_ipv6_address_may_be_excepted(excepted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://a")
    monkeypatch.setenv("no_proxy", excepted)
    assert proxy_for(WebAddress("::1", 443, True)) is None
    assert proxy_for(WebAddress("::2", 443, True)) is not None


def test_a_proxy_that_is_given_goes_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://a")
    monkeypatch.setenv("no_proxy", "*")
    assert shown(proxy_for(SECURE, "http://b")) == "http://b:80"
    for none in ("none", " None ", ""):
        assert proxy_for(SECURE, none) is None


@pytest.mark.parametrize(
    ("url", "host", "port", "secure", "user"),
    [
        ("http://proxy", "proxy", 80, False, None),
        ("proxy:3128", "proxy", 3128, False, None),
        ("HTTPS://Proxy/", "proxy", 443, True, None),
        ("http://[0::1]:3128", "::1", 3128, False, None),
        ("http://alice@proxy", "proxy", 80, False, "alice:"),
        ("http://alice:s%40fe%3A%2F@proxy:1", "proxy", 1, False, "alice:s@fe:/"),
        ("http://al%C3%AFce:sécret@proxy", "proxy", 80, False, "alïce:sécret"),
        ("alice:secret@proxy:3128", "proxy", 3128, False, "alice:secret"),
    ],
)
def test_a_proxy_is_a_url_whose_user_and_password_are_never_shown(
    url: str, host: str, port: int, secure: bool, user: str | None
) -> None:
    proxy = parse_proxy(url, "HTTPS_PROXY")
    assert (proxy.host, proxy.port, proxy.secure) == (host, port, secure)
    scheme, _, encoded = (proxy.credentials or "").partition(" ")
    assert (b64decode(encoded).decode() if scheme == "Basic" else None) == user
    for words in (str(proxy), repr(proxy)):
        assert "alice" not in words
        assert "secret" not in words


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks5h://alice:secret@proxy:1080", "HTTPS_PROXY names a proxy that doesn't speak HTTP"),
        ("http://alice:secret/secret@proxy:3128", "HTTPS_PROXY has no proxy's address"),
        ("http://alice:secret@proxy:port", "HTTPS_PROXY has no proxy's address"),
        ("http://alice:secret@proxy:0", "HTTPS_PROXY has no proxy's address"),
        ("http://alice:secret@", "HTTPS_PROXY has no proxy's address"),
        ("http://alice:secret@[x]", "HTTPS_PROXY has no proxy's address"),
        ("http://alice:[secret", "HTTPS_PROXY has no proxy's address"),
        ("http://" + "secret" * 20, "HTTPS_PROXY has no proxy's address"),
        ("", "HTTPS_PROXY has no proxy's address"),
    ],
)
def test_an_invalid_proxy_is_told_without_its_password(url: str, words: str) -> None:
    with pytest.raises(BadSettings) as refused:
        parse_proxy(url, "HTTPS_PROXY")
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
