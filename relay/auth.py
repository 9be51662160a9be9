"""Who may have a name: whoever shows a signed token (JWT, RFC 7519) that says so."""

import importlib.util
from pathlib import Path
from typing import Any, Final

import structlog

from relay.config import ConfigError
from relay.names import InvalidName, parse

# RFC 7518, section 3.2: a secret shorter than the hash could be guessed from one token.
SECRET_BYTES: Final = 32
# Tokens are some hundred bytes; longer ones aren't looked at.
TOKEN_CHARACTERS: Final = 8192

log = structlog.get_logger()


class Authenticator:
    """Checks tokens with the key in a file: an Ed25519 public key in PEM (EdDSA), or else a secret (HS256).

    The kind of key alone decides how a token must be signed, whatever the token says of it.

    Raises:
        ConfigError: from the constructor and from `reload`; the latter then changes nothing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.reload()

    def reload(self) -> None:
        """Read the file again."""
        if importlib.util.find_spec("jwt") is None or importlib.util.find_spec("cryptography") is None:
            raise ConfigError("--auth-jwt-key needs PyJWT: pip install 'pair-relay[auth]'")
        self._algorithm, self._key = _read(self._file)

    def vouches(self, name: str, token: str | None) -> bool:
        """Whether the token is good now, and this name's: its `sub` is the same name, in whatever spelling.

        Why not is nobody's business: a bad signature, a token of another, one that has expired all end alike.
        """
        if token is None or len(token) > TOKEN_CHARACTERS:
            return False
        import jwt

        try:
            said = jwt.decode(token, self._key, algorithms=[self._algorithm], options={"require": ["exp", "sub"]})
            return parse(said["sub"]).key == parse(name).key
        except (jwt.PyJWTError, InvalidName):
            return False
        except Exception as error:  # a token is a stranger's, and may bring out what its reader never thought of
            log.debug("a token that can't be read", error=type(error).__name__)
            return False


def _read(file: Path) -> tuple[str, Any]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"--auth-jwt-key {str(file)!r} can't be read: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        secret = content.removesuffix(b"\n").removesuffix(b"\r")
        if len(secret) < SECRET_BYTES:
            raise ConfigError(f"--auth-jwt-key {str(file)!r} must hold a secret of at least {SECRET_BYTES} bytes")
        return "HS256", secret
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"--auth-jwt-key {str(file)!r} must hold an Ed25519 public key, or a secret")
    return "EdDSA", key
