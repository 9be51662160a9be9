"""The servers of a run, and who has whose place."""

from collections.abc import Iterator

import pytest

from simulator.harness.servers import NAME, Alone
from simulator.network import Network
from simulator.world import World


@pytest.fixture
def alone() -> Iterator[Alone]:
    with World() as world:
        servers = Alone(world, Network(world))
        servers.start()
        yield servers


def test_a_name_leads_to_the_spare_server_which_has_all_data(alone: Alone) -> None:
    (old,) = alone.primaries
    old.server.databases[0].put(b"key", b"value")
    assert alone.network.names.addresses(NAME) == [*old.host.addresses]
    assert alone.switch()
    (new,) = alone.primaries
    assert new is not old
    assert alone.network.names.addresses(NAME) == [*new.host.addresses]
    assert new.server.databases[0].data == {b"key": b"value"}
    assert new.server.replication.primary is None
    assert old.server.replication.primary is new.server
    assert old.alive, "it keeps its clients"


def test_the_name_leads_back_once_the_old_server_is_gone(alone: Alone) -> None:
    (first,) = alone.primaries
    alone.switch()
    (second,) = alone.primaries
    second.server.databases[0].put(b"key", b"value")
    alone.retire()
    assert not first.alive
    assert alone.switch()
    assert alone.primaries == [first]
    assert first.server.databases[0].data == {b"key": b"value"}
    assert second.server.replication.primary is first.server


def test_a_server_that_is_away_is_not_replaced(alone: Alone) -> None:
    assert alone.ready
    alone.primaries[0].freeze()
    assert not alone.ready
    alone.primaries[0].thaw()
    assert alone.ready
    alone.primaries[0].kill()
    assert not alone.ready
