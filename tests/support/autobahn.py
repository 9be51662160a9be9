"""Runs Autobahn's cases against a WebSocket server, and prints a JSON line for each: `python -m … URL [pattern …]`.

It is a process of its own, because kosoku changes modules of the library for cases that were written for Python 2.
"""

import asyncio
import json
import sys
from typing import Final

import kosoku

# Compression: a node negotiates none.
LEFT_OUT: Final = ["12.*", "13.*"]
# Many of the cases only wait.
AT_ONCE: Final = 4


def main(url: str, cases: list[str]) -> None:
    try:
        results = asyncio.run(kosoku.run_fuzzingclient(url, cases or None, LEFT_OUT, AT_ONCE))
    except kosoku.FailureError as failure:
        results = failure.results
    for one in results:
        told = {"case": one.case_id, "behavior": one.behavior.value, "close": one.behavior_close.value}
        why = {"result": one.result, "expected": repr(one.expected), "received": repr(one.received)[:500]}
        print(json.dumps(told | why | {"code": one.remote_close_code, "unclean": one.was_not_clean_reason}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
