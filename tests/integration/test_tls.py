"""TLS on the ports of a node, as clients see it."""

import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.piped import Piped
from tests.integration.conftest import StartNode
from tests.support.certificates import Authority, common_name
from tests.support.clients import JsonClient, TextClient
from tests.support.guests import Guests
from tests.support.node import Node, node_command
from tests.support.process import Process, wait_until
from tests.support.server import RedisServer
from tests.support.wire import Wire

CROWD = 200  # connections; enough to see a leak, and few enough for one second


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def node(authority: Authority, start_node: StartNode, tmp_path: Path) -> Node:
    """A node with its own certificate files, which a test may replace."""
    cert, key = authority.issue("first")
    shutil.copy(cert, tmp_path / "node.crt")
    shutil.copy(key, tmp_path / "node.key")
    node = start_node(tls_cert=tmp_path / "node.crt", tls_key=tmp_path / "node.key")
    node.tls = authority.trust()
    return node


def replace(files: tuple[Path, Path], by: tuple[Path, Path]) -> None:
    for file, new in zip(files, by, strict=True):
        shutil.copy(new, file)


def shown(wire: Wire) -> str:
    """Return the common name of the certificate that the node presented."""
    assert isinstance(wire.socket, ssl.SSLSocket)
    certificate = wire.socket.getpeercert(binary_form=True)
    assert certificate
    return common_name(certificate)


def test_all_three_dialects_chat(node: Node, guests: Guests) -> None:
    alice, bob, carol = guests.text(node, "alice"), guests.json(node, "bob"), guests.classic(node, "carol")
    alice.call("bob")
    bob.expect("paired", name="alice")
    alice.send("hi")
    bob.expect("msg", text="hi")
    bob.send("msg", id=1, text="hello")
    alice.expect_message("bob", "hello")
    bob.expect("ack", id=1)
    carol.send("To:bob")
    carol.expect("* bob is talking with someone else.")


def test_a_script_that_sends_all_and_hangs_up_is_answered(node: Node, guests: Guests) -> None:
    client = guests.text(node)
    client.send("alice", "To:bob", "Quit")
    assert client.rest() == b"OK\nthe user bob is not exist\nQuit\n"


def test_a_client_that_says_its_end_at_once_still_hears_the_answers(node: Node, authority: Authority) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "openssl is the client of this test"
    address = node.server
    trust = ["-CAfile", str(authority.file), "-verify_return_error", "-verify_hostname", "localhost"]
    said = subprocess.run(
        [openssl, "s_client", "-connect", address, "-quiet", *trust],
        input=b"alice\nTo:bob\nQuit\n",
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert said.stdout == b"OK\nthe user bob is not exist\nQuit\n"


def test_plain_words_are_answered_with_nothing(node: Node) -> None:
    for address in (node.address, node.classic_address):
        with TextClient(address) as plain:
            plain.send("alice")
            assert b"OK" not in plain.rest()


def test_connections_that_come_and_go_leave_nothing(node: Node, guests: Guests) -> None:
    for number in range(CROWD):
        with socket.create_connection(node.address) as half:
            if number % 2:
                half.sendall(b"\x16\x03\x01")
    guests.text(node, "alice")
    wait_until(lambda: node.client_sockets() == 1, "only alice is there")


def test_a_reset_is_noticed(node: Node, guests: Guests) -> None:
    alice, bob = guests.text(node, "alice"), guests.text(node, "bob")
    alice.call("bob")
    bob.expect("* alice is chatting with you.")
    alice.reset()
    bob.expect("Quit.")


def test_a_hangup_signal_brings_a_new_certificate_to_new_connections(
    node: Node, authority: Authority, guests: Guests, tmp_path: Path
) -> None:
    old = guests.text(node, "old")
    assert shown(old) == "first"
    cert, key = authority.issue("second")
    shutil.copy(cert, tmp_path / "node.crt")
    shutil.copy(key, tmp_path / "node.key")
    before = guests.text(node, "before")
    assert shown(before) == "first"
    node.hang_up()
    node.wait_for_line("reloaded")
    new = guests.text(node, "new")
    assert shown(new) == "second"
    old.call("new")
    new.expect("* old is chatting with you.")


def test_a_broken_file_is_one_line_and_the_old_certificate_stays(node: Node, guests: Guests, tmp_path: Path) -> None:
    (tmp_path / "node.crt").write_text("rubbish")
    written = len(node.text())
    node.hang_up()
    line = node.wait_for_line("not reloaded")
    assert "--tls-cert" in line
    assert len(node.text()[written:].splitlines()) == 1
    assert shown(guests.text(node, "alice")) == "first"


def test_only_clients_with_a_certificate_get_in_where_one_is_asked_for(
    authority: Authority, start_node: StartNode, guests: Guests
) -> None:
    cert, key = authority.issue("strict")
    node = start_node(tls_cert=cert, tls_key=key, tls_client_ca=authority.file)
    node.tls = authority.trust(authority.issue("alice"))
    guests.text(node, "alice")
    with JsonClient(node.address, tls=authority.trust()) as bare:
        bare.name = "bob"
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            bare.send("hello", name="bob")
            bare.frame()


def test_pairchat_over_tls(node: Node, authority: Authority, guests: Guests) -> None:
    port = node.address[1]
    bob = guests.text(node, "bob")
    with Piped("alice", "--to", "bob", "--tls", "--ca", str(authority.file), server=f"localhost:{port}") as alice:
        bob.expect("* alice is chatting with you.")
        alice.type(b"hi\n")
        bob.expect_message("alice", "hi")
        alice.end_input()
        assert alice.ended()[0] == 0


def test_pairchat_trusts_nobody_of_itself(node: Node) -> None:
    with Piped("alice", "--to", "bob", "--tls", server=f"localhost:{node.address[1]}") as alice:
        status, out, told = alice.ended()
    assert (status, out) == (3, "")
    assert "its certificate is not accepted" in told[-1]


def test_workers_all_read_a_new_certificate(
    authority: Authority, redis_server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    """The signal goes to the process that started them."""
    files = tmp_path / "node.crt", tmp_path / "node.key"
    replace(files, authority.issue("first"))
    options: dict[str, str | float] = {"tls_cert": str(files[0]), "tls_key": str(files[1]), "workers": 2}
    command = node_command(port=0, redis=redis_server.url, prefix=prefix, **options)
    workers = Process(command, tmp_path / "workers.log")
    try:
        wait_until(lambda: workers.text().count(" listening ") == 2, "both listen")
        port = int(workers.wait_for_line("listening").partition("address=127.0.0.1:")[2].split()[0])
        replace(files, authority.issue("second"))
        workers.hang_up()
        wait_until(lambda: workers.text().count(" reloaded ") == 2, "both have read it")
        for _ in range(20):  # the kernel picks one of the two for each
            with TextClient(("127.0.0.1", port), tls=authority.trust()) as client:
                assert shown(client) == "second"
        assert workers.alive
    finally:
        workers.kill()


def test_the_commands_that_relay_up_prints_are_those_for_tls(
    authority: Authority, redis_server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    cert, key = authority.issue("up")
    words = ["--port", "0", "--nodes", "1", "--tls-cert", str(cert), "--tls-key", str(key), "--prefix", prefix]
    up = Process([sys.executable, "-m", "relay", "up", "--redis", redis_server.url, *words], tmp_path / "up.log")
    try:
        up.wait_for_line("Ctrl-C ends everything")
        assert "alice --tls --server localhost:" in up.text()
        assert "openssl s_client -quiet -connect localhost:" in up.text()
        assert "nc localhost" not in up.text()
    finally:
        up.terminate()
        up.wait()
