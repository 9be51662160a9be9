"""The options that `relay node` and `relay up` share. Each is a field of Config, with its name and type.

An option that isn't given comes from its variable, else from the file of `--config`, else from the default.
"""

import inspect
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final, cast, get_origin, get_type_hints

import typer

from relay.configuration import settings_file
from relay.configuration.config import Config

# The metavar and the help text, with the unit.
_HELP: Final[dict[str, tuple[str, str]]] = {
    "host": ("ADDRESS", "Address to listen on; 0.0.0.0 or :: for all."),
    "port": ("PORT", "TCP port for text and JSON clients; 0 takes a free one."),
    "redis": (
        "URL",
        "Redis or Valkey 7 or later: redis://, unix://, redis+sentinel://, redis+cluster://, or over TLS rediss://, "
        "rediss+sentinel://, rediss+cluster://. "
        "Without it: an embedded server for this process only, not for production.",
    ),
    "redis_password_file": (
        "FILE",
        "A file with the password for --redis, if the URL has none; read for each new connection.",
    ),
    "prefix": (
        "TEXT",
        "Start of every key and channel. Relays with different prefixes on one Redis are separate.",
    ),
    "name": ("TEXT", "This node's name, unique in the cluster. Default: the host's name and six hex digits."),
    "lease": ("SECONDS", "Seconds after which the names of a crashed node's users are free."),
    "grace": ("SECONDS", "Seconds for which a JSON session outlives its connection."),
    "drain": ("SECONDS", "Seconds in which clients may move to other nodes when the node is told to stop."),
    "classic_port": (
        "PORT",
        "TCP port for original clients, which send no line ends; 0 takes a free one. Default: off.",
    ),
    "http_port": ("PORT", "HTTP port for /healthz, /readyz and /metrics; 0 takes a free one. Default: off."),
    "max_line": ("BYTES", "Longest line of a client, in bytes without its line end."),
    "tls_cert": ("FILE", "Speak TLS with this certificate chain (PEM); read again at SIGHUP."),
    "tls_key": ("FILE", "The private key of the certificate (PEM, without a password); read again at SIGHUP."),
    "tls_client_ca": (
        "FILE",
        "Admit only clients with a certificate that one of these authorities signed (PEM); read again at SIGHUP.",
    ),
    "auth_jwt_key": (
        "FILE",
        "Names need a signed token (JWT): public keys (PEM; Ed25519, P-256, RSA), a JWK set, or a secret for HS256, "
        "32 bytes at least; read again at SIGHUP.",
    ),
    "auth_jwt_audience": (
        "TEXT",
        "The aud that a token must have, alone or among others. Without this option, a token with an aud is refused.",
    ),
    "auth_jwt_issuer": ("TEXT", "The iss that a token must have. Without this option, the iss isn't checked."),
    "auth_jwt_leeway": ("SECONDS", "Seconds by which the clock of the tokens' issuer may differ from the node's."),
    "proxy_protocol": (
        "",
        "Each connection begins with a header of the PROXY protocol, version 2, so that limits by address see the "
        "clients behind a balancer. Only the balancer may be able to reach the port then.",
    ),
    "page": ("", "Serve the chat page at / on the ports for clients."),
    "origin": (
        "ORIGIN",
        "A web page from elsewhere that may talk to the node, as https://chat.example.com; * for any. Give it again "
        "for more. Default: only the node's own page.",
    ),
    "trusted_proxy": (
        "CIDR",
        "A network of proxies whose X-Forwarded-For tells the address of a browser, for limits and logs. Give it again "
        "for more. Default: none.",
    ),
    "max_connections": (
        "COUNT",
        "Most connections of clients; further ones are closed. 0, here and below: no limit.",
    ),
    "max_connections_per_address": ("COUNT", "Most connections from one address, or from one /64 of IPv6."),
    "name_time": ("SECONDS", "Seconds in which a connection must get a name, before it is closed."),
    "max_claims": ("COUNT", "Most claims and resumes from one address in a minute."),
    "max_calls": ("COUNT", "Most calls and look-ups of one client in a minute."),
    "max_lines": ("COUNT", "Most lines of one client in a second; beyond that it is read more slowly."),
    "max_bytes": ("BYTES", "Most bytes of one client in a second; beyond that it is read more slowly."),
    "window": ("COUNT", "Most unacknowledged messages of one client; beyond that it waits."),
    "window_bytes": ("BYTES", "Most bytes of unacknowledged text of one client; a longer message goes alone."),
    "memory": (
        "MIB",
        "Memory in MiB for messages in flight, for all clients of a node together. Senders wait while it is short.",
    ),
    "gather": (
        "MILLISECONDS",
        "Milliseconds for which messages for another node gather after some have left for it. Messages cost less then, "
        "and take so much longer on a busy node.",
    ),
    "general_way": (
        "",
        "Handle every message in the general way, so that its cost and results can be compared with the usual case.",
    ),
    "log_format": ("FORMAT", "Format of the log: console, or json (one object a line)."),
    "log_level": (
        "LEVEL",
        "Lowest level that is logged: debug, info (each session's start and end), warning or error. "
        "The addresses of a node are always logged.",
    ),
}
_UNCOMMON: Final = frozenset({"general_way"})  # options that `--help` doesn't show
_VARIABLES: Final = {"redis": "RELAY_REDIS_URL"}  # those that aren't named after their option
# Options of single commands that may also come from a variable or the file.
_OWN: Final[dict[str, Any]] = {"workers": int, "nodes": int}
_ANNOTATED: Final = cast(Any, Annotated)  # used with types that are known only at run time
VARIABLES: Final = frozenset(
    _VARIABLES.get(name, f"{settings_file.PREFIX}{name.upper()}") for name in (*_HELP, *_OWN, "config", "interval")
)


