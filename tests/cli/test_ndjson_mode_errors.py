"""`pairchat --json` reports failures by a frame and its exit status."""

import json

import pytest

from tests.cli.piped import Start
from tests.cli.scripted import PING, PONG, ScriptedNode
from tests.cli.test_ndjson_mode import ask, bot, told


def test_a_partner_who_is_not_there_is_told_and_the_status_says_so(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start, "--to", "bob")
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say('{"type":"error","code":"no_such_user","message":"no","name":"bob"}', PONG)
    assert told(process) == {"type": "error", "code": "no_such_user", "message": "no", "name": "bob"}
    process.end_input()
    peer.part()
    assert process.ended() == (5, '{"type":"bye"}\n', [])


def test_a_complaint_that_answers_nothing_is_told_and_ends_nothing(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    peer.say('{"type":"error","code":"odd","message":"something new"}')
    assert told(process) == {"type": "error", "code": "odd", "message": "something new"}
    ask(process, type="quit")
    peer.part()
    assert process.ended() == (0, '{"type":"bye"}\n', [])


def test_a_lost_name_is_told_and_the_status_says_so(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    peer.say('{"type":"error","code":"name_lost","message":"gone"}')
    assert told(process)["type"] == "lost"
    status, rest, complaints = process.ended()
    assert (status, rest) == (4, "")
    assert len(complaints) == 1


@pytest.mark.parametrize("kind", ["accept", "decline", "typing"])
def test_a_command_that_needs_a_call_is_refused_without_one_and_typing_is_ignored_without_a_chat(
    kind: str, node: ScriptedNode, start: Start
) -> None:
    process, peer = bot(node, start)
    ask(process, type=kind)
    ask(process, type="quit")
    peer.part()
    status, rest, _ = process.ended()
    *before, last = [json.loads(line)["type"] for line in rest.splitlines()]
    assert (status, last) == (0, "bye")
    assert before == (["error"] if kind in ("accept", "decline") else [])


def test_half_of_a_surrogate_pair_in_a_text_is_told_in_plain_words(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    ask(process, type="msg", text="ab\ud83d", ref="mine")
    assert told(process) == {
        "type": "error",
        "code": "bad_frame",
        "message": "a text must be Unicode: its character 3 (\\ud83d) is half of a surrogate pair",
        "ref": "mine",
    }
    ask(process, type="quit")
    peer.part()
    assert process.ended() == (0, '{"type":"bye"}\n', [])
