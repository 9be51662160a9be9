"""The outcome of a run, for people and for programs."""

import json
from collections.abc import Iterator
from typing import Final

from relay.tools.bench.coordinator import Outcome

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
KEPT_UP: Final = 0.98  # share of a steady rate; less means that the cluster, or this machine, couldn't carry it


def lines(outcome: Outcome) -> Iterator[str]:
    """Yield the report for people, line by line."""
    settings = outcome.settings
    servers = ", ".join(f"{host}:{port}" for host, port in outcome.servers)
    acks = "" if settings.dialect == "text" else ", acks by clients" if settings.acks else ", acks by nodes"
    ways = f"{', WebSocket' if settings.ws else ''}{', TLS' if settings.tls else ''}"
    load = f"{settings.load}, {settings.seconds:g} s"
    yield f"{settings.dialect}{acks}{ways}; {settings.pairs} pairs on {servers}; {load}"
    yield f"{outcome.rate:,.0f} messages/s"
    found = (f"{name} {_shown(outcome.latencies.percentile(percent))}" for name, percent in PERCENTILES.items())
    yield f"latency: {', '.join(found)}"
    yield (
        f"sent {outcome.sent:,}, delivered {outcome.delivered:,}, lost {outcome.lost:,}, "
        f"unconfirmed {outcome.unconfirmed:,}, unanswered {outcome.unanswered:,}"
    )
    errors = ", ".join(f"{count} × {complaint}" for complaint, count in outcome.complaints.most_common())
    yield f"errors: {errors or 'none'}"
    cores = ", ".join(f"{result.busy:.0%}" for result in outcome.results)
    yield f"load generator: {len(outcome.results)} processes, of a core each used: {cores}"
    if settings.rate and outcome.rate < settings.rate * KEPT_UP:
        yield f"note: of {settings.rate:,.0f} messages/s asked for, {outcome.rate:,.0f} were carried"
    if outcome.limited_by:
        yield f"note: {outcome.limited_by}"


def as_json(outcome: Outcome) -> str:
    """Return the report for programs: one JSON object, with times in seconds."""
    settings = outcome.settings
    latency = {name: _seconds(outcome.latencies.percentile(percent)) for name, percent in PERCENTILES.items()}
    return json.dumps(
        {
            "servers": [f"{host}:{port}" for host, port in outcome.servers],
            "dialect": settings.dialect,
            "acks": settings.acks,
            "ws": settings.ws,
            "tls": settings.tls,
            "pairs": settings.pairs,
            "load": settings.load,
            "seconds": settings.seconds,
            "rate": round(outcome.rate, 1),
            "latency": latency,
            "sent": outcome.sent,
            "delivered": outcome.delivered,
            "lost": outcome.lost,
            "unconfirmed": outcome.unconfirmed,
            "unanswered": outcome.unanswered,
            "errors": dict(outcome.complaints),
            "met_seconds": round(outcome.met_seconds, 3),
            "processes": [
                {"busy": round(result.busy, 3), "waiting": round(result.waiting, 3)} for result in outcome.results
            ],
            "limited_by": outcome.limited_by,
        },
        ensure_ascii=False,
    )


def _seconds(duration: int | None) -> float | None:
    return None if duration is None else duration / 1e9


def _shown(duration: int | None) -> str:
    """Return nanoseconds in a unit for people."""
    if duration is None:
        return "unknown"
    return f"{duration / 1e6:.2f} ms" if duration < 1_000_000_000 else f"{duration / 1e9:.2f} s"
