"""One WebSocket connection: what it says, what it costs, and how it ends."""

import json
from typing import Any

import pytest

from relay.hub.hub import Hub
from relay.metrics import Limit
from relay.server import connection as connection_module
from relay.server import ping_timer
from relay.server import websocket_connection as module
from relay.server.http_exchange import HttpServer
from relay.server.read_gate import AHEAD_LINES, NAMELESS_BYTES, REPLY_BYTES
from relay.server.websocket_connection import WebSocketConnection
from relay.session.memory_budget import PLENTY
from relay.session.operator_kick import kick
from relay.session.runtime_interface import Limits
from tests.relay.desk import Connect, Wire, program, until
from tests.relay.web_desk import Browser, browser, http_server, user
from tests.support.web import CLOSE, CONTINUATION, PING, PONG, close, frame, handshake

pytestmark = pytest.mark.anyio

LIMITS = Limits(window=8)
HELLO = {"type": "hello", "name": "ann"}


@pytest.fixture
def http(hub: Hub) -> HttpServer:
    return http_server(hub)


def web(of: Browser) -> WebSocketConnection:
    connection = of.wire.connection
    assert isinstance(connection, WebSocketConnection)
    return connection


def messages(of: Browser) -> list[dict[str, Any]]:
    return [json.loads(one.payload) for one in of.frames()]


