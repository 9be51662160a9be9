"""What a node is told at its start: checked once, then never changed."""

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

from relay import redis_url
from relay.redis_url import MAX_PORT, BadUrl

# A lease shorter than this would be lost to an ordinary pause of the process; one longer than an hour would keep the
# names of a crashed node's users locked for longer than anybody waits.
LEASE_SECONDS: Final = (0.5, 3600.0)
# The key of a lapsed lease is kept for an hour, and a grace is counted from the lapse: it can't outlive that key.
GRACE_SECONDS: Final = (0.0, 3600.0)
# A rolling upgrade waits for each node in turn; an hour catches a wrong unit.
DRAIN_SECONDS: Final = (0.0, 3600.0)
# Shorter lines couldn't hold a `hello`; longer ones would let one client hold a noticeable part of a node's memory.
MAX_LINE_BYTES: Final = (64, 16 * 1024 * 1024)
# Less would hardly hold the windows of a few dozen slow readers; the upper bound only catches a wrong unit.
MEMORY_MEBIBYTES: Final = (16, 1024 * 1024)
# Less than a second is too short for a handshake across the world; an hour catches a wrong unit.
NAME_SECONDS: Final = (1.0, 3600.0)
# One message at a time is slow, and right. All of a window is sent again after a resume: a million would take seconds.
WINDOW: Final = (1, 65_536)
# Of less, two or three short lines would be all. A longer message than the window goes alone. Above: a wrong unit.
WINDOW_BYTES: Final = (1024, 1024 * 1024 * 1024)
# More would keep tokens alive that were meant to have ended.
LEEWAY_SECONDS: Final = (0.0, 300.0)
# The upper bounds only catch a wrong unit.
CONNECTIONS: Final = (0, 10_000_000)
RATES: Final = (0, 1_000_000_000_000)
# Of a file that an option names: all options, or a set of keys with their certificates, are a tenth of this.
MAX_FILE_BYTES: Final = 1024 * 1024
# A pipe in the place of such a file may be filled by a program that has to ask somebody first.
PIPE_SECONDS: Final = 10.0
# The oldest server whose behaviour the tests hold; the first with sharded pub/sub.
OLDEST_SERVER: Final = 7

# Part of every key and channel name, so nothing that means something there (`:`, `{`, `*`) and no white space.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOSTNAME_CHARACTERS: Final = 40  # of the host's name in a node's default name; leaves room for what makes it unique


class ConfigError(Exception):
    """A setting that can't work. `str()` is one line that names the setting and says what would."""


class StartError(Exception):
    """The relay can't start: a port in use, a refused password, no server. `str()` is one line without secrets."""


@contextmanager
def one_start_error() -> Iterator[None]:
    """Raise the first StartError that came out of task groups by itself, so that it can be told in one line."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = group.subgroup(StartError)
        if errors is None:
            raise
        raise first_error(errors) from None


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first that is in it, however deep."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error


def default_name() -> str:
    """Return a node name that no other node has: the host's name and six random hex digits."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:_HOSTNAME_CHARACTERS]
    return f"{host or 'node'}-{secrets.token_hex(3)}"


def redact(url: str) -> str:
    """Return the URL fit for a log line: no user name, no password, no option that may hold one. Takes any string."""
    head, separator, tail = url.partition("://")
    if not separator:
        head, tail = "", url
    credentials, at, rest = tail.rpartition("@")
    address = rest.partition("#")[0].partition("?")[0]
    if not address.isprintable() or not head.isprintable():
        return repr(head + separator + address)
    return f"{head}{separator}{'***@' if at and credentials else ''}{address}"


class LogFormat(StrEnum):
    """What a line of the log looks like."""

    CONSOLE = "console"  # for people: time level event key=value …
    JSON = "json"  # for programs: an object


