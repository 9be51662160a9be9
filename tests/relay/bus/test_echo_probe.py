"""A node checks with its own probes that others hear it, and that it hears them."""

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from relay.bus import echo_probe
from relay.bus.reconnect import SILENT_SECONDS
from relay.bus.reliable_link import Kind, note, unpack
from relay.clock import clock, clocks
from tests.relay.bus_desk import HERE, Desk

LATE = echo_probe.DEAF_SECONDS + 0.1


class Scene:
    """A node with two working connections. The test decides what passes on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lease_clock, self.passed = clocks.lease, 0.0
        monkeypatch.setattr(clocks, "lease", lambda: lease_clock() + self.passed)
        self.desk = Desk()
        self.bus, self.echo_probe = self.desk.bus, self.desk.echo_probe
        self.publisher, self.receiver = self.desk.publisher, self.desk.receiver
        self.desk.subscription.connection = cast(Any, self.receiver)
        self.desk.subscription.since = clock()
        self.echo_probe.anew()
        self.answer()
        self.echo()

    def answer(self, reply: object = 1) -> None:
        """The server answers what was published last."""
        self.desk.answered(reply)

    def echo(self, probe: int = -1) -> None:
        """A probe comes back."""
        self.desk.hear(self.publisher.probes[probe][2])

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and look."""
        self.passed += seconds
        self.echo_probe._check()  # private: in a node a task calls it at intervals of real time

    @property
    def given_up(self) -> tuple[bool, bool]:
        """Return whether the node has given up its publishing connection, and its subscription."""
        return self.publisher.aborted, self.receiver.aborted


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_a_node_that_hears_itself_is_well(scene: Scene) -> None:
    scene.pass_time(0.0)
    assert (scene.bus.hearing, scene.bus.publishing, scene.bus.trouble) == (True, True, "")
    assert scene.bus.ready.is_set()
    assert scene.given_up == (False, False)


def test_a_probe_says_its_number_and_has_to_be_answered(scene: Scene) -> None:
    scene.echo_probe.probe()
    frames = [unpack(frame) for _, _, frame in scene.publisher.probes]
    assert [(frame.kind, frame.node_id, frame.number) for frame in frames] == [
        (Kind.PROBE, HERE, 1),
        (Kind.PROBE, HERE, 2),
    ]


def test_a_probe_from_before_a_failure_is_no_proof_after_it(scene: Scene) -> None:
    scene.echo_probe.probe()
    scene.echo_probe.doubt()
    scene.echo()
    assert not scene.bus.hearing
    assert scene.bus.trouble == "deaf: no echo of the own probe"
    scene.echo_probe.probe()
    scene.echo()
    assert scene.bus.hearing


@pytest.mark.parametrize("number", [0, 2, 2**60])
def test_a_probe_that_was_never_sent_is_no_echo(scene: Scene, number: int) -> None:
    scene.echo_probe.doubt()
    scene.desk.hear(note(Kind.PROBE, HERE, number))
    assert not scene.bus.hearing


def test_without_an_echo_both_connections_are_made_anew_and_that_is_said_once(scene: Scene) -> None:
    with capture_logs() as lines:
        for _ in range(5):
            scene.pass_time(LATE)
    assert scene.given_up == (True, True)
    assert scene.desk.counts.missed_echoes == 5
    assert [(line["event"], line["server"]) for line in lines] == [
        ("deaf: no echo of the own probe, connecting anew", "redis:2")
    ]


def test_without_answers_the_connection_that_publishes_is_made_anew_although_there_are_echoes(scene: Scene) -> None:
    scene.publisher.silence = SILENT_SECONDS
    scene.publisher.trouble = "no answer from redis:1 for 1.2 s"
    with capture_logs() as lines:
        scene.pass_time(0.0)
    assert scene.given_up == (True, False)
    assert (scene.desk.counts.missed_publish_replies, scene.desk.counts.missed_echoes) == (1, 0)
    assert [(line["event"], line["server"]) for line in lines] == [
        ("mute: no answer to what is published, connecting anew", "redis:1")
    ]
    assert not scene.bus.publishing
    assert scene.bus.trouble == "can't publish: no answer from redis:1 for 1.2 s"


def test_the_trouble_goes_on_being_said_until_an_answer_comes(scene: Scene) -> None:
    """This holds also while the new connection exists and hasn't proved to be better."""
    scene.publisher.silence = SILENT_SECONDS
    scene.publisher.trouble = "no answer from redis:1 for 1.2 s"
    scene.pass_time(0.0)
    scene.publisher.silence, scene.publisher.trouble = 0.0, ""
    scene.echo_probe.anew()
    scene.echo()
    assert scene.bus.hearing
    assert scene.bus.trouble == "can't publish: no answer from redis:1 for 1.2 s"
    scene.answer()
    assert scene.bus.trouble == ""


class TestRefusals:
    def test_a_refusal_is_said_with_the_server_s_words(self, scene: Scene) -> None:
        scene.answer(Exception("NOPERM no permissions"))
        assert not scene.bus.publishing
        assert scene.bus.trouble == "can't publish: redis:1 refuses: NOPERM no permissions"

    def test_many_refusals_are_one_line_and_cost_no_connection(self, scene: Scene) -> None:
        with capture_logs() as lines:
            for _ in range(100):
                scene.answer(Exception("NOPERM no permissions"))
                scene.pass_time(LATE)
        assert scene.given_up == (False, False)
        assert scene.desk.counts.publish_refused == 100
        assert [(line["event"], line["error"]) for line in lines] == [("publish refused", "NOPERM no permissions")]

    def test_a_refusal_among_accepted_messages_is_trouble_until_there_is_none(self, scene: Scene) -> None:
        with capture_logs() as lines:
            for _ in range(3):
                scene.answer()
                scene.answer(Exception("NOPERM no permissions"))
                scene.answer()
                scene.pass_time(0.0)
                assert not scene.bus.publishing
            scene.answer()
            scene.pass_time(0.0)
        assert scene.bus.publishing
        assert [line["event"] for line in lines] == ["publish refused", "publishing is accepted again"]
        assert lines[1]["times"] == 3

    def test_the_node_has_to_hear_itself_after_a_refusal(self, scene: Scene) -> None:
        scene.echo_probe.probe()
        scene.answer(Exception("OOM"))
        scene.pass_time(0.0)
        scene.answer()
        scene.pass_time(0.0)
        scene.echo()
        assert scene.bus.trouble == "deaf: no echo of the own probe"
        scene.echo_probe.probe()
        scene.echo()
        assert scene.bus.trouble == ""

    @pytest.mark.parametrize("error", ["MASTERDOWN Link with MASTER is down", "LOADING Redis is loading", "READONLY"])
    def test_a_refusal_that_says_that_this_server_is_the_wrong_one_has_it_left(self, scene: Scene, error: str) -> None:
        doubts: list[str] = []
        scene.desk.redis_client.doubt = lambda: doubts.append(error)
        scene.answer(Exception(error))
        assert scene.given_up == (True, False)
        assert doubts == [error]
        assert scene.bus.trouble == f"can't publish: redis:1 refuses: {error}"


def test_of_many_probes_without_an_echo_only_the_latest_are_still_measured(scene: Scene) -> None:
    measured = sum(scene.desk.counts.echo.counts)
    for _ in range(echo_probe.MEASURED + 1):
        scene.echo_probe.probe()
    scene.echo(-1 - echo_probe.MEASURED)
    assert sum(scene.desk.counts.echo.counts) == measured
    scene.echo(-echo_probe.MEASURED)
    assert sum(scene.desk.counts.echo.counts) == measured + 1
