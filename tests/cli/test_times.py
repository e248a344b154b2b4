"""Times for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from peerpost.cli.times import moment_ms, relative, relative_to_just_now

from .conftest import FakeNode, Shell

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-24T11:59:58Z", "now"),
        ("2026-11-24T11:59:30Z", "30 s ago"),
        ("2026-11-24T11:57:00.123Z", "2 min ago"),
        ("2026-11-24T14:00:01Z", "in 2 h"),
        ("2026-11-20T12:00:00Z", "4 d ago"),
        ("2026-01-02T12:00:00Z", "2026-01-02"),
        ("garbage", "garbage"),
    ],
)
def test_relative(text: str, said: str) -> None:
    assert relative(text, NOW) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-25T11:59:57Z", "in 1 d"),
        ("2026-11-24T12:59:58Z", "in 1 h"),
        ("2026-11-24T12:00:30Z", "in 30 s"),
        ("2026-11-25T11:50:00Z", "in 23 h"),
        ("garbage", "garbage"),
    ],
)
def test_what_was_set_just_now(text: str, said: str) -> None:
    assert relative_to_just_now(text, NOW) == said


def test_moments() -> None:
    now_ms = int(NOW.timestamp() * 1000)
    assert moment_ms("2h", NOW) == now_ms - 7_200_000
    assert moment_ms("2026-11-24T12:00:00Z") == now_ms
    assert moment_ms("2026-11-24T13:00:00+01:00") == now_ms
    assert moment_ms("2026-11-24") % 1000 == 0
    with pytest.raises(ValueError, match="not a time"):
        moment_ms("yesterday")


@pytest.mark.parametrize(
    "text",
    [
        *("0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00", "0001-01-01", "1969-12-30"),
        *("9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00Z"),
        "1900-01-01T00:00:00",
    ],
)
def test_a_moment_out_of_range_is_named(text: str, node: FakeNode, shell: Shell) -> None:
    ran = shell("inbox", "list", "--since", text)
    assert ran.code == 2
    assert "is out of range: a time is from 1970 to 9999" in ran.err
    assert not node.asked


def test_moments_at_the_ends_of_the_range() -> None:
    assert moment_ms("1970-01-01T00:00+14:00") == moment_ms("36500d", NOW) == 0
    assert moment_ms("9999-12-31T23:59:59.999Z") == 253_402_300_799_999
    for text in ("0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"):
        assert relative(text, NOW) == text[:10]