class LogLevel(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one node. A value that can't work raises ConfigError, so every Config that exists is sound."""

    host: str = "127.0.0.1"
    port: int = 9999  # 0: any free one
    redis: str | None = None  # URL; None: this node starts an embedded server
    redis_password_file: Path | None = None  # holds the password, where the URL has none; read for each connection
    prefix: str = "relay"  # of every key and channel
    name: str = field(default_factory=default_name)  # unique in the cluster
    lease: float = 5.0  # seconds until a crashed node's names are free
    grace: float = 30.0  # seconds that a broken JSON session waits for its client
    drain: float = 5.0  # seconds for clients to go on elsewhere once the node is told to stop
    classic_port: int | None = None  # None: off; 0: any free one
    http_port: int | None = None  # likewise
    max_line: int = 65_536  # bytes of a client's line, its LF not counted
    window: int = 256  # messages of a client without acknowledgement: enough for any round trip at chat speed
    window_bytes: int = 1024 * 1024  # the same in bytes of text
    memory: int = 256  # MiB for messages under way, all clients together
    tls_cert: Path | None = None  # PEM, with those that signed it; None: no TLS
    tls_key: Path | None = None  # PEM, not encrypted
    tls_client_ca: Path | None = None  # PEM; clients need a certificate that one of these signed
    auth_jwt_key: Path | None = None  # public keys, a JWK set, or a secret; None: names need no proof
    auth_jwt_audience: str | None = None  # what a token's `aud` has to hold; None: it may have none
    auth_jwt_issuer: str | None = None  # what its `iss` has to be; None: anything
    # Machines that keep time by NTP are some milliseconds apart; some, badly kept, seconds.
    auth_jwt_leeway: float = 10.0  # seconds by which the issuer's clock may be off
    log_format: LogFormat = LogFormat.CONSOLE
    log_level: LogLevel = LogLevel.INFO
    proxy_protocol: bool = False  # a balancer says whose each connection is
    # A few kilobytes each, the kernel's included: some hundred megabytes.
    max_connections: int = 50_000  # of clients; 0, here and below: any number
    # A fifth: one address, be it a whole company's, can't keep all others out.
    max_connections_per_address: int = 10_000
    name_time: float = 60.0  # seconds: a person reads a greeting and types; a port scanner is gone
    # All that may be connected may come back at once; for good it's 170 a second, a tenth of what a node can do.
    max_claims: int = 10_000  # a minute, from one address; resumes count
    # Fifty a second: faster than any user, and a few hundredths of a node and of Redis.
    max_calls: int = 3_000  # a minute, of one client; look-ups count
    # A quarter of a core or so. Windows and turns are what shares a node out fairly; this bounds what one may cost.
    max_lines: int = 100_000  # a second, of one client
    max_bytes: int = 64 * 1024 * 1024  # likewise
    share_ports: bool = False  # those for clients, with other workers (SO_REUSEPORT)

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

    @property
    def reloads(self) -> bool:
        """Whether SIGHUP has files read again; else it ends a node as SIGTERM does, but not under systemd."""
        files = (self.tls_cert, self.auth_jwt_key, self.redis_password_file)
        of_redis = () if self.redis is None else redis_url.parse(self.redis).files
        return bool(of_redis) or any(file is not None for file in files)


def check_host(option: str, host: str) -> str:
    """The host of an option, without the brackets that an IPv6 address may stand in. Raises ConfigError.

    Checks the form only: whether it can be found is for whoever connects or listens.
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
    """The host and the port of `host:port` or `[IPv6]:port`. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed):
        raise ConfigError(f"{option} must be host:port, or [IPv6]:port, not {text!r}")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MAX_PORT):
        raise ConfigError(f"{option} must have a port from 1 to {MAX_PORT}, not {text!r}")
    return check_host(option, host), int(port)


def show_server(server: tuple[str, int]) -> str:
    """What `parse_server` reads."""
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_file(option: str, file: Path) -> bytes:
    """What the file of an option holds, or the pipe.

    Raises ConfigError if it can't be read, is longer than MAX_FILE_BYTES, or is a pipe that has not ended after
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
    """At most one byte more than what is allowed. Raises OSError; TimeoutError if the end doesn't come."""
    # Without O_NONBLOCK, opening a pipe would wait for somebody who writes.
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
    """A path to what the file of an option holds, for OpenSSL.

    That would read without end, or wait without end for somebody who writes into a pipe, and it doesn't say which file
    it couldn't read. Raises ConfigError as `read_file` does.
    """
    content = read_file(option, file)
    if file.is_file():
        yield file
        return
    if sys.platform != "linux":
        raise ConfigError(f"{option} {str(file)!r} can't be used: it has to be a file")
    with os.fdopen(os.memfd_create("option"), "wb") as copy:  # a pipe can be read once
        copy.write(content)
        copy.flush()
        yield Path(f"/proc/self/fd/{copy.fileno()}")


def check_url(url: str, password_file: Path | None = None) -> None:
    """Raise ConfigError unless this is a URL of a Redis or Valkey, of sentinels that know one, or of a cluster.

    Checks the form only, and connects to nothing.
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


def _check_claim(option: str, value: str | None, config: Config) -> None:
    if value is None:
        return
    if config.auth_jwt_key is None:
        raise ConfigError(f"{option} needs --auth-jwt-key")
    if not value or not value.isprintable():
        raise ConfigError(f"{option} must be a text, not {value!r}")


def check_range(option: str, value: float, bounds: tuple[float, float], unit: str) -> None:
    """Raise ConfigError unless the value is within the bounds, both included."""
    low, high = bounds
    if not low <= value <= high:  # this way round, so that NaN is refused too
        raise ConfigError(
            f"{option} must be between {low:.12g} and {high:.12g} {unit}".rstrip() + f", not {value:.12g}"
        )
