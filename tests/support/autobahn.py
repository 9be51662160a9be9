"""Runs Autobahn's cases against a WebSocket server, and prints a JSON line for each: `python -m … URL`.

It is a process of its own, because kosoku changes modules of the library for cases that were written for Python 2.

A case waits for a second or so, and fails if the machine had no turn for the server in that time. So one that fails is
run again by itself, and counts as failed if it fails each time: what a server does wrong it does wrong again.
"""

import asyncio
import json
import sys
from typing import Any, Final

import kosoku

# Compression: a node negotiates none.
LEFT_OUT: Final = ["12.*", "13.*"]
# Many of the cases only wait.
AT_ONCE: Final = 4
ROUNDS: Final = 6


def run(url: str, cases: list[str] | None, at_once: int) -> dict[str, Any]:
    """The result of each case by its number."""
    try:
        results = asyncio.run(kosoku.run_fuzzingclient(url, cases, LEFT_OUT, at_once))
    except kosoku.FailureError as failure:
        results = failure.results
    return {one.case_id: one for one in results}


def main(url: str) -> None:
    found = run(url, None, AT_ONCE)
    for _ in range(ROUNDS):
        failed = [case for case, one in found.items() if not one.passed]
        if not failed:
            break
        found |= run(url, failed, 1)
    for one in found.values():
        told = {"case": one.case_id, "behavior": one.behavior.value, "close": one.behavior_close.value}
        why = {"result": one.result, "expected": repr(one.expected), "received": repr(one.received)[:500]}
        print(json.dumps(told | why | {"code": one.remote_close_code, "unclean": one.was_not_clean_reason}))


if __name__ == "__main__":
    main(sys.argv[1])
