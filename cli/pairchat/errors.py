"""Everything that this package raises: one small tree under `PairchatError`. `str()` of each is one clear line."""


class PairchatError(Exception):
    """Base of all errors of this package."""


class BadServer(PairchatError, ValueError):
    """The server's address can't be understood."""


class BadSettings(PairchatError, ValueError):
    """A setting can't be understood."""


class ConnectionFailed(PairchatError):
    """No connection: unknown host, nobody listening, no answer in time."""


class ConnectionLost(PairchatError):
    """The connection is gone; what was not acknowledged may or may not have arrived."""


class NotARelay(ConnectionLost):
    """The other side broke the protocol; most likely it is something else than a relay."""


class NotAdmitted(ConnectionLost):
    """The relay serves only those who show a certificate that it knows, and ours is missing or none of these."""


class NameLost(PairchatError):
    """The name belongs to another connection now, or none was claimed yet. `claim` one to go on."""


class Refused(PairchatError):
    """The node, or this library in its place, said no. The connection stays usable.

    `code` is a word of the protocol, such as `name_taken`, `busy` or `not_paired`; `name`: the name asked for, if any,
    which `str()` tells as well; `message`: the rest of that.
    """

    def __init__(self, code: str, message: str, *, name: str | None = None) -> None:
        self.message = message or code
        super().__init__(f"{name}: {self.message}" if name else self.message)
        self.code = code
        self.name = name


class NotConfirmed(PairchatError):
    """No acknowledgement will come for a text: it may or may not have arrived. `reason` is a word of the protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"may not have arrived ({reason})")
        self.reason = reason
