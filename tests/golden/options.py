"""Every option of the commands: its names, its variable and its default."""

from collections.abc import Iterator
from typing import Any

import typer

from tests.golden import code


def shown(command: str) -> Iterator[str]:
    """Yield the command and each of its subcommands, with their help and their parameters."""
    yield from _shown(command, typer.main.get_command(code.COMMANDS[command]))
    if command == "relay":
        yield f"variables: {' '.join(sorted(code.RELAY_VARIABLES))}"


def _shown(path: str, command: Any) -> Iterator[str]:
    yield f"{path}: {' '.join((command.help or '').split())}"
    for parameter in command.params:
        yield f"{path} {_parameter(parameter)}"
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from _shown(f"{path} {name}", below)


def _parameter(parameter: Any) -> str:
    words = [*parameter.opts, *parameter.secondary_opts, f"({parameter.param_type_name})"]
    facts = {
        "type": parameter.type.name,
        "choices": list(getattr(parameter.type, "choices", ())),
        "default": None if callable(parameter.default) else parameter.default,
        "variable": parameter.envvar,
        "metavar": parameter.metavar,
        "required": parameter.required,
        "several": getattr(parameter, "multiple", False),
        "flag": getattr(parameter, "is_flag", False),
        "hidden": getattr(parameter, "hidden", False),
        "help": getattr(parameter, "help", None),
    }
    return " ".join([*words, *(f"{what}={_plain(fact)!r}" for what, fact in facts.items() if fact)])


def _plain(fact: Any) -> Any:
    """Return a default or a choice as it is typed."""
    return [_plain(one) for one in fact] if isinstance(fact, list) else getattr(fact, "value", fact)
