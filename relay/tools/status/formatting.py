"""Formats a status for programs (JSON) and for people (tables)."""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from relay.logs import escape
from relay.tools.status.gather import Node, Server, Status

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
WIDE: Final = 160  # columns, if standard output isn't a terminal
_SPANS: Final = ((86_400, "d"), (3600, "h"), (60, "min"))


def as_json(status: Status) -> str:
    """Return one JSON object, with times in seconds and rates in messages a second."""
    return json.dumps(
        {
            "prefix": status.prefix,
            "users": int(status.total("users")),
            "pairs": status.pairs,
            "connections": int(status.total("connections")),
            "received": round(status.total("received"), 1),
            "delivered": round(status.total("delivered"), 1),
            "nodes": [_node(node) for node in status.nodes],
            "shared_names": status.shared_names,
            "trouble": status.trouble,
            "redis": {"engine": status.engine, "servers": [_server(server) for server in status.servers]},
        }
    )


def _node(node: Node) -> dict[str, Any]:
    report = node.report
    return {
        "name": report.name,
        "uid": node.node_id,
        "version": report.version,
        "state": state(node),
        "reason": reason(node),
        "lease": report.lease,
        "lease_age": node.age,
        "lease_left": node.left,
        "up": report.up,
        "at": report.at,
        "connections": report.connections,
        "users": report.users,
        "chatting": report.chatting,
        "received": report.received,
        "delivered": report.delivered,
        "unconfirmed": report.unconfirmed,
        "memory": report.memory,
    }


def _server(server: Server) -> dict[str, Any]:
    return {
        "address": server.address,
        "role": server.role,
        "version": server.version,
        "memory": server.memory,
        "clients": server.clients,
        "maxmemory_policy": server.policy,
        "replicas": list(server.replicas),
        "trouble": server.trouble,
    }


class State(StrEnum):
    """The state of a node; `reason` explains it."""

    READY = "ready"
    UNREADY = "unready"  # it is alive, and should get no new clients
    DRAINING = "draining"  # it is ending
    DEAD = "dead"
    UNKNOWN = "unknown"  # the server with its lease can't be reached


def state(node: Node) -> State:
    """Return the state of a node."""
    if node.unknown:
        return State.UNKNOWN
    if not node.lives:
        return State.DEAD
    if not node.report.trouble:
        return State.READY
    return State.DRAINING if node.report.trouble == State.DRAINING else State.UNREADY


def reason(node: Node) -> str:
    """Return for people why a node isn't ready, or "" if it is."""
    match state(node):
        case State.UNKNOWN:
            return "its lease can't be read"
        case State.DEAD if node.left is None:
            return "no lease"
        case State.DEAD:
            return f"lease lapsed {_span(-(node.left or 0.0))} ago"
    return node.report.trouble


def _in_a_table(node: Node) -> str:
    """Return state and reason in one. The reason of a living node includes its state."""
    word, why = state(node), reason(node)
    if word in (State.DEAD, State.UNKNOWN):
        return f"{word}: {why}"
    return why or word


def console() -> Console:
    """Return a console for standard output, as wide as the terminal, if it is one."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def tables(status: Status) -> RenderableType:
    """Return the status for a terminal. Data from Redis is escaped, because others may write there."""
    return Group(*_parts(status))


def _parts(status: Status) -> Iterator[RenderableType]:
    living = status.living
    yield Text(
        f"{escape(status.prefix)}: {len(living)} {'node' if len(living) == 1 else 'nodes'}, "
        f"{int(status.total('users')):,} users, {status.pairs:,} pairs, "
        f"{status.total('received'):,.0f} messages/s in, {status.total('delivered'):,.0f} out"
    )
    if status.trouble:
        yield Text(f"it can't be read which nodes there are: {escape(status.trouble)}", style="red")
    for name, count in status.shared_names.items():
        yield Text(f"{count} nodes are called {escape(name)}: give each a --name of its own", style="yellow")
    if status.nodes:
        yield _nodes(status)
    yield _redis(status)


def _nodes(status: Status) -> Table:
    table = _table("node", "version", "state", "lease", "up", numbers=("users", "paired", "in/s", "out/s", "unconf."))
    shared = status.shared_names
    for node in status.nodes:
        report = node.report
        name = f"{report.name} ({node.node_id})" if node.lives and report.name in shared else report.name
        age = "-" if node.age is None or not node.lives else f"{node.age:.1f}/{report.lease:g} s"
        style = "" if state(node) is State.READY else "yellow" if node.lives else "red"
        words = (name, report.version, _in_a_table(node), age, _span(report.up))
        counts = (report.users, report.chatting, report.received, report.delivered, report.unconfirmed)
        table.add_row(*(Text(escape(word)) for word in words), *(f"{count:,.0f}" for count in counts), style=style)
    return table


def _redis(status: Status) -> Table:
    table = _table(f"redis ({status.engine})", "role", "version", "policy", "replicas", numbers=("clients", "memory"))
    for server in status.servers:
        last = server.trouble or ", ".join(server.replicas) or "-"
        words = (server.address, server.role, server.version, server.policy, last)
        style = "red" if server.trouble else "" if server.policy in ("noeviction", "unknown") else "yellow"
        table.add_row(
            *(Text(escape(word)) for word in words), f"{server.clients:,}", _bytes(server.memory), style=style
        )
    return table


def _table(*words: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for word in words:
        table.add_column(word, overflow="fold", no_wrap=word in ("version", "lease", "up", "role"))
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _span(seconds: float) -> str:
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _bytes(count: float) -> str:
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"
