"""A line about a file under way fits in any room, and its bar is full only where the file is whole."""

from __future__ import annotations

from typing import Any, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.cli.bar import BarPart, line
from peerpost.cli.progress import Progress
from peerpost.cli.table import width
from peerpost.cli.terminal import Terminal
from tests.support.terminal import drawn_on_stderr

from .test_progress import ROW

PARTS = [
    BarPart("25 %"),
    BarPart("2.4 MiB of 9.5 MiB", 3),
    BarPart("976.6 KiB/s", 2),
    BarPart("8s left", 1),
]


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (66, "dump.sql  ━━┄┄┄┄┄┄  25 %, 2.4 MiB of 9.5 MiB, 976.6 KiB/s, 8s left"),
        (58, "dump.sql  25 %, 2.4 MiB of 9.5 MiB, 976.6 KiB/s, 8s left"),
        (40, "dump.sql  25 %, 976.6 KiB/s, 8s left"),
        (30, "dump.sql  25 %, 8s left"),
        (14, "dump.sql  25 %"),
    ],
)
def test_what_matters_least_gives_way_first(room: int, shown: str) -> None:
    assert line("dump.sql", 0.25, PARTS, room) == shown


def test_a_long_name_gives_way_before_figures_do() -> None:
    shown = line("a-very-long-name-of-a-dump.sql", 0.5, PARTS[:1] + PARTS[2:], 40)
    assert shown == "a-very-long…  25 %, 976.6 KiB/s, 8s left"


def test_a_reason_is_cut_last_and_says_so() -> None:
    why = BarPart("the receiver's disk is full, and so on")
    shown = line("dump.sql", 0.25, [*PARTS[:2], why], 30)
    assert shown == "dump.sql  25 %, the receiver'…"


@given(
    label=st.text(max_size=40),
    share=st.none() | st.floats(0, 1),
    texts=st.lists(st.tuples(st.text(max_size=40), st.integers(0, 3)), max_size=5),
    room=st.integers(1, 120),
    ascii_only=st.booleans(),
)
def test_it_fits_in_any_room(
    label: str,
    share: float | None,
    texts: list[tuple[str, int]],
    room: int,
    *,
    ascii_only: bool,
) -> None:
    parts = [BarPart(*text) for text in texts]
    shown = line(label, share, parts, room, ascii_only=ascii_only)
    assert width(shown) <= room
    if ascii_only and label.isascii() and all(text.isascii() for text, _ in texts):
        assert shown.isascii()


def drawn(monkeypatch: pytest.MonkeyPatch, row: dict[str, Any], columns: int, color: str) -> str:
    """Return what is on the screen of a file."""

    def draw(_: TextIO) -> None:
        terminal = Terminal()
        terminal.color = color
        with Progress(terminal) as progress:
            progress.update(row)

    return drawn_on_stderr(monkeypatch, columns, draw)


@pytest.mark.parametrize("color", ["always", "never"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"done_bytes": 0, "progress": 0.0, "rate_bytes_s": None}, "0 %"),
        ({"state": "asking", "done_bytes": None, "progress": None, "error": "x"}, "asking"),
        ({"size": None, "progress": None, "done_bytes": 0, "rate_bytes_s": None}, "0 B"),
        ({"state": "paused", "size": None, "done_bytes": None, "progress": None}, "paused"),
    ],
)
def test_where_nothing_is_there_no_bar_looks_full(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str, color: str
) -> None:
    text = drawn(monkeypatch, ROW | change, 100, color)
    assert words in text
    assert "┄" in text
    assert "━" not in text


def test_in_forty_columns_nothing_of_weight_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "25 %, 976.6 KiB/s, 8s left" in drawn(monkeypatch, ROW, 40, "never")
