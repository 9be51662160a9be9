"""A Config that exists is sound; one that can't work is refused with one line that says what would."""

import math
from pathlib import Path
from typing import Any

import pytest

from relay.config import Config, ConfigError, SentinelAddress, default_name, redact, sentinel_address, with_password


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"port": 0, "classic_port": 0, "http_port": 0},  # each takes a free one: no clash
        {"port": 65_535},
        {"lease": 0.5, "grace": 0},
        {"lease": 3600, "grace": 3600},
        {"max_line": 64},
        {"max_line": 16 * 1024 * 1024},
        {"prefix": "A.b_c-9", "name": "x" * 64},
        {"redis": "redis://localhost"},
        {"redis": "redis://user:p%40ss@10.0.0.1:6379/3?socket_timeout=2"},
        {"redis": "redis://[::1]:6379/0"},
        {"redis": "redis://localhost?db=3"},
        {"redis": "rediss://cache.example:6380"},
        {"redis": "unix:///run/redis.sock?db=1"},
        {"redis": "redis+cluster://:secret@a:7000,b:7001,[::1]:7002"},
        {"redis": "redis+sentinel://me:secret@a:26379,b,[::1]:26380/service?sentinel_password=hunter2"},
        {"redis": "redis+sentinel://a/service/3"},
    ],
)
def test_what_works_is_taken(settings: dict[str, Any]) -> None:
    Config(**settings)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"host": ""}, "--host must be a host name or address, not ''"),
        ({"host": "a b"}, "--host must be a host name or address, not 'a b'"),
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
        ({"prefix": ""}, "--prefix must be 1 to 64 letters, digits, dots, dashes or underscores, not ''"),
        ({"name": "a\n"}, "--name must be 1 to 64 letters, digits, dots, dashes or underscores, not 'a\\n'"),
        ({"name": "é"}, "--name must be 1 to 64 letters, digits, dots, dashes or underscores, not 'é'"),
    ],
)
def test_what_cannot_work_is_refused_with_one_line(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**settings)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:6379", "it must start with redis://"),
        ("http://localhost", "it must start with redis://"),
        ("redis:/localhost", "it must start with redis://"),
        ("", "it must start with redis://"),
        ("redis://", "it needs a host"),
        ("redis+cluster://a:7000,", "it needs a host"),
        ("redis://localhost:http", "a port from 1 to 65535"),
        ("redis://localhost:65536", "a port from 1 to 65535"),
        ("redis://localhost:0", "a port from 1 to 65535"),
        ("redis://[::1", "it needs a host"),
        ("redis://a,b", "several hosts need redis+cluster:// or redis+sentinel://"),
        ("redis+sentinel://a,b", "redis+sentinel:// needs the name of a service after the hosts: /mymaster"),
        ("redis+sentinel:///service", "it needs a host"),
        ("redis+sentinel://a,,b/service", "it needs a host"),
        ("redis+sentinel://a/service/three", "its database must be a number"),
        ("redis+sentinel://a/service?db=three", "its database must be a number"),
        ("redis+sentinel://a/service?pasword=x", "redis+sentinel:// has no option 'pasword'"),
        ("redis://localhost/three", "its database must be a number"),
        ("redis://localhost?db=three", "its database must be a number"),
        ("unix://", "unix:// needs the path of a socket"),
        ("unix://run/redis.sock", "the path of a socket begins with a slash, unix:///run/redis.sock"),
        ("unix://user:word@run/redis.sock", "the path of a socket begins with a slash"),
    ],
)
def test_a_url_that_leads_to_no_redis_is_refused(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"^--redis .* can't be used: ") as caught:
        Config(redis=url)
    assert why in str(caught.value)


@pytest.mark.parametrize(
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


def test_a_sentinel_url_says_all_that_is_needed() -> None:
    said = sentinel_address(
        "redis+sentinel://me:p%40ss@a:1,b/my%20service/3?sentinel_username=s&sentinel_password=t%2B"
    )
    assert said == SentinelAddress([("a", 1), ("b", 26379)], "my service", 3, "me", "p@ss", "s", "t+")
    said = sentinel_address("redis+sentinel://a/service")
    assert said == SentinelAddress([("a", 26379)], "service", 0, None, None, None, None)
    assert sentinel_address("redis+sentinel://a/service?db=2").database == 2


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://localhost:6379/1", "redis://:p%40s%2F%3As@localhost:6379/1"),
        ("redis://me@localhost", "redis://me:p%40s%2F%3As@localhost"),
        ("unix:///run/redis.sock", "unix://:p%40s%2F%3As@/run/redis.sock"),
        ("redis+sentinel://a,b/s?db=1", "redis+sentinel://:p%40s%2F%3As@a,b/s?db=1"),
    ],
)
def test_a_password_from_a_file_gets_into_the_url(tmp_path: Path, url: str, whole: str) -> None:
    file = tmp_path / "password"
    file.write_text("p@s/:s\n")
    assert with_password(url, file) == whole


@pytest.mark.parametrize(
    ("content", "url", "why"),
    [
        (None, "redis://a", "can't be read: No such file or directory"),
        (b"\xff", "redis://a", "can't be read: it isn't UTF-8"),
        (b"\n", "redis://a", "is empty"),
        (b"hunter2", "redis://:other@a", "can't both give a password"),
        (b"hunter2", "http://a", "it must start with redis://"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_refused(
    tmp_path: Path, content: bytes | None, url: str, why: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        with_password(url, file)


def test_default_names_differ_and_are_names() -> None:
    names = {default_name() for _ in range(10)}
    assert len(names) == 10
    for name in names:
        Config(name=name)
