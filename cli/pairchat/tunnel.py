"""This module asks an HTTP proxy for a connection to a server (CONNECT). It does no I/O."""

from typing import Final

import h11

from pairchat.address import WebAddress
from pairchat.errors import ConnectionFailed
from pairchat.proxy import Proxy

MOST: Final = 16_384  # bytes of the proxy's answer
_SHOWN: Final = 200  # characters of the proxy's own words in a message


class Tunnel:
    """One request to a proxy. Send `request`, and feed the answer until `open` is true."""

    def __init__(self, proxy: Proxy, server: WebAddress) -> None:
        self._proxy = proxy
        self._server = server
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST)
        self._read = 0
        self.open = False
        headers = [("Host", server.authority)]
        if proxy.credentials is not None:
            headers.append(("Proxy-Authorization", proxy.credentials))
        asked = h11.Request(method="CONNECT", target=server.authority, headers=headers)
        self.request = self._http.send(asked) or b""
        self._http.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> None:
        """Take bytes of the answer, or b"" for the end of the stream. Raises `ConnectionFailed`."""
        self._read += len(data)
        if self._read > MOST:
            raise self._failed("it does not answer like an HTTP proxy: its answer has no end")
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = self._http.next_event()
        except h11.RemoteProtocolError:
            raise self._failed(
                "it does not answer like an HTTP proxy" if data else "it closes the connection"
            ) from None
        if isinstance(event, h11.Response):
            self._answered(event)

    def _answered(self, response: h11.Response) -> None:
        status, reason = response.status_code, response.reason.decode("latin-1")[:_SHOWN]
        if status == 407 and not _takes_basic(response):
            raise self._failed("the proxy wants another proof than a user name and a password in the open (407)")
        if status == 407 and self._proxy.credentials is None:
            raise self._failed("the proxy wants a user name and a password (407)")
        if status == 407:
            raise self._failed("the proxy does not accept this user name and password (407)")
        if not 200 <= status < 300:
            raise self._failed(f"the proxy refuses ({status} {reason})")
        if self._http.trailing_data[0]:  # the server says nothing before we do
            raise self._failed("it does not answer like an HTTP proxy: it goes on after its answer")
        self.open = True

    def _failed(self, why: str) -> ConnectionFailed:
        return ConnectionFailed(f"can't connect to {self._server} through the proxy {self._proxy}: {why}")


def _takes_basic(response: h11.Response) -> bool:
    """Return False if the proxy wants Kerberos, NTLM or the like. It need not say what it wants."""
    offered = [value.lower() for name, value in response.headers if name == b"proxy-authenticate"]
    return not offered or any(b"basic" in value for value in offered)
