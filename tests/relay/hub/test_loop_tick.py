"""The input of one loop iteration is handled, settled and flushed in one tick, in this order."""

import asyncio
from collections import deque
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from relay.hub import loop_tick
from relay.hub.loop_tick import LoopTick
from relay.session.peer_messages import Ack, Mail
from tests.relay.desk import until

pytestmark = pytest.mark.anyio

MAIL = Ack("ann", "c1", 1)


class Scene:
    """A scheduler whose steps are recorded."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.ticks = LoopTick(
            asyncio.get_running_loop(),
            opened=lambda: self.steps.append("opened"),
            deliver=self._deliver,
            flush=lambda: self.steps.append("flush"),
        )

    def _deliver(self, mails: deque[Mail]) -> None:
        self.steps.append(f"deliver {len(mails)}")
        mails.clear()

    def client(self, name: str, *causes: Callable[[], None]) -> "Client":
        return Client(self, name, causes)

    async def flushed(self, times: int = 1) -> list[str]:
        """Return the steps of the first ticks."""
        await until(lambda: self.steps.count("flush") == times)
        return self.steps


class Client:
    """Records that it settles, and causes further work then."""

    def __init__(self, scene: Scene, name: str, causes: tuple[Callable[[], None], ...]) -> None:
        self._scene, self._name, self._causes = scene, name, causes

    def end_tick(self) -> None:
        self._scene.steps.append(f"settle {self._name}")
        for cause in self._causes:
            cause()


def fail() -> None:
    raise ValueError("a defect")


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_any_number_of_inputs_are_one_tick(scene: Scene) -> None:
    scene.ticks.open_tick()
    scene.ticks.mark_dirty(scene.client("ann"))
    scene.ticks.open_tick()
    scene.ticks.receive([MAIL, MAIL])
    assert scene.steps == ["opened"]
    assert await scene.flushed() == ["opened", "deliver 2", "settle ann", "flush"]
    scene.ticks.open_tick()
    assert (await scene.flushed(2))[4:] == ["opened", "flush"]


async def test_work_that_a_settling_client_causes_belongs_to_the_same_tick(scene: Scene) -> None:
    scene.ticks.open_tick()
    ben = scene.client("ben")
    scene.ticks.mark_dirty(
        scene.client("ann", lambda: scene.ticks.mark_dirty(ben), lambda: scene.ticks.mail.append(MAIL))
    )
    assert await scene.flushed() == ["opened", "deliver 0", "settle ann", "deliver 1", "settle ben", "flush"]


async def test_a_defect_in_one_client_keeps_nobody_else_from_settling(scene: Scene) -> None:
    scene.ticks.open_tick()
    scene.ticks.mark_dirty(scene.client("ann", fail))
    scene.ticks.mark_dirty(scene.client("ben"))
    with capture_logs() as lines:
        assert (await scene.flushed())[2:] == ["settle ann", "settle ben", "flush"]
    assert [line["event"] for line in lines] == ["a step failed"]


async def test_clients_that_had_their_share_settle_in_later_ticks_some_in_each(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_tick, "FLOODS_AT_ONCE", 2)
    scene.ticks.open_tick()
    for name in ("ann", "ben", "cat"):
        scene.ticks.defer(scene.client(name))
    first, second, third = (
        "opened flush",
        "opened deliver 0 settle ann settle ben flush",
        "opened deliver 0 settle cat flush",
    )
    assert " ".join(await scene.flushed(3)) == f"{first} {second} {third}"


async def test_an_alarm_rings_in_a_tick_unless_everything_is_over(scene: Scene) -> None:
    scene.ticks.call_later(0.0, lambda: scene.steps.append("rings"))
    assert await scene.flushed() == ["opened", "rings", "flush"]
    scene.ticks.call_later(0.0, lambda: scene.steps.append("rings"))
    scene.ticks.halted = True
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.001, over.set)
    await over.wait()
    assert scene.steps == ["opened", "rings", "flush"]
