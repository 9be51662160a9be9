"""Lua scripts, run by a real Lua 5.1 with the globals that Redis gives them (`prelude.lua`).

Left out is what scripts of the relay don't use: cjson, cmsgpack, struct and bit, RESP3 inside scripts, functions
(FUNCTION, FCALL), and the end of a script that runs for too long. So is what isn't the same in each run: os.clock and
math.random.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from lupa.lua51 import LuaRuntime

from simulator.redis.replies import CommandError, Encoded, Status

# Carries out a command.
Execute: TypeAlias = Callable[[list[bytes]], object]

_PRELUDE: Final = (Path(__file__).parent / "prelude.lua").read_bytes()
# How `prelude.lua` tells the kinds of replies apart.
_STATUS: Final = 1
_ERROR: Final = 2
_ARRAY: Final = 3


class Scripts:
    """The scripts that a server knows by their SHA-1.

    `execute(words)` carries out a command of the script that runs, and returns its reply or raises CommandError.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._known: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, sha: bytes) -> bool:
        return sha.lower() in self._known

    def load(self, text: bytes) -> bytes:
        """Compile a script and keep it. Return its SHA-1 in hex. Raises CommandError if it can't be compiled."""
        sha = _sha1hex(text)
        if sha not in self._known:
            _lua().compile(sha, text)
            self._known.add(sha)
        return sha

    def flush(self) -> None:
        """Forget all scripts."""
        self._known.clear()

    def run(self, sha: bytes, keys: int, words: list[bytes], resp3: bool) -> Encoded:
        """Run a script with its keys, which come first, and its arguments. Raises CommandError."""
        if sha not in self._known:
            sha = sha.lower()
            if sha not in self._known:
                raise CommandError(b"NOSCRIPT No matching script.")
        return _lua().run(self._execute, sha, keys, words, resp3)


class _Lua:
    """The Lua that all servers of this process share: scripts leave nothing behind in it.

    One for each server would never be freed, as Lua and Python hold each other. Each script is compiled once.
    """

    def __init__(self) -> None:
        runtime = LuaRuntime(
            encoding=None,
            source_encoding="latin-1",
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
        )
        prelude = runtime.eval("loadstring")(_PRELUDE, b"@prelude")
        self._compile, self._run, self._shape = prelude(self._call, _sha1hex, lambda level, text: None)
        self._scripts: dict[bytes, Any] = {}  # by their SHA-1
        self._execute: Execute | None = None  # of the server whose script runs

    def compile(self, sha: bytes, text: bytes) -> None:
        """Compile a script. Raises CommandError."""
        if sha not in self._scripts:
            compiled = self._compile(text)
            if isinstance(compiled, tuple):
                raise CommandError(b"ERR Error compiling script (new function): " + compiled[1])
            self._scripts[sha] = compiled

    def run(self, execute: Execute, sha: bytes, keys: int, words: list[bytes], resp3: bool) -> Encoded:
        """Run a script of a server. Raises CommandError."""
        self._execute = execute
        reply = self._run(self._scripts[sha], resp3, keys, *words)
        if isinstance(reply, tuple):
            raise CommandError(reply[1])
        return Encoded(reply)

    # --- commands of scripts

    def _call(self, *words: object) -> object:
        """Carry out a command for Lua. Several results tell `shape` of the prelude what kind of reply it is."""
        assert self._execute is not None
        try:
            reply = self._execute([word if type(word) is bytes else _word(word) for word in words])
        except CommandError as error:
            return error.message, _ERROR
        kind = type(reply)
        if kind is bytes or kind is int:
            return reply
        if reply is None:
            return False
        return self._shaped(reply)

    def _shaped(self, reply: object) -> object:
        match reply:
            case None:
                return False
            case Status():
                return bytes(reply), _STATUS
            case bytes():
                return bytes(reply)
            case list():
                return (None, _ARRAY, *map(self._element, reply))
            case dict():
                return (None, _ARRAY, *(self._element(one) for pair in reply.items() for one in pair))
        return reply

    def _element(self, reply: object) -> object:
        """Return an element of an array for Lua, as a table if it isn't a plain value."""
        shaped = self._shaped(reply)
        return self._shape(*shaped) if isinstance(shaped, tuple) else shaped


@cache
def _lua() -> _Lua:
    return _Lua()


def _sha1hex(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _word(value: object) -> bytes:
    """Return an argument that isn't a string as a command gets it."""
    match value:
        case bool():
            pass
        case int():
            return b"%d" % value
        case float():
            digits, _, exponent = repr(value).partition("e")  # Python pads the exponent to two digits
            return f"{digits}e{int(exponent):+d}".encode() if exponent else digits.encode()
    raise CommandError(b"ERR Command arguments must be strings or integers")
