"""Two nodes with one name: both say so, a node that was started again doesn't."""

from structlog.testing import capture_logs

from relay.observe.duplicate_node_name import ALONE, DuplicateNodeName

US, THEM = "1" * 16, "2" * 16


def said(*found: str) -> list[str]:
    """What is logged of the uids that a node finds in the place of its name, one after the other."""
    namesake = DuplicateNodeName("n1", US)
    with capture_logs() as lines:
        for node_id in found:
            namesake.found(node_id)
    return [f"{line['log_level']} {line.get('other', '')}".strip() for line in lines]


def test_one_that_writes_after_us_is_told_of_once() -> None:
    assert said("", THEM, THEM, THEM) == [f"warning {THEM}"]


def test_one_that_was_there_before_us_may_have_ended() -> None:
    assert said(THEM, US, US) == []
    assert said(THEM, THEM) == [f"warning {THEM}"]


def test_its_end_is_told_after_some_reports_without_a_trace() -> None:
    assert said("", THEM, US, THEM, *[US] * (ALONE - 1)) == [f"warning {THEM}"]
    assert said("", THEM, US, THEM, *[US] * ALONE) == [f"warning {THEM}", "info"]


def test_a_node_alone_says_nothing() -> None:
    assert said("", *[US] * 10) == []
