"""Signs of life: when to ask, when to give up, and how far away the peer is."""

from __future__ import annotations

import math

import pytest

from peerpost.net.mux.keepalive import FIRST_PINGS, MARK, Keepalive, Pulse


def lives_until(
    held_up_s: list[tuple[float, float]], until_s: float, *, rtt_s: float = 0.05
) -> float:
    """Return when a peer is given up that answers, but not within some times; or when to stop asking that."""
    pulse = Pulse(Keepalive(), 0.0)
    now_s, answers_s = 0.0, []
    look_s = pulse.wait_s(0.0)
    while now_s < until_s:
        now_s = min([look_s, *answers_s])
        if now_s in answers_s:
            answers_s.remove(now_s)
            pulse.heard()
            continue
        if pulse.is_dead(now_s):
            return now_s
        if pulse.is_due(now_s):
            pulse.ask(now_s)
            at_s = now_s + rtt_s
            answers_s.append(next((end for begin, end in held_up_s if begin <= at_s < end), at_s))
        look_s = now_s + pulse.wait_s(now_s)
    return until_s


PHASES_S = [20 + n / 10 for n in range(45)]


@pytest.mark.parametrize("from_s", PHASES_S)
def test_frozen_peer_is_found_within_ten_seconds(from_s: float) -> None:
    assert lives_until([(from_s, math.inf)], 60) - from_s <= 9.6


@pytest.mark.parametrize("from_s", PHASES_S)
def test_busy_peer_is_not_given_up(from_s: float) -> None:
    """Not one that is held up for five seconds, nor again soon after that."""
    held_up_s = [(from_s, from_s + 5), (from_s + 5.2, from_s + 10.2)]
    assert lives_until(held_up_s, 60) == 60


def test_peer_is_asked_every_four_seconds_and_no_more() -> None:
    pulse = Pulse(Keepalive(), 0.0)
    now_s, asked = 0.0, 0
    while now_s < 400:
        now_s += pulse.wait_s(now_s)
        if pulse.is_due(now_s):
            pulse.ask(now_s)
            pulse.heard()
            asked += 1
    assert 99 <= asked <= 100


def test_what_came_while_our_own_loop_was_held_up_is_read_first() -> None:
    pulse = Pulse(Keepalive(), 0.0)
    pulse.ask(4.0)
    assert pulse.wait_s(4.0) == 4.0
    assert not pulse.is_dead(30.0), "nobody could have read an answer"
    soon_s = pulse.wait_s(30.0)
    assert 0 < soon_s < 0.1
    assert pulse.is_dead(30.0 + soon_s), "there was none"
    pulse.heard()
    assert not pulse.is_dead(30.0 + soon_s)


def test_first_pings_follow_each_other_and_the_shortest_counts() -> None:
    pulse = Pulse(Keepalive(), 0.0)
    took, now = [0.5, 0.1, 0.2, 0.3], 0.0
    assert pulse.rtt_s is None
    for number, each in enumerate(took, 1):
        value = pulse.ask(now)
        now += each
        assert pulse.answered(value, now) == (number < FIRST_PINGS)
    assert round(pulse.rtt_s or 0, 6) == 0.1


def test_only_the_last_ping_has_an_answer_that_counts() -> None:
    pulse = Pulse(Keepalive(), 0.0)
    first = pulse.ask(0.0)
    second = pulse.ask(1.0)
    assert not pulse.answered(first, 1.1)
    assert not pulse.answered(second | MARK, 1.1)
    assert pulse.rtt_s is None
    assert pulse.answered(second, 1.5)
    assert pulse.rtt_s == 0.5
    values = {pulse.ask(2.0) for _ in range(1000)}
    assert len(values) == 1000
    assert all(value < MARK for value in values)
