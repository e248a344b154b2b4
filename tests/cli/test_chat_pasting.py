"""What is pasted into a chat is text: no character of it is a key."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.cli.chat.screen.pasting import PastedText, SafePasteParser, without_controls

BEGIN, END = "\x1b[200~", "\x1b[201~"


def fed(pieces: list[str]) -> str:
    pasted = PastedText()
    return "".join(pasted.feed(piece) for piece in pieces)


def test_keys_pass_and_what_is_pasted_loses_what_acts() -> None:
    keys = "a\x1b[A\x11\r"
    assert fed([f"{keys}{BEGIN}x\x1b\rquit\x11\x1b[31m\ty\r\n{END}{keys}"]) == (
        f"{keys}{BEGIN}x\nquit[31m\ty\n{END}{keys}"
    )


@given(st.lists(st.sampled_from([*"ab\x1b[201~\r\n\x11", "\x1b[20"]), max_size=30), st.data())
def test_it_does_not_matter_how_it_comes_in_pieces(parts: list[str], data: st.DataObject) -> None:
    # Which mark ends it is clear only if what is pasted has none itself: a terminal takes care of that.
    text = "".join(parts).replace(END, "")
    if END in f"{text}{END}"[:-1]:
        return
    whole = f"k{BEGIN}{text}{END}k"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    ends = [0, *cuts, len(whole)]
    pieces = [whole[a:b] for a, b in itertools.pairwise(ends)]
    assert fed(pieces) == f"k{BEGIN}{without_controls(text)}{END}k"


@pytest.mark.parametrize("text", ["x\x1b\rq", "\x1b\x11", "one\x1b]0;t\x07two\rthree"])
def test_the_parser_gives_one_paste_and_no_key(text: str) -> None:
    parser = SafePasteParser()
    tokens = list(parser.feed(f"{BEGIN}{text}{END}"))
    assert [type(token).__name__ for token in tokens] in ([], ["Paste"])
    tokens += list(parser.feed("k"))
    assert [type(token).__name__ for token in tokens] == ["Paste", "Key"]
    assert tokens[0].text == without_controls(text)  # type: ignore[attr-defined]
