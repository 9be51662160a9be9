"""The opening handshake of WebSocket. `websockets` decides whether it is one, and answers it."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from relay.web.answers import refusal
from relay.web.head import Head

SUBPROTOCOL: Final = Subprotocol("pair-relay.1")
VERSION: Final = "13"

# It would say of each connection that it is open. The node's log does that.
_silent: Final = logging.Logger("websockets", logging.CRITICAL + 1)


def _ours(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Return our subprotocol if it is offered. A client that offers others goes on without one."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


# It keeps nothing of a handshake but why it was refused, so one does for all. It refers to itself: one for each
# connection would stay in memory until Python looks for cycles.
_protocol: Final = ServerProtocol(subprotocols=[SUBPROTOCOL], select_subprotocol=_ours, logger=_silent)


def shake(head: Head) -> tuple[int, bytes]:
    """Return the answer to a handshake, with its status: 101 accepts it."""
    if not head.all("upgrade") and not head.all("sec-websocket-key"):
        needed = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]
        return 426, refusal(426, "This address is for WebSocket clients.", needed)
    if (version := head.one("sec-websocket-version")) not in (None, VERSION):
        needed = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]
        return 426, refusal(426, f"Version {version} of WebSocket isn't spoken here.", needed)
    if head.version != "1.1" or head.has_body:
        return 400, refusal(400, "This is not a valid WebSocket handshake.")
    response = _protocol.accept(Request(head.target, Headers(head.headers)))
    why, _protocol.handshake_exc = _protocol.handshake_exc, None
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return 400, refusal(400, f"This is not a valid WebSocket handshake: {why}.")
    return response.status_code, response.serialize()
