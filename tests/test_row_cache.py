"""Which embedding rows a memory holds that has no room for all."""

from hypothesis import given
from hypothesis import strategies as st

from tritstream.row_cache import RowCache


def test_the_row_that_was_used_longest_ago_makes_way():
    rows = RowCache(2)
    assert [rows.find(token) for token in (7, 8, 7, 9, 7, 8)] == [
        (0, True), (1, True), (0, False), (1, True), (0, False), (1, True)]


def test_what_is_forgotten_is_written_again():
    rows = RowCache(3)
    assert rows.find(5) == (0, True)
    rows.forget()
    assert rows.find(6) == (0, True) and rows.find(5) == (1, True)


@given(st.integers(1, 5), st.lists(st.integers(0, 9), max_size=60))
def test_a_row_is_where_it_was_written(places, tokens):
    """And those of as many tokens as there are places are there at the same time."""
    rows, memory = RowCache(places), [None] * places
    for position, token in enumerate(tokens):
        place, absent = rows.find(token)
        if absent:
            assert token not in memory
            memory[place] = token
        assert memory[place] == token
        latest = list(dict.fromkeys(reversed(tokens[:position + 1])))[:places]
        assert set(latest) <= set(memory)
