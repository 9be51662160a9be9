"""Tests that the check for leaks finds everything that a test may leave, and reports it for that test only."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

UNTIDY = """
import asyncio
import socket
import subprocess

import pytest

kept = []

def test_that_is_tidy():
    pass

def test_leaves_a_socket():
    kept.append(socket.socket())

def test_leaves_a_file(tmp_path):
    kept.append((tmp_path / "file").open("w"))

def test_leaves_a_process():
    kept.append(subprocess.Popen(["sleep", "5"]))

@pytest.mark.anyio
async def test_leaves_a_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

@pytest.fixture
async def untidy_fixture():
    yield
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

@pytest.mark.anyio
async def test_has_a_fixture_that_leaves_a_task(untidy_fixture):
    pass

def test_leaves_a_key(redis_store):
    redis_store.set("for ever", 1)

def test_leaves_a_key_on_a_server_of_its_own(own_redis):
    own_redis.client().set("for ever", 1)

@pytest.mark.anyio
async def test_that_is_tidy_too(redis_store):
    await asyncio.create_task(asyncio.sleep(0))
    redis_store.set("not for ever", 1, ex=60)
"""


def test_each_leak_is_seen_and_blamed_on_the_test_that_left_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(UNTIDY)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(passed=9, errors=7)
    for test, word in (
        ("test_leaves_a_socket", "socket:"),
        ("test_leaves_a_file", "/file "),
        ("test_leaves_a_process", "process "),
        ("test_leaves_a_task", "'forgotten'"),
        ("test_has_a_fixture_that_leaves_a_task", "'forgotten'"),
        ("test_leaves_a_key", "for ever"),
        ("test_leaves_a_key_on_a_server_of_its_own", "for ever"),
    ):
        result.stdout.fnmatch_lines([f"* ERROR at teardown of {test} *", f"E *left behind: *{word}*"])
