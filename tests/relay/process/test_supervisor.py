"""Several nodes on one machine: their settings from one set of options, and their output."""

import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.abc
import pytest

from relay.configuration.config import Config, ConfigError, StartError
from relay.process import supervisor, systemd_notify

# private: each is a step of a program that runs until it is stopped
from relay.process.supervisor import _client_command, _lines, plan, plan_workers


def test_every_port_counts_up_from_node_to_node() -> None:
    first = Config(port=9999, classic_port=7000, http_port=9100)
    ports = [(config.port, config.classic_port, config.http_port) for config in plan(first, 3)]
    assert ports == [(9999, 7000, 9100), (10000, 7001, 9101), (10001, 7002, 9102)]


def test_free_ports_and_absent_ones_stay_so() -> None:
    first = Config(port=0, classic_port=0, http_port=None)
    assert {(config.port, config.classic_port, config.http_port) for config in plan(first, 3)} == {(0, 0, None)}


def test_everything_else_is_shared() -> None:
    first = Config(prefix="other", lease=2.0, grace=9.0, max_line=128, host="::1")
    for config in plan(first, 2):
        shared = (config.prefix, config.lease, config.grace, config.max_line, config.host)
        assert shared == ("other", 2.0, 9.0, 128, "::1")


def test_names_are_short_on_a_server_of_their_own() -> None:
    assert [config.name for config in plan(Config(), 2)] == ["n1", "n2"]


def test_names_are_unique_on_a_server_that_others_may_use() -> None:
    first, second = (plan(Config(redis="redis://shared"), 2) for _ in range(2))
    assert len({config.name for config in (*first, *second)}) == 4


@pytest.mark.parametrize("nodes", [0, -1, 65])
def test_a_count_that_cannot_work_is_refused(nodes: int) -> None:
    with pytest.raises(ConfigError, match=f"--nodes must be between 1 and 64, not {nodes}"):
        plan(Config(), nodes)


def test_ports_past_the_end_are_refused() -> None:
    with pytest.raises(ConfigError, match="--port must be between 0 and 65535, not 65536"):
        plan(Config(port=65_535), 2)


class TestWorkers:
    def test_workers_share_the_ports_for_clients_and_have_http_ports_of_their_own(self) -> None:
        node = Config(name="n", port=9999, classic_port=7000, http_port=9100)
        workers = plan_workers(node, 2)
        assert [(w.port, w.classic_port, w.http_port) for w in workers] == [(9999, 7000, 9100), (9999, 7000, 9101)]
        assert all(worker.share_ports for worker in workers)

    def test_workers_have_names_of_their_own(self) -> None:
        assert [worker.name for worker in plan_workers(Config(name="n"), 2)] == ["n-w1", "n-w2"]

    @pytest.mark.parametrize("http_port", [0, None])
    def test_a_free_http_port_or_none_stays_so(self, http_port: int | None) -> None:
        assert {worker.http_port for worker in plan_workers(Config(http_port=http_port), 2)} == {http_port}

    @pytest.mark.parametrize("workers", [0, -1, 65])
    def test_a_count_that_cannot_work_is_refused(self, workers: int) -> None:
        with pytest.raises(ConfigError, match=f"--workers must be between 1 and 64, not {workers}"):
            plan_workers(Config(), workers)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"o", b"ne\nt", b"wo\n"], ["one", "two"]),
        ([b"one\nthe last word"], ["one", "the last word"]),
        ([b"\xff\n"], ["\\xff"]),
        ([], []),
    ],
)
async def test_the_output_of_a_node_is_read_in_lines_also_its_last_word_when_it_was_killed(
    chunks: list[bytes], lines: list[str]
) -> None:
    send, receive = anyio.create_memory_object_stream[bytes](len(chunks))
    with send:
        for chunk in chunks:
            send.send_nowait(chunk)

    async def found() -> AsyncIterator[str]:
        async with receive:
            async for line in _lines(receive):  # type: ignore[arg-type]
                yield line

    assert [line async for line in found()] == lines


