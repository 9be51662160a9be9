"""The order and the times in which addresses are tried."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice

import anyio
import pytest
from anyio.abc import SocketAttribute

from pairchat import ConnectionFailed
from pairchat.address import Address, parse_address
from pairchat.dial import FIRST_PAUSE, LONGEST_PAUSE, PAUSE, Route, pauses
from pairchat.dns_lookup import in_turn
from tests.cli.scripted import ScriptedNode

pytestmark = pytest.mark.anyio
FULL = 2  # connections that fill a backlog of zero: the kernel keeps one more than the limit


@contextmanager
def silent() -> Iterator[Address]:
    """A port that answers nothing, not even a connection, because its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(FULL):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield Address(*listener.getsockname())


def vacant() -> Address:
    """A port without a listener."""
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


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str] | None]]:
    """Set the addresses of each name. None means that no name server answers during the test."""
    known: dict[str, list[str] | None] = {}
    over = threading.Event()

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        found = known[host]
        if found is None:
            over.wait()
            raise OSError("too late")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr("pairchat.dns_lookup.socket.getaddrinfo", getaddrinfo)
    yield known
    over.set()


async def test_a_host_name_stands_for_all_its_addresses(names: dict[str, list[str] | None]) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        names["relay.example"] = ["127.0.0.3", "127.0.0.2"]
        route = Route([Address("relay.example", port)])
        await (await route.open(5)).aclose()
        assert str(route.current) == f"relay.example:{port}"


async def test_a_name_that_hangs_holds_up_no_other_server(names: dict[str, list[str] | None]) -> None:
    names["hangs.example"] = None
    with ScriptedNode() as node:
        route = Route([Address("hangs.example", 9999), parse_address(node.address)])
        for _ in range(3):  # one look-up in flight is enough
            await (await route.open(60, only=60)).aclose()
            assert str(route.current) == node.address
    assert sum(thread.name == "resolve hangs.example" for thread in threading.enumerate()) == 1


async def test_whoever_waits_for_a_name_can_leave_at_once_and_hears_of_it(names: dict[str, list[str] | None]) -> None:
    names["slow.example"] = None
    with pytest.raises(ConnectionFailed, match=r"can't connect to slow\.example:1: no name server answers"):
        await Route([Address("slow.example", 1)]).open(0.05)
    with anyio.move_on_after(0.05) as waiting:
        await Route([Address("slow.example", 1)]).open(60)
    assert waiting.cancelled_caught


async def test_a_server_that_is_silent_holds_up_no_other() -> None:
    with silent() as quiet, ScriptedNode() as node:
        route = Route([quiet, parse_address(node.address)])
        await (await route.open(60, only=60)).aclose()
        assert str(route.current) == node.address


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        (["::1", "::2", "::3", "1.1.1.1"], "6466"),
        (["1.1.1.1", "::1", "::2"], "466"),
        (["1.1.1.1", "1.1.1.2"], "44"),
        ([], ""),
    ],
)
def test_both_kinds_of_addresses_take_turns(found: list[str], kinds: str) -> None:
    for seed in range(20):
        order = in_turn(found, seed)
        assert sorted(order) == sorted(found)
        assert "".join("6" if ":" in one else "4" for one in order) == kinds


def test_clients_begin_at_any_address_of_a_name_and_each_goes_through_them_in_its_own_order() -> None:
    found = ["::1", "::2", "::3", "1.1.1.1", "1.1.1.2"]
    orders = [in_turn(found, seed) for seed in range(200)]
    assert {order[0] for order in orders} == {"::1", "::2", "::3"}
    assert {order[1] for order in orders} == {"1.1.1.1", "1.1.1.2"}
    assert all(in_turn(found[1:3] + found[:1] + found[3:], seed) == order for seed, order in enumerate(orders))


async def test_a_lost_address_of_a_name_is_left_for_another_one(names: dict[str, list[str] | None]) -> None:
    with socket.create_server(("127.0.0.2", 0)) as one:
        port = one.getsockname()[1]
        with socket.create_server(("127.0.0.3", port)):
            began: set[str] = set()
            while began != {"127.0.0.2", "127.0.0.3"}:
                route, taken = Route([Address("relay.example", port)]), []
                for answer in (["127.0.0.2", "127.0.0.3"], ["127.0.0.3", "127.0.0.2"]):  # servers rotate them
                    names["relay.example"] = list(answer)
                    async with await route.open(5) as stream:
                        taken.append(str(stream.extra(SocketAttribute.remote_address)[0]))
                assert sorted(taken) == ["127.0.0.2", "127.0.0.3"]
                began.add(taken[0])


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
