"""Tests of `make coverage`: it judges branches alone, and counts killed processes up to their last save."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from coverage import CoverageData
from coverage.exceptions import DataError

from tests.support import measured
from tests.support.process import own_environment, wait_until
from tests.support.rows import each_row
from tools import branches

ROOT = Path(__file__).parents[2]

SETTINGS = """
[run]
branch = true
parallel = true
source_dirs = {folder}
data_file = {folder}/data
plugins = tests.support.measured
"""
# The program creates a file to show that it runs, and never ends by itself.
PROGRAM = """
import pathlib, signal, sys

def work():
    pathlib.Path(sys.argv[1]).touch()
    signal.pause()

work()
"""
PAUSE_LINE = 6


def summary(lines: tuple[int, int], of_branches: tuple[int, int]) -> dict[str, dict[str, int]]:
    figures = zip(
        ("covered_lines", "num_statements", "covered_branches", "num_branches"), lines + of_branches, strict=True
    )
    return {"summary": dict(figures)}


@pytest.mark.parametrize(("taken", "status", "share"), [(95, 0, "95.0"), (94, 1, "94.0"), (100, 0, "100.0")])
def test_the_branches_alone_decide(taken: int, status: int, share: str) -> None:
    told: list[str] = []
    files = {"relay/a.py": summary((990, 1000), (taken - 40, 50)), "cli/pairchat/b.py": summary((10, 10), (40, 50))}
    assert branches.judge({"files": files}, told.append) == status
    assert told[:2] == ["lines: 1,000 of 1,010, 99.0 %", f"branches: {taken} of 100, {share} %"]
    assert told[2:] == ["below the goal: 95 % of the branches"] * status


def test_only_the_product_counts() -> None:
    files = {"relay/a.py": summary((1, 1), (1, 2)), "tests/relay/test_a.py": summary((99, 99), (98, 98))}
    told: list[str] = []
    assert branches.judge({"files": files}, told.append) == 1
    assert "branches: 1 of 2, 50.0 %" in told


def test_nothing_measured_is_not_a_success() -> None:
    assert branches.judge({"files": {}}, lambda _: None) == 1


def test_data_that_a_kill_has_torn_are_dropped_and_the_rest_stays(tmp_path: Path) -> None:
    for name in ("data.whole", "data.torn"):
        kept = CoverageData(str(tmp_path / name))
        kept.add_arcs({f"/relay/{n}.py": [(line, line + 1) for line in range(200)] for n in range(50)})
        kept.close(force=True)
    (tmp_path / "data.empty").touch()
    torn = tmp_path / "data.torn"
    os.truncate(torn, torn.stat().st_size // 2)
    assert {file.name for file in branches.drop_torn(tmp_path / "data")} == {"data.torn", "data.empty"}
    assert [file.name for file in tmp_path.iterdir()] == ["data.whole"]


def test_a_process_that_is_killed_has_saved_what_it_ran(tmp_path: Path) -> None:
    program, settings = tmp_path / "program.py", tmp_path / "settings"
    program.write_text(PROGRAM)
    settings.write_text(SETTINGS.format(folder=tmp_path))
    environment = {key: value for key, value in own_environment().items() if not key.startswith("COVERAGE_")}
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", str(program), str(tmp_path / "runs")]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            wait_until((tmp_path / "runs").exists, "it runs")
            wait_until(lambda: PAUSE_LINE in saved(tmp_path), "what it ran is saved")
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert PAUSE_LINE in saved(tmp_path)


def saved(folder: Path) -> set[int]:
    """Return the saved lines of the program. It reads a copy of the data, because a reader would block the writer."""
    lines: set[int] = set()
    for file in folder.glob("data.*"):
        copy = folder / "copy"
        shutil.copyfile(file, copy)
        data = CoverageData(str(copy), read_only=True)
        with suppress(DataError):  # it was being written
            data.read()
            lines |= set(data.lines(str(folder / "program.py")) or [])
        data.close(force=True)
    return lines


@each_row(
    ("argv", "of_tests"),
    [
        (["python", "-m", "coverage", "run", "-m", "pytest", "-n", "3"], True),
        (["python", "-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"], True),
        (["python", "-P", "/a/tests/cli/children.py", "18"], True),
        (["python", "-m", "relay", "node", "--port", "0"], False),
        (["python", "-P", "/a/relay/child.py", "bind", "1", "python", "-m", "relay"], False),
    ],
)
def test_only_processes_of_the_product_save_as_they_go(argv: list[str], of_tests: bool) -> None:
    assert measured.belongs_to_tests(argv) is of_tests
