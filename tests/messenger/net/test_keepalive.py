"""Signs of life: when to ask, when to give up, and how far away the peer is."""

from __future__ import annotations

from peerpost.net.keepalive import FIRST_PINGS, MARK, Keepalive, Pulse


def test_silence_is_asked_about_and_then_ends_it() -> None:
    pulse = Pulse(Keepalive(ask_after_s=4, dead_after_s=9), 100.0)
    assert not pulse.is_due(103.9)
    assert pulse.is_due(104.0)
    pulse.ask(104.0)
    assert not pulse.is_due(107.9)
    assert pulse.is_due(108.0), "also where nothing came"
    assert not pulse.is_dead(108.9)
    assert pulse.is_dead(109.0)
    pulse.heard(108.5)
    assert not pulse.is_dead(117.4)
    assert pulse.look_after_s <= 1


def test_frozen_peer_is_given_up_within_ten_seconds() -> None:
    settings = Keepalive()
    assert settings.dead_after_s + Pulse(settings, 0.0).look_after_s <= 10


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
