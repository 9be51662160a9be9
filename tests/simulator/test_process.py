"""Tests that a process can be killed, paused, slowed down and sent signals, as the operating system does it."""

import asyncio
import gc
import signal
from collections.abc import AsyncGenerator

import anyio
import pytest

from simulator.process import Process
from simulator.world import World


class Diary:
    """Notes down what a process does, also when it is destroyed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def live(self) -> None:
        """Do all that could still run after a kill: `finally`, timers, callbacks, generators, groups, threads."""
        loop = asyncio.get_running_loop()
        loop.call_later(5, self.lines.append, "timer")
        task = loop.create_task(self.beat())
        loop.run_in_executor(None, self.lines.append, "thread")
        generator = self.generate()
        await anext(generator)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.beat)
                with anyio.move_on_after(7):
                    await anyio.sleep(100)
                await anyio.sleep(100)
        finally:
            self.lines.append(f"finally {task.done()}")
            await asyncio.sleep(1)
            self.lines.append("after finally")

    async def beat(self) -> None:
        try:
            while True:
                await asyncio.sleep(1)
                self.lines.append("beat")
        except BaseException as error:
            self.lines.append(type(error).__name__)
            raise

    async def generate(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.lines.append("generator")


def test_of_a_killed_process_nothing_runs_any_more() -> None:
    diary = Diary()
    with World() as world:
        process = world.process("victim")
        process.start(diary.live)
        world.run_for(2.5)
        assert diary.lines == ["thread", "beat", "beat", "beat", "beat"]
        process.kill()
        assert not process.alive
        world.run_for(100)
        gc.collect()
        assert len(diary.lines) == 5
        assert not world.processes


def test_a_process_that_kills_itself_does_nothing_in_the_rest_of_that_iteration() -> None:
    lines: list[str] = []

    async def live(process: Process) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(process.signal, signal.SIGKILL)
        loop.call_soon(lines.append, "later")
        await asyncio.sleep(0)
        lines.append("task")

    with World() as world:
        process = world.process("victim")
        process.start(live, process)
        world.run(lambda: not process.alive)
        assert lines == []


def test_the_end_of_a_world_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings are errors in these tests, and pytest reports what destructors raise."""
    diary = Diary()
    with World() as world:
        for name in ("killed", "left alive", "paused"):
            process = world.process(name)
            process.start(diary.live)
            world.run_for(1)
            process.kill() if name == "killed" else process.pause() if name == "paused" else None
    del process, diary
    gc.collect()
    assert capsys.readouterr() == ("", "")


def test_a_paused_process_does_what_is_overdue_once_it_goes_on() -> None:
    lines: list[str] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        for seconds in (3, 1, 2):
            loop.call_later(seconds, lines.append, f"after {seconds}")
        loop.run_in_executor(None, lines.append, "thread")
        await asyncio.sleep(4)
        lines.append(f"ends at {loop.time():.0f}")

    with World() as world:
        process = world.process("sleeper")
        process.start(live)
        world.run_for(0.000_01)  # less than any thread takes
        process.signal(signal.SIGSTOP)
        world.run_for(10)
        assert lines == []
        process.signal(signal.SIGCONT)
        world.run(lambda: not process.alive)
        assert [line for line in lines if line != "thread"] == ["after 1", "after 2", "after 3", "ends at 10"]
        assert "thread" in lines


def test_a_process_that_stalls_is_late_and_others_are_not() -> None:
    times: dict[str, float] = {}

    async def live(name: str) -> None:
        await asyncio.sleep(1)
        times[name] = asyncio.get_running_loop().time()

    with World() as world:
        slow, fast = world.process("slow"), world.process("fast")
        slow.start(live, "slow")
        fast.start(live, "fast")
        world.run_for(0.5)
        slow.stall(3)
        world.run(lambda: len(times) == 2)
        assert times == {"slow": 3.5, "fast": 1}


def test_signals() -> None:
    lines: list[str] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lines.append, "hangup")
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for number in signals:
                lines.append(number.name)
                break
        assert loop.remove_signal_handler(signal.SIGHUP)
        await asyncio.sleep(10)
        lines.append("never")

    with World() as world:
        process = world.process("listener")
        process.start(live)
        world.run_for(1)
        for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM):
            process.signal(number)
            world.run_for(1)
        assert lines == ["hangup", "SIGTERM"]
        assert process.alive
        process.signal(signal.SIGHUP)
        assert not process.alive
        process.signal(signal.SIGTERM)
        world.run_for(100)
        assert len(lines) == 2


def test_a_process_ends_as_with_asyncio_run() -> None:
    diary = Diary()

    async def live() -> str:
        asyncio.create_task(diary.beat())  # noqa: RUF006  cancelled at the end
        generator = diary.generate()
        await anext(generator)
        await asyncio.sleep(1.5)
        await generator.aclose()
        return "result"

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ArithmeticError("on purpose")

    async def leave() -> None:
        await asyncio.sleep(0)
        raise SystemExit(3)

    with World() as world:
        processes = [world.process(name) for name in ("good", "bad", "gone")]
        ended: list[str] = []
        for process, main in zip(processes, (live, fail, leave), strict=True):
            process.exits.append(lambda process: ended.append(process.name))
            process.start(main)
        world.run(lambda: len(ended) == 3)
        assert ended[-1] == "good"
        assert diary.lines == ["beat", "generator", "CancelledError"]
        good, bad, gone = processes
        assert good.result == "result" and good.error is None
        assert isinstance(bad.error, ArithmeticError)
        assert isinstance(gone.error, SystemExit)


def test_a_fast_clock_and_a_wrong_one() -> None:
    async def live(seconds: float) -> float:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        await asyncio.sleep(seconds)
        assert loop.time() >= due
        return loop.time()

    with World() as world:
        clock = world.clock(booted=1000)
        process = world.process("fast", clock)
        clock.run_at(2)
        process.start(live, 10)
        world.run(lambda: not process.alive)
        assert (process.result, round(world.now, 6)) == (1010, 5)
        before = clock.time_of_day()
        clock.step(-3600)
        assert clock.time_of_day() == pytest.approx(before - 3600)
        assert clock.monotonic() == 1010
        clock.run_at(1.000_123)
        clock.sleep(0.3)
        for _ in range(100):  # roundings must not make a timer early, nor keep the world from going on
            process = world.process("fast", clock)
            process.start(live, 0.1)
            world.run(lambda process=process: not process.alive)  # type: ignore[misc]
            assert process.error is None


def test_a_runner_is_told_that_its_process_was_killed() -> None:
    async def live() -> None:
        await asyncio.sleep(10)

    with World() as world:
        process = world.process("victim")
        world.call_in(5, process.kill)
        main = live()
        with pytest.raises(RuntimeError, match="stopped before Future completed"):
            process.loop.run_until_complete(main)
