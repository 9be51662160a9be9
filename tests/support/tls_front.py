"""TLS in front of a server that speaks none, as a machine of a provider's may have it."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def tls_front(port: int, cert: Path, key: Path) -> Iterator[int]:
    """Passes on to that port of this machine; its own port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    ports: list[int] = []
    there = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
            pumps = [
                asyncio.ensure_future(_pump(reader, back_writer)),
                asyncio.ensure_future(_pump(back_reader, writer)),
            ]
            waiting = asyncio.ensure_future(over.wait())
            await asyncio.wait([*pumps, waiting], return_when=asyncio.FIRST_COMPLETED)
            for task in (*pumps, waiting):
                task.cancel()
            for end in (writer, back_writer):
                end.transport.abort()

        server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        there.set()
        await over.wait()
        server.close()
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    there.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
