"""The balancer's header, in literal bytes."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.net.proxy_protocol import PREFIX_BYTES, REST_BYTES, SIGNATURE, BadHeader, check, rest_bytes, source
from tests.support.rows import each_row

MAGIC = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"  # as in the specification
V4 = MAGIC + b"\x21\x11\x00\x0c" + b"\xc0\x00\x02\x07" + b"\x0a\x00\x00\x01" + b"\xd4\x31" + b"\x27\x0f"
ADDRESS6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07"
V6 = MAGIC + b"\x21\x21\x00\x24" + ADDRESS6 + bytes(15) + b"\x01" + b"\xd4\x31" + b"\x27\x0f"


def test_the_signature_is_that_of_the_specification() -> None:
    assert SIGNATURE == MAGIC
    assert PREFIX_BYTES == 16


@each_row(
    ("header", "address"),
    [
        (V4, "192.0.2.7"),
        (V6, "2001:db8::7"),
        (V4[:14] + b"\x00\x13" + V4[16:] + b"\x04\x00\x04\x00\x00\x00\x00", "192.0.2.7"),  # more, which is skipped
        (MAGIC + b"\x20\x00\x00\x00", None),  # the balancer's own connection: a health check
        (MAGIC + b"\x20\x11\x00\x0c" + V4[16:], None),  # the same with an address
        (MAGIC + b"\x21\x00\x00\x00", None),  # an unknown source
        (MAGIC + b"\x21\x31\x00\xd8" + bytes(216), None),  # a unix socket
    ],
)
def test_whose_a_connection_is(header: bytes, address: str | None) -> None:
    assert rest_bytes(header) == len(header) - PREFIX_BYTES
    assert source(header) == address


@each_row(
    "header",
    [
        b"PROXY TCP4 192.0.2.7 10.0.0.1 54321 9999\r\n",  # version 1
        b"alice\nTo:bob\nhi there, bob\n",
        b"\x16\x03\x01" + bytes(40),  # TLS
        MAGIC.replace(b"QUIT", b"QUID") + V4[12:],
        MAGIC + b"\x11" + V4[13:],  # version 1
        MAGIC + b"\x31" + V4[13:],  # version 3
        MAGIC + b"\x22" + V4[13:],  # an unknown command
        MAGIC + b"\x21\x12" + V4[14:],  # UDP
        MAGIC + b"\x21\x41" + V4[14:],  # an unknown family
        MAGIC + b"\x21\x11\x00\x0b" + V4[16:27],  # too short for its addresses
        MAGIC + b"\x21\x21\x00\x0c" + V4[16:],  # the same for IPv6
        V4[:-1],
        V4 + b"x",
        MAGIC + b"\x21\x11" + (REST_BYTES + 1).to_bytes(2, "big") + bytes(REST_BYTES + 1),
    ],
)
def test_bytes_that_are_no_header_are_refused(header: bytes) -> None:
    with pytest.raises(BadHeader):
        source(header)


def test_a_start_that_can_be_no_header_is_known_at_once() -> None:
    for length in range(len(V4)):
        check(V4[:length])
    for start in (b"a", b"PROXY", b"\r\n\r\nx", MAGIC[:11] + b"\r"):
        with pytest.raises(BadHeader):
            check(start)
    with pytest.raises(BadHeader, match="too long"):
        check(MAGIC + b"\x21\x11\xff\xff")


@each_row(
    "start",
    [
        MAGIC + b"\x31",  # version 3
        MAGIC + b"\x11",
        MAGIC + b"\x00",
        MAGIC + b"\x22",  # an unknown command
        MAGIC + b"\x21\x12",  # UDP
        MAGIC + b"\x21\xff",
        MAGIC + b"\x21\x11\x11",  # too long, whatever follows
        MAGIC + b"\x20\x00\xff",
        MAGIC + b"\x21\x11\x10\x01",
        MAGIC + b"\x21\x11\x00\x0b",  # too short for its addresses
        MAGIC + b"\x21\x21\x00\x23",
    ],
)
def test_nothing_more_is_waited_for_once_the_bytes_can_be_no_header(start: bytes) -> None:
    check(start[:-1])
    with pytest.raises(BadHeader):
        check(start)


@given(st.ip_addresses(v=4), st.ip_addresses(v=6), st.binary(max_size=50))
def test_any_address_is_read(four: object, six: object, more: bytes) -> None:
    for text, family, kind, size in ((str(four), b"\x11", socket.AF_INET, 4), (str(six), b"\x21", socket.AF_INET6, 16)):
        packed = socket.inet_pton(kind, text)
        rest = packed + bytes(size) + bytes(4) + more
        told = source(MAGIC + b"\x21" + family + len(rest).to_bytes(2, "big") + rest)
        assert told is not None
        assert socket.inet_pton(kind, told) == packed


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda rest: MAGIC + rest)))
def test_any_bytes_are_an_address_or_refused(header: bytes) -> None:
    try:
        told = source(header)
    except BadHeader:
        return
    assert header.startswith(MAGIC)
    assert told is None or "." in told or ":" in told
