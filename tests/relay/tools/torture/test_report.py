"""The report of `relay torture`."""

import json

from relay.tools.torture import report
from relay.tools.torture.checker import RULES, Verdict
from relay.tools.torture.run_settings import RunSettings
from relay.tools.torture.single_run import Result

SETTINGS = RunSettings(seconds=20, seed=7, faults=("kill",))
CLEAN = Result(
    SETTINGS, Verdict(said=500, delivered=480, unconfirmed={"quit": 5, "left": 12}), {"pause": 1, "kill": 3}, 61, 27.26
)
BROKEN = Result(
    SETTINGS,
    Verdict({"lost": [f"ann/0/{n} is lost" for n in range(12)], "memory": ["node 1 grew"]}, 500, 400),
    {},
    60,
    30.0,
    "/var/tmp/logs",
)


def test_a_clean_run_is_three_lines() -> None:
    assert list(report.lines(CLEAN)) == [
        "seed 7, 27 s, 61 sessions; faults: 3 kill, 1 pause",
        "500 messages said, 480 delivered, unconfirmed: 12 left, 5 quit; "
        "0 lost, 0 doubled, 0 reordered, 0 misdelivered, 0 unreported",
        "clean",
    ]


def test_violations_are_counted_and_the_first_are_told() -> None:
    lines = list(report.lines(BROKEN))
    assert lines[0] == "seed 7, 30 s, 60 sessions; faults: none"
    assert "unconfirmed: none; 12 lost, 0 doubled" in lines[1]
    assert lines[2] == "LOST: 12"
    assert lines[3:13] == [f"    ann/0/{n} is lost" for n in range(report.SHOWN)]
    assert lines[13] == "    and 2 more"
    assert lines[14:16] == ["MEMORY: 1", "    node 1 grew"]


def test_a_failure_names_the_logs_and_the_command_that_repeats_it() -> None:
    assert list(report.lines(BROKEN))[-1] == f"not clean; the nodes' logs are in /var/tmp/logs; again: {SETTINGS.again}"


def test_json_holds_the_whole_outcome() -> None:
    told = json.loads(report.as_json(BROKEN))
    assert told == {
        "seed": 7,
        "clean": False,
        "said": 500,
        "delivered": 400,
        "unconfirmed": {},
        **dict.fromkeys(RULES, 0),
        "lost": 12,
        "violations": BROKEN.verdict.violations,
        "faults": {},
        "sessions": 60,
        "seconds": 30.0,
        "again": SETTINGS.again,
        "logs": "/var/tmp/logs",
    }


def test_json_is_one_line() -> None:
    text = report.as_json(CLEAN)
    assert "\n" not in text
    told = json.loads(text)
    assert (told["clean"], told["seconds"], told["faults"]) == (True, 27.3, {"pause": 1, "kill": 3})
