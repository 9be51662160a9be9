"""What a node is told at its start: checked once, then never changed."""

import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

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
# The upper bounds only catch a wrong unit.
CONNECTIONS: Final = (0, 10_000_000)
RATES: Final = (0, 1_000_000_000_000)
# The oldest server whose behaviour the tests hold; the first with sharded pub/sub.
OLDEST_SERVER: Final = 7
MAX_PORT: Final = 65_535
REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26_379

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
# What may follow the `?` of redis+sentinel://; the other schemes hand it on to redis-py.
SENTINEL_OPTIONS: Final = frozenset(("db", "sentinel_username", "sentinel_password"))

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
    auth_jwt_key: Path | None = None  # an Ed25519 public key in PEM, or a secret; None: names need no proof
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
        if not self.host or not self.host.isprintable() or " " in self.host:
            raise ConfigError(f"--host must be a host name or address, not {self.host!r}")
        _check_ports(self)
        if self.redis is not None:
            check_url(self.redis)
        _check_identifier("--prefix", self.prefix)
        _check_identifier("--name", self.name)
        _check_range("--lease", self.lease, LEASE_SECONDS, "seconds")
        _check_range("--grace", self.grace, GRACE_SECONDS, "seconds")
        _check_range("--drain", self.drain, DRAIN_SECONDS, "seconds")
        _check_range("--max-line", self.max_line, MAX_LINE_BYTES, "bytes")
        _check_range("--window", self.window, WINDOW, "messages")
        _check_range("--window-bytes", self.window_bytes, WINDOW_BYTES, "bytes")
        _check_range("--name-time", self.name_time, NAME_SECONDS, "seconds")
        _check_range("--memory", self.memory, MEMORY_MEBIBYTES, "MiB")
        _check_range("--max-connections", self.max_connections, CONNECTIONS, "")
        _check_range("--max-connections-per-address", self.max_connections_per_address, CONNECTIONS, "")
        for rate in ("max_claims", "max_calls", "max_lines", "max_bytes"):
            _check_range(f"--{rate.replace('_', '-')}", getattr(self, rate), RATES, "")
        if (self.tls_cert is None) is not (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key need each other")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ConfigError("--tls-client-ca needs --tls-cert and --tls-key")

    @property
    def reloads(self) -> bool:
        """Whether there are files that SIGHUP has read again; else it ends a node as it does any process."""
        return self.tls_cert is not None or self.auth_jwt_key is not None


def check_url(url: str) -> None:
    """Raise ConfigError unless this is a URL of a Redis or Valkey, of sentinels that know one, or of a cluster.

    Checks the form only, and connects to nothing.
    """
    scheme, netloc, tail = _split(url)
    if scheme not in SCHEMES:
        raise _bad_url(url, f"it must start with {', '.join(f'{s}://' for s in SCHEMES[:-1])} or {SCHEMES[-1]}://")
    try:
        parts = urlsplit(f"//{tail}")
    except ValueError:
        raise _bad_url(url, "it isn't a URL") from None
    if scheme == "unix":
        if not parts.path.strip("/"):
            raise _bad_url(url, "unix:// needs the path of a socket")
        if netloc.rpartition("@")[2]:  # it would be taken for a host, and dropped
            raise _bad_url(url, "the path of a socket begins with a slash, unix:///run/redis.sock")
        return
    hosts = _hosts(scheme, netloc)
    if len(hosts) > 1 and "+" not in scheme:
        raise _bad_url(url, "several hosts need redis+cluster:// or redis+sentinel://")
    if scheme == "redis+sentinel":
        _check_sentinel(url, parts)
    else:
        _check_database(url, parts)


def cluster_hosts(url: str) -> tuple[list[tuple[str, int]], str | None, str | None]:
    """The addresses in a cluster's URL that passed `check_url`, its user and its password."""
    scheme, netloc, _ = _split(url)
    return _hosts(scheme, netloc), *_credentials(netloc)


class SentinelAddress(NamedTuple):
    """What the URL of a service says that sentinels watch."""

    hosts: list[tuple[str, int]]  # of the sentinels
    service: str
    database: int
    username: str | None  # at the servers
    password: str | None
    sentinel_username: str | None
    sentinel_password: str | None


def sentinel_address(url: str) -> SentinelAddress:
    """What a redis+sentinel:// URL that passed `check_url` says."""
    scheme, netloc, tail = _split(url)
    parts = urlsplit(f"//{tail}")
    service, _, database = parts.path.strip("/").partition("/")
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return SentinelAddress(
        _hosts(scheme, netloc),
        unquote(service),
        int(options.get("db") or database or 0),
        *_credentials(netloc),
        options.get("sentinel_username"),
        options.get("sentinel_password"),
    )


def with_password(url: str, file: Path) -> str:
    """The URL with the password that stands in a file; a line end after it isn't part of it. Raises ConfigError."""
    check_url(url)
    try:
        password = file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise ConfigError(f"--redis-password-file {str(file)!r} can't be read: {why}") from None
    if not password:
        raise ConfigError(f"--redis-password-file {str(file)!r} is empty")
    head, _, rest = url.partition("://")
    netloc = _split(url)[1]
    user, at, hosts = netloc.rpartition("@")
    if ":" in user:
        raise ConfigError("--redis and --redis-password-file can't both give a password")
    return f"{head}://{user if at else ''}:{quote(password, safe='')}@{hosts}{rest[len(netloc) :]}"


def _credentials(netloc: str) -> tuple[str | None, str | None]:
    user, _, password = netloc.rpartition("@")[0].partition(":")
    return unquote(user) or None, unquote(password) or None


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, authority, rest. Not by `urlsplit`, which takes a list of hosts for a malformed IPv6 address."""
    scheme, separator, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    return (scheme.lower() if separator else ""), netloc, rest[len(netloc) :]


def _hosts(scheme: str, netloc: str) -> list[tuple[str, int]]:
    hosts = []
    for host in netloc.rpartition("@")[2].split(","):
        try:
            address = urlsplit(f"//{host}")
            name, port = address.hostname, address.port
        except ValueError:
            name, port = None, None
        if not name or port == 0:  # shown without the address: this may be `redis://user:password`, cut short
            raise ConfigError(f"--redis {scheme}://… can't be used: it needs a host, and a port from 1 to 65535 if any")
        hosts.append((name, port or (SENTINEL_PORT if scheme == "redis+sentinel" else REDIS_PORT)))
    return hosts


def _check_database(url: str, parts: SplitResult) -> None:
    """A database number, by path or `?db=`."""
    numbers = [parts.path.strip("/"), *parse_qs(parts.query).get("db", [])]
    if any(number and not number.isdecimal() for number in numbers):
        raise _bad_url(url, "its database must be a number")


def _check_sentinel(url: str, parts: SplitResult) -> None:
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise _bad_url(url, "redis+sentinel:// needs the name of a service after the hosts: /mymaster")
    options = parse_qs(parts.query, keep_blank_values=True)
    if unknown := sorted(options.keys() - SENTINEL_OPTIONS):
        raise _bad_url(url, f"redis+sentinel:// has no option {unknown[0]!r}")
    if any(number and not number.isdecimal() for number in (database, *options.get("db", []))):
        raise _bad_url(url, "its database must be a number")


def _bad_url(url: str, why: str) -> ConfigError:
    return ConfigError(f"--redis {redact(url)} can't be used: {why}")


def _check_ports(config: Config) -> None:
    ports = {"--port": config.port, "--classic-port": config.classic_port, "--http-port": config.http_port}
    taken: dict[int, str] = {}
    for option, port in ports.items():
        if port is None:
            continue
        _check_range(option, port, (0, MAX_PORT), "")
        if port and port in taken:
            raise ConfigError(f"{option} and {taken[port]} can't both be {port}")
        taken[port] = option


def _check_identifier(option: str, value: str) -> None:
    if not _IDENTIFIER.fullmatch(value):
        raise ConfigError(f"{option} must be 1 to 64 letters, digits, dots, dashes or underscores, not {value!r}")


def _check_range(option: str, value: float, bounds: tuple[float, float], unit: str) -> None:
    low, high = bounds
    if not low <= value <= high:  # this way round, so that NaN is refused too
        raise ConfigError(
            f"{option} must be between {low:.12g} and {high:.12g} {unit}".rstrip() + f", not {value:.12g}"
        )
