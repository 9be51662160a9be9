"""The ends of a call, a claim, a proof, and of the whole async client, against a scripted node."""

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

import pairchat
from pairchat import Complaint, ConnectionLost, Dropped, Joined, Refused
from tests.cli.scripted import BYE, PAIRED, PING, PONG, QUIT, WELCOME, Peer, ScriptedNode, marked
from tests.cli.test_client import anyio_backend as anyio_backend

pytestmark = pytest.mark.anyio

PROMPT = 10.0  # seconds on a busy machine for an action that needs no wait
NOW = {"type": "quit", "now": True}
NEW = (WELCOME % ("alice", 256, 1_048_576, 30))[:-1] + ',"max_line":65536}'
BACK = NEW.replace('"resumed":false', '"resumed":true')
TAKEN = '{"type":"error","code":"name_taken","message":"no","name":"alice"}'
BAD_AUTH = '{"type":"error","code":"bad_auth","message":"This name needs a valid token.","name":"alice"}'


async def play(script: Callable[[], None], main: Callable[[], Awaitable[object]]) -> None:
    """Run the node's part in a thread. Errors of either side are raised."""
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, script)
        try:
            with anyio.fail_after(PROMPT):
                await main()
        except Exception as error:
            failure = error
    if failure:
        raise failure


async def knock(node: ScriptedNode) -> None:
    """Connect once, so that a node that waits for a client finds that none comes any more."""
    host, port = node.address.split(":")
    async with await anyio.connect_tcp(host, int(port)):
        pass


def welcomed(node: ScriptedNode, welcome: str = NEW) -> Peer:
    peer = node.accept()
    assert peer.heard()["name"] == "alice"
    peer.say(welcome)
    return peer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.dial.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("pairchat.dial.PAUSE", 0.01)
    monkeypatch.setattr("pairchat.client.NAME_PAUSE", 0.01)


# --- calls


async def test_a_call_that_is_cancelled_is_given_up(node: ScriptedNode) -> None:
    called = anyio.Event()

    def relay() -> None:
        peer = welcomed(node)
        call = peer.heard()
        assert (call["type"], call["name"]) == ("to", "bob")
        anyio.from_thread.run_sync(called.set)
        peer.expect({"type": "cancel", "ref": call["ref"]})
        peer.say(marked('{"type":"error","code":"declined","message":"no","name":"bob"}', call))
        who = peer.heard()
        assert who["type"] == "who"
        peer.say(marked('{"type":"presence","name":"bob","state":"free"}', who))
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice") as chat:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(chat.call, "bob")
                await called.wait()
                tasks.cancel_scope.cancel()
            assert await chat.who("bob") == "free"
            assert chat.partner is None

    await play(relay, alice)


@pytest.mark.parametrize("connected", [True, False])
async def test_a_call_that_is_given_up_is_refused_whether_there_is_a_connection_or_not(
    node: ScriptedNode, connected: bool
) -> None:
    def relay() -> None:
        peer = welcomed(node)
        call = peer.heard()
        if connected:
            peer.expect({"type": "cancel", "ref": call["ref"]})
            peer.say(marked('{"type":"error","code":"declined","message":"no","name":"bob"}', call))
        else:
            peer.close()
            peer = welcomed(node, BACK)
            peer.expect(PING)
            peer.say(PONG)
        peer.part()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice") as chat, anyio.create_task_group() as tasks:

            async def give_up() -> None:
                if not connected:
                    async for event in chat:
                        if isinstance(event, Dropped):
                            break
                chat.cancel_call()

            tasks.start_soon(give_up)
            with pytest.raises(Refused, match="bob: ") as refused:
                await chat.call("bob")
            assert (refused.value.code, refused.value.name) == ("declined", "bob")

    await play(relay, alice)


# --- names


