"""The async client when its connection is lost, against scripted nodes."""

import asyncio
import threading
from collections.abc import Callable

import anyio
import pytest
from anyio.to_thread import run_sync

import pairchat
from pairchat import ConnectionLost, Dropped, Joined, Message, NotConfirmed
from tests.cli.scripted import QUIT, WELCOME, ScriptedNode

pytestmark = pytest.mark.anyio

PROMPT = 5.0  # seconds on a busy machine for an action that needs no wait
HI = '{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hi","at":1}'
BAD_TOKEN = '{"type":"error","code":"bad_token","message":"no","name":"alice"}'


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins with the first of its servers."""
    monkeypatch.setattr("pairchat.client.begin_at", lambda _: 0)


def said(id: int, text: str) -> dict[str, object]:
    return {"type": "msg", "id": id, "text": text, "chat": "c1"}


def an_ack(id: int) -> str:
    return f'{{"type":"ack","id":{id},"chat":"c1"}}'


async def play(script: Callable[[], None], main: Callable[[], object]) -> None:
    """Run the node's part in a thread. Errors of either side are raised."""
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, script)
        try:
            with anyio.fail_after(2 * PROMPT):
                await main()  # type: ignore[misc]
        except Exception as error:
            failure = error
    if failure:
        raise failure


async def test_a_receipt_outlives_its_connection(node: ScriptedNode) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("alice")
        peer.pair("bob")
        peer.expect(said(1, "one"))
        peer.close()
        peer = node.accept()
        peer.take_back("alice", last=0, partner="bob", sent=2)
        peer.expect(said(1, "one"), said(2, "said while it was gone"))
        peer.say(an_ack(2))
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice") as chat:
            await chat.call("bob")
            first = await chat.send("one")
            async for event in chat:
                if isinstance(event, Dropped):
                    break
            assert not chat.online
            second = await chat.send("said while it was gone")
            assert [await first.delivered(), await second.delivered()] == ["client", "client"]

    await play(relay, alice)


async def test_a_program_that_waits_meanwhile_may_be_cancelled(node: ScriptedNode) -> None:
    cancelled = threading.Event()

    def relay() -> None:
        peer = node.accept()
        peer.welcome("alice", window=1)
        peer.pair("bob")
        peer.expect(said(1, "one"))
        peer.close()
        assert cancelled.wait(PROMPT)
        peer = node.accept()
        peer.take_back("alice", last=0, partner="bob", sent=1)
        peer.expect(said(1, "one"))
        peer.say(an_ack(1))
        peer.expect(said(2, "three"))
        peer.say(an_ack(2))
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice") as chat:
            await chat.call("bob")
            first = await chat.send("one")
            with anyio.move_on_after(0.05):
                await chat.send("two")
            cancelled.set()
            await first.delivered()
            await chat.send("three")

    await play(relay, alice)


async def test_the_next_server_takes_over_and_nothing_is_told_twice(node: ScriptedNode) -> None:
    with ScriptedNode() as other:

        def relay() -> None:
            peer = node.accept()
            peer.welcome("alice")
            peer.pair("bob")
            peer.say(HI)
            assert peer.heard()["type"] == "ack"
            peer.say('{"type":"moving"}')
            assert peer.heard() is None
            peer = other.accept()
            peer.take_back("alice", last=1, partner="bob")
            peer.say(HI)
            assert peer.heard()["type"] == "ack"
            peer.say(HI.replace("1", "2", 1).replace("hi", "new"))
            peer.expect({"type": "ack", "id": 1, "chat": "c1"}, {"type": "ack", "id": 2, "chat": "c1"})
            peer.part()

        async def alice() -> None:
            async with pairchat.connect(node.address, other.address, name="alice") as chat:
                await chat.call("bob")
                heard = []
                async for event in chat:
                    if isinstance(event, Message):
                        heard.append(event.text)
                    if heard == ["hi", "new"]:
                        chat.acknowledge()
                        break
                assert chat.server == other.address

        await play(relay, alice)


