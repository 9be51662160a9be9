"""Report the code of relay/ and cli/ that no test reaches, and fail below the goal. `make coverage` runs it last.

The total of coverage.py adds lines and branches, and lines are many and easily run. So the goal is for branches alone:
each `if`, loop and `case` has at least two ways on, and a way that no test takes may not work.
"""

import json
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
MEASURED: Final = ("relay/", "cli/")
GOAL: Final = 95.0  # per cent of the branches in these folders


def main() -> int:
    """Combine the data of all processes, show the code that was not reached, and return the exit status."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]["run"]
    data = ROOT / settings["data_file"]
    if torn := list(drop_torn(data)):
        print(f"{len(torn)} of the processes were killed in the midst of saving: what those ran is not counted")
    _coverage("combine", "--quiet")
    _coverage("report", "--sort=-miss")
    report = data.with_suffix(".json")
    _coverage("json", "--quiet", "-o", str(report))
    return judge(json.loads(report.read_bytes()), print)


def _coverage(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=True)


def drop_torn(data: Path) -> Iterator[Path]:
    """Remove the data files that can't be read, because one of them makes coverage.py fail. Yields the removed files.

    Each file has the data of one process.
    """
    for file in sorted(data.parent.glob(f"{data.name}.*")):
        if not _whole(file):
            file.unlink()
            yield file


def _whole(file: Path) -> bool:
    """Return True if the file is a complete database."""
    connection = sqlite3.connect(file)
    try:
        [(told,)] = connection.execute("PRAGMA integrity_check").fetchall()
        return bool(told == "ok" and connection.execute("SELECT * FROM coverage_schema").fetchall())
    except (sqlite3.Error, ValueError):
        return False
    finally:
        connection.close()


def judge(report: dict[str, Any], tell: Callable[[str], None]) -> int:
    """Print the figures of coverage.py's JSON report. Returns 1 if the goal is missed or nothing was measured."""
    totals = [file["summary"] for name, file in report["files"].items() if name.startswith(MEASURED)]

    def share(what: str, covered: str, of: str) -> float:
        taken, there = (sum(summary[key] for summary in totals) for key in (covered, of))
        percent = 100 * taken / there if there else 0.0
        tell(f"{what}: {taken:,} of {there:,}, {percent:.1f} %")
        return percent

    share("lines", "covered_lines", "num_statements")
    percent = share("branches", "covered_branches", "num_branches")
    if percent < GOAL:
        tell(f"below the goal: {GOAL:g} % of the branches")
    return int(percent < GOAL)


if __name__ == "__main__":
    sys.exit(main())
