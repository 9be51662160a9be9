"""A Config that exists is valid. An impossible one is refused with one line that names a solution."""

import math
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from relay.configuration import settings_file
from relay.configuration.config import (
    MAX_FILE_BYTES,
    Config,
    ConfigError,
    default_name,
    parse_server,
    read_file,
    redact,
    show_server,
)
from relay.configuration.redis_url import Tls
from relay.net import tls_transport
from relay.redis_client import login_and_tls
from relay.redis_client.client import RedisClient
from relay.server import jwt_keys
from relay.tools.testbed.certificates import client_context
from tests.support.certificates import Authority
from tests.support.rows import each_row


@pytest.mark.parametrize(
    ("host", "means"), [("[::1]", "::1"), ("::", "::"), ("fe80::1%eth0", "fe80::1%eth0"), ("bücher.example", None)]
)
def test_a_host_may_stand_in_brackets_if_it_is_of_ipv6(host: str, means: str | None) -> None:
    assert Config(host=host).host == (means or host)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("relay.example:9999", ("relay.example", 9999)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:10000", ("::1", 10000)),
    ],
)
def test_a_server_is_a_host_and_a_port(text: str, server: tuple[str, int]) -> None:
    assert parse_server("--server", text) == server
    assert show_server(server) == text


@each_row(
    ("text", "complaint"),
    [
        ("", "--server must be host:port, or [IPv6]:port, not ''"),
        ("localhost", "--server must be host:port, or [IPv6]:port, not 'localhost'"),
        (":9999", "--server must be host:port, or [IPv6]:port, not ':9999'"),
        ("::1:9999", "--server must be host:port, or [IPv6]:port, not '::1:9999'"),
        ("localhost:", "--server must have a port from 1 to 65535, not 'localhost:'"),
        ("localhost:0", "--server must have a port from 1 to 65535, not 'localhost:0'"),
        ("localhost:65536", "--server must have a port from 1 to 65535, not 'localhost:65536'"),
        ("localhost:９", "--server must have a port from 1 to 65535, not 'localhost:９'"),
        ("a..b:1", "--server must be a host name or address, not 'a..b'"),
        ("a b:1", "--server must be a host name or address, not 'a b'"),
        ("[::1:1", "--server must be host:port, or [IPv6]:port, not '[::1:1'"),
    ],
)
def test_any_other_server_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_server("--server", text)
    assert str(caught.value) == complaint


@each_row(
    "settings",
    [
        {},
        {"port": 0, "classic_port": 0, "http_port": 0},  # each takes a free port, so they don't clash
        {"port": 65_535},
        {"lease": 0.5, "grace": 0},
        {"lease": 3600, "grace": 3600},
        {"max_line": 64},
        {"max_line": 16 * 1024 * 1024},
        {"prefix": "A.b_c-9", "name": "x" * 64},
        {"redis": "redis://localhost"},
    ],
)
def test_settings_that_work_are_taken(settings: dict[str, Any]) -> None:
    Config(**settings)


