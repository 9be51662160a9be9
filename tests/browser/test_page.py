"""The chat page in a real browser, on real nodes."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor
from tests.support.clients import JsonClient
from tests.support.guests import Guests
from tests.support.node import Node
from tools.browser import MODULES

MOST = 60_000  # bytes of the whole page
HOSTILE = [
    '<img src=x onerror="window.pwned = 1"><script>window.pwned = 2</script>',
    "javascript:window.pwned=3 https://example.com/ [x](javascript:window.pwned=4)",
    "</p></li></ol><style>*{display:none}</style>&lt;b&gt; &#x3c;",
    "\u202egnp.exe\u202c \u2066\u2067 \u061c\u200f \u2028\u2029",
    "Z\u0310\u034a" + "\u0489" * 300,
    "W" * 5000,
    "# $& $1 {{7*7}} ${7*7} %s",
    "\x01\x1b[31m\x7f\x85",
    "\U0001f469\u200d\U0001f467 שלום مرحبا",
]
# How far each text, and its bubble, reach out of the list, which cuts what is wider.
CUT = """() => [...document.querySelectorAll("#log .text")].map((one) => {
  const range = document.createRange();
  range.selectNodeContents(one);
  const end = one.closest("#log").getBoundingClientRect().right;
  return [range, one].map((box) => box.getBoundingClientRect().right > end);
})"""
# A browser that blocks cookies, and one whose storage is full.
NO_STORAGE = """
Object.defineProperty(window, "sessionStorage", {
  get() { throw new DOMException("access is denied for this document", "SecurityError"); },
});
"""
NO_ROOM = """Storage.prototype.setItem = () => { throw new DOMException("no room", "QuotaExceededError"); };"""
# The client's `quit` waits until the node has said that the partner left.
LATE_QUIT = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (frame) {
  if (!String(frame).includes('"quit"')) return send.call(this, frame);
  this.addEventListener("message", ({ data }) => {
    if (!data.includes('"left"')) return;
    window.partnerLeft = true;
    send.call(this, frame);
  });
};
"""
MARKS = HOSTILE.index("Z\u0310\u034a" + "\u0489" * 300)  # one character for a browser, which can't break it
SMALL: dict[str, Any] = {"viewport": {"width": 320, "height": 568}}


def two(visit: Visit, pair: list[Node], **options: object) -> tuple[Visitor, Visitor]:
    """Alice and bob, who are on two nodes and talk."""
    alice, bob = visit(pair[0], "alice", **options), visit(pair[1], "bob", **options)
    alice.meet(bob, "bob")
    bob.is_with("alice")
    return alice, bob


def test_two_browsers_on_two_nodes_talk_and_go_on_when_a_node_is_killed(visit: Visit, doomed: list[Node]) -> None:
    alice, bob = two(visit, doomed)
    alice.say("hi bob")
    bob.hears("hi bob")
    alice.is_told("hi bob")
    bob.at("#text").press_sequentially("he")
    alice.was_told("is typing…")
    bob.say("hello")
    alice.hears("hello")
    expect(alice.at("#presence")).to_have_text("is here")
    doomed[0].kill()
    alice.was_told("Connection lost")
    alice.say("are you there?")
    alice.is_connected()
    bob.hears("hi bob", "are you there?")
    alice.is_told("hi bob", "are you there?")
    bob.say("I am")
    alice.hears("hello", "I am")
    alice.page.get_by_role("button", name="End chat").click()
    expect(bob.at("#log .note").last).to_have_text("The chat with alice is over.")
    alice.page.get_by_role("button", name="Log out").click()
    expect(alice.at("#log li")).to_have_count(0)
    bob.call("alice")
    bob.has_problem("There is nobody called alice here.")


def next_message(client: JsonClient) -> dict[str, Any]:
    """The next message that a client gets, whatever comes before it."""
    while (frame := client.frame())["type"] != "msg":
        pass
    return frame


