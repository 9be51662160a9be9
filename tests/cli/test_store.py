"""Sessions on disk."""

import os
import stat
from pathlib import Path

import pytest

from pairchat.memory import Memory
from pairchat.store import STALE, Store, state_folder

SERVERS = ("localhost:9999", "localhost:10000")


def test_what_was_saved_last_is_loaded_for_the_owner_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "folder", "ann/日本\n..", SERVERS)
    assert store.load() is None
    store.save(Memory("ann", "t0"))
    store.save(Memory("ann", "t1"))
    store.close()
    files = list((tmp_path / "new" / "folder").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700
    again = Store(tmp_path / "new" / "folder", "ann/日本\n..", SERVERS[::-1])
    assert again.load() == Memory("ann", "t1")
    again.forget()
    assert again.load() is None
    again.forget()
    again.close()


def test_another_name_or_relay_is_another_session(tmp_path: Path) -> None:
    first = Store(tmp_path, "ann", SERVERS)
    first.save(Memory("ann", "t0"))
    for other in (Store(tmp_path, "bob", SERVERS), Store(tmp_path, "ann", ("elsewhere:9999",))):
        assert other.load() is None
        other.close()
    first.close()


def test_a_session_in_use_is_not_opened_again(tmp_path: Path) -> None:
    first = Store(tmp_path, "ann", SERVERS)
    with pytest.raises(BlockingIOError):
        Store(tmp_path, "ann", SERVERS)
    first.close()
    Store(tmp_path, "ann", SERVERS).close()


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path, "ann", SERVERS)
    store.save(Memory("ann", "t0"))
    [file] = tmp_path.glob("*.json")
    file.write_bytes(b'{"name":"a')
    assert store.load() is None
    store.close()


def test_old_sessions_are_removed(tmp_path: Path) -> None:
    store = Store(tmp_path, "ann", SERVERS)
    store.save(Memory("ann", "t0"))
    store.close()
    [file] = tmp_path.glob("*.json")
    long_ago = file.stat().st_mtime - STALE - 1
    os.utime(file, (long_ago, long_ago))
    Store(tmp_path, "bob", SERVERS).close()
    assert list(tmp_path.glob("*.json")) == []


@pytest.mark.parametrize(("base", "folder"), [("/x", "/x/pairchat"), ("relative", "~/.local/state/pairchat")])
def test_the_folder_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch, base: str, folder: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", base)
    assert state_folder() == Path(folder).expanduser()
