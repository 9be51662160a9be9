"""Somebody who uses the chat page."""

import re
from typing import Final

from playwright.sync_api import ConsoleMessage, Locator, Page, Response, expect

from tests.support.clients import JsonClient
from tests.support.node import Node
from tests.support.process import PATIENCE, wait_until

expect.set_options(timeout=3000 * PATIENCE)
# What a browser says by itself of a node that is gone.
_EXPECTED: Final = re.compile(r"WebSocket connection to .* failed|net::ERR_")
# Keeps everything that was said for a moment, so that a test can look for it afterwards.
_RECORD: Final = """
window.told = [];
document.addEventListener("DOMContentLoaded", () => {
  for (const id of ["state", "presence"]) {
    const place = document.getElementById(id);
    new MutationObserver(() => window.told.push(place.textContent)).observe(place, {childList: true});
  }
});
"""


class Visitor:
    """One page in one browser. Every method waits until what it does is seen."""

    def __init__(self, page: Page, node: Node) -> None:
        self.page = page
        self.node = node
        self.errors: list[str] = []
        self.answers: list[Response] = []
        page.on("response", lambda answer: self.answers.append(answer))
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.add_init_script(_RECORD)
        page.goto(f"http://127.0.0.1:{node.address[1]}/")

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _EXPECTED.search(message.text):
            self.errors.append(message.text)

    def told(self) -> str:
        """What the page shows, for a test that fails."""
        return "--- closed" if self.page.is_closed() else f"--- {self.page.inner_text('body')}"

    def gone(self) -> bool:
        """Whether nobody has the visitor's name, also if nobody ever had."""
        name = self.page.locator("#my-name").text_content()
        if not name or not self.node.alive:
            return True
        client = JsonClient(self.node.address)
        try:
            client.hello("the-observer")
            return client.who(name) == "offline"
        finally:
            client.send("quit")
            client.expect("bye")
            client.close()

    def at(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def enter(self, name: str) -> None:
        self.at("#name").fill(name)
        self.page.keyboard.press("Enter")
        self.is_connected()

    def is_connected(self) -> None:
        expect(self.at("#state")).to_have_text("Connected")

    def call(self, name: str) -> None:
        self.at("#callee").fill(name)
        self.page.keyboard.press("Enter")

    def accept(self) -> None:
        self.page.get_by_role("button", name="Accept").click()

    def is_with(self, name: str) -> None:
        expect(self.at("#partner bdi")).to_have_text(name)

    def meet(self, other: "Visitor", name: str) -> None:
        """Call another visitor, who accepts."""
        self.call(name)
        other.accept()
        self.is_with(name)

    def say(self, *texts: str) -> None:
        for text in texts:
            self.at("#text").fill(text)
            self.page.keyboard.press("Enter")

    def hears(self, *texts: str) -> None:
        """Check all that the partner wrote, since the page was opened."""
        expect(self.at("#log .theirs .text")).to_have_text(list(texts), use_inner_text=False)

    def is_told(self, *texts: str) -> None:
        """Check that these texts of the visitor's own are there, and have arrived."""
        expect(self.at("#log .mine .text")).to_have_text(list(texts))
        expect(self.at("#log .mine .tick")).to_have_text(["✓✓"] * len(texts))

    def has_problem(self, words: str) -> None:
        expect(self.at("#problem")).to_have_text(words)

    def was_told(self, words: str) -> None:
        """Wait until the page has said this of the connection or the partner, if only for a moment."""
        wait_until(lambda: any(words in told for told in self.page.evaluate("window.told")), words, 3 * PATIENCE)

    def fits(self) -> bool:
        """Whether nothing reaches out of the page at its sides."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
