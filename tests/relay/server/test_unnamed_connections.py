"""The cost of a connection before it has a name, and of half a line after that."""

import asyncio
import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from relay.directory.record import SessionRecord
from relay.hub.hub import Hub
from relay.metrics import Limit
from relay.server.auth import TOKEN_CHARACTERS
from relay.server.connection import NAMELESS_READ_BYTES
from relay.server.read_gate import NAMELESS_BYTES
from relay.session.memory_budget import PLENTY
from tests.relay.desk import Connect, Wire, program, text, until
from tests.support.memory import MemoryDirectory

pytestmark = pytest.mark.anyio

DIALECTS = ["text", "json", "classic"]
TOO_LONG = f"line too long: at most {NAMELESS_BYTES} bytes".encode()


def connected(wire: Connect, dialect: str) -> Wire:
    return wire(classic=dialect == "classic")


def hello(dialect: str, name: str, auth: str = "") -> bytes:
    """Return the first line of a client."""
    if dialect == "json":
        return json.dumps({"type": "hello", "name": name, "auth": auth}).encode() + b"\n"
    return f"{name} {auth}".strip().encode() + b"\n"


def welcomed(client: Wire) -> bool:
    return b"OK" in client.sent or b'"welcome"' in client.sent


class TestALineBeforeAName:
    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_a_line_before_a_name_holds_the_longest_token(self, hub: Hub, wire: Connect, dialect: str) -> None:
        seen = list[str | None]()
        hub.authenticates = True
        hub.verify_token = lambda name, token: bool(seen.append(token) or True)  # type: ignore[func-returns-value]
        client = connected(wire, dialect)
        client.send(hello(dialect, "ann", "x" * TOKEN_CHARACTERS))
        await until(lambda: welcomed(client))
        assert seen == ["x" * TOKEN_CHARACTERS]

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_a_line_before_a_name_holds_a_bounded_number_of_bytes_and_another_may_follow(
        self, wire: Connect, dialect: str
    ) -> None:
        client = connected(wire, dialect)
        start = b'{"type":"hello","auth":"' if dialect == "json" else b""
        for _ in range(65):
            client.send(start + b"x" * 1000)
            assert 0 <= client.connection.unsaid <= NAMELESS_BYTES
            start = b""
        if dialect != "classic":  # each of these reads is a line there
            await until(lambda: TOO_LONG in client.sent)
        client.lines()
        client.send(hello(dialect, "ann") if dialect == "classic" else b"\n" + hello(dialect, "ann"))
        await until(lambda: welcomed(client))

    async def test_the_first_line_behind_a_name_may_be_as_long_as_any(self, wire: Connect) -> None:
        """It was sent before the node knew of the name."""
        client, other = wire(), await text(wire, b"ben")
        client.send(b"ann\nTo:ben\n" + b"x" * 60_000 + b"\n")
        await until(lambda: b"x" * 60_000 in other.sent)

    async def test_a_line_is_short_again_once_the_name_is_lost(self, hub: Hub, wire: Connect) -> None:
        client = await program(wire, b"ann")
        client.send(b'{"type":"msg","id":1,"text":"' + b"x" * 60_000)
        await until(lambda: client.connection.half > 60_000)
        hub.open_tick()
        hub.sessions["ann"].name_lost()
        client.send(b"x")
        assert client.connection.unsaid == NAMELESS_BYTES
        await until(lambda: TOO_LONG in client.sent)
        client.lines()
        client.send(b'"}\n' + hello("json", "ann"))
        await until(lambda: welcomed(client))


class TestWhatWaitsBeforeAName:
    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_no_more_than_one_read_or_one_line_waits_before_a_name(
        self, hub: Hub, wire: Connect, dialect: str
    ) -> None:
        hub.lines_held = True
        client = connected(wire, dialect)
        client.send(b"ab\n" * 50_000)
        waiting = sum(len(line) + 1 for line in client.connection.lines if isinstance(line, bytes))
        assert waiting <= (2 * NAMELESS_BYTES if dialect == "classic" else NAMELESS_READ_BYTES)
        assert client.unsent > 100_000
        hub.lines_held = False

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_unread_answers_before_a_name_are_few(self, wire: Connect, dialect: str) -> None:
        client = connected(wire, dialect)
        client.full = True
        for _ in range(300):
            client.send(b"a b\n" if dialect != "json" else b"{}\n")
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert client.connection.write_buffer.size < 4096
        client.read()
        await until(lambda: len(client.sent) > 300 * 20 or not client.connection.lines)
        client.send(b"\n" + hello(dialect, "ann") if dialect == "json" else hello(dialect, "ann"))
        await until(lambda: welcomed(client))


