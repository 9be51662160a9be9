"""The settings of a node. They are checked once at its start and never changed."""

import os
import re
import secrets
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from relay.configuration import redis_url
from relay.configuration.redis_url import MAX_PORT, BadUrl
from relay.web import origins
from relay.web.forwarded import TrustedProxies

# A shorter lease would lapse during an ordinary pause of the process. One of more than an hour would lock the names of
# a crashed node's users for longer than anybody waits.
LEASE_SECONDS: Final = (0.5, 3600.0)
# The key of a lapsed lease is kept for an hour. The grace period counts from the lapse, so it can't outlast that key.
GRACE_SECONDS: Final = (0.0, 3600.0)
# A rolling upgrade waits for each node in turn. The bound of an hour catches a wrong unit.
DRAIN_SECONDS: Final = (0.0, 3600.0)
# A shorter limit would refuse a `hello`; with a longer one a single client could take a noticeable part of the memory.
MAX_LINE_BYTES: Final = (64, 16 * 1024 * 1024)
# Less would hardly suffice for the windows of a few dozen slow readers. The upper bound only catches a wrong unit.
MEMORY_MEBIBYTES: Final = (16, 1024 * 1024)
# Less than a second is too short for a handshake across the world. The bound of an hour catches a wrong unit.
NAME_SECONDS: Final = (1.0, 3600.0)
# A window of one message is slow but works. A whole window is sent again after a resume: a million would take seconds.
WINDOW: Final = (1, 65_536)
# A smaller window would only hold two or three short lines. A message longer than the window goes alone. The upper
# bound catches a wrong unit.
WINDOW_BYTES: Final = (1024, 1024 * 1024 * 1024)
# With more, tokens would stay valid long after their expiry.
LEEWAY_SECONDS: Final = (0.0, 300.0)
# More would be felt in each message. The bound catches a wrong unit.
GATHER_MILLISECONDS: Final = (0.0, 100.0)
# The upper bounds only catch a wrong unit.
CONNECTIONS: Final = (0, 10_000_000)
RATES: Final = (0, 1_000_000_000_000)
# The size limit of a file that an option names. All options, or keys with their certificates, take a tenth of this.
MAX_FILE_BYTES: Final = 1024 * 1024
# How long a pipe in place of such a file may take, as the program that writes it may have to ask somebody first.
PIPE_SECONDS: Final = 10.0
# The oldest major version of Redis that the tests cover, and the first with sharded pub/sub.
OLDEST_SERVER: Final = 7

# It is part of every key and channel name, so it has no character with a meaning there (`:`, `{`, `*`) and no space.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOSTNAME_CHARACTERS: Final = 40  # the longest part of the host's name in a default node name


class ConfigError(Exception):
    """A setting can't work. `str()` is one line that names the setting and says which values would work."""


class StartError(Exception):
    """The relay can't start, as for a port in use, a refused password or a missing server.

    `str()` is one line without secrets.
    """


@contextmanager
def one_start_error() -> Iterator[None]:
    """Raise the first StartError of an exception group in place of the group, so that it can be shown in one line."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = group.subgroup(StartError)
        if errors is None:
            raise
        raise first_error(errors) from None


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in a group, however deeply nested."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error


def default_name() -> str:
    """Return a unique node name: the host's name and six random hex digits."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:_HOSTNAME_CHARACTERS]
    return f"{host or 'node'}-{secrets.token_hex(3)}"


def redact(url: str) -> str:
    """Return the URL for a log line, without user name, password and options. It accepts any string."""
    head, separator, tail = url.partition("://")
    if not separator:
        head, tail = "", url
    credentials, at, rest = tail.rpartition("@")
    address = rest.partition("#")[0].partition("?")[0]
    if not address.isprintable() or not head.isprintable():
        return repr(head + separator + address)
    return f"{head}{separator}{'***@' if at and credentials else ''}{address}"


