"""Keys and signed tokens for the tests of authentication."""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

HOUR = 3600
_JWK: dict[str, Any] = {"EdDSA": OKPAlgorithm, "ES256": ECAlgorithm, "RS256": RSAAlgorithm}


def make_key(algorithm: str) -> Any:
    """Return a new key for the algorithm."""
    match algorithm:
        case "EdDSA":
            return Ed25519PrivateKey.generate()
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
    return secrets.token_hex(64)


class Issuer:
    """Issues tokens. `file` holds the key with which a relay checks them.

    With `secret` the algorithm is HS256; otherwise it is `algorithm`, by default EdDSA.
    """

    def __init__(
        self, file: Path, *, secret: bool = False, algorithm: str | None = None, kid: str | None = None
    ) -> None:
        self.file = file
        self.kid = kid
        self.algorithm = algorithm or ("HS256" if secret else "EdDSA")
        self.key: Any = make_key(self.algorithm)
        file.write_bytes(self.key.encode() + b"\n" if self.algorithm == "HS256" else self.public)

    @property
    def public(self) -> bytes:
        """The public key in PEM."""
        return bytes(self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    @property
    def der(self) -> bytes:
        """The public key in DER."""
        return bytes(self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def private(self) -> bytes:
        """The private key in PEM."""
        return bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def jwk(self) -> dict[str, Any]:
        """The entry for a JWK set: the public key, or the secret."""
        named = {} if self.kid is None else {"kid": self.kid}
        if self.algorithm == "HS256":
            return {"kty": "oct", "k": jwt.utils.base64url_encode(self.key.encode()).decode(), **named}
        public: dict[str, Any] = json.loads(_JWK[self.algorithm].to_jwk(self.key.public_key()))
        return public | named

    def token(self, name: object, **claims: Any) -> str:
        """Return a token for this name that is valid for an hour. A claim that is None is left out."""
        said = {"sub": name, "exp": int(time.time()) + HOUR, **claims}
        return self.sign({key: value for key, value in said.items() if value is not None})

    def sign(self, said: Any) -> str:
        return jwt.encode(said, self.key, self.algorithm, headers={"kid": self.kid} if self.kid else None)


def jwk_set(*issuers: Issuer) -> bytes:
    """Return a JWK set as an identity provider publishes it."""
    return json.dumps({"keys": [issuer.jwk for issuer in issuers]}).encode()
