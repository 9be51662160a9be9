"""A replica that was behind is promoted: the nodes repair the loss of acknowledged writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis

from relay.redis_client.keys import Keys
from relay.tools.testbed.process import HOST
from tests.integration.conftest import StartNode
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.party import LEASE
from tests.support.process import wait_until
from tests.support.proxy import Proxy
from tests.support.server import RedisServer
from tests.support.swarm import Swarm, alive, couples
from tests.support.thieves import Thieves

RATE = 20  # messages a second from each program
USER = "relay"


class Pair:
    """A server, its replica, and the address behind which one of them serves."""

    def __init__(self, folder: Path) -> None:
        self.old = RedisServer(folder / "old", ["--repl-diskless-sync-delay", "0"])
        self.new = RedisServer(folder / "new", ["--replicaof", HOST, str(self.old.port)])
        self.proxy = Proxy(self.old.port)
        self.url = self.proxy.url
        wait_until(lambda: replication(self.new)["master_link_status"] == "up", "the replica is in step", 30)

    def cut(self) -> None:
        """Stop the replication: from here on the replica lacks the writes of the old server."""
        there = replication(self.old)["master_repl_offset"]
        wait_until(lambda: replication(self.new)["slave_repl_offset"] >= there, "the replica has everything")
        self.new.client().replicaof("NO", "ONE")

    def fail_over(self) -> None:
        self.proxy.switch(self.new.port)

    def stop(self) -> None:
        self.proxy.stop()
        self.new.stop()
        self.old.stop()


def replication(server: RedisServer) -> dict[str, Any]:
    info = server.client().info("replication")
    assert isinstance(info, dict)
    return info


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.stop()


def fences(client: redis.Redis, prefix: str, names: list[str]) -> list[int]:
    places = [Keys(prefix).place(name) for name in names]
    records = [client.hget(place.key, place.field) for place in places]
    assert all(isinstance(record, str) for record in records), records
    return [int(str(record).split()[0]) for record in records]


@pytest.mark.parametrize("behind", [0.0, 1.5 * LEASE], ids=["just behind", "behind by more than a lease"])
def test_nobody_loses_a_name_a_chat_or_a_message(
    guests: Guests, start_node: StartNode, pair: Pair, prefix: str, behind: float
) -> None:
    one, two = (start_node(redis=pair.url, grace=30) for _ in range(2))
    before, after = couples(10, [one.address], [two.address]), couples(10, [one.address], [two.address])
    for n, program in enumerate(after):
        program.name = f"late{n}"
    person, friend = guests.text(one, "person"), guests.text(two)

    async def scene() -> Swarm:
        async with alive(before) as swarm:
            await swarm.pair_up()
            pair.cut()
            async with alive(after) as late:
                await late.pair_up()
                late.programs += before
                friend.login("friend")
                friend.call("person")
                person.expect("* friend is chatting with you.")
                await anyio.sleep(behind)
                known = fences(pair.old.client(), prefix, [program.name for program in late.programs])
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(late.talk, RATE, 1.5 * LEASE)
                    await anyio.sleep(0.3)
                    thieves = Thieves([one, two], [program.name for program in after] + ["friend"], 1.25 * LEASE)
                    pair.fail_over()
                    thieves.start()
                    await anyio.to_thread.run_sync(thieves.join)
                assert thieves.stolen == []
                await late.settle()
                now = fences(pair.new.client(), prefix, [program.name for program in late.programs])
                assert all(later >= sooner for later, sooner in zip(now, known, strict=True))
                return late

    swarm = anyio.run(scene)
    swarm.check()
    assert sum(program.drops for program in swarm.programs) == 0
    friend.send("still here")
    person.expect_message("friend", "still here")


def test_a_session_that_had_moved_stays_where_it_is_and_a_name_that_was_given_back_is_free(
    guests: Guests, start_node: StartNode, pair: Pair
) -> None:
    one, two = (start_node(redis=pair.url, grace=30) for _ in range(2))
    alice, bob, ghost = guests.json(one, "alice"), guests.json(two, "bob"), guests.text(one, "ghost")
    pair.cut()
    ghost.send("Quit")
    ghost.expect("Quit")
    ghost.expect_closed()
    chat = alice.call("bob")["chat"]
    bob.expect("paired")
    alice.reset()
    bob.expect("away")
    again = guests.json(two)
    again.send("hello", name="alice", token=alice.token, chat=chat)
    again.expect("welcome", resumed=True)
    again.expect("paired", chat=chat)
    bob.expect("back")
    pair.fail_over()
    guests.text_when_free(two, "ghost", 2 * LEASE + 1)
    again.send("msg", id=1, text="still here")
    bob.expect("msg", id=1, text="still here", chat=chat)
    again.expect("ack", id=1)
    for client in (again, bob):
        client.expect_nothing_so_far()


def test_where_the_server_does_not_say_who_it_is_the_loser_of_a_conflict_is_told_within_a_lease(
    guests: Guests, start_node: StartNode, pair: Pair
) -> None:
    """Another user may then get a name that the replica doesn't know. Its owner is told as soon as possible."""
    for server in (pair.old, pair.new):
        server.client().acl_setuser(
            USER, enabled=True, nopass=True, categories=["+@all"], commands=["-info"], keys=["*"], channels=["*"]
        )
    url = pair.url.replace("//", f"//{USER}:any@")
    one, two = (start_node(redis=url, grace=30) for _ in range(2))
    bob = guests.json(two, "bob", acks=True)
    stranger = guests.json(two)
    pair.cut()
    alice = guests.json(one, "alice")
    alice.call("bob")
    bob.expect("paired")
    alice.send("msg", id=1, text="unacknowledged")
    bob.expect("msg")
    one.pause()  # the other user comes first
    pair.fail_over()
    wait_until(lambda: granted(stranger, "alice"), "the stranger has the name", LEASE / 2)
    one.resume()
    frames = [alice.frame(LEASE + 1), alice.frame()]
    assert [frames[0].get(key) for key in ("type", "from", "to", "reason")] == ["unconfirmed", 1, 1, "name_lost"]
    assert (frames[1]["type"], frames[1]["code"]) == ("error", "name_lost")
    alice.send("hello", name="alice", token=alice.token)
    alice.expect_error("bad_token")
    bob.expect("left", name="alice", reason="lost")
    stranger.call("bob")
    bob.expect("paired", name="alice")


def granted(client: JsonClient, name: str) -> bool:
    client.send("hello", name=name)
    client.name = name
    return bool(client.frame()["type"] == "welcome")
