"""This module opens the clients of a test, and closes all of them when the test ends."""

from typing import Any

from tests.support.clients import ClassicClient, Client, JsonClient, TextClient
from tests.support.node import Node
from tests.support.process import wait_until
from tests.support.web_client import WebClient


class Guests:
    """Opens clients; `depart` closes them and gives their names back."""

    def __init__(self) -> None:
        self.clients: list[Client] = []

    def text(self, node: Node, name: str | None = None) -> TextClient:
        client = TextClient(node.address, tls=node.tls)
        self.clients.append(client)
        if name is not None:
            client.login(name)
        return client

    def json(self, node: Node, name: str | None = None, **hello: Any) -> JsonClient:
        client = JsonClient(node.address, tls=node.tls)
        self.clients.append(client)
        if name is not None:
            client.hello(name, **hello)
        return client

    def web(self, node: Node, name: str | None = None, **hello: Any) -> WebClient:
        client = WebClient(node.address, tls=node.tls)
        self.clients.append(client)
        if name is not None:
            client.hello(name, **hello)
        return client

    def classic(self, node: Node, name: str | None = None) -> ClassicClient:
        client = ClassicClient(node.classic_address, tls=node.tls)
        self.clients.append(client)
        if name is not None:
            client.login(name)
        return client

    def text_when_free(self, node: Node, name: str, patience: float) -> TextClient:
        """Claim the name repeatedly until the node grants it. Fails after `patience` seconds."""
        client = self.text(node)

        def given() -> bool:
            client.send(name)
            return client.line() == "OK"

        wait_until(given, f"{name} can be claimed", patience)
        client.name = name
        return client

    @property
    def names(self) -> set[str]:
        return {client.name for client in self.clients if client.name}

    def depart(self) -> None:
        """Give all names back and close all clients. All of them quit before the first one waits for an answer."""
        present = [client for client in self.clients if client.open]
        for client in present:
            client.farewell()
            if not isinstance(client, JsonClient):
                client.close()
        for client in present:
            if isinstance(client, JsonClient):
                client.depart()
