"""The notation of server addresses."""

import pytest

from pairchat import BadServer
from pairchat.address import parse_address
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
def test_what_is_no_address_is_told_in_one_line(wrong: str) -> None:
    with pytest.raises(BadServer) as told:
        parse_address(wrong)
    assert "\n" not in str(told.value)
