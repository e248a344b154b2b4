from __future__ import annotations

import pytest

from peerpost.cli.strength import WORDS, judge, six_words


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "hunter2", "password1234", "qwertyuiop12", "Sommer2026!!", "alice2026"),
        *("a" * 64, "abcdefghijklmnop", "12345678901234567890", "x7" * 500),
    ],
)
def test_what_is_guessed_first_is_weak_however_long(text: str) -> None:
    assert judge(text).is_weak
    assert judge(text).words.startswith("weak (")


@pytest.mark.parametrize(
    "text", ["correct horse battery staple", "vT4#kq9!Zr2w", "grünes gehäuse am nassen kai"]
)
def test_what_takes_long_to_guess_is_not(text: str) -> None:
    assert not judge(text).is_weak
    assert not judge(text * 40).is_weak, "more than zxcvbn takes"


def test_six_words_are_strong_and_never_the_same() -> None:
    made = {six_words() for _ in range(50)}
    assert len(made) == 50
    for text in made:
        assert len(text.split(" ")) == WORDS
        assert text.isascii()
        assert judge(text).words == "strong (centuries of guessing)"


def test_the_reason_is_said() -> None:
    assert "very common password" in judge("password1").words
