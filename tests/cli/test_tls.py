"""A relay behind something that terminates TLS."""

import shutil
import ssl
import subprocess
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

import pairchat
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
