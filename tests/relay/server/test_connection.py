"""One client's connection: its dialect, the amount and order of its lines, and the cost of a slow reader."""

import time
from collections import Counter

import anyio
import anyio.lowlevel
import pytest

from relay.hub import hub as hub_module
from relay.hub import login_queue, loop_tick
from relay.hub.hub import Hub
from relay.server.connection import TURN_LINES
from relay.server.read_gate import AHEAD_LINES, REPLY_BYTES
from relay.session.runtime_interface import Limits
from tests.relay.desk import Connect, paired, program, text, token_of, until

pytestmark = pytest.mark.anyio

WINDOW = 8
PATIENCE = 0.2  # seconds for which a ping waits
LIMITS = Limits(window=WINDOW, patience=PATIENCE)
NAMED = b'"welcome"'


class TestTheDialect:
    async def test_a_brace_is_json(self, wire: Connect) -> None:
        client = wire()
        client.send(b'{"type":"hello","name":"ann"}\n')
        await until(lambda: NAMED in client.sent)

    async def test_anything_else_is_text(self, wire: Connect) -> None:
        client = wire()
        client.send(b"ann\n")
        await until(lambda: client.sent == b"OK\n")

    @pytest.mark.parametrize(("line", "answer"), [(b'{"type":"hello","name":"ann"}\n', NAMED), (b"ann\n", b"OK\n")])
    async def test_the_first_byte_is_enough(self, line: bytes, answer: bytes, wire: Connect) -> None:
        client = wire()
        for byte in line:
            client.send(bytes([byte]))
        await until(lambda: answer in client.sent)

    async def test_the_dialect_stays_whatever_comes_later(self, wire: Connect) -> None:
        client = await text(wire, b"ann")
        client.send(b'{"type":"ping"}\n')
        await until(lambda: client.sent.startswith(b"Nobody is chating"))

    async def test_the_classic_port_has_its_own_dialect(self, wire: Connect) -> None:
        client = wire(classic=True)
        client.send(b"{ann")
        await until(lambda: client.sent.startswith(b"* "))
        client.lines()
        client.send(b"ann")
        await until(lambda: client.writes == [b"OK"])


