"""The messages to a service manager, on a separate socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.process import systemd_notify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@relay-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listening


def test_each_step_is_told_as_sd_notify_has_it(manager: socket.socket) -> None:
    systemd_notify.ready("serving")
    assert manager.recv(1024) == b"READY=1\nSTATUS=serving"
    systemd_notify.reloading()
    first, _, since = manager.recv(1024).decode().partition("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert since.isdecimal()
    systemd_notify.stopping()
    assert manager.recv(1024) == b"STOPPING=1\nSTATUS=draining"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "vsock:2:1", "@" + "x" * 200])
def test_a_manager_that_is_not_there_is_no_trouble(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd_notify.ready("serving")


def test_without_a_service_manager_nothing_is_told(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd_notify.ready("serving")
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(1024)
