"""The command line: `python -m simulator --seeds 100`, and `--seed 7 --trace` for one that failed."""

import argparse
import sys
from collections.abc import Sequence
from time import process_time

from simulator.harness.batch import carry_out, explain, pace
from simulator.harness.faults import KINDS
from simulator.harness.plan import ENGINES, Plan
from simulator.harness.run import run
from simulator.harness.shrink import shrink


def main(words: Sequence[str] | None = None) -> int:
    """Run what the command line says. Return 1 if anything fails."""
    options = _parser().parse_args(words)
    given = {
        "seconds": options.seconds,
        "engine": options.engine,
        "nodes": options.nodes,
        "users": options.users,
        "calm": options.calm,
        "only": _kinds(options.only),
        "without": _kinds(options.without),
    }
    if options.seed is not None:
        return _one(Plan(seed=options.seed, **given), trace=options.trace, smaller=options.shrink)
    print(f"seeds {options.first} to {options.first + options.seeds - 1}, engine {options.engine}", flush=True)
    plans = (Plan(seed=options.first + number, **given) for number in range(options.seeds))
    batch = carry_out(options.engine, plans, options.jobs, lambda line: print(line, flush=True))
    print("\n".join(batch.lines()))
    return 0 if batch.clean else 1


def _kinds(text: str) -> tuple[str, ...]:
    """Return the faults in a list such as `kill,pause`. Ends the process if there are no such faults."""
    kinds = tuple(filter(None, text.split(",")))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        sys.exit(f"python -m simulator: no such fault: {', '.join(unknown)}")
    return kinds


def _one(plan: Plan, *, trace: bool, smaller: bool) -> int:
    begun = process_time()
    outcome = run(plan, _tell if trace else None)
    speed = pace(outcome.seconds, process_time() - begun)
    if smaller and not outcome.clean:
        outcome = shrink(outcome, print)
    if not outcome.clean:
        print("\n".join(explain(outcome)))
    print(f"{'clean' if outcome.clean else 'not clean'}; {speed}; {outcome.events} events, hash {outcome.digest}")
    return 0 if outcome.clean else 1


def _tell(when: float, where: str, what: str) -> None:
    print(f"{when:12.6f} {where}: {what}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds to run (20)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    parser.add_argument("--shrink", action="store_true", help="with --seed: look for a smaller run that fails")
    parser.add_argument("--seconds", type=float, default=Plan().seconds, help="virtual seconds of faults (60)")
    parser.add_argument("--engine", choices=tuple(ENGINES), default="single", help="what the nodes use (single)")
    parser.add_argument("--nodes", type=int, default=Plan().nodes, help="how many nodes (3)")
    parser.add_argument("--users", type=int, default=Plan().users, help="how many people and programs (12)")
    parser.add_argument(
        "--calm", type=float, default=Plan().calm, help="how many times calmer people are than in torture"
    )
    parser.add_argument("--only", default="", help="the faults to have, instead of those that the seed draws")
    parser.add_argument("--without", default="", help=f"faults to leave out, of {', '.join(KINDS)}")
    parser.add_argument("--jobs", type=int, default=1, help="how many seeds to run at once (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
