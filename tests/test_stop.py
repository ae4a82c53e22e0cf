"""Stop texts, wherever the pieces of a text begin and end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritstream.errors import BadInput
from tritstream.runtime.stop import StopTexts

LETTERS = st.text("ab\u20ac", max_size=30)
STOPS = st.lists(st.text("ab\u20ac", min_size=1, max_size=4), max_size=3)


@given(pieces=st.lists(LETTERS, max_size=12), stops=STOPS)
def test_a_text_ends_before_the_first_of_them(pieces, stops):
    stop = StopTexts(stops)
    text, whole = "", "".join(pieces)
    found = [whole.find(one) + len(one) for one in stops if one in whole]
    for piece in pieces:
        text += stop.push(piece)
        assert whole.startswith(text)
    text += stop.finish()
    if not found:
        assert (text, stop.found) == (whole, None)
        return
    assert whole[:min(found)] == text + stop.found
    assert len(stop.found) == max(len(one) for one in stops if whole[:min(found)].endswith(one))


def test_only_what_could_be_a_beginning_is_held_back():
    stop = StopTexts(["###", "\n\n"])
    assert [stop.push(piece) for piece in ("a#", "#", "b", "\n", "c##", "##")] == [
        "a", "", "##b", "", "\nc", ""]
    assert stop.found == "###" and stop.push("more") == "" and stop.finish() == ""


def test_an_empty_one_is_refused():
    with pytest.raises(BadInput, match="empty"):
        StopTexts(["x", ""])
