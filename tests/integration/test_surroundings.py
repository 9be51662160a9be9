"""The environment of a command: closed descriptors, ignored signals, a full disk, a deleted folder."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.integration.conftest import StartNode
from tests.support.node import LAUNCH, START_PATIENCE, Node
from tests.support.process import PATIENCE, Process, descendants, own_environment, runs, wait_until
from tests.support.server import RedisServer

RELAY = shlex.join(LAUNCH)
UP = "Ctrl-C ends everything"


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script, in which $RELAY is the command, and return its result."""
    return subprocess.run(
        ["sh", "-c", script],
        env=own_environment() | {"RELAY": RELAY},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def started(script: str, output: Path, line: str = "listening") -> Process:
    """Start a shell that becomes the command, and return once the line is printed."""
    process = Process(["sh", "-c", script.replace("$RELAY", RELAY)], output)
    try:
        process.wait_for_line(line, START_PATIENCE)
    except BaseException:
        process.kill()
        raise
    return process


@pytest.fixture
def node(start_node: StartNode) -> Node:
    return start_node()


@pytest.fixture
def url_words(redis_server: RedisServer, prefix: str) -> str:
    return f"--redis {redis_server.url} --prefix {prefix}"


class TestClosedDescriptors:
    @pytest.mark.parametrize(
        ("command", "closed"),
        [("node", "<&-"), ("node", ">&- 2>&-"), ("node --workers 2", "<&- >&- 2>&-"), ("up", "<&- >&- 2>&-")],
    )
    def test_a_node_serves_and_ends_as_ever(
        self,
        command: str,
        closed: str,
        tmp_path: Path,
        redis_server: RedisServer,
        redis_store: redis.Redis,
        prefix: str,
    ) -> None:
        """Its log may go nowhere, so Redis shows that it serves."""
        words = f"exec $RELAY {command} --port 0 --redis {redis_server.url} --prefix {prefix}"
        script = f"{words} {closed}".replace("$RELAY", RELAY)
        with Process(["sh", "-c", script], tmp_path / "log") as process:
            nodes = 1 if command == "node" else 2
            wait_until(lambda: redis_store.hlen(f"{prefix}:nodes") == nodes, "all serve", START_PATIENCE)
            process.terminate()
            assert process.wait() == 0
            assert "Traceback" not in process.text()
            assert "Assertion" not in process.text()

    @pytest.mark.parametrize("closed", ["<&-", "2>&-"])
    def test_status_answers_with_a_closed_descriptor(
        self, closed: str, tmp_path: Path, node: Node, url_words: str
    ) -> None:
        done = shell(f"$RELAY status --json {url_words} {closed}", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert node.name in done.stdout

    def test_a_complaint_stays_out_of_everything_else(self, tmp_path: Path) -> None:
        done = shell("$RELAY node --prot 1 2>&-", tmp_path)
        assert (done.returncode, done.stdout) == (2, "")


class TestAFullDisk:
    @pytest.mark.parametrize(
        "command", ["--version", "--help", "status URL", "status --json URL", "top --interval 0.1 URL"]
    )
    def test_output_that_is_lost_is_one_line_and_status_1(
        self, command: str, tmp_path: Path, node: Node, url_words: str
    ) -> None:
        assert node.alive
        done = shell(f"$RELAY {command.replace('URL', url_words)} >/dev/full", tmp_path)
        assert done.returncode == 1
        assert done.stderr == "relay: standard output can't be written: No space left on device\n"

    def test_a_drain_that_can_not_write_its_answer_has_drained_the_node(
        self, tmp_path: Path, node: Node, url_words: str
    ) -> None:
        done = shell(f"$RELAY drain {node.name} {url_words} >/dev/full", tmp_path)
        assert done.returncode == 1
        assert node.wait() == 0

    def test_a_cluster_goes_on(self, tmp_path: Path) -> None:
        with started("exec $RELAY up --port 0 >/dev/full", tmp_path / "log", "can't show how to connect") as process:
            process.terminate()
            assert process.wait() == 0
            assert "Traceback" not in process.text()

    def test_a_log_that_is_lost_changes_no_status(
        self, tmp_path: Path, redis_server: RedisServer, redis_store: redis.Redis, prefix: str
    ) -> None:
        words = f"exec {RELAY} node --port 0 --redis {redis_server.url} --prefix {prefix} 2>/dev/full"
        with Process(["sh", "-c", words], tmp_path / "log") as process:
            wait_until(lambda: redis_store.hlen(f"{prefix}:nodes") == 1, "it serves", START_PATIENCE)
            process.terminate()
            assert process.wait() == 0
        assert shell("$RELAY node --prot 1 2>/dev/full", tmp_path).returncode == 2


class TestAReaderThatHasHadEnough:
    @pytest.mark.parametrize("command", ["--version", "--help", "status URL", "top --interval 0.1 URL"])
    def test_a_reader_that_ends_before_the_first_line_ends_a_command_quietly_with_status_1(
        self, command: str, tmp_path: Path, node: Node, url_words: str
    ) -> None:
        """The reader ends before the first line."""
        assert node.alive
        words = f"{RELAY} {command.replace('URL', url_words)}"
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as output:
            done = subprocess.run(
                ["sh", "-c", words],
                env=own_environment(),
                cwd=tmp_path,
                stdout=output,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, b"")

    def test_a_reader_may_have_read_a_line_before_it_ends(self, tmp_path: Path, node: Node, url_words: str) -> None:
        assert node.alive
        done = shell(f"({{ $RELAY top --interval 0.1 {url_words}; echo $? >&2; }} | head -1) 2>log; cat log", tmp_path)
        assert done.stdout.splitlines()[1:] == ["1"]


def test_a_log_that_nobody_reads_holds_no_cluster_up(tmp_path: Path) -> None:
    """Its nodes' lines go through the parent, which must receive its signals all the time."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    command = [*LAUNCH, "up", "--port", "0"]
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=writer, env=own_environment())
    try:
        wait_until(lambda: UP in (tmp_path / "out").read_text(), "it is up", START_PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


class TestIgnoredSignals:
    @pytest.mark.parametrize("command", ["node", "node --workers 2", "up"])
    def test_a_signal_that_was_ignored_at_the_start_ends_nothing(
        self, command: str, tmp_path: Path, redis_server: RedisServer, prefix: str
    ) -> None:
        """This is `relay node &` under `nohup` in a script."""
        words = f"{command} --port 0 --redis {redis_server.url} --prefix {prefix}"
        with started(f"trap '' HUP INT; exec $RELAY {words}", tmp_path / "log") as process:
            nodes = 1 if command == "node" else 2
            wait_until(lambda: process.text().count(" listening ") == nodes, "all listen", START_PATIENCE)
            everyone = [process.pid, *descendants(process.pid)]
            for pid in everyone:  # a terminal that closes signals all of them
                os.kill(pid, signal.SIGHUP)
                os.kill(pid, signal.SIGINT)
            assert shell(f"$RELAY status --redis {redis_server.url} --prefix {prefix}", tmp_path).returncode == 0
            assert all(map(runs, everyone))
            assert "draining" not in process.text()
            process.terminate()
            assert process.wait() == 0

    def test_files_are_read_again_all_the_same(self, tmp_path: Path, redis_server: RedisServer, prefix: str) -> None:
        (tmp_path / "secret").write_text("s" * 64)
        words = f"--port 0 --redis {redis_server.url} --prefix {prefix} --auth-jwt-key {tmp_path / 'secret'}"
        with started(f"trap '' HUP; exec $RELAY node --workers 2 {words}", tmp_path / "log") as process:
            wait_until(lambda: process.text().count(" listening ") == 2, "both listen", START_PATIENCE)
            process.hang_up()
            wait_until(lambda: process.text().count(" reloaded ") == 2, "both have read it again")


def test_the_log_of_a_command_is_no_part_of_its_answer(tmp_path: Path) -> None:
    script = (
        "from relay import cli; import structlog; cli.run = lambda _: structlog.get_logger().error('x'); cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.stdout, done.stderr.count("error x")) == ("", 1)


def test_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = f"cd {tmp_path / 'gone'} && rmdir {tmp_path / 'gone'} && exec $RELAY up --port 0"
    with started(script, tmp_path / "log", UP) as process:
        process.terminate()
        assert process.wait() == 0
        assert "Traceback" not in process.text()


@pytest.mark.parametrize("command", ["--help", "node --help", "status --help", "torture --help"])
def test_in_a_locale_that_lacks_letters(command: str, tmp_path: Path) -> None:
    """`LC_ALL=de_DE.ISO-8859-1` sets the same, but would have to be installed."""
    for encoding in ("iso8859-1:strict", "ascii:strict"):
        done = shell(f"PYTHONIOENCODING={encoding} $RELAY {command}", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_without_a_home_or_a_name_of_the_user(tmp_path: Path) -> None:
    script = f"exec env -u HOME -u USER -u LOGNAME {RELAY} up --port 0"
    with started(script, tmp_path / "log", UP) as process:
        process.terminate()
        assert process.wait() == 0


class TestANameThatHangs:
    """A resolver that doesn't answer must not delay the end of a command."""

    @pytest.fixture
    def hangs(self, tmp_path: Path) -> Path:
        """A command whose resolver never answers for `slow.example`."""
        script = tmp_path / "hangs.py"
        script.write_text(
            "import socket, sys, time\n"
            "ask = socket.getaddrinfo\n"
            "def hang(host, *rest, **more):\n"
            "    if host == 'slow.example':\n"
            "        print('asked', file=sys.stderr, flush=True)\n"
            "        time.sleep(600)\n"
            "    return ask(host, *rest, **more)\n"
            "socket.getaddrinfo = hang\n"
            "from relay.cli import main\n"
            "main()\n"
        )
        return script

    @pytest.mark.parametrize(
        ("command", "number"),
        [
            ("node", signal.SIGTERM),
            ("node", signal.SIGINT),
            ("node --workers 2", signal.SIGTERM),
            ("up", signal.SIGINT),
        ],
    )
    def test_a_node_can_be_ended(self, command: str, number: signal.Signals, tmp_path: Path, hangs: Path) -> None:
        words = [sys.executable, str(hangs), *command.split(), "--host", "slow.example", "--port", "0"]
        with Process(words, tmp_path / "log") as process:
            process.wait_for_line("asked", START_PATIENCE)
            began = time.monotonic()
            os.kill(process.pid, number)
            assert process.wait() == 0
            assert time.monotonic() - began < PATIENCE
            assert process.text() == "asked\n"

    def test_a_run_against_a_name_that_hangs_can_be_ended(self, tmp_path: Path, hangs: Path) -> None:
        words = [sys.executable, str(hangs), "torture", "--server", "slow.example:1"]
        with Process(words, tmp_path / "log") as process:
            process.wait_for_line("asked", START_PATIENCE)
            process.interrupt()
            assert process.wait() == 130
            assert "Traceback" not in process.text()


class TestTheEmbeddedServer:
    @pytest.mark.parametrize("command", ["node", "up"])
    def test_its_end_is_said_and_is_the_end(self, command: str, tmp_path: Path) -> None:
        with started(f"exec $RELAY {command} --port 0 --drain 0", tmp_path / "log") as process:
            if command == "up":
                process.wait_for_line(UP, START_PATIENCE)
            found = re.search(r"embedded server started.* pid=(\d+)", process.text())
            assert found
            os.kill(int(found[1]), signal.SIGKILL)
            process.wait_for_line("error embedded server ended by itself, ending")
            assert process.wait(START_PATIENCE) == 1
            assert process.text().splitlines()[-1] == "relay: the embedded server ended by itself (status -9)"
            assert "Traceback" not in process.text()


def test_top_in_a_pipe_shows_one_look_after_another(tmp_path: Path, node: Node, url_words: str) -> None:
    with started(f"exec $RELAY top --interval 0.1 {url_words}", tmp_path / "log", node.name) as process:
        wait_until(lambda: process.text().count(node.name) > 1, "it looks again")
        process.terminate()
        assert process.wait() == 0
        assert "\x1b" not in process.text()


@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("command", ["node", "node --workers 2"])
def test_a_service_manager_is_told_when_it_serves_reads_again_and_ends(
    command: str, files: bool, tmp_path: Path, url_words: str
) -> None:
    """The process that it started reports once, and no worker does. A SIGHUP without files ends nothing."""
    (tmp_path / "secret").write_text("s" * 64)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(START_PATIENCE)
        words = f"{command} --port 0 {url_words}" + (f" --auth-jwt-key {tmp_path / 'secret'}" if files else "")
        with started(f"NOTIFY_SOCKET={tmp_path / 'notify'} exec $RELAY {words}", tmp_path / "log") as process:
            assert manager.recv(1024).startswith(b"READY=1\n")
            assert process.text().count(" listening ") == (1 if command == "node" else 2)
            process.hang_up()
            assert manager.recv(1024).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(1024).startswith(b"READY=1\n")
            assert ("there are no files to read again" in process.text()) is not files
            process.terminate()
            assert manager.recv(1024).startswith(b"STOPPING=1\n")
            assert process.wait() == 0
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(1024)
