"""`relay torture` as its users run it. test_torture_proof.py tests that it notices a missing safeguard."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from relay.tools.testbed.redis_kind import RedisKind
from relay.tools.torture.run_settings import FAULTS_OF, REPLACING
from tests.integration.conftest import StartNode, Torture
from tests.support.certificates import Authority
from tests.support.party import GRACE, LEASE, Party
from tests.support.process import descendants, runs, wait_until
from tests.support.server import RedisServer

AFTER_SECONDS = 60.0  # seconds for start, quiet and check, on a busy machine
MEMBERS = 4  # three nodes and the server
SOON = 5.0  # seconds
WHY = "unable to get local issuer certificate"  # OpenSSL's message


def check_clean(text: str, seed: int) -> None:
    """Check the report of a clean run: the seed, the command to repeat it, counts, and no violation."""
    first, *_, summary, counts, last = text.splitlines()
    assert re.match(rf"torture with seed {seed}; again: relay torture --seed {seed} .*--fault \S+$", first)
    assert re.match(rf"seed {seed}, \d+ s, \d+ sessions; faults: \d+ \S+", summary)
    found = re.fullmatch(
        r"(\d+) messages said, (\d+) delivered, unconfirmed: .*; "
        r"0 lost, 0 doubled, 0 reordered, 0 misdelivered, 0 unreported",
        counts,
    )
    assert found, counts
    assert int(found[1]) >= int(found[2]) > 1000
    assert last == "clean"


@pytest.mark.timeout(120 + 2 * AFTER_SECONDS)
@pytest.mark.parametrize("seconds", [15, pytest.param(120, marks=pytest.mark.slow)])
def test_all_faults_break_no_promise(torture: Torture, logs: Path, seconds: int) -> None:
    run = torture("--seed", 4, "--seconds", seconds)
    status = run.wait(seconds + AFTER_SECONDS)
    assert status == 0, run.text()
    check_clean(run.text(), 4)
    assert f"--fault {','.join(FAULTS_OF[RedisKind.STANDALONE])}" in run.text()
    assert not list(logs.iterdir())


# --- the other engines

ENGINE_SECONDS = 40


@pytest.mark.slow
@pytest.mark.timeout(ENGINE_SECONDS + 2 * AFTER_SECONDS)
@pytest.mark.parametrize("engine", [RedisKind.SENTINEL, RedisKind.CLUSTER])
def test_the_ways_to_lose_a_primary_break_no_promise(torture: Torture, logs: Path, engine: RedisKind) -> None:
    faults = [fault for fault in FAULTS_OF[engine] if fault in REPLACING]
    run = torture("--engine", engine, "--seed", 1, "--seconds", ENGINE_SECONDS, "--fault", ",".join(faults))
    status = run.wait(ENGINE_SECONDS + AFTER_SECONDS)
    assert status == 0, run.text()
    check_clean(run.text(), 1)
    assert re.search(rf"; faults: .*\d+ ({'|'.join(faults)})", run.text())
    assert not list(logs.iterdir())


# --- TLS


@pytest.mark.timeout(2 * AFTER_SECONDS)
@pytest.mark.slow
def test_clients_that_speak_tls_see_the_same(torture: Torture, logs: Path) -> None:
    run = torture("--tls", "--seed", 7, "--seconds", 6, "--fault", "kill,term,pause")
    status = run.wait(6 + AFTER_SECONDS)
    assert status == 0, run.text()
    check_clean(run.text(), 7)
    assert "--seconds 6 --tls --nodes 3" in run.text()
    assert not list(logs.iterdir())


@pytest.mark.timeout(2 * AFTER_SECONDS)
def test_clients_that_come_over_websocket_and_tcp_by_turns_see_the_same(torture: Torture, logs: Path) -> None:
    run = torture("--ws", "--seed", 7, "--seconds", 6, "--fault", "kill,term,pause")
    status = run.wait(6 + AFTER_SECONDS)
    assert status == 0, run.text()
    check_clean(run.text(), 7)
    assert "--seconds 6 --ws --nodes 3" in run.text()
    assert not list(logs.iterdir())


def test_a_certificate_that_is_not_accepted_is_one_line(
    torture: Torture, start_node: StartNode, tmp_path: Path
) -> None:
    cert, key = Authority(tmp_path, "other").issue("node")
    node = start_node(tls_cert=cert, tls_key=key)
    server = node.server
    run = torture("--server", server, "--tls", "--ca", Authority(tmp_path).file, "--seconds", 1)
    assert run.wait(AFTER_SECONDS) == 1
    assert run.text().splitlines()[1:] == [f"relay: the certificate of {server} isn't accepted: {WHY}"]


# --- an end from outside


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_signal_ends_torture_takes_everything_with_it(
    torture: Torture, logs: Path, number: signal.Signals
) -> None:
    run = torture("--seed", 5, "--seconds", 600)
    run.wait_for_line("users in", patience=AFTER_SECONDS)
    members = descendants(run.pid)
    assert len(members) >= MEMBERS - 2  # the nemesis may have killed a node or the server a moment ago
    os.kill(run.pid, number)
    assert run.wait(SOON) == (130 if number is signal.SIGINT else -signal.SIGKILL)
    wait_until(lambda: not any(map(runs, members)), "nodes and server are gone", SOON)
    assert "Traceback" not in run.text()
    if number is signal.SIGINT:
        assert not list(logs.iterdir())


def test_a_server_that_does_not_start_leaves_the_log_that_the_error_names(
    torture: Torture, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exec echo 'Valkey server v=9.9.9'\necho no room\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    run = torture("--seed", 7)
    assert run.wait(AFTER_SECONDS) == 1
    named = re.search(r"doesn't start; see (\S+)$", run.text().strip())
    assert named, run.text()
    assert Path(named[1]).read_text() == "no room\n"
    assert logs in Path(named[1]).parents


# --- a running cluster


def test_a_cluster_that_runs_already_is_left_whole_and_clean(
    torture: Torture, redis_server: RedisServer, tmp_path: Path
) -> None:
    party = Party(tmp_path, redis_server.url, size=2)
    try:
        servers = [word for node in party.nodes for word in ("--server", node.server)]
        run = torture(*servers, "--seconds", 5, "--lease", LEASE, "--grace", GRACE, "--seed", 6, "--json")
        status = run.wait(5 + AFTER_SECONDS)
        told = json.loads(run.text())
        assert (status, told["clean"], told["violations"], told["faults"]) == (0, True, {}, {})
        assert told["delivered"] > 100
        assert told["again"].startswith("relay torture --seed 6 --seconds 5 --server ")
        party.check_nothing_is_left({f"t6{number}" for number in range(40)})
    finally:
        party.stop()
