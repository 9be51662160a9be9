"""Connections to Redis: set up in one round trip, with or without TLS, at any address of a name that serves."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import redis.exceptions
from structlog.testing import capture_logs

from relay.configuration.config import ConfigError
from relay.configuration.redis_url import Login, Tls
from relay.net.outgoing_sockets import outgoing_sockets
from relay.redis_client import dialing, dns_lookup
from relay.redis_client.dialing import Dialer, Question
from relay.redis_client.dns_lookup import Place
from relay.tools.testbed.process import free_port
from tests.relay.desk import until
from tests.support.certificates import Authority
from tests.support.rows import each_row

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1"
PONG = b"+PONG\r\n"
NOBODY = Login()


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both loops that nodes use, because they raise different errors."""
    return "asyncio", {"use_uvloop": request.param}


class Script:
    """Answers each line of commands as the test says, and records the commands."""

    def __init__(self, *answers: bytes | None, greeting: bytes = b"") -> None:
        self.answers = list(answers)  # None: disconnect; no answer left: be silent
        self.greeting = greeting  # it is sent before any command, and nothing after it
        self.asked: list[bytes] = []
        self.connections = 0  # number of connections so far
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        if self.greeting:
            writer.write(self.greeting)
        else:
            with suppress(OSError):
                await self._answer(reader, writer)
        writer.close()
        self.open -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self.asked.append(data)
            if self.answers:
                if (answer := self.answers.pop(0)) is None:
                    return
                writer.write(answer)


@asynccontextmanager
async def serving(script: Script, host: str | list[str] = HOST, port: int = 0, **options: Any) -> AsyncIterator[int]:
    server = await asyncio.start_server(script.serve, host, port, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await until(lambda: not script.open)


@contextmanager
def addresses(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> Iterator[None]:
    """Let the name `redis.test` have these addresses."""
    real = outgoing_sockets.addresses

    def answer(host: str, port: int, **options: Any) -> Any:
        if host != "redis.test":
            return real(host, port, **options)
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        if not hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in hosts]

    with monkeypatch.context() as patch:
        patch.setattr(outgoing_sockets, "addresses", answer)
        yield


async def test_login_database_and_question_go_out_in_one_round_trip() -> None:
    script = Script(b"+OK\r\n+OK\r\n" + PONG + b"$2\r\nhi\r\n")
    question = Question(("ECHO", "hi"), judge=lambda address, replies: replies)
    async with serving(script) as port:
        connection = await Dialer(Login("me", "secret"), database=3).dial(HOST, port, question)
        assert connection.greeting == [b"hi"]
        connection.close()
    assert len(script.asked) == 1
    words = b"AUTH me secret SELECT 3 PING ECHO hi".split()
    assert [word for word in script.asked[0].split(b"\r\n") if word in words] == words


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"-WRONGPASS invalid\r\n" + PONG, redis.exceptions.AuthenticationError, "WRONGPASS invalid"),
        (b"+OK\r\n-LOADING later\r\n", redis.exceptions.BusyLoadingError, "LOADING later"),
        (b"+OK\r\n-MASTERDOWN no\r\n", redis.exceptions.MasterDownError, "MASTERDOWN no"),
        (b"HTTP/1.1 400 Bad Request\r\n", redis.exceptions.ConnectionError, "isn't the protocol of Redis"),
        (None, redis.exceptions.ConnectionError, "closed the connection"),
    ],
)
async def test_a_server_that_will_not_do_is_named_with_its_own_words(
    answer: bytes | None, kind: type[Exception], words: str
) -> None:
    async with serving(Script(answer)) as port:
        with pytest.raises(kind, match=words) as caught:
            await Dialer(Login(None, "secret")).dial(HOST, port)
    assert str(caught.value).startswith(f"{HOST}:{port}: ")


@pytest.mark.parametrize(
    "words", ["ERR max number of clients reached", "DENIED Redis is running in protected mode because … " + 900 * "x"]
)
@pytest.mark.parametrize("login", [NOBODY, Login(None, "secret")], ids=["one command", "two commands"])
async def test_a_server_that_says_why_it_hangs_up_is_quoted(words: str, login: Login) -> None:
    async with serving(Script(greeting=f"-{words}\r\n".encode())) as port:
        with pytest.raises(redis.exceptions.RedisError) as caught:
            await Dialer(login).dial(HOST, port)
    assert str(caught.value).startswith(f"{HOST}:{port}: {words[:60]}")
    assert len(str(caught.value)) < 300


async def test_a_user_who_may_not_select_the_database_is_told_so() -> None:
    """It would read and write another one."""
    async with serving(Script(b"-NOPERM no select\r\n" + PONG)) as port:
        with pytest.raises(redis.exceptions.ResponseError, match=f"^{HOST}:{port}: NOPERM no select$"):
            await Dialer(NOBODY, database=3).dial(HOST, port)


