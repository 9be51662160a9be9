"""Logs each event as one line on stderr: `time level event key=value …` or JSON, without control characters.

The event loop never waits for the reader of the log: lines without room are dropped, and their number is logged.
"""

import json
import logging
import os
import re
import select
import sys
import traceback
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from relay.clock import clocks
from relay.configuration.config import LogFormat, LogLevel

# The interval at which the log repeats that a trouble goes on.
SPELL_SECONDS: Final = 10.0

_COLOURS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_BOLD: Final = "\x1b[1m"
_RESET: Final = "\x1b[0m"
_NEEDS_QUOTES: Final = frozenset(" ='\"\\")
_LISTENING: Final = re.compile(r" listening .*\baddress=(\S+)")  # the line of a node that accepts connections

_log = structlog.get_logger()


def setup(
    stream: TextIO | None = None,
    *,
    style: LogFormat = LogFormat.CONSOLE,
    level: LogLevel = LogLevel.INFO,
    node: str | None = None,
) -> None:
    """Send structlog's and the standard library's log lines to `stream` (default: stderr). Call it once, at the start.

    Colours appear on a terminal only, and never with NO_COLOR set. All values are escaped. Lines of libraries are
    logged from warnings on. `node` is the name of this node, which each line has, those of libraries included.
    """
    target = sys.stderr if stream is None else stream
    colours = target.isatty() and not os.environ.get("NO_COLOR")
    least = getattr(logging, level.upper())

    def render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        if node is not None:
            event = {**event, "node": event.get("node", node)}
        return as_json(event) if style is LogFormat.JSON else line(event, colours=colours)

    sink = _Sink(target, render)

    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,  # a logger made at import must not keep an older configuration
    )
    handler = logging.StreamHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            use_get_message=True,
        )
    )
    logging.basicConfig(handlers=[handler], level=max(least, logging.WARNING), force=True)


def pass_on(line: str) -> None:
    """Write a line that another process has logged, unchanged; like our own it is dropped if there is no room."""
    structlog.get_config()["logger_factory"]().msg(line)


def always() -> Any:
    """Return a logger whose lines appear at every log level, as other programs wait for them."""
    return structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))


def line(event: MutableMapping[str, Any], *, colours: bool = False) -> str:
    """Return one line for a structlog event dict, without line breaks or control characters in any value."""
    fields = dict(event)
    time, level = str(fields.pop("timestamp", "")), str(fields.pop("level", "info"))
    what = escape(str(fields.pop("event", "")))
    failure = _describe(fields.pop("exc_info", None))
    if failure:
        fields["exception"] = failure
    if colours:
        level, what = f"{_COLOURS.get(level, '')}{level}{_RESET}", f"{_BOLD}{what}{_RESET}"
    return " ".join([part for part in (time, level, what) if part] + [f"{k}={_value(v)}" for k, v in fields.items()])


def as_json(event: MutableMapping[str, Any]) -> str:
    """Return the event dict as a JSON object in ASCII: `timestamp`, `level`, `event`, then the fields."""
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    fields = first | {key: value for key, value in event.items() if key not in first and key != "exc_info"}
    failure = _describe(event.get("exc_info"))
    if failure:
        fields["exception"] = failure
    return json.dumps(fields, default=str)


def listening(line: str) -> str:
    """Return the address for clients from a node's log line "listening", in any format; empty for other lines."""
    if not line.startswith("{"):
        found = _LISTENING.search(line)
        return found[1] if found else ""
    with suppress(ValueError):
        fields = json.loads(line)
        if fields.get("event") == "listening":
            return str(fields.get("address", ""))
    return ""


def escape(text: str) -> str:
    """Return the text with each character that isn't printable escaped as `\\xNN`, `\\uNNNN` or the like."""
    return text if text.isprintable() else repr(text)[1:-1]


def _value(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    if not text or not text.isprintable() or not _NEEDS_QUOTES.isdisjoint(text):
        return repr(text)
    return text


def _describe(exc_info: object) -> str:
    """Return the traceback, innermost frame last. structlog passes True, an exception or a triple."""
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        return ""
    return "".join(traceback.format_exception(error)).strip()


class Spell:
    """Logs a trouble that recurs: its beginning, a line every SPELL_SECONDS while it lasts, and its end."""

    def __init__(self, event: str, over: str = "") -> None:
        """`over` is the event of its end, for troubles whose end can be noticed."""
        self._event = event
        self._over = over
        self._said = float("-inf")
        self._unsaid = 0
        self._times = 0

    def again(self, **words: Any) -> None:
        """Note that the trouble has occurred, for the first time or again."""
        self._times += 1
        self._unsaid += 1
        now = clocks.monotonic()
        if now - self._said >= SPELL_SECONDS:
            self._said = now
            times = {"times": self._unsaid} if self._unsaid > 1 else {}
            _log.warning(self._event, **words, **times)
            self._unsaid = 0

    def over(self, **words: Any) -> None:
        """Note that the trouble is over."""
        if self._times:
            _log.info(self._over, **words, times=self._times)
            self._times = self._unsaid = 0
            self._said = float("-inf")


class _Sink:
    """Writes lines. A reader that is gone or doesn't read, or a full disk, must not end or block the process."""

    def __init__(self, stream: TextIO, render: Callable[[object, str, MutableMapping[str, Any]], str]) -> None:
        self._stream = stream
        self._render = render
        self._dropped = 0
        self._poll: select.poll | None = None
        with suppress(OSError, ValueError):  # the stream is no file, so that it never blocks
            descriptor = stream.fileno()
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)

    def msg(self, message: str) -> None:
        if self._poll is not None and not self._poll.poll(0):  # ready means that there is room for a page
            self._dropped += 1
            return
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._write(f"{self._render(self, 'warning', _lost(dropped))}\n")
        self._write(message + "\n")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg

    # --- as the stream of a handler of the standard library

    def write(self, text: str) -> None:
        self.msg(text.removesuffix("\n"))

    def flush(self) -> None:
        pass


def _lost(lines: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"timestamp": now, "level": "warning", "event": "log lines dropped: nobody reads them", "lines": lines}
