"""Many runs: what is counted, what must have happened, and how a failing run is made smaller."""

from collections.abc import Iterator

from simulator.harness.batch import GATED, Batch, explain
from simulator.harness.faults import kinds_of
from simulator.harness.invariants import COUNTED
from simulator.harness.plan import Plan
from simulator.harness.run import Outcome
from simulator.harness.shrink import LEAST_SECONDS, LEAST_USERS, shrink

BUSY = dict.fromkeys(COUNTED, 1)
EVERY_FAULT = dict.fromkeys(kinds_of("single"), 1)


def batch(runs: int, faults: dict[str, int], counts: dict[str, int]) -> Batch:
    made = Batch("single")
    for seed in range(runs):
        made.add(Outcome(Plan(seed=seed), faults=faults, counts=counts, seconds=10.0), 2.0)
    return made


def test_a_batch_in_which_everything_happened_is_clean() -> None:
    assert batch(GATED, EVERY_FAULT, BUSY).clean


def test_a_batch_in_which_a_fault_never_happened_is_not_clean() -> None:
    made = batch(GATED, EVERY_FAULT | {"kill": 0}, BUSY)
    assert made.missing == ["no fault kill"]
    assert not made.clean
    assert any("empty: no fault kill" in line for line in made.lines())


def test_a_batch_in_which_nobody_resumed_is_not_clean_either() -> None:
    assert batch(GATED, EVERY_FAULT, BUSY | {"resumes": 0}).missing == ["no resumes"]


def test_a_batch_in_which_most_messages_are_lost_with_sessions_is_not_clean_either() -> None:
    made = batch(GATED, EVERY_FAULT, BUSY)
    made.add(Outcome(Plan(), delivered=50, lost=50), 1.0)
    assert made.missing == ["50 messages lost with sessions, and 50 delivered"]


def test_a_few_seeds_may_lack_something() -> None:
    assert batch(GATED - 1, {}, {}).clean


def test_a_failed_run_says_what_it_broke_and_how_to_repeat_it() -> None:
    outcome = Outcome(Plan(seed=3), {"lost": [f"message {number}" for number in range(9)]})
    assert list(explain(outcome, most=2)) == [
        "LOST: 9",
        "    message 0",
        "    message 1",
        f"again: {Plan(seed=3).command}",
    ]


class World:
    """A world in which a run fails if it has these faults, users and seconds."""

    def __init__(self, faults: set[str], users: int, seconds: float) -> None:
        self.faults, self.users, self.seconds = faults, users, seconds
        self.runs = 0

    def run(self, plan: Plan) -> Outcome:
        self.runs += 1
        has = {kind for kind in EVERY_FAULT if kind not in plan.without}
        fails = self.faults <= has and plan.users >= self.users and plan.seconds >= self.seconds
        return Outcome(plan, {"lost": ["a"]} if fails else {"late": ["b"]}, faults=dict.fromkeys(has, 1))


def smallest(world: World) -> Iterator[Plan]:
    yield shrink(world.run(Plan(seed=1)), lambda _: None, world.run).plan


def test_the_faults_that_a_failure_needs_stay_and_the_others_go() -> None:
    world = World({"kill", "pause"}, users=5, seconds=11.0)
    (plan,) = smallest(world)
    assert set(EVERY_FAULT) - set(plan.without) == {"kill", "pause"}
    assert plan.users == 5
    assert plan.nodes == 1
    assert 11.0 <= plan.seconds < 15.0
    assert world.runs < 150


def test_a_failure_that_needs_nothing_ends_at_the_least() -> None:
    (plan,) = smallest(World(set(), users=0, seconds=0.0))
    assert (plan.users, plan.seconds) == (LEAST_USERS, LEAST_SECONDS)
