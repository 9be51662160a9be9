"""This module turns lines into WebSocket messages and back, from the opening handshake on. It does no I/O.

`websockets` does the handshake and the frames. One line is one text message, without its LF.
"""

import logging
from typing import Final, NoReturn

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from pairchat.address import WebAddress, ascii_host
from pairchat.errors import ConnectionFailed, NotARelay
from pairchat.frame_decoder import MAX_NODE_LINE

SUBPROTOCOL: Final = Subprotocol("pair-relay.1")
MOST_PATIENCE: Final = 60.0  # seconds for which a server may send us away (`Retry-After`)
_SHOWN: Final = 200  # characters of a server's own words in a message
_TLS_ALERT: Final = b"\x15\x03"

_REFUSALS: Final = {
    403: "it does not let us in; is this the name by which its clients call it?",
    404: "there is no relay at {path}; most are at /ws",
    429: "too many connections come from this address",
    503: "it has no room, or is about to stop",
}
# It would log each frame, the token with it.
_silent: Final = logging.Logger("websockets", logging.CRITICAL + 1)


class WebLines:
    """One WebSocket connection. `owed` holds bytes for the server that no line caused: the handshake, pongs, a close.

    Send what `take_owed` returns after each call.
    """

    def __init__(self, server: WebAddress) -> None:
        uri = WebSocketURI(server.secure, ascii_host(server.host), server.port, server.path, server.query)
        self._library = ClientProtocol(uri, subprotocols=[SUBPROTOCOL], max_size=MAX_NODE_LINE, logger=_silent)
        self._server = server
        self._message = bytearray()  # the fragments of a message that came so far
        self._first = b""  # the first bytes of the server
        self.open = False  # the handshake is done
        self.closed: Close | None = None  # the close frame of the server
        self._library.send_request(self._library.connect())
        self.owed = b"".join(self._library.data_to_send())

    def take_owed(self) -> bytes:
        """Return `owed`, and owe it no more."""
        owed, self.owed = self.owed, b""
        return owed

    @property
    def may_send(self) -> bool:
        """True until either side closes the connection."""
        return self._library.state is State.OPEN

    def frames(self, lines: bytes) -> bytes:
        """Return the frames for these lines, each of which ends in LF."""
        for line in lines.split(b"\n")[:-1]:
            self._library.send_text(line)
        return b"".join(self._library.data_to_send())

    def close(self) -> None:
        """Begin the closing handshake, unless it has begun."""
        if self.may_send:
            self._library.send_close(1000)
            self._owe()

    def feed(self, data: bytes) -> bytes:
        """Return the lines that these bytes complete, each with an LF.

        Raises `ConnectionFailed` if the handshake is refused, and `NotARelay` for what is no WebSocket.
        """
        self._library.receive_data(data)
        if not self.open:
            self._first += data[: len(_TLS_ALERT) - len(self._first)]
            self._shake()
        lines = [line for event in self._library.events_received() if (line := self._line(event)) is not None]
        self._owe()
        if self._library.parser_exc is not None:
            raise NotARelay(f"{self._server} does not answer like a relay: {self._library.parser_exc}")
        return b"".join(line + b"\n" for line in lines)

    def end(self) -> NoReturn:
        """Report that the stream ends before the handshake is done. Raises `ConnectionFailed`."""
        self._library.receive_eof()
        raise self._failed("it closes the connection before it has answered the WebSocket handshake")

    def _owe(self) -> None:
        """Owe the answers to the last control frames. Of pings that came earlier, the last one has to be answered."""
        self.owed = b"".join(self._library.data_to_send()) or self.owed

    def _line(self, event: object) -> bytes | None:
        """Return the message that an event completes, or None."""
        if not isinstance(event, Frame):
            return None
        if event.opcode is Opcode.CLOSE:
            self.closed = self._library.close_rcvd
        elif event.opcode is Opcode.BINARY:
            raise NotARelay(f"{self._server} does not answer like a relay: a message that is no text")
        elif event.opcode in (Opcode.TEXT, Opcode.CONT):
            self._message += event.data
            if event.fin:
                message, self._message = self._message, bytearray()
                return bytes(message).replace(b"\n", b" ")  # JSON has line feeds only where it may have spaces
        return None

    # --- the answer to the handshake

    def _shake(self) -> None:
        """Look at what is known of the answer."""
        error = self._library.handshake_exc
        if isinstance(error, InvalidStatus):
            raise self._refused(error.response)
        if self._first == _TLS_ALERT:
            raise self._failed("it speaks TLS (wss://)")
        if error is not None:
            raise self._failed(f"it does not answer like a WebSocket server: {error}")
        self.open = self._library.state is not State.CONNECTING  # a close frame may have come with the answer

    def _refused(self, response: Response) -> ConnectionFailed:
        status = response.status_code
        wait = _seconds(response.headers.get_all("Retry-After")) if status in (429, 503) else 0.0
        if 300 <= status < 400:
            to = (response.headers.get_all("Location") or ["another address"])[0][:_SHOWN]
            return self._failed(f"it sends us to {to}, and a redirect is not followed ({status})")
        words = _REFUSALS.get(status, "there is no WebSocket").format(path=self._server.path)
        return self._failed(f"{words} ({status} {response.reason_phrase[:_SHOWN]})", wait)

    def _failed(self, why: str, retry_after: float = 0.0) -> ConnectionFailed:
        return ConnectionFailed(f"can't connect to {self._server}: {why}", retry_after=retry_after)


def _seconds(values: list[str]) -> float:
    """Return the seconds in `Retry-After`. A date in it counts for nothing: clocks differ."""
    value = values[0].strip() if values else ""
    return min(float(value[:9]), MOST_PATIENCE) if value.isascii() and value.isdecimal() else 0.0