class TestTalking:
    async def test_a_message_is_a_frame_of_the_json_dialect_without_its_line_end(
        self, wire: Connect, http: HttpServer
    ) -> None:
        ann, ben = await user(wire, http, "ann"), await program(wire, b"ben")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        ann.say(type="msg", id=1, text="hi\n€")
        await until(lambda: b'"text":"hi\\n\xe2\x82\xac"' in ben.sent)
        assert (await ann.told("ack"))["id"] == 1
        ben.send(b'{"type":"msg","id":1,"text":"ho"}\n')
        assert (await ann.told("msg"))["text"] == "ho"
        assert b"\n" not in ann.wire.sent.partition(b"\r\n\r\n")[2]

    async def test_several_texts_of_one_piece_of_mail_are_a_message_each(self, wire: Connect, http: HttpServer) -> None:
        ann, ben = await user(wire, http, "ann"), await program(wire, b"ben")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        ben.send(b"".join(b'{"type":"msg","id":%d,"text":"%d"}\n' % (n, n) for n in range(1, 6)))
        await until(lambda: len(ann.seen) == 5)
        assert [one["text"] for one in messages(ann)] == ["1", "2", "3", "4", "5"]

    async def test_a_message_that_came_behind_the_handshake_is_said(self, wire: Connect, http: HttpServer) -> None:
        """Clients may not, but a proxy may put both into one packet."""
        there = wire(http=http)
        there.send(handshake() + frame(json.dumps(HELLO).encode()))
        await until(lambda: b'"welcome"' in there.sent)

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 1000])
    async def test_every_cut_of_a_talk_gives_the_same(self, size: int, wire: Connect, http: HttpServer) -> None:
        said = (HELLO, {"type": "who", "name": "zoe"}, {"type": "quit"})
        talk, there = b"".join(frame(json.dumps(one).encode()) for one in said), await browser(wire, http)
        for at in range(0, len(talk), size):
            there.send(talk[at : at + size])
        await until(lambda: there.closes == [1000])
        told = [json.loads(one.payload)["type"] for one in there.frames()[:-1]]
        assert told == ["welcome", "presence", "bye"]

    async def test_bad_frames_leave_the_connection_usable(self, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.send(frame(b"") + frame(b"{}") + frame(b"[1]"))
        await until(lambda: len(ann.seen) == 3)
        assert {one["code"] for one in messages(ann)} == {"bad_frame"}
        ann.say(type="ping")
        await ann.told("pong")

    async def test_line_feeds_within_a_message_are_white_space(self, wire: Connect, http: HttpServer) -> None:
        there = await browser(wire, http)
        there.send(frame(json.dumps(HELLO, indent=2).encode()))
        await there.told("welcome")

    async def test_logs_and_metrics_tell_a_websocket_from_json(self, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        assert ann.wire.connection.dialect == "websocket"


class TestSizes:
    async def test_a_message_may_be_as_long_as_a_line(self, wire: Connect, hub: Hub) -> None:
        ann = await user(wire, http_server(hub, max_line=20_000), "ann")
        ann.send(frame(b'{"type":"ping","x":"' + b"x" * (20_000 - 22) + b'"}'))
        await ann.told("pong")
        ann.send(frame(b" " * 20_001)[:10])
        await until(lambda: ann.closes == [1009])
        assert hub.counts.limits[Limit.LINE] == 1

    async def test_a_message_before_a_name_is_short(self, wire: Connect, http: HttpServer) -> None:
        there = await browser(wire, http)
        there.send(frame(b" " * (NAMELESS_BYTES + 1)))
        await until(lambda: there.closes == [1009])

    async def test_half_a_message_counts_as_memory(self, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.send(frame(b" " * 5000, fin=False) + frame(b" " * 5000, CONTINUATION)[:1000])
        await until(lambda: ann.wire.connection.half > 5900)
        assert ann.wire.connection.held_bytes >= ann.wire.connection.half


class TestControlFrames:
    async def test_a_ping_is_answered_with_its_payload(self, wire: Connect, http: HttpServer) -> None:
        there = await browser(wire, http)
        there.send(frame(b"", PING) + frame(b"x" * 125, PING))
        await until(lambda: len(there.seen) == 2)
        assert there.frames() == [(PONG, b""), (PONG, b"x" * 125)]

    async def test_the_pong_to_a_ping_between_fragments_comes_before_their_answer(
        self, wire: Connect, http: HttpServer
    ) -> None:
        ann, hello = await user(wire, http, "ann"), b'{"type":"ping"}'
        ann.send(frame(hello[:5], fin=False) + frame(b"?", PING) + frame(hello[5:], CONTINUATION))
        await until(lambda: len(ann.seen) == 2)
        assert [one.payload for one in ann.frames()] == [b"?", b'{"type":"pong"}']

    async def test_a_client_that_pings_and_does_not_read_is_not_read(self, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.wire.full = True
        ann.send(frame(b"x", PING))
        await until(lambda: ann.wire.connection.write_buffer.behind)
        flood = frame(b"x" * 125, PING) * 100
        for _ in range(20):
            ann.send(flood)
        await until(lambda: not ann.wire.reading)
        assert ann.wire.connection.write_buffer.size < 2 * REPLY_BYTES

    async def test_a_ping_behind_messages_that_wait_is_answered(
        self, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        """A library takes a connection without a pong for dead, and this one only waits for its partner."""
        ann, ben = await self.held_up(hub, wire, http)
        ann.send(frame(b"alive?", PING))
        await until(lambda: (PONG, b"alive?") in ann.frames())
        ben.send(b'{"type":"ack","id":8}\n')
        await until(lambda: ben.sent.count(b'"text"') == 10)

    async def test_a_ping_behind_more_messages_than_are_read_ahead_waits_with_them(
        self, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        ann, ben = await self.held_up(hub, wire, http)
        for n in range(11, 12 + AHEAD_LINES):
            ann.say(type="msg", id=n, text="x")
        await until(lambda: not ann.wire.reading)
        assert len(ann.wire.connection.lines) <= AHEAD_LINES + 1
        ann.send(frame(b"alive?", PING))
        for n in range(8, 9 + AHEAD_LINES, 8):
            ben.send(b'{"type":"ack","id":%d}\n' % n)
            await until(lambda n=n: ben.sent.count(b'"text"') >= n + 3)  # type: ignore[misc]
        await until(lambda: (PONG, b"alive?") in ann.frames())

    async def test_nothing_is_read_ahead_while_memory_is_short(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        ann, _ = await self.held_up(hub, wire, http)
        hub.memory_budget.allowance = PLENTY - 1
        ann.say(type="msg", id=11, text="x")
        await until(lambda: not ann.wire.reading)

    async def held_up(self, hub: Hub, wire: Connect, http: HttpServer) -> tuple[Browser, Wire]:
        """A client that acknowledges nothing and has said ten messages, and its partner, who has acknowledged none."""
        ann, ben = await user(wire, http, "ann"), await program(wire, b"ben", b"true")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        for n in range(1, 11):
            ann.say(type="msg", id=n, text="x")
        await until(lambda: ben.sent.count(b'"text"') == 8)
        assert len(ann.wire.connection.lines) == 2
        return ann, ben

    @pytest.mark.parametrize(
        "flood",
        [frame(b"", PING) * 200, frame(b"", PONG) * 200, frame(fin=False) + frame(b"", CONTINUATION, fin=False) * 200],
        ids=["pings", "pongs", "fragments"],
    )
    async def test_frames_that_are_no_messages_count_as_lines(
        self, flood: bytes, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        hub.limits = Limits(lines=50)
        ann = await user(wire, http, "ann")
        at_once = flood[: len(flood) // 2]
        for part in (at_once, flood[len(at_once) :]):  # those of two seconds may come at once
            ann.send(part)
        assert hub.counts.limits[Limit.RATE] == 1

    async def test_the_node_pings_a_client_that_heard_nothing_for_a_while(
        self, hub: Hub, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PING_SECONDS", 0.01)
        monkeypatch.setattr(ping_timer, "STEP_SECONDS", 0.01)
        there = await browser(wire, http_server(hub))
        await until(lambda: [one.opcode for one in there.seen][:3] == [PING] * 3)

    async def test_the_node_pings_when_the_silence_is_long_enough(self, wire: Connect, http: HttpServer) -> None:
        connection = web(await user(wire, http, "ann"))
        wrote_at = connection._out.wrote_at  # private: when that was shows only in when it pings
        assert connection.ping_if_due(wrote_at + module.PING_SECONDS - 0.1) == wrote_at + module.PING_SECONDS
        assert not connection.write_buffer.size
        now = wrote_at + module.PING_SECONDS
        assert connection.ping_if_due(now) == now + module.PING_SECONDS
        assert connection.write_buffer.size

    async def test_a_client_that_does_not_read_is_not_pinged(self, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.wire.full = True
        ann.say(type="ping")
        connection = web(ann)
        await until(lambda: connection.write_buffer.behind)
        # private: when that was shows only in when it pings
        connection.ping_if_due(connection._out.wrote_at + module.PING_SECONDS)
        assert not connection.write_buffer.size

    async def test_a_defect_in_a_ping_ends_its_connection_only(
        self, hub: Hub, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PING_SECONDS", 0.01)
        monkeypatch.setattr(ping_timer, "STEP_SECONDS", 0.01)
        http = http_server(hub)
        ann, ben = await browser(wire, http), await browser(wire, http)
        ping = WebSocketConnection.ping_if_due

        def broken(of: WebSocketConnection, now: float) -> float:
            if of is ann.wire.connection:
                raise RuntimeError("a defect")
            return ping(of, now)

        monkeypatch.setattr(WebSocketConnection, "ping_if_due", broken)
        await until(lambda: ann.closes == [1011])
        await until(lambda: [one.opcode for one in ben.seen][:3] == [PING] * 3)


class TestTheNodeCloses:
    """Each end has its code, and waits for the client's close frame."""

    async def closed(self, there: Browser, code: int) -> None:
        await until(lambda: there.closes == [code])
        assert not there.wire.closed
        there.send(frame(b"late") + close(code))
        await until(lambda: there.wire.closed)
        assert len([one for one in there.seen if one.opcode == CLOSE]) == 1

    async def test_the_node_closes_after_bye(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.say(type="quit")
        await self.closed(ann, 1000)
        assert json.loads(ann.frames()[0].payload) == {"type": "bye"}
        assert "ann" not in hub.sessions

    async def test_the_node_closes_when_another_has_the_session(self, wire: Connect, http: HttpServer) -> None:
        there = await browser(wire, http)
        there.say(**HELLO)
        token = (await there.told("welcome"))["token"]
        again = wire(b'{"type":"hello","name":"ann","token":"%b"}\n' % token.encode())
        await until(lambda: b'"welcome"' in again.sent)
        await self.closed(there, 4000)

    async def test_the_node_closes_when_an_operator_says_so(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        hub.open_tick()
        kick(hub.sessions["ann"])
        await self.closed(ann, 4001)

    async def test_the_node_closes_when_the_name_is_lost_while_the_client_quits(
        self, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        ann, ben = await user(wire, http, "ann"), await program(wire, b"ben", b"true")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        ann.say(type="msg", id=1, text="hi")
        ann.say(type="quit")
        await until(lambda: b'"hi"' in ben.sent)
        hub.open_tick()
        hub.sessions["ann"].name_lost()
        await self.closed(ann, 4002)

    async def test_a_name_that_is_lost_closes_nothing_else(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        hub.open_tick()
        hub.sessions["ann"].name_lost()
        await ann.told("error")
        ann.say(type="hello", name="eve")
        await ann.told("welcome")
        ann.say(type="quit")
        await self.closed(ann, 1000)

    async def test_a_name_that_was_lost_before_is_not_why_a_connection_ends_later(
        self, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        ann = await user(wire, http, "ann")
        hub.open_tick()
        hub.sessions["ann"].name_lost()
        await ann.told("error")
        hub.dismiss()
        await self.closed(ann, 1001)

    async def test_the_node_closes_when_no_name_comes_in_time(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        hub.limits = Limits(name=0.02)
        there = await browser(wire, http)
        await self.closed(there, 1008)
        assert b"no name" in there.frames()[0].payload
        assert hub.counts.limits[Limit.NAME_TIME] == 1

    @pytest.mark.parametrize("named", [False, True])
    async def test_the_node_closes_when_it_goes_away(
        self, named: bool, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        there = await user(wire, http, "ann") if named else await browser(wire, http)
        hub.dismiss()
        await self.closed(there, 1001)

    async def test_the_node_closes_after_a_defect(
        self, hub: Hub, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ann = await user(wire, http, "ann")

        def broken(*_: object) -> None:
            monkeypatch.undo()
            raise RuntimeError("a defect")

        monkeypatch.setattr(connection_module.Connection, "pump", broken)
        ann.say(type="ping")
        await self.closed(ann, 1011)

    async def test_a_client_that_does_not_answer_is_cut_off(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "CLOSE_SECONDS", 0.02)
        ann = await user(wire, http, "ann")
        ann.say(type="quit")
        await until(lambda: ann.closes == [1000])
        await until(lambda: ann.wire.aborted)

    async def test_a_client_whose_stream_ends_is_not_waited_for(self, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.say(type="quit")
        await until(lambda: ann.closes == [1000])
        ann.wire.end()
        await until(lambda: ann.wire.closed)

    async def test_frames_that_were_told_before_the_close_are_read_first(self, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.wire.full = True
        ann.say(type="ping")
        ann.say(type="quit")
        await until(lambda: ann.wire.connection.write_buffer.closed)
        assert not ann.closes
        ann.wire.read()
        await self.closed(ann, 1000)
        assert [one.payload for one in ann.frames()][:2] == [b'{"type":"pong"}', b'{"type":"bye"}']

    async def test_a_client_that_was_not_read_is_read_for_its_close_frame(
        self, wire: Connect, http: HttpServer
    ) -> None:
        ann, ben = await user(wire, http, "ann"), await program(wire, b"ben", b"true")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        for n in range(1, 300):
            ann.say(type="msg", id=n, text="x")
        await until(lambda: not ann.wire.reading)
        ben.reset()
        ann.wire.connection.session.runtime.close(ann.wire.connection.session)
        await self.closed(ann, 1001)


class TestTheClientCloses:
    async def test_a_client_that_closes_is_answered_with_its_code_and_may_come_back(
        self, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        there = await browser(wire, http)
        there.say(**HELLO)
        token = (await there.told("welcome"))["token"]
        there.send(close(1001, b"reload"))
        await until(lambda: there.wire.closed)
        assert there.closes == [1001]
        assert hub.sessions["ann"].away
        again = await browser(wire, http)
        again.say(**HELLO, token=token)
        assert (await again.told("welcome"))["resumed"] is True

    async def test_messages_before_a_close_are_handled(self, wire: Connect, http: HttpServer) -> None:
        ann, ben = await user(wire, http, "ann"), await program(wire, b"ben")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        ann.send(frame(b'{"type":"msg","id":1,"text":"last words"}') + close(1000))
        await until(lambda: b"last words" in ben.sent)
        await until(lambda: b'"away"' in ben.sent)

    async def test_messages_before_a_close_are_answered_first_however_the_bytes_are_cut(
        self, wire: Connect, http: HttpServer
    ) -> None:
        said = (HELLO, {"type": "who", "name": "zoe"}, {"type": "quit"})
        talk = b"".join(frame(json.dumps(one).encode()) for one in said) + close(3000)
        for size in (1, 7, len(talk)):
            there = await browser(wire, http)
            for at in range(0, len(talk), size):
                there.send(talk[at : at + size])
            await until(lambda there=there: there.wire.closed)  # type: ignore[misc]
            assert there.closes == [3000]
            told = [json.loads(one.payload)["type"] for one in there.frames()[:-1]]
            assert told == ["welcome", "presence", "bye"]

    async def test_messages_that_still_wait_at_a_close_are_handled_later(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.02)
        ann, ben = await user(wire, http, "ann"), await program(wire, b"ben", b"true")
        ann.say(type="to", name="ben")
        await ann.told("paired")
        for n in range(1, 11):
            ann.say(type="msg", id=n, text="x")
        ann.send(close(1000))
        await until(lambda: ann.wire.closed)
        ann.wire.reset()
        await until(lambda: ben.sent.count(b'"text"') == 8)
        ben.send(b'{"type":"ack","id":8}\n')
        await until(lambda: ben.sent.count(b'"text"') == 10)
        await until(lambda: b'"away"' in ben.sent)

    async def test_the_name_is_free_after_a_quit_and_a_close(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        ann = await user(wire, http, "ann")
        ann.send(frame(b'{"type":"quit"}') + close(1000))
        await until(lambda: ann.wire.closed)
        await until(lambda: "ann" not in hub.sessions)

    async def test_without_a_name_nothing_is_left(self, hub: Hub, wire: Connect, http: HttpServer) -> None:
        there = await browser(wire, http)
        there.send(close())
        await until(lambda: there.wire.closed)
        assert [(one.opcode, one.payload) for one in there.frames()] == [(CLOSE, b"")]
        there.wire.reset()
        assert not hub.clients

    @pytest.mark.parametrize("how", ["eof", "reset"])
    async def test_a_stream_that_ends_is_a_lost_connection(
        self, how: str, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        ann = await user(wire, http, "ann")
        ann.wire.end() if how == "eof" else ann.wire.reset()
        await until(lambda: hub.sessions["ann"].away)
        if how == "eof":
            await until(lambda: ann.wire.closed)

    async def test_a_client_that_does_not_read_the_answer_to_its_close_is_cut_off(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "CLOSE_SECONDS", 0.02)
        ann = await user(wire, http, "ann")
        ann.wire.full = True
        ann.say(type="ping")
        await until(lambda: ann.wire.connection.write_buffer.behind)
        ann.send(close(1000))
        await until(lambda: ann.wire.aborted)


class TestABrokenProtocol:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (frame(b"x", mask=None), 1002),
            (frame(b"x", 0x2), 1003),
            (frame(b"\xff"), 1007),
        ],
    )
    async def test_a_broken_protocol_is_a_lost_connection_with_the_reason(
        self, data: bytes, code: int, hub: Hub, wire: Connect, http: HttpServer
    ) -> None:
        ann = await user(wire, http, "ann")
        ann.send(data + frame(b'{"type":"quit"}'))
        await until(lambda: ann.closes == [code])
        assert ann.wire.eof_written
        assert hub.sessions["ann"].away
        ann.wire.end()
        await until(lambda: ann.wire.closed)

    async def test_a_client_that_stays_is_cut_off(
        self, wire: Connect, http: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "CLOSE_SECONDS", 0.02)
        there = await browser(wire, http)
        there.send(frame(b"x", mask=None))
        await until(lambda: there.wire.aborted)
        assert there.closes == [1002]


async def test_nothing_is_kept_of_a_connection_that_is_gone(hub: Hub, wire: Connect, http: HttpServer) -> None:
    there = await browser(wire, http)
    connection = web(there)
    there.send(frame(b"x" * 50)[:30])
    there.wire.reset()
    assert not any(http.ping_timer._steps.values())  # private: what is kept of one that is gone shows nowhere else
    assert connection.half == 0
    assert connection not in hub.clients
    assert hub.counts.connections == 1, "counted once"