def test_a_reload_in_mid_flood_loses_nothing_and_shows_nothing_twice(
    visit: Visit, pair: list[Node], guests: Guests
) -> None:
    alice, bob = visit(pair[0], "alice"), guests.json(pair[1], "bob", acks=True)
    alice.call("bob")
    bob.expect("paired", name="alice")
    alice.is_with("bob")
    texts = [f"line {number}" for number in range(200)]
    for id, text in enumerate(texts[:100], 1):
        bob.send("msg", id=id, text=text)
    expect(alice.at("#log .theirs").first).to_be_attached()
    alice.say("one", "two")
    alice.at("#text").fill("a draft")
    alice.page.evaluate("location.reload()")
    for id, text in enumerate(texts[100:], 101):
        bob.send("msg", id=id, text=text)
    alice.is_connected()
    alice.hears(*texts)
    said = [frame["text"] for _ in range(2) if (frame := next_message(bob))]
    assert said == ["one", "two"]
    bob.send("ack", id=2)
    alice.is_told("one", "two")
    expect(alice.at("#text")).to_have_value("a draft")
    alice.page.reload()
    alice.is_connected()
    alice.hears(*texts)
    alice.is_told("one", "two")
    bob.send("msg", id=201, text="and on")
    alice.hears(*texts, "and on")


def test_offline_is_said_and_what_is_written_then_arrives_later(visit: Visit, pair: list[Node]) -> None:
    alice, bob = two(visit, pair)
    alice.page.context.set_offline(True)
    expect(alice.at("#state")).to_contain_text("You are offline")
    expect(alice.at("#presence")).to_have_text("can't be seen until you are connected again")
    alice.say("from the tunnel")
    alice.page.context.set_offline(False)
    alice.is_connected()
    bob.hears("from the tunnel")
    alice.is_told("from the tunnel")


def test_a_page_that_has_left_ignores_what_its_node_still_says(visit: Visit, pair: list[Node]) -> None:
    alice, bob = visit(pair[0], "alice", script=LATE_QUIT), visit(pair[1], "bob")
    alice.meet(bob, "bob")
    alice.at("#quit").click()
    bob.at("#quit").click()
    alice.page.wait_for_function("window.partnerLeft")
    expect(alice.at("#log .note")).to_have_count(0)


def test_a_browser_that_blocks_storage_keeps_the_chat_as_long_as_the_page(visit: Visit, pair: list[Node]) -> None:
    alice, bob = two(visit, pair, script=NO_STORAGE)
    alice.say("hi bob")
    bob.hears("hi bob")
    alice.is_told("hi bob")
    alice.at("#text").fill("not yet sent")
    alice.page.reload()
    expect(alice.at("#name")).to_be_focused()
    expect(alice.at("#problem")).to_be_empty()
    expect(bob.at("#log .note").last).to_have_text("alice has gone.")
    alice.enter("alice")
    alice.meet(bob, "bob")


def test_a_browser_without_room_says_so_and_the_chat_goes_on(visit: Visit, pair: list[Node]) -> None:
    alice, bob = two(visit, pair, script=NO_ROOM)
    alice.say("hi bob", "and more")
    bob.hears("hi bob", "and more")
    alice.is_told("hi bob", "and more")


def test_of_a_page_in_two_tabs_the_later_one_has_the_session_and_the_other_stops(
    visit: Visit, pair: list[Node]
) -> None:
    alice, bob = two(visit, pair)
    alice.say("before")
    bob.hears("before")
    with alice.page.context.expect_page() as opened:
        alice.page.evaluate("window.open(location.href)")  # with a copy of the storage, as a duplicated tab
    later = Visitor(opened.value, pair[0])
    later.is_with("bob")
    alice.has_problem("Another tab or window has this chat now, and it goes on there. This one has stopped.")
    expect(alice.at("#log .mine .text")).to_be_visible()
    later.say("after")
    bob.hears("before", "after")
    later.is_told("before", "after")
    expect(alice.at("#state")).to_have_text("Not connected")
    assert later.errors == []