@each_row(
    ("settings", "complaint"),
    [
        ({"host": ""}, "--host must be a host name or address, not ''"),
        ({"host": "a b"}, "--host must be a host name or address, not 'a b'"),
        ({"host": "a..b"}, "--host must be a host name or address, not 'a..b'"),
        ({"host": "[::1"}, "--host must be a host name or address, not '[::1'"),
        ({"host": "[localhost]"}, "--host must be a host name or address, not '[localhost]'"),
        ({"host": "x" * 64}, f"--host must be a host name or address, not '{'x' * 64}'"),
        ({"port": -1}, "--port must be between 0 and 65535, not -1"),
        ({"port": 65_536}, "--port must be between 0 and 65535, not 65536"),
        ({"classic_port": 65_536}, "--classic-port must be between 0 and 65535, not 65536"),
        ({"http_port": -1}, "--http-port must be between 0 and 65535, not -1"),
        ({"port": 9100, "http_port": 9100}, "--http-port and --port can't both be 9100"),
        ({"lease": 0.4}, "--lease must be between 0.5 and 3600 seconds, not 0.4"),
        ({"lease": math.nan}, "--lease must be between 0.5 and 3600 seconds, not nan"),
        ({"lease": math.inf}, "--lease must be between 0.5 and 3600 seconds, not inf"),
        ({"drain": -1.0}, "--drain must be between 0 and 3600 seconds, not -1"),
        ({"grace": -1.0}, "--grace must be between 0 and 3600 seconds, not -1"),
        ({"grace": 3601.0}, "--grace must be between 0 and 3600 seconds, not 3601"),
        ({"max_line": 63}, "--max-line must be between 64 and 16777216 bytes, not 63"),
        ({"name_time": 0.5}, "--name-time must be between 1 and 3600 seconds, not 0.5"),
        ({"window": 0}, "--window must be between 1 and 65536 messages, not 0"),
        ({"window_bytes": 1023}, "--window-bytes must be between 1024 and 1073741824 bytes, not 1023"),
        ({"prefix": "a:b"}, "--prefix must be 1 to 64 letters, digits, dots, dashes or underscores, not 'a:b'"),
        ({"origin": ("x",)}, "--origin must be an origin as https://chat.example.com, or *, not 'x'"),
        ({"prefix": ""}, "--prefix must be 1 to 64 letters, digits, dots, dashes or underscores, not ''"),
        ({"name": "a\n"}, "--name must be 1 to 64 letters, digits, dots, dashes or underscores, not 'a\\n'"),
        ({"name": "é"}, "--name must be 1 to 64 letters, digits, dots, dashes or underscores, not 'é'"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_one_line(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**settings)
    assert str(caught.value) == complaint


@each_row(
    ("url", "shown"),
    [
        ("redis://localhost:6379/1", "redis://localhost:6379/1"),
        ("redis://me:hunter2@localhost", "redis://***@localhost"),
        ("redis://:hunter2@localhost", "redis://***@localhost"),
        ("redis+sentinel://me:hunter2@a,b:1/s?sentinel_password=hunter2", "redis+sentinel://***@a,b:1/s"),
        ("redis://me:hunter2@hunter2@localhost", "redis://***@localhost"),  # an @ that should have been %40
        ("redis://localhost?password=hunter2", "redis://localhost"),
        ("redis://me:hunt#er2@localhost", "redis://***@localhost"),  # a # that should have been %23
        ("me:hunter2@localhost", "***@localhost"),
        ("redis://local\x1bhost", "'redis://local\\x1bhost'"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@localhost?password=hunter2", "redis://me:hunter2", "redis://:2222222", "redis://:hunter2@"],
)
def test_a_refused_url_does_not_show_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(redis=url)
    assert "hunter2" not in str(caught.value)
    assert "2222222" not in str(caught.value)


def test_a_password_is_given_once(tmp_path: Path) -> None:
    file = tmp_path / "password"
    Config(redis="redis://me@a", redis_password_file=file)
    with pytest.raises(ConfigError, match="can't both give a password"):
        Config(redis="redis://:other@a", redis_password_file=file)
    with pytest.raises(ConfigError, match="--redis-password-file needs --redis"):
        Config(redis_password_file=file)


def test_default_names_differ_and_are_names() -> None:
    names = {default_name() for _ in range(10)}
    assert len(names) == 10
    for name in names:
        Config(name=name)


# --- files that are read again


def urls_with_files(authority: Authority, folder: Path) -> dict[str, bool]:
    """URLs of a Redis, and whether connections to it need files."""
    cert, key = authority.issue("client")
    text = quote(authority.file.read_text())
    (folder / "password").write_text("secret")
    return {
        "redis://h": False,
        "unix:///run/redis.sock": False,
        "redis+sentinel://h/s": False,
        "redis+cluster://h": False,
        f"rediss://h?ssl_ca_data={text}": False,
        f"rediss+cluster://h?ssl_ca_data={text}": False,
        f"rediss://h?ssl_ca_certs={authority.file}": True,
        f"rediss://h?ssl_ca_path={folder}": True,
        f"rediss://h?ssl_ca_data={text}&ssl_certfile={cert}&ssl_keyfile={key}": True,
        f"redis+sentinel://h/s?sentinel_username=me&sentinel_password_file={folder}/password": True,
        f"redis+sentinel://h/s?sentinel_ssl=true&sentinel_ssl_ca_certs={authority.file}": True,
    }


def test_files_for_redis_are_read_again_where_there_are_any(tmp_path: Path) -> None:
    """A node and a supervisor, which makes no connections, must agree whether SIGHUP ends them."""
    expected = urls_with_files(Authority(tmp_path), tmp_path)
    assert {url: Config(redis=url).reloads for url in expected} == expected
    assert {url: bool(RedisClient(url).files) for url in expected} == expected


def test_the_certificates_that_the_system_trusts_are_read_again() -> None:
    """Some systems have neither of the two places."""
    assert Config(redis="rediss://h").reloads is bool(RedisClient("rediss://h").files)


@pytest.mark.parametrize(
    "settings",
    [
        {"tls_cert": Path("c"), "tls_key": Path("k")},
        {"auth_jwt_key": Path("k")},
        {"redis": "redis://h", "redis_password_file": Path("p")},
    ],
)
def test_files_that_options_name_are_read_again(settings: dict[str, Any]) -> None:
    assert Config(**settings).reloads
    assert not Config().reloads


# --- files of an option, which may be anything


NAMED: dict[str, Callable[[Path, Authority], object]] = {
    "--config": lambda file, _: settings_file.read(file, {}),
    "--auth-jwt-key": lambda file, _: jwt_keys.read(file),
    "--redis-password-file": lambda file, _: login_and_tls.read_password(file, "--redis-password-file"),
    "--tls-cert": lambda file, authority: tls_transport.server_context(file, authority.issue("node")[1], None),
    "--tls-key": lambda file, authority: tls_transport.server_context(authority.issue("node")[0], file, None),
    "--tls-client-ca": lambda file, authority: tls_transport.server_context(*authority.issue("node"), file),
    "--redis: ssl_ca_certs": lambda file, _: login_and_tls.client_context(Tls(file)),
    "--redis: ssl_certfile": lambda file, _: login_and_tls.client_context(Tls(certfile=file)),
    "--redis: ssl_keyfile": lambda file, authority: login_and_tls.client_context(
        Tls(certfile=authority.issue("node")[0], keyfile=file)
    ),
    "--ca": lambda file, _: client_context(str(file)),
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("option", NAMED)
class TestAFileThatIsNone:
    def test_a_file_without_an_end_is_refused(self, option: str, authority: Authority) -> None:
        with pytest.raises(ConfigError, match=f"^{option} '/dev/zero' is longer than {MAX_FILE_BYTES} bytes$"):
            NAMED[option](Path("/dev/zero"), authority)

    def test_a_folder_is_refused(self, option: str, authority: Authority, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"^{option} .* can't be read: Is a directory$"):
            NAMED[option](tmp_path, authority)

    def test_a_pipe_that_nobody_fills_is_refused(
        self, option: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("relay.configuration.config.PIPE_SECONDS", 0.05)
        os.mkfifo(tmp_path / "pipe")
        complaint = r"can't be read: what writes there has not ended within 0\.05 s"
        with pytest.raises(ConfigError, match=f"^{option} .* {complaint}$"):
            NAMED[option](tmp_path / "pipe", authority)


def test_pipes_that_somebody_fills_do_for_files(authority: Authority, tmp_path: Path) -> None:
    """OpenSSL, which opens files itself, accepts them too: `relay node --tls-key <(decrypt key)`."""
    cert, key = authority.issue("node")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    uses: list[Callable[[], object]] = [
        lambda: read_file("--config", pipe),
        lambda: tls_transport.server_context(cert, pipe, None),
        lambda: login_and_tls.client_context(Tls(certfile=cert, keyfile=pipe)),
    ]
    for use in uses:
        writer = threading.Thread(target=pipe.write_bytes, args=[key.read_bytes()])
        writer.start()
        assert use()
        writer.join()


def test_a_pipe_is_refused_where_openssl_could_not_read_it(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only Linux has files without a name, which keep what came from the pipe."""
    cert, key = authority.issue("node")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(sys, "platform", "darwin")
    writer = threading.Thread(target=pipe.write_bytes, args=[key.read_bytes()])
    writer.start()
    with pytest.raises(ConfigError, match=r"^--tls-key '.*/pipe' can't be used: it has to be a file$"):
        tls_transport.server_context(cert, pipe, None)
    writer.join()
