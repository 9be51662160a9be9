"""Delayed acknowledgements: one in place of many, and never too late."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relay.hub import delayed_client_acks
from relay.session.runtime_interface import Limits
from tests.relay.desk import Connect, Wire, program, token_of, until
from tests.relay.twins import Twins

pytestmark = pytest.mark.anyio

MAX_LINE = 1000


class Scene:
    """Ann, who has several messages in flight, and ben, who acknowledges when the test says so."""

    def __init__(self, twins: Twins) -> None:
        self.twins = twins
        self.ann, self.ben = self.twins.wire(0), self.twins.wire(0)

    async def begin(self, hello: bytes) -> None:
        self.ann.send(hello)
        self.ben.send(b'{"type":"hello","name":"ben","acks":true}\n')
        await self.twins.settle()
        self.ben.send(b'{"type":"to","name":"ann"}\n')
        await self.twins.settle()
        self.ann.lines()

    async def happens(self, who: Wire, data: bytes) -> None:
        who.send(data)
        await self.twins.settle()

    @staticmethod
    def hears(who: Wire) -> list[tuple[str, Any]]:
        """Return the type and the relevant fields of all new frames."""
        frames = [json.loads(line) for line in who.lines()]
        return [(frame["type"], frame.get("id", frame.get("from"))) for frame in frames]


@pytest.fixture(autouse=True)
def longer_than_any_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledgement that waits for another one is told by nothing else, however busy the machine is."""
    monkeypatch.setattr(delayed_client_acks, "ACK_PAUSE_SECONDS", 60.0)


@pytest.fixture
def no_longer_than_a_turn(monkeypatch: pytest.MonkeyPatch, longer_than_any_test: None) -> None:
    """The time is over as soon as all has been read that came together."""
    monkeypatch.setattr(delayed_client_acks, "ACK_PAUSE_SECONDS", 0.0)


@pytest.fixture
async def twins() -> AsyncIterator[Twins]:
    async with Twins(Limits(), MAX_LINE) as twins:
        yield twins


@pytest.fixture
async def scene(twins: Twins) -> Scene:
    scene = Scene(twins)
    await scene.begin(b'{"type":"hello","name":"ann"}\n')
    return scene


def say(id: int) -> bytes:
    return b'{"type":"msg","id":%d,"text":"hi"}\n' % id


def ack(id: int) -> bytes:
    return b'{"type":"ack","id":%d}\n' % id


async def test_an_acknowledgement_that_is_waited_for_is_told_at_once(scene: Scene) -> None:
    await scene.happens(scene.ann, say(1))
    await scene.happens(scene.ben, ack(1))
    assert scene.hears(scene.ann) == [("ack", 1)]


async def test_an_acknowledgement_among_many_is_told_by_the_next(scene: Scene) -> None:
    await scene.happens(scene.ann, say(1) + say(2) + say(3))
    await scene.happens(scene.ben, ack(1))
    await scene.happens(scene.ben, ack(2))
    assert scene.hears(scene.ann) == []
    await scene.happens(scene.ben, ack(3))
    assert scene.hears(scene.ann) == [("ack", 3)]


async def test_a_held_acknowledgement_is_told_after_a_while_if_no_other_comes(
    no_longer_than_a_turn: None, scene: Scene
) -> None:
    await scene.happens(scene.ann, say(1) + say(2))
    await scene.happens(scene.ben, ack(1))
    await until(lambda: scene.ann.writes)
    assert scene.hears(scene.ann) == [("ack", 1)]


async def test_a_held_acknowledgement_goes_before_whatever_is_told(scene: Scene) -> None:
    await scene.happens(scene.ann, say(1) + say(2))
    await scene.happens(scene.ben, ack(1))
    await scene.happens(scene.ben, say(1))
    assert scene.hears(scene.ann) == [("ack", 1), ("msg", 1)]


async def test_a_held_acknowledgement_goes_before_the_fate_of_the_others(scene: Scene) -> None:
    await scene.happens(scene.ann, say(1) + say(2))
    await scene.happens(scene.ben, ack(1))
    await scene.happens(scene.ben, b'{"type":"leave"}\n')
    assert scene.hears(scene.ann) == [("ack", 1), ("unconfirmed", 2), ("left", None)]


async def test_a_repeated_acknowledgement_takes_none_back(scene: Scene) -> None:
    """The client resends 1, whose acknowledgement it may have missed, while that of 2 is delayed."""
    await scene.happens(scene.ann, say(1) + say(2) + say(3))
    await scene.happens(scene.ben, ack(2))
    await scene.happens(scene.ann, say(1))
    await scene.happens(scene.ben, say(1))
    assert scene.hears(scene.ann) == [("ack", 2), ("msg", 1)]


async def test_a_held_acknowledgement_is_told_before_the_connection_closes(scene: Scene) -> None:
    await scene.happens(scene.ann, say(1) + say(2))
    await scene.happens(scene.ben, ack(1))
    scene.ann.connection.close()
    await scene.twins.settle()
    assert scene.hears(scene.ann) == [("ack", 1)]


async def test_an_acknowledgement_of_another_chat_is_told_by_itself(scene: Scene) -> None:
    """The client asks for the outcome of an id of an earlier chat, while acknowledgements of this one are delayed."""
    await scene.happens(scene.ann, say(1))
    await scene.happens(scene.ben, ack(1) + b'{"type":"leave"}\n')
    await scene.happens(scene.ben, b'{"type":"to","name":"ann"}\n')
    await scene.happens(scene.ann, say(2) + say(3))
    scene.hears(scene.ann)
    await scene.happens(scene.ben, ack(2))
    await scene.happens(scene.ann, say(1))
    assert scene.hears(scene.ann) == [("ack", 2), ("ack", 1)]


async def test_a_client_that_came_back_is_told_of_several_acknowledgements_once(
    no_longer_than_a_turn: None, wire: Connect
) -> None:
    """Its new connection knows the chat of the session that it goes on with."""
    ann = wire(b'{"type":"hello","name":"ann"}\n')
    token = await token_of(ann)
    ben = await program(wire, b"ben", acks=b"true")
    ben.send(b'{"type":"to","name":"ann"}\n')
    await until(lambda: b'"paired"' in ann.sent)
    again = wire(b'{"type":"hello","name":"ann","sent":0,"token":"%b"}\n' % token.encode())
    await until(lambda: b'"paired"' in again.sent)
    again.lines()
    again.send(say(1) + say(2) + say(3))
    await until(lambda: ben.sent.count(b'"msg"') == 3)
    ben.send(ack(1))
    ben.send(ack(2))  # in the same loop iteration
    await until(lambda: again.writes)
    assert Scene.hears(again) == [("ack", 2)]


async def test_text_clients_are_told_nothing(twins: Twins) -> None:
    scene = Scene(twins)
    await scene.begin(b"ann\n")
    await scene.happens(scene.ann, b"hi\nho\n")
    await scene.happens(scene.ben, ack(1))
    await scene.happens(scene.ben, ack(2))
    assert scene.ann.writes == []