async def test_a_name_that_is_taken_is_waited_for_by_whoever_has_patience(node: ScriptedNode) -> None:
    def relay() -> None:
        for _ in range(2):
            peer = node.accept()
            peer.heard()
            peer.say(TAKEN)
        welcomed(node).part()

    async def alice() -> None:
        async with pairchat.connect(node.address, name="alice", reconnect_timeout=PROMPT) as chat:
            assert chat.name == "alice"

    await play(relay, alice)


@pytest.mark.parametrize("patience", [None, 0.05])
async def test_patience_ends_and_nobody_has_it_unasked(node: ScriptedNode, patience: float | None) -> None:
    done = anyio.Event()

    def relay() -> None:
        while not done.is_set():
            peer = node.accept()
            if peer.heard() is None:
                return
            peer.say(TAKEN)

    async def alice() -> None:
        with pytest.raises(Refused) as refused:
            async with pairchat.connect(node.address, name="alice", reconnect_timeout=patience):
                pass
        assert (refused.value.name, str(refused.value)) == ("alice", "alice: no")
        done.set()
        await knock(node)

    await play(relay, alice)


def test_the_first_server_is_any_of_them() -> None:
    assert {pairchat.client.begin_at(3) for _ in range(200)} == {0, 1, 2}
    assert pairchat.client.begin_at(1) == 0


# --- proofs


@pytest.mark.parametrize("trouble", ["raises", "is refused", "is no text", "is no Unicode"])
async def test_a_proof_that_fails_at_a_reconnect_is_told_and_asked_for_again(node: ScriptedNode, trouble: str) -> None:
    proofs: list[Any] = [
        "first",
        {"raises": KeyError("vault"), "is refused": "stale", "is no text": 7, "is no Unicode": "\ud800"}[trouble],
        "third",
    ]

    async def auth() -> str:
        proof = proofs.pop(0)
        if isinstance(proof, Exception):
            raise proof
        return proof  # type: ignore[no-any-return]

    def relay() -> None:
        peer = node.accept()
        assert peer.heard()["auth"] == "first"
        peer.say(NEW)
        peer.close()
        peer = node.accept()
        hello = peer.heard()
        if trouble == "is refused":
            assert hello["auth"] == "stale"
            peer.say(BAD_AUTH)
        else:
            assert hello is None
        assert peer.heard() is None
        peer = node.accept()
        hello = peer.heard()
        assert (hello["auth"], hello["token"]) == ("third", "t0")
        peer.say(BACK)
        peer.expect(PING)
        peer.say(PONG)
        peer.part()

    async def alice() -> None:
        told: list[Any] = []
        async with pairchat.connect(node.address, name="alice", auth=auth) as chat:
            async for event in chat:
                told.append(event)
                if isinstance(event, Joined) and event.resumed:
                    break
        [complaint] = [event for event in told if isinstance(event, Complaint)]
        assert complaint.code == ("bad_auth" if trouble == "is refused" else "no_proof")

    await play(relay, alice)


async def test_a_proof_that_never_comes_right_is_named_when_patience_ends(node: ScriptedNode) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.heard()
        peer.say(NEW)
        peer.close()
        while (peer := node.accept()).heard() is not None:
            peer.say(BAD_AUTH)

    async def alice() -> None:
        with pytest.raises(ConnectionLost, match="does not accept the proof of the name"):
            async with pairchat.connect(node.address, name="alice", reconnect_timeout=1, auth=lambda: "bad") as chat:
                async for _ in chat:
                    pass
        await knock(node)

    await play(relay, alice)


