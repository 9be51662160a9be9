"""Servers that are asked at the same time: their answers, failures, and the time that slow ones get."""

from collections.abc import Callable

import anyio
import pytest
import redis.exceptions

from relay.redis_client.topology_interface import ask_all

pytestmark = pytest.mark.anyio


async def ask(server: str) -> str:
    """Return the answer of a server. One that is called frozen never answers."""
    match server:
        case "frozen":
            await anyio.sleep_forever()
        case "broken":
            raise redis.exceptions.ConnectionError(server)
        case "nonsense":
            raise ValueError(server)
    return server.upper()


async def asked(rest: Callable[[int, float], float]) -> tuple[list[str], list[Exception]]:
    with anyio.fail_after(10):
        return await ask_all(["frozen", "a", "b"], ask, rest)


async def test_a_silent_server_is_waited_for_no_longer_than_is_said_once_another_has_answered() -> None:
    told: list[int] = []

    def rest(answers: int, seconds: float) -> float:
        assert seconds >= 0
        told.append(answers)
        return 0.0 if answers == 2 else 3600.0

    assert await asked(rest) == (["A", "B"], [])
    assert told == [1, 2]


async def test_a_later_answer_gives_the_others_no_more_time() -> None:
    assert await asked(lambda answers, _: 0.01 if answers == 1 else 3600.0) == (["A", "B"], [])


async def test_errors_are_returned_and_give_no_reason_to_stop_waiting() -> None:
    def rest(answers: int, seconds: float) -> float:
        raise AssertionError("nobody has answered")

    views, errors = await ask_all(["broken", "nonsense"], ask, rest)
    assert (views, [str(error) for error in errors]) == ([], ["broken", "nonsense"])
