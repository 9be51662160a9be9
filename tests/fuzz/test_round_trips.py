"""Frames in both directions, peer messages and records are read back as they were written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.directory import record
from relay.directory.record import BadRecord, Record, SessionRecord
from relay.protocol import json_frames
from relay.session import peer_messages
from relay.session.peer_messages import Mail
from tests.fuzz.shapes import kinds, shapes


def once(cases: list[Any]) -> list[Any]:
    return [pytest.param(case, id=case.__name__) for case in cases]


@pytest.mark.parametrize("kind", once(kinds(json_frames.ClientFrame)))
@given(st.data())
def test_a_client_s_frame_comes_out_as_it_went_in(kind: Any, data: st.DataObject) -> None:
    frame = data.draw(shapes(kind))
    assert json_frames.decode_client(json_frames.encode(frame)) == frame


@pytest.mark.parametrize("kind", once(kinds(json_frames.NodeFrame)))
@given(st.data())
def test_a_node_s_frame_comes_out_as_it_went_in(kind: Any, data: st.DataObject) -> None:
    frame = data.draw(shapes(kind))
    assert json_frames.decode_node(json_frames.encode(frame)) == frame


@pytest.mark.parametrize("kind", once(kinds(Mail)))
@given(st.data())
def test_a_piece_of_mail_comes_out_as_it_went_in(kind: Any, data: st.DataObject) -> None:
    written = data.draw(st.lists(shapes(kind), max_size=3))
    assert peer_messages.decode(peer_messages.encode(written)) == written


@given(shapes(SessionRecord), st.integers(0, 2**53))
def test_a_record_comes_out_as_it_went_in(body: SessionRecord, fencing_token: int) -> None:
    raw = b"%d %s %s" % (fencing_token, record.owner("n1", "7", "s1").encode(), record.encode(body))
    assert record.decode(raw) == Record(fencing_token, "n1", "7", "s1", body)


# A newer node may have written what this one doesn't know.
BODIES = st.binary() | shapes(SessionRecord).map(lambda body: record.encode(body)[:-1] + b',["newer"]]')


@given(st.binary() | BODIES.map(lambda body: b"1 n1/7/s1 " + body))
def test_bytes_that_no_node_wrote_are_read_as_a_record_or_refused(raw: bytes) -> None:
    try:
        found = record.decode(raw)
    except BadRecord as error:
        assert str(error).startswith("unreadable record")
    else:
        assert record.decode(f"{found.version} ".encode() + record.encode(found.body)) == found
