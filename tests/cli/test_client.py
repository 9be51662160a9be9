"""The async client against a scripted node."""

import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

import pairchat
from pairchat import Back, Chat, ConnectionFailed, ConnectionLost, Invited, Joined, Left, Message, NotConfirmed, Refused
from tests.cli.scripted import BYE, PAIRED, PING, PONG, QUIT, WELCOME, Peer, ScriptedNode

pytestmark = pytest.mark.anyio

WHO = {"type": "who", "name": "carol"}
PRESENCE = '{"type":"presence","name":"carol","state":"away"}'
PROMPT = 5.0  # seconds on a busy machine for an action that needs no wait


def a_text(id: int, text: str) -> str:
    return f'{{"type":"msg","id":{id},"from":"bob","chat":"c1","text":"{text}","at":1}}'


def an_ack(id: int) -> str:
    return f'{{"type":"ack","id":{id},"chat":"c1"}}'


def said(id: int, text: str) -> dict[str, object]:
    return {"type": "msg", "id": id, "text": text, "chat": "c1"}


def acked(id: int) -> dict[str, object]:
    return {"type": "ack", "id": id, "chat": "c1"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Script:
    """The node's part of a chat between alice and bob, in a separate thread."""

    def __init__(self, node: ScriptedNode, then: Callable[[Peer], None], **welcome: Any) -> None:
        self._node, self._then, self._welcome = node, then, welcome

    def __call__(self) -> None:
        peer = self._node.accept()
        peer.welcome("alice", **self._welcome)
        peer.pair("bob")
        self._then(peer)


async def converse(
    node: ScriptedNode,
    then: Callable[[Peer], None],
    body: Callable[[Chat], Any],
    patience: float | None = 0,
    **welcome: Any,
) -> None:
    """Pair alice with bob, and run `body` as alice and `then` as the node. Errors of either are raised."""
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, Script(node, then, **welcome))
        try:
            async with pairchat.connect(node.address, name="alice", reconnect_timeout=patience) as chat:
                assert await chat.call("bob") == "bob"
                await body(chat)
        except Exception as error:
            failure = error
    if failure:
        raise failure


