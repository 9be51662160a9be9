"""One event, one line on stderr: `time level event key=value …`, with nothing in it that a terminal would obey."""

import logging
import os
import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

_COLOURS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_BOLD: Final = "\x1b[1m"
_RESET: Final = "\x1b[0m"
_NEEDS_QUOTES: Final = frozenset(" ='\"\\")


def setup(stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's log lines to `stream` (default: stderr). Call it once, at the start.

    Colours appear on a terminal only, and never with NO_COLOR set. Values are escaped, whoever they came from.
    """
    target = sys.stderr if stream is None else stream
    colours = target.isatty() and not os.environ.get("NO_COLOR")

    def render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        return line(event, colours=colours)

    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Sink(target),
        cache_logger_on_first_use=False,  # a logger made at import time must not keep an older set-up
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            use_get_message=True,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def line(event: MutableMapping[str, Any], *, colours: bool = False) -> str:
    """Return one line for a structlog event dict: no line break or control character, in any value, survives."""
    fields = dict(event)
    time, level = str(fields.pop("timestamp", "")), str(fields.pop("level", "info"))
    what = escape(str(fields.pop("event", "")))
    failure = _describe(fields.pop("exc_info", None))
    if failure:
        fields["exception"] = failure
    if colours:
        level, what = f"{_COLOURS.get(level, '')}{level}{_RESET}", f"{_BOLD}{what}{_RESET}"
    return " ".join([part for part in (time, level, what) if part] + [f"{k}={_value(v)}" for k, v in fields.items()])


def escape(text: str) -> str:
    """Return the text with everything that isn't printable written as `\\xNN`, `\\uNNNN` or the like."""
    return text if text.isprintable() else repr(text)[1:-1]


def _value(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    if not text or not text.isprintable() or not _NEEDS_QUOTES.isdisjoint(text):
        return repr(text)
    return text


def _describe(exc_info: object) -> str:
    """The trace on one line, innermost frame last; structlog passes True, an exception or a triple."""
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        return ""
    return "".join(traceback.format_exception(error)).strip()


class _Sink:
    """Writes lines. A reader that is gone, or a full disk, must not end the process that logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(message + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg
