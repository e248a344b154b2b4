"""The mean over the last seconds."""

from __future__ import annotations

import pytest

from peerpost.node.files.meter import SPAN_S, Meter


def test_the_rate_of_steady_growth_and_of_none() -> None:
    meter = Meter()
    assert meter.rate(0, 1.0) == 0
    for step in range(100):
        meter.note(1000 * step, 10 + step / 10)
    assert meter.rate(99_000, 19.9) == pytest.approx(10_000, rel=0.1)
    # Nothing comes any more: the rate falls, and is nothing once all of it is long ago.
    rates = [meter.rate(99_000, 20 + after) for after in (1, 3, SPAN_S + 1)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0


def test_a_burst_is_no_rate_for_ever() -> None:
    meter = Meter()
    meter.note(0, 1.0)
    meter.note(1_000_000, 1.001)
    assert meter.rate(1_000_000, 1.001) <= 4_000_000
    meter.reset()
    assert meter.rate(1_000_000, 1.002) == 0


def test_what_grows_seldom_has_a_rate_between() -> None:
    meter = Meter(kept=2)
    assert meter.rate(0, 0.0) == 0
    for step in range(6):
        at_s = 2 * SPAN_S * step
        meter.note(100_000 * step, at_s)
        if step:
            assert meter.rate(100_000 * step, at_s) == pytest.approx(10_000, rel=0.01)
            assert meter.rate(100_000 * step, at_s + 2 * SPAN_S) >= 4_900
    # And one that has ended to grow comes nearer and nearer to none.
    assert meter.rate(500_000, 1000.0) < 120
