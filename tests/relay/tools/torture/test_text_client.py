"""A text user of `relay torture`, line by line."""

import pytest

from relay.tools.torture.history import End, History, Kind
from relay.tools.torture.text_client import TextClient
from relay.tools.torture.user_moves import Move
from tests.relay.tools.torture.first import First
from tests.support.rows import each_row

ALONE = b"Nobody is chating with you. Maybe the one talked with you is talking with someone else\n"


def fresh() -> tuple[TextClient, History]:
    history = History()
    return TextClient("pat", history, First(), ["pat", "bob", "carol"]), history


def named() -> tuple[TextClient, History]:
    pat, history = fresh()
    pat.opened(2)
    assert pat.feed(b"OK\n", 1.0) == b""
    return pat, history


def paired() -> tuple[TextClient, History]:
    pat, history = named()
    pat.feed(b"* You are chatting with bob.\n", 2.0)
    return pat, history


def test_a_person_types_the_name_first() -> None:
    pat, history = fresh()
    assert pat.opened(2) == b"pat\n"
    assert not pat.ready
    pat.feed(b"O", 1.0)
    pat.feed(b"K\n", 1.5)
    assert pat.ready
    session = history.sessions[0]
    assert (session.name, session.kind, session.span.began) == ("pat", Kind.PERSON, 1.5)
    assert [connection.node for connection in session.connections] == [2]


@pytest.mark.parametrize(
    "answer",
    [b"Reuse\n", b"* Not possible right now, try again.\n", b"* This node is going away; please reconnect.\n"],
)
def test_a_name_that_cannot_be_had_now_is_no_fault(answer: bytes) -> None:
    pat, history = fresh()
    pat.opened(0)
    pat.feed(answer, 1.0)
    assert pat.refused
    assert not pat.ready
    assert not history.oddities


def test_a_line_behind_the_end_of_a_session_is_no_answer_to_a_name() -> None:
    pat, history = paired()
    pat.feed(b"Quit\n* bob left the chat.\n", 3.0)
    assert pat.done
    assert not history.oddities
    assert len(history.sessions) == 1


def test_any_other_answer_to_a_name_is_odd() -> None:
    pat, history = fresh()
    pat.opened(0)
    pat.feed(b"* That is no name.\n", 1.0)
    assert history.oddities == ["pat: the answer '* That is no name.' to a name"]


@pytest.mark.parametrize("line", [b"* You are chatting with bob.\n", b"* bob is chatting with you.\n"])
def test_a_partner_is_announced_to_either_side(line: bytes) -> None:
    pat, history = named()
    pat.feed(line, 2.0)
    view = pat.view()
    assert view is not None
    assert (view.partner, view.chat) == ("bob", "")
    assert history.announced == {(0, "bob"): 2.0}


def test_a_stamped_line_is_a_message() -> None:
    pat, history = paired()
    pat.feed(b"[Mon Nov 23 03:34:00 2026] bob: (bob/1/7 xxxx)\n[Sun Nov  1 03:34:00 2026] bob: (bob/1/8 )\n", 3.0)
    assert [(h.key, h.session, h.sender, h.at) for h in history.heard] == [
        ("bob/1/7", 0, "bob", 3.0),
        ("bob/1/8", 0, "bob", 3.0),
    ]
    assert not history.oddities


def test_a_message_of_somebody_else_is_odd_and_recorded() -> None:
    pat, history = paired()
    pat.feed(b"[Mon Nov 23 03:34:00 2026] carol: (carol/1/7 x)\n", 3.0)
    assert [h.key for h in history.heard] == ["carol/1/7"]
    assert history.oddities == ["pat: a message of carol, while with bob"]


@pytest.mark.parametrize("line", [b"* bob left the chat.\n", b"Quit.\n"])
def test_a_partner_goes(line: bytes) -> None:
    pat, history = paired()
    pat.feed(line, 3.0)
    view = pat.view()
    assert view is not None
    assert view.partner == ""
    assert not history.oddities


@each_row(
    "line",
    [
        b"the user bob is not exist\n",
        b"* bob is talking with someone else.\n",
        b"* bob is away.\n",
        b"* bob is back.\n",
        b"* Not possible right now, try again.\n",
        b"Please don't try to talk with yourself.\n",
        b"* This node is going away; please reconnect.\n",
    ],
)
def test_some_lines_change_nothing(line: bytes) -> None:
    pat, history = paired()
    before = pat.view()
    pat.feed(line, 3.0)
    assert pat.view() == before
    assert not history.oddities


@pytest.mark.parametrize("line", [b"Traceback (most recent call last):\n", b"\n", b"bob: hi\n", b"* bob is away\n"])
def test_a_line_that_the_protocol_does_not_know_is_odd(line: bytes) -> None:
    pat, history = paired()
    pat.feed(line, 3.0)
    assert history.oddities == [f"pat: the line {line[:-1].decode()!r}"]


def test_a_report_is_the_fate_of_its_message() -> None:
    pat, history = paired()
    data, move = pat.act(3.0)
    assert (data, move) == (b"pat/1 \n", Move.SAY)
    pat.feed(b"* May not have arrived: pat/1 \n", 4.0)
    assert history.said["pat/1"].outcomes == ["unsure"]
    assert not history.oddities


def test_a_report_about_what_was_never_said_is_odd() -> None:
    pat, history = paired()
    pat.feed(b"* May not have arrived: bob/9 xx\n", 4.0)
    assert history.oddities == ["pat: a report about bob/9, which was never said"]


def test_a_line_to_nobody_is_refused_and_counted() -> None:
    pat, history = named()
    pat.feed(ALONE + ALONE, 3.0)
    assert history.sessions[0].refusals == 2
    assert not history.oddities


def test_a_person_alone_calls() -> None:
    pat, _ = named()
    assert pat.act(2.0) == (b"To:bob\n", Move.CALL)
    assert pat.call("carol") == b"To:carol\n"


def test_an_empty_line_is_ignored() -> None:
    assert named()[0].nudge() == b"\n"


def test_quit_ends_the_session_from_when_it_was_asked_for() -> None:
    pat, history = paired()
    assert pat.quit(3.0) == b"Quit\n"
    pat.feed(b"Quit\n", 4.0)
    assert pat.done
    assert (history.sessions[0].end, history.sessions[0].span.ended) == (End.QUIT, 3.0)


def test_a_person_who_asked_to_quit_says_nothing_more() -> None:
    pat, _ = paired()
    pat.quit(3.0)
    assert pat.act(3.5) == (b"", Move.IDLE)


@pytest.mark.parametrize(("asked", "ended"), [(True, 3.0), (False, 4.0)])
def test_the_session_goes_with_the_connection(asked: bool, ended: float) -> None:
    pat, history = paired()
    if asked:
        pat.quit(3.0)
    pat.closed(4.0)
    assert (history.sessions[0].end, history.sessions[0].span.ended) == (End.BROKEN, ended)
    assert not pat.ready
    assert pat.view() is None


def test_a_lost_name_ends_the_session_and_what_follows_is_not_looked_at() -> None:
    pat, history = paired()
    pat.feed(b"* Your name now belongs to another connection.\n* bob left the chat.\n", 3.0)
    assert (history.sessions[0].end, history.sessions[0].span.ended) == (End.NAME_LOST, 3.0)
    assert pat.refused
    assert not history.oddities