async def test_a_conversation_as_the_documentation_has_it(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(said(1, "hi"))
        peer.say(an_ack(1), a_text(7, "hello"))
        peer.expect(acked(7))
        peer.part()

    async def alice(chat: Chat) -> None:
        receipt = await chat.send("hi")
        assert await receipt.delivered() == "client"
        texts = []
        async for event in chat:
            if isinstance(event, Message):
                texts.append(event.text)
                chat.acknowledge()
                break
        assert texts == ["hello"]

    await converse(node, bob, alice)


async def test_a_text_is_acknowledged_only_when_the_loop_is_done_with_it(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.say(a_text(1, "one"), a_text(2, "two"), a_text(3, "three"))
        peer.expect(WHO)  # alice has received all three and acknowledged none
        peer.say(PRESENCE)
        peer.expect(acked(3))
        peer.say('{"type":"left","name":"bob","reason":"quit"}')
        peer.part()

    async def alice(chat: Chat) -> None:
        async for event in chat:
            if isinstance(event, Message) and event.id == 1:
                await chat.who("carol")
            if isinstance(event, Left):
                break

    await converse(node, bob, alice)


async def test_a_text_whose_handling_failed_is_not_acknowledged(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.say(a_text(1, "bad"))
        peer.part()  # no ack comes before it

    async def alice(chat: Chat) -> None:
        async for event in chat:
            if isinstance(event, Message):
                raise KeyError(event.text)

    with pytest.raises(KeyError, match="bad"):
        await converse(node, bob, alice)


async def test_a_sender_waits_for_room_in_the_window(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(said(1, "a"), said(2, "b"))
        peer.expect(WHO)  # the third one is not acknowledged
        peer.say(PRESENCE, an_ack(1))
        peer.expect(said(3, "c"))
        peer.say(an_ack(3))
        peer.part()

    async def alice(chat: Chat) -> None:
        await chat.send("a")
        await chat.send("b")
        with anyio.move_on_after(0.05) as scope:
            await chat.send("never")
        assert scope.cancelled_caught
        await chat.who("carol")
        await chat.send("c")
        await chat.settled()
        assert chat.pending == ()

    await converse(node, bob, alice, window=2)


async def test_a_sender_who_waits_acknowledges_what_was_dealt_with(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.say(a_text(1, "one"), a_text(2, "two"), a_text(3, "three"))
        peer.expect(WHO)
        peer.say(PRESENCE)
        peer.expect(said(1, "fills the window"))
        peer.expect(acked(1))  # 2, which is being processed, is not acknowledged
        peer.say(an_ack(1))
        peer.expect(said(2, "waits"))
        peer.say(an_ack(2))
        peer.part()

    async def alice(chat: Chat) -> None:
        async for event in chat:
            if isinstance(event, Message) and event.id == 1:
                await chat.who("carol")
            if isinstance(event, Message) and event.id == 2:
                await chat.send("fills the window")
                await chat.send("waits")
                break

    await converse(node, bob, alice, window=1)


async def test_a_text_that_waits_for_room_is_not_said_to_the_next_partner(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(said(1, "a"))
        gone = (
            '{"type":"unconfirmed","from":1,"to":1,"reason":"quit"}',
            '{"type":"left","name":"bob","reason":"quit"}',
        )
        peer.say(*gone, PAIRED % ("carol", "c2"))  # all of it in one write, so that the waiting task wakes up to carol
        peer.part()

    async def alice(chat: Chat) -> None:
        receipt = await chat.send("a")
        with pytest.raises(Refused) as told:
            await chat.send("for bob only")
        assert told.value.code == "not_paired"
        with pytest.raises(NotConfirmed) as unconfirmed:
            await receipt.delivered()
        assert unconfirmed.value.reason == "quit"

    await converse(node, bob, alice, window=1)


async def test_a_text_that_the_node_refuses_fails_its_receipt(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(said(1, "a"))
        peer.say('{"type":"error","code":"unavailable","message":"no","id":1}')
        peer.part()

    async def alice(chat: Chat) -> None:
        with pytest.raises(Refused) as told:
            await (await chat.send("a")).delivered()
        assert told.value.code == "unavailable"

    await converse(node, bob, alice)


async def test_a_lost_connection_fails_what_waits_and_is_told_after_the_last_event(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(said(1, "a"))
        peer.say(a_text(1, "last words"))
        peer.close()

    async def alice(chat: Chat) -> None:
        receipt = await chat.send("a")
        with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:\d+ was lost"):
            await receipt.delivered()
        told = []
        with pytest.raises(ConnectionLost):
            async for event in chat:
                told.append(event)
        assert [event.text for event in told if isinstance(event, Message)] == ["last words"]
        assert [text.text for text in chat.pending] == ["a"]

    # The block of the program ends well, but one text has no outcome. That must raise an error.
    with pytest.raises(ConnectionLost):
        await converse(node, bob, alice)


async def test_a_frozen_node_is_noticed_by_its_silence(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(PING)
        peer.say(PONG)
        peer.expect(PING)
        assert peer.heard() is None  # the client gives up

    async def alice(chat: Chat) -> None:
        with anyio.fail_after(PROMPT), pytest.raises(ConnectionLost, match=r"no answer from .* any more"):
            async for _ in chat:
                pass

    await converse(node, bob, alice, ping=0.05)


async def test_a_kick_is_told_in_the_nodes_words(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.say('{"type":"error","code":"kicked","message":"disconnected by the operator"}')
        peer.close()

    async def alice(chat: Chat) -> None:
        with pytest.raises(ConnectionLost, match="disconnected by the operator"):
            async for _ in chat:
                pass

    await converse(node, bob, alice)


async def test_a_cancelled_program_gives_its_name_back(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(QUIT)
        peer.say(BYE)

    async def alice(chat: Chat) -> None:
        scope.cancel()  # the cancellation comes now and not after some time: earlier there is no name to give back
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await converse(node, bob, alice)
    assert scope.cancelled_caught


async def test_a_farewell_does_not_wait_for_a_node_that_keeps_silent(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairchat.client.FAREWELL_WAIT", 0.05)

    def bob(peer: Peer) -> None:
        peer.expect(QUIT, {"type": "quit", "now": True})
        assert peer.heard() is None

    async def alice(chat: Chat) -> None:
        raise KeyError

    with anyio.fail_after(PROMPT), pytest.raises(KeyError):
        await converse(node, bob, alice)


async def test_an_unread_flood_of_events_does_not_keep_the_program_from_leaving(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairchat.client.EVENTS_AHEAD", 4)

    def bob(peer: Peer) -> None:
        peer.say(*['{"type":"back","name":"bob"}'] * 50)
        peer.part()

    async def alice(chat: Chat) -> None:
        async for event in chat:
            if isinstance(event, Back):
                break

    with anyio.fail_after(PROMPT):
        await converse(node, bob, alice)


async def test_many_senders_keep_the_order_in_which_they_came(node: ScriptedNode) -> None:
    came: list[str] = []
    heard: list[str] = []

    def bob(peer: Peer) -> None:
        for id in range(1, 21):
            heard.append(peer.heard()["text"])
            peer.say(an_ack(id))
        peer.part()

    async def alice(chat: Chat) -> None:
        async def say(text: str) -> None:
            came.append(text)
            await chat.send(text)

        async with anyio.create_task_group() as tasks:
            for id in range(1, 21):
                tasks.start_soon(say, str(id))
        await chat.settled()

    await converse(node, bob, alice, window=3)
    assert heard == came


async def test_presence_is_told_and_a_chat_can_be_left(node: ScriptedNode) -> None:
    def bob(peer: Peer) -> None:
        peer.expect(WHO)
        peer.say(PRESENCE)
        peer.expect({"type": "leave", "chat": "c1"})
        peer.say('{"type":"left","name":"bob","reason":"left"}')
        peer.part()

    async def alice(chat: Chat) -> None:
        assert await chat.who("carol") == "away"
        assert chat.partner == "bob"
        await chat.leave()
        assert chat.partner is None

    await converse(node, bob, alice)


async def test_a_call_that_is_over_meanwhile_can_not_be_accepted(node: ScriptedNode) -> None:
    def relay() -> None:
        peer = node.accept()
        assert peer.heard()["ask"] is True
        peer.say(WELCOME % ("alice", 256, 9999, 30), '{"type":"invited","name":"bob","chat":"c1","wait":30}')
        peer.expect({"type": "accept", "chat": "c1"})
        peer.say('{"type":"missed","name":"bob","chat":"c1"}')
        peer.part()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        async with pairchat.connect(node.address, name="alice", ask=True) as chat:
            assert isinstance(await anext(chat), Joined)
            call = await anext(chat)
            assert isinstance(call, Invited)
            with pytest.raises(Refused, match="bob does not call any more") as told:
                await chat.accept(call)
            assert (told.value.code, told.value.name) == ("not_called", "bob")


async def test_after_the_end_everything_is_refused_as_closed(node: ScriptedNode) -> None:
    async def alice(chat: Chat) -> None:
        await chat.quit()
        with pytest.raises(ConnectionLost, match="the connection is closed"):
            await chat.paired()

    with anyio.fail_after(PROMPT):
        await converse(node, Peer.part, alice)


async def test_a_taken_name_is_refused_and_another_may_be_claimed(node: ScriptedNode) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.heard()
        peer.say('{"type":"error","code":"name_taken","message":"taken","name":"alice"}')
        peer.welcome("alina")
        peer.part()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        async with pairchat.connect(node.address) as chat:
            with pytest.raises(Refused) as told:
                await chat.claim("alice")
            assert (told.value.code, told.value.name) == ("name_taken", "alice")
            assert await chat.claim("alina") == chat.name == "alina"


async def test_nobody_listening_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as vacant:
        port = vacant.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=rf"can't connect to 127\.0\.0\.1:{port}: Connection refused"):
        async with pairchat.connect(f"127.0.0.1:{port}"):
            pass


async def test_a_server_that_never_answers_is_given_up(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.client.CONNECT_WAIT", 0.1)
    with pytest.raises(ConnectionFailed, match="does not answer"):
        async with pairchat.connect(node.address, name="alice"):
            pass


async def test_a_relay_is_reached_over_ipv6(node: ScriptedNode) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        async with pairchat.connect(f"[::1]:{listener.getsockname()[1]}"):
            pass
