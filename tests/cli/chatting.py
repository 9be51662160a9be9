"""Alice in a terminal, in a chat with bob, on a node that the test scripts."""

from collections.abc import Callable

from tests.cli.scripted import PAIRED, PING, PONG, Peer, ScriptedNode
from tests.cli.terminal import Terminal

ENTER = "\r"
ALT_ENTER = "\x1b\r"
CTRL_C = "\x03"
CTRL_D = "\x04"
CTRL_R = "\x12"
PAGE_UP, END = "\x1b[5~", "\x1b[F"
UP = "\x1b[A"

Open = Callable[..., Terminal]


def paired(
    node: ScriptedNode, terminal: Open, *args: str, acks: str = "client", **how: object
) -> tuple[Terminal, Peer]:
    """Start alice's terminal in a chat with bob, with her prompt shown."""
    screen = terminal("alice", "--to", "bob", *args, **how)
    peer = node.accept()
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say((PAIRED % ("bob", "c1")).replace('"client"', f'"{acks}"'), PONG)
    screen.wait_for("* You are chatting with bob.")
    screen.wait(lambda lines: lines[-1].endswith(">"), "the prompt")
    return screen, peer


def a_text(id: int, text: str, sender: str = "bob", at: float = 1795404840.1) -> str:
    return f'{{"type":"msg","id":{id},"from":"{sender}","chat":"c1","text":"{text}","at":{at}}}'


def said(id: int, text: str) -> dict[str, object]:
    return {"type": "msg", "id": id, "text": text, "chat": "c1"}


def an_ack(id: int) -> str:
    return f'{{"type":"ack","id":{id},"chat":"c1"}}'


def heard_up_to(peer: Peer, id: int) -> None:
    """Wait until the client has acknowledged messages up to this id."""
    while (heard := peer.heard()) != {"type": "ack", "id": id, "chat": "c1"}:
        assert heard["type"] == "ack", heard
