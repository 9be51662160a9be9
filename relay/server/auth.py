"""Authentication: a client may use a name only with a signed token (JWT, RFC 7519) for it."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from relay.configuration.config import ConfigError
from relay.names.parse import InvalidName, parse
from relay.server import jwt_keys
from relay.server.jwt_keys import Key

# Tokens have a few hundred bytes. Longer ones than this are refused without decoding them.
TOKEN_CHARACTERS: Final = 8192

log = structlog.get_logger()


class Authenticator:
    """Checks tokens with the keys in a file (see `relay.server.jwt_keys`).

    The type of a key alone decides the algorithm: the `alg` in a token's header only selects among the keys.

    Args:
        file: the file with the keys.
        audience: the value that a token's `aud` must be or contain. With None, a token with an `aud` is refused. An
            empty `aud` counts as none.
        issuer: the value that a token's `iss` must be. With None, a token may have any `iss`, or none.
        leeway: seconds by which the issuer's clock may differ from ours.

    Raises:
        ConfigError: the keys can't be read (from the constructor and from `reload`, which then changes nothing).
    """

    def __init__(
        self, file: Path, *, audience: str | None = None, issuer: str | None = None, leeway: float = 0.0
    ) -> None:
        self._file = file
        self._audience, self._issuer, self._leeway = audience, issuer, leeway
        claims = {"aud": audience, "iss": issuer}
        self._required = ["exp", "sub", *(claim for claim, value in claims.items() if value is not None)]
        self.reload()

    def reload(self) -> None:
        """Read the keys again. Raises ConfigError, and keeps the old keys then."""
        if importlib.util.find_spec("jwt") is None or importlib.util.find_spec("cryptography") is None:
            raise ConfigError("--auth-jwt-key needs PyJWT: pip install 'pair-relay[auth]'")
        self._keys = jwt_keys.read(self._file)
        algorithms = ",".join(sorted({key.algorithm for key in self._keys}))
        kids = ",".join(key.kid for key in self._keys if key.kid is not None)
        log.info("names need a token", algorithms=algorithms, keys=len(self._keys), kids=kids)

    def vouches(self, name: str, token: str | None) -> bool:
        """Return whether the token is valid now, and its `sub` is this name in any spelling.

        The reason for a refusal is for the operator only: it is logged at debug level, and never with the token.
        """
        why = self._why_not(name, token)
        if why:
            log.debug("token refused", name=name, reason=why)
        return not why

    def _why_not(self, name: str, token: str | None) -> str:
        """Return what is wrong with the token, without quoting it, or "" if it is valid."""
        if token is None:
            return "there is none"
        if len(token) > TOKEN_CHARACTERS:
            return "it is too long"
        import jwt

        try:
            subject = self._subject(token)
        except (jwt.PyJWTError, _NoKey) as error:
            return _words(error)
        except Exception as error:  # a token is untrusted input, and may raise what PyJWT doesn't document
            return f"it can't be read ({type(error).__name__})"
        try:
            return "" if parse(subject).key == parse(name).key else "its sub is another name"
        except InvalidName:
            return "its sub is no name"

    def _subject(self, token: str) -> str:
        """Return the `sub` of a valid token. Raises PyJWTError, _NoKey, or anything else on untrusted input."""
        import jwt

        for key in self._candidates(jwt.get_unverified_header(token)):
            try:
                said = jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.algorithm],
                    options={"require": self._required},
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=self._leeway,
                )
                return str(said["sub"])
            except jwt.InvalidSignatureError as error:
                wrong = error
        raise wrong

    def _candidates(self, header: Mapping[str, object]) -> list[Key]:
        """Return the keys with the token's algorithm, and with its `kid` if both have one. Raises _NoKey."""
        kid = header.get("kid")
        found = [
            key
            for key in self._keys
            if key.algorithm == header.get("alg") and (None in (kid, key.kid) or kid == key.kid)
        ]
        if not found:
            raise _NoKey
        return found


class _NoKey(Exception):
    """No key in the file has the token's algorithm and `kid`."""


def _words(error: Exception) -> str:
    """Return what PyJWT found wrong, without anything that it quotes from the token."""
    import jwt

    match error:
        case _NoKey():
            return "no key has its alg and kid"
        case jwt.InvalidSignatureError():
            return "its signature is wrong"
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "its nbf or iat is in the future"
        case jwt.MissingRequiredClaimError():
            return f"it has no {error.claim}"
        case jwt.InvalidAudienceError():
            return "its aud isn't the one that is expected"
        case jwt.InvalidIssuerError():
            return "its iss isn't the one that is expected"
    return f"it can't be used ({type(error).__name__})"