def test_hostile_texts_are_text_and_nothing_else(visit: Visit, pair: list[Node], guests: Guests) -> None:
    alice, mallory = visit(pair[0], "alice", **SMALL), guests.json(pair[1], "mallory", acks=True)
    alice.call("mallory")
    mallory.expect("paired", name="alice")
    for id, text in enumerate(HOSTILE, 1):
        mallory.send("msg", id=id, text=text)
    expect(alice.at("#log .theirs .text")).to_have_count(len(HOSTILE))
    assert alice.page.evaluate("[...document.querySelectorAll('#log .text')].map((one) => one.textContent)") == HOSTILE
    assert alice.page.evaluate("window.pwned") is None
    assert alice.at("#log .text *, #log a, #log img, #log script, #log style").count() == 0
    assert alice.page.evaluate(
        "[...document.querySelectorAll('#log .text')].every((one) => getComputedStyle(one).unicodeBidi === 'isolate')"
    )
    assert alice.fits()
    assert alice.page.evaluate(CUT) == [[number == MARKS, False] for number in range(len(HOSTILE))]
    marks = alice.at("#log .theirs .text").nth(MARKS).bounding_box()
    assert marks is not None
    assert marks["height"] < 200


def test_a_text_without_confirmation_is_red_with_its_reason_and_can_be_sent_again(
    visit: Visit, pair: list[Node], guests: Guests
) -> None:
    alice, bob = visit(pair[0], "alice"), guests.json(pair[1], "bob", acks=True)
    alice.call("bob")
    bob.expect("paired")
    alice.is_with("bob")
    alice.say("hi")
    assert next_message(bob)["text"] == "hi"
    expect(alice.at("#log .mine .tick")).to_have_attribute("aria-label", "on its way")
    bob.send("quit", now=True)
    bob.rest()
    failed = alice.at("#log .failed")
    expect(failed.locator(".why")).to_have_text("May not have arrived: bob had gone.")
    again = failed.get_by_role("button", name="Send again")
    again.click()
    alice.has_problem("Call bob first: this text was meant for that chat.")
    back = guests.json(pair[1], "bob", acks=True)
    alice.call("bob")
    back.expect("paired")
    alice.is_with("bob")
    again.click()
    assert next_message(back)["id"] == 2
    back.send("ack", id=2)
    expect(alice.at("#log .mine .tick")).to_have_text("✓✓")
    expect(again).to_have_count(0)


def test_a_partner_who_is_away_is_waited_for(visit: Visit, pair: list[Node], guests: Guests) -> None:
    alice, bob = visit(pair[0], "alice"), guests.json(pair[1], "bob", acks=True)
    alice.call("bob")
    chat = bob.expect("paired")["chat"]
    alice.is_with("bob")
    bob.close()
    expect(alice.at("#presence")).to_contain_text("is away, and may come back within")
    alice.say("take your time")
    back = guests.json(pair[0], "bob", acks=True, token=bob.token, chat=chat)
    assert next_message(back)["text"] == "take your time"
    expect(alice.at("#presence")).to_have_text("is here")
    back.send("ack", id=1)
    alice.is_told("take your time")


def test_a_user_who_reads_further_up_sees_that_there_is_a_new_message(
    visit: Visit, pair: list[Node], guests: Guests
) -> None:
    alice, bob = visit(pair[0], "alice", **SMALL), guests.json(pair[1], "bob", acks=True)
    alice.call("bob")
    bob.expect("paired")
    for id in range(1, 31):
        bob.send("msg", id=id, text=f"line {id}")
    expect(alice.at("#log .theirs").last).to_be_in_viewport()
    alice.at("#log").evaluate("(log) => (log.scrollTop = 0)")
    expect(alice.at("#log .theirs").first).to_be_in_viewport()
    alice.page.evaluate("new Promise(requestAnimationFrame)")
    bob.send("msg", id=31, text="new")
    newer = alice.page.get_by_role("button", name="1 new message ↓")
    expect(alice.page).to_have_title("(1) pair-relay")
    newer.click()
    expect(alice.at("#log .theirs").last).to_be_in_viewport()
    expect(alice.at("#log .new + .theirs .text")).to_have_text("new")
    expect(newer).to_be_hidden()
    expect(alice.page).to_have_title("pair-relay")