async def test_a_host_that_can_be_no_name_is_told_with_its_address() -> None:
    """A member of a cluster may announce anything."""
    host = "x" * 64
    with pytest.raises(redis.exceptions.ConnectionError, match=f"^{host}:1: .*too long"):
        await Dialer(NOBODY).dial(host, 1)


# private: a memory that only grows shows nowhere else
async def test_a_cluster_that_announces_ever_new_servers_takes_no_more_memory_than_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialing, "SERVERS", 2)
    monkeypatch.setattr(dns_lookup, "NAMES", 2)
    dialer = Dialer(NOBODY)
    async with serving(Script(*[PONG] * 4)) as port:
        with addresses(monkeypatch, HOST):
            for host in ("127.0.0.1", "localhost", "redis.test", "127.0.0.1"):
                (await dialer.dial(host, port)).close()
                assert len(dialer._round_trips) <= 2
    for number in range(5):
        dialer._lookup._remember((str(number), 1), [])
        assert len(dialer._lookup._before) <= 2


async def test_a_user_who_may_not_ping_is_connected() -> None:
    async with serving(Script(b"-NOPERM no ping\r\n")) as port:
        (await Dialer(NOBODY).dial(HOST, port)).close()


async def test_a_port_where_nobody_listens_is_named() -> None:
    with socket.create_server((HOST, 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(redis.exceptions.ConnectionError, match=f"^{HOST}:{port}: connection refused$"):
        await Dialer(NOBODY).dial(HOST, port)


async def test_a_name_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with addresses(monkeypatch), pytest.raises(redis.exceptions.ConnectionError, match=r"^redis.test:1: "):
        await Dialer(NOBODY).dial("redis.test", 1)


async def test_a_socket_in_the_file_system_serves_as_well(tmp_path: Path) -> None:
    path = str(tmp_path / "redis.sock")
    server = await asyncio.start_unix_server(Script(PONG).serve, path)
    (await Dialer(NOBODY).dial_path(path)).close()
    server.close()
    with pytest.raises(redis.exceptions.ConnectionError, match=r"redis.sock2: no such file"):
        await Dialer(NOBODY).dial_path(f"{path}2")


# --- addresses side by side


async def test_an_address_that_is_silent_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts, as the kernel does for a frozen server, and answers nothing."""
    silent, second, third = Script(), Script(b"-LOADING later\r\n"), Script(PONG, PONG)
    port, hosts = free_port(), ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    async with serving(silent, hosts[0], port), serving(second, hosts[1], port), serving(third, hosts[2], port):
        with addresses(monkeypatch, *hosts):
            dialer = Dialer(NOBODY)
            connection = await dialer.dial("redis.test", port)
            assert connection.address == f"redis.test:{port} (127.0.0.4)"
            connection.close()
            (await dialer.dial("redis.test", port)).close()
    assert silent.connections == 1  # from then on the server that answered comes first


async def test_each_address_is_tried_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the last are silent. It is reached in a second or two, not after a time-out for each."""
    monkeypatch.setattr(dialing, "ALL_SECONDS", 0.16)
    silent, last, port = Script(), Script(PONG), free_port()
    hosts = [f"127.0.1.{n}" for n in range(1, dns_lookup.ADDRESSES)]
    async with serving(silent, hosts, port), serving(last, "127.0.2.1", port):
        with addresses(monkeypatch, *hosts, "127.0.2.1"), anyio.fail_after(10):
            (await Dialer(NOBODY).dial("redis.test", port)).close()
    assert last.connections == 1


async def test_the_failures_of_all_addresses_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as sock:
        port = sock.getsockname()[1]
    with addresses(monkeypatch, "127.0.0.2", "127.0.0.3"), pytest.raises(redis.exceptions.ConnectionError) as caught:
        await Dialer(NOBODY).dial("redis.test", port)
    assert str(caught.value) == (
        f"redis.test:{port} (127.0.0.2): connection refused; redis.test:{port} (127.0.0.3): connection refused"
    )


async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(family, 1, 6, "", (host, 1)) for family, host in ((10, "a"), (10, "b"), (10, "c"), (2, "d"), (2, "e"))]
    monkeypatch.setattr(outgoing_sockets, "addresses", lambda *_, **__: found)
    places = await dns_lookup.Lookup().places("any", 1)
    assert places == [Place(f, (h, 1)) for f, h in ((10, "a"), (2, "d"), (10, "b"), (2, "e"), (10, "c"))]


async def test_a_name_server_that_is_silent_costs_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the name was known before, its earlier addresses are tried."""
    with addresses(monkeypatch, HOST):
        known = dns_lookup.Lookup()
        places = await known.places("redis.test", 1)
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(*_: Any, flags: int = 0, **__: Any) -> Any:
        if flags:
            raise socket.gaierror
        loop.call_soon_threadsafe(answered.set)
        time.sleep(0.05)
        raise socket.gaierror

    monkeypatch.setattr(outgoing_sockets, "addresses", hang)
    monkeypatch.setattr(dns_lookup, "STALE_SECONDS", 0.001)
    assert await known.places("redis.test", 1) == places
    await answered.wait()


# --- TLS


def over_tls(authority: Authority, own: tuple[Path, Path] | None = None) -> Tls:
    return Tls(authority.file, certfile=own and own[0], keyfile=own and own[1])


@asynccontextmanager
async def secured(authority: Authority, name: str, *, wants: Authority | None = None) -> AsyncIterator[int]:
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue(name))
    if wants is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(wants.file)
    async with serving(Script(*[PONG] * 100), ssl=context) as port:
        yield port


async def test_tls_is_spoken_where_it_is_asked_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with secured(authority, "redis") as port:
        (await Dialer(NOBODY, over_tls(authority)).dial("localhost", port)).close()
        with pytest.raises(redis.exceptions.ConnectionError, match="certificate verify failed"):
            await Dialer(NOBODY, over_tls(Authority(tmp_path, "other"))).dial("localhost", port)
    async with serving(Script(PONG)) as port:
        with pytest.raises(redis.exceptions.ConnectionError, match="doesn't speak TLS"):
            await Dialer(NOBODY, over_tls(authority)).dial("localhost", port)


async def test_a_server_that_wants_a_certificate_gets_it(tmp_path: Path) -> None:
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    async with secured(authority, "redis", wants=clients) as port:
        (await Dialer(NOBODY, over_tls(authority, clients.issue("node"))).dial("localhost", port)).close()
        with pytest.raises(redis.exceptions.ConnectionError, match=f"localhost:{port}"):
            await Dialer(NOBODY, over_tls(authority)).dial("localhost", port)


async def test_a_certificate_may_be_in_one_file_with_its_key(tmp_path: Path) -> None:
    authority, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    certificate, key = clients.issue("node")
    with certificate.open("ab") as file:
        file.write(key.read_bytes())
    key.unlink()
    async with secured(authority, "redis", wants=clients) as port:
        (await Dialer(NOBODY, Tls(authority.file, certfile=certificate)).dial("localhost", port)).close()


async def test_a_server_that_need_not_prove_who_it_is_may_have_any_certificate(tmp_path: Path) -> None:
    async with secured(Authority(tmp_path), "redis") as port:
        (await Dialer(NOBODY, Tls(verify=False, check_hostname=False)).dial("localhost", port)).close()


# private: how often it is read shows nowhere else
async def test_trusted_certificates_are_read_once_for_as_long_as_they_stay(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with secured(authority, "redis") as port:
        dialer = Dialer(NOBODY, over_tls(authority))
        before = dialer._credentials.context
        (await dialer.dial("localhost", port)).close()
        assert dialer._credentials.context is before


async def test_renewed_certificates_are_read_by_the_next_connection(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old, new = Authority(tmp_path), Authority(tmp_path / "new")
    dialer = Dialer(NOBODY, over_tls(old))
    async with secured(new, "redis") as port:
        with pytest.raises(redis.exceptions.ConnectionError, match="certificate verify failed"):
            await dialer.dial("localhost", port)
        new.file.replace(old.file)
        (await dialer.dial("localhost", port)).close()
        with capture_logs() as lines:
            old.file.write_text("nonsense")
            for _ in range(3):
                (await dialer.dial("localhost", port)).close()
        assert [line["log_level"] for line in lines] == ["warning"]
        assert "ssl_ca_certs" in lines[0]["error"]
        with pytest.raises(ConfigError, match="ssl_ca_certs"):
            dialer.renew()


@each_row(
    ("tls", "why"),
    [
        (Tls(Path("/nowhere.pem")), "ssl_ca_certs '/nowhere.pem' can't be read: No such file or directory"),
        (Tls(ca_path=Path("/nowhere")), "ssl_ca_path '/nowhere' is no folder"),
        (Tls(certfile=Path("/nowhere.crt")), "ssl_certfile '/nowhere.crt' can't be read"),
        (Tls(certfile=Path(__file__)), "ssl_certfile '.*' and ssl_keyfile '.*' can't be used: "),
        (Tls(ca_data="nonsense"), "ssl_ca_data can't be used: it isn't PEM"),
        (Tls(ciphers="nonsense"), "ssl_ciphers 'nonsense' names no cipher"),
    ],
)
def test_files_that_cannot_be_used_are_told_at_the_start(tls: Tls, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Dialer(NOBODY, tls)


# --- passwords


async def test_a_password_is_read_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    script = Script(*[b"+OK\r\n" + PONG] * 4)
    async with serving(script) as port:
        dialer = Dialer(Login("me"), password_file=file)
        with capture_logs() as lines:
            for content in ("one", "two\r\n", "", ""):
                file.write_text(content)
                (await dialer.dial(HOST, port)).close()
    assert [asked.split(b"\r\n")[6] for asked in script.asked] == [b"one", b"two", b"two", b"two"]
    assert [line["error"] for line in lines] == [f"--redis-password-file {str(file)!r} is empty"]


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"\xff", "it isn't UTF-8"), (b"\n", "is empty")])
def test_a_password_file_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        Dialer(NOBODY, password_file=file)
