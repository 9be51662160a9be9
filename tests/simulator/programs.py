"""Makes small programs of tasks that wait for each other, from a seed: the same program each time, whatever runs it.

None of them depends on a clock: time-outs are either over at once or never. On asyncio's own loop each is therefore
deterministic, as callbacks are called in the order of their registration.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from tests.simulator.both import Notes

TASKS = 5
STEPS = 6
# The number of turns after which a program is stopped, in which some tasks wait for what never comes.
TURNS = 150
NEVER = 3600.0


class Scenery:
    """The objects that all tasks of one program share."""

    def __init__(self, notes: Notes, draw: random.Random) -> None:
        self.notes = notes
        self.draw = draw
        self.locks = [asyncio.Lock() for _ in range(2)]
        self.events = [asyncio.Event() for _ in range(2)]
        self.conditions = [asyncio.Condition() for _ in range(2)]
        self.semaphores = [asyncio.Semaphore(1), asyncio.BoundedSemaphore(2)]
        self.queues: list[asyncio.Queue[int]] = [asyncio.Queue(1), asyncio.PriorityQueue(), asyncio.LifoQueue(2)]
        loop = asyncio.get_running_loop()
        self.futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(3)]
        self.tasks: list[asyncio.Task[None]] = []
        self.depth = 0


Step = Callable[[Scenery, str], Awaitable[object]]


async def yield_once(scenery: Scenery, who: str) -> None:
    await asyncio.sleep(0)


async def hold_lock(scenery: Scenery, who: str) -> None:
    async with scenery.draw.choice(scenery.locks):
        scenery.notes(who, "has the lock")
        await asyncio.sleep(0)


async def wait_event(scenery: Scenery, who: str) -> None:
    await scenery.draw.choice(scenery.events).wait()


async def set_event(scenery: Scenery, who: str) -> None:
    event = scenery.draw.choice(scenery.events)
    event.clear() if event.is_set() else event.set()


async def wait_condition(scenery: Scenery, who: str) -> None:
    async with (condition := scenery.draw.choice(scenery.conditions)):
        await condition.wait()


async def notify(scenery: Scenery, who: str) -> None:
    async with (condition := scenery.draw.choice(scenery.conditions)):
        condition.notify_all() if scenery.draw.random() < 0.3 else condition.notify(1)


async def hold_semaphore(scenery: Scenery, who: str) -> None:
    async with scenery.draw.choice(scenery.semaphores):
        await asyncio.sleep(0)


async def put(scenery: Scenery, who: str) -> None:
    await scenery.draw.choice(scenery.queues).put(scenery.draw.randrange(10))


async def get(scenery: Scenery, who: str) -> int:
    queue = scenery.draw.choice(scenery.queues)
    item = await queue.get()
    queue.task_done()
    return item


async def wait_future(scenery: Scenery, who: str) -> int:
    future = scenery.draw.choice(scenery.futures)
    return await (asyncio.shield(future) if scenery.draw.random() < 0.8 else future)


async def settle_future(scenery: Scenery, who: str) -> None:
    future = scenery.draw.choice(scenery.futures)
    if not future.done():
        if scenery.draw.random() < 0.5:
            future.set_result(scenery.draw.randrange(10))
        else:
            future.set_exception(ArithmeticError("settled"))


async def cancel(scenery: Scenery, who: str) -> bool:
    return scenery.draw.choice(scenery.tasks).cancel("on purpose") if scenery.tasks else False


async def call_soon(scenery: Scenery, who: str) -> None:
    loop = asyncio.get_running_loop()
    number = scenery.draw.randrange(100)
    handles = [loop.call_soon(scenery.notes, who, f"calls {number}.{index}") for index in range(3)]
    scenery.draw.choice(handles).cancel()
    loop.call_soon_threadsafe(scenery.notes, who, f"calls {number} last")


async def late(scenery: Scenery, who: str) -> object:
    """Do something that is too late at once."""
    return await asyncio.wait_for(random_step(scenery)(scenery, who), scenery.draw.choice((0, -1)))


async def in_time(scenery: Scenery, who: str) -> object:
    """Do something with a time-out that is never over."""
    if scenery.draw.random() < 0.5:
        return await asyncio.wait_for(random_step(scenery)(scenery, who), NEVER)
    async with asyncio.timeout(NEVER):
        return await random_step(scenery)(scenery, who)


async def gather(scenery: Scenery, who: str) -> object:
    steps = [random_step(scenery)(scenery, f"{who}/{index}") for index in range(3)]
    return await asyncio.gather(*steps, return_exceptions=scenery.draw.random() < 0.5)


async def wait_first(scenery: Scenery, who: str) -> object:
    tasks = [asyncio.ensure_future(random_step(scenery)(scenery, f"{who}/{index}")) for index in range(2)]
    when = scenery.draw.choice((asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED))
    try:
        done, _ = await asyncio.wait(tasks, return_when=when)
        return [
            (task in done, task.cancelled(), task in done and not task.cancelled() and task.exception())
            for task in tasks
        ]
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(lambda task: task.cancelled() or task.exception())


async def group(scenery: Scenery, who: str) -> object:
    """Run one task in a group, as the order in which a group cancels several isn't promised."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_step(random_step(scenery), scenery, f"{who}/group"))
        await random_step(scenery)(scenery, who)
    return task.result()


async def _step(step: Step, scenery: Scenery, who: str) -> object:
    return await step(scenery, who)


SIMPLE: tuple[Step, ...] = (
    yield_once, hold_lock, wait_event, set_event, wait_condition, notify, hold_semaphore, put, get, wait_future,
    settle_future, cancel, call_soon,
)  # fmt: skip
NESTED: tuple[Step, ...] = (late, in_time, gather, wait_first, group)


def random_step(scenery: Scenery) -> Step:
    """Draw a step, which has others in it now and then."""
    if scenery.draw.random() < 0.3:
        return scenery.draw.choice(NESTED)
    return scenery.draw.choice(SIMPLE)


async def actor(scenery: Scenery, who: str) -> None:
    """Do some steps, and note down how each ended."""
    for number in range(STEPS):
        try:
            result = await random_step(scenery)(scenery, who)
        except asyncio.CancelledError as error:
            scenery.notes(who, number, "cancelled", *error.args)
            if scenery.draw.random() < 0.5:
                raise
        except Exception as error:
            scenery.notes(who, number, shown(error))
        else:
            scenery.notes(who, number, shown(result))
    scenery.notes(who, "is done")


def shown(result: object) -> str:
    """Return a result in words that are the same in each run."""
    if isinstance(result, BaseExceptionGroup):
        return f"{type(result).__name__} {[shown(one) for one in result.exceptions]}"
    return f"{type(result).__name__} {result}" if isinstance(result, BaseException) else repr(result)


async def program(notes: Notes, seed: int) -> None:
    """Run some actors until all are done, or nothing is left that could wake one, then cancel them in turn."""
    scenery = Scenery(notes, random.Random(seed))
    for number in range(TASKS):
        task = asyncio.create_task(actor(scenery, f"actor {number}"))
        task.add_done_callback(lambda _, number=number: notes("done callback of", number))  # type: ignore[misc]
        scenery.tasks.append(task)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    notes("the end")
    for _ in range(2 * STEPS):
        for task in scenery.tasks:
            task.cancel("at the end")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait(scenery.tasks, timeout=None)
    for future in scenery.futures:
        if future.done() and not future.cancelled():
            future.exception()
