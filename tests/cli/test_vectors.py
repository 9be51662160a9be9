"""The core of the Python library does what the test vectors say, which hold for the JavaScript client too."""

from tests.cli.vectors import COMES, Player, load
from tests.support.rows import each_row

CASES = load()


@each_row("case", CASES)
def test_the_core_does_what_the_vector_says(case: str) -> None:
    player = Player()
    for number, step in enumerate(CASES[case]):
        done = player.play(step)
        for key in (*COMES, "outcomes", "memory"):
            assert done.get(key) == step.get(key), f"step {number}: {key}"


def test_there_are_vectors() -> None:
    assert len(CASES) > 20
