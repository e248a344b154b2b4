"""A token bucket counts exactly, at any size, and never lets through more than its rate."""

from __future__ import annotations

import random
from typing import Any

import pytest

from peerpost.fastpath import _pure

Bucket = type[_pure.TokenBucket]
SECOND = 10**9
MOST = 2**63 - 1


def test_it_starts_full_and_fills_up(bucket_class: Bucket) -> None:
    bucket = bucket_class(1000, 500, 0)
    assert (bucket.per_s, bucket.burst, bucket.level(0)) == (1000, 500, 500)
    assert bucket.take(500, 0)
    assert not bucket.take(1, 0)
    assert not bucket.take(1, 999_999)
    assert bucket.take(1, 1_000_000)
    assert bucket.level(10 * SECOND) == 500


def test_the_wait_is_exact(bucket_class: Bucket) -> None:
    bucket = bucket_class(3, 10, 0)
    bucket.take(10, 0)
    assert bucket.wait_time(1, 0) == 333_333_334  # rounded up: one less does not do
    assert not bucket.take(1, 333_333_333)
    assert bucket.take(1, 333_333_334)
    # What was left over of that nanosecond counts: no drift.
    assert bucket.wait_time(1, 333_333_334) == 333_333_333
    assert bucket.wait_time(0, 333_333_334) == 0


def test_a_clock_that_stands_still_or_goes_back_gives_nothing(bucket_class: Bucket) -> None:
    bucket = bucket_class(1000, 10, 5 * SECOND)
    bucket.take(10, 5 * SECOND)
    for now in (5 * SECOND, 4 * SECOND, 0, -SECOND):
        assert bucket.level(now) == 0
        assert not bucket.take(1, now)
    assert bucket.wait_time(1, 4 * SECOND) == SECOND + 1_000_000
    assert bucket.level(5 * SECOND + 1_000_000) == 1


def test_a_contact_under_the_whole(bucket_class: Bucket) -> None:
    whole = bucket_class(100, 150, 0)
    one, other = (bucket_class(100, 100, 0, parent=whole) for _ in range(2))
    assert one.take(100, 0)
    assert not other.take(51, 0)
    assert other.level(0) == 100  # nothing was taken from either
    assert other.wait_time(51, 0) == SECOND // 100
    assert other.take(50, 0)
    assert whole.level(0) == 0
    with pytest.raises(ValueError, match="more than the burst"):
        bucket_class(1000, 1000, 0, parent=whole).take(151, 0)


def test_the_rate_changes_while_running(bucket_class: Bucket) -> None:
    bucket = bucket_class(100, 100, 0)
    bucket.take(100, 0)
    bucket.set_rate(1000, 2000, SECOND // 2)  # half a second at the old rate
    assert bucket.level(SECOND // 2) == 50
    assert bucket.level(SECOND) == 550
    bucket.set_rate(0, 200, SECOND)
    assert (bucket.level(9 * SECOND), bucket.per_s, bucket.burst) == (200, 0, 200)
    bucket.take(200, 9 * SECOND)
    assert bucket.wait_time(1, 9 * SECOND) == bucket.FOREVER_NS == MOST
    with pytest.raises(ValueError):
        bucket.set_rate(-1, 200, SECOND)
    assert bucket.burst == 200


def test_nothing_overflows(bucket_class: Bucket) -> None:
    bucket = bucket_class(MOST, MOST, -MOST - 1)
    assert bucket.take(MOST, -MOST - 1)
    assert bucket.wait_time(MOST, -MOST - 1) == SECOND
    assert bucket.level(MOST) == MOST
    slow = bucket_class(1, MOST, 0)
    slow.take(MOST, 0)
    assert slow.wait_time(MOST, 0) == MOST
    assert slow.level(MOST) == MOST // SECOND
    far = bucket_class(10, 10, MOST)
    far.take(10, MOST)
    assert far.wait_time(10, -MOST - 1) == MOST


@pytest.mark.parametrize("wrong", [-1, 2**63, -(2**63) - 1, 2**100, -(2**100)])
def test_numbers_out_of_range(bucket_class: Bucket, wrong: int) -> None:
    bucket = bucket_class(10, 10, 0)
    calls: list[Any] = [
        lambda: bucket_class(wrong, 1, 0),
        lambda: bucket_class(1, wrong, 0),
        lambda: bucket.take(wrong, 0),
        lambda: bucket.wait_time(wrong, 0),
        lambda: bucket.set_rate(wrong, 1, 0),
        lambda: bucket.set_rate(1, wrong, 0),
    ]
    if wrong != -1:
        calls += [lambda: bucket.take(1, wrong), lambda: bucket_class(1, 1, wrong)]
    for call in calls:
        with pytest.raises(ValueError, match=r"must be in 0\.\.2\^63-1|fit in 64 bits"):
            call()
    assert bucket.level(0) == 10


@pytest.mark.parametrize("wrong", [1.0, "1", None])
def test_what_is_no_integer(bucket_class: Bucket, wrong: Any) -> None:
    bucket = bucket_class(10, 10, 0)
    for call in (
        lambda: bucket_class(wrong, 1, 0),
        lambda: bucket.take(wrong, 0),
        lambda: bucket.take(1, wrong),
        lambda: bucket_class(1, 1, 0, "parent"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()


def number(draw: random.Random) -> int:
    """Draw a number whose length is as likely to be any."""
    return int(draw.getrandbits(draw.randrange(64)))


def test_as_the_twin_in_any_order(bucket_class: Bucket) -> None:
    draw = random.Random(4)
    for _ in range(300):
        rates = [(number(draw) % MOST, number(draw) % MOST) for _ in range(2)]
        ours = bucket_class(*rates[0], 0, bucket_class(*rates[1], 0))
        twin = _pure.TokenBucket(*rates[0], 0, _pure.TokenBucket(*rates[1], 0))
        smallest = min(twin.burst, rates[1][1])
        now = 0
        for _ in range(40):
            now = min(MOST, max(-MOST, now + draw.choice([1, 1, 1, -1]) * number(draw)))
            size = number(draw) % (smallest + 1)
            assert ours.level(now) == twin.level(now)
            assert ours.wait_time(size, now) == twin.wait_time(size, now)
            assert ours.take(size, now) == twin.take(size, now)
            if draw.random() < 0.2:
                rate = number(draw) % MOST
                ours.set_rate(rate, twin.burst, now)
                twin.set_rate(rate, twin.burst, now)
            assert ours.level(now) == twin.level(now)


def test_waiting_as_told_is_just_enough(bucket_class: Bucket) -> None:
    draw = random.Random(5)
    for _ in range(500):
        bucket = bucket_class(1 + number(draw) % MOST, 1 + number(draw) % MOST, 0)
        now = 0
        for _ in range(10):
            size = number(draw) % (bucket.burst + 1)
            wait = bucket.wait_time(size, now)
            if now + wait > MOST or wait == MOST:
                break
            assert wait == 0 or not bucket.take(size, now + wait - 1)
            now += wait
            assert bucket.take(size, now)
