"""Tests of servers without a loop, with which models take part in the virtual network."""

import asyncio

from simulator.network import Network, Weather
from simulator.service import Link
from simulator.world import World


class Shouter:
    """Sends back what comes, in capitals, and notes down the end."""

    def __init__(self, link: Link, lines: list[str]) -> None:
        self.link, self.lines = link, lines

    def received(self, data: bytes) -> None:
        self.link.write(data.upper())
        if b"bye" in data:
            self.link.close()

    def lost(self, error: OSError | None) -> None:
        self.lines.append(f"lost {type(error).__name__}")


class Stage:
    """A service and a client, each on a machine of its own."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.heard: list[bytes | str] = []
        self.world = World(1)
        network = Network(self.world, Weather(cut=0.5))
        self.service = network.host("server", "10.0.0.1").service("shouter")
        self.service.listen(7, lambda link: Shouter(link, self.lines))
        self.host = network.host("client", "10.0.0.2")
        self.process = self.host.process("client")

    async def talk(self, *words: bytes) -> None:
        """Send words a second apart, and note down what comes back of each."""
        reader, writer = await asyncio.open_connection("server", 7)
        try:
            for word in words:
                writer.write(word)
                self.heard.append(await reader.readline() if word else await reader.read())
                await asyncio.sleep(1)
        except OSError as error:
            self.heard.append(type(error).__name__)
        finally:
            writer.close()


def test_a_service_answers_and_is_told_of_the_end() -> None:
    stage = Stage()
    with stage.world as world:
        stage.process.start(stage.talk, b"one\n", b"two\n")
        world.run(lambda: bool(stage.lines))
        assert stage.heard == [b"ONE\n", b"TWO\n"]
        assert stage.lines == ["lost NoneType"]
        assert not stage.service.links()


def test_a_service_ends_a_connection() -> None:
    stage = Stage()
    with stage.world as world:
        stage.process.start(stage.talk, b"bye\n", b"")
        world.run(lambda: not stage.process.alive)
        assert stage.heard == [b"BYE\n", b""]
        assert stage.lines == []


def test_a_paused_service_answers_later() -> None:
    stage = Stage()
    with stage.world as world:
        stage.process.start(stage.talk, b"one\n", b"two\n")
        world.run_for(0.5)
        stage.service.pause()
        world.run_for(10)
        assert stage.heard == [b"ONE\n"]
        stage.service.resume()
        world.run(lambda: not stage.process.alive)
        assert stage.heard == [b"ONE\n", b"TWO\n"]


def test_a_killed_service_is_told_nothing_and_its_clients_are() -> None:
    stage = Stage()
    with stage.world as world:
        stage.process.start(stage.talk, b"one\n", b"")
        world.run_for(0.5)
        stage.service.kill()
        world.run(lambda: not stage.process.alive)
        assert stage.heard == [b"ONE\n", b""]
        assert stage.lines == []
        again = stage.host.process("again")
        again.start(stage.talk, b"one\n")
        world.run(lambda: not again.alive)
        assert isinstance(again.error, ConnectionRefusedError)


def test_a_service_keeps_what_a_client_does_not_read() -> None:
    stage = Stage()

    async def send_much() -> None:
        reader, writer = await asyncio.open_connection("server", 7, limit=1024)
        writer.write(b"x" * 500_000)
        await asyncio.sleep(5)
        stage.heard.append(str(len(stage.service.links()[0].unsent) > 100_000))
        stage.heard.append(str(len(await reader.readexactly(500_000))))
        writer.transport.abort()

    with stage.world as world:
        stage.process.start(send_much)
        world.run(lambda: not stage.process.alive)
        assert stage.heard == ["True", "500000"]
