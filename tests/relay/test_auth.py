"""Tokens: which are good for a name, and that all others are alike."""

import base64
import hashlib
import hmac
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from relay.auth import SECRET_BYTES, TOKEN_CHARACTERS, Authenticator
from relay.config import ConfigError
from tests.support.tokens import Issuer


@pytest.fixture(params=["EdDSA", "HS256"])
def issuer(request: pytest.FixtureRequest, tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "key", secret=request.param == "HS256")


@pytest.fixture
def auth(issuer: Issuer) -> Authenticator:
    return Authenticator(issuer.file)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hand_made(header: dict[str, Any], payload: bytes, secret: bytes = b"") -> str:
    """A token that no library would make; signed by HMAC with the secret, if there is one."""
    said = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{said}.{b64(hmac.digest(secret, said.encode(), hashlib.sha256) if secret else b'')}"


class TestAGoodToken:
    def test_its_sub_is_the_name(self, issuer: Issuer, auth: Authenticator) -> None:
        assert auth.vouches("alice", issuer.token("alice"))

    @pytest.mark.parametrize(("sub", "name"), [("alice", "Alice"), ("Ａlice", "alice"), ("张三", "张三")])
    def test_in_any_spelling_of_the_name(self, sub: str, name: str, issuer: Issuer, auth: Authenticator) -> None:
        assert auth.vouches(name, issuer.token(sub))

    def test_it_may_say_more(self, issuer: Issuer, auth: Authenticator) -> None:
        assert auth.vouches("alice", issuer.token("alice", iat=int(time.time()), jti="x", scope="chat"))


class TestABadToken:
    @pytest.mark.parametrize(
        "claims",
        [
            {"sub": "bob"},
            {"sub": None},
            {"sub": ""},
            {"sub": 7},
            {"sub": ["alice"]},
            {"sub": "a b"},
            {"exp": None},
            {"exp": int(time.time()) - 1},
            {"exp": "soon"},
            {"exp": float("nan")},
            {"nbf": int(time.time()) + 100_000},  # longer than any run of the tests takes
            {"iat": int(time.time()) + 100_000},
            {"aud": "another service"},
        ],
    )
    def test_by_what_it_says(self, claims: dict[str, Any], issuer: Issuer, auth: Authenticator) -> None:
        assert not auth.vouches("alice", issuer.token(**{"name": "alice", **claims}))

    def test_of_another_issuer(self, tmp_path: Path, issuer: Issuer, auth: Authenticator) -> None:
        for secret in (True, False):
            assert not auth.vouches("alice", Issuer(tmp_path / "other", secret=secret).token("alice"))

    @pytest.mark.parametrize("alg", ["none", "None", "NONE", "", "HS256", "HS512", "EdDSA"])
    def test_without_a_signature(self, alg: str, issuer: Issuer, auth: Authenticator) -> None:
        payload = json.dumps({"sub": "alice", "exp": int(time.time()) + 1000}).encode()
        assert not auth.vouches("alice", hand_made({"alg": alg, "typ": "JWT"}, payload))

    def test_signed_with_the_public_key_as_if_it_were_a_secret(self, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key")
        auth = Authenticator(issuer.file)
        payload = json.dumps({"sub": "alice", "exp": int(time.time()) + 1000}).encode()
        for secret in (issuer.public, issuer.public.strip()):
            assert not auth.vouches("alice", hand_made({"alg": "HS256", "typ": "JWT"}, payload, secret))

    def test_signed_with_the_right_secret_in_another_way(self, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key", secret=True)
        said = {"sub": "alice", "exp": int(time.time()) + 1000}
        tokens = {alg: jwt.encode(said, issuer._key, alg) for alg in ("HS256", "HS384", "HS512")}
        good = [alg for alg, token in tokens.items() if Authenticator(issuer.file).vouches("alice", token)]
        assert good == ["HS256"]

    def test_that_brings_its_own_key(self, tmp_path: Path) -> None:
        issuer, forger = Issuer(tmp_path / "key"), Issuer(tmp_path / "forger")
        key = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(forger._key.public_key()))
        token = jwt.encode({"sub": "alice", "exp": int(time.time()) + 1000}, forger._key, "EdDSA", headers={"jwk": key})
        assert not Authenticator(issuer.file).vouches("alice", token)

    def test_that_was_changed(self, issuer: Issuer, auth: Authenticator) -> None:
        head, _, tail = issuer.token("alice").split(".")
        forged = b64(json.dumps({"sub": "bob", "exp": int(time.time()) + 1000}).encode())
        assert not auth.vouches("bob", f"{head}.{forged}.{tail}")

    def test_none_at_all_and_a_name_that_is_none(self, issuer: Issuer, auth: Authenticator) -> None:
        for token in (None, "", ".", "..", "a.b.c", "\x00", "é" * 10):
            assert not auth.vouches("alice", token)
        assert not auth.vouches("a b", issuer.token("a b"))

    def test_one_that_is_too_long_is_not_looked_at(self, issuer: Issuer, auth: Authenticator) -> None:
        assert auth.vouches("alice", issuer.token("alice", filler="x" * (TOKEN_CHARACTERS // 2)))
        assert not auth.vouches("alice", issuer.token("alice", filler="x" * TOKEN_CHARACTERS))

    def test_one_that_is_nested_as_deep_as_fits(self, issuer: Issuer, auth: Authenticator) -> None:
        depth = TOKEN_CHARACTERS // 3
        assert not auth.vouches("alice", hand_made({"alg": "HS256"}, b"[" * depth, b"x" * 32))
        header = b64(b'{"alg":' + b"[" * depth)
        assert not auth.vouches("alice", f"{header}.{b64(b'{}')}.x")

    @given(st.text(max_size=200))
    def test_any_text(self, token: str) -> None:
        auth = Authenticator.__new__(Authenticator)
        auth._algorithm, auth._key = "HS256", b"k" * SECRET_BYTES
        assert not auth.vouches("alice", token)


class TestTheKey:
    def test_what_cannot_be_one_is_said_in_a_line(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        with pytest.raises(ConfigError, match=r"--auth-jwt-key .* can't be read: No such file"):
            Authenticator(file)
        curve = generate_private_key(SECP256R1()).public_key()
        for content, words in {
            b"short": "at least 32 bytes",
            b"x" * (SECRET_BYTES - 1) + b"\n": "at least 32 bytes",
            b"-----BEGIN PUBLIC KEY-----\nrubbish\n-----END PUBLIC KEY-----\n": "an Ed25519 public key, or a secret",
            curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo): "an Ed25519 public key, or a secret",
        }.items():
            file.write_bytes(content)
            with pytest.raises(ConfigError, match=words) as told:
                Authenticator(file)
            assert "\n" not in str(told.value)

    def test_a_new_one_takes_the_place_of_the_old_and_a_broken_one_does_not(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        old = Issuer(file)
        auth = Authenticator(file)
        new = Issuer(file)
        auth.reload()
        assert not auth.vouches("alice", old.token("alice"))
        assert auth.vouches("alice", new.token("alice"))
        file.write_text("rubbish")
        with pytest.raises(ConfigError):
            auth.reload()
        assert auth.vouches("alice", new.token("alice"))

    def test_without_the_library_it_says_what_to_install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        issuer = Issuer(tmp_path / "key")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"pair-relay\[auth\]"):
            Authenticator(issuer.file)
