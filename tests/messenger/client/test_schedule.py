"""Limits by the time of day: lines as people write them, and when they hold."""

from __future__ import annotations

import pytest

from peerpost.client import schedule

MON, FRI, SAT, SUN = 0, 4, 5, 6


def holds(text: str, day: int, clock: str) -> bool:
    hour, minute = clock.split(":")
    return schedule.parse(text).holds(day, int(hour) * 60 + int(minute))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (
            "08:00-18:00 up=1MB/s",
            [(SUN, "08:00"), (MON, "17:59")],
            [(MON, "07:59"), (MON, "18:00")],
        ),
        ("mon-fri 08:00-18:00 up=1MB/s", [(FRI, "12:00")], [(SAT, "12:00"), (SUN, "12:00")]),
        ("sat+SUN 00:00-24:00 up=off", [(SAT, "00:00"), (SUN, "23:59")], [(FRI, "23:59")]),
        (
            "fri 22:00-06:00 up=off",
            [(FRI, "22:00"), (SAT, "05:59")],
            [(SAT, "06:00"), (FRI, "05:59")],
        ),
        ("sat-mon 10:00-11:00 up=1", [(SUN, "10:00"), (MON, "10:59")], [(FRI, "10:30")]),
        ("sun 23:00-01:00 up=1", [(MON, "00:30")], [(SUN, "00:30")]),
        ("00:00-00:00 up=1", [(MON, "00:00"), (SUN, "23:59")], []),
    ],
)
def test_when_a_window_holds(
    text: str, inside: list[tuple[int, str]], outside: list[tuple[int, str]]
) -> None:
    assert all(holds(text, *when) for when in inside)
    assert not any(holds(text, *when) for when in outside)


def test_what_a_window_says() -> None:
    window = schedule.parse("08:00-18:00 up=1.5MB/s down=off messages=50/s")
    assert window.limits == {"up_bytes_s": 1_500_000, "down_bytes_s": None, "messages_s": 50}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "write .* HH:MM-HH:MM up=RATE"),
        ("08:00-18:00", "write .* HH:MM-HH:MM up=RATE"),
        ("mo 08:00-18:00 up=1", "'mo' is no day"),
        ("mon- 08:00-25:00 up=1", "'25:00' is no time of day"),
        ("8:00-18:00 up=1", "'8:00' is no time of day"),
        ("08:00 up=1", "'' is no time of day"),
        ("08:00-18:00 left=1", "'left=1' is no limit"),
        ("08:00-18:00 up=fast", "'fast' is not a size"),
        ("08:00-18:00 up=0", "a limit is positive"),
        ("08:00-18:00 up", "'up' is no limit"),
    ],
)
def test_what_is_no_schedule(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        schedule.parse(text)
