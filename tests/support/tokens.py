"""Keys and signed tokens for the tests of authentication."""

import secrets
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HOUR = 3600


class Issuer:
    """Issues tokens; `file` holds what a relay needs to check them. `secret`: by HS256, else by EdDSA."""

    def __init__(self, file: Path, *, secret: bool = False) -> None:
        self.file = file
        self._key: Any = secrets.token_hex(64) if secret else Ed25519PrivateKey.generate()
        self._algorithm = "HS256" if secret else "EdDSA"
        file.write_bytes(str(self._key).encode() + b"\n" if secret else self.public)

    @property
    def public(self) -> bytes:
        """The public key in PEM."""
        key = self._key.public_key()
        return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def token(self, name: object, **claims: Any) -> str:
        """A token for this name, for an hour; a claim that is None is left out."""
        said = {"sub": name, "exp": int(time.time()) + HOUR, **claims}
        return self.sign({key: value for key, value in said.items() if value is not None})

    def sign(self, said: Any) -> str:
        return jwt.encode(said, self._key, self._algorithm)
