"""Sizes and durations, in and out."""

from __future__ import annotations

import pytest

from peerpost.client.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65536),
        ("12 B", 12),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1.5 mib", 1572864),
        ("2GB", 2_000_000_000),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1M", "1 Q", "1e9", "1,5MB", "0x10", "9" * 30, "9" * 19 + "TB"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("0.5", 0.5),
        ("30s", 30),
        ("250ms", 0.25),
        ("5min", 300),
        ("5 min", 300),
        ("1h30min", 5400),
        ("1h 30m", 5400),
        ("24H", 86400),
        ("14d", 14 * 86400),
        ("2w", 14 * 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "soon", "-5s", "5y", "1h30", "h", "999999999d", "inf", "nan", "1e3"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_duration(text)


def test_formats() -> None:
    assert [format_size(n) for n in (0, 1023, 1024, 10 << 20, (1 << 20) - 1, 5 << 40, 1 << 62)] == [
        "0 B",
        "1023 B",
        "1 KiB",
        "10 MiB",
        "1 MiB",
        "5 TiB",
        "4194304 TiB",
    ]
    assert [format_duration(s) for s in (0, 59, 60, 3599, 3600, 90000)] == [
        "0s",
        "59s",
        "1min",
        "59min",
        "1h",
        "1d",
    ]
