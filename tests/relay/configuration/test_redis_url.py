"""The URLs of a Redis: a URL with a part that would be ignored is refused."""

from pathlib import Path
from typing import Any

import pytest

from relay.configuration.config import Config, ConfigError
from relay.configuration.redis_url import SCHEMES, Kind, Login, RedisUrl, Tls, parse
from tests.support.rows import each_row


def server(*hosts: tuple[str, int], **said: Any) -> RedisUrl:
    return RedisUrl(Kind.SERVER, hosts, **said)


@each_row(
    ("url", "said"),
    [
        ("redis://localhost", server(("localhost", 6379))),
        ("REDIS://localhost", server(("localhost", 6379))),
        (
            "redis://user:p%40ss@10.0.0.1:6380/3",
            server(("10.0.0.1", 6380), database=3, login=Login("user", "p@ss")),
        ),
        ("redis://:secret@[::1]:1/0", server(("::1", 1), login=Login(None, "secret"))),
        ("redis://localhost?db=3", server(("localhost", 6379), database=3)),
        ("redis://localhost/3?db=3", server(("localhost", 6379), database=3)),
        ("rediss://cache:6380", server(("cache", 6380), tls=Tls())),
        ("unix:///run/redis.sock?db=1", RedisUrl(Kind.SERVER, (), "/run/redis.sock", database=1)),
        ("unix://me:x@/run/r%20s", RedisUrl(Kind.SERVER, (), "/run/r s", login=Login("me", "x"))),
        (
            "redis+cluster://:secret@a:7000,b,[::1]:7002/0",
            RedisUrl(Kind.CLUSTER, (("a", 7000), ("b", 6379), ("::1", 7002)), login=Login(None, "secret")),
        ),
        (
            "redis+sentinel://me:x@a:1,b/my%20service/3?sentinel_username=s&sentinel_password=t%2B",
            RedisUrl(
                Kind.SENTINEL,
                (("a", 1), ("b", 26379)),
                service="my service",
                database=3,
                login=Login("me", "x"),
                sentinel_login=Login("s", "t+"),
            ),
        ),
    ],
)
def test_a_url_says_all_that_is_needed(url: str, said: RedisUrl) -> None:
    assert parse(url) == said
    Config(redis=url)


def test_tls_is_said_as_redis_py_does() -> None:
    said = parse(
        "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_password=pw"
        "&ssl_check_hostname=false&ssl_min_version=TLSv1.3&ssl_ciphers=ECDHE&ssl_ca_path=/ca&ssl_cert_reqs=optional"
    )
    assert said.tls == Tls(
        ca_certs=Path("/ca.pem"),
        ca_path=Path("/ca"),
        certfile=Path("/c.pem"),
        keyfile=Path("/k.pem"),
        password="pw",
        check_hostname=False,
        min_version="1.3",
        ciphers="ECDHE",
    )
    assert parse("rediss://h?ssl_cert_reqs=none").tls == Tls(verify=False, check_hostname=False)
    assert parse("rediss+cluster://h?ssl_ca_certs=/a").tls == Tls(ca_certs=Path("/a"))


def test_sentinels_speak_tls_as_the_servers_do_unless_something_else_is_said() -> None:
    both = parse("rediss+sentinel://h/s?ssl_ca_certs=/a&ssl_certfile=/c")
    assert both.tls == both.sentinel_tls == Tls(ca_certs=Path("/a"), certfile=Path("/c"))
    other = parse("rediss+sentinel://h/s?ssl_ca_certs=/a&sentinel_ssl_ca_certs=/b")
    assert other.sentinel_tls == Tls(ca_certs=Path("/b"))
    assert parse("rediss+sentinel://h/s?sentinel_ssl=false").sentinel_tls is None
    plain = parse("redis+sentinel://h/s?sentinel_ssl=true&sentinel_ssl_ca_certs=/b")
    assert plain.tls is None
    assert plain.sentinel_tls == Tls(ca_certs=Path("/b"))
    assert parse("redis+sentinel://h/s").sentinel_tls is None
    assert parse("redis+sentinel://h/s?sentinel_password_file=/p").sentinel_password_file == Path("/p")


