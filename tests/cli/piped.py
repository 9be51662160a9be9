"""`pairchat` without a terminal."""

import signal
import subprocess
import sys
from typing import Any, Self

from tests.cli.home import Home
from tests.cli.scripted import PATIENCE


class Piped:
    """A running `pairchat`; its three streams are pipes unless the test says otherwise."""

    def __init__(self, *args: str, server: str, home: Home | None = None, **streams_and_variables: Any) -> None:
        variables = {key: value for key, value in streams_and_variables.items() if key.isupper()}
        streams = {key: value for key, value in streams_and_variables.items() if key not in variables}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.home = home or Home()
        environment = self.home.environment(server, **variables)
        command = [sys.executable, "-m", "pairchat", *args]
        self._child = subprocess.Popen(command, env=environment, **{**pipes, **streams})

    def type(self, data: bytes) -> None:
        assert self._child.stdin
        self._child.stdin.write(data)
        self._child.stdin.flush()

    def end_input(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.stdin = None  # communicate() must not flush it again

    def line(self) -> str:
        """The next line of its standard output."""
        assert self._child.stdout
        return str(self._child.stdout.readline(), "utf-8")

    def notice(self) -> str:
        """The next line of its standard error."""
        assert self._child.stderr
        return str(self._child.stderr.readline(), "utf-8").rstrip("\n")

    def stop_reading(self) -> None:
        """Close the reading end of its standard output."""
        assert self._child.stdout
        self._child.stdout.close()
        self._child.stdout = None

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def ended(self) -> tuple[int, str, list[str]]:
        """Exit status, what is left of its standard output, and the lines left of its standard error."""
        out, err = self._child.communicate(timeout=PATIENCE)
        assert b"Traceback" not in (err or b""), err.decode()
        return self._child.returncode, (out or b"").decode(), (err or b"").decode().splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()
        self.home.close()
