"""What a server knows of a command before it carries it out, and the tables of commands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from simulator.redis.replies import CommandError

if TYPE_CHECKING:
    from simulator.redis.connection import ClientConnection

Handler: TypeAlias = Callable[["ClientConnection", list[bytes]], object]
# Returns the keys, or channels of sharded pub/sub, among the words of a command.
Keys: TypeAlias = Callable[[list[bytes]], Sequence[bytes]]

_SPELLINGS: Final = 1000  # how many ways to write the names of commands a table remembers
_LONGEST_ECHO: Final = 128


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a group of them that has only subcommands.

    `arity` counts the command's name; it is negative for "at least". `keys` returns those whose slot decides which
    member of a cluster carries the command out; None for a command that any member may carry out.
    """

    name: str  # in lower case; that of a subcommand is `client|reply`
    arity: int
    run: Handler | None = None
    keys: Keys | None = None
    write: bool = False
    grows: bool = False  # is refused while the memory is full
    in_scripts: bool = True
    stale: bool = False  # is carried out by a replica without its primary, too
    loading: bool = False  # is carried out while the server loads its data, too
    before_login: bool = False
    while_subscribed: bool = False  # may be sent by a RESP2 connection that is subscribed
    waits_for_writes: bool = False  # is held back by CLIENT PAUSE … WRITE although it doesn't write by itself
    shard_channel: bool = False  # its keys are channels
    subcommands: "dict[bytes, Command]" = field(default_factory=dict)


def first_key(words: list[bytes]) -> Sequence[bytes]:
    """Return the key of a command that has one, in the first place."""
    return words[1:2]


def all_keys(words: list[bytes]) -> Sequence[bytes]:
    """Return the keys of a command that has nothing else."""
    return words[1:]


class Commands:
    """A table of commands."""

    def __init__(self, *tables: "Commands") -> None:
        """Have all commands of other tables, too."""
        self._tables = tables
        self._known: dict[bytes, Command] = {}
        self._spelled: dict[bytes, Command] = {}  # by the name as a client wrote it

    def add(
        self,
        name: str,
        arity: int,
        *,
        keys: Keys | None = None,
        write: bool = False,
        grows: bool = False,
        in_scripts: bool = True,
        stale: bool = False,
        loading: bool = False,
        before_login: bool = False,
        while_subscribed: bool = False,
        waits_for_writes: bool = False,
        shard_channel: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Return a decorator that adds a handler as a command, or as a subcommand if the name has two words."""

        def add(run: Handler) -> Handler:
            words = name.split()
            command = Command(
                "|".join(words),
                arity,
                run,
                keys,
                write=write,
                grows=grows,
                in_scripts=in_scripts,
                stale=stale,
                loading=loading,
                before_login=before_login,
                while_subscribed=while_subscribed,
                waits_for_writes=waits_for_writes,
                shard_channel=shard_channel,
            )
            if len(words) == 1:
                self._known[name.encode()] = command
            else:
                group = self._known.setdefault(words[0].encode(), Command(words[0], -2))
                group.subcommands[words[1].encode()] = command
            return run

        return add

    def find(self, words: list[bytes]) -> Command:
        """Return the command with these words. Raises CommandError."""
        command = self._spelled.get(words[0])
        if command is None:
            command = self._named(words[0].lower())
            if command is None:
                raise UnknownCommand(words)
            if len(self._spelled) < _SPELLINGS:
                self._spelled[words[0]] = command
        if command.subcommands and len(words) > 1:
            within = command.subcommands.get(words[1].lower())
            if within is None:
                group = command.name.upper().encode()
                raise CommandError(b"ERR unknown subcommand '%b'. Try %b HELP." % (_echo(words[1]), group))
            command = within
        return command

    def _named(self, name: bytes) -> Command | None:
        found = (table._named(name) for table in self._tables)
        return self._known.get(name) or next((command for command in found if command is not None), None)


class UnknownCommand(CommandError):
    """There is no such command."""

    def __init__(self, words: list[bytes]) -> None:
        echo = b""
        for word in words[1:]:
            if len(echo) >= _LONGEST_ECHO:
                break
            echo += b"'%b' " % _echo(word, _LONGEST_ECHO - len(echo))
        super().__init__(b"ERR unknown command '%b', with args beginning with: %b" % (_echo(words[0]), echo))


def _echo(word: bytes, most: int = _LONGEST_ECHO) -> bytes:
    """Return a client's word as it is repeated in a refusal: a zero byte ends it there."""
    return word.split(b"\0")[0][:most]


def fits(command: Command, words: list[bytes]) -> bool:
    """Return whether a command has as many words as it takes."""
    return len(words) == command.arity if command.arity > 0 else len(words) >= -command.arity


def wrong_number(command: Command) -> CommandError:
    """Return the refusal of a command that has too few words, or too many."""
    return CommandError(f"ERR wrong number of arguments for '{command.name}' command")