class TestTheEntrance:
    async def test_whoever_has_no_name_gets_in_though_others_use_up_every_turn(
        self, hub: Hub, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has its own turns. Otherwise floods that fill the loop would keep it outside for ever."""
        monkeypatch.setattr(hub_module, "ROUND_LINES", 0)
        await text(wire, b"ann")

    async def test_a_newcomer_that_waits_for_its_turn_is_not_tried_in_each_iteration_of_the_loop(
        self, hub: Hub, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever wakes it meanwhile, such as a lease that holds again: the queue calls it, and nothing else need."""
        monkeypatch.setattr(login_queue, "TICK_SECONDS", 3600.0)
        hub.login_queue.update_talk(1, 0.1, away=False)  # others talk
        for number in range(login_queue.AT_ONCE):
            await text(wire, b"ann%d" % number)
        newcomer = wire()
        newcomer.send(b"ben\n")
        assert hub.login_queue.holds(newcomer.connection)
        hub.wake_all()
        before = hub.loop_iteration
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert hub.loop_iteration - before <= 1
        hub.login_queue._tick()  # private: else it would have to be waited for
        await until(lambda: newcomer.sent == b"OK\n")


class TestOrder:
    async def test_lines_behind_a_name_or_a_call_wait_for_its_outcome(self, wire: Connect) -> None:
        ben = await text(wire, b"ben")
        ann = wire()
        ann.send(b"ann\nTo:ben\nhi\nQuit\n")
        await until(lambda: ann.closed)
        assert ann.lines() == [b"OK", b"* You are chatting with ben.", b"Quit"]
        told = ben.lines()
        assert told[0] == b"* ann is chatting with you."
        assert told[1].endswith(b"ann: (hi)")
        assert told[2:] == [b"Quit."]

    async def test_eof_counts_as_quit_in_its_turn(self, wire: Connect) -> None:
        ben = await text(wire, b"ben")
        ann = wire()
        ann.send(b"ann\nTo:ben\nhi\nfragment")
        ann.end()
        await until(lambda: ann.closed)
        await until(lambda: ben.sent.endswith(b"ann: (hi)\nQuit.\n"))

    async def test_a_program_goes_away_at_eof(self, hub: Hub, wire: Connect) -> None:
        ann, ben = await program(wire, b"ann"), await text(wire, b"ben")
        await paired(ben, ann, b"ann")
        ann.end()
        await until(lambda: ben.lines() == [b"* ann is away."])
        assert ann.closed
        assert hub.sessions["ann"].away

    async def test_lines_that_came_before_a_reset_are_still_handled(self, hub: Hub, wire: Connect) -> None:
        ben = await text(wire, b"ben")
        ann = wire()
        ann.send(b"ann\nTo:ben\nhi\n")
        ann.reset()
        await until(lambda: ben.sent.endswith(b"ann: (hi)\nQuit.\n"))
        await until(lambda: "ann" not in hub.sessions)

    async def test_acknowledgements_pass_what_waits_for_acknowledgements(self, wire: Connect) -> None:
        """Both quit after a message. Neither could, if each one's ack had to wait for its own quit."""
        ann, ben = await program(wire, b"ann", b"true"), await program(wire, b"ben", b"true")
        ann.send(b'{"type":"to","name":"ben"}\n')
        await until(lambda: ben.lines())
        for client in (ann, ben):
            client.send(b'{"type":"msg","id":1,"text":"hi"}\n{"type":"quit"}\n')
        await until(lambda: b'"msg"' in ann.sent and b'"msg"' in ben.sent)
        for client in (ann, ben):
            client.send(b'{"type":"ack","id":1}\n')
        await until(lambda: ann.closed and ben.closed)
        assert ann.sent.endswith(b'{"type":"bye"}\n')

    async def test_a_ping_keeps_its_place_but_not_for_ever(self, wire: Connect) -> None:
        ann, ben = await program(wire, b"ann"), await program(wire, b"ben", b"true")
        ann.send(b'{"type":"to","name":"ben"}\n')
        await until(lambda: ben.lines())
        ann.send(b'{"type":"msg","id":1,"text":"hi"}\n{"type":"leave"}\n{"type":"who","name":"ben"}\n{"type":"ping"}\n')
        asked = time.monotonic()
        await until(lambda: b'"pong"' in ann.sent)
        assert time.monotonic() - asked > PATIENCE / 2
        assert b'"presence"' not in ann.sent
        ben.send(b'{"type":"ack","id":1}\n')
        await until(lambda: b'"left"' in ann.sent)
        await until(lambda: b'"presence"' in ann.sent)

    async def test_lines_said_before_somebody_called_are_not_for_the_caller(self, wire: Connect) -> None:
        ann, ben, cas = await text(wire, b"ann"), await text(wire, b"ben"), await text(wire, b"cas")
        await paired(ann, ben, b"ben")
        ben.full = True
        ann.send(b"".join(b"for ben %d\n" % n for n in range(3 * TURN_LINES)))
        await until(lambda: len(ann.connection.lines) > TURN_LINES)
        ben.send(b"Quit\n")
        cas.send(b"To:ann\n" * 50)
        await until(lambda: b"You are chatting with ann" in cas.sent)
        await until(lambda: not ann.connection.lines)
        ann.send(b"for cas\n")
        await until(lambda: b"(for cas)" in cas.sent)
        assert b"for ben" not in cas.sent

    async def test_an_ack_that_overtakes_such_a_line_leaves_the_next_message_alone(
        self, hub: Hub, wire: Connect
    ) -> None:
        """The call behind which it waits fails, so the chat goes on that began before it was handled."""
        ann, ben = await program(wire, b"ann", b"true"), await text(wire, b"ben")
        hub.lines_held = True
        ann.send(b'{"type":"to","name":"cas"}\n{"type":"ack","id":1}\n')
        assert len(ann.connection.lines) == 2
        hub.lines_held = False
        ben.send(b"To:ann\n")
        await until(lambda: b'"no_such_user"' in ann.sent)
        ann.send(b'{"type":"msg","id":1,"text":"hi"}\n{"type":"msg","id":2,"text":"ho"}\n')
        await until(lambda: b"(ho)" in ben.sent)
        assert b"(hi)" in ben.sent


class TestLines:
    async def test_a_line_that_is_too_long_is_refused_and_the_connection_stays_usable(self, wire: Connect) -> None:
        client = wire(max_line=64)
        client.send(b"ann\n" + b"x" * 200 + b"\nTo:ann\n")
        await until(lambda: client.sent.count(b"\n") == 3)
        assert client.lines() == [
            b"OK",
            b"* line too long: at most 64 bytes",
            b"Please don't try to talk with yourself.",
        ]

    async def test_lines_read_in_one_piece_are_answered_in_one_write(self, wire: Connect) -> None:
        client = await program(wire, b"ann")
        client.send(b'{"type":"ping"}\n' * 5)
        await until(lambda: client.sent.count(b"pong") == 5)
        assert len(client.writes) == 1

    async def test_the_classic_client_gets_each_reply_in_a_write_of_its_own(self, wire: Connect) -> None:
        client, ben = wire(classic=True), await text(wire, b"ben")
        client.send(b"ann")
        await until(lambda: client.writes == [b"OK"])
        client.send(b"To:ben")
        await until(lambda: ben.lines())
        ben.send(b"one\ntwo\nQuit\n")
        await until(lambda: len(client.writes) == 4)
        assert client.writes[1].endswith(b"ben: (one)")
        assert client.writes[2].endswith(b"ben: (two)")
        assert client.writes[3] == b"Quit."


class TestReading:
    async def test_reading_stops_while_a_session_waits_and_has_lines(self, wire: Connect) -> None:
        ann, ben = await text(wire, b"ann"), await program(wire, b"ben", b"true")
        await paired(ann, ben, b"ben")
        ann.send(b"x\n" * (WINDOW + 1))
        assert not ann.reading
        ann.send(b"more\n")
        assert ann.unsent
        await until(lambda: ben.sent.count(b'"text"') == WINDOW)
        ben.send(b'{"type":"ack","id":%d}\n' % WINDOW)
        await until(lambda: ann.reading and not ann.unsent)
        await until(lambda: ben.sent.count(b'"text"') == WINDOW + 2)

    async def test_reading_stops_while_a_client_does_not_read_its_replies(self, wire: Connect) -> None:
        client = await program(wire, b"ann")
        client.full = True
        client.send(b'{"type":"ping"}\n')
        await until(lambda: client.writes)
        flood = b'{"type":"ping"}\n' * TURN_LINES
        for _ in range(40):
            client.send(flood)
            await anyio.lowlevel.checkpoint()
        await until(lambda: not client.reading)
        assert client.unsent
        client.read()
        await until(lambda: not client.unsent and client.sent.count(b"pong") == 1 + 40 * TURN_LINES)
        await until(lambda: client.reading)

    async def test_typing_is_not_kept_for_a_client_that_does_not_read(self, wire: Connect) -> None:
        ann, ben = await program(wire, b"ann"), await program(wire, b"ben")
        ann.send(b'{"type":"to","name":"ben"}\n{"type":"typing"}\n')
        await until(lambda: b'"typing"' in ben.sent)
        ben.full = True
        ann.send(b'{"type":"msg","id":1,"text":"one"}\n')
        await until(lambda: b'"one"' in ben.sent)
        ann.send(b'{"type":"typing"}\n{"type":"msg","id":2,"text":"two"}\n{"type":"ping"}\n')
        await until(lambda: b"pong" in ann.sent)
        ben.read()
        await until(lambda: b'"two"' in ben.sent)
        assert ben.sent.count(b'"typing"') == 1

    async def test_replies_that_nobody_reads_are_bounded(self, hub: Hub, wire: Connect) -> None:
        client = await program(wire, b"ann")
        client.full = True
        for _ in range(100):
            client.send(b'{"type":"ping"}\n' * TURN_LINES)
            await anyio.lowlevel.checkpoint()
        assert client.connection.write_buffer.size < 2 * REPLY_BYTES

    async def test_lines_ahead_are_bounded_while_acknowledgements_may_be_among_them(self, wire: Connect) -> None:
        ann, ben = await program(wire, b"ann"), await program(wire, b"ben", b"true")
        ann.send(b'{"type":"to","name":"ben"}\n')
        await until(lambda: ben.lines())
        ann.send(b'{"type":"msg","id":1,"text":"hi"}\n{"type":"leave"}\n')
        ann.send(b'{"type":"who","name":"ben"}\n' * AHEAD_LINES)
        await until(lambda: ann.reading)  # a large read is in another iteration
        ann.send(b'{"type":"who","name":"ben"}\n')
        assert not ann.reading


class TestAcknowledging:
    async def test_a_message_is_acknowledged_once_the_kernel_has_it(self, wire: Connect) -> None:
        ann, ben = await program(wire, b"ann"), await text(wire, b"ben")
        await paired(ben, ann, b"ann")
        ben.full = True
        ann.send(b'{"type":"msg","id":1,"text":"hi"}\n')
        await until(lambda: ben.sent.endswith(b"(hi)\n"))
        await anyio.sleep(0.02)
        assert b'"ack"' not in ann.sent
        ben.read()
        await until(lambda: b'"ack"' in ann.sent)

    async def test_a_partner_that_does_not_read_fills_the_window_and_the_sender_is_slowed(self, wire: Connect) -> None:
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        await paired(ann, ben, b"ben")
        ben.full = True
        ann.send(b"x\n")
        await until(lambda: ben.sent)
        for _ in range(4):
            ann.send(b"x\n" * WINDOW)
            await anyio.lowlevel.checkpoint()
        await until(lambda: not ann.reading)
        ben.read()
        await until(lambda: ben.sent.count(b"(x)") == 1 + 4 * WINDOW)
        assert ann.reading


class TestHolding:
    """The memory of clients is checked ten times a second, but only of those that may hold some."""

    async def test_a_client_that_has_read_everything_is_not_checked_for_memory(self, hub: Hub, wire: Connect) -> None:
        ann, ben = await program(wire, b"ann"), await text(wire, b"ben")
        await paired(ben, ann, b"ann")
        hub.memory_holders.clear()
        ann.send(b'{"type":"msg","id":1,"text":"hi"}\n')
        await until(lambda: b'"ack"' in ann.sent)
        assert ben.sent.endswith(b"(hi)\n")
        assert hub.connected_memory_holders() == [ann.connection], "it has said something"

    async def test_a_client_that_does_not_read_is_checked_for_memory(self, hub: Hub, wire: Connect) -> None:
        ann, ben = await program(wire, b"ann"), await text(wire, b"ben")
        await paired(ben, ann, b"ann")
        hub.memory_holders.clear()
        ben.full = True
        for id in (1, 2):
            ann.send(b'{"type":"msg","id":%d,"text":"hi"}\n' % id)
            await until(lambda: ben.sent.endswith(b"(hi)\n"))
        await until(lambda: ben.connection.held_bytes)
        assert ben.connection in hub.connected_memory_holders()

    async def test_a_client_that_comes_back_to_messages_under_way_is_checked_for_memory(
        self, hub: Hub, wire: Connect
    ) -> None:
        ann, ben = wire(b'{"type":"hello","name":"ann"}\n'), await text(wire, b"ben")
        token = await token_of(ann)
        await paired(ben, ann, b"ann")
        ben.full = True
        ann.send(b'{"type":"msg","id":1,"text":"hi"}\n')
        await until(lambda: ben.sent.endswith(b"(hi)\n"))
        again = wire(b'{"type":"hello","name":"ann","sent":1,"token":"%b"}\n' % token.encode())
        hub.memory_holders.clear()  # a check that comes before the answer does this
        await until(lambda: NAMED in again.sent)
        assert again.connection.held_bytes
        assert again.connection in hub.connected_memory_holders()


class TestTurns:
    async def test_a_client_gets_a_bounded_share_of_each_iteration_of_the_loop(self, wire: Connect) -> None:
        ann = await program(wire, b"ann")
        ann.send(b'{"type":"ping"}\n' * (TURN_LINES * 6))
        await until(lambda: ann.sent.count(b"pong") == TURN_LINES * 6)
        pongs: Counter[int] = Counter()
        for turn, data in zip(ann.rounds, ann.writes, strict=True):
            pongs[turn] += data.count(b"pong")
        assert max(pongs.values()) <= TURN_LINES

    async def test_other_clients_get_their_share_beside_a_flood(self, wire: Connect) -> None:
        flood, ann = await program(wire, b"flood"), await program(wire, b"ann")
        flood.send(b'{"type":"ping"}\n' * (TURN_LINES * 6))
        ann.send(b'{"type":"ping"}\n')
        await until(lambda: ann.sent and flood.sent.count(b"pong") == TURN_LINES * 6)
        assert ann.rounds[0] == flood.rounds[0] < flood.rounds[-1]

    async def test_many_floods_get_their_share_a_few_at_a_time(
        self, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop_tick, "FLOODS_AT_ONCE", 2)
        floods = [await program(wire, b"flood%d" % n) for n in range(6)]
        for flood in floods:
            flood.send(b'{"type":"ping"}\n' * (TURN_LINES * 6))
        await until(lambda: all(flood.sent.count(b"pong") == TURN_LINES * 6 for flood in floods))
        _, *served = Counter(turn for flood in floods for turn in set(flood.rounds)).most_common()
        assert max(times for _, times in served) <= 2 + 2, "what they say is handled, or read, after the first time"

    async def test_a_client_that_waits_for_memory_goes_on_when_there_is_some(self, hub: Hub, wire: Connect) -> None:
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        await paired(ann, ben, b"ben")
        hub.memory_budget.share_out([1 << 40] * (1 << 20))  # next to nothing for each client
        ben.full = True
        ann.send(b"0\n1\n2\n")
        await until(lambda: ann.connection.session.blocked)
        await until(lambda: ben.sent.endswith(b"(0)\n"))
        hub.memory_budget.share_out([])
        hub.call_on()
        await until(lambda: (chat := ann.connection.session.chat) and chat.unacked.count == 3)

    async def test_lines_said_in_a_tick_in_which_something_was_delivered_arrive_too(self, wire: Connect) -> None:
        """One read has more lines than the window holds: the rest is sent after an acknowledgement of the same tick."""
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        await paired(ann, ben, b"ben")
        ann.send(b"".join(b"%d\n" % n for n in range(5 * WINDOW)))
        await until(lambda: ben.sent.count(b"\n") == 5 * WINDOW)
        assert [line.rsplit(b"(")[-1] for line in ben.lines()] == [b"%d)" % n for n in range(5 * WINDOW)]
