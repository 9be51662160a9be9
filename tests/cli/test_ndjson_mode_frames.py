"""The frames that `pairchat --json` writes have the names and fields of the node's frames."""

from collections.abc import Iterator
from typing import get_args

from msgspec import Struct
from msgspec.structs import fields

from pairchat import events
from pairchat.events import DeliveryStatus, Event, Outgoing, Settled
from pairchat.ndjson_mode import frame_of
from relay.protocol.json_frames import NodeFrame
from tests.golden.samples import samples
from tests.support.rows import each_row

# The fields of each frame of a node, by its type.
FRAMES = {frame.__struct_config__.tag: {field.encode_name for field in fields(frame)} for frame in get_args(NodeFrame)}
# Frames that the client makes itself, for what no node says.
OWN = {"dropped", "expired", "lost", "refused"}
# Fields that the client adds: an outcome is written for each text by itself.
ADDED = {"ack": {"by"}, "unconfirmed": {"id", "text"}}


def of_kind(kind: type[Struct]) -> Iterator[Event]:
    """Yield events of a kind: one for each value of each field that the samples have."""
    if kind is Settled:
        for fate in (DeliveryStatus.DELIVERED, DeliveryStatus.UNCONFIRMED, DeliveryStatus.REFUSED):
            yield Settled(Outgoing(1, "hi", "c1", "client", 2, fate=fate, detail="lost", at=1.5))
    else:
        for _, event in samples(kind):
            assert isinstance(event, Event)
            yield event


@each_row("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_an_event_is_written_as_the_frame_of_the_node(kind: type[Struct]) -> None:
    for event in of_kind(kind):
        frame = frame_of(event)
        type_ = frame.pop("type")
        if type_ not in OWN:
            assert type_ in FRAMES
            assert frame.keys() <= FRAMES[type_] | ADDED.get(type_, set())


def test_no_frame_of_a_node_has_the_name_of_one_that_the_client_makes() -> None:
    assert not OWN & FRAMES.keys()


def test_a_message_has_the_sender_where_the_frame_has_it() -> None:
    assert frame_of(events.Message(1, "ann", "c1", "hi", 1.5))["from"] == "ann"
