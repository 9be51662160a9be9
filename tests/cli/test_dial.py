"""Which address is tried next, and when."""

import random
import socket
from itertools import islice

import pytest

from pairchat import ConnectionFailed
from pairchat.address import Address, parse_address
from pairchat.dial import FIRST_PAUSE, LONGEST_PAUSE, PAUSE, Route, pauses
from tests.cli.scripted import ScriptedNode

pytestmark = pytest.mark.anyio


def vacant() -> Address:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return Address("127.0.0.1", probe.getsockname()[1])


async def test_servers_are_taken_in_turn_and_those_that_are_down_passed_over() -> None:
    with ScriptedNode() as one, ScriptedNode() as two:
        servers = [vacant(), parse_address(one.address), parse_address(two.address)]
        route, taken = Route(servers), []
        for _ in range(4):
            await (await route.open(5)).aclose()
            taken.append(str(route.current))
        assert taken == [one.address, two.address, one.address, two.address]


async def test_a_host_name_stands_for_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.3", "127.0.0.2")]

        async def known(*_: object, **__: object) -> list[object]:
            return list(found)

        monkeypatch.setattr("pairchat.dial.anyio.getaddrinfo", known)
        route = Route([Address("relay.example", port)])
        await (await route.open(5)).aclose()
        assert str(route.current) == f"relay.example:{port}"


async def test_nobody_anywhere_is_one_clear_error() -> None:
    servers = [vacant(), vacant()]
    with pytest.raises(ConnectionFailed, match=f"can't connect to {servers[1]}: Connection refused"):
        await Route(servers).open(5)
    with pytest.raises(ConnectionFailed, match=r"can't connect to no-such-host\.invalid:9999: "):
        await Route([Address("no-such-host.invalid", 9999)]).open(5)


def test_pauses_rise_and_differ() -> None:
    first = list(islice(pauses(random.Random(1)), 8))
    assert first != list(islice(pauses(random.Random(2)), 8))
    bounds = [FIRST_PAUSE, PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert all(pause <= bound for pause, bound in zip(first, bounds, strict=True))
    assert all(pause >= bound / 2 for pause, bound in zip(first[1:], bounds[1:], strict=True))