class LogFormat(StrEnum):
    """The format of log lines."""

    CONSOLE = "console"  # time level event key=value …
    JSON = "json"  # one object a line


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one node. Raises ConfigError for a value that can't work, so every Config is valid."""

    host: str = "127.0.0.1"
    port: int = 9999  # 0: any free port
    redis: str | None = None  # URL; None: this node starts an embedded server
    redis_password_file: Path | None = None  # has the password if the URL has none; read for each connection
    prefix: str = "relay"  # the start of every key and channel
    name: str = field(default_factory=default_name)  # unique in the cluster
    lease: float = 5.0  # seconds until a crashed node's names are free
    grace: float = 30.0  # seconds that a broken JSON session waits for its client
    drain: float = 5.0  # seconds for clients to go on elsewhere once the node is told to stop
    classic_port: int | None = None  # None: off; 0: any free port
    http_port: int | None = None  # None: off; 0: any free port
    max_line: int = 65_536  # bytes of a client's line without its LF
    window: int = 256  # unacknowledged messages of a client: enough for any round trip at chat speed
    window_bytes: int = 1024 * 1024  # the same in bytes of text
    memory: int = 256  # MiB for messages under way, all clients together
    tls_cert: Path | None = None  # PEM, with its chain; None: no TLS
    tls_key: Path | None = None  # PEM, not encrypted
    tls_client_ca: Path | None = None  # PEM; clients need a certificate that one of these signed
    auth_jwt_key: Path | None = None  # public keys, a JWK set, or a secret; None: names need no token
    auth_jwt_audience: str | None = None  # the `aud` that a token must have; None: a token with an `aud` is refused
    auth_jwt_issuer: str | None = None  # the value that a token's `iss` must have; None: any
    # Machines with NTP are some milliseconds apart; badly kept ones, seconds.
    auth_jwt_leeway: float = 10.0  # seconds by which the issuer's clock may be off
    log_format: LogFormat = LogFormat.CONSOLE
    log_level: LogLevel = LogLevel.INFO
    proxy_protocol: bool = False  # a balancer announces each connection's client address
    # Each takes a few kilobytes, the kernel's included, which makes some hundred megabytes.
    max_connections: int = 50_000  # connections of clients; 0, here and below: no limit
    # This is a fifth, so that one address, even a whole company's, can't keep all others out.
    max_connections_per_address: int = 10_000
    name_time: float = 60.0  # seconds: enough for a person to read a greeting and type; a port scanner is gone by then
    # All clients of an address may come back at once. In the long run it is 170 a second, a tenth of a node's capacity.
    max_claims: int = 10_000  # a minute, from one address; resumes count
    # Fifty a second is faster than any user, and takes a few hundredths of a node and of Redis.
    max_calls: int = 3_000  # a minute, of one client; look-ups count
    # It costs about a quarter of a core. Windows and turns share a node out fairly; this bounds the cost of a client.
    max_lines: int = 100_000  # a second, of one client
    max_bytes: int = 64 * 1024 * 1024  # a second, of one client
    page: bool = False  # serve the chat page
    origin: tuple[str, ...] = ()  # of pages that may talk to the node, besides its own; `*`: any
    trusted_proxy: tuple[str, ...] = ()  # networks of proxies whose X-Forwarded-For counts
    gather: float = 0.0  # milliseconds for which frames to a node gather after one has left
    general_way: bool = False  # handle every message in the general way, to compare it with the usual case
    siblings: tuple[int, ...] = ()  # ports of the nodes that were started with this one, for its page
    share_ports: bool = False  # whether to share the ports for clients with other workers (SO_REUSEPORT)

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", check_host("--host", self.host))
        _check_ports(self)
        if self.redis is not None:
            check_url(self.redis, self.redis_password_file)
        elif self.redis_password_file is not None:
            raise ConfigError("--redis-password-file needs --redis")
        _check_identifier("--prefix", self.prefix)
        _check_identifier("--name", self.name)
        check_range("--lease", self.lease, LEASE_SECONDS, "seconds")
        check_range("--grace", self.grace, GRACE_SECONDS, "seconds")
        check_range("--drain", self.drain, DRAIN_SECONDS, "seconds")
        check_range("--max-line", self.max_line, MAX_LINE_BYTES, "bytes")
        check_range("--window", self.window, WINDOW, "messages")
        check_range("--window-bytes", self.window_bytes, WINDOW_BYTES, "bytes")
        check_range("--name-time", self.name_time, NAME_SECONDS, "seconds")
        check_range("--gather", self.gather, GATHER_MILLISECONDS, "milliseconds")
        check_range("--memory", self.memory, MEMORY_MEBIBYTES, "MiB")
        check_range("--max-connections", self.max_connections, CONNECTIONS, "")
        check_range("--max-connections-per-address", self.max_connections_per_address, CONNECTIONS, "")
        for rate in ("max_claims", "max_calls", "max_lines", "max_bytes"):
            check_range(f"--{rate.replace('_', '-')}", getattr(self, rate), RATES, "")
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key need each other")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ConfigError("--tls-client-ca needs --tls-cert and --tls-key")
        check_range("--auth-jwt-leeway", self.auth_jwt_leeway, LEEWAY_SECONDS, "seconds")
        _check_claim("--auth-jwt-audience", self.auth_jwt_audience, self)
        _check_claim("--auth-jwt-issuer", self.auth_jwt_issuer, self)
        for several in ("origin", "trusted_proxy", "siblings"):
            object.__setattr__(self, several, tuple(getattr(self, several)))
        _check_web(self)

    @property
    def reloads(self) -> bool:
        """Whether SIGHUP reads files again; otherwise it ends the node as SIGTERM does, except under systemd."""
        files = (self.tls_cert, self.auth_jwt_key, self.redis_password_file)
        of_redis = () if self.redis is None else redis_url.parse(self.redis).files
        return bool(of_redis) or any(file is not None for file in files)


