"""Take the picture of the chat page in the README: a real browser, on two real nodes.

    make screenshot

Alice is on the first node and bob on the second. Alice's node is killed while they talk. Both windows, alice's in light
and bob's in dark, are written to docs/page.png.
"""

import base64
import contextlib
import os
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.conftest import two_nodes
from tests.browser.visitor import Visitor
from tests.support.node import Node
from tests.support.server import RedisServer
from tools.browser import ROOT, chromium

PICTURE = ROOT / "docs" / "page.png"
WINDOW = {"width": 420, "height": 640}


def visit(browser: Browser, node: Node, name: str, scheme: str) -> Visitor:
    """Open the page in a window of its own, and enter."""
    page = browser.new_page(viewport=WINDOW, color_scheme=scheme, locale="en-GB")  # type: ignore[arg-type]
    visitor = Visitor(page, node)
    visitor.enter(name)
    return visitor


def talk(browser: Browser, nodes: list[Node]) -> list[bytes]:
    """Play a conversation that survives the loss of a node, and return what both windows show."""
    alice, bob = visit(browser, nodes[0], "alice", "light"), visit(browser, nodes[1], "bob", "dark")
    alice.meet(bob, "bob")
    bob.is_with("alice")
    alice.say("hi bob! Two browsers, and each of us is on another node.")
    bob.say("And what happens if one of them dies?")
    alice.say("Let's see: I type, and you pull the plug of mine.")
    nodes[0].kill()
    alice.was_told("Connection lost")
    alice.is_connected()
    alice.say("That was it. I am on the other node now, and this has arrived.")
    bob.say("Nothing lost, nothing twice.", "And we did not even notice.")
    expect(alice.at("#log .theirs")).to_have_count(3)
    expect(bob.at("#log .mine .tick")).to_have_text(["✓✓"] * 3)
    expect(alice.at("#log .mine .tick")).to_have_text(["✓✓"] * 3)
    bob.at("#text").press_sequentially("Now you")
    expect(alice.at("#presence")).to_have_text("is typing…")
    return [visitor.page.screenshot() for visitor in (alice, bob)]


def beside(browser: Browser, pictures: list[bytes]) -> bytes:
    """Return one picture of all of these."""
    images = "".join(f'<img src="data:image/png;base64,{base64.b64encode(one).decode()}">' for one in pictures)
    page = browser.new_page(viewport={"width": 2 * WINDOW["width"] + 36, "height": WINDOW["height"] + 24})
    page.set_content(f"<style>body{{margin:12px;display:flex;gap:12px;background:#8893a5}}</style>{images}")
    return page.screenshot()


def main() -> None:
    """Play the conversation and write the picture."""
    place, variables = chromium()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = RedisServer(folder / "redis")
        stack.callback(redis.stop)
        nodes = stack.enter_context(two_nodes(folder, redis.url, "screenshot"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=str(place), env={**os.environ, **variables}, args=["--headless=shell", "--no-sandbox"]
        )
        stack.callback(browser.close)
        PICTURE.write_bytes(beside(browser, talk(browser, nodes)))
    print(f"written: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
