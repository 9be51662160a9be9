"""Messages out of a client's frames, and what ends a connection."""

import codecs
from collections.abc import Sequence

import pytest

from relay.web import frames as module
from relay.web.frames import CONTROL_BYTES, PING_FRAME, End, MessageFramer, close_frame, control_frame, text_frame
from tests.support.web import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, heard

LIMIT = 1000


class Pongs(list[bytes]):
    """What a framer answers."""

    def add(self, frame: bytes) -> None:
        self.append(frame)


def framer(limit: int = LIMIT, most: int | None = None) -> MessageFramer:
    made = MessageFramer(limit, most or limit)
    made.sink = Pongs()
    return made


def pongs(of: MessageFramer) -> list[bytes]:
    assert isinstance(of.sink, Pongs)
    return [one.payload for one in heard(b"".join(of.sink)) if one.opcode == PONG]


def fed(data: bytes, pieces: int | None = None, limit: int = LIMIT) -> tuple[Sequence[bytes], End | None, list[bytes]]:
    """What comes of these bytes, in pieces of one size."""
    reader, messages = framer(limit), list[bytes]()
    size = pieces or max(1, len(data))
    for at in range(0, len(data), size):
        messages += reader.feed(data[at : at + size])
    return messages, reader.ended, pongs(reader)


@pytest.mark.parametrize("pieces", [None, 1, 2, 3, 5, 7])
class TestMessages:
    """Each holds in one read, and for reads of any size."""

    @pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 127, LIMIT])
    def test_a_message_may_come_in_one_frame(self, size: int, pieces: int | None) -> None:
        assert fed(frame(b"x" * size), pieces) == ([b"x" * size], None, [])

    def test_several_in_a_read(self, pieces: int | None) -> None:
        assert fed(frame(b"one") + frame(b"two" * 100) + frame("drei€".encode()), pieces) == (
            [b"one", b"two" * 100, "drei€".encode()],
            None,
            [],
        )

    def test_every_mask_is_taken_off(self, pieces: int | None) -> None:
        for mask in (b"\0\0\0\0", b"\xff\x00\xff\x00", b"\x01\x02\x03\x04"):
            assert fed(frame(b"masked with it", mask=mask), pieces)[0] == [b"masked with it"]

    def test_fragments_make_one_message(self, pieces: int | None) -> None:
        data = frame(b"a", fin=False) + frame(b"", CONTINUATION, fin=False) + frame(b"bc", CONTINUATION)
        assert fed(data, pieces) == ([b"abc"], None, [])

    def test_control_frames_between_fragments_are_answered(self, pieces: int | None) -> None:
        data = frame(b"a", fin=False) + frame(b"?", PING) + frame(b"b", CONTINUATION) + frame(b"!", PONG)
        assert fed(data, pieces) == ([b"ab"], None, [b"?"])

    def test_a_character_may_be_cut_between_fragments(self, pieces: int | None) -> None:
        euro = "€".encode()
        assert fed(frame(euro[:1], fin=False) + frame(euro[1:], CONTINUATION), pieces)[0] == [euro]

    def test_a_length_may_be_written_longer_than_needed(self, pieces: int | None) -> None:
        """As the library has it, too."""
        data = b"\x81\xfe\x00\x02\0\0\0\0hi" + b"\x81\xff" + bytes(7) + b"\x02" + bytes(4) + b"ho"
        assert fed(data, pieces)[0] == [b"hi", b"ho"]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry for each message that doesn't take the short way."""
    taken: list[int] = []

    def decoder() -> codecs.IncrementalDecoder:
        taken.append(1)
        return codecs.getincrementaldecoder("utf-8")()

    # private: which way a message takes shows in nothing but time
    monkeypatch.setattr(module, "_decoder", decoder)
    return taken


class TestTheShortWay:
    """Whole short frames take it wherever they are. It is several times as fast, and floods come in cut reads."""

    @pytest.mark.parametrize("cut", range(1, 33))
    def test_only_the_frame_that_is_cut_misses_the_short_way(self, cut: int, slowly: list[int]) -> None:
        data, reader = b"".join(frame(b"%10d" % n) for n in range(6)), framer()
        messages = [*reader.feed(data[:cut]), *reader.feed(data[cut:])]
        assert messages == [b"%10d" % n for n in range(6)]
        assert len(slowly) == (1 if cut % 16 else 0)

    @pytest.mark.parametrize("between", [frame(b"?", PING), frame(fin=False) + frame(b"y", CONTINUATION)])
    def test_a_rare_frame_leaves_the_short_way_to_those_behind_it(self, between: bytes, slowly: list[int]) -> None:
        rare = 0 if between[0] & 0x0F == PING else 1
        messages = framer().feed(frame(b"a") + between + frame(b"b") + between + frame(b"c") * 2)
        assert len(messages) == 4 + 2 * rare
        assert len(slowly) == 2 * rare


