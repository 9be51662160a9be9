"""What is read about a relay, from a Redis of which a part is away or answers strangely."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import pytest

from relay.configuration.config import Config
from relay.observe.status_report import Report, encode
from relay.redis_client.client import RedisClient, Unavailable
from relay.tools.status.gather import Gatherer

pytestmark = pytest.mark.anyio

GONE = Unavailable("connection refused")
INFO = {"role": "master", "redis_version": "7.2.0"}
REPORT = Report("n1", "1.0", 100.0, 3700.0, 5.0, "", 3, 2, 2, 10.5, 9.0, 1, 2048)


class Answers:
    """A client of Redis with these servers and one node's report. `lease` is what it says about the node's lease."""

    def __init__(
        self, servers: Mapping[str, Mapping[str, Any] | Unavailable], lease: int | Unavailable = 3_603_500
    ) -> None:
        self._servers = servers
        self._lease = lease

    async def servers(self) -> Mapping[str, Mapping[str, Any] | Unavailable]:
        return self._servers

    async def call(self, *_: object) -> tuple[int, dict[bytes, bytes]]:
        return 0, {b"u": encode(REPORT)}

    async def each(self, commands: Iterable[Sequence[Any]]) -> list[int | Unavailable]:
        return [self._lease for _ in commands]


def gatherer(answers: Answers) -> Gatherer:
    made = Gatherer(Config(name="n1", redis="redis://h:1"))
    made.redis_client = cast(RedisClient, answers)
    return made


async def test_without_any_server_nothing_is_known() -> None:
    with pytest.raises(Unavailable, match="connection refused"):
        await gatherer(Answers({"h:1": GONE, "h:2": GONE})).read_status()


async def test_a_node_whose_lease_is_on_a_server_that_is_away_may_live() -> None:
    found = await gatherer(Answers({"h:1": INFO, "h:2": GONE}, GONE)).read_status()
    assert [(server.address, server.trouble) for server in found.servers] == [("h:1", ""), ("h:2", str(GONE))]
    (node,) = found.nodes
    assert (node.node_id, node.unknown, node.lives) == ("u", True, False)


async def test_a_replica_of_which_nothing_is_said_is_left_out() -> None:
    info = INFO | {"connected_slaves": 2, "slave1": {"ip": "h", "port": 3, "state": "online"}}
    found = await gatherer(Answers({"h:1": info})).read_status()
    assert [server.replicas for server in found.servers] == [("h:3 online",)]
    assert [node.lives for node in found.nodes] == [True]
