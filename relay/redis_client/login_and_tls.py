"""The TLS context and the password of new connections to Redis. Both follow changes of their files."""

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import structlog

from relay.configuration.config import ConfigError, bounded, read_file
from relay.configuration.redis_url import Login, Tls
from relay.net.tls_error_words import tls_error_words
from relay.tasks.threads import in_thread

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

log = structlog.get_logger()

# The modification time, inode and size of each file, which show whether it has changed; None if it is missing.
_Stamp = tuple[tuple[int, int, int] | None, ...]


def _stamp(files: tuple[Path, ...]) -> _Stamp:
    stamps: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            status = file.stat()
            stamps.append((status.st_mtime_ns, status.st_ino, status.st_size))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


class LoginAndTls:
    """The login and the TLS context of new connections. The files are checked before each connection, in a thread.

    If a file can't be used any more, its old content stays in use, and the log says so once. A file that can't be used
    at the start makes the constructor raise ConfigError.
    """

    def __init__(
        self,
        login: Login,
        tls: Tls | None,
        password_file: Path | None,
        option: str,
    ) -> None:
        """`option` is the one that names the password file, for error messages."""
        self._tls = tls
        self._file = password_file
        self._option = option
        self.login = login
        self.context: ssl.SSLContext | None = None
        self._stamp: _Stamp | None = None  # the stamp of the files that the context was made from
        self._complained = ""
        self._read()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are followed."""
        return (*(self._tls.files if self._tls is not None else ()), *([] if self._file is None else [self._file]))

    async def refresh(self) -> None:
        """Bring `login` and `context` up to date with their files."""
        if self._tls is None and self._file is None:
            return
        if complaint := await in_thread(self._try):
            if complaint != self._complained:
                log.warning("not reloaded, the old one stays", error=complaint)
            self._complained = complaint
        else:
            self._complained = ""

    def renew(self) -> None:
        """Read the files again, whether or not they look changed. Raises ConfigError if one can't be used."""
        self._stamp = None
        self._read()

    def _try(self) -> str:
        """Read the files. Return the reason if they can't be used, else an empty string."""
        try:
            self._read()
        except ConfigError as error:
            return str(error)
        return ""

    def _read(self) -> None:
        if self._tls is not None:
            stamp = _stamp(self._tls.files)
            if stamp != self._stamp:
                self.context = client_context(self._tls)
                self._stamp = stamp
        if self._file is not None:
            self.login = Login(self.login.username, read_password(self._file, self._option))


def read_password(file: Path, option: str) -> str:
    """Return the password in a file, without a line end after it. Raises ConfigError, which names the option."""
    try:
        password = read_file(option, file).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"{option} {str(file)!r} can't be read: it isn't UTF-8") from None
    if not password:
        raise ConfigError(f"{option} {str(file)!r} is empty")
    return password


def client_context(tls: Tls) -> ssl.SSLContext:
    """Make a TLS context for connections to Redis. It takes some 45 ms of CPU if it reads the system's authorities.

    Raises ConfigError if a file can't be read or has other content.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.check_hostname = tls.check_hostname
    context.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    if tls.ciphers is not None:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError:
            raise ConfigError(f"--redis: ssl_ciphers {tls.ciphers!r} names no cipher of OpenSSL's") from None
    if tls.verify:
        _trust(context, tls)
    if tls.certfile is not None:
        key = tls.keyfile or tls.certfile
        try:
            with ExitStack() as opened:
                cert_file = key_file = opened.enter_context(bounded("--redis: ssl_certfile", tls.certfile))
                if key != tls.certfile:
                    key_file = opened.enter_context(bounded("--redis: ssl_keyfile", key))
                # Without a callback for the password OpenSSL would ask for one at the terminal.
                context.load_cert_chain(cert_file, key_file, password=lambda: tls.password or "")
        except (OSError, ValueError) as error:
            files = f"ssl_certfile {str(tls.certfile)!r} and ssl_keyfile {str(key)!r}"
            raise ConfigError(f"--redis: {files} can't be used: {tls_error_words(error)}") from None
    return context


def _trust(context: ssl.SSLContext, tls: Tls) -> None:
    if tls.ca_certs is None and tls.ca_path is None and tls.ca_data is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    if tls.ca_path is not None and not tls.ca_path.is_dir():
        raise ConfigError(f"--redis: ssl_ca_path {str(tls.ca_path)!r} is no folder")
    try:
        with ExitStack() as files:
            ca_certs = tls.ca_certs and files.enter_context(bounded("--redis: ssl_ca_certs", tls.ca_certs))
            context.load_verify_locations(ca_certs, tls.ca_path, tls.ca_data)
    except (OSError, ValueError) as error:
        named = "ssl_ca_data" if tls.ca_certs is None else f"ssl_ca_certs {str(tls.ca_certs)!r}"
        raise ConfigError(f"--redis: {named} can't be used: {tls_error_words(error)}") from None
