"""What `relay torture` can be asked to do."""

import re
import shlex
from typing import Any

import pytest

from relay.app import run
from relay.config import ConfigError
from relay.torture import nemesis
from relay.torture.command import torture
from relay.torture.plan import FAULTS, Plan, new_seed, parse_faults, parse_server


def plan_with(option: str, value: int) -> Plan:
    settings: dict[str, Any] = {option: value}
    return Plan(**settings)


@pytest.mark.parametrize(("option", "low", "high"), [("seconds", 1, 86_400), ("nodes", 1, 16), ("users", 2, 1000)])
def test_each_number_has_bounds(option: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(plan_with(option, value), option) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=f"--{option} must be between {low} and {high}, not {value}"):
            plan_with(option, value)


def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"--fault knows kill, term, .*, not 'kil'"):
        Plan(faults=("kill", "kil"))


def test_a_cluster_that_runs_already_is_not_broken() -> None:
    with pytest.raises(ConfigError, match="leave --server out"):
        Plan(servers=(("127.0.0.1", 9999),), faults=("kill",))


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("all", tuple(FAULTS)),
        ("none", ()),
        ("kill", ("kill",)),
        ("kill, redis-down", ("kill", "redis-down")),
        ("kill,,", ("kill",)),
    ],
)
def test_faults_are_listed_with_commas(text: str, faults: tuple[str, ...]) -> None:
    assert parse_faults(text) == faults


@pytest.mark.parametrize(
    ("text", "server"), [("relay.example:9999", ("relay.example", 9999)), ("[::1]:10000", ("::1", 10000))]
)
def test_a_server_is_a_host_and_a_port(text: str, server: tuple[str, int]) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize("text", ["", "localhost", ":9999", "localhost:", "localhost:0", "localhost:65536", "a:b"])
def test_any_other_server_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--server must be host:port"):
        parse_server(text)


def parse(command: str) -> Plan:
    """The plan that a printed command stands for."""
    words = iter(shlex.split(command)[2:])
    options: dict[str, list[str]] = {}
    for word in words:
        options.setdefault(word, []).append(next(words))
    servers = tuple(map(parse_server, options.pop("--server", [])))
    plan = {key.removeprefix("--"): values[0] for key, values in options.items()}
    faults = parse_faults(plan.pop("fault", "none"))
    numbers = {key: float(value) if key == "seconds" else int(value) for key, value in plan.items()}
    return Plan(faults=faults, servers=servers, **numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(seed=7),
        Plan(seconds=12.5, seed=123_456, faults=("kill", "slow"), nodes=2, users=10),
        Plan(faults=()),
        Plan(seconds=5, seed=1, faults=(), servers=(("127.0.0.1", 9999), ("127.0.0.1", 10000))),
    ],
)
def test_the_command_that_is_printed_repeats_the_plan(plan: Plan) -> None:
    assert plan.again.startswith("relay torture ")
    assert parse(plan.again) == plan


def test_a_new_seed_is_another_one() -> None:
    seeds = {new_seed() for _ in range(20)}
    assert len(seeds) > 1
    assert all(0 <= seed < 1_000_000 for seed in seeds)


def test_every_fault_can_be_done_and_no_other() -> None:
    assert set(FAULTS) == nemesis._NODE.keys() | nemesis._SERVER.keys()
    assert not nemesis._NODE.keys() & nemesis._SERVER.keys()


def test_help_names_every_fault() -> None:
    option = torture.__annotations__["fault"].__metadata__[0]
    listed = re.search(r"commas: ([^;]+);", option.help)
    assert listed
    assert [word.strip() for word in listed[1].split(",")] == list(FAULTS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fault", "kil"], "--fault knows"),
        (["--seconds", "0"], "--seconds must be between"),
        (["--server", "nowhere"], "--server must be host:port"),
        (["--seed", "abc"], "--seed"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["torture", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert complaint in error
    assert len(error.splitlines()) == 1
