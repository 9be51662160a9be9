"""`pairchat` and its library over WebSocket, with real nodes."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

import pairchat
from pairchat import Chat, Message
from relay.web.answers import RETRY_SECONDS
from tests.cli.piped import Piped
from tests.integration.conftest import StartNode
from tests.integration.test_pairchat_resume import PATIENCE, Talk, two
from tests.support.certificates import Authority
from tests.support.connect_proxy import ConnectProxy
from tests.support.guests import Guests
from tests.support.node import Node

pytestmark = pytest.mark.anyio

LINES = 600  # more than two windows
WINDOW = 256


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each begins with the first of its servers, and no proxy of this machine is used."""
    monkeypatch.setattr("pairchat.client.begin_at", lambda _: 0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    monkeypatch.delenv("no_proxy")
    proxy = ConnectProxy("alice:secret")
    monkeypatch.setenv("all_proxy", f"http://alice:secret@{proxy.address}")
    yield proxy
    proxy.stop()


def url(node: Node, scheme: str = "ws", host: str = "127.0.0.1") -> str:
    return f"{scheme}://{host}:{node.address[1]}"


async def acknowledge(chat: Chat) -> None:
    """Take whatever comes."""
    async for _ in chat:
        pass


async def test_a_chat_with_every_size_of_text(places: tuple[Node, Node]) -> None:
    texts = ["hi", "x" * 200, "€" * 9000, "y" * 60_000]
    async with two([url(places[0])], [places[1].server]) as (alice, bob):
        await alice.call("bob")
        for sender, other in ((alice, bob), (bob, alice)):
            receipts = [await sender.send(text) for text in texts]
            heard: list[str] = []
            with anyio.fail_after(PATIENCE):
                async for event in other:
                    heard += [event.text] if isinstance(event, Message) else []
                    if len(heard) == len(texts):
                        other.acknowledge()
                        break
                assert [await receipt.delivered() for receipt in receipts] == ["client"] * len(texts)
            assert heard == texts


async def test_a_session_goes_from_tcp_to_websocket_and_back_as_nodes_are_killed(start_node: StartNode) -> None:
    one, between, three, four = (start_node(grace=20) for _ in range(4))
    async with two([one.server, url(between), three.server], [url(four)]) as (alice, bob):
        with anyio.fail_after(PATIENCE):
            await alice.call("bob")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(acknowledge, bob)
                await (await alice.send("both know of the chat")).delivered()
                for killed, then in ((one, url(between)), (between, three.server)):
                    receipts = [await alice.send(str(number)) for number in range(10)]
                    killed.kill()
                    receipts += [await alice.send(str(number)) for number in range(10)]
                    assert [await receipt.delivered() for receipt in receipts] == ["client"] * 20
                    assert alice.server == then
                tasks.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_node_that_ends_loses_nothing(start_node: StartNode, how: str) -> None:
    one, other, three = (start_node(grace=20) for _ in range(3))
    talk = Talk(one.kill if how == "killed" else one.terminate)
    async with two([url(one), url(three)], [url(other)]) as (alice, bob):
        await talk.run(alice, bob)
        assert alice.server == url(three)
    talk.check()


async def test_a_program_that_does_not_read_slows_its_partner_down(places: tuple[Node, Node]) -> None:
    async with two([url(places[0])], [url(places[1])]) as (alice, bob):
        await alice.call("bob")
        full = anyio.Event()

        async def speak() -> None:
            for number in range(LINES):
                await alice.send(f"{number} {'x' * 3000}")
                if len(alice.pending) == WINDOW:
                    full.set()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(speak)
                await full.wait()
                heard = 0
                async for event in bob:
                    if isinstance(event, Message):
                        assert event.text.startswith(f"{heard} ")
                        heard += 1
                    if heard == LINES:
                        bob.acknowledge()
                        break
            await alice.settled()


async def test_a_session_that_another_connection_has_is_over(node: Node, guests: Guests) -> None:
    told: list[object] = []
    with pytest.raises(pairchat.ConnectionLost, match="another connection took this session over"):
        async with pairchat.connect(url(node), name="alice") as alice:
            rival = guests.json(node)
            rival.name = "alice"
            rival.send("hello", name="alice", token=alice.token)
            rival.expect("welcome", resumed=True)
            with anyio.fail_after(PATIENCE):
                async for event in alice:
                    told.append(event)
    assert [event.code for event in told if isinstance(event, pairchat.Lost)] == ["replaced"]


async def test_a_proof_that_is_too_long_is_a_refusal_as_over_tcp(node: Node) -> None:
    for server in (node.server, url(node)):
        with pytest.raises(pairchat.Refused) as refused:
            async with pairchat.connect(server, name="alice", auth=lambda: "x" * 20_000):
                pass
        assert refused.value.code == "too_long"


async def test_tls_and_a_proxy_are_around_websocket(start_node: StartNode, tmp_path: Path, proxy: ConnectProxy) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("node")
    node = start_node(tls_cert=cert, tls_key=key)
    node.tls = authority.trust()
    server = url(node, "wss", "localhost")
    async with (
        pairchat.connect(server, name="alice", tls=node.tls) as alice,
        pairchat.connect(server, name="bob", tls=node.tls, proxy="none") as bob,
    ):
        with anyio.fail_after(PATIENCE):
            await alice.call("bob")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(acknowledge, bob)
                receipts = [await alice.send("x" * 50_000) for _ in range(10)]
                assert [await receipt.delivered() for receipt in receipts] == ["client"] * 10
                tasks.cancel_scope.cancel()
    assert proxy.asked == [f"localhost:{node.address[1]}"]


async def test_the_reason_why_a_node_refuses_a_client_is_told(
    node: Node, start_node: StartNode, proxy: ConnectProxy
) -> None:
    full = start_node(max_connections=1)
    async with pairchat.connect(full.server):
        for server, words in (
            (f"{url(node)}/elsewhere", "there is no relay at /elsewhere; most are at /ws (404 Not Found)"),
            (
                url(node, host="relay.example"),
                "it does not let us in; is this the name by which its clients call it? (403 Forbidden)",
            ),
            (url(full), "it has no room, or is about to stop (503 Service Unavailable)"),
        ):
            with pytest.raises(pairchat.ConnectionFailed) as refused:
                async with pairchat.connect(server, name="alice"):
                    pass
            assert str(refused.value) == f"can't connect to {server}: {words}"
    assert refused.value.retry_after == RETRY_SECONDS


def test_the_command_in_a_pipe(places: tuple[Node, Node]) -> None:
    with ExitStack() as started:
        listening = started.enter_context(Piped("pw-bob", server=url(places[1]), stdin=subprocess.DEVNULL))
        alice = started.enter_context(Piped("pw-alice", "--to", "pw-bob", "--wait", server=url(places[0])))
        alice.type("".join(f"line {number}\n" for number in range(LINES)).encode())
        alice.end_input()
        assert alice.ended() == (0, "", ["* You are chatting with pw-bob."])
        status, out, told = listening.ended()
        assert (status, told) == (0, ["* You are chatting with pw-alice.", "* pw-alice has quit."])
        assert out.splitlines() == [f"pw-alice: line {number}" for number in range(LINES)]
