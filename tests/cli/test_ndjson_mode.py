"""`pairchat --json` against a scripted node: commands in, events out."""

import json
from typing import Any

import pytest

from tests.cli.piped import Piped, Start
from tests.cli.scripted import PAIRED, PING, PONG, WELCOME, Peer, ScriptedNode, marked


def bot(node: ScriptedNode, start: Start, *args: str) -> tuple[Piped, Peer]:
    """A bot under the name alice, and its node."""
    process = start("alice", "--json", *args)
    peer = node.accept()
    peer.welcome("alice")
    assert told(process) == {"type": "welcome", "name": "alice", "node": "n1", "resumed": False, "max_line": 65536}
    return process, peer


def told(process: Piped) -> dict[str, Any]:
    frame = json.loads(process.line())
    assert isinstance(frame, dict)
    return frame


def ask(process: Piped, **command: object) -> None:
    process.type(json.dumps(command).encode() + b"\n")


def test_a_conversation_is_told_frame_by_frame(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    ask(process, type="to", name="bob")
    peer.pair("bob")
    assert told(process) == {"type": "paired", "name": "bob", "chat": "c1", "acks": "client", "resumed": False}
    ask(process, type="msg", text="hi\u2028\n", ref=7)
    peer.expect({"type": "msg", "id": 1, "text": "hi\u2028\n", "chat": "c1"})
    assert told(process) == {"type": "sent", "id": 1, "ref": 7}
    peer.say('{"type":"ack","id":1,"chat":"c1"}')
    assert told(process) == {"type": "ack", "id": 1, "chat": "c1", "by": "client"}
    peer.say('{"type":"msg","id":9,"from":"bob","chat":"c1","text":"h\u00f6\u2028","at":1.5}')
    line = process.line()
    assert line.isascii()
    assert json.loads(line) == {"type": "msg", "id": 9, "from": "bob", "chat": "c1", "text": "hö\u2028", "at": 1.5}
    peer.expect({"type": "ack", "id": 9, "chat": "c1"})
    ask(process, type="leave")
    peer.expect({"type": "leave", "chat": "c1"})
    peer.say('{"type":"left","name":"bob","reason":"left"}')
    assert told(process) == {"type": "left", "name": "bob", "reason": "left", "chat": "c1"}
    ask(process, type="quit")
    peer.part()
    assert process.ended() == (0, '{"type":"bye"}\n', [])


def test_events_are_told_in_the_order_in_which_they_happened(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    commands = [{"type": "to", "name": "bob"}, *[{"type": "msg", "text": str(id)} for id in (1, 2)], {"type": "fly"}]
    process.type("".join(json.dumps(command) + "\n" for command in commands).encode())
    peer.pair("bob")
    for id in (1, 2):
        peer.expect({"type": "msg", "id": id, "text": str(id), "chat": "c1"})
        peer.say(f'{{"type":"ack","id":{id},"chat":"c1"}}')
    kinds = [(frame["type"], frame.get("id")) for frame in (told(process) for _ in range(6))]
    assert kinds[0] == ("paired", None)
    for id in (1, 2):
        assert kinds.index(("sent", id)) < kinds.index(("ack", id))
    assert kinds.index(("sent", 2)) < kinds.index(("error", None))


def test_the_end_of_the_input_is_a_quit(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    process.end_input()
    peer.part()
    assert process.ended() == (0, '{"type":"bye"}\n', [])


def test_a_command_that_can_not_be_carried_out_gets_an_error_and_nothing_else(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    for line in (b"nonsense\n", b"[]\n", b'{"type":"fly"}\n', b'{"type":"msg","text":1}\n', b"x" * 400_000 + b"\n"):
        process.type(line)
    codes = [told(process)["code"] for _ in range(5)]
    assert codes == ["bad_frame"] * 4 + ["too_long"]
    ask(process, type="msg", text="hi", ref="a")
    refusal = told(process)
    assert (refusal["code"], refusal["ref"]) == ("not_paired", "a")
    ask(process, type="accept")
    assert told(process)["code"] == "not_called"
    ask(process, type="who", name="zoe")
    peer.expect({"type": "who", "name": "zoe"})
    peer.say('{"type":"error","code":"name_invalid","message":"no","name":"zoe"}')
    assert told(process) == {"type": "error", "code": "name_invalid", "message": "no", "name": "zoe"}


def test_a_text_without_acknowledgement_is_told_and_fails(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start, "--to", "bob")
    peer.pair("bob")
    ask(process, type="msg", text="hi")
    peer.expect({"type": "msg", "id": 1, "text": "hi", "chat": "c1"})
    peer.say('{"type":"unconfirmed","from":1,"to":1,"reason":"lost"}')
    assert [told(process)["type"] for _ in range(2)] == ["paired", "sent"]
    assert told(process) == {"type": "unconfirmed", "id": 1, "chat": "c1", "text": "hi", "reason": "lost"}
    process.end_input()
    peer.part()
    assert process.ended()[0] == 1


def test_calls_are_answered(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--json", "--ask")
    peer = node.accept()
    assert peer.heard()["ask"] is True
    peer.say(WELCOME % ("alice", 256, 1_048_576, 30), '{"type":"invited","name":"bob","chat":"c1","wait":30}')
    told(process)
    assert told(process) == {"type": "invited", "name": "bob", "chat": "c1", "wait": 30.0}
    ask(process, type="accept")
    peer.expect({"type": "accept", "chat": "c1"})
    peer.say(PAIRED % ("bob", "c1"))
    assert told(process)["type"] == "paired"
    ask(process, type="block", name="eve")
    peer.expect({"type": "block", "name": "eve"})
    peer.say('{"type":"blocked","name":"eve"}')
    assert told(process) == {"type": "blocked", "name": "eve"}
    ask(process, type="typing")
    assert peer.heard_at_all() == {"type": "typing", "chat": "c1"}


def test_a_lost_connection_and_the_next_one_are_told(node: ScriptedNode, start: Start) -> None:
    process, peer = bot(node, start)
    peer.close()
    assert told(process)["type"] == "dropped"
    node.accept().take_back("alice", last=0)
    assert told(process) == {"type": "welcome", "name": "alice", "node": "n1", "resumed": True, "max_line": 65536}


# --- waiting, in every mode without a terminal


@pytest.mark.parametrize("mode", [[], ["--json"]])
def test_whoever_is_not_there_yet_is_waited_for(node: ScriptedNode, start: Start, mode: list[str]) -> None:
    process = start("alice", "--to", "bob", "--wait", *mode)
    process.end_input()
    peer = node.accept()
    peer.welcome("alice")
    for code in ("no_such_user", "away"):
        peer.expect({"type": "to", "name": "bob"}, PING)
        peer.say(f'{{"type":"error","code":"{code}","message":"no","name":"bob"}}', PONG)
    peer.pair("bob")
    peer.part()
    assert process.ended()[0] == 0


def test_when_time_runs_out_the_name_is_given_back(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob", "--wait", "--timeout", "0.5")
    peer = node.accept()
    peer.welcome("alice")
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say('{"type":"error","code":"no_such_user","message":"no","name":"bob"}', PONG)
    peer.part()  # the name is given back in any case
    assert process.ended() == (6, "", ["pairchat: not done within 0.5 s"])


# --- marks, and calls that are given up

NEW = (WELCOME % ("alice", 256, 1_048_576, 30))[:-1] + ',"max_line":65536}'


def modern(node: ScriptedNode, start: Start, *args: str) -> tuple[Piped, Peer]:
    """A bot whose node tells the request of each answer."""
    process = start("alice", "--json", *args)
    peer = node.accept()
    peer.heard()
    peer.say(NEW)
    told(process)
    return process, peer


def test_a_ref_comes_back_in_every_answer(node: ScriptedNode, start: Start) -> None:
    process, peer = modern(node, start)
    asked = [
        ({"type": "who", "name": "zoe"}, '{"type":"presence","name":"zoe","state":"free"}'),
        ({"type": "who", "name": "zoe"}, '{"type":"error","code":"unavailable","message":"no","name":"zoe"}'),
        ({"type": "block", "name": "eve"}, '{"type":"blocked","name":"eve"}'),
        ({"type": "unblock", "name": "eve"}, '{"type":"unblocked","name":"eve"}'),
        ({"type": "to", "name": "bob"}, (PAIRED % ("bob", "c1"))[:-1] + "}"),
        ({"type": "leave"}, '{"type":"left","name":"bob","reason":"left","chat":"c1"}'),
        ({"type": "accept"}, None),
        ({"type": "msg", "text": "x" * 70_000}, None),
        ({"type": "fly"}, None),
    ]
    wanted = ["presence", "error", "blocked", "unblocked", "paired", "left", "error", "error", "error"]
    for number, ((command, answer), kind) in enumerate(zip(asked, wanted, strict=True)):
        ref = f"r{number}" if number % 2 else number
        ask(process, **command, ref=ref)
        if answer is not None:
            peer.say(marked(answer, peer.heard()))
        frame = told(process)
        assert (frame["type"], frame["ref"]) == (kind, ref)


@pytest.mark.parametrize("ref", [1.5, True, [], {}, "x" * 129, 2**53])
def test_a_ref_is_a_short_string_or_an_integer(node: ScriptedNode, start: Start, ref: object) -> None:
    process, _ = modern(node, start)
    ask(process, type="who", name="zoe", ref=ref)
    frame = told(process)
    assert (frame["code"], frame["name"], "ref" in frame) == ("bad_frame", "zoe", False)


def test_an_error_stands_behind_the_outcome_of_what_was_asked_before(node: ScriptedNode, start: Start) -> None:
    process, peer = modern(node, start)
    process.type(
        b'{"type":"who","name":"a"}\nnonsense\n{"type":"who","name":"b"}\n{"type":"fly"}\n' + b"x" * 400_000 + b"\n"
    )
    for name in ("a", "b"):
        who = peer.heard()
        peer.say(marked(f'{{"type":"presence","name":"{name}","state":"free"}}', who))
    frames = [told(process) for _ in range(5)]
    kinds = [frame.get("name", frame.get("code")) for frame in frames]
    assert kinds == ["a", "bad_frame", "b", "bad_frame", "too_long"]


@pytest.mark.parametrize("cancel", [{}, {"ref": "b"}])
def test_a_call_is_given_up_while_it_is_made(node: ScriptedNode, start: Start, cancel: dict[str, str]) -> None:
    process, peer = modern(node, start)
    process.type(b'{"type":"to","name":"bob","ref":"b"}\n{"type":"to","name":"carol","ref":"c"}\n')
    call = peer.heard()
    ask(process, type="cancel", ref="another")
    ask(process, type="cancel", **cancel)
    peer.expect({"type": "cancel", "ref": call["ref"]})
    peer.say(marked('{"type":"error","code":"declined","message":"no","name":"bob"}', call))
    frame = told(process)
    assert (frame["code"], frame["name"], frame["ref"]) == ("declined", "bob", "b")
    assert peer.heard()["name"] == "carol"


def test_a_call_is_given_up_before_it_is_made(node: ScriptedNode, start: Start) -> None:
    process, peer = modern(node, start)
    process.type(b'{"type":"who","name":"a"}\n{"type":"to","name":"bob","ref":1}\n{"type":"cancel"}\n{"type":"fly"}\n')
    who = peer.heard()
    peer.say(marked('{"type":"presence","name":"a","state":"free"}', who))
    frames = [told(process) for _ in range(3)]
    assert [frame.get("code") for frame in frames] == [None, "declined", "bad_frame"]
    assert frames[1]["ref"] == 1
    ask(process, type="quit")
    peer.part()


def test_whoever_is_not_there_yet_is_waited_for_until_that_is_given_up(node: ScriptedNode, start: Start) -> None:
    process, peer = modern(node, start, "--to", "bob", "--wait")
    call = peer.heard()
    peer.say(marked('{"type":"error","code":"no_such_user","message":"no","name":"bob"}', call))
    ask(process, type="cancel")
    assert told(process)["code"] == "declined"
    ask(process, type="quit")
    peer.part()
    assert process.ended()[0] == 5
