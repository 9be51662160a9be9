"""TLS for runs: a certificate for a run's own nodes, and the certificates that its clients trust."""

import ssl
import subprocess
from pathlib import Path
from typing import Final

from relay.configuration.config import ConfigError, StartError, bounded
from relay.net.tls_error_words import tls_error_words
from relay.tools.testbed.process import HOST

Certificate = tuple[Path, Path]  # the files of a certificate and its key, in PEM

# Python can't make a certificate, and a run should need no more packages than a node does.
_OPENSSL: Final = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=relay"
# Strict clients, such as Python's since 3.13, need the name of the host and the purpose of the certificate.
_EXTENSIONS: Final = (f"subjectAltName=IP:{HOST}", "keyUsage=critical,digitalSignature,keyCertSign")


def make_certificate(folder: Path) -> Certificate:
    """Write a self-signed certificate for this machine into the folder. Raises StartError."""
    certificate = folder / "node.crt", folder / "node.key"
    added = [word for extension in _EXTENSIONS for word in ("-addext", extension)]
    files = ["-out", str(certificate[0]), "-keyout", str(certificate[1])]
    try:
        done = subprocess.run([*_OPENSSL.split(), *added, *files], capture_output=True, text=True, check=False)
    except OSError as error:
        raise StartError(f"--tls needs the command openssl, to make a certificate: {error.strerror}") from None
    if done.returncode:
        raise StartError(f"openssl makes no certificate: {done.stderr.strip().rpartition(chr(10))[2]}")
    return certificate


def client_context(ca: str | None) -> ssl.SSLContext:
    """Return a context for clients, which check certificates.

    `ca` is a file with trusted certificates, or None for the system's. Raises ConfigError.
    """
    if ca is None:
        return ssl.create_default_context()
    try:
        with bounded("--ca", Path(ca)) as file:
            return ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise ConfigError(f"--ca {ca!r} can't be used: {tls_error_words(error)}") from None


def check(*, tls: bool, ca: str | None, servers: bool) -> None:
    """Raise ConfigError if these options exclude each other, or if the file `ca` can't be used."""
    if ca is not None:
        if not tls or not servers:
            raise ConfigError("--ca needs --tls and --server: nodes of its own show a certificate that it makes itself")
        client_context(ca)