async def test_a_server_that_takes_nobody_back_is_left(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.reconnector.WELCOME_WAIT", 0.1)
    monkeypatch.setattr("pairchat.dial.PAUSE", 0.01)

    def relay() -> None:
        peer = node.accept()
        peer.welcome("alice")
        peer.close()
        silent = node.accept()
        assert silent.heard()["token"] == "t0"
        assert silent.heard() is None
        monkeypatch.setattr("pairchat.reconnector.WELCOME_WAIT", 60.0)  # those that answer may be slow
        unable = node.accept()
        unable.heard()
        unable.say('{"type":"error","code":"unavailable","message":"no","name":"alice"}')
        assert unable.heard() is None
        strange = node.accept()
        strange.heard()
        strange.say("HTTP/1.1 400 Bad Request")
        assert strange.heard() is None
        peer = node.accept()
        peer.take_back("alice", last=0)
        peer.part()

    async def alice() -> None:
        told = []
        async with pairchat.connect(node.address, name="alice") as chat:
            async for event in chat:
                told.append(event)
                if isinstance(event, Joined) and event.resumed:
                    break
        assert [type(event) for event in told] == [Joined, Dropped, Joined]

    await play(relay, alice)


async def test_patience_with_a_lost_connection_ends(node: ScriptedNode) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("alice", grace=0.2)
        peer.close()
        node.stop_listening()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice") as chat:
            with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:\d+ was lost"):
                await chat.paired()

    await play(relay, alice)


async def test_a_session_that_is_gone_fails_what_was_said_and_goes_on_with_the_name(node: ScriptedNode) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("alice")
        peer.pair("bob")
        peer.expect(said(1, "one"))
        peer.close()
        peer = node.accept()
        assert peer.heard()["token"] == "t0"
        peer.say(BAD_TOKEN)
        peer.expect({"type": "hello", "v": 1, "name": "alice", "acks": True})
        peer.say(WELCOME % ("alice", 256, 1_048_576, 30))
        peer.expect({"type": "who", "name": "bob"})
        peer.say('{"type":"presence","name":"bob","state":"free"}')
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice") as chat:
            await chat.call("bob")
            receipt = await chat.send("one")
            with pytest.raises(NotConfirmed, match="lost"):
                await receipt.delivered()
            assert chat.partner is None
            assert await chat.who("bob") == "free"

    await play(relay, alice)


async def test_an_end_without_a_connection_keeps_the_program_no_longer_than_its_patience(node: ScriptedNode) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("alice")
        peer.close()
        node.stop_listening()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice", reconnect_timeout=0.3):
            pass  # the name can't be given back, and nothing else is open

    await play(relay, alice)


def test_plain_asyncio_will_do(node: ScriptedNode) -> None:
    async def main() -> None:
        async with asyncio.timeout(2 * PROMPT), pairchat.connect(node.address, name="alice") as chat:
            assert await asyncio.create_task(chat.call("bob")) == "bob"
            sends = [asyncio.create_task(chat.send(str(number))) for number in range(3)]
            receipts = await asyncio.gather(*sends)
            await asyncio.wait_for(receipts[2].delivered(), PROMPT)

    def relay() -> None:
        peer = node.accept()
        peer.welcome("alice")
        peer.pair("bob")
        peer.expect(said(1, "0"), said(2, "1"), said(3, "2"))
        peer.say(an_ack(3))
        peer.expect(QUIT)
        peer.say('{"type":"bye"}')

    async def both() -> None:
        await asyncio.gather(main(), asyncio.to_thread(relay))

    asyncio.run(both())


async def test_a_server_that_gives_no_answer_to_the_first_words_is_left_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pairchat.reconnector.CLAIM_WAIT", 0.5)  # a busy machine answers sooner
    # The second one is frozen: its kernel accepts the connection, and the process doesn't handle it.
    with ScriptedNode() as closing, ScriptedNode() as frozen, ScriptedNode() as good:

        def relay() -> None:
            closing.accept_bare().close()
            peer = good.accept()
            peer.welcome("alice")
            peer.part()

        async def main() -> None:
            servers = closing.address, frozen.address, good.address
            async with pairchat.connect(*servers, name="alice") as chat:
                assert chat.server == good.address

        await play(relay, main)


async def test_if_no_server_answers_the_first_words_the_reason_is_told_at_once() -> None:
    with ScriptedNode() as one, ScriptedNode() as two:

        def relay() -> None:
            one.accept_bare().close()
            two.accept_bare().close()

        async def main() -> None:
            with pytest.raises(ConnectionLost, match=f"{two.address} closes the connection at once"):
                async with pairchat.connect(one.address, two.address, name="alice"):
                    pass

        await play(relay, main)
