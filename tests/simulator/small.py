"""Small programs, one for each promise of asyncio and anyio that `programs.py` and `connections.py` don't reach."""

import asyncio
import contextvars
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from tests.simulator.both import Notes

HERE = "127.0.0.1"

PROGRAMS: dict[str, Callable[[Notes], Coroutine[Any, Any, None]]] = {}

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def small(program: Callable[[Notes], Coroutine[Any, Any, None]]) -> Callable[[Notes], Coroutine[Any, Any, None]]:
    """Add a program to the table."""
    PROGRAMS[program.__name__] = program
    return program


# --- time


@small
async def timers_are_called_in_the_order_of_their_times(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    done, base = loop.create_future(), loop.time()
    for step in (3, 1, 4, 1.5, 9, 2, 6, 5):
        loop.call_at(base + step / 1000, notes, step)
    loop.call_at(base + 0.01, done.set_result, None)
    await done


@small
async def timers_of_the_same_time_are_all_called(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    called: set[int] = set()
    base = loop.time() + 0.001
    for number in range(5):
        loop.call_at(base, called.add, number)
    await asyncio.sleep(0.01)
    notes(sorted(called))


@small
async def cancelled_timers_are_not_called(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    base = loop.time()
    timers = [loop.call_at(base + step / 1000, notes, step) for step in range(1, 6)]
    loop.call_at(base + 0.002_5, timers[3].cancel)
    timers[0].cancel()
    await asyncio.sleep(0.02)
    notes([timer.cancelled() for timer in timers], [timer.when() == base + 0.001 for timer in timers])


@small
async def many_cancelled_timers_are_forgotten(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(300):
        loop.call_later(3600, notes, "never").cancel()
    await asyncio.sleep(0.001)
    notes("gone on")


@small
async def no_timer_is_early(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    for index in range(20):
        due = loop.time() + index / 7000
        await asyncio.sleep(due - loop.time())
        notes(loop.time() >= due - 1e-8)


@small
async def times_that_are_over(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(-5, notes, "before")
    await asyncio.sleep(0.001)
    loop.call_at(loop.time() - 1, done.set_result, None)
    await done
    await asyncio.sleep(-1)
    notes("on")


@small
async def time_outs(notes: Notes) -> None:
    for seconds in (0.001, 0, -1):
        try:
            await asyncio.wait_for(asyncio.Event().wait(), seconds)
        except TimeoutError as error:
            notes("wait_for", repr(error))
        try:
            async with asyncio.timeout(seconds) as scope:
                await asyncio.sleep(60)
        except TimeoutError as error:
            notes("timeout", repr(error), scope.expired())
    notes(await asyncio.wait_for(asyncio.sleep(0.001, "result"), None))


@small
async def nested_time_outs(notes: Notes) -> None:
    try:
        async with asyncio.timeout(60):
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(30)
            except TimeoutError:
                notes("the inner one")
            await asyncio.sleep(0)
            async with asyncio.timeout(None) as scope:
                scope.reschedule(asyncio.get_running_loop().time() + 0.001)
                await asyncio.sleep(30)
    except TimeoutError:
        notes("rescheduled")


@small
async def waiting_with_a_time_out(notes: Notes) -> None:
    tasks = [asyncio.ensure_future(asyncio.sleep(seconds)) for seconds in (0.001, 60)]
    done, left = await asyncio.wait(tasks, timeout=0.05)
    notes(tasks[0] in done, tasks[1] in left)
    tasks[1].cancel()
    notes(await asyncio.gather(*tasks, return_exceptions=True))


@small
async def results_as_they_complete(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(3)]
    for index in (2, 0, 1):
        loop.call_soon(futures[index].set_result, index)
    for coroutine in asyncio.as_completed(futures):
        notes(await coroutine)


# --- callbacks, contexts, errors


@small
async def contexts(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    variable.set("first")
    loop.call_soon(lambda: notes("soon", variable.get()))
    later = asyncio.Event()
    loop.call_later(0.001, lambda: notes("later", variable.get()))
    loop.call_later(0.002, later.set)
    other = contextvars.copy_context()
    other.run(variable.set, "other")
    loop.call_soon(lambda: notes("given", variable.get()), context=other)
    future = loop.create_future()
    future.add_done_callback(lambda _: notes("done", variable.get()))

    async def change() -> None:
        notes("task", variable.get())
        variable.set("task")
        await asyncio.sleep(0)
        notes("task", variable.get())

    task = asyncio.create_task(change())
    await asyncio.create_task(change(), context=other)
    variable.set("second")
    future.set_result(None)
    await task
    await later.wait()
    await asyncio.to_thread(lambda: notes("thread", variable.get()))
    notes(variable.get())


@small
async def errors_of_callbacks_are_reported(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: notes(sorted(context), repr(context.get("exception"))))
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(notes, "next")
    await asyncio.sleep(0)

    async def fail() -> None:
        raise ArithmeticError("never retrieved")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0.001)
    del task
    loop.create_future().set_exception(ArithmeticError("nor this one"))
    loop.call_exception_handler({"message": "by hand"})
    loop.set_exception_handler(None)
    notes(loop.get_exception_handler())


@small
async def functions_in_threads(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    notes(await loop.run_in_executor(None, pow, 2, 10))
    try:
        await loop.run_in_executor(None, lambda: 1 / 0)
    except ZeroDivisionError as error:
        notes(error)
    notes(await asyncio.gather(*(asyncio.to_thread(pow, 2, number) for number in range(5))))
    await loop.shutdown_default_executor()
    try:
        await loop.run_in_executor(None, print)
    except RuntimeError as error:
        notes(error)


@small
async def abandoned_generators(notes: Notes) -> None:
    async def count(name: str) -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        finally:
            await asyncio.sleep(0)
            notes(name, "closed")

    dropped, kept = count("dropped"), count("kept")
    notes(await anext(dropped), await anext(kept))
    del dropped
    await asyncio.sleep(0.001)
    await asyncio.get_running_loop().shutdown_asyncgens()
    notes("shut down")


@small
async def tasks_have_names_and_know_their_loop(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(asyncio.sleep(0), name="a name")
    me = asyncio.current_task()
    notes(task.get_name(), task.get_loop() is loop, me in asyncio.all_tasks(), len(asyncio.all_tasks()))
    notes(loop.is_running(), loop.is_closed(), loop.get_debug())
    await task
    notes(len(asyncio.all_tasks()), task.done(), task.cancel())


@small
async def interrupting_a_cancellation(notes: Notes) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            notes("not now")
        task = asyncio.current_task()
        assert task is not None
        notes(task.cancelling(), task.uncancel())
        return "result"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    notes(task.cancel("why"))
    notes(await task)


# --- streams and servers


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

_served: dict[asyncio.Server, list[asyncio.Future[None]]] = {}  # the connections of each server


async def served(answer: Answer, port: int = 0) -> tuple[asyncio.Server, int]:
    """Return a server, and its port, which is a free one by default."""
    over: list[asyncio.Future[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.get_running_loop().create_future())
        ours = over[-1]
        await answer(reader, writer)
        await closed(writer)
        ours.set_result(None)

    server = await asyncio.start_server(serve, HERE, port)
    _served[server] = over
    return server, server.sockets[0].getsockname()[1]


async def stopped(server: asyncio.Server) -> None:
    """Close a server, and wait until its connections are over."""
    server.close()
    await server.wait_closed()
    await asyncio.gather(*_served.pop(server))


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close one end of a connection, and wait until that is done."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do nothing on a connection."""


@small
async def reading_a_stream(notes: Notes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"line\nrest;" + b"x" * 100 + b"0123456789")
        await writer.drain()
        writer.write_eof()
        heard.set_result(await reader.read())

    heard = asyncio.get_running_loop().create_future()
    server, port = await served(answer)
    reader, writer = await asyncio.open_connection(HERE, port, limit=50)
    notes(await reader.readline(), await reader.readuntil(b";"))
    try:
        await reader.readuntil(b"?")
    except (asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
        notes(type(error).__name__)
    notes(await reader.readexactly(105))
    try:
        await reader.readexactly(100)
    except asyncio.IncompleteReadError as error:
        notes(error.partial, error.expected)
    notes(reader.at_eof(), await reader.read(), await reader.readline())
    writer.writelines([b"a", b"b"])
    await closed(writer)
    notes(await heard)
    await stopped(server)


@small
async def many_clients_of_one_server(notes: Notes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()

    async def ask(number: int) -> list[bytes]:
        reader, writer = await asyncio.open_connection(HERE, port)
        found = []
        for index in range(5):
            writer.write(b"client %d line %d\n" % (number, index))
            found.append(await reader.readline())
        await closed(writer)
        return found

    server, port = await served(answer)
    for found in await asyncio.gather(*map(ask, range(10))):
        notes(found)
    await stopped(server)


@small
async def a_large_stream_with_back_pressure(notes: Notes) -> None:
    data = bytes(range(256)) * 2000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(data), 10_000):
            writer.write(data[start : start + 10_000])
            await writer.drain()

    server, port = await served(answer)
    reader, writer = await asyncio.open_connection(HERE, port)
    found = await reader.read()
    notes(len(found), found == data)
    await closed(writer)
    await stopped(server)


@small
async def nobody_listens(notes: Notes) -> None:
    server, port = await served(nothing)
    await stopped(server)
    for options in ({}, {"happy_eyeballs_delay": 0.01}):
        try:
            await asyncio.open_connection(HERE, port, **options)  # type: ignore[arg-type]
        except OSError as error:
            notes(type(error).__name__, error.errno)
    sock = notes.make_socket()
    try:
        await asyncio.get_running_loop().sock_connect(sock, (HERE, port))
    except OSError as error:
        notes(type(error).__name__, error.errno)
    sock.close()


@small
async def a_port_in_use(notes: Notes) -> None:
    server, port = await served(nothing)
    try:
        await served(nothing, port)
    except OSError as error:
        notes(type(error).__name__, error.errno)
    notes(server.is_serving())
    await stopped(server)
    notes(server.is_serving(), server.sockets)
    await stopped((await served(nothing, port))[0])


@small
async def what_transports_tell(notes: Notes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.set_result(writer.get_extra_info("peername"))
        await reader.read()

    peer = asyncio.get_running_loop().create_future()
    server, port = await served(answer)
    _, writer = await asyncio.open_connection(HERE, port, local_addr=(HERE, 0))
    transport: Any = writer.transport
    sock = transport.get_extra_info("socket")
    notes(transport.get_extra_info("peername") == (HERE, port), sock.getpeername() == (HERE, port))
    notes(sock.family == socket.AF_INET, sock.type == socket.SOCK_STREAM, sock.fileno() > 0)
    notes(transport.get_extra_info("nothing"), transport.get_extra_info("nothing", "default"))
    notes(bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
    notes(transport.get_write_buffer_limits(), transport.get_write_buffer_size())
    transport.set_write_buffer_limits(high=0)
    notes(transport.get_write_buffer_limits(), transport.is_reading(), transport.can_write_eof())
    transport.pause_reading()
    transport.pause_reading()
    notes(transport.is_reading())
    transport.resume_reading()
    notes(transport.is_reading())
    mine = sock.getsockname()
    await closed(writer)
    notes(transport.is_closing(), transport.is_reading(), sock.fileno())
    notes(await peer == mine)
    await stopped(server)


@small
async def another_protocol_takes_over(notes: Notes) -> None:
    class Second(asyncio.Protocol):
        heard = b""

        def data_received(self, data: bytes) -> None:
            self.heard += data
            if data.endswith(b"\n"):
                notes("second", self.heard)
                transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            notes("second lost", exc)
            lost.set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first\n")
        await reader.readline()
        writer.write(b"second\n")
        await reader.read()

    lost = asyncio.Event()
    server, port = await served(answer)
    reader, writer = await asyncio.open_connection(HERE, port)
    notes(await reader.readline())
    transport = writer.transport
    transport.set_protocol(Second())
    transport.write(b"go on\n")
    await lost.wait()
    await stopped(server)


@small
async def sockets_without_transports(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    port = notes.make_socket()
    port.bind((HERE, 0))
    port.listen(5)

    async def answer() -> None:
        sock, address = await loop.sock_accept(port)
        notes(address == ours.getsockname(), sock.getpeername() == ours.getsockname())
        with sock:
            while data := await loop.sock_recv(sock, 3):
                received.extend(data)
            await loop.sock_sendall(sock, bytes(received).upper())

    received = bytearray()
    ours = notes.make_socket()
    task = asyncio.create_task(answer())
    await asyncio.sleep(0.001)
    await loop.sock_connect(ours, port.getsockname())
    await loop.sock_sendall(ours, b"some bytes")
    ours.shutdown(socket.SHUT_WR)
    buffer = bytearray(100)
    found = bytearray()
    while count := await loop.sock_recv_into(ours, buffer):
        found += buffer[:count]
    notes(found)
    await task
    copy = ours.dup()
    notes(copy.fileno() != ours.fileno(), copy.family == ours.family)
    for sock in (port, ours, copy):
        sock.close()
        notes(sock.fileno())


@small
async def a_connection_that_waits_to_be_accepted_has_its_bytes(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    port = notes.make_socket()
    port.bind((HERE, 0))
    port.listen(5)
    reader, writer = await asyncio.open_connection(*port.getsockname())
    writer.write(b"early")
    writer.write_eof()
    sock, _ = await loop.sock_accept(port)
    port.close()
    theirs, their_writer = await asyncio.open_connection(sock=sock)
    notes(await theirs.read())
    their_writer.write(b"late")
    await closed(their_writer)
    notes(await reader.read())
    await closed(writer)


@small
async def numeric_addresses(notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    for host, port, flags in ((HERE, 80, 0), ("::1", 80, 0), (HERE, None, socket.AI_NUMERICHOST), (HERE, "80", 0)):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        notes([(int(family), int(kind), address) for family, kind, _, _, address in found])
    try:
        await loop.getaddrinfo("a name", 80, flags=socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        notes(error.errno)


# --- anyio


@small
async def scopes_of_anyio(notes: Notes) -> None:
    with anyio.move_on_after(0.001) as scope:
        await anyio.sleep_forever()
    notes(scope.cancel_called, scope.cancelled_caught)
    try:
        with anyio.fail_after(0.001):
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
                notes("shielded")
            await anyio.sleep_forever()
    except TimeoutError as error:
        notes(repr(error))
    with anyio.CancelScope() as outer:
        outer.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        finally:
            notes("cancelled")
    with anyio.move_on_after(60):  # noqa: ASYNC100  it is only looked at
        notes(anyio.current_effective_deadline() - anyio.current_time() > 59)
    notes(anyio.current_effective_deadline())


@small
async def groups_of_anyio(notes: Notes) -> None:
    async def begin(name: str, *, task_status: anyio.abc.TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        await anyio.lowlevel.checkpoint()
        task_status.started(name)
        try:
            await anyio.sleep_forever()
        finally:
            notes(name, "ends")

    async with anyio.create_task_group() as tasks:
        notes(await tasks.start(begin, "only"))
        tasks.cancel_scope.cancel()
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(begin, "other")
            raise ArithmeticError("on purpose")
    except* ArithmeticError as errors:
        notes([str(error) for error in errors.exceptions])


@small
async def queues_and_locks_of_anyio(notes: Notes) -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    lock, event, limiter = anyio.Lock(), anyio.Event(), anyio.CapacityLimiter(1)

    async def produce() -> None:
        async with send:
            for number in range(4):
                await send.send(number)
                notes("sent", number)
        event.set()

    async def consume(name: str) -> None:
        async with limiter:
            async for number in receive:
                async with lock:
                    notes(name, number)
                    await anyio.lowlevel.checkpoint()
        await event.wait()
        notes(name, "done")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        tasks.start_soon(consume, "a")
        tasks.start_soon(consume, "b")
    receive.close()


@small
async def connections_of_anyio(notes: Notes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        notes("server", await reader.read())

    server, port = await served(answer)
    stream = await anyio.connect_tcp(HERE, port)
    notes(stream.extra(anyio.abc.SocketAttribute.remote_address) == (HERE, port))
    await stream.send(b"hello")
    found = b""
    while len(found) < 5:
        found += await stream.receive()
    notes(found)
    with anyio.move_on_after(0.001):
        await stream.receive()
    await stream.send_eof()
    try:
        await stream.receive()
    except anyio.EndOfStream:
        notes("end of stream")
    await stream.aclose()
    try:
        await stream.send(b"?")
    except anyio.ClosedResourceError:
        notes("closed")
    await stopped(server)
    try:
        await anyio.connect_tcp(HERE, port)
    except OSError as error:
        notes(type(error).__name__)