@each_row(
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
        ("redis://a..b", "it needs a host"),
        ("redis+cluster://a:7000,%s.example" % ("b" * 64), "it needs a host"),
        ("redis://a,b", "several hosts need redis+cluster:// or redis+sentinel://"),
        ("redis+sentinel://a,b", "redis+sentinel:// needs the name of a service after the hosts: /mymaster"),
        ("rediss+sentinel://a,b", "rediss+sentinel:// needs the name of a service after the hosts: /mymaster"),
        ("redis+sentinel:///service", "it needs a host"),
        ("redis+sentinel://a,,b/service", "it needs a host"),
        ("redis+sentinel://a/service/three", "its database must be a number"),
        ("redis+sentinel://a/service?db=three", "its database must be a number"),
        ("redis://localhost/three", "its database must be a number"),
        ("redis://localhost/1/2", "its database must be a number"),
        ("redis://localhost?db=three", "its database must be a number"),
        ("redis://localhost?db=-1", "its database must be a number"),
        ("redis://localhost/1?db=2", "its database is said twice"),
        ("redis+cluster://localhost/1", "a cluster has no database but 0"),
        ("redis+cluster://localhost?db=1", "a cluster has no database but 0"),
        ("redis+cluster://localhost/mymaster", "its database must be a number"),
        ("unix://", "unix:// needs the path of a socket"),
        ("unix://run/redis.sock", "unix:// needs the path of a socket"),
        ("redis://localhost/0#1", "a # in it has to be written as %23"),
        # options that nobody knows, or that don't fit
        ("redis+sentinel://a/service?pasword=x", "redis+sentinel:// has no option 'pasword'"),
        ("redis://localhost?socket_timeout=2", "redis:// has no option 'socket_timeout'"),
        ("rediss://localhost?ssl_ca_cert=x", "rediss:// has no option 'ssl_ca_cert'"),
        ("redis+cluster://localhost?read_from_replicas=true", "redis+cluster:// has no option 'read_from_replicas'"),
        ("redis://localhost?sentinel_password=x", "redis:// has no option 'sentinel_password'"),
        ("redis+cluster://localhost?sentinel_ssl=true", "redis+cluster:// has no option 'sentinel_ssl'"),
        ("unix:///run/redis.sock?ssl=true", "unix:// is without TLS and has no option 'ssl'"),
        ("redis://localhost?ssl=true", "redis:// is without TLS and has no option 'ssl'; use rediss://…"),
        (
            "redis+cluster://a?ssl=true",
            "redis+cluster:// is without TLS and has no option 'ssl'; use rediss+cluster://…",
        ),
        (
            "redis+sentinel://a/s?ssl_ca_certs=/a",
            "redis+sentinel:// is without TLS and has no option 'ssl_ca_certs'; use rediss+sentinel://…",
        ),
        ("redis+sentinel://a/s?sentinel_ssl_ca_certs=/a", "sentinel_ssl_ca_certs needs sentinel_ssl=true"),
        ("redis+sentinel://a/s?sentinel_ssl=maybe", "sentinel_ssl must be true or false"),
        ("redis+sentinel://a/s?sentinel_username=me", "sentinel_username needs sentinel_password"),
        ("redis+sentinel://a/s?sentinel_password=x&sentinel_password_file=/p", "can't both give a password"),
        ("rediss://a?ssl_cert_reqs=never", "ssl_cert_reqs must be required, optional or none"),
        ("rediss://a?ssl_min_version=TLSv1.1", "ssl_min_version must be TLSv1.2 or TLSv1.3"),
        ("rediss://a?ssl_check_hostname=perhaps", "ssl_check_hostname must be true or false"),
        ("rediss://a?ssl_keyfile=/k", "ssl_keyfile needs ssl_certfile"),
        ("rediss://a?ssl_ca_certs=/a&ssl_ca_certs=/b", "its option 'ssl_ca_certs' is there twice"),
        ("rediss://a?ssl_ca_certs=", "its option 'ssl_ca_certs' has no value"),
        ("rediss://a?ssl_ca_certs=a%00b", "its option 'ssl_ca_certs' can't hold a zero byte"),
        ("rediss://a?ssl_ciphers=a%00b", "its option 'ssl_ciphers' can't hold a zero byte"),
        ("redis://me:\udcff@a", "a user's name or a password in it isn't UTF-8"),
        ("redis+sentinel://a/s?sentinel_password=\udcff", "a user's name or a password in it isn't UTF-8"),
        ("unix:///run/a%00b", "the path of a socket can't hold a zero byte"),
        (f"redis://a/{'9' * 5000}", "its database must be a number"),
    ],
)
def test_a_url_that_leads_to_no_redis_is_refused(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"^--redis .* can't be used: ") as caught:
        Config(redis=url)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@each_row("scheme", SCHEMES)
def test_no_kind_of_redis_takes_an_option_that_it_does_not_know(scheme: str) -> None:
    where = {"unix": "unix:///run/redis.sock"}.get(scheme, f"{scheme}://a/{'s' if 'sentinel' in scheme else ''}")
    parse(where)
    with pytest.raises(ConfigError, match="has no option 'no_such_option'"):
        Config(redis=f"{where}?no_such_option=1")
