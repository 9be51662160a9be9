"""Messages in flight: counted, found, taken and measured, in any division into runs."""

from hypothesis import given
from hypothesis import strategies as st

from relay.session.unacked_messages import Run, UnackedMessages, joined, size

NOON = 1_795_404_840.0


class TestSize:
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_the_size_of_a_text_is_that_of_utf_8(self, words: str) -> None:
        assert size(words) == len(words.encode())


class TestWindow:
    def test_a_window_counts_messages_and_bytes(self) -> None:
        window = UnackedMessages()
        window.add(1, ["hé", "x"], NOON)
        window.add(3, ["ho"], NOON)
        assert (len(window), window.bytes, list(window)) == (3, 6, [(1, "hé"), (2, "x"), (3, "ho")])

    def test_a_message_that_is_taken_frees_its_bytes(self) -> None:
        window = UnackedMessages()
        for id in (1, 2, 4):
            window.add(id, ["abc"], NOON)
        assert window.pop_upto(3) == [Run(1, ["abc", "abc"], 6, NOON)]
        assert (len(window), window.bytes) == (1, 3)

    def test_a_run_can_be_taken_in_part(self) -> None:
        window = UnackedMessages()
        window.add(1, ["a", "bé", "c", "d"], NOON)
        assert window.pop_upto(2) == [Run(1, ["a", "bé"], 4, NOON)]
        assert (list(window), len(window), window.bytes) == ([(3, "c"), (4, "d")], 2, 2)

    def test_taking_what_is_not_there_takes_nothing(self) -> None:
        window = UnackedMessages()
        assert window.pop_upto(9) == []
        window.add(5, ["a"], NOON)
        assert window.pop_upto(4) == []
        assert window.bytes == 1

    def test_everything_can_be_taken(self) -> None:
        window = UnackedMessages()
        assert window.pop_all() == []
        window.add(1, ["a"], NOON)
        window.add(9, ["b"], NOON)
        assert window.pop_all() == [Run(1, ["a"], 1, NOON), Run(9, ["b"], 1, NOON)]
        assert (len(window), window.bytes) == (0, 0)

    def test_a_message_is_found_until_its_outcome_is_known(self) -> None:
        window = UnackedMessages()
        window.add(3, ["three", "four"], NOON)
        assert [window.find(id) for id in (2, 3, 4, 5)] == [None, "three", "four", None]
        window.pop_upto(3)
        assert (window.find(3), window.find(4)) == (None, "four")

    def test_the_list_that_was_added_stays_the_callers(self) -> None:
        texts, window = ["a"], UnackedMessages()
        window.add(1, texts, NOON)
        window.add(2, ["b"], NOON)
        texts.append("c")
        assert list(window) == [(1, "a"), (2, "b")]

    @given(st.data())
    def test_a_window_is_a_list_of_messages_however_they_came(self, data: st.DataObject) -> None:
        """The window equals the plain list of messages that it stands for."""
        window, model = UnackedMessages(), list[tuple[int, str, float]]()
        for id in sorted(data.draw(st.sets(st.integers(1, 30)))):
            texts = data.draw(st.lists(st.sampled_from(["", "a", "é", "xyz"]), min_size=1, max_size=4))
            first, at = max(id, model[-1][0] + 1 if model else 0), data.draw(st.sampled_from([1.0, 2.0]))
            window.add(first, texts, at)
            model += [(first + n, text, at) for n, text in enumerate(texts)]
            if data.draw(st.booleans()):
                upto = data.draw(st.integers(0, model[-1][0] + 1))
                taken = [
                    (run.id + n, text, run.at) for run in window.pop_upto(upto) for n, text in enumerate(run.texts)
                ]
                assert taken == [message for message in model if message[0] <= upto]
                model = [message for message in model if message[0] > upto]
            self._alike(data, window, model)

    def _alike(self, data: st.DataObject, window: UnackedMessages, model: list[tuple[int, str, float]]) -> None:
        assert list(window) == [(id, text) for id, text, _ in model]
        assert (len(window), window.bytes) == (len(model), sum(size(text) for _, text, _ in model))
        after, upto = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 40))
        assert window.between(after, upto) == sum(size(text) for id, text, _ in model if after < id <= upto)
        assert window.find(after) == next((text for id, text, _ in model if id == after), None)
        left, room, found = [message for message in model if message[0] > after], upto, list[tuple[int, str, float]]()
        while left and room > 0:
            room -= size(left[0][1])
            found.append(left.pop(0))
        assert window.next(after, upto) == (found, bool(left))


class TestJoined:
    def test_joining_no_runs_gives_none(self) -> None:
        assert list(joined([])) == []

    def test_runs_that_follow_each_other_are_one_whenever_they_were_said(self) -> None:
        runs = [Run(1, ["a", "b"], 2, NOON), Run(3, ["c"], 1, NOON + 1), Run(5, ["e"], 1, NOON + 1)]
        assert list(joined(runs)) == [(1, ["a", "b", "c"]), (5, ["e"])]
        assert runs[0].texts == ["a", "b"]
