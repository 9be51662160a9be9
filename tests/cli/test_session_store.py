"""Saved sessions on disk."""

import fcntl
import os
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

import pairchat
from pairchat.saved_session import SessionState
from pairchat.session_store import STALE, SessionStore, state_folder
from tests.cli.chatting import a_text
from tests.cli.scripted import ScriptedNode

SERVERS = ("localhost:9999", "localhost:10000")


def test_the_session_that_was_saved_last_is_loaded_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "new" / "folder", "ann/日本\n..", SERVERS)
    assert store.load() is None
    store.save(SessionState("ann", "t0"))
    store.save(SessionState("ann", "t1"))
    store.close()
    files = list((tmp_path / "new" / "folder").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700
    again = SessionStore(tmp_path / "new" / "folder", "ann/日本\n..", SERVERS[::-1])
    assert again.load() == SessionState("ann", "t1")
    again.forget()
    assert again.load() is None
    again.forget()
    again.close()


def test_another_name_or_relay_is_another_session(tmp_path: Path) -> None:
    first = SessionStore(tmp_path, "ann", SERVERS)
    first.save(SessionState("ann", "t0"))
    for other in (SessionStore(tmp_path, "bob", SERVERS), SessionStore(tmp_path, "ann", ("elsewhere:9999",))):
        assert other.load() is None
        other.close()
    first.close()


def test_a_session_in_use_is_not_opened_again(tmp_path: Path) -> None:
    first = SessionStore(tmp_path, "ann", SERVERS)
    with pytest.raises(BlockingIOError):
        SessionStore(tmp_path, "ann", SERVERS)
    first.close()
    SessionStore(tmp_path, "ann", SERVERS).close()


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, "ann", SERVERS)
    store.save(SessionState("ann", "t0"))
    [file] = tmp_path.glob("*.json")
    file.write_bytes(b'{"name":"a')
    assert store.load() is None
    store.close()


def age(tmp_path: Path, seconds: float) -> Path:
    """Set the age of the only file."""
    [file] = tmp_path.glob("*.json")
    then = file.stat().st_mtime - seconds
    os.utime(file, (then, then))
    return file


def test_old_sessions_are_removed(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, "ann", SERVERS)
    store.save(SessionState("ann", "t0"))
    store.close()
    age(tmp_path, STALE + 1)
    SessionStore(tmp_path, "bob", SERVERS).close()
    assert list(tmp_path.iterdir()) == []


def test_sessions_that_a_program_has_or_is_taking_up_again_stay(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, "ann", SERVERS)
    store.save(SessionState("ann", "t0"))
    age(tmp_path, STALE + 1)
    SessionStore(tmp_path, "bob", SERVERS).close()
    store.close()
    again = SessionStore(tmp_path, "ann", SERVERS)
    assert again.load() == SessionState("ann", "t0")
    again.close()


def test_a_program_whose_session_is_quiet_gives_signs_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(tmp_path, "ann", SERVERS)
    store.save(SessionState("ann", "t0"))
    file = age(tmp_path, STALE + 1)
    store.alive()
    assert time.time() - file.stat().st_mtime > STALE, "it has just been saved"
    monkeypatch.setattr("pairchat.session_store.ALIVE_EVERY", -1.0)
    store.alive()
    store.close()
    SessionStore(tmp_path, "bob", SERVERS).close()
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_stays_of_programs_that_are_gone(tmp_path: Path) -> None:
    for name in ("ann", "bob", "carol"):
        store = SessionStore(tmp_path, name, SERVERS)
        store.save(SessionState(name, "t0"))
        store.forget()
        store.close()
    assert list(tmp_path.iterdir()) == []
    for left in ("killed-0123456789abcdef.lock", "killed-0123456789abcdef.new"):
        (tmp_path / left).touch()
    store = SessionStore(tmp_path, "ann", SERVERS)
    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"], "its own"
    store.close()


def test_a_lock_that_was_removed_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SessionStore(tmp_path, "ann", SERVERS)
    lock = fcntl.flock

    def flock_late(fd: int, how: int) -> None:
        monkeypatch.undo()
        first.close()  # it is closed between the opening and the locking
        lock(fd, how)

    monkeypatch.setattr("pairchat.session_store.fcntl.flock", flock_late)
    second = SessionStore(tmp_path, "ann", SERVERS)
    with pytest.raises(BlockingIOError):
        SessionStore(tmp_path, "ann", SERVERS)
    second.close()


