"""Reads the head of one HTTP request, piece by piece."""

from typing import Final

import h11
from msgspec import Struct

from relay.web.first_line import HEAD_BYTES


class Head(Struct, frozen=True):
    """The head of a request. Names of headers are in lower case."""

    method: str
    target: str
    version: str  # 1.0 or 1.1
    headers: tuple[tuple[str, str], ...]
    rest: bytes = b""  # what came behind the head

    def all(self, name: str) -> list[str]:
        """Return the values of a header in their order."""
        return [value for known, value in self.headers if known == name]

    def one(self, name: str) -> str | None:
        """Return the value of a header that may occur once, or None if it doesn't occur or is given more than once."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None

    @property
    def path(self) -> str:
        """The path of the target, without its query."""
        target = self.target
        if not target.startswith("/"):
            _, scheme, behind = target.partition("://")
            slash = behind.find("/")
            target = (behind[slash:] if slash >= 0 else "/") if scheme else target
        return target.partition("?")[0].partition("#")[0]

    @property
    def host(self) -> str | None:
        """The host and port as the client named them, or None if it named none."""
        if "://" in self.target and not self.target.startswith("/"):  # it goes before the header (RFC 9112, 3.2.2)
            return self.target.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
        return self.one("host")

    @property
    def has_body(self) -> bool:
        """Whether a body may follow."""
        return any(
            name == "transfer-encoding" or (name == "content-length" and int(value)) for name, value in self.headers
        )


class BadHead(Exception):
    """The request is refused. `status` is what its answer says."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


_TOO_LARGE: Final = (431, f"a head has at most {HEAD_BYTES} bytes")


class HeadReader:
    """Collects the bytes of one head, in bounded memory."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._size = 0

    def feed(self, data: bytes) -> Head | None:
        """Return the head once it is complete. Raises BadHead."""
        room = HEAD_BYTES - self._size
        data, over = data[:room], data[room:]  # so that it makes no difference how much comes at once
        if not data:
            raise BadHead(*_TOO_LARGE)
        self._size += len(data)
        self._http.receive_data(data)
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise BadHead(error.error_status_hint, str(error)) from None
        if not isinstance(event, h11.Request):
            if over:
                raise BadHead(*_TOO_LARGE)
            return None
        version = event.http_version.decode()
        if not version.startswith("1."):
            raise BadHead(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
        method, target = event.method.decode("latin-1"), event.target.decode("latin-1")
        return Head(method, target, version, headers, self._http.trailing_data[0] + over)
