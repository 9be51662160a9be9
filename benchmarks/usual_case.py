"""What the usual case saves: `python -m benchmarks.usual_case`.

Two nodes in one process, without sockets and without Redis, carry the messages of twenty pairs: once as they always do,
and once in the general way (`--general-way`), in turns. It prints the CPU that a message takes of both nodes together,
with what stands in for the network, which is the same for both. Figures of runs at different times don't compare. The
calls of the relay's own functions do: they are the same in each run.
"""

import gc
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import anyio
import structlog

import relay
from relay.session.runtime_interface import Limits
from tests.relay.desk import MAX_LINE, Wire
from tests.relay.twins import Twins

PAIRS: Final = 20
MESSAGES: Final = 50  # of each pair in a turn
TURNS: Final = 15
HELLO: Final = {
    "json": b'{"type":"hello","name":"%b"}\n',
    "json with its own acks": b'{"type":"hello","name":"%b","acks":true}\n',
    "text": b"%b\n",
}


def line(kind: str, id: int) -> bytes:
    """Return a message with this id."""
    text = b"x" * 60
    return text + b"\n" if kind == "text" else b'{"type":"msg","id":%d,"text":"%b"}\n' % (id, text)


async def meet(twins: Twins, kind: str) -> list[tuple[Wire, Wire]]:
    """Return pairs of clients on different nodes."""
    pairs = []
    for number in range(PAIRS):
        caller, callee = twins.wire(0), twins.wire(1)
        caller.send(HELLO[kind] % b"a%d" % number)
        callee.send(HELLO[kind] % b"b%d" % number)
        await twins.settle()
        caller.send(b"To:b%d\n" % number if kind == "text" else b'{"type":"to","name":"b%d"}\n' % number)
        await twins.settle()
        pairs.append((caller, callee))
    return pairs


async def turn(twins: Twins, kind: str, pairs: list[tuple[Wire, Wire]], first: int) -> float:
    """Return the seconds of CPU that a message takes. All have their acknowledgement at the end."""
    began = time.process_time()
    for id in range(first, first + MESSAGES):
        said, acked = line(kind, id), b'{"type":"ack","id":%d}\n' % id
        for caller, _ in pairs:
            caller.send(said)
        await twins.settle()
        if kind == "json with its own acks":
            for _, callee in pairs:
                callee.send(acked)
            await twins.settle()
    took = time.process_time() - began
    for wire in twins.wires:
        wire.writes.clear()
    return took / (MESSAGES * PAIRS)


async def calls(twins: Twins, kind: str, pairs: list[tuple[Wire, Wire]], first: int, *, usual: bool) -> float:
    """Return how many of the relay's own functions a message calls."""
    count, ours = 0, str(Path(relay.__file__).parent)

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(ours)

    twins.take_the_usual_case(usual)
    sys.setprofile(note)
    await turn(twins, kind, pairs, first)
    sys.setprofile(None)
    return count / (MESSAGES * PAIRS)


async def measure(kind: str) -> tuple[float, float, float, float]:
    """Return the median of the seconds a message takes, and its calls: in the usual case, and in the general way."""
    async with Twins(Limits(), MAX_LINE) as twins:
        pairs = await meet(twins, kind)
        gc.freeze()
        took: dict[bool, list[float]] = {True: [], False: []}
        for number in range(2 * TURNS):
            usual = number % 2 == 0
            twins.take_the_usual_case(usual)
            took[usual].append(await turn(twins, kind, pairs, 1 + number * MESSAGES))
        turns = 2 * TURNS
        few = await calls(twins, kind, pairs, 1 + turns * MESSAGES, usual=True)
        many = await calls(twins, kind, pairs, 1 + (turns + 1) * MESSAGES, usual=False)
        return statistics.median(took[True]), statistics.median(took[False]), few, many


def main() -> None:
    """Print a line for each kind of clients."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    for kind in HELLO:
        usual, general, few, many = anyio.run(partial(measure, kind))
        print(
            f"{kind}: {general * 1e6:.1f} µs and {many:.1f} calls in the general way, {usual * 1e6:.1f} µs and "
            f"{few:.1f} calls in the usual case, saved {(general - usual) * 1e6:.1f} µs"
        )


if __name__ == "__main__":
    main()
