"""The library keeps a chat alive over cut connections, and killed, stopped and frozen nodes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

import pairchat
from pairchat import Chat
from tests.integration.conftest import StartNode
from tests.support.guests import Guests

pytestmark = pytest.mark.anyio

TEXTS = 300  # more than a window
PATIENCE = 30.0  # seconds; a frozen node is noticed after a ping and a lease


class Talk:
    """Alice and bob send each other `TEXTS` texts. `midway` is called once some have arrived."""

    def __init__(self, midway: Callable[[], object]) -> None:
        self._midway = midway
        self.heard: dict[str, list[str]] = {"alice": [], "bob": []}
        self.dropped: list[str] = []

    async def run(self, alice: Chat, bob: Chat) -> None:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for chat in (alice, bob):
                    tasks.start_soon(self._listen, chat)
                await alice.call("bob")
                await bob.paired()
                for chat in (alice, bob):
                    tasks.start_soon(self._speak, chat)

    async def _speak(self, chat: Chat) -> None:
        for number in range(TEXTS):
            await chat.send(str(number))
        await chat.settled()

    async def _listen(self, chat: Chat) -> None:
        assert chat.name
        heard = self.heard[chat.name]
        async for event in chat:
            if isinstance(event, pairchat.Message):
                heard.append(event.text)
                if len(heard) == TEXTS // 3 and chat.name == "bob":
                    self._midway()
            elif isinstance(event, pairchat.Dropped):
                self.dropped.append(chat.name)
            if len(heard) == TEXTS:
                chat.acknowledge()
                return

    def check(self) -> None:
        """Check that everything arrived, once and in order."""
        for heard in self.heard.values():
            assert heard == [str(number) for number in range(TEXTS)]


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins with the first of its servers."""
    monkeypatch.setattr("pairchat.client.begin_at", lambda _: 0)


@asynccontextmanager
async def two(first: list[str], second: list[str]) -> AsyncIterator[tuple[Chat, Chat]]:
    async with pairchat.connect(*first, name="alice") as alice, pairchat.connect(*second, name="bob") as bob:
        yield alice, bob


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_node_that_ends_loses_nothing(start_node: StartNode, how: str) -> None:
    one, two_, three = (start_node(grace=20) for _ in range(3))
    talk = Talk(one.kill if how == "killed" else one.terminate)
    async with two([one.server, three.server], [two_.server]) as (alice, bob):
        await talk.run(alice, bob)
        assert alice.server == three.server
    talk.check()
    # A node that is stopped serves until its clients have gone, so all texts may have been sent before.
    assert talk.dropped == ["alice"] or (how == "stopped" and not talk.dropped)


async def test_both_nodes_killed_lose_nothing(start_node: StartNode) -> None:
    one, two_, three, four = (start_node(grace=20) for _ in range(4))

    def kill() -> None:
        one.kill()
        two_.kill()

    talk = Talk(kill)
    async with two([one.server, three.server], [two_.server, four.server]) as (alice, bob):
        await talk.run(alice, bob)
    talk.check()


async def test_a_frozen_node_is_left(start_node: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.reconnector.PING_EVERY", 0.3)
    monkeypatch.setattr("pairchat.reconnector.PONG_WAIT", 0.3)
    monkeypatch.setattr("pairchat.reconnector.WELCOME_WAIT", 1.0)
    one, two_, three = (start_node(grace=20) for _ in range(3))
    talk = Talk(one.pause)
    async with two([one.server, three.server], [two_.server]) as (alice, bob):
        await talk.run(alice, bob)
    talk.check()
    assert "alice" in talk.dropped
    one.resume()


async def test_an_only_node_that_comes_back_on_its_port_is_found_again(start_node: StartNode) -> None:
    one, two_ = start_node(grace=20), start_node(grace=20)

    def restart() -> None:
        one.kill()
        start_node(grace=20, port=one.address[1])

    talk = Talk(restart)
    async with two([one.server], [two_.server]) as (alice, bob):
        await talk.run(alice, bob)
    talk.check()


async def test_after_the_grace_the_name_is_claimed_again(start_node: StartNode, guests: Guests) -> None:
    one, two_ = start_node(grace=0.5), start_node(grace=0.5)
    told = []
    async with pairchat.connect(one.server, name="alice", reconnect_timeout=20) as alice:
        port = one.address[1]
        one.kill()
        with anyio.fail_after(PATIENCE):
            async for event in alice:
                told.append(type(event).__name__)
                if isinstance(event, pairchat.Dropped):
                    between = guests.text_when_free(two_, "alice", PATIENCE)  # this client now gets the name
                    between.send("Quit")
                    between.expect("Quit")
                    between.expect_closed()
                    start_node(grace=0.5, port=port)
                if isinstance(event, pairchat.Joined) and "Expired" in told:
                    break
    assert told == ["Joined", "Dropped", "Expired", "Joined"]
