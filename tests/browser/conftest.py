"""A real Chromium for the tests of the page. `make test` has put it into build/browser (`tools/browser.py`)."""

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from relay.tools.testbed.process import free_port
from tests.browser.visitor import Visitor
from tests.integration.conftest import guests, many_open_files, start_node  # noqa: F401  used by these tests too
from tests.support.node import Node
from tests.support.process import PATIENCE
from tools.browser import chromium

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


@pytest.fixture
def pair(start_node: Callable[..., Node]) -> list[Node]:  # noqa: F811
    """Two nodes that were started together, as by `relay up`. The test may kill them."""
    ports = [free_port(), free_port()]
    return [
        start_node(page="", port=port, siblings=other, grace=60)
        for port, other in (ports, reversed(ports))
    ]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the page of a node, each time in a browser of its own: they share no storage."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def visit(node: Node, name: str = "", **options: object) -> Visitor:
        contexts.append(browser.new_context(**options))  # type: ignore[arg-type]
        contexts[-1].set_default_timeout(3000 * PATIENCE)
        visitors.append(Visitor(contexts[-1].new_page(), f"http://127.0.0.1:{node.address[1]}/"))
        if name:
            visitors[-1].enter(name)
        return visitors[-1]

    yield visit
    for visitor in visitors:
        print(visitor.told())
    for context in contexts:
        context.close()
    for visitor in visitors:
        assert visitor.errors == []
