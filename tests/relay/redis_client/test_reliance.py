"""The parts of redis-py that the relay relies on: its exceptions, and how they derive from one another."""

import re
from itertools import pairwise
from pathlib import Path

import redis.exceptions as theirs

import relay
from tests.support.rows import each_row

ROOT = Path(relay.__file__).parent
BREAKS_REDIS = ROOT / "tools"  # the tools start servers, which no node does
IMPORTED = re.compile(r"^ *(?:import|from) (redis\b[\w.]*)", re.MULTILINE)


def test_nothing_but_its_exceptions_is_imported() -> None:
    files = [file for file in ROOT.rglob("*.py") if not file.is_relative_to(BREAKS_REDIS)]
    assert len(files) > 50
    assert {name for file in files for name in IMPORTED.findall(file.read_text())} == {"redis.exceptions"}


@each_row(
    "kinds",
    [
        (theirs.BusyLoadingError, theirs.ConnectionError, theirs.RedisError),
        (theirs.AuthenticationError, theirs.ConnectionError),
        (theirs.TimeoutError, theirs.RedisError, Exception),
        (theirs.NoPermissionError, theirs.ResponseError, theirs.RedisError),
        (theirs.NoScriptError, theirs.ResponseError),
        (theirs.ReadOnlyError, theirs.ResponseError),
        (theirs.MasterDownError, theirs.ResponseError),
        (theirs.ClusterDownError, theirs.ResponseError),
    ],
)
def test_whoever_catches_one_kind_catches_those_below_it(kinds: tuple[type[Exception], ...]) -> None:
    assert all(issubclass(below, above) for below, above in pairwise(kinds))


def test_a_connection_that_broke_and_one_that_is_refused_a_password_are_told_apart() -> None:
    assert not issubclass(theirs.ConnectionError, theirs.ResponseError)
    assert not issubclass(theirs.ResponseError, theirs.ConnectionError)
    assert not issubclass(theirs.ConnectionError, OSError), "both have to be caught"
