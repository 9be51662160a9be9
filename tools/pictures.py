"""Draw the pictures of docs/architecture.md (`make pictures`): the layers, from the contract in pyproject.toml,
a message's path, the states of a session, from its table of transitions, and how a session is resumed.
tests/docs/test_pictures.py fails when they are out of date.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

from relay.session.session import NAMED, TRANSITIONS, State, Transition

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"

# A message's path, as file, function and action: down on the sender's node, then up on the receiver's node. The second
# list is in the order of the picture, so that a message takes it from the last row to the first.
SENDING: Final = (
    ("server/connection.py", "Connection.pump", "bytes to lines to commands; waits while the session is blocked"),
    (
        "session/send_window.py",
        "SendWindow.say",
        "checks the id, puts the text into the window and into a peer message",
    ),
    ("hub/hub.py", "Hub.post", "to _deliver if the partner is on this node, else to the link to its node"),
    ("bus/bus.py", "Bus.flush", "at the end of the iteration: numbered frames for each node, one write"),
)
RECEIVING: Final = (
    (
        "server/connection.py",
        "Connection.end_tick",
        "at the end of the iteration: one write; then Ack goes back the same way",
    ),
    ("session/peer_handlers.py", "receive", "checks chat, fencing token and id, and tells the client, once"),
    ("hub/hub.py", "Hub._deliver", "finds the session by its canonical name"),
    ("bus/bus.py", "Bus.received", "accepts the next frame of the stream, and requests missing ones"),
)
FILES: Final = {file for file, _, _ in (*SENDING, *RECEIVING)}


class Step(NamedTuple):
    """One message while a session is resumed on another node, with its sender and receiver."""

    sender: str
    receiver: str
    what: str  # a frame, a peer message or a script, and its content
    transition: Transition | None = None  # the transition of the session on the new node
    former: Transition | None = None  # the transition of the session on its former node


PARTIES: Final = ("client", "new node", "Redis", "former node", "partner's node")
CLIENT, NEW, DIRECTORY, FORMER, PARTNER = PARTIES
RESUME: Final = (
    Step(CLIENT, NEW, "hello: name, token, chat, last", Transition.CLAIM),
    Step(NEW, DIRECTORY, "find: the record of the name"),
    Step(NEW, DIRECTORY, "claim: that record, higher token"),
    Step(DIRECTORY, NEW, "fencing token: the name is ours", Transition.RESUME),
    Step(NEW, FORMER, "SessionMoved: node, fencing token"),
    Step(NEW, PARTNER, "Resync: the last message here"),
    Step(FORMER, PARTNER, "UnknownSession: gone from here"),
    Step(FORMER, NEW, "Knew: when messages were said", None, Transition.END),
    Step(PARTNER, NEW, "Resync: the last message there", Transition.WELCOME),
    Step(NEW, CLIENT, "welcome, then paired: last"),
    Step(PARTNER, NEW, "Text: those not acknowledged"),
    Step(NEW, CLIENT, "msg: the same messages"),
)
STEP_WIDTH: Final = 250  # pixels from one party to the next

INK: Final = "#1f2933"
LINE: Final = "#7b8794"
PURE: Final = "#d9f2e3"  # the colour of modules without I/O
SHELL: Final = "#dbe7f6"
STORE: Final = "#fbe3d6"
PLAIN: Final = "#ffffff"
ROW: Final = 34
LINES: Final = 16  # pixels from one line of a package's modules to the next
PACKAGE: Final = 44  # characters of such a line
CHARACTER: Final = 7.3  # the width in pixels of a character in the monospaced font below


class Drawing:
    """An SVG picture without external resources. Later shapes cover earlier ones."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12" fill="{INK}">',
            f"<title>{escape(title)}</title>",
            f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto">'
            f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" fill="{colour}" stroke="{LINE}"/>'
        )

    def text(self, x: float, y: float, text: str, *, bold: bool = False, middle: bool = False) -> None:
        style = (' font-weight="bold"' if bold else "") + (' text-anchor="middle"' if middle else "")
        self._parts.append(f'<text x="{x:g}" y="{y:g}"{style}>{escape(text)}</text>')

    def arrow(self, *points: tuple[float, float]) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" marker-end="url(#tip)"/>')

    def line(self, *points: tuple[float, float]) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-dasharray="3 3"/>')

    def dot(self, x: float, y: float) -> None:
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="4" fill="{LINE}"/>')

    def svg(self) -> str:
        return "\n".join([*self._parts, "</svg>"]) + "\n"


def contracts() -> list[dict[str, Any]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def layers(contracts: Sequence[dict[str, Any]], inside: Mapping[str, Sequence[str]]) -> str:
    """Draw the layers: each row may import those below it. `inside` has the modules of each package."""
    [order] = [contract["layers"] for contract in contracts if contract.get("containers") == ["relay"]]
    [modules] = [one["source_modules"] for one in contracts if one["name"] == "The core does no I/O"]
    pure = {module.removeprefix("relay.") for module in modules}
    rows = [[(name, list(wrapped(" ".join(inside.get(name, ())), PACKAGE))) for name in cells(row)] for row in order]
    sizes = [[max(map(len, (name, *lines))) * CHARACTER + 16 for name, lines in row] for row in rows]
    heights = [max(len(lines) for _, lines in row) * LINES + ROW - 10 for row in rows]
    width = round(max(sum(row) + 10 * len(row) for row in sizes)) + 50
    drawing = Drawing("The layers: imports point down", width, sum(heights) + 10 * len(rows) + 50)
    y = 12.0
    for row, widths, height in zip(rows, sizes, heights, strict=True):
        x = (width - sum(widths) - 10 * (len(row) - 1)) / 2 + 10
        for (name, lines), size in zip(row, widths, strict=True):
            drawing.box(x, y, size, height, PURE if name in pure else SHELL)
            drawing.text(x + size / 2, y + 16, name, bold=bool(lines), middle=True)
            for number, line in enumerate(lines):
                drawing.text(x + size / 2, y + 16 + (number + 1) * LINES, line, middle=True)
            x += size + 10
        y += height + 10
    drawing.arrow((12, 14), (12, y))
    for x, colour, text in ((30, PURE, "does no I/O, which a contract holds"), (340, SHELL, "the others")):
        drawing.box(x, y + 13, 14, 14, colour)
        drawing.text(x + 22, y + 24, text)
    return drawing.svg()


def cells(row: str) -> list[str]:
    """Return the packages and modules of one layer of the contract."""
    return [name.strip() for name in row.split("|")]


def modules() -> dict[str, list[str]]:
    """Return the names of the modules and packages in each package of relay/."""
    found: dict[str, list[str]] = {}
    for package in sorted(file.parent for file in (ROOT / "relay").glob("*/__init__.py")):
        names = [path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
        found[package.name] = sorted(name for name in names if name != "__init__")
    return found


def trip() -> str:
    """Draw the path of one message from socket to socket."""
    width, step, high = 780, 92, 66
    left, right, across = 20, 410, 350
    bottom = 44 + len(SENDING) * step
    drawing = Drawing("A message's trip from one client to the other", width, bottom + 80)
    for x, client, node in ((left, "alice", "node 1"), (right, "bob", "node 2")):
        drawing.text(x, 20, f"{client}, a client of {node}", bold=True)
    for x, steps in ((left, SENDING), (right, RECEIVING)):
        for number, (file, function, text) in enumerate(steps):
            y = 44 + number * step
            drawing.box(x, y, across, high, PURE if file.startswith("session/") else SHELL)
            drawing.text(x + 10, y + 18, f"{file}  {function}", bold=True)
            for line, words in enumerate(wrapped(text, 46)):
                drawing.text(x + 10, y + 36 + 16 * line, words)
    for number in range(len(SENDING)):
        y = 44 + number * step
        drawing.arrow((left + 60, y - 20 if number == 0 else y - step + high), (left + 60, y))
        drawing.arrow((right + 290, y), (right + 290, y - 20 if number == 0 else y - step + high))
    drawing.box(left + 170, bottom, 400, 44, STORE)
    drawing.text(left + 370, bottom + 18, "Redis", bold=True, middle=True)
    drawing.text(left + 370, bottom + 36, "PUBLISH relay:inbox:<node 2> <frame>", middle=True)
    last = bottom - step + high
    drawing.arrow((left + 60, last), (left + 60, bottom + 22), (left + 170, bottom + 22))
    drawing.arrow((left + 570, bottom + 22), (right + 290, bottom + 22), (right + 290, last))
    return drawing.svg()


def states() -> str:
    """Draw the states of a session, with a row for each transition of the table."""
    left, column, top = 400, 104, 20
    width, bottom = left + column * len(State), top + ROW * (len(TRANSITIONS) + 1) + 10
    drawing = Drawing("The states of a session", width, bottom + 34)
    places = {state: left + column * (number + 0.5) for number, state in enumerate(State)}
    for state, x in places.items():
        drawing.line((x, top + 10), (x, bottom))
        drawing.box(x - 46, top - 12, 92, 24, PURE if state in NAMED else PLAIN)
        drawing.text(x, top + 4, state.name, bold=True, middle=True)
    for number, (transition, moves) in enumerate(TRANSITIONS.items(), start=1):
        y = top + ROW * number + 10
        drawing.text(14, y + 4, transition.name, bold=True)
        drawing.text(110, y + 4, transition.value)
        for before, after in moves.items():
            if before is not after:
                drawing.dot(places[before], y)
                drawing.arrow((places[before], y), (places[after], y))
    drawing.box(left, bottom + 12, 14, 14, PURE)
    drawing.text(left + 22, bottom + 23, "owns its name")
    return drawing.svg()


def resumed() -> str:
    """Draw how a session is resumed on another node, with its states by the table of transitions."""
    top, step = 20, 46
    bottom = top + step * len(RESUME) + 20
    drawing = Drawing("How a session is resumed on another node", STEP_WIDTH * (len(PARTIES) - 1) + 140, bottom + 10)
    places = {party: 70.0 + STEP_WIDTH * number for number, party in enumerate(PARTIES)}
    for party, x in places.items():
        drawing.line((x, top + 10), (x, bottom))
        drawing.box(x - 60, top - 12, 120, 24, STORE if party == DIRECTORY else SHELL)
        drawing.text(x, top + 4, party, bold=True, middle=True)
    here, there = State.NAMELESS, State.ACTIVE
    for number, (sender, receiver, what, transition, former) in enumerate(RESUME, start=1):
        y, (start, end) = top + step * number, (places[sender], places[receiver])
        drawing.arrow((start, y), (end, y))
        drawing.text(min(start, end) + 8, y - 6, what)
        if transition is not None:
            here = TRANSITIONS[transition][here]
            state_box(drawing, places[NEW], y + 16, here)
        if former is not None:
            there = TRANSITIONS[former][there]
            state_box(drawing, places[FORMER], y + 16, there)
    return drawing.svg()


def state_box(drawing: Drawing, x: float, y: float, state: State) -> None:
    """Draw the state that a session has from here on."""
    drawing.box(x - 42, y - 12, 84, 20, PURE if state in NAMED else PLAIN)
    drawing.text(x, y + 2, state.name, middle=True)


def wrapped(text: str, most: int) -> Iterable[str]:
    """Yield the text in lines, broken between words. Yields nothing for an empty text."""
    line = ""
    for word in text.split():
        if len(line) + len(word) >= most:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    if line:
        yield line


def pictures() -> dict[Path, str]:
    """Return the files and their contents."""
    drawn = {"layers": layers(contracts(), modules()), "trip": trip(), "states": states(), "resume": resumed()}
    return {DOCS / f"{name}.svg": picture for name, picture in drawn.items()}


if __name__ == "__main__":
    for file, picture in pictures().items():
        file.write_text(picture, encoding="utf-8")
