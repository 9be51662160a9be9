"""Parses the URL of a Redis or Valkey. Unknown options are refused."""

import re
import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_PORT: Final = 65_535
REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26_379

Address = tuple[str, int]


class BadUrl(ValueError):
    """The URL can't be used. `str()` is the reason, without the URL and its secrets.

    `cut` means that the end of a password in it is uncertain, so that no part of the URL may be shown.
    """

    def __init__(self, why: str, cut: bool = False) -> None:
        super().__init__(why)
        self.cut = cut


class Kind(Enum):
    """The kind of installation, with the word that `relay status` uses."""

    SERVER = "standalone"
    SENTINEL = "sentinel"  # the primary that sentinels name
    CLUSTER = "cluster"


# The kind of each scheme, and whether it uses TLS.
_SCHEMES: Final[dict[str, tuple[Kind, bool]]] = {
    "redis": (Kind.SERVER, False),
    "rediss": (Kind.SERVER, True),
    "unix": (Kind.SERVER, False),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}
SCHEMES: Final = tuple(_SCHEMES)
SENTINEL_LOGIN: Final = ("sentinel_username", "sentinel_password")
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_VERIFY: Final = ("required", "optional", "none")
_VERSIONS: Final = {"TLSv1.2": "1.2", "1.2": "1.2", "TLSv1.3": "1.3", "1.3": "1.3"}


@dataclass(frozen=True, slots=True)
class Login:
    """The user name and password for a server. Without a password the relay doesn't authenticate."""

    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS settings for a server. Without certificates of authorities, those of the system are trusted."""

    ca_certs: Path | None = None  # PEM
    ca_path: Path | None = None  # a folder of PEM files, as `openssl rehash` makes it
    ca_data: str | None = None  # PEM
    certfile: Path | None = None  # PEM, with its chain
    keyfile: Path | None = None
    password: str | None = None  # the password of the key
    verify: bool = True
    check_hostname: bool = True
    min_version: str = "1.2"
    ciphers: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that a connection needs, the system's authorities included."""
        if self.ca_certs is None and self.ca_path is None and self.ca_data is None:
            system = ssl.get_default_verify_paths()
            authorities = [Path(one) for one in (system.cafile, system.capath) if one is not None]
        else:
            authorities = [one for one in (self.ca_certs, self.ca_path) if one is not None]
        return (*authorities, *(one for one in (self.certfile, self.keyfile) if one is not None))


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A parsed URL."""

    kind: Kind
    hosts: tuple[Address, ...]  # of the server, the sentinels, or some members of the cluster
    path: str | None = None  # the path of a Unix socket, instead of hosts
    service: str = ""  # its name at the sentinels
    database: int = 0
    login: Login = Login()
    tls: Tls | None = None
    sentinel_login: Login = Login()
    sentinel_password_file: Path | None = None
    sentinel_tls: Tls | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that connections need: those for TLS, and the one with the sentinels' password."""
        of_tls = [file for tls in (self.tls, self.sentinel_tls) if tls is not None for file in tls.files]
        return (*of_tls, *([] if self.sentinel_password_file is None else [self.sentinel_password_file]))


def parse(url: str) -> RedisUrl:
    """Parse a URL. It checks the syntax only. Raises BadUrl."""
    scheme, netloc, tail = _split(url)
    if scheme not in _SCHEMES:
        raise BadUrl(f"it must start with {', '.join(f'{s}://' for s in SCHEMES[:-1])} or {SCHEMES[-1]}://")
    if "#" in tail:
        raise BadUrl("a # in it has to be written as %23", cut=True)
    kind, secure = _SCHEMES[scheme]
    path, _, query = tail.partition("?")
    options = _Options(scheme, kind, query)
    login = Login(*_credentials(netloc))
    if scheme == "unix":
        if netloc.rpartition("@")[2] or not path.strip("/"):
            raise BadUrl("unix:// needs the path of a socket: unix:///run/redis.sock")
        if "\0" in unquote(path):
            raise BadUrl("the path of a socket can't hold a zero byte")
        database = options.database("")
        options.end()
        return RedisUrl(kind, (), unquote(path), database=database, login=login)
    hosts = _hosts(scheme, netloc)
    if len(hosts) > 1 and kind is Kind.SERVER:
        raise BadUrl("several hosts need redis+cluster:// or redis+sentinel://")
    service, number = "", path.strip("/")
    if kind is Kind.SENTINEL:
        service, _, number = number.partition("/")
        if not service:
            raise BadUrl(f"{scheme}:// needs the name of a service after the hosts: /mymaster")
    database = options.database(number)
    tls = options.tls() if secure else None
    sentinel_login, sentinel_password_file, sentinel_tls = (
        options.sentinels(tls) if kind is Kind.SENTINEL else (Login(), None, None)
    )
    options.end()
    return RedisUrl(
        kind,
        tuple(hosts),
        service=unquote(service),
        database=database,
        login=login,
        tls=tls,
        sentinel_login=sentinel_login,
        sentinel_password_file=sentinel_password_file,
        sentinel_tls=sentinel_tls,
    )