BROKEN = {
    "not masked": (frame(b"x", mask=None), 1002),
    "a reserved bit": (frame(b"x", reserved=4), 1002),
    "a reserved opcode": (frame(b"x", 0x3), 1002),
    "a reserved control opcode": (frame(b"x", 0xB), 1002),
    "a long ping": (frame(b"x" * (CONTROL_BYTES + 1), PING), 1002),
    "a ping longer than any message": (b"\x89\xff" + bytes((0x7F, *[0xFF] * 7)), 1002),
    "a ping in fragments": (frame(b"x", PING, fin=False), 1002),
    "a continuation of nothing": (frame(b"x", CONTINUATION), 1002),
    "a message within a message": (frame(b"x", fin=False) + frame(b"y"), 1002),
    "binary": (frame(b"x", BINARY), 1003),
    "binary within a message": (frame(b"x", fin=False) + frame(b"y", BINARY), 1002),
    "not UTF-8": (frame(b"\xff"), 1007),
    "half a character": (frame(b"\xe2\x82"), 1007),
    "a lone surrogate": (frame(b"\xed\xa0\x80"), 1007),
    "too large": (frame(b"x" * (LIMIT + 1)), 1009),
    "too large together": (frame(b"x" * LIMIT, fin=False) + frame(b"x", CONTINUATION), 1009),
    "too large for any machine": (b"\x81\xff" + b"\xff" * 8, 1009),
    "a close with half a code": (frame(b"x", CLOSE), 1002),
    "a close with a reserved code": (close(1005), 1002),
    "a close with no UTF-8": (close(1000, b"\xff"), 1007),
}


@pytest.mark.parametrize("pieces", [None, 1, 3])
@pytest.mark.parametrize("what", BROKEN)
def test_a_breach_of_the_protocol_ends_the_connection(what: str, pieces: int | None) -> None:
    data, code = BROKEN[what]
    messages, ended, _ = fed(frame(b"before") + data + frame(b"behind"), pieces)
    assert list(messages) == [b"before"]
    assert ended is not None
    assert (ended.code, ended.by_client) == (code, False)
    assert ended.reason


class TestAtOnce:
    """A client hears what is wrong before it has sent all of it."""

    @pytest.mark.parametrize("what", ["a reserved bit", "a long ping", "binary", "a continuation of nothing"])
    def test_by_the_first_two_bytes(self, what: str) -> None:
        data, code = BROKEN[what]
        reader = framer()
        reader.feed(data[:1])
        assert reader.ended is None
        reader.feed(data[1:2])
        assert reader.ended is not None
        assert reader.ended.code == code

    def test_by_the_length_alone(self) -> None:
        reader = framer()
        reader.feed(frame(b"x" * (LIMIT + 1))[:8])
        assert reader.ended is not None
        assert reader.half == 0

    def test_within_a_frame_that_is_not_whole(self) -> None:
        reader = framer()
        reader.feed(frame(b"abc\xffdef")[:10])
        assert reader.ended is not None
        assert reader.ended.code == 1007


class TestClosing:
    def test_the_client_s_code_is_told(self) -> None:
        assert fed(close(1001, b"gone"))[1] == End(1001, by_client=True)

    def test_a_close_without_a_code_is_answered_without_one(self) -> None:
        _, ended, _ = fed(close())
        assert ended is not None
        assert close_frame(ended) == bytes((0x88, 0))

    def test_nothing_is_read_behind_a_close(self) -> None:
        assert fed(close(1000) + frame(b"x") + frame(b"", PING))[0] == []
        assert fed(close(1000) + frame(b"", PING))[2] == []

    def test_a_long_reason_is_cut_between_characters(self) -> None:
        (told,) = heard(close_frame(End(4000, "€" * 100)))
        assert told.code == 4000
        assert told.payload[2:].decode() == "€" * 41


class TestMemory:
    def test_the_memory_of_half_a_message_is_told(self) -> None:
        reader = framer()
        assert reader.half == 0
        reader.feed(frame(b"x" * 600, fin=False))
        assert reader.half == 600
        reader.feed(frame(b"x" * 300, CONTINUATION)[:108])
        assert reader.half == 700
        reader.drop()
        assert reader.half == 0

    def test_no_more_is_held_than_a_message(self) -> None:
        reader = framer()
        for byte in frame(b"x" * LIMIT, fin=False) + frame(b"y" * 50, PING)[:-1]:
            reader.feed(bytes([byte]))
            assert reader.half <= LIMIT + CONTROL_BYTES + 14
        assert reader.ended is None


class TestTheBound:
    """A name raises it, and the loss of a name takes it back."""

    def test_the_bound_may_rise_while_a_message_comes(self) -> None:
        reader = framer(10, 20)
        reader.feed(frame(b"x" * 10, fin=False))
        reader.bound(20)
        assert list(reader.feed(frame(b"y" * 10, CONTINUATION))) == [b"x" * 10 + b"y" * 10]

    def test_an_announced_message_may_come_if_the_bound_rises_in_time(self) -> None:
        reader, data = framer(10, 20), frame(b"x" * 20)
        reader.feed(data[: 6 + 10])
        assert reader.ended is None
        reader.bound(20)
        assert list(reader.feed(data[6 + 10 :])) == [b"x" * 20]

    def test_a_message_longer_than_the_bound_may_not_come_before_the_bound_rises(self) -> None:
        reader = framer(10, 20)
        reader.feed(frame(b"x" * 20)[: 6 + 11])
        assert reader.ended is not None
        assert reader.ended.code == 1009

    def test_a_message_that_is_longer_already_ends_the_connection(self) -> None:
        reader = framer(20)
        reader.feed(frame(b"x" * 20)[: 6 + 15])
        reader.bound(12)
        assert reader.ended is not None
        assert reader.ended.code == 1009

    def test_a_message_that_still_fits_goes_on(self) -> None:
        reader = framer(20)
        reader.feed(frame(b"x" * 10)[:8])
        reader.bound(12)
        assert list(reader.feed(frame(b"x" * 10)[8:])) == [b"x" * 10]


class TestFramesForTheClient:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
    def test_a_text_has_the_shortest_length(self, size: int) -> None:
        assert [(one.opcode, len(one.payload)) for one in heard(text_frame(b"x" * size))] == [(TEXT, size)]

    def test_control_frames(self) -> None:
        assert heard(PING_FRAME + control_frame(PONG, b"x")) == [(PING, b""), (PONG, b"x")]
