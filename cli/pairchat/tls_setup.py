"""This module sets up TLS: trusted certificates, the client's own certificate, and errors in plain words."""

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

from pairchat.bounded_read import bounded
from pairchat.errors import BadSettings

# OpenSSL's reasons for alerts about our certificate.
_WANTED: Final = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED"})
_UNKNOWN: Final = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)
_EXPIRED: Final = frozenset({"SSLV3_ALERT_CERTIFICATE_EXPIRED"})
# OpenSSL's reasons for data that is no TLS at all.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})


def client_context(ca: str | None = None, cert: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """Return the TLS context for a client. Raises `BadSettings`.

    `ca` holds the certificates to trust instead of the system's. `cert` and `key`, in one file or in two, are the
    client's own. All are PEM files.
    """
    if key is not None and cert is None:
        raise BadSettings("--key needs --cert, the certificate that belongs to it")
    with ExitStack() as files:
        ca_file, cert_file, key_file = (file and _bounded(files, file) for file in (ca, cert, key))
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except ssl.SSLError as error:
            raise BadSettings(f"can't use {ca}: {_not_pem(error)}") from None
        if cert is not None and cert_file is not None:
            _show(context, cert_file, key_file or cert_file, cert, key or cert)
    return context


def _show(context: ssl.SSLContext, cert_file: str, key_file: str, cert: str, key: str) -> None:
    """Load the client's certificate. `cert` and `key` are the user's names for its files."""

    def ask() -> NoReturn:  # without this callback OpenSSL would ask at the terminal
        raise BadSettings(f"can't use {key}: it is encrypted; give a key without a passphrase")

    try:
        context.load_cert_chain(cert_file, key_file, password=ask)
    except ssl.SSLError as error:
        files = cert if cert == key else f"{cert} and {key}"
        raise BadSettings(f"can't use {files}: {_not_pem(error)}") from None


def _bounded(files: ExitStack, file: str) -> str:
    """Return a path that OpenSSL may read until `files` is closed. Raises `BadSettings` that names the file."""
    try:
        return str(files.enter_context(bounded(Path(file))))
    except (OSError, ValueError) as error:
        raise BadSettings(f"can't read {file}: {getattr(error, 'strerror', None) or error}") from None


def _not_pem(error: ssl.SSLError) -> str:
    reason = error.reason
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if not reason:
        return "not both a certificate and its key, in PEM"
    return f"not PEM, or not what it has to be ({_lower(reason)})"


def refused(error: BaseException | None) -> bool:
    """Return True if a relay refuses the client because of its certificate, or because it has none."""
    return isinstance(error, ssl.SSLError) and error.reason in _WANTED | _UNKNOWN | _EXPIRED


def explain(error: ssl.SSLError, *, spoken: bool = False, plain: str = "without --tls") -> str:
    """Return a phrase about the server that explains the error.

    `spoken` is True if it has spoken TLS before. `plain` says how to do without TLS.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if error.reason in _WANTED:
        return "it wants a certificate of yours (--cert FILE --key FILE)"
    if error.reason in _UNKNOWN:
        return "it does not accept your certificate"
    if error.reason in _EXPIRED:
        return "it does not accept your certificate: it has expired"
    if error.reason in _NO_TLS and not spoken:
        return f"it does not speak TLS there ({plain} nothing is encrypted)"
    return f"TLS failed: {_lower(error.reason)}" if error.reason else "TLS failed"


def _lower(reason: str) -> str:
    return reason.lower().replace("_", " ")
