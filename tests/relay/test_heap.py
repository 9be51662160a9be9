"""When memory is given back to the system."""

from relay.heap import WORTH_BYTES, Heap


def test_it_is_once_much_has_become_free() -> None:
    free, given = [0], list[int]()
    heap = Heap(lambda: free[0], lambda: given.append(free[0]))
    for free[0], times in (
        (WORTH_BYTES - 1, 0),
        (WORTH_BYTES, 1),
        (WORTH_BYTES, 1),  # it was given back
        (2 * WORTH_BYTES - 1, 1),
        (0, 1),  # used again
        (WORTH_BYTES, 2),
        (3 * WORTH_BYTES, 3),
    ):
        heap.look()
        assert len(given) == times
