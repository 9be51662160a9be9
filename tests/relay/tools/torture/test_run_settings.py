"""The settings of `relay torture`."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from relay.cli import run
from relay.configuration.config import ConfigError, parse_server
from relay.tools.testbed.redis_kind import NODE_TIMEOUT, RedisKind
from relay.tools.torture import nemesis
from relay.tools.torture.command import torture
from relay.tools.torture.run_settings import FAULTS, FAULTS_OF, RunSettings, new_seed, parse_engine, parse_faults
from tests.support.certificates import Authority
from tests.support.rows import each_row


def settings_with(option: str, value: int) -> RunSettings:
    settings: dict[str, Any] = {option: value}
    return RunSettings(**settings)


@pytest.mark.parametrize(("option", "low", "high"), [("seconds", 1, 86_400), ("nodes", 1, 16), ("users", 2, 1000)])
def test_each_number_has_bounds(option: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(settings_with(option, value), option) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=f"--{option} must be between {low} and {high}, not {value}"):
            settings_with(option, value)


def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"--fault knows kill, term, .*, not 'kil'"):
        RunSettings(faults=("kill", "kil"))


def test_a_cluster_that_runs_already_is_not_broken() -> None:
    with pytest.raises(ConfigError, match="leave --server out"):
        RunSettings(servers=(("127.0.0.1", 9999),), faults=("kill",))


@each_row(
    ("text", "faults"),
    [
        ("all", tuple(fault for fault in FAULTS if fault not in ("failover", "isolate", "shard-freeze"))),
        ("none", ()),
        ("kill", ("kill",)),
        ("kill, redis-down", ("kill", "redis-down")),
        ("kill,,", ("kill",)),
    ],
)
def test_faults_are_listed_with_commas(text: str, faults: tuple[str, ...]) -> None:
    assert parse_faults(text) == faults


@pytest.mark.parametrize(
    ("engine", "more"), [(RedisKind.SENTINEL, ()), (RedisKind.CLUSTER, ("isolate", "shard-freeze"))]
)
def test_an_engine_has_faults_of_its_own(engine: RedisKind, more: tuple[str, ...]) -> None:
    faults = parse_faults("all", engine)
    assert faults == ("kill", "term", "pause", "failover", "switch", *more)
    assert RunSettings(engine=engine, faults=faults).faults == faults


@pytest.mark.parametrize("engine", RedisKind)
def test_a_fault_that_the_engine_has_not_is_refused_with_those_that_it_has(engine: RedisKind) -> None:
    for fault in FAULTS.keys() - set(FAULTS_OF[engine]):
        has = ", ".join(FAULTS_OF[engine])
        with pytest.raises(
            ConfigError, match=f"--fault {fault} isn't possible with --engine {engine}, which has {has}"
        ):
            RunSettings(engine=engine, faults=("kill", fault))


def test_every_fault_belongs_to_an_engine() -> None:
    assert {fault for faults in FAULTS_OF.values() for fault in faults} == set(FAULTS)


def test_an_engine_is_one_of_three() -> None:
    assert [parse_engine(text) for text in ("standalone", "sentinel", "cluster")] == list(RedisKind)
    with pytest.raises(ConfigError, match="--engine must be one of standalone, sentinel, cluster, not 'redis'"):
        parse_engine("redis")


def test_a_cluster_that_runs_already_has_the_engine_that_it_has() -> None:
    with pytest.raises(ConfigError, match="--engine needs a cluster of its own: leave --server out"):
        RunSettings(servers=(("127.0.0.1", 9999),), faults=(), engine=RedisKind.CLUSTER)


def test_recovery_may_take_a_failover_longer() -> None:
    usual, with_sentinels, with_cluster = (
        RunSettings(engine=engine, faults=()).recovery
        for engine in (RedisKind.STANDALONE, RedisKind.SENTINEL, RedisKind.CLUSTER)
    )
    assert usual < with_sentinels < with_cluster == usual + NODE_TIMEOUT + 5


def parse(command: str) -> RunSettings:
    """Return the settings of a printed command."""
    words = iter(shlex.split(command)[2:])
    options: dict[str, list[str]] = {}
    for word in words:
        options.setdefault(word, []).append("" if word in ("--tls", "--ws") else next(words))
    tls, ws, ca = "--tls" in options, "--ws" in options, options.pop("--ca", [None])[0]
    for word in ("--tls", "--ws"):
        options.pop(word, None)
    servers = tuple(parse_server("--server", text) for text in options.pop("--server", []))
    settings = {key.removeprefix("--"): values[0] for key, values in options.items()}
    engine = parse_engine(settings.pop("engine", "standalone"))
    faults = parse_faults(settings.pop("fault", "none"), engine)
    numbers = {key: float(value) if key == "seconds" else int(value) for key, value in settings.items()}
    return RunSettings(faults=faults, servers=servers, engine=engine, tls=tls, ws=ws, ca=ca, **numbers)  # type: ignore[arg-type]


@each_row(
    "settings",
    [
        RunSettings(seed=7),
        RunSettings(seconds=12.5, seed=123_456, faults=("kill", "slow"), nodes=2, users=10),
        RunSettings(faults=()),
        RunSettings(faults=("pause", "failover"), engine=RedisKind.CLUSTER),
        RunSettings(seconds=5, seed=1, faults=(), servers=(("127.0.0.1", 9999), ("::1", 10000))),
        RunSettings(tls=True, faults=("kill",)),
        RunSettings(tls=True, ws=True, faults=("kill",)),
    ],
)
def test_the_command_that_is_printed_repeats_the_settings(settings: RunSettings) -> None:
    assert settings.again.startswith("relay torture ")
    assert parse(settings.again) == settings


def test_the_command_that_is_printed_names_the_certificates(tmp_path: Path) -> None:
    file = Authority(tmp_path, "a name with spaces").file
    settings = RunSettings(tls=True, ca=str(file), faults=(), servers=(("127.0.0.1", 9999),))
    assert parse(settings.again) == settings


def test_a_new_seed_is_another_one() -> None:
    seeds = {new_seed() for _ in range(20)}
    assert len(seeds) > 1
    assert all(0 <= seed < 1_000_000 for seed in seeds)


# private: the tables themselves are what is tested
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
        (["--engine", "redis"], "--engine must be one of"),
        (["--engine", "cluster", "--fault", "partition"], "--fault partition isn't possible with --engine cluster"),
        (["--seconds", "0"], "--seconds must be between"),
        (["--server", "nowhere"], "--server must be host:port"),
        (["--seed", "abc"], "--seed"),
        (["--ca", "ca.pem", "--server", "a:1"], "--ca needs --tls and --server"),
        (["--ca", "ca.pem", "--tls"], "--ca needs --tls and --server"),
        (["--ca", "none.pem", "--tls", "--server", "a:1"], "--ca 'none.pem' can't be read: No such file or directory"),
        (
            ["--ca", "pyproject.toml", "--tls", "--server", "a:1"],
            "--ca 'pyproject.toml' can't be used: it holds no certificate in PEM",
        ),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["torture", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert complaint in error
    assert len(error.splitlines()) == 1