@contextmanager
def no_room() -> Iterator[None]:
    """Limit every file to one byte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_keeps_nothing_rather_than_what_was_before(tmp_path: Path) -> None:
    store = SessionStore(tmp_path, "ann", SERVERS)
    store.save(SessionState("ann", "t0"))
    with no_room(), pytest.raises(OSError, match="File too large") as failed:
        store.save(SessionState("ann", "t1"))
    assert str(failed.value.filename).endswith(".json")
    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]
    store.save(SessionState("ann", "t2"))
    assert store.load() == SessionState("ann", "t2")
    store.close()


@pytest.mark.anyio
async def test_a_session_that_cannot_be_kept_goes_on_and_says_so_once(node: ScriptedNode, tmp_path: Path) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("ann")
        peer.pair("bob")
        peer.say(a_text(1, "hi"))
        peer.expect({"type": "ack", "id": 1, "chat": "c1"})
        peer.part()

    complaints: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        with no_room():
            async with pairchat.connect(node.address, name="ann", state=tmp_path) as chat:
                await chat.call("bob")
                async for event in chat:
                    if isinstance(event, pairchat.Complaint):
                        complaints.append(event.message)
                    if isinstance(event, pairchat.Message):
                        break
                chat.acknowledge()
    [complaint] = complaints
    assert complaint.startswith(f"can't write {tmp_path}/ann-")
    assert complaint.endswith(".json: File too large; a restart can't go on with this session")
    assert await run_sync(lambda: list(tmp_path.iterdir())) == []


@pytest.mark.anyio
async def test_a_session_whose_folder_cannot_be_made_goes_on_and_says_so(node: ScriptedNode, tmp_path: Path) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("ann")
        peer.part()

    state = tmp_path / "file" / "pairchat"
    state.parent.touch()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        async with pairchat.connect(node.address, name="ann", state=state) as chat:
            joined, complaint = await anext(chat), await anext(chat)
    words = f"can't write {state}: Not a directory; a restart can't go on with this session"
    assert isinstance(joined, pairchat.Joined)
    assert complaint == pairchat.Complaint("not_kept", words)


def in_the_way(folder: Path, name: str, server: str) -> Path:
    """A folder in the place of a session's file: nobody, root included, can use it as a file."""
    before = SessionStore(folder, name, (server,))
    before.save(SessionState(name, "t0"))
    before.close()
    [file] = folder.iterdir()
    file.unlink()
    file.mkdir()
    return file


@pytest.mark.anyio
async def test_a_file_that_can_be_neither_read_nor_written_nor_removed_ends_nothing(
    node: ScriptedNode, tmp_path: Path
) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("ann")
        peer.part()

    file = in_the_way(tmp_path, "ann", node.address)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        async with pairchat.connect(node.address, name="ann", state=tmp_path) as chat:
            assert isinstance(await anext(chat), pairchat.Joined)
            words = f"can't write {file}: Is a directory; a restart can't go on with this session"
            assert await anext(chat) == pairchat.Complaint("not_kept", words)
            await chat.quit()
            assert [event async for event in chat] == [pairchat.events.Bye()]
    assert await run_sync(lambda: list(tmp_path.iterdir())) == [file]


def test_an_old_file_that_can_not_be_swept_away_stays_without_a_lock(tmp_path: Path) -> None:
    long_ago = time.time() - STALE - 60
    stays = tmp_path / "x.json"
    stays.mkdir()
    os.utime(stays, (long_ago, long_ago))
    SessionStore(tmp_path, "ann", SERVERS).close()
    assert list(tmp_path.iterdir()) == [stays]


@pytest.mark.anyio
async def test_a_session_that_another_program_keeps_is_left_alone_without_a_word(
    node: ScriptedNode, tmp_path: Path
) -> None:
    def relay() -> None:
        peer = node.accept()
        peer.welcome("ann")
        peer.part()

    others = SessionStore(tmp_path, "ann", (node.address,))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_sync, relay)
        async with pairchat.connect(node.address, name="ann", state=tmp_path) as chat:
            assert isinstance(await anext(chat), pairchat.Joined)
            await chat.quit()
            assert [event async for event in chat] == [pairchat.events.Bye()]
    others.close()


@pytest.mark.parametrize(("base", "folder"), [("/x", "/x/pairchat"), ("relative", "~/.local/state/pairchat")])
def test_the_folder_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch, base: str, folder: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", base)
    assert state_folder() == Path(folder).expanduser()