def test_a_keyboard_is_enough(visit: Visit, pair: list[Node]) -> None:
    alice, bob = visit(pair[0]), visit(pair[1], "bob")
    keys = alice.page.keyboard
    keys.type("alice")
    keys.press("Enter")
    alice.is_connected()
    expect(alice.at("#callee")).to_be_focused()
    bob.call("alice")
    expect(bob.at("#ringing")).to_have_text("It rings at alice… Give up")
    accept = alice.page.get_by_role("button", name="Accept")
    expect(accept).to_be_visible()
    keys.press("Shift+Tab")  # Block
    keys.press("Shift+Tab")  # Decline
    keys.press("Shift+Tab")
    expect(accept).to_be_focused()
    keys.press("Enter")
    alice.is_with("bob")
    expect(alice.at("#text")).to_be_focused()
    keys.type("one")
    keys.press("Shift+Enter")
    keys.type("two")
    compose = "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true})"
    alice.at("#text").evaluate(f"(text) => text.dispatchEvent({compose})")
    expect(alice.at("#text")).to_have_value("one\ntwo")
    keys.press("Enter")
    bob.hears("one\ntwo")
    expect(alice.at("#text")).to_have_value("")
    for _ in range(2):
        keys.press("Shift+Tab")
    expect(alice.at("#leave")).to_be_focused()
    keys.press("Enter")
    expect(alice.at("#call")).to_be_visible()


def test_calls_can_be_declined_given_up_and_blocked(visit: Visit, pair: list[Node]) -> None:
    alice, bob = visit(pair[0], "alice"), visit(pair[1], "bob")
    bob.call("alice")
    alice.page.get_by_role("button", name="Decline").click()
    bob.has_problem("alice did not take the call.")
    bob.call("alice")
    bob.page.get_by_role("button", name="Give up").click()
    expect(alice.at("#calls li")).to_have_count(0)
    bob.call("alice")
    alice.page.get_by_role("button", name="Block").click()
    expect(alice.at("#log .note")).to_have_text("bob can't call you any more, as long as you stay.")
    bob.has_problem("alice did not take the call.")
    bob.call("alice")
    bob.has_problem("alice is talking with someone else.")
    taken = visit(pair[1])
    taken.at("#name").fill("Alice")
    taken.page.keyboard.press("Enter")
    taken.has_problem("The name Alice is taken. Try another one.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_people_with_disabilities(
    visit: Visit, pair: list[Node], guests: Guests, scheme: str
) -> None:
    alice, bob = visit(pair[0], color_scheme=scheme, **SMALL), guests.json(pair[1], "bob", acks=True)
    check_rules(alice)
    alice.enter("alice")
    check_rules(alice)
    alice.call("zoe")
    alice.has_problem("There is nobody called zoe here.")
    check_rules(alice)
    bob.send("to", name="alice")
    expect(alice.at("#calls li")).to_have_count(1)
    check_rules(alice)
    alice.accept()
    bob.expect("ringing")
    bob.expect("paired")
    bob.send("msg", id=1, text="hello")
    alice.hears("hello")
    alice.say("hi", "there")
    while next_message(bob)["id"] < 2:
        pass
    bob.send("ack", id=1)
    expect(alice.at("#log .mine .tick")).to_have_text(["✓✓", "…"])
    check_rules(alice)
    bob.send("quit", now=True)
    expect(alice.at("#log .failed")).to_have_count(1)
    check_rules(alice)


def check_rules(visitor: Visitor) -> None:
    """Hold the page, as it is now, to the rules of axe-core, and to its width."""
    assert visitor.fits()
    visitor.page.evaluate((MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = visitor.page.evaluate("axe.run({rules: {'color-contrast-enhanced': {enabled: false}}})")
    assert found["passes"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []


def test_the_page_is_small_and_has_a_strict_policy(visit: Visit, pair: list[Node]) -> None:
    alice = visit(pair[0], "alice")
    answers = alice.answers
    assert sum(len(answer.body()) for answer in answers) < MOST
    asked = {answer.url.removeprefix(alice.page.url) for answer in answers}
    assert {"", "style.css", "page.js", "client/core.js", "nodes.json"} < asked
    for answer in answers:
        assert "unsafe" not in answer.headers["content-security-policy"]
    assert next(one.json() for one in answers if one.url.endswith("nodes.json"))["nodes"] == [
        "/ws",
        f"ws://127.0.0.1:{pair[1].address[1]}/ws",
    ]
