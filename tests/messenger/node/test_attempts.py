from __future__ import annotations

import re

import pytest

from peerpost.errors import LockedError
from peerpost.node.attempts import FREE, LONGEST_S, Attempts


def test_the_wait_doubles_up_to_a_minute_and_ends_with_a_right_one() -> None:
    now_s = 1000.0
    attempts = Attempts(now_s=lambda: now_s)
    for _ in range(FREE - 1):
        attempts.begin()
        attempts.failed()
    waits = []
    for _ in range(12):
        attempts.begin()
        attempts.failed()
        with pytest.raises(LockedError) as refused:
            attempts.begin()
        (wait_s,) = map(int, re.findall(r"for (\d+) s", refused.value.message))
        waits.append(wait_s)
        now_s += wait_s
    assert waits == [1, 2, 4, 8, 16, 32, *[60] * 6]
    attempts.begin()
    attempts.failed()
    now_s += LONGEST_S - 0.01
    with pytest.raises(LockedError, match="for 1 s"):
        attempts.begin()
    now_s += 0.01
    attempts.begin()
    attempts.succeeded()
    attempts.failed()
    attempts.begin()


def test_no_number_of_wrong_ones_makes_it_fail() -> None:
    now_s = 0.0
    attempts = Attempts(now_s=lambda: now_s)
    for _ in range(5000):
        now_s += LONGEST_S
        attempts.begin()
        attempts.failed()
