"""The times at which memory is given back to the system."""

import ctypes

import anyio
import pytest

from relay.process.memory_trim import REST_BYTES, REST_CHECKS, WORTH_BYTES, Heap, trim_heap


def test_memory_is_given_back_once_much_has_become_free() -> None:
    free, given = [0], list[int]()
    heap = Heap(lambda: free[0], lambda: given.append(free[0]))
    for free[0], times in (
        (WORTH_BYTES - 1, 0),
        (WORTH_BYTES, 1),
        (WORTH_BYTES, 1),  # it was given back
        (2 * WORTH_BYTES - 1, 1),
        (0, 1),  # it is used again
        (WORTH_BYTES, 2),
        (3 * WORTH_BYTES, 3),
    ):
        heap.trim_if_worthwhile()
        assert len(given) == times


def test_a_rest_of_memory_is_given_back_once_nobody_has_used_it_for_a_while() -> None:
    """A crowd leaves slowly: most of its memory was given back before the last of it left."""
    free, given = [WORTH_BYTES], list[int]()
    heap = Heap(lambda: free[0], lambda: given.append(free[0]))
    heap.trim_if_worthwhile()
    free[0] += REST_BYTES - 1
    for _ in range(2 * REST_CHECKS):
        heap.trim_if_worthwhile()
    assert given == [WORTH_BYTES], "too little to be worth it"
    free[0] += 1
    for _ in range(REST_CHECKS):
        assert len(given) == 1
        heap.trim_if_worthwhile()
    assert given == [WORTH_BYTES, free[0]]


@pytest.mark.anyio
async def test_a_c_library_that_can_not_give_memory_back_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    with anyio.fail_after(10):
        await trim_heap()
