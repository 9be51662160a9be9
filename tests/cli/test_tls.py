"""A relay behind something that terminates TLS."""

import re
import shutil
import ssl
import subprocess
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

import pairchat
from pairchat.address import parse_address
from pairchat.dial import Route
from pairchat.tls_setup import client_context
from tests.cli.chatting import an_ack, said
from tests.cli.piped import Start
from tests.cli.scripted import Peer, ScriptedNode

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = shutil.which("openssl")
    assert openssl, "openssl makes the certificate for this test"
    made = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*made, *subject, *files], check=True, capture_output=True)
    return folder


async def test_a_conversation_goes_over_tls(node: ScriptedNode, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def relay() -> None:
        node.wrap(context)
        peer: Peer = node.accept()
        peer.welcome("alice")
        peer.part()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        trusted = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        async with pairchat.connect(node.address, name="alice", tls=trusted) as chat:
            assert chat.name == "alice"


async def test_a_certificate_that_is_not_trusted_and_no_tls_at_all_are_refused(
    node: ScriptedNode, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def strangers() -> None:
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(node.accept_bare(), server_side=True)
        node.accept_bare().sendall(b"* Welcome\r\n" * 10)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, strangers)
        for words in ("its certificate is not accepted: ", "it does not speak TLS"):
            with pytest.raises(pairchat.ConnectionFailed, match=words):
                async with pairchat.connect(node.address, name="alice", tls=ssl.create_default_context()):
                    pass


GARBAGE = b"\x00" * 37  # a length that a record may have, and a type that none has


@pytest.mark.parametrize("garbage", [GARBAGE, b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2])
async def test_a_bad_record_is_a_lost_connection(node: ScriptedNode, certificate: Path, garbage: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def relay() -> None:
        node.wrap(context)
        peer = node.accept()
        peer.welcome("alice")
        peer.pair("bob")
        peer.expect(said(1, "hi"))
        peer.say_bare(garbage)
        node.accept_bare().sendall(garbage)  # another time during the handshake
        again = node.accept()
        again.take_back("alice", 0, partner="bob", sent=1)
        again.expect(said(1, "hi"))
        again.say(an_ack(1))
        again.part()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        trusted = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        async with pairchat.connect(node.address, name="alice", tls=trusted) as chat:
            await chat.call("bob")
            receipt = await chat.send("hi")
            assert await receipt.delivered() == "client"
            told = []
            async for event in chat:
                told.append(type(event))
                if isinstance(event, pairchat.Dropped):
                    assert "was lost: TLS failed: " in event.reason  # the connection used TLS before
                if isinstance(event, pairchat.Settled):
                    break
            assert [kind.__name__ for kind in told] == ["Joined", "Paired", "Dropped", "Joined", "Paired", "Settled"]


async def test_a_relay_that_wants_a_certificate_is_shown_ours(node: ScriptedNode, certificate: Path) -> None:
    own = str(certificate / "cert.pem"), str(certificate / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=own[0])
    context.load_cert_chain(*own)
    context.verify_mode = ssl.CERT_REQUIRED

    def relay() -> None:
        node.wrap(context)
        with pytest.raises(ssl.SSLError):
            node.accept()
        peer = node.accept()
        peer.welcome("alice")
        peer.part()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        with pytest.raises(pairchat.ConnectionLost, match="it wants a certificate of yours"):
            async with pairchat.connect(node.address, name="alice", tls=client_context(own[0])):
                pass
        async with pairchat.connect(node.address, name="alice", tls=client_context(own[0], *own)) as chat:
            assert chat.name == "alice"


async def test_a_relay_that_hangs_up_in_the_midst_of_the_handshake_is_told(node: ScriptedNode) -> None:
    def relay() -> None:
        with node.accept_bare() as taken:
            taken.recv(10_000)  # all of it, because the end would be a reset otherwise

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        words = f"can't connect to {node.address}: it closes the connection"
        with pytest.raises(pairchat.ConnectionFailed, match=f"^{re.escape(words)}$"):
            async with pairchat.connect(node.address, name="alice", tls=client_context()):
                pass


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        (48, "it does not accept your certificate"),  # unknown_ca
        (45, "it does not accept your certificate: it has expired"),
    ],
)
async def test_why_a_relay_refuses_our_certificate_is_told(node: ScriptedNode, alert: int, words: str) -> None:
    def relay() -> None:
        with node.accept_bare() as taken:
            taken.recv(10_000)
            taken.sendall(bytes([21, 3, 3, 0, 2, 2, alert]))  # a fatal alert

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        with pytest.raises(pairchat.ConnectionFailed, match=f"{node.address}: {words}$"):
            async with pairchat.connect(node.address, name="alice", tls=client_context()):
                pass


async def test_a_port_with_tls_is_told_from_a_relay_that_is_gone(node: ScriptedNode) -> None:
    def relay() -> None:
        for words in (b"", b"\x15\x03\x01\x00\x02\x02\x28"):
            with node.accept_bare() as taken:
                taken.recv(1000)
                taken.sendall(words)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        for words in (r"closes the connection at once: does it want TLS \(--tls\)\?", r"speaks TLS \(--tls\)"):
            with pytest.raises(pairchat.ConnectionLost, match=f"{node.address} {words}"):
                async with pairchat.connect(node.address, name="alice"):
                    pass


async def test_a_port_without_tls_that_waits_for_more_is_told_too(node: ScriptedNode) -> None:
    address = parse_address(node.address)
    with pytest.raises(pairchat.ConnectionFailed, match=rf"{node.address} does not answer in TLS; .*\(--tls\)\?"):
        await Route([address], client_context()).open(0.2)


def test_files_that_are_no_good_are_told_in_a_line(certificate: Path, tmp_path: Path) -> None:
    cert, key, other = (str(certificate / name) for name in ("cert.pem", "key.pem", "other.pem"))
    encrypted, missing = str(tmp_path / "encrypted.pem"), str(tmp_path / "missing.pem")
    openssl = shutil.which("openssl") or ""
    subprocess.run([openssl, "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", encrypted], check=True)
    subprocess.run([openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", other], check=True)
    for files, words in (
        ((missing,), f"can't read {missing}: No such file or directory"),
        ((None, cert, missing), f"can't read {missing}: No such file or directory"),
        ((None, str(tmp_path), key), f"can't read {tmp_path}: Is a directory"),
        ((key,), f"can't use {key}: not PEM, or not what it has to be "),
        ((None, cert, encrypted), f"can't use {encrypted}: it is encrypted; "),
        ((None, cert, other), f"can't use {cert} and {other}: the key is not that of the certificate"),
        ((None, cert), f"can't use {cert}: not both a certificate and its key"),
        ((None, None, key), "--key needs --cert"),
    ):
        with pytest.raises(pairchat.BadSettings, match=re.escape(words)):
            client_context(*files)


def test_files_without_tls_are_a_mistake(start: Start) -> None:
    for option in ("--ca", "--cert", "--key"):
        told = [f"pairchat: {option} needs --tls: without it nothing is encrypted"]
        assert start("alice", option, "x.pem").ended() == (2, "", told)


def test_the_command_shows_a_certificate(node: ScriptedNode, certificate: Path, start: Start) -> None:
    cert, key = certificate / "cert.pem", certificate / "key.pem"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(cert))
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    node.wrap(context)
    process = start("alice", "--to", "bob", "--tls", "--ca", str(cert), "--cert", str(cert), PAIRCHAT_TLS_KEY=str(key))
    peer = node.accept()
    peer.welcome("alice")
    peer.pair("bob")
    process.end_input()
    peer.part()
    assert process.ended()[0] == 0
