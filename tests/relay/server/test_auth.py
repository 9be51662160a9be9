"""Tokens: which of them prove a name; all others look alike."""

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
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from relay.configuration.config import MAX_FILE_BYTES, ConfigError
from relay.server.auth import TOKEN_CHARACTERS, Authenticator
from relay.server.jwt_keys import MAX_KEYS, SECRET_BYTES
from tests.support.tokens import Issuer, jwk_set


@pytest.fixture(params=["EdDSA", "HS256"])
def issuer(request: pytest.FixtureRequest, tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "key", secret=request.param == "HS256")


@pytest.fixture
def auth(issuer: Issuer) -> Authenticator:
    return Authenticator(issuer.file)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hand_made(header: dict[str, Any], payload: bytes, secret: bytes = b"") -> str:
    """Return a token that no library would make, signed by HMAC with the secret if there is one."""
    said = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{said}.{b64(hmac.digest(secret, said.encode(), hashlib.sha256) if secret else b'')}"


class TestAGoodToken:
    def test_the_sub_of_a_good_token_is_the_name(self, issuer: Issuer, auth: Authenticator) -> None:
        assert auth.vouches("alice", issuer.token("alice"))

    @pytest.mark.parametrize(("sub", "name"), [("alice", "Alice"), ("Ａlice", "alice"), ("张三", "张三")])
    def test_a_good_token_may_have_any_spelling_of_the_name(
        self, sub: str, name: str, issuer: Issuer, auth: Authenticator
    ) -> None:
        assert auth.vouches(name, issuer.token(sub))

    def test_a_good_token_may_say_more(self, issuer: Issuer, auth: Authenticator) -> None:
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
            {"exp": int(time.time()) - 1000},
            {"exp": "soon"},
            {"exp": float("nan")},
            {"nbf": int(time.time()) + 100_000},  # later than the end of any run of the tests
            {"iat": int(time.time()) + 100_000},
            {"aud": "another service"},
        ],
    )
    def test_a_token_is_bad_by_what_it_says(self, claims: dict[str, Any], issuer: Issuer, auth: Authenticator) -> None:
        assert not auth.vouches("alice", issuer.token(**{"name": "alice", **claims}))

    def test_a_token_of_another_issuer_is_bad(self, tmp_path: Path, issuer: Issuer, auth: Authenticator) -> None:
        for secret in (True, False):
            assert not auth.vouches("alice", Issuer(tmp_path / "other", secret=secret).token("alice"))

    @pytest.mark.parametrize("alg", ["none", "None", "NONE", "", "HS256", "HS512", "EdDSA"])
    def test_a_token_without_a_signature_is_bad(self, alg: str, issuer: Issuer, auth: Authenticator) -> None:
        payload = json.dumps({"sub": "alice", "exp": int(time.time()) + 1000}).encode()
        assert not auth.vouches("alice", hand_made({"alg": alg, "typ": "JWT"}, payload))

    def test_a_token_signed_with_the_public_key_as_if_it_were_a_secret_is_bad(self, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key")
        auth = Authenticator(issuer.file)
        payload = json.dumps({"sub": "alice", "exp": int(time.time()) + 1000}).encode()
        for secret in (issuer.public, issuer.public.strip()):
            assert not auth.vouches("alice", hand_made({"alg": "HS256", "typ": "JWT"}, payload, secret))

    def test_a_token_signed_with_the_right_secret_in_another_way_is_bad(self, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key", secret=True)
        said = {"sub": "alice", "exp": int(time.time()) + 1000}
        tokens = {alg: jwt.encode(said, issuer.key, alg) for alg in ("HS256", "HS384", "HS512")}
        good = [alg for alg, token in tokens.items() if Authenticator(issuer.file).vouches("alice", token)]
        assert good == ["HS256"]

    def test_a_token_that_brings_its_own_key_is_bad(self, tmp_path: Path) -> None:
        issuer, forger = Issuer(tmp_path / "key"), Issuer(tmp_path / "forger")
        key = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(forger.key.public_key()))
        token = jwt.encode({"sub": "alice", "exp": int(time.time()) + 1000}, forger.key, "EdDSA", headers={"jwk": key})
        assert not Authenticator(issuer.file).vouches("alice", token)

    def test_a_token_that_was_changed_is_bad(self, issuer: Issuer, auth: Authenticator) -> None:
        head, _, tail = issuer.token("alice").split(".")
        forged = b64(json.dumps({"sub": "bob", "exp": int(time.time()) + 1000}).encode())
        assert not auth.vouches("bob", f"{head}.{forged}.{tail}")

    def test_no_token_at_all_and_a_token_of_an_invalid_name_are_bad(self, issuer: Issuer, auth: Authenticator) -> None:
        for token in (None, "", ".", "..", "a.b.c", "\x00", "é" * 10):
            assert not auth.vouches("alice", token)
        assert not auth.vouches("a b", issuer.token("a b"))

    def test_a_token_that_is_too_long_is_bad(self, issuer: Issuer, auth: Authenticator) -> None:
        assert auth.vouches("alice", issuer.token("alice", filler="x" * (TOKEN_CHARACTERS // 2)))
        assert not auth.vouches("alice", issuer.token("alice", filler="x" * TOKEN_CHARACTERS))

    def test_a_token_that_is_nested_as_deep_as_fits_is_bad(self, issuer: Issuer, auth: Authenticator) -> None:
        depth = TOKEN_CHARACTERS // 3
        assert not auth.vouches("alice", hand_made({"alg": "HS256"}, b"[" * depth, b"x" * 32))
        header = b64(b'{"alg":' + b"[" * depth)
        assert not auth.vouches("alice", f"{header}.{b64(b'{}')}.x")

    @given(token=st.text(max_size=200))
    def test_any_text_is_a_bad_token(self, token: str, tmp_path_factory: pytest.TempPathFactory) -> None:
        file = tmp_path_factory.getbasetemp() / "any-text"
        file.write_text("k" * SECRET_BYTES)
        assert not Authenticator(file).vouches("alice", token)


class TestAsIdentityProvidersMakeThem:
    @pytest.fixture(params=["EdDSA", "ES256", "RS256", "HS256"])
    def issuer(self, request: pytest.FixtureRequest, tmp_path: Path) -> Issuer:
        return Issuer(tmp_path / "key", algorithm=request.param, kid="one")

    def test_every_kind_of_key_as_a_file_of_its_own_and_in_a_set(self, issuer: Issuer, tmp_path: Path) -> None:
        assert Authenticator(issuer.file).vouches("alice", issuer.token("alice"))
        issuer.file.write_bytes(jwk_set(issuer))
        assert Authenticator(issuer.file).vouches("alice", issuer.token("alice"))
        issuer.file.write_text(json.dumps(issuer.jwk))
        assert Authenticator(issuer.file).vouches("alice", issuer.token("alice"))

    def test_several_keys_at_once_are_good_each_with_its_own_algorithm(self, tmp_path: Path) -> None:
        issuers = [Issuer(tmp_path / kid, algorithm=kid, kid=kid) for kid in ("EdDSA", "ES256", "RS256", "HS256")]
        (tmp_path / "set").write_bytes(jwk_set(*issuers))
        auth = Authenticator(tmp_path / "set")
        for issuer in issuers:
            assert auth.vouches("alice", issuer.token("alice"))
            issuer.kid = None  # a token that doesn't name its key
            assert auth.vouches("alice", issuer.token("alice"))
            issuer.kid = "of nobody"
            assert not auth.vouches("alice", issuer.token("alice"))

    def test_several_public_keys_in_pem_are_tried_one_after_the_other(self, tmp_path: Path) -> None:
        issuers = [Issuer(tmp_path / "one"), Issuer(tmp_path / "two"), Issuer(tmp_path / "three", algorithm="ES256")]
        (tmp_path / "all").write_bytes(b"".join(issuer.public for issuer in issuers))
        auth = Authenticator(tmp_path / "all")
        assert all(auth.vouches("alice", issuer.token("alice")) for issuer in issuers)
        assert not auth.vouches("alice", Issuer(tmp_path / "four").token("alice"))

    def test_a_key_is_good_for_its_own_kid_only(self, tmp_path: Path) -> None:
        one, two = (Issuer(tmp_path / kid, kid=kid) for kid in ("one", "two"))
        (tmp_path / "set").write_bytes(jwk_set(one, two))
        one.kid = "two"
        assert not Authenticator(tmp_path / "set").vouches("alice", one.token("alice"))

    def test_entries_of_a_set_that_are_no_usable_keys_are_left_out(self, tmp_path: Path) -> None:
        good = Issuer(tmp_path / "good", kid="good")
        others: list[Any] = [
            good.jwk | {"kid": "enc", "use": "enc"},
            good.jwk | {"kid": "alg", "alg": "ES512"},
            {"kty": "RSA", "kid": "no numbers"},
            {"kty": "oct", "k": "c2hvcnQ", "kid": "short"},
            {"kty": "new"},
            {"kty": ["RSA"]},
            "no object",
        ]
        (tmp_path / "set").write_text(json.dumps({"keys": [*others, good.jwk]}))
        with capture_logs() as log:
            auth = Authenticator(tmp_path / "set")
        assert [line["kids"] for line in log] == ["good"]
        assert auth.vouches("alice", good.token("alice"))

    def test_a_token_is_good_only_with_the_expected_audience_and_issuer(self, issuer: Issuer) -> None:
        auth = Authenticator(issuer.file, audience="chat", issuer="https://id.example")
        good: dict[str, Any] = {"aud": "chat", "iss": "https://id.example"}
        assert auth.vouches("alice", issuer.token("alice", **good))
        assert auth.vouches("alice", issuer.token("alice", **good | {"aud": ["mail", "chat"]}))
        wrong: dict[str, Any]
        for wrong in ({"aud": "mail"}, {"aud": None}, {"aud": []}, {"aud": "Chat"}, {"iss": "x"}, {"iss": None}):
            assert not auth.vouches("alice", issuer.token("alice", **good | wrong))

    def test_clocks_may_differ_by_the_leeway(self, issuer: Issuer) -> None:
        auth, now = Authenticator(issuer.file, leeway=100), int(time.time())
        for claims in ({"iat": now + 50}, {"nbf": now + 50}, {"exp": now - 50}):
            assert auth.vouches("alice", issuer.token("alice", **claims))
            assert not Authenticator(issuer.file).vouches("alice", issuer.token("alice", **claims))
        for claims in ({"iat": now + 1000}, {"nbf": now + 1000}, {"exp": now - 1000}):
            assert not auth.vouches("alice", issuer.token("alice", **claims))


class TestConfusionOfAlgorithms:
    """Public data must never serve as a secret, in any form of a forger or of the file."""

    @pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
    def test_a_public_key_signs_nothing(self, algorithm: str, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key", algorithm=algorithm, kid="one")
        forms = [issuer.public, issuer.public.strip(), issuer.der, jwk_set(issuer), json.dumps(issuer.jwk).encode()]
        payload = json.dumps({"sub": "alice", "exp": int(time.time()) + 1000}).encode()
        for content in (issuer.public, jwk_set(issuer)):
            issuer.file.write_bytes(content)
            auth = Authenticator(issuer.file)
            for secret in forms:
                for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "one"}):
                    assert not auth.vouches("alice", hand_made(header, payload, secret))

    @pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
    def test_a_public_key_is_not_taken_for_a_secret(self, algorithm: str, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key", algorithm=algorithm)
        packed = base64.b64encode(issuer.der)
        lines = b"\n".join(packed[start : start + 64] for start in range(0, len(packed), 64))
        for content in (issuer.der, issuer.der + b"\n", packed, packed + b"\n", lines):
            issuer.file.write_bytes(content)
            with pytest.raises(ConfigError, match="isn't a secret but a key or a certificate in DER; give it as PEM"):
                Authenticator(issuer.file)
        for content in (issuer.public, jwk_set(issuer)):
            issuer.file.write_bytes(base64.b64encode(content))
            with pytest.raises(ConfigError, match="isn't a secret but a key in PEM or a JWK set, packed in Base64"):
                Authenticator(issuer.file)

    @pytest.mark.parametrize("end", [b"\n", b"\r"])
    def test_a_public_key_that_ends_like_a_line_is_not_taken_for_a_secret(self, end: bytes, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key", algorithm="ES256")
        while not issuer.der.endswith(end):
            issuer = Issuer(tmp_path / "key", algorithm="ES256")
        for content in (issuer.der, issuer.der + b"\n"):
            issuer.file.write_bytes(content)
            with pytest.raises(ConfigError, match="isn't a secret but a key"):
                Authenticator(issuer.file)

    def test_a_secret_of_a_set_is_not_good_for_another_key_of_it(self, tmp_path: Path) -> None:
        public, secret = Issuer(tmp_path / "a", kid="a"), Issuer(tmp_path / "b", secret=True, kid="b")
        (tmp_path / "set").write_bytes(jwk_set(public, secret))
        auth = Authenticator(tmp_path / "set")
        secret.kid = "a"
        assert not auth.vouches("alice", secret.token("alice"))


class TestTheLog:
    def test_the_log_says_at_debug_why_a_token_was_refused_and_never_the_token(self, issuer: Issuer) -> None:
        auth, now = Authenticator(issuer.file, audience="chat", issuer="me"), int(time.time())
        good: dict[str, Any] = {"aud": "chat", "iss": "me"}
        other = Issuer(issuer.file.with_name("other"), algorithm=issuer.algorithm)
        stranger = Issuer(issuer.file.with_name("stranger"), algorithm="ES256")
        for token, why in {
            issuer.token("alice", **good, exp=now - 1000): "it has expired",
            issuer.token("alice", **good, nbf=now + 1000): "its nbf or iat is in the future",
            issuer.token("alice", **good, iat=now + 1000): "its nbf or iat is in the future",
            issuer.token("alice", iss="me"): "it has no aud",
            issuer.token("alice", **good, exp=None): "it has no exp",
            issuer.token("alice", **good | {"aud": "mail"}): "its aud isn't the one that is expected",
            issuer.token("alice", **good | {"iss": "you"}): "its iss isn't the one that is expected",
            issuer.token("bob", **good): "its sub is another name",
            issuer.token("a b", **good): "its sub is no name",
            other.token("alice", **good): "its signature is wrong",
            stranger.token("alice", **good): "no key has its alg and kid",
            "rubbish": "it can't be used (DecodeError)",
            "x" * (TOKEN_CHARACTERS + 1): "it is too long",
        }.items():
            with structlog.testing.capture_logs() as lines:
                assert not auth.vouches("alice", token)
            (line,) = lines
            assert line == {"event": "token refused", "log_level": "debug", "name": "alice", "reason": why}

    def test_the_log_says_which_algorithms_the_key_file_is_good_for(self, tmp_path: Path) -> None:
        issuers = [Issuer(tmp_path / kid, algorithm=kid, kid=kid) for kid in ("RS256", "EdDSA")]
        (tmp_path / "set").write_bytes(jwk_set(*issuers))
        with structlog.testing.capture_logs() as lines:
            Authenticator(tmp_path / "set")
        told = {"event": "names need a token", "log_level": "info"}
        assert lines == [told | {"algorithms": "EdDSA,RS256", "keys": 2, "kids": "RS256,EdDSA"}]


class TestTheKey:
    def test_a_file_that_cannot_be_a_key_is_refused_with_the_reason_in_one_line(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        with pytest.raises(ConfigError, match=r"--auth-jwt-key .* can't be read: No such file"):
            Authenticator(file)
        issuer = Issuer(tmp_path / "other")
        wrong_curve = generate_private_key(SECP384R1()).public_key()
        weak = rsa.generate_private_key(65537, 1024).public_key()
        for content, words in {
            b"short": "at least 32 bytes",
            b"x" * (SECRET_BYTES - 1) + b"\n": "at least 32 bytes",
            b"-----BEGIN PUBLIC KEY-----\nrubbish\n-----END PUBLIC KEY-----\n": "public keys that can be used",
            b"-----BEGIN PUBLIC KEY-----\n" + b"x" * 64: "PEM that is cut short",
            wrong_curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo): "Ed25519 .EdDSA., P-256",
            weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo): "RSA of 2048 bits or more",
            issuer.private: "holds a private key",
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n": "holds a certificate: openssl x509",
            issuer.public * (MAX_KEYS + 1): f"holds {MAX_KEYS + 1} keys, of which {MAX_KEYS} are possible",
            issuer.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH): "a key of SSH",
            b"https://id.example/realms/chat/jwks.json\n": "isn't a secret but an address",
            issuer.public.decode().encode("utf-16")[:-3]: "PEM that is cut short",
            ("s" * 64).encode("utf-16"): "isn't a secret but text in UTF-16",
            b'{"keys": [' + b"x" * 64: "isn't a JWK set: it isn't JSON",
            b"[" * 100_000: "isn't a JWK set: it isn't JSON",
            json.dumps([issuer.jwk]).encode(): "isn't a JWK set: it has no list of keys",
            json.dumps({"keys": "none"}).encode(): "isn't a JWK set: it has no list of keys",
            json.dumps({"error": "not found, try again later"}).encode(): "holds no JWK that can be used",
            json.dumps({"keys": [issuer.jwk | {"d": "x"}]}).encode(): "holds a private key",
            b"s" * (MAX_FILE_BYTES + 1): "is longer than",
        }.items():
            file.write_bytes(content)
            with pytest.raises(ConfigError, match=words) as told:
                Authenticator(file)
            assert "\n" not in str(told.value)

    def test_text_may_be_written_by_any_system(self, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key", kid="one")
        for text in (issuer.public.decode(), jwk_set(issuer).decode()):
            for content in (text.encode("utf-8-sig"), text.encode("utf-16"), text.replace("\n", "\r\n").encode()):
                issuer.file.write_bytes(content)
                assert Authenticator(issuer.file).vouches("alice", issuer.token("alice"))

    def test_a_single_line_end_after_a_secret_is_not_part_of_it(self, tmp_path: Path) -> None:
        issuer = Issuer(tmp_path / "key", secret=True)
        for end, good in {"": True, "\n": True, "\r\n": True, "\n\n": False, " ": False}.items():
            issuer.file.write_text(issuer.key + end, newline="")
            assert Authenticator(issuer.file).vouches("alice", issuer.token("alice")) is good

    def test_a_new_key_takes_the_place_of_the_old_one_and_a_broken_one_does_not(self, tmp_path: Path) -> None:
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

    def test_an_authenticator_without_the_library_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issuer = Issuer(tmp_path / "key")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"pair-relay\[auth\]"):
            Authenticator(issuer.file)
