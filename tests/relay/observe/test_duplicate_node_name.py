"""Two nodes with one name log it, and a node that was restarted doesn't."""

from structlog.testing import capture_logs

from relay.observe.duplicate_node_name import ALONE, DuplicateNodeName

US, THEM = "1" * 16, "2" * 16


def said(*found: str) -> list[str]:
    """Return the log lines for these node ids, which a node finds one after the other under its name."""
    namesake = DuplicateNodeName("n1", US)
    with capture_logs() as lines:
        for node_id in found:
            namesake.found(node_id)
    return [f"{line['log_level']} {line.get('other', '')}".strip() for line in lines]


def test_a_namesake_that_writes_after_us_is_told_of_once() -> None:
    assert said("", THEM, THEM, THEM) == [f"warning {THEM}"]


def test_a_namesake_that_was_there_before_us_may_have_ended() -> None:
    assert said(THEM, US, US) == []
    assert said(THEM, THEM) == [f"warning {THEM}"]


def test_the_end_of_a_namesake_is_told_after_some_reports_without_a_trace() -> None:
    assert said("", THEM, US, THEM, *[US] * (ALONE - 1)) == [f"warning {THEM}"]
    assert said("", THEM, US, THEM, *[US] * ALONE) == [f"warning {THEM}", "info"]


def test_a_node_alone_says_nothing() -> None:
    assert said("", *[US] * 10) == []
