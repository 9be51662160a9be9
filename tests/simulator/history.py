"""A run in which everything happens whose order could depend on addresses in memory; `test_same_history.py` uses it."""

import asyncio
import random
import secrets
import time
import uuid

import anyio

from simulator.network import Network, Weather
from simulator.trace import TraceHash
from simulator.world import World

PEOPLE = 6


class Person:
    """Is kept in a set."""

    def __init__(self, name: str) -> None:
        self.name = name


async def scopes(lines: list[str]) -> None:
    """Cancel many tasks and scopes at once: anyio and asyncio keep both in sets."""

    async def wait(name: str) -> None:
        try:
            with anyio.CancelScope():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.sleep_forever)
                    await anyio.sleep_forever()
        finally:
            lines.append(name)

    async def scoped(name: str) -> None:
        with anyio.CancelScope():
            await wait(name)

    with anyio.move_on_after(0.1):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(scoped, f"scope {number}")
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(wait(f"task {number}"))
            await asyncio.sleep(0.1)
            raise ArithmeticError
    except* ArithmeticError:
        lines.append("failed on purpose")


async def waits(lines: list[str]) -> None:
    """Wait for sets of futures and tasks, and cancel what is left."""
    loop = asyncio.get_running_loop()
    futures = {loop.create_future() for _ in range(10)}
    for future in futures:
        loop.call_later(0.01, lambda future=future: future.done() or future.set_result(None))  # type: ignore[misc]
    tasks = {asyncio.create_task(asyncio.sleep(number % 3)) for number in range(10)}
    done, left = await asyncio.wait([*futures, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    lines.append(f"{len(done)} {len(left)}")
    people = {Person(str(number)) for number in range(10)}
    lines.append(" ".join(person.name for person in people))


async def real_things(lines: list[str]) -> None:
    """Ask for what would differ in each run, had the world not its own."""
    lines.append(f"{time.time()} {time.monotonic()} {time.perf_counter_ns()} {secrets.token_hex(4)} {uuid.uuid4()}")
    lines.append(f"{random.random()} {random.SystemRandom().random()}")
    lines.append(str(await anyio.to_thread.run_sync(lambda: 42)))
    lines.append(str(await asyncio.to_thread(time.time)))


async def serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data.upper())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "0.0.0.0", 7) as server:
        await server.serve_forever()


async def person(name: str, lines: list[str]) -> None:
    await asyncio.sleep(0.01)
    async with await anyio.connect_tcp("server", 7) as stream:
        for _ in range(10):
            await stream.send(name.encode())
            lines.append(repr(await stream.receive()))
    await asyncio.gather(scopes(lines), waits(lines), real_things(lines))


def run(seed: int, *, inside: bool = True) -> str:
    """Return the hash of a run. `inside`: with each callback, and with all that the people in it have noted down."""
    trace, lines = TraceHash(), list[str]()
    with World(seed, trace, in_sets=(Person,), callbacks=inside) as world:
        network = Network(world, Weather(cut=0.5, delay=(0.0, 0.01)))
        server = network.host("server", "10.0.0.1").process("server")
        server.start(serve)
        people = []
        for number in range(PEOPLE):
            process = network.host(f"host {number}", f"10.0.1.{number}").process(f"person {number}")
            process.start(person, f"person {number}", lines)
            people.append(process)
        world.run_for(0.05)
        people[0].kill()
        world.run(lambda: not any(process.alive for process in people))
        assert not any(process.error for process in people)
    for line in lines if inside else ():
        trace(0, "note", line)
    return f"{trace.hexdigest()} {trace.events}"
