"""`pairchat` without a terminal: the real command, against a scripted node."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.piped import Start
from tests.cli.scripted import BYE, PAIRED, PING, PONG, QUIT, Peer, ScriptedNode


def alice(node: ScriptedNode, **welcome: Any) -> Peer:
    peer = node.accept()
    peer.welcome("alice", **welcome)
    return peer


def said(id: int, text: str) -> dict[str, object]:
    return {"type": "msg", "id": id, "text": text, "chat": "c1"}


def an_ack(id: int) -> str:
    return f'{{"type":"ack","id":{id},"chat":"c1"}}'


def left(name: str = "bob", reason: str = "quit") -> str:
    return f'{{"type":"left","name":"{name}","reason":"{reason}"}}'


def test_lines_are_sent_and_the_end_waits_for_the_acknowledgement(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    process.type(b"hi\n\nh\xc3\xb6\r\nlast, without an end")
    process.end_input()
    peer = alice(node)
    peer.pair("bob")
    peer.expect(said(1, "hi"), said(2, "hö"), said(3, "last, without an end"))
    peer.say(an_ack(2))
    peer.say('{"type":"msg","id":1,"from":"bob","chat":"c1","text":"a fence","at":1}')
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})  # no quit yet, because one text has no acknowledgement
    peer.say(an_ack(3))
    peer.part()
    assert process.ended() == (0, "bob: a fence\n", ["* You are chatting with bob."])


def test_a_lost_connection_is_made_again_and_nothing_said_or_heard_twice(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    process.type(b"one\ntwo\n")
    peer.expect(said(1, "one"), said(2, "two"))
    peer.say('{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hi","at":1}')
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})
    peer.close()
    peer = node.accept()
    peer.take_back("alice", last=1, partner="bob", sent=2, had=1)
    peer.say('{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hi","at":1}')
    again = {"type": "ack", "id": 1, "chat": "c1"}
    peer.expect(again, said(2, "two"), again)
    process.type(b"three\n")
    peer.expect(said(3, "three"))
    peer.say(an_ack(3))
    process.end_input()
    peer.part()
    lost = f"* The connection to {node.address} was lost; connecting again."
    told = ["* You are chatting with bob.", lost, "* Connected as alice again."]
    assert process.ended() == (0, "bob: hi\n", told)


def test_texts_come_out_as_lines_under_the_partners_name_and_harmless(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    peer.say(r'{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hi\ncarol: \u001b]52;c;x\u0007","at":1}')
    assert process.line() == "bob: hi\n"
    assert process.line() == "bob: carol: \\x1b]52;c;x\\x07\n"
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})


def test_a_text_is_acknowledged_after_it_was_written_out(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    long = "x" * 60_000
    for id in (1, 2, 3):  # more than a pipe holds; nobody reads it yet
        peer.say(f'{{"type":"msg","id":{id},"from":"bob","chat":"c1","text":"{long}","at":1}}')
    process.type(b"still here\n")  # a reader that is stuck doesn't stop sending
    while (heard := peer.heard()) != said(1, "still here"):
        assert heard["type"] == "ack"
        assert heard["id"] < 3
    assert [len(process.line()) for _ in range(3)] == [60_006] * 3
    while (heard := peer.heard()) != {"type": "ack", "id": 3, "chat": "c1"}:
        assert heard["type"] == "ack"


def test_input_is_read_no_faster_than_the_window_allows(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node, window=2)
    peer.pair("bob")
    process.type(b"1\n2\n3\n4\n")
    process.end_input()
    peer.expect(said(1, "1"), said(2, "2"))
    peer.say('{"type":"msg","id":1,"from":"bob","chat":"c1","text":"a fence","at":1}')
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})  # the third one is not acknowledged
    peer.say(an_ack(2))
    peer.expect(said(3, "3"), said(4, "4"))
    peer.say(an_ack(4))
    peer.part()
    assert process.ended()[0] == 0


def test_a_text_without_acknowledgement_is_told_and_fails(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    process.type(b"one\ntwo\n")
    process.end_input()
    peer.expect(said(1, "one"), said(2, "two"))
    peer.say('{"type":"unconfirmed","from":1,"to":2,"reason":"lost"}', left(reason="lost"))
    peer.part()
    status, _, told = process.ended()
    assert status == 1
    assert told[1:3] == [
        "* May not have arrived (the partner was lost): one",
        "* May not have arrived (the partner was lost): two",
    ]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("no_such_user", "there is nobody called bob"),
        ("busy", "bob is talking with someone else"),
        ("away", "bob is away"),
    ],
)
def test_a_partner_who_is_not_there_is_one_line_and_a_status(
    node: ScriptedNode, start: Start, code: str, words: str
) -> None:
    process = start("alice", "--to", "bob")
    process.type(b"hi\n")
    process.end_input()
    peer = alice(node)
    peer.expect({"type": "to", "name": "bob"}, PING)
    peer.say(f'{{"type":"error","code":"{code}","message":"no","name":"bob"}}', PONG)
    peer.part()
    assert process.ended() == (5, "", [f"* {words}"])


def test_a_callee_sends_the_input_that_waited_and_ends_like_a_caller(node: ScriptedNode, start: Start) -> None:
    process = start("alice")
    process.type(b"hi\n")
    process.end_input()
    peer = alice(node)
    peer.say(PAIRED % ("bob", "c1"))
    peer.expect(said(1, "hi"))
    peer.say(an_ack(1))
    peer.part()
    assert process.ended()[0] == 0


def test_an_empty_input_listens_until_the_partner_leaves(node: ScriptedNode, start: Start) -> None:
    process = start("alice", stdin=subprocess.DEVNULL)
    peer = alice(node)
    peer.say(PAIRED % ("bob", "c1"), '{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hi","at":1}')
    assert process.line() == "bob: hi\n"
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})
    peer.say(left())
    peer.part()
    assert process.ended() == (0, "", ["* You are chatting with bob.", "* bob has quit."])


def test_a_partner_who_leaves_before_the_end_of_the_input_is_a_failure(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    peer.say(left(reason="left"))
    peer.part()
    assert process.ended()[0] == 5


def test_input_for_one_partner_is_not_said_to_the_next_caller(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node, window=1)
    peer.pair("bob")
    for id in (1, 2, 3):  # more than a pipe holds, so the end of the chat waits after them
        peer.say(f'{{"type":"msg","id":{id},"from":"bob","chat":"c1","text":"{"x" * 60_000}","at":1}}')
    process.type(b"for bob\nwaits for room\nnot read yet\n")
    while (heard := peer.heard()) != said(1, "for bob"):
        assert heard["type"] == "ack"
    peer.say(an_ack(1), left(), PAIRED % ("carol", "c2"))
    told = [process.notice() for _ in range(3)]
    assert told[1:] == [f"* Line {number} was not sent: nobody is chatting with you" for number in (2, 3)]
    for _ in range(3):
        process.line()
    peer.part()
    assert process.ended()[0] == 1


def test_lines_that_cannot_be_sent_are_told_and_the_others_go(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    process.type(b"\xff\n" + b"x" * 200_000 + b"\n" + b"y" * 65_530 + b"\nfine\n")
    process.end_input()
    peer.expect(said(1, "fine"))
    peer.say(an_ack(1))
    peer.part()
    status, _, told = process.ended()
    assert status == 1
    assert told[1] == "* Line 1 was not sent: it is not UTF-8"
    assert told[2] == "* Line 2 was not sent: it is too long"
    assert told[3].startswith("* Line 3 was not sent: too long")


def test_a_taken_name_is_one_line_and_a_failure(node: ScriptedNode, start: Start) -> None:
    process = start("alice")
    peer = node.accept()
    peer.heard()
    peer.say('{"type":"error","code":"name_taken","message":"taken","name":"alice"}')
    assert process.ended() == (4, "", ["pairchat: the name alice is taken"])


def test_a_bad_name_is_told_with_the_nodes_reason(node: ScriptedNode, start: Start) -> None:
    process = start("a{b}")
    peer = node.accept()
    peer.heard()
    peer.say('{"type":"error","code":"name_invalid","message":"braces","name":"a{b}"}')
    assert process.ended() == (4, "", ["pairchat: a{b} can't be a name: braces"])


def test_a_lost_name_ends_pairchat(node: ScriptedNode, start: Start) -> None:
    process = start("alice")
    alice(node).say('{"type":"error","code":"name_lost","message":"your name is gone"}')
    assert process.ended() == (4, "", ["pairchat: your name is gone"])


def test_a_connection_that_does_not_come_back_is_told_with_every_text_whose_fate_is_open(
    node: ScriptedNode, start: Start
) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node, grace=0)
    peer.pair("bob")
    process.type(b"hi\n")
    process.end_input()
    peer.expect(said(1, "hi"))
    peer.close()
    status, _, told = process.ended()
    assert status == 3
    assert told[1:] == [
        f"* The connection to {node.address} was lost; connecting again.",
        "* May not have arrived (no acknowledgement): hi",
        f"pairchat: the connection to {node.address} was lost",
    ]


def test_something_that_is_no_relay_is_told_apart(node: ScriptedNode, start: Start) -> None:
    process = start("alice")
    node.accept().say("HTTP/1.1 400 Bad Request")
    assert process.ended() == (3, "", ["pairchat: this does not answer like a relay"])


@pytest.mark.parametrize(
    ("server", "status", "words"),
    [("127.0.0.1:1", 3, "can't connect to 127.0.0.1:1: Connection refused"), ("::1:9", 2, "not an address: '::1:9'")],
)
def test_a_server_that_cannot_be_reached_is_one_line_and_a_status(
    start: Start, server: str, status: int, words: str
) -> None:
    code, _, told = start("alice", server=server).ended()
    assert code == status
    assert len(told) == 1
    assert told[0].startswith(f"pairchat: {words}")


def test_without_a_name_pairchat_says_how(start: Start) -> None:
    assert start().ended() == (2, "", ["pairchat: no name; write: pairchat NAME"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_name_back(node: ScriptedNode, start: Start, number: signal.Signals) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    peer.say('{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hi","at":1}')
    assert process.line() == "bob: hi\n"
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})
    process.signal(number)
    peer.expect(QUIT)
    peer.say(BYE)
    assert process.ended() == (128 + number, "", ["* You are chatting with bob."])


def test_a_text_for_an_output_that_nobody_reads_any_more_is_not_acknowledged(node: ScriptedNode, start: Start) -> None:
    process = start("alice", "--to", "bob")
    peer = alice(node)
    peer.pair("bob")
    process.stop_reading()
    peer.say('{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hi","at":1}')
    peer.part()  # no ack, because the text was written nowhere
    status, _, told = process.ended()
    assert (status, told) == (1, ["* You are chatting with bob."])  # nothing is printed about it, as with `| head`


def test_plain_files_do_as_input_and_output(node: ScriptedNode, start: Start, tmp_path: Path) -> None:
    source, sink = tmp_path / "in", tmp_path / "out"
    source.write_text("hi\n")
    with source.open() as stdin, sink.open("w") as stdout:
        process = start("alice", "--to", "bob", stdin=stdin, stdout=stdout)
    peer = alice(node)
    peer.pair("bob")
    peer.expect(said(1, "hi"))
    peer.say('{"type":"msg","id":1,"from":"bob","chat":"c1","text":"hello","at":1}')
    peer.expect({"type": "ack", "id": 1, "chat": "c1"})
    peer.say(an_ack(1))
    peer.part()
    assert process.ended()[0] == 0
    assert sink.read_text() == "bob: hello\n"
