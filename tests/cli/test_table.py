"""A table has everything that is in it, in whatever room: nothing is cut, ids are whole, and no line is too long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth, wcwidth

from peerpost.cli.safe import safe
from peerpost.cli.table import laid_out, width, wrapped

HEADS = ["ID", "FROM", "KIND", "SIZE", "RECEIVED", "UNREAD", "PREVIEW"]
ROWS = [
    [
        "k3f9qz7a",
        "alice",
        "text",
        "12 B",
        "3 min ago",
        "yes",
        "the disk of db3 is almost full, again",
    ],
    ["7hq2mabc", "bob", "file", "1.5 MiB", "2 h ago", "no", "漢字" * 12],
]
WHOLE = [True] * 6 + [False]


def letters(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_with_room_a_row_is_a_line() -> None:
    assert [len(lines) for lines in laid_out([HEADS, *ROWS], WHOLE, None)] == [1, 1, 1]
    assert [len(lines) for lines in laid_out([HEADS, *ROWS], WHOLE, 200)] == [1, 1, 1]


def test_a_long_text_is_wrapped_in_its_column() -> None:
    _, first, second = laid_out([HEADS, *ROWS], WHOLE, 72)
    assert (len(first), len(second)) == (2, 3)
    assert first[1].strip() == "almost full, again"
    assert first[1].index("almost") == first[0].index("the disk")


def test_in_forty_columns_a_row_is_two_lines() -> None:
    short = [[*row[:6], "build is green"] for row in ROWS]
    head, first, second = laid_out([HEADS, *short], WHOLE, 40)
    assert (head[0].split(), head[1].split()) == (HEADS[:4], HEADS[4:])
    assert first == [
        "k3f9qz7a  alice  text  12 B",
        "  3 min ago  yes     build is green",
    ]
    assert len(second) == 2


@pytest.mark.parametrize("room", [*range(12, 100), 200])
def test_nothing_is_lost_in_any_room(room: int) -> None:
    for row, lines in zip(ROWS, laid_out([HEADS, *ROWS], WHOLE, room)[1:], strict=True):
        assert sorted(letters("".join(lines))) == sorted(letters("".join(row)))
        assert any(row[0] in line.split() for line in lines)
        assert max(map(width, lines)) <= room


def test_an_id_is_whole_where_there_is_no_room_for_it() -> None:
    lines = laid_out([HEADS, *ROWS], WHOLE, 5)[1]
    assert lines[0] == "k3f9qz7a"


@given(st.text(alphabet="ab 漢é\u0301", max_size=60), st.integers(2, 20))
def test_wrapping_keeps_every_character(text: str, room: int) -> None:
    lines = wrapped(text, room)
    assert letters("".join(lines)) == letters(text)
    assert max(map(width, lines)) <= room


@pytest.mark.parametrize(
    "cell", ["👨\u200d👩\u200d👧\u200d👦" * 9, "❤\ufe0f" * 20, "👍🏽" * 9, "🇩🇪" * 9, "각" * 20]
)
@pytest.mark.parametrize("room", [40, 80])
def test_no_terminal_needs_more_columns_than_there_are(cell: str, room: int) -> None:
    """Whether it joins emoji or draws their parts: what is too wide would go on where a row begins."""
    rows = [HEADS, ["k3f9qz7a", "bob", "text", "1 B", "now", "yes", f"{cell} k3f9  bob  text"]]
    for line in laid_out(rows, WHOLE, room)[1]:
        assert max(wcswidth(line), sum(wcwidth(char) for char in line)) <= room


@pytest.mark.parametrize(
    "text", ["e\u0301" * 30, "👨\u200d👩\u200d👧" * 9, "🇩🇪" * 9, "नमस्ते" * 9, "각" * 30]
)
def test_what_belongs_together_is_not_divided(text: str) -> None:
    lines = wrapped(text, 20)
    assert len(lines) > 1
    assert all(safe(line) == line for line in lines)
    assert "".join(lines) == text
