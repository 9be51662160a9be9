"""The model of more nodes: its bounds, and that a fit to a model's own figures returns that model."""

import msgspec
import pytest

from benchmarks.measure import Figures, Load
from benchmarks.scale import Model, Quiet, Users, fit
from benchmarks.scalepage import reckon

MODEL = Model(gather=0.0005, quiet=0, node_us=40, node_command_us=30, redis_command_us=12)
USERS = Users(6000, 400, 6, 300, 60, Quiet(10, 0, 0))


def run(rate: int) -> Figures:
    """Return the figures of two nodes that behave exactly like the model."""
    redis = MODEL.redis_cpu(2, rate)
    return Figures(
        Load(1, rate=rate),
        0,
        0,
        commands=MODEL.commands(2, rate),
        redis_us=redis,
        cpu_us=MODEL.nodes_cpu(2, rate) + redis,
    )


def test_commands_a_message_fall_with_load_and_rise_with_nodes() -> None:
    assert MODEL.commands(2, 1000) > MODEL.commands(2, 4000) > MODEL.commands(2, 10_000) > 0
    assert MODEL.commands(2, 4000) < MODEL.commands(4, 4000) < MODEL.commands(8, 4000) < 4


def test_of_hardly_any_messages_each_is_two_pieces_of_mail_and_two_acknowledgements_of_links() -> None:
    assert MODEL.commands(2, 0.1) == pytest.approx(4, rel=0.02)


def test_a_fit_gives_back_the_model_that_it_was_made_from() -> None:
    found = fit(run(500), run(4000), 0)
    for name in MODEL.__struct_fields__:
        assert getattr(found, name) == pytest.approx(getattr(MODEL, name), rel=1e-3)


def test_nodes_follow_from_what_runs_out_first() -> None:
    few = reckon(1000, USERS, MODEL)
    assert (few.nodes, few.reason) == (2, "one may fail")
    many = reckon(10**6, USERS, MODEL)
    assert (many.nodes, many.reason) == (20, "connections")
    assert many.rate == pytest.approx(10**6 / 60)
    fat = Users(600_000, 400, 6, 300, 60, Quiet(10, 0, 0))
    assert reckon(10**6, fat, MODEL).reason == "memory"
    slow = Model(0, 0, 4_000, 0, 12)
    assert reckon(10**6, USERS, slow).reason == "CPU"


def test_redis_pays_for_messages_and_for_nodes() -> None:
    quiet, busy = (msgspec.structs.replace(MODEL, quiet=commands) for commands in (0, 1000))
    more = reckon(10**6, USERS, busy).redis_cores - reckon(10**6, USERS, quiet).redis_cores
    assert more == pytest.approx(20 * 1000 * 12 / 1e6)
