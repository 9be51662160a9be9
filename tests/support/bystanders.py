"""Pairs of programs that chat across two nodes at a steady rate, in a process of their own, until they are told to end.

    python -m tests.support.bystanders ADDRESS:PORT ADDRESS:PORT

Prints `ready` once they talk, and at SIGTERM a JSON list: of each message when it was said (the monotonic clock's time)
and how long it took, in seconds. Status 0 only if every message arrived, once and in order.
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
RATE = 20  # messages a second, of each
LONG = 3600.0  # seconds


class Bystanders(Process):
    """They talk from here on; a crowd in the test's own process doesn't hold them up."""

    def __init__(self, one: Node, two: Node, folder: Path) -> None:
        super().__init__([sys.executable, "-m", __name__, one.server, two.server], folder / "bystanders.txt")
        self.wait_for_line("ready")

    def stop(self) -> list[tuple[float, float]]:
        """What they print; an AssertionError if they missed anything."""
        self.terminate()
        assert self.wait() == 0, self.text()
        return [(said, delay) for said, delay in json.loads(self.text().splitlines()[-1])]


class Bystander(Program):
    """Notes when what it hears was said."""

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
    """What a command line says of a node."""
    host, _, port = word.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    anyio.run(main, address(sys.argv[1]), address(sys.argv[2]))
