"""This module has the errors of streams."""

import ssl

import anyio

# The errors that reading and writing raise once a connection is gone. SSLError stands for a record that is no TLS, or
# an alert, after which nothing can be read.
BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)


class Closed(anyio.EndOfStream):
    """The server has closed a WebSocket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__()
        self.code = code
        self.reason = reason
