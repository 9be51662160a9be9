"""The JSON dialect over WebSocket: the same frames, each of them a text message without a line end."""

from typing import Final

from relay.protocol.commands_and_events import Event, Malformed
from relay.protocol.dialects import JSON, TooLong
from relay.web.frames import text_frame, text_frames

_render: Final = JSON.render  # each message needs it


class WebDialect:
    """See `Dialect`. What a client says is read as in the JSON dialect, by the methods of that."""

    parse: Final = JSON.parse
    more: Final = JSON.more

    def too_long(self, mark: TooLong) -> Malformed:
        """See `Dialect`. The framer has none of these: a message that is too long ends the connection."""
        return JSON.too_long(mark)

    def render(self, event: Event) -> bytes:
        """See `Dialect`."""
        lines = _render(event)[:-1]
        if lines.find(b"\n") < 0:  # nearly always
            return text_frame(lines)
        return text_frames(lines.split(b"\n"))  # no line has an LF inside: JSON escapes it


WEB: Final = WebDialect()
