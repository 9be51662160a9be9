"""A file that a user names may be anything: a device without end, a pipe, a folder."""

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pairchat import BadSettings
from pairchat.bounded_read import MAX_FILE_BYTES, read_file
from pairchat.credentials import proof
from pairchat.saved_session import SessionState
from pairchat.session_store import SessionStore
from pairchat.settings_file import read
from pairchat.tls_setup import client_context
from tests.cli.piped import Start
from tests.support.certificates import Authority
from tests.support.rows import each_row

NAMED: dict[str, Callable[[str], object]] = {
    "settings": lambda file: read(Path(file), must_exist=True),
    "token": proof,
    "authorities": client_context,
    "certificate": lambda file: client_context(cert=file),
    "key": lambda file: client_context(cert="/dev/null", key=file),
}


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@each_row("what", NAMED)
def test_a_file_without_end_is_refused(what: str) -> None:
    with pytest.raises(BadSettings, match=f"^can't read /dev/zero: it is longer than {MAX_FILE_BYTES} bytes$"):
        NAMED[what]("/dev/zero")


@pytest.mark.parametrize("what", [what for what in NAMED if what != "settings"])  # that name comes from no file
def test_a_name_with_a_zero_byte_is_refused(what: str) -> None:
    with pytest.raises(BadSettings, match="embedded null"):
        NAMED[what]("a\0b")


@pytest.mark.parametrize("what", NAMED)
def test_a_folder_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"^can't read .*: Is a directory$"):
        NAMED[what](str(tmp_path))


@pytest.mark.parametrize("what", NAMED)
def test_a_pipe_that_nobody_fills_is_refused(what: str, pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairchat.bounded_read.PIPE_SECONDS", 0.05)
    with pytest.raises(BadSettings, match=r"^can't read .*: what writes there does not come to an end$"):
        NAMED[what](str(pipe))


@pytest.mark.parametrize("option", ["--config", "--auth-file", "--ca", "--cert"])
def test_an_option_with_such_a_file_is_wrong_usage_in_one_line(start: Start, option: str) -> None:
    tls = [] if option in ("--config", "--auth-file") else ["--tls"]
    status, out, told = start("alice", *tls, option, "/dev/zero", stdin=subprocess.DEVNULL).ended()
    assert (status, out, told) == (2, "", [f"pairchat: can't read /dev/zero: it is longer than {MAX_FILE_BYTES} bytes"])


def test_a_file_may_be_as_long_as_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_file(tmp_path / "file", 10) == b"x" * 10
    with pytest.raises(OSError, match="it is longer than 9 bytes"):
        read_file(tmp_path / "file", 9)


def test_a_pipe_that_somebody_fills_does_for_a_file(pipe: Path, tmp_path: Path) -> None:
    """The writer may come before or after the reader. OpenSSL opens files itself."""
    authority = Authority(tmp_path)
    certificates = authority.file.read_bytes()
    uses: list[Callable[[], object]] = [
        lambda: read_file(pipe) == certificates,
        lambda: client_context(str(pipe)).get_ca_certs(),
    ]
    for use in uses:
        writer = threading.Thread(target=pipe.write_bytes, args=[certificates])
        writer.start()
        assert use()
        writer.join()
    assert isinstance(client_context(str(authority.file)), ssl.SSLContext)


def test_where_a_pipe_can_not_be_read_again_the_authorities_have_to_be_in_a_file(
    pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    file = Authority(tmp_path).file
    writer = threading.Thread(target=pipe.write_bytes, args=[file.read_bytes()])
    writer.start()
    with pytest.raises(BadSettings, match=f"^can't read {pipe}: it has to be a file$"):
        client_context(str(pipe))
    writer.join()
    assert client_context(str(file)).get_ca_certs()


def test_a_saved_session_that_is_a_pipe_or_too_long_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SessionStore(tmp_path, "alice", ["a:1"])
    store.save(SessionState("alice", "t0"))
    [saved] = tmp_path.glob("*.json")
    assert store.load() is not None
    monkeypatch.setattr("pairchat.session_store._MAX_BYTES", 10)
    assert store.load() is None
    saved.unlink()
    os.mkfifo(saved)
    assert store.load() is None
    store.close()