class _Options:
    """The options after the `?`. Each method takes its own out, and `end` refuses the rest."""

    def __init__(self, scheme: str, kind: Kind, query: str) -> None:
        self._scheme = scheme
        self._kind = kind
        self._left: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name in self._left:
                raise BadUrl(f"its option {name!r} is there twice")
            if not value:
                raise BadUrl(f"its option {name!r} has no value")
            if "\0" in value:
                raise BadUrl(f"its option {name!r} can't hold a zero byte")
            self._left[name] = value

    def database(self, number: str) -> int:
        """Return the number of the database, from the path or from `?db=`."""
        option = self._left.pop("db", number)
        if number and option != number:
            raise BadUrl("its database is said twice")
        if option and not re.fullmatch(r"[0-9]{1,9}", option):
            raise BadUrl("its database must be a number")
        if self._kind is Kind.CLUSTER and int(option or 0):
            raise BadUrl("a cluster has no database but 0")
        return int(option or 0)

    def sentinels(self, servers: Tls | None) -> tuple[Login, Path | None, Tls | None]:
        """Return the login, password file and TLS settings for sentinels. TLS defaults to that of the servers."""
        login = Login(*(_sayable(self._left.pop(name, None)) for name in SENTINEL_LOGIN))
        file = _path(self._left.pop("sentinel_password_file", None))
        if login.password and file is not None:
            raise BadUrl("sentinel_password and sentinel_password_file can't both give a password")
        if login.username and not login.password and file is None:
            raise BadUrl("sentinel_username needs sentinel_password")
        secure = self._boolean("sentinel_ssl", servers is not None)
        return login, file, self.tls("sentinel_", servers) if secure else None

    def tls(self, prefix: str = "", base: Tls | None = None) -> Tls:
        """Return the TLS settings of the options with this prefix, named as in redis-py; the rest is that of `base`."""
        base = base or Tls()

        def told(name: str) -> str | None:
            return self._left.pop(prefix + name, None)

        verify = (told("ssl_cert_reqs") or ("required" if base.verify else "none")).lower()
        if verify not in _VERIFY:
            raise BadUrl(f"{prefix}ssl_cert_reqs must be {', '.join(_VERIFY[:-1])} or {_VERIFY[-1]}")
        version = told("ssl_min_version") or base.min_version
        if version not in _VERSIONS:
            raise BadUrl(f"{prefix}ssl_min_version must be TLSv1.2 or TLSv1.3")
        tls = Tls(
            ca_certs=_path(told("ssl_ca_certs")) or base.ca_certs,
            ca_path=_path(told("ssl_ca_path")) or base.ca_path,
            ca_data=told("ssl_ca_data") or base.ca_data,
            certfile=_path(told("ssl_certfile")) or base.certfile,
            keyfile=_path(told("ssl_keyfile")) or base.keyfile,
            password=told("ssl_password") or base.password,
            verify=verify != "none",
            check_hostname=self._boolean(f"{prefix}ssl_check_hostname", base.check_hostname) and verify != "none",
            min_version=_VERSIONS[version],
            ciphers=told("ssl_ciphers") or base.ciphers,
        )
        if tls.keyfile is not None and tls.certfile is None:
            raise BadUrl(f"{prefix}ssl_keyfile needs {prefix}ssl_certfile")
        return tls

    def _boolean(self, name: str, default: bool) -> bool:
        value = self._left.pop(name, None)
        if value is None:
            return default
        if value.lower() not in _BOOLEANS:
            raise BadUrl(f"{name} must be true or false")
        return _BOOLEANS[value.lower()]

    def end(self) -> None:
        """Raise BadUrl if options are left that no method has taken out."""
        for name in self._left:
            if name.startswith("sentinel_ssl_") and self._kind is Kind.SENTINEL:
                raise BadUrl(f"{name} needs sentinel_ssl=true")
            if re.match("ssl(_|$)", name) and not self._scheme.startswith("rediss"):
                better = "" if self._scheme == "unix" else f"; use {self._scheme.replace('redis', 'rediss', 1)}://…"
                raise BadUrl(f"{self._scheme}:// is without TLS and has no option {name!r}{better}")
            raise BadUrl(f"{self._scheme}:// has no option {name!r}")


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def _credentials(netloc: str) -> tuple[str | None, str | None]:
    user, _, password = netloc.rpartition("@")[0].partition(":")
    return _sayable(unquote(user)), _sayable(unquote(password))


def _sayable(word: str | None) -> str | None:
    """Return a user name or a password, or None if it is empty. Raises BadUrl for bytes that aren't UTF-8."""
    try:
        return word if word and word.encode() else None
    except UnicodeEncodeError:
        raise BadUrl("a user's name or a password in it isn't UTF-8", cut=True) from None


def _split(url: str) -> tuple[str, str, str]:
    """Split a URL into scheme, authority and rest. `urlsplit` would take a list of hosts for a malformed address."""
    scheme, separator, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    return (scheme.lower() if separator else ""), netloc, rest[len(netloc) :]


def _hosts(scheme: str, netloc: str) -> list[Address]:
    hosts = []
    for host in netloc.rpartition("@")[2].split(","):
        try:
            address = urlsplit(f"//{host}")
            name, port = address.hostname, address.port
            (name or "").encode("idna")  # the socket module does the same with every name, and raises no OSError
        except ValueError:
            name, port = None, None
        if not name or port == 0:
            raise BadUrl("it needs a host, and a port from 1 to 65535 if any", cut=True)  # `redis://user:password`
        hosts.append((name, port or (SENTINEL_PORT if scheme.endswith("sentinel") else REDIS_PORT)))
    return hosts
