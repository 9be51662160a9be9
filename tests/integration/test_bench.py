"""`relay bench` against real clusters: its counts agree, its output has the requested form, and Ctrl-C ends it."""

import json
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import StartNode
from tests.support.certificates import Authority
from tests.support.node import Node
from tests.support.process import Process, descendants, runs, wait_until

BENCH = [sys.executable, "-m", "relay", "bench", "--seconds", "1"]
PATIENCE = 60.0  # a whole run on a busy machine


def bench(folder: Path, *options: str) -> tuple[int, str]:
    process = Process([*BENCH, *options], folder / "bench.log")
    status = process.wait(PATIENCE)
    print(process.text())
    return status, process.text()


def servers(*nodes: Node) -> list[str]:
    return [word for node in nodes for word in ("--server", node.server)]


@pytest.mark.parametrize(
    "options",
    [
        ["--in-flight", "16", "--processes", "2"],
        ["--acks", "--in-flight", "200"],
        ["--dialect", "text", "--in-flight", "4"],
        ["--rate", "300"],
        ["--ws", "--acks", "--in-flight", "200"],
    ],
    ids=" ".join,
)
def test_every_message_is_counted_once(nodes: list[Node], tmp_path: Path, options: list[str]) -> None:
    status, out = bench(tmp_path, *servers(*nodes[:2]), "--pairs", "6", "--json", *options)
    result: dict[str, Any] = json.loads(out)  # one object, and nothing else
    assert status == 0
    assert result["sent"] == result["delivered"] > 0
    assert (result["lost"], result["unconfirmed"], result["unanswered"], result["errors"]) == (0, 0, 0, {})
    assert 0 < result["rate"] * result["seconds"] < result["sent"] * 1.05
    latency = list(result["latency"].values())
    assert latency == sorted(latency)
    assert latency[0] > 0
    assert len(result["servers"]) == 2


def test_without_a_server_bench_has_a_cluster_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    status, out = bench(tmp_path, "--pairs", "2")
    assert status == 0
    assert re.search(
        r"^json, acks by nodes; 2 pairs on 127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+; 1 in flight, 1 s$", out, re.M
    )
    assert re.search(r"^[\d,]+ messages/s$", out, re.M)
    assert re.search(r"^latency: p50 \S+ ms, p90 \S+ ms, p99 \S+ ms, p99\.9 ", out, re.M)
    assert re.search(r"lost 0, unconfirmed 0, unanswered 0$", out, re.M)
    assert "\r" not in out  # a progress line is for terminals


# --- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_cluster_with_tls_is_measured(start_node: StartNode, authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue("node")
    nodes = [start_node(tls_cert=cert, tls_key=key) for _ in range(2)]
    options = ["--tls", "--ca", str(authority.file), "--pairs", "4", "--processes", "2", "--json"]
    status, out = bench(tmp_path, *servers(*nodes), *options)
    result: dict[str, Any] = json.loads(out)
    assert (status, result["tls"], result["lost"], result["errors"]) == (0, True, 0, {})
    assert result["sent"] == result["delivered"] > 0


def test_the_cluster_of_a_benchmark_serves_tls(tmp_path: Path) -> None:
    status, out = bench(tmp_path, "--tls", "--pairs", "2", "--dialect", "text")
    assert status == 0
    assert out.startswith("text, TLS; 2 pairs on ")


@pytest.mark.parametrize("tls", [True, False], ids=["another authority's", "no TLS"])
def test_a_node_that_is_not_trusted_is_one_line_and_a_status(
    start_node: StartNode, authority: Authority, tmp_path: Path, tls: bool
) -> None:
    cert, key = Authority(tmp_path, "other").issue("node")
    node = start_node(**({"tls_cert": cert, "tls_key": key} if tls else {}))
    status, out = bench(tmp_path, *servers(node), "--tls", "--ca", str(authority.file), "--pairs", "2")
    assert status == 1
    assert re.fullmatch(r"relay: [^\n]*\n", out)
    assert ("certificate verify failed" in out) is tls


def test_ctrl_c_ends_bench_and_all_its_processes(tmp_path: Path) -> None:
    process = Process(["setsid", *BENCH, "--seconds", "600", "--pairs", "2"], tmp_path / "bench.log")
    try:
        # There are the cluster's supervisor, its server, two nodes, and at least one worker.
        wait_until(lambda: len(descendants(process.pid)) >= 5, "cluster and worker are there", PATIENCE)
        members = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # a terminal signals the whole group
        assert process.wait(PATIENCE) == 130
        wait_until(lambda: not any(map(runs, members)), "all of them are gone")
        assert process.text() == ""
    finally:
        process.kill()


def test_a_node_that_dies_shows(start_node: StartNode, tmp_path: Path) -> None:
    nodes = start_node(), start_node()
    process = Process([*BENCH, *servers(*nodes), "--seconds", "3", "--pairs", "4", "--json"], tmp_path / "bench.log")
    try:
        wait_until(lambda: nodes[0].client_sockets() == 4, "all users are there", PATIENCE)
        nodes[0].kill()
        assert process.wait(PATIENCE) == 1
    finally:
        process.kill()
    assert "Traceback" not in process.text()
    assert re.search(r"connection lost|no answer within|Connect call failed", process.text())


def test_nobody_there_is_one_line_and_a_status(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    status, out = bench(tmp_path, "--server", f"127.0.0.1:{port}")
    assert status == 1
    assert re.fullmatch(r"relay: [^\n]*\n", out)
