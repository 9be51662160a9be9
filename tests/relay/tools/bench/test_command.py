"""`relay bench` as its user sees it in a terminal."""

import sys
from collections.abc import Callable

import pytest

from relay import cli
from relay.configuration.config import StartError
from relay.tools.bench import coordinator
from relay.tools.bench.run_settings import RunSettings


@pytest.mark.parametrize("as_json", [False, True])
def test_progress_is_one_line_of_a_terminal_which_is_empty_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    async def run(settings: RunSettings, tell: Callable[[str], None]) -> None:
        tell("all met in 0.1 s")
        raise StartError("the node is gone")

    monkeypatch.setattr(coordinator, "run", run)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.run(["bench", *["--json"][:as_json]]) == 1
    shown = "" if as_json else "\r\x1b[Kall met in 0.1 s\r\x1b[K"
    assert capsys.readouterr() == ("", f"{shown}relay: the node is gone\n")
