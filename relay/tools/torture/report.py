"""The outcome of a run, for people and for programs."""

import json
from collections.abc import Iterator
from typing import Final

from relay.tools.torture.checker import RULES
from relay.tools.torture.single_run import Result

SHOWN: Final = 10  # the violations of one rule that are shown


def lines(result: Result) -> Iterator[str]:
    """Yield the report for people, with the violations by rule and the first ones of each."""
    verdict = result.verdict
    counted = ("lost", "doubled", "reordered", "misdelivered", "unreported")
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(result.faults.items())) or "none"
    yield f"seed {result.settings.seed}, {result.seconds:.0f} s, {result.sessions} sessions; faults: {faults}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(verdict.unconfirmed.items())) or "none"
    counts = ", ".join(f"{len(verdict.violations.get(rule, []))} {rule}" for rule in counted)
    yield f"{verdict.said} messages said, {verdict.delivered} delivered, unconfirmed: {reasons}; {counts}"
    for rule, found in verdict.violations.items():
        yield f"{rule.upper()}: {len(found)}"
        yield from (f"    {line}" for line in found[:SHOWN])
        if len(found) > SHOWN:
            yield f"    and {len(found) - SHOWN} more"
    if result.clean:
        yield "clean"
    else:
        yield f"not clean; the nodes' logs are in {result.folder}; again: {result.settings.again}"


def as_json(result: Result) -> str:
    """Return the report for programs: one JSON object."""
    verdict = result.verdict
    return json.dumps(
        {
            "seed": result.settings.seed,
            "clean": result.clean,
            "said": verdict.said,
            "delivered": verdict.delivered,
            "unconfirmed": verdict.unconfirmed,
            **{rule: len(verdict.violations.get(rule, [])) for rule in RULES},
            "violations": verdict.violations,
            "faults": result.faults,
            "sessions": result.sessions,
            "seconds": round(result.seconds, 1),
            "again": result.settings.again,
            "logs": result.folder,
        }
    )
