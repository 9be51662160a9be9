"""Runs Autobahn's cases against a WebSocket server, and prints a JSON line for each: `python -m … URL [pattern …]`.

It is a process of its own, because kosoku changes modules of the library for cases that were written for Python 2.
"""

import asyncio
import json
import sys

import kosoku

# Compression: a node negotiates none.
LEFT_OUT = ["12.*", "13.*"]
AT_ONCE = 4


def main(url: str, cases: list[str]) -> None:
    try:
        results = asyncio.run(kosoku.run_fuzzingclient(url, cases or None, LEFT_OUT, AT_ONCE))
    except kosoku.FailureError as failure:
        results = failure.results
    for result in results:
        print(
            json.dumps(
                {
                    "case": result.case_id,
                    "behavior": result.behavior.value,
                    "close": result.behavior_close.value,
                    "result": result.result,
                    "result_close": result.result_close,
                    "expected": repr(result.expected),
                    "received": repr(result.received)[:500],
                    "remote_code": result.remote_close_code,
                    "unclean": result.was_not_clean_reason,
                    "ms": result.duration,
                }
            )
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