def _types() -> dict[str, Any]:
    """Return the type of each option's value. One that may be given again has a list."""
    hints = {name: list[str] if get_origin(hint) is tuple else hint for name, hint in get_type_hints(Config).items()}
    return hints | _OWN


def _read_file(context: typer.Context, path: Path | None) -> None:
    """Use the file's settings as defaults. A command with only some of the options accepts a node's file too."""
    if path is None:
        return
    own = {parameter.name for parameter in context.command.params}
    serves = "port" in own
    types = _types()
    known = {name: types[name] for name in (*_HELP, *_OWN) if name in own or not serves}
    context.default_map = settings_file.read(path, known)


_CONFIG: Final = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar=f"{settings_file.PREFIX}CONFIG",
            metavar="FILE",
            is_eager=True,
            callback=_read_file,
            help="Options in a file (TOML), each under its name: port = 9001. Options and variables go over them.",
        ),
    ],
)


def _parameters() -> dict[str, inspect.Parameter]:
    defaults = Config()
    types = _types()
    made = {}
    for name, (metavar, text) in _HELP.items():
        # A boolean option has no form for off, as that is the default.
        flags = (f"--{name.replace('_', '-')}",) if types[name] is bool else ()
        variable = _VARIABLES.get(name, f"{settings_file.PREFIX}{name.upper()}")
        shown = typer.Option(*flags, envvar=variable, metavar=metavar or None, help=text, hidden=name in _UNCOMMON)
        told = _ANNOTATED[types[name], shown]
        # Each node makes up its own name.
        default = "" if name == "name" else getattr(defaults, name, None)
        default = list(default) if isinstance(default, tuple) else default
        made[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=told)
    return made


def with_settings(*but: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that adds all options except `but` to a command, as keyword arguments for `config`."""

    def give(command: Callable[..., int]) -> Callable[..., int]:
        own = [one for one in inspect.signature(command).parameters.values() if one.kind is not one.VAR_KEYWORD]
        shared = [_CONFIG, *(parameter for name, parameter in _parameters().items() if name not in but)]
        own = [one.replace(kind=one.KEYWORD_ONLY) for one in own]
        signature = inspect.Signature([*shared, *own], return_annotation=int)
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in [*shared, *own]} | {"return": int}
        return command

    return give


def with_only(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that adds these options and no others to a command, as `with_settings` does."""
    return with_settings(*(name for name in _HELP if name not in names))


def strange_variables() -> list[str]:
    """Return the environment variables that look like an option's, although no option has them."""
    return settings_file.strange(os.environ, VARIABLES)


def config(chosen: dict[str, Any]) -> Config:
    """Return the Config for the given options. Raises ConfigError."""
    told = dict(chosen)
    told.pop("config", None)  # has been read already
    if not told.get("name"):
        told.pop("name", None)
    return Config(**told | {"redis": told["redis"] or None})


def arguments(node: Config) -> list[str]:
    """Return the options that give a child process this Config, without the URL, which may have a password."""
    words = []
    for name in (field.name for field in fields(Config) if field.name != "redis"):
        value, option = getattr(node, name), f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif isinstance(value, tuple):
            words += [word for one in value for word in (option, str(one))]
        elif value is not None:
            words += [option, str(value)]
    return words