def check_host(option: str, host: str) -> str:
    """Return the host of an option, without the brackets of an IPv6 address. Raises ConfigError.

    It checks the syntax only. Connecting or listening shows whether the host exists.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") and ":" in host else host
    try:
        bare.encode("idna")  # the socket module does the same with every name, and raises no OSError
        usable = bool(bare) and bare.isprintable() and not set(" []/@") & set(bare)
    except UnicodeError:
        usable = False
    if not usable:
        raise ConfigError(f"{option} must be a host name or address, not {host!r}")
    return bare


def parse_server(option: str, text: str) -> tuple[str, int]:
    """Parse `host:port` or `[IPv6]:port` into the host and the port. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed):
        raise ConfigError(f"{option} must be host:port, or [IPv6]:port, not {text!r}")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MAX_PORT):
        raise ConfigError(f"{option} must have a port from 1 to {MAX_PORT}, not {text!r}")
    return check_host(option, host), int(port)


def show_server(server: tuple[str, int]) -> str:
    """Return a server as `parse_server` reads it."""
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_file(option: str, file: Path) -> bytes:
    """Return the content of an option's file or pipe.

    Raises ConfigError if it can't be read, is longer than MAX_FILE_BYTES, or is a pipe that hasn't ended after
    PIPE_SECONDS.
    """
    try:
        content = _read(file)
    except TimeoutError:
        raise ConfigError(
            f"{option} {str(file)!r} can't be read: what writes there has not ended within {PIPE_SECONDS:g} s"
        ) from None
    except OSError as error:
        raise ConfigError(f"{option} {str(file)!r} can't be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{option} {str(file)!r} is longer than {MAX_FILE_BYTES} bytes")
    return content


def _read(file: Path) -> bytes:
    """Read at most one byte more than the limit. Raises OSError, and TimeoutError if a pipe doesn't end."""
    # Without O_NONBLOCK, opening a pipe would block until it has a writer.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + PIPE_SECONDS
        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        content = bytearray()
        while len(content) <= MAX_FILE_BYTES:
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            piece = os.read(descriptor, MAX_FILE_BYTES + 1 - len(content))
            if not piece:
                break
            content += piece
        return bytes(content)
    finally:
        os.close(descriptor)


@contextmanager
def bounded(option: str, file: Path) -> Iterator[Path]:
    """Hold a path with the content of an option's file, for OpenSSL.

    OpenSSL itself would read without a limit or wait forever for the writer of a pipe, and its errors don't name the
    file. Raises ConfigError as `read_file` does.
    """
    content = read_file(option, file)
    if file.is_file():
        yield file
        return
    if sys.platform != "linux":
        raise ConfigError(f"{option} {str(file)!r} can't be used: it has to be a file")
    with os.fdopen(os.memfd_create("option"), "wb") as copy:  # a pipe can be read only once
        copy.write(content)
        copy.flush()
        yield Path(f"/proc/self/fd/{copy.fileno()}")


def check_url(url: str, password_file: Path | None = None) -> None:
    """Raise ConfigError unless this is the URL of a Redis or Valkey, of sentinels, or of a cluster.

    It checks the syntax only, and doesn't connect.
    """
    try:
        said = redis_url.parse(url)
    except BadUrl as error:
        shown = f"{url.partition('://')[0]}://…" if error.cut else redact(url)
        raise ConfigError(f"--redis {shown} can't be used: {error}") from None
    if password_file is not None and said.login.password is not None:
        raise ConfigError("--redis and --redis-password-file can't both give a password")


def _check_ports(config: Config) -> None:
    ports = {"--port": config.port, "--classic-port": config.classic_port, "--http-port": config.http_port}
    taken: dict[int, str] = {}
    for option, port in ports.items():
        if port is None:
            continue
        check_range(option, port, (0, MAX_PORT), "")
        if port and port in taken:
            raise ConfigError(f"{option} and {taken[port]} can't both be {port}")
        taken[port] = option


def _check_identifier(option: str, value: str) -> None:
    if not _IDENTIFIER.fullmatch(value):
        raise ConfigError(f"{option} must be 1 to 64 letters, digits, dots, dashes or underscores, not {value!r}")


def _check_web(config: Config) -> None:
    for origin in config.origin:
        if origin not in (origins.ANY, origins.NULL) and origins.parse(origin) is None:
            raise ConfigError(f"--origin must be an origin as https://chat.example.com, or *, not {origin!r}")
    try:
        TrustedProxies(config.trusted_proxy)
    except ValueError as error:
        raise ConfigError(f"--trusted-proxy must be an address, or a network as 10.0.0.0/8: {error}") from None


def _check_claim(option: str, value: str | None, config: Config) -> None:
    if value is None:
        return
    if config.auth_jwt_key is None:
        raise ConfigError(f"{option} needs --auth-jwt-key")
    if not value or not value.isprintable():
        raise ConfigError(f"{option} must be a text, not {value!r}")


def check_range(option: str, value: float, bounds: tuple[float, float], unit: str) -> None:
    """Raise ConfigError unless the value is within the inclusive bounds."""
    low, high = bounds
    if not low <= value <= high:  # this way round, so that NaN is refused too
        raise ConfigError(
            f"{option} must be between {low:.12g} and {high:.12g} {unit}".rstrip() + f", not {value:.12g}"
        )