async def test_a_proof_that_hangs_at_a_reconnect_prolongs_nothing(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairchat.reconnector.CONNECT_WAIT", 10 * PROMPT)  # the test ends long before
    asked = 0

    async def auth() -> str:
        nonlocal asked
        asked += 1
        if asked > 1:
            await anyio.sleep_forever()
        return "first"

    def relay() -> None:
        peer = node.accept()
        peer.heard()
        peer.say(NEW)
        peer.close()
        assert node.accept().heard() is None  # it was closed together with the wait for the proof

    async def alice() -> None:
        with pytest.raises(ConnectionLost, match="no proof of the name within"):
            async with pairchat.connect(node.address, name="alice", reconnect_timeout=1, auth=auth) as chat:
                async for _ in chat:
                    pass

    await play(relay, alice)


async def test_a_server_that_hangs_at_a_reconnect_prolongs_nothing(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairchat.reconnector.CONNECT_WAIT", 10 * PROMPT)
    dropped = threading.Event()

    async def connects_never(*_: object) -> None:
        dropped.set()
        await anyio.sleep_forever()

    def relay() -> None:
        peer = node.accept()
        peer.heard()
        peer.say(NEW)
        monkeypatch.setattr("pairchat.dial.anyio.connect_tcp", connects_never)
        peer.close()
        assert dropped.wait(PROMPT)

    async def alice() -> None:
        with pytest.raises(ConnectionLost):
            async with pairchat.connect(node.address, name="alice", reconnect_timeout=1) as chat:
                async for _ in chat:
                    pass

    await play(relay, alice)


async def test_a_time_out_of_a_first_proof_is_the_programs_own(node: ScriptedNode) -> None:
    def auth() -> str:
        raise TimeoutError("the vault does not answer")

    def relay() -> None:
        assert node.accept().heard() is None

    async def alice() -> None:
        with pytest.raises(TimeoutError, match="the vault does not answer"):
            async with pairchat.connect(node.address, name="alice", auth=auth):
                pass

    await play(relay, alice)


async def test_the_exception_of_a_first_proof_comes_out(node: ScriptedNode) -> None:
    def auth() -> str:
        raise KeyError("vault")

    def relay() -> None:
        assert node.accept().heard() is None

    async def alice() -> None:
        with pytest.raises(KeyError, match="vault"):
            async with pairchat.connect(node.address, name="alice", auth=auth):
                pass

    await play(relay, alice)


# --- the whole


async def test_a_claim_that_is_cancelled_gives_the_name_back(node: ScriptedNode) -> None:
    claimed = anyio.Event()

    def relay() -> None:
        peer = node.accept()
        assert peer.heard()["type"] == "hello"
        anyio.from_thread.run_sync(claimed.set)
        peer.expect(QUIT)
        peer.say(NEW, BYE)
        assert peer.heard() is None

    async def alice() -> None:
        async with anyio.create_task_group() as tasks:

            async def program() -> None:
                async with pairchat.connect(node.address, name="alice"):
                    pass

            tasks.start_soon(program)
            await claimed.wait()
            tasks.cancel_scope.cancel()

    await play(relay, alice)


async def test_a_program_that_fails_while_the_connection_is_gone_gives_the_name_back_on_another(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairchat.dial.FIRST_PAUSE", 5.0)

    def relay() -> None:
        peer = welcomed(node)
        peer.close()
        peer = node.accept()
        assert peer.heard()["token"] == "t0"
        peer.expect(QUIT)
        peer.say(BACK, BYE)

    async def alice() -> None:
        with pytest.raises(KeyError):
            async with pairchat.connect(node.address, name="alice") as chat:
                async for event in chat:
                    if isinstance(event, Dropped):
                        raise KeyError

    await play(relay, alice)


async def test_whoever_fails_waits_for_no_outcome_for_long(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.client.FAREWELL_WAIT", 0.1)

    def relay() -> None:
        peer = welcomed(node)
        call = peer.heard()
        peer.say(marked(PAIRED % ("bob", "c1"), call))
        assert peer.heard()["type"] == "msg"
        peer.expect(QUIT, NOW)
        peer.say('{"type":"unconfirmed","from":1,"to":1,"reason":"quit","chat":"c1"}', BYE)

    async def alice() -> None:
        with pytest.raises(KeyError):
            async with pairchat.connect(node.address, name="alice") as chat:
                await chat.call("bob")
                await chat.send("hi")
                raise KeyError

    await play(relay, alice)
