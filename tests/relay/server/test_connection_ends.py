"""The ends of a client's connection: on request, cut off, without a name, or with a dead peer."""

import anyio
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from relay.clock import clocks
from relay.hub.hub import Hub
from relay.net import tcp_health
from relay.server import connection
from relay.server.read_gate import REPLY_BYTES
from relay.session.runtime_interface import Limits
from tests.relay.desk import Connect, paired, text, until
from tests.support.memory import MemoryDirectory

pytestmark = pytest.mark.anyio

LIMITS = Limits(window=8)


class TestASpan:
    @pytest.mark.parametrize("step", [-172_800.0, 172_800.0])
    async def test_how_long_a_session_was_is_right_whatever_the_clock_of_the_machine_does(
        self, step: float, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with capture_logs() as lines:
            client = await text(wire, b"ann")
            now = clocks.wall
            monkeypatch.setattr(clocks, "wall", lambda: now() + step)
            client.send(b"Quit\n")
            await until(lambda: client.closed)
        (ended,) = (line for line in lines if line["event"] == "session ended")
        assert 0 <= ended["seconds"] < 3600


class TestClosing:
    async def test_closing_waits_for_replies_that_the_client_has_not_read(self, hub: Hub, wire: Connect) -> None:
        client = await text(wire, b"ann")
        client.full = True
        client.send(b"To:ann\nQuit\n")
        await until(lambda: "ann" not in hub.sessions)
        await anyio.sleep(0.02)
        assert not client.closed
        client.read()
        await until(lambda: client.closed)
        assert client.lines()[-1] == b"Quit"

    async def test_nothing_is_handled_after_quit(self, wire: Connect) -> None:
        client = await text(wire, b"ann")
        client.send(b"Quit\nTo:ann\n")
        await until(lambda: client.closed)
        assert client.lines() == [b"Quit"]

    async def test_the_name_is_free_once_the_connection_is_closed(self, wire: Connect) -> None:
        for _ in range(3):
            client = await text(wire, b"ann")
            client.send(b"Quit\n")
            await until(lambda client=client: client.closed)  # type: ignore[misc]

    async def test_a_connection_that_is_lost_with_unread_replies_gives_its_name_back(
        self, hub: Hub, wire: Connect
    ) -> None:
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        await paired(ann, ben, b"ben")
        ben.full = True
        ann.send(b"x\n")
        await until(lambda: ben.sent)
        ann.send(b"y" * 60_000 + b"\n" + b"y" * 60_000 + b"\n")
        await until(lambda: ben.connection.write_buffer.size > REPLY_BYTES and not ben.reading)
        ben.reset()
        await until(lambda: "ben" not in hub.sessions)
        await until(lambda: ann.sent.endswith(b"Quit.\n"))

    async def test_a_connection_that_is_lost_while_lines_are_held_gives_its_name_back(
        self, hub: Hub, directory: MemoryDirectory, wire: Connect
    ) -> None:
        """A node that was suspended first asks which names it owns.

        Meanwhile the end of a client waits with its last lines.
        """
        ann, ben = await text(wire, b"ann"), await text(wire, b"ben")
        await paired(ann, ben, b"ben")
        hub.stand()
        directory.standing = False
        ann.send(b"x\n")
        ann.reset()
        await anyio.lowlevel.checkpoint()
        assert "ann" in hub.sessions
        directory.standing = True
        hub.stand()
        await until(lambda: "ann" not in hub.sessions)
        assert [line.rpartition(b": ")[2] for line in ben.lines()] == [b"(x)", b"Quit."]

    async def test_lines_said_behind_a_quit_take_no_memory(self, wire: Connect) -> None:
        ann = await text(wire, b"ann")
        ann.full = True
        ann.send(b"To:ann\n")
        await until(lambda: ann.sent)
        ann.send(b"Quit\n")
        await until(lambda: ann.connection.write_buffer.closed)
        for _ in range(20):
            ann.send(b"x\n" * 30_000)
            await anyio.lowlevel.checkpoint()
        assert not ann.connection.lines

    async def test_a_client_that_does_not_read_its_last_words_is_cut_off_in_the_end(
        self, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "LINGER_SECONDS", 0.01)
        ann = await text(wire, b"ann")
        ann.full = True
        ann.send(b"To:ann\nQuit\n")
        await until(lambda: ann.aborted)

    async def test_a_connection_that_was_cut_off_leaves_no_timer(self, hub: Hub, wire: Connect) -> None:
        """Its session ends after that. A timer would keep the rest of the connection for a minute."""
        ann = await text(wire, b"ann")
        ann.reset()
        await until(lambda: "ann" not in hub.sessions and ann.connection.session.client is None)
        assert ann.connection._timer is None  # private: a timer that is left does nothing but keep memory


class TestTheNameTimeOut:
    async def test_a_connection_that_sends_no_name_is_closed(self, hub: Hub, wire: Connect) -> None:
        hub.limits = replace(hub.limits, name=0.01)
        client = wire()
        await until(lambda: client.aborted)

    async def test_a_connection_with_a_name_has_no_name_time_out(self, hub: Hub, wire: Connect) -> None:
        hub.limits = replace(hub.limits, name=0.5)
        client = await text(wire, b"ann")
        assert client.connection._timer is None  # private: else it would have to be waited for
        assert client.connection.session.named


class TestAPeerThatIsGone:
    """The kernel's view of the peer at each check, and whether the connection is given up."""

    OWING = tcp_health.TcpInfo(unacknowledged=1, silent=6)
    FINE = tcp_health.TcpInfo(unacknowledged=1, silent=1)
    NOTHING = tcp_health.TcpInfo(silent=99)

    @pytest.mark.parametrize(
        ("looks", "given_up"),
        [
            ([OWING] * 3, False),
            ([OWING] * 4, True),
            ([OWING, OWING, OWING, FINE, OWING, OWING, OWING], False),
            ([FINE, OWING, OWING, OWING, OWING], True),
            ([OWING, NOTHING, OWING, OWING, OWING], False),  # nothing is in flight, so it isn't checked any more
            ([tcp_health.TcpInfo(probes=3, silent=16, unsent=9)], True),
            ([tcp_health.TcpInfo(probes=2, silent=99, unsent=9)] * 9, False),
            ([tcp_health.TcpInfo(probes=0, silent=99, unsent=9)] * 9, False),  # it lives, and doesn't read
        ],
    )
    async def test_a_peer_that_is_gone_is_given_up_and_others_are_not(
        self, looks: list[tcp_health.TcpInfo], given_up: bool, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ann = await text(wire, b"ann")
        for look in looks:
            assert not ann.aborted
            monkeypatch.setattr(tcp_health, "read_tcp_info", lambda _, look=look: look)
            ann.connection.check_tcp_peer()
        assert ann.aborted is given_up

    async def test_the_kernel_is_not_asked_where_nothing_was_written(
        self, wire: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = wire()
        monkeypatch.setattr(tcp_health, "read_tcp_info", None)
        client.connection.check_tcp_peer()
