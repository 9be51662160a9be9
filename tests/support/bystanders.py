"""Pairs of programs that chat across two nodes at a steady rate, in their own process, until SIGTERM.

    python -m tests.support.bystanders ADDRESS:PORT ADDRESS:PORT

It prints `ready` once they talk, and at SIGTERM a JSON list with the time at which each message was sent (by the
monotonic clock) and its delay, in seconds. The exit status is 0 only if every message arrived once and in order.
"""

import json
import signal
import sys
import time
from pathlib import Path

import anyio

from tests.support.node import Address, Node
from tests.support.process import Process
from tests.support.swarm import Program, alive, couples

PAIRS = 10
RATE = 20  # messages a second from each program
LONG = 3600.0  # seconds


class Bystanders(Process):
    """The process of the bystanders, which talk once it is created. Load in the test's process doesn't delay them."""

    def __init__(self, one: Node, two: Node, folder: Path) -> None:
        super().__init__([sys.executable, "-m", __name__, one.server, two.server], folder / "bystanders.txt")
        self.wait_for_line("ready")

    def stop(self) -> list[tuple[float, float]]:
        """End them and return the list that they print. Raises AssertionError if a message was lost or out of order."""
        self.terminate()
        assert self.wait() == 0, self.text()
        return [(said, delay) for said, delay in json.loads(self.text().splitlines()[-1])]


class Bystander(Program):
    """A program that records when each message that it receives was sent."""

    heard_of: list[tuple[float, float]]

    def _message(self, frame: dict[str, object]) -> None:
        super()._message(frame)
        delay = self.delays[-1]
        self.heard_of.append((time.monotonic() - delay, delay))


async def main(one: Address, two: Address) -> None:
    """Talk until SIGTERM."""
    heard_of: list[tuple[float, float]] = []
    programs = couples(PAIRS, [one], [two])
    for n, program in enumerate(programs):
        program.__class__, program.name = Bystander, f"bystander{n}"
        program.heard_of = heard_of  # type: ignore[attr-defined]
    with anyio.open_signal_receiver(signal.SIGTERM) as told:
        async with alive(programs) as swarm:
            await swarm.pair_up()
            print("ready", flush=True)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(swarm.talk, RATE, LONG)
                async for _ in told:
                    break
                tasks.cancel_scope.cancel()
            await swarm.settle()
            swarm.check()
    print(json.dumps(heard_of), flush=True)


def address(word: str) -> Address:
    """Parse a node's address from the command line."""
    host, _, port = word.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    anyio.run(main, address(sys.argv[1]), address(sys.argv[2]))
