"""Reads the file of `--auth-jwt-key`: public keys in PEM, a JWK set (RFC 7517), or a secret.

The type of a key alone decides its algorithm. Public data is never accepted as a secret, because anyone who knows the
file could then sign a token for any name.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from relay.configuration.config import ConfigError, read_file

if TYPE_CHECKING:  # cryptography is installed only with the extra `auth`
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

# RFC 7518, section 3.2: a secret shorter than the hash could be guessed from one token.
SECRET_BYTES: Final = 32
# RFC 7518, section 3.3, requires this size.
RSA_BITS: Final = 2048
# Each key without a `kid` is tried with each token, so the number is bounded. Identity providers publish two or three.
MAX_KEYS: Final = 32

_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_KINDS: Final = f"Ed25519 (EdDSA), P-256 (ES256), or RSA of {RSA_BITS} bits or more (RS256)"
_SSH: Final = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")
_PRIVATE: Final = "holds a private key: a node needs the public one, and nobody else should have this"
_PUBLIC_TOLD: Final = "isn't a secret but {}; give it as PEM (-----BEGIN PUBLIC KEY-----) or as a JWK set"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class Key(NamedTuple):
    """A key, the only algorithm that it is used with, and its id in tokens' headers, if it has one."""

    algorithm: str
    key: "Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey | bytes"
    kid: str | None = None


class _Unfit(Exception):
    """The file can't be used. The message continues a sentence that begins with the file's name."""


def read(file: Path) -> list[Key]:
    """Return the keys in the file, at least one. Raises ConfigError, whose message quotes nothing of the content."""
    content = read_file("--auth-jwt-key", file)
    try:
        keys = _keys(content)
        if len(keys) > MAX_KEYS:
            raise _Unfit(f"holds {len(keys)} keys, of which {MAX_KEYS} are possible")
        return keys
    except _Unfit as error:
        raise ConfigError(f"--auth-jwt-key {str(file)!r} {error}") from None


def _keys(content: bytes) -> list[Key]:
    text = _as_utf8(content)
    if b"-----BEGIN" in text:
        return _from_pem(text)
    if (found := _json(text)) is not None:
        return _from_jwks(found)
    return [Key("HS256", _secret(content))]


def _as_utf8(content: bytes) -> bytes:
    """Return the text as UTF-8 without a byte-order mark, also if an editor or shell wrote it as UTF-16."""
    if content.startswith(_UTF16):
        return content.decode("utf-16", errors="replace").encode()
    return content.removeprefix(b"\xef\xbb\xbf")


# --- PEM


def _from_pem(text: bytes) -> list[Key]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys = []
    for block in _PEM.finditer(text):
        kind = block[1].decode()
        if "PRIVATE" in kind:
            raise _Unfit(_PRIVATE)
        if kind == "CERTIFICATE":
            raise _Unfit("holds a certificate: openssl x509 -pubkey -noout takes the public key out of it")
        try:
            keys.append(_public(load_pem_public_key(block[0])))
        except (ValueError, UnsupportedAlgorithm):
            raise _Unfit(f"must hold public keys that can be used: {_KINDS}") from None
    if not keys:
        raise _Unfit("holds PEM that is cut short")
    return keys


def _public(key: object, kid: str | None = None) -> Key:
    """Return the key with its algorithm. Raises ValueError if this type of key isn't supported for signatures."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    match key:
        case Ed25519PublicKey():
            return Key("EdDSA", key, kid)
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return Key("ES256", key, kid)
        case RSAPublicKey() if key.key_size >= RSA_BITS:
            return Key("RS256", key, kid)
    raise ValueError


# --- JWK


def _json(text: bytes) -> object:
    """Return the JSON object or array in the file, or None if it begins with neither. Raises _Unfit."""
    if not text.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _Unfit("isn't a JWK set: it isn't JSON") from None


def _from_jwks(found: object) -> list[Key]:
    """Return the usable keys of a JWK set or a single JWK, and skip the others (RFC 7517, section 5). Raises _Unfit."""
    entries = found.get("keys", [found]) if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise _Unfit("isn't a JWK set: it has no list of keys")
    keys = [key for entry in entries if isinstance(entry, dict) and (key := _from_jwk(entry)) is not None]
    if not keys:
        raise _Unfit(f"holds no JWK that can be used: {_KINDS}, or a secret of {SECRET_BYTES} bytes or more (HS256)")
    return keys


def _from_jwk(jwk: dict[str, object]) -> Key | None:
    import jwt
    from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

    kinds: dict[str, type[RSAAlgorithm | ECAlgorithm | OKPAlgorithm]] = {
        "RSA": RSAAlgorithm,
        "EC": ECAlgorithm,
        "OKP": OKPAlgorithm,
    }
    kind, kid = jwk.get("kty"), jwk.get("kid")
    if jwk.get("use", "sig") != "sig" or not isinstance(kid, str | None) or not isinstance(kind, str):
        return None
    if kind in kinds and "d" in jwk:
        raise _Unfit(_PRIVATE)
    try:
        if kind == "oct":
            secret = HMACAlgorithm.from_jwk(jwk)
            key = Key("HS256", secret, kid) if len(secret) >= SECRET_BYTES else None
        else:
            key = _public(kinds[kind].from_jwk(jwk), kid)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if key is not None and jwk.get("alg", key.algorithm) == key.algorithm else None


# --- a secret


def _secret(content: bytes) -> bytes:
    """Return the secret without one line end at its end. Raises _Unfit for content that others may know."""
    line = content.removesuffix(b"\n")
    secret = line.removesuffix(b"\r")
    if len(secret) < SECRET_BYTES:
        raise _Unfit(f"must hold a secret of at least {SECRET_BYTES} bytes")
    for known in (content, line, secret, _unpacked(secret)):  # the last byte of a key may be that of a line end
        if what := _known_to_others(known):
            raise _Unfit(_PUBLIC_TOLD.format(what))
    return secret


def _known_to_others(content: bytes) -> str:
    """Return what the bytes are if they are recognizably not a secret, or ""."""
    if content.startswith(_UTF16):
        return "text in UTF-16"
    if content.lstrip().startswith(_SSH) or b"---- BEGIN" in content:
        return "a key of SSH"
    if b"-----BEGIN" in content or _is_json(content):
        return "a key in PEM or a JWK set, packed in Base64"
    if content.lstrip().lower().startswith((b"http://", b"https://")):
        return "an address"
    return "a key or a certificate in DER" if _is_der(content) else ""


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict | list)
    except (ValueError, RecursionError):
        return False


def _unpacked(content: bytes) -> bytes:
    """Return the decoded bytes if this is Base64, such as a PEM body without its first and last line, or b""."""
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return b""


def _is_der(content: bytes) -> bool:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

    loaders: list[Callable[[bytes], object]] = [
        load_der_public_key,
        x509.load_der_x509_certificate,
        lambda der: load_der_private_key(der, password=None),
    ]
    for load in loaders:
        try:
            load(content)
        except (ValueError, UnsupportedAlgorithm):
            continue
        except TypeError:  # a private key with a password
            return True
        return True
    return False