@pytest.mark.parametrize("on_path", [True, False])
def test_the_client_is_named_so_that_it_can_be_typed(
    on_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is a path if `pairchat` is only beside the interpreter, as in an environment that isn't activated."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin") if on_path else "")
    assert _client_command() == "pairchat", "there is none"
    (tmp_path / "bin" / "pairchat").touch(mode=0o755)
    assert (shutil.which("pairchat") is not None) is on_path
    assert _client_command() == ("pairchat" if on_path else "bin/pairchat")


@pytest.mark.anyio
# private: the supervisor of real processes can't be made to fail so
async def test_a_worker_that_cannot_be_started_again_is_tried_again_while_the_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system may lack processes, memory or descriptors for a while."""
    monkeypatch.setattr(supervisor, "REPLACE_SECONDS", 0.0)
    cluster = supervisor._Cluster(plan_workers(Config(name="n"), 1), replacing=True)
    cluster._addresses["n-w1"] = "127.0.0.1:1"  # it has listened
    tries = list[str]()

    async def start(config: Config) -> None:
        tries.append(config.name)
        if len(tries) == 3:
            cluster._stopping = True
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "_start", start)
    async with anyio.create_task_group() as tasks:
        await cluster._run_node(cluster._configs[0], tasks)
    assert tries == ["n-w1"] * 3
    assert not cluster.failed


@pytest.mark.anyio
# private: likewise
async def test_a_node_that_cannot_be_started_at_all_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = supervisor._Cluster(plan(Config(), 1), replacing=False)

    async def start(config: Config) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "_start", start)
    async with anyio.create_task_group() as tasks:
        await cluster._run_node(cluster._configs[0], tasks)
        tasks.cancel_scope.cancel()
    assert cluster.complaint == "node n1: can't be started: Resource temporarily unavailable"


# private: likewise
@pytest.mark.parametrize(
    ("end", "replacing", "status"), [((0, ""), False, 0), ((1, "it broke"), False, 1), ((-9, ""), True, 1)]
)
def test_the_status_is_that_of_a_cluster_that_ended_as_it_was_told_or_by_itself(
    end: tuple[int, str], replacing: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_once(cluster: supervisor._Cluster, config: Config) -> tuple[int, str]:
        if end[1]:
            cluster._addresses[config.name] = "127.0.0.1:1"  # it has listened
        return end

    monkeypatch.setattr(supervisor._Cluster, "_run_once", run_once)
    assert supervisor.run(plan(Config(redis="redis://127.0.0.1:1"), 1), replacing=replacing) == status


# private: likewise
def test_a_cluster_that_never_listened_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(config: Config) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "_start", start)
    with pytest.raises(StartError, match=r"^node \S+: can't be started: Resource temporarily unavailable$"):
        supervisor.run(plan(Config(redis="redis://127.0.0.1:1"), 1))


@pytest.mark.anyio
# private: likewise
async def test_a_worker_that_is_being_started_while_all_are_told_to_end_is_told_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = supervisor._Cluster(plan_workers(Config(name="n"), 1), replacing=True)

    async def start(config: Config) -> anyio.abc.Process:
        cluster._stopping = True
        return await anyio.open_process(["sleep", "600"], stderr=subprocess.PIPE)

    monkeypatch.setattr(supervisor, "_start", start)
    assert await cluster._run_once(cluster._configs[0]) == (-signal.SIGTERM, "")


# private: likewise
@pytest.mark.parametrize(("up", "told"), [(1, []), (2, ["reloading", "ready"])])
def test_the_service_manager_is_told_of_a_reload_unless_nodes_are_still_starting(
    up: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    monkeypatch.setattr(systemd_notify, "reloading", lambda: said.append("reloading"))
    monkeypatch.setattr(systemd_notify, "ready", lambda status: said.append("ready"))
    cluster = supervisor._Cluster(plan(Config(), 2), replacing=False)
    cluster._addresses = {str(number): "127.0.0.1:1" for number in range(up)}
    cluster._reload()
    assert said == told
