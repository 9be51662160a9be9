"""Play the test vectors in clients/vectors with the core of the Python library.

    python -m tests.cli.vectors

A vector is a list of steps. Each has something that the program does (`do`) or that the node says (`in`), and what
comes of it: the frames to the node (`out`), the events (`events`) and the error (`error`). At the end it says the
outcomes of requests (`outcomes`) and what is saved (`memory`). The JavaScript core plays the same files in
clients/js/test.

Run as a program, this writes what comes of each step anew. Read the difference: it is a change for both clients.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from pairchat import ClientProtocol
from pairchat.errors import PairchatError, Refused
from pairchat.events import Message, Settled
from pairchat.requests import Request
from pairchat.saved_session import SessionState

FOLDER = Path(__file__).parents[2] / "clients" / "vectors"
Step = dict[str, Any]
COMES = ("out", "events", "error")


def load() -> dict[str, list[Step]]:
    """Return the steps of all cases, by the name of the file and the case."""
    files = sorted(FOLDER.glob("*.json"))
    return {f"{file.stem}: {case['case']}": case["steps"] for file in files for case in json.loads(file.read_text())}


class Player:
    """Plays the steps of one case."""

    def __init__(self) -> None:
        self._protocol = ClientProtocol()
        self._proofs: list[str | None] = [None]
        self._requests: dict[str, Request] = {}

    def play(self, step: Step) -> Step:
        """Return the step with what really came of it."""
        done = {key: value for key, value in step.items() if key not in COMES}
        told: list[Any] = []
        try:
            told = self._act(step)
        except (PairchatError, ValueError) as error:
            done["error"] = _error(error)
        out = [json.loads(line) for line in self._protocol.data_to_send().splitlines()]
        done |= {"out": out} if out else {}
        done |= {"events": [_event(event) for event in told]} if told else {}
        if "outcomes" in step:
            done["outcomes"] = {name: self._outcome(name) for name in step["outcomes"]}
        if "memory" in step:
            memory = self._protocol.memory
            done["memory"] = None if memory is None else _without_none(json.loads(msgspec.json.encode(memory)))
        return done

    def _act(self, step: Step) -> list[Any]:
        if "in" in step:
            return self._protocol.feed("".join(json.dumps(frame) + "\n" for frame in step["in"]).encode())
        if "do" not in step:
            return []
        what, *words = step["do"]
        if what == "new":
            [options] = words or [{}]
            proofs = iter(options.get("proofs", []))
            self._protocol = ClientProtocol(ask=options.get("ask", False), proof=lambda: next(proofs, None))
            return []
        if what == "farewell":
            self._protocol.farewell(now=True)
            return []
        words = [self._word(what, word) for word in words]
        result = getattr(self._protocol, what)(*words)
        if isinstance(result, Request):
            self._requests[step.get("as", "")] = result
        return result if isinstance(result, list) else []

    def _word(self, what: str, word: Any) -> Any:
        if what == "acknowledge":
            return Message(word["id"], "", word["chat"], "", word["at"])
        if what == "recall":
            return msgspec.convert(word, SessionState)
        return self._requests[word] if what == "cancel" else word

    def _outcome(self, name: str) -> Step | None:
        outcome = self._requests[name].outcome
        if outcome is None:
            return None
        return _error(outcome) if isinstance(outcome, PairchatError) else _event(outcome)


def _error(error: Exception) -> Step:
    kind = "ValueError" if isinstance(error, ValueError) else type(error).__name__
    return {"error": kind, "code": error.code} if isinstance(error, Refused) else {"error": kind}


def _event(event: Any) -> Step:
    kind = {"type": type(event).__name__.lower()}
    if isinstance(event, Settled):
        text = event.text
        words = {"id": text.id, "text": text.text, "chat": text.chat, "by": text.by, "status": str(text.fate)}
        return {**kind, "text": _without_none({**words, "detail": text.detail, "at": text.at})}
    return {**kind, **_without_none(msgspec.to_builtins(event))}


def _without_none(fields: Step) -> Step:
    return {key: value for key, value in fields.items() if value is not None}


def main() -> None:
    """Write what comes of each step anew."""
    for file in sorted(FOLDER.glob("*.json")):
        cases = json.loads(file.read_text())
        for case in cases:
            player = Player()
            case["steps"] = [player.play(step) for step in case["steps"]]
        file.write_text(_written(cases), encoding="utf-8")


def _written(cases: list[Any]) -> str:
    """Return the cases as JSON, with a line for each frame and each event."""
    words = []
    for case in cases:
        steps = ",\n".join(_step(step) for step in case["steps"])
        words.append(f'{{"case": {json.dumps(case["case"])}, "steps": [\n{steps}\n]}}')
    return "[\n" + ",\n".join(words) + "\n]\n"


def _step(step: Step) -> str:
    words = []
    for key, value in step.items():
        lines = [json.dumps(one) for one in value] if isinstance(value, list) else []
        text = "[\n      " + ",\n      ".join(lines) + "]" if key in ("in", "out", "events") and len(lines) > 1 else ""
        words.append(f'"{key}": {text or json.dumps(value)}')
    return "  {" + ",\n    ".join(words) + "}"


if __name__ == "__main__":
    main()
