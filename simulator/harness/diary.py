"""What nodes log, in the trace, and the lines that no node may ever log."""

import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

from simulator.world import World

# What is counted for the gates, by the beginning of the line that a node logs.
WORDS: Final = {
    "redis forgot a part of the directory": "roll calls",
    "lease overdue": "leases in doubt",
    "another server took this one's place": "servers left",
}
WEB: Final = "sessions over WebSocket"
WEB_RESUMED: Final = "sessions resumed over WebSocket"
# Levels that stand for a defect.
_BAD: Final = ("error", "critical")


COUNTED: Final = (*WORDS.values(), WEB, WEB_RESUMED)


class Diary:
    """The log lines of all nodes."""

    def __init__(self, world: World) -> None:
        self.errors: list[str] = []  # those that stand for a defect
        self.open = True
        self.counts = dict.fromkeys(COUNTED, 0)
        self._world = world

    def take(self, _: Any, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Take a line, as a processor of structlog."""
        process = self._world.current
        if self.open and process is not None and process.alive:
            failure = line.pop("exc_info", None)
            words = [f"{key}={value!r}" for key, value in line.items() if key != "event"]
            if failure:
                words.append(_failure(failure))
            text = f"{line.get('event')} {' '.join(words)}".rstrip()
            self._world.note(process.name, f"logs {level}: {text}")
            self._count(line)
            if level in _BAD:
                self.errors.append(f"{process.name} at {self._world.now:.3f} s: {text}")
        raise structlog.DropEvent

    def _count(self, line: MutableMapping[str, Any]) -> None:
        event = str(line.get("event"))
        if event == "session started":
            if line.get("dialect") == "websocket":
                self.counts[WEB_RESUMED if line.get("resumed") else WEB] += 1
            return
        for beginning, what in WORDS.items():
            if event.startswith(beginning):
                self.counts[what] += 1


def _failure(failure: Any) -> str:
    """Return an exception with the place where it was raised."""
    error = failure if isinstance(failure, BaseException) else sys.exc_info()[1]
    if error is None:
        return ""
    words, place = f"{type(error).__name__}: {error}", error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is not None:
        words += f" ({place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno})"
    return words


@contextmanager
def diary(world: World) -> Iterator[Diary]:
    """Have all log lines written to the trace, while the context lasts."""
    kept, before = Diary(world), structlog.get_config()
    structlog.configure(
        processors=[kept.take],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        cache_logger_on_first_use=False,
    )
    try:
        yield kept
    finally:
        structlog.configure(**before)