class TestHalfALineOfOneWithAName:
    async def test_half_a_line_counts_in_the_budget(self, hub: Hub, wire: Connect) -> None:
        client = await text(wire, b"ann")
        assert client.connection.held_bytes == 0
        client.send(b"x" * 60_000)
        await until(lambda: client.connection.held_bytes == 60_000)
        client.send(b"\n")
        await until(lambda: client.connection.held_bytes == 0)

    async def test_half_a_line_beyond_its_share_is_read_on_when_it_is_its_turn(self, hub: Hub, wire: Connect) -> None:
        hub.memory_budget.share_out([hub.memory_budget.room])
        hub.memory_budget.allowance = 20_000
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        for client in (ann, ben):
            client.send(b"x" * 60_000)
            await until(lambda client=client: client.connection.half > 20_000)  # type: ignore[misc]
            await until(lambda client=client: not client.reading)  # type: ignore[misc]
            assert client.unsent > 30_000
        hub.give_partial_line_turns()  # there is no room for both
        await until(lambda: not ann.unsent)
        assert ben.unsent > 30_000
        ann.send(b"\n")
        await until(lambda: b"chating" in ann.sent)
        hub.give_partial_line_turns()
        await until(lambda: not ben.unsent)

    async def test_half_a_line_goes_on_when_there_is_memory_again(self, hub: Hub, wire: Connect) -> None:
        hub.memory_budget.share_out([hub.memory_budget.room])
        hub.memory_budget.allowance = 1_000
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        for client in (ann, ben):
            client.send(b"x" * 60_000)
            await until(lambda client=client: not client.reading)  # type: ignore[misc]
        hub.memory_budget.share_out([])
        assert hub.memory_budget.allowance == PLENTY
        hub.give_partial_line_turns()
        await until(lambda: not ann.unsent and not ben.unsent)

    async def test_half_a_line_waits_no_more_once_its_client_is_gone(self, hub: Hub, wire: Connect) -> None:
        hub.memory_budget.share_out([hub.memory_budget.room])
        hub.memory_budget.allowance = 1_000
        ann = await text(wire, b"ann")
        ann.send(b"x" * 60_000)
        await until(lambda: not ann.reading)
        ann.reset()
        hub.memory_budget.share_out([])
        assert hub.partial_line_turns.give_turns(0.0) == []


class TestTheTimeToSendAName:
    @pytest.fixture
    def slow(self, hub: Hub, directory: MemoryDirectory) -> Callable[[bool], None]:
        """Have claims wait until the test decides their outcome."""
        hub.limits = replace(hub.limits, name=0.02)
        directory.step_by_step = True

        def answer(granted: bool) -> None:
            if not granted:
                directory.grant("ann", "2" * 16, "s", SessionRecord("ann", 0.0, "", False, "", None))
            directory.step_by_step = False
            directory.answer()

        return answer

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_the_time_to_send_a_name_ends_when_the_name_was_sent(
        self, wire: Connect, dialect: str, slow: Callable[[bool], None]
    ) -> None:
        client = connected(wire, dialect)
        client.send(hello(dialect, "ann"))
        await asyncio.sleep(0.1)  # five times as long as the limit
        assert not client.aborted
        slow(True)
        await until(lambda: welcomed(client))

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_the_time_to_send_a_name_begins_anew_when_the_name_can_not_be_had(
        self, hub: Hub, wire: Connect, dialect: str, slow: Callable[[bool], None]
    ) -> None:
        client = connected(wire, dialect)
        client.send(hello(dialect, "ann"))
        await asyncio.sleep(0.1)
        slow(False)
        await until(lambda: b"Reuse" in client.sent or b"name_taken" in client.sent)  # so it wasn't over before
        await until(lambda: client.aborted)
        assert hub.counts.limits[Limit.NAME_TIME] == 1

    async def test_the_time_to_send_a_name_does_not_count_while_a_name_waits_for_its_turn(
        self, hub: Hub, wire: Connect
    ) -> None:
        hub.limits = replace(hub.limits, name=0.02)
        hub.lines_held = True
        ann, bad = wire(b"ann\n"), wire(b"not a name\nneither this\n")
        await asyncio.sleep(0.1)
        assert not ann.aborted
        hub.lines_held = False
        hub.wake_all()
        await until(lambda: ann.sent == b"OK\n")
        assert ann.connection.session.named
        await until(lambda: bad.closed)  # it closes after its answer
        assert len(bad.lines()) == 1
        assert hub.counts.limits[Limit.NAME_TIME] == 1
