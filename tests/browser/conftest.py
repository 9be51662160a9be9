"""A real Chromium for the tests of the page. `make test` has put it into build/browser (`tools/browser.py`)."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from relay.tools.testbed.process import free_port
from tests.browser.visitor import Visitor
from tests.support.guests import Guests
from tests.support.node import Node
from tests.support.process import PATIENCE, wait_until
from tests.support.server import RedisServer
from tools.browser import chromium

LEASE: Final = 2.0  # seconds
GRACE: Final = 60.0  # seconds; a browser on a busy machine takes its time to load a page

Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file of tests: its start takes longer than most of them."""
    place, variables = chromium()
    environment: dict[str, str | float | bool] = {**os.environ, **variables}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(place), env=environment, args=["--headless=shell", "--no-sandbox"]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def two_nodes(folder: Path, redis: str, prefix: str) -> Iterator[list[Node]]:
    """Two nodes that know of each other, as those of `relay up` do."""
    ports = [free_port(), free_port()]
    options: dict[str, str | float] = {"redis": redis, "prefix": prefix, "lease": LEASE, "grace": GRACE, "page": ""}
    with contextlib.ExitStack() as stack:
        nodes = []
        for port, other in ((ports[0], ports[1]), (ports[1], ports[0])):
            nodes.append(Node(folder, wait=False, port=port, siblings=other, **options))
            stack.callback(nodes[-1].kill)
        for node in nodes:
            node.wait_until_listening()
        yield nodes
        for node in nodes:
            print(f"--- {node.name}\n{node.text()}")


@pytest.fixture(scope="module")
def pair(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Two nodes that a file's tests share: don't harm them."""
    with two_nodes(tmp_path_factory.mktemp("pair"), redis_server.url, "browser") as nodes:
        yield nodes


@pytest.fixture
def doomed(redis_server: RedisServer, tmp_path: Path, prefix: str) -> Iterator[list[Node]]:
    """Two nodes that the test may kill."""
    with two_nodes(tmp_path, redis_server.url, prefix) as nodes:
        yield nodes


@pytest.fixture
def guests() -> Iterator[Guests]:
    """Opens the test's clients that are no browsers."""
    guests = Guests()
    yield guests
    guests.depart()


@pytest.fixture
def visit(browser: Browser, guests: Guests) -> Iterator[Visit]:
    """Opens the page of a node, each time in a browser of its own: they share no storage."""
    visitors: list[Visitor] = []
    contexts: list[BrowserContext] = []

    def visit(node: Node, name: str = "", script: str = "", **options: object) -> Visitor:
        """`script` runs before the page's own."""
        contexts.append(browser.new_context(**options))  # type: ignore[arg-type]
        contexts[-1].add_init_script(script)
        contexts[-1].set_default_timeout(3000 * PATIENCE)
        visitors.append(Visitor(contexts[-1].new_page(), node))
        if name:
            visitors[-1].enter(name)
        return visitors[-1]

    yield visit
    for visitor in visitors:
        print(visitor.told())
    for context in contexts:
        for page in context.pages:
            depart(page)
    for visitor in visitors:
        wait_until(visitor.gone, "the visitor's name is free")
        assert visitor.errors == []
    for context in contexts:
        context.close()


def depart(page: Page) -> None:
    """Log out, if the page is in a session."""
    page.on("dialog", lambda dialog: dialog.accept())
    quit_button = page.locator("#quit")
    if quit_button.is_visible():
        quit_button.click()
