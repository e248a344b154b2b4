"""Texts as a search compares them."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.store.fold import PIECE_CHARS, fold, span

MARKS = "\u0315\u0316\u0301\u0323"
"""Combining marks that Unicode puts into another order."""
# ruff: noqa: RUF001 - these letters are what it is about
# Without marks that go on and on, a text may be folded in pieces and as a whole.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Mn"]),
        st.sampled_from("ßﬁﬄ√ẞİıſK㎏①가각각Åéΐŉǰ  \n"),
    ),
    max_size=600,
)


def whole(text: str) -> str:
    """Return a text folded at once."""
    return unicodedata.normalize("NFKC", text).casefold()


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("Straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("the \ufb01rst", "FI"),
        ("ﬁ", "fi"),
        ("cafe\u0301", "CAFÉ"),
        ("CAFÉ", "cafe\u0301"),
        ("㎏", "KG"),
        ("ｆｕｌｌ", "full"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("한", "\u1112\u1161\u11ab"),
        ("\u1112\u1161\u11ab", "한"),
        ("ſ", "S"),
    ],
)
def test_what_looks_the_same_is_the_same(text: str, term: str) -> None:
    assert fold(term) in fold(text)


@given(TEXTS)
def test_in_pieces_it_is_what_it_is_as_a_whole(text: str) -> None:
    assert fold(text) == whole(text)


@given(st.text(st.sampled_from("a\u1112\u1161\u11ab한e\u0301é\u09c7\u09be가"), max_size=900))
def test_no_piece_ends_within_a_character(text: str) -> None:
    assert fold(text) == whole(text)


def test_a_text_of_marks_takes_no_time() -> None:
    hostile = MARKS * 8000
    began_s = time.perf_counter()
    fold(hostile)
    span(hostile, 10, 20)
    assert time.perf_counter() - began_s < 2


@given(TEXTS.filter(bool), st.data())
def test_a_span_has_what_was_found_and_little_more(text: str, data: st.DataObject) -> None:
    folded = fold(text)
    start = data.draw(st.integers(0, len(folded) - 1))
    stop = data.draw(st.integers(start + 1, len(folded)))
    begin, end = span(text, start, stop)
    assert 0 <= begin < end <= len(text)
    assert folded[start:stop] in fold(text[begin:end])
    # What is around it is not in it: a character less on either side is too little.
    assert len(fold(text[:begin])) <= start
    assert len(fold(text[:end])) >= stop


def test_a_span_is_of_the_text_as_it_was() -> None:
    text = "Die Straße ist lang"
    begin, end = span(text, *(at + fold(text).index("strasse") for at in (0, 7)))
    assert text[begin:end] == "Straße"
    long = "é" * (PIECE_CHARS + 50) + " here " + "é" * 400
    at = fold(long).index("here")
    assert long[slice(*span(long, at, at + 4))] == "here"
