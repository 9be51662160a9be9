"""The errors of this package, all derived from `PairchatError`. `str()` of each is one line for a person."""


class PairchatError(Exception):
    """All errors of this package derive from this one."""


class BadServer(PairchatError, ValueError):
    """A server's address is malformed."""


class BadSettings(PairchatError, ValueError):
    """A setting is malformed."""


class ConnectionFailed(PairchatError):
    """No connection could be made: the host is unknown, nothing listens there, or no answer came in time.

    `retry_after` is the number of seconds after which the server wants to be asked again, or 0.
    """

    def __init__(self, message: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConnectionLost(PairchatError):
    """The connection is gone for good. Texts without an outcome may have arrived or not."""


class NotARelay(ConnectionLost):
    """The other side broke the protocol. Most likely it is no relay."""


class NotAdmitted(ConnectionLost):
    """The relay accepts only clients with a certificate that it knows, and this client has none."""


class NameLost(PairchatError):
    """This session has no name: another connection has it now, or none was claimed yet. `claim` one to go on."""


class Refused(PairchatError):
    """The node, or this library in its place, refused a request. The connection stays usable.

    `code` is an error code of the protocol, such as `name_taken`, `busy` or `not_paired`. `name` is the name in the
    request, or None. `message` is a sentence for a person. `str()` has both.
    """

    def __init__(self, code: str, message: str, *, name: str | None = None) -> None:
        self.message = message or code
        super().__init__(f"{name}: {self.message}" if name else self.message)
        self.code = code
        self.name = name


class NotConfirmed(PairchatError):
    """No acknowledgement will come for a text, which may have arrived or not. `reason` is one of the protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"may not have arrived ({reason})")
        self.reason = reason
