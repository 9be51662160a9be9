"""The settings of one run, which its seed fills where nothing else is said."""

from typing import Final

from msgspec import Struct

from relay.tools.testbed.redis_kind import RedisKind

LEASE: Final = 2.0  # seconds; short, so that many of them pass in one run
GRACE: Final = 8.0
DRAIN: Final = 1.0
ENGINES: Final = {"single": RedisKind.STANDALONE, "sentinel": RedisKind.SENTINEL, "cluster": RedisKind.CLUSTER}
# In `relay torture` a user makes seven moves in a second. With much traffic more is under way when something breaks;
# with less a run takes less time, and the nodes have pauses.
CALM: Final = (1.0, 3.0, 9.0)


class Plan(Struct, frozen=True):
    """What is run. The same plan is the same history."""

    seed: int = 0
    seconds: float = 60.0  # of faults, in virtual time
    engine: str = "single"
    nodes: int = 3
    users: int = 12
    calm: float = 0.0  # how many times longer everybody waits than in torture; 0: the seed draws one of CALM
    only: tuple[str, ...] = ()  # the faults to have instead of those that the seed has
    without: tuple[str, ...] = ()  # faults that are left out although the seed, or `only`, has them

    @property
    def command(self) -> str:
        """The command that runs this plan again."""
        usual = Plan()
        words = [f"python -m simulator --seed {self.seed} --seconds {self.seconds:g} --engine {self.engine}"]
        words += [f"--nodes {self.nodes}"] * (self.nodes != usual.nodes)
        words += [f"--users {self.users}"] * (self.users != usual.users)
        words += [f"--calm {self.calm:g}"] * (self.calm != usual.calm)
        words += [f"--only {','.join(self.only)}"] * bool(self.only)
        words += [f"--without {','.join(self.without)}"] * bool(self.without)
        return " ".join(words)
