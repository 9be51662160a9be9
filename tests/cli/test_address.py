"""The notation of server addresses."""

import pytest

from pairchat import BadServer
from pairchat.address import WebAddress, parse_address
from tests.support.rows import each_row


@each_row(
    ("written", "host", "port", "shown"),
    [
        ("localhost:9999", "localhost", 9999, "localhost:9999"),
        ("relay.example", "relay.example", 9999, "relay.example:9999"),
        ("10.0.0.1:1", "10.0.0.1", 1, "10.0.0.1:1"),
        ("[::1]:9998", "::1", 9998, "[::1]:9998"),
        ("[::1]", "::1", 9999, "[::1]:9999"),
    ],
)
def test_an_address_is_a_host_and_a_port(written: str, host: str, port: int, shown: str) -> None:
    assert parse_address(written) == (host, port)
    assert str(parse_address(written)) == shown


@each_row(
    "wrong",
    ["", ":9999", "::1", "::1:9999", "[::1", "[::1]x", "h:", "h:0", "h:65536", "h:x", "h:١", "a b:1", "h:9" * 99],
)
def test_an_invalid_address_is_told_in_one_line(wrong: str) -> None:
    with pytest.raises(BadServer) as told:
        parse_address(wrong)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("written", "address", "path", "shown"),
    [
        ("ws://relay.example", WebAddress("relay.example", 80, False), "/ws", "ws://relay.example"),
        ("wss://relay.example", WebAddress("relay.example", 443, True), "/ws", "wss://relay.example"),
        ("WSS://Relay.Example/", WebAddress("relay.example", 443, True, "/"), "/ws", "wss://relay.example/"),
        ("ws://h:443/chat/ws", WebAddress("h", 443, False, "/chat/ws"), "/chat/ws", "ws://h:443/chat/ws"),
        ("wss://h:443", WebAddress("h", 443, True), "/ws", "wss://h"),
        ("wss://h:/x", WebAddress("h", 443, True, "/x"), "/x", "wss://h/x"),
        ("ws://[::1]:9998", WebAddress("::1", 9998, False), "/ws", "ws://[::1]:9998"),
        ("wss://[0:0::1]/@x", WebAddress("::1", 443, True, "/@x"), "/@x", "wss://[::1]/@x"),
        ("wss://h/ws?key=secret", WebAddress("h", 443, True, "/ws", "key=secret"), "/ws", "wss://h/ws"),
        ("wss://höhe.example", WebAddress("höhe.example", 443, True), "/ws", "wss://höhe.example"),
    ],
)
def test_an_address_is_a_url_too(written: str, address: WebAddress, path: str, shown: str) -> None:
    parsed = parse_address(written)
    assert parsed == address
    assert isinstance(parsed, WebAddress)
    assert parsed.path == path
    assert str(parsed) == shown
    if "?" not in written:
        assert parse_address(shown) == address


def test_a_url_names_its_host_to_http_in_ascii() -> None:
    assert WebAddress("höhe.example", 443, True).authority == "xn--hhe-sna.example:443"
    assert WebAddress("::1", 80, False).authority == "[::1]:80"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("http://h", "write host:port, ws://host/path or wss://host/path"),
        ("https://u:secret@h", "not an address: this URL"),
        ("://h", "not an address"),
        ("wss://", "write wss://host:port/path"),
        ("wss:///ws", "write wss://host:port/path"),
        ("wss://:443", "write wss://host:port/path"),
        ("wss://h:0", "write wss://host:port/path"),
        ("wss://h:65536", "write wss://host:port/path"),
        ("wss://h:x", "write wss://host:port/path"),
        ("wss://::1", "write wss://host:port/path"),
        ("wss://[::1", "write wss://host:port/path"),
        ("wss://[::1%25eth0]", r"IPv6 is written wss://[::1]"),
        ("wss://" + "x" * 64, "not a host name"),
        ("wss://h/#here", "no part after #"),
        ("wss://h/a b", "no white space"),
        ("wss://h/\x1b[2J", "no control characters"),
        ("wss://h/\u00fc", "not ASCII"),
        ("wss://alice:secret@h", "a user name or a password can't be in an address"),
        ("wss://alice@h", "a user name or a password can't be in an address"),
        ("wss://alice:secret/secret@h", "this URL"),
        ("wss://alice:sec#ret@h", "this URL"),
    ],
)
def test_a_mistake_in_a_url_is_told_in_one_line_without_a_password(wrong: str, told: str) -> None:
    with pytest.raises(BadServer) as refused:
        parse_address(wrong)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)
