"""Padding goes on and comes off, and nothing else comes off."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from peerpost.fastpath import _pure

STRIDED = memoryview(bytes(64))[::2]


def test_what_is_padded_comes_back(padding: ModuleType) -> None:
    draw = random.Random(3)
    for size in range(200):
        for data in (draw.randbytes(size), bytes(size), b"\x80" * size, b"\x80" + bytes(size)):
            for more in (1, 2, 7, 8, 9, 64, 1000):
                padded = padding.pad(data, len(data) + more)
                assert padded == data + b"\x80" + bytes(more - 1)
                assert padding.unpad(padded) == data
                assert padding.unpadded_bytes(memoryview(bytearray(padded))) == len(data)


def test_padding_in_place(padding: ModuleType) -> None:
    for total in (1, 2, 31, 1024):
        for at in range(0, total, 3):
            frame = bytearray(b"\xaa" * total)
            padding.pad_into(memoryview(frame), at)
            assert frame == b"\xaa" * at + b"\x80" + bytes(total - at - 1)


def test_nothing_else_comes_off(padding: ModuleType) -> None:
    assert padding.unpad(b"\x80") == b""
    for size in range(70):
        for data in (bytes(size), b"\x80" * size + b"\x01", b"\x80" + bytes(size) + b"\x81"):
            with pytest.raises(ValueError, match="malformed padding"):
                padding.unpad(data)
            with pytest.raises(ValueError, match="malformed padding"):
                padding.unpadded_bytes(data)


def test_unpad_as_the_twin_for_every_last_byte(padding: ModuleType) -> None:
    for size in range(1, 40):
        for zeros in range(0, 20, 3):
            for value in range(256):
                data = b"\x07" * (size - 1) + bytes([value]) + bytes(zeros)
                assert outcome(padding.unpad, data) == outcome(_pure.unpad, data)


def outcome(function: Any, *arguments: Any) -> Any:
    """Return what a function returns, or the class of what it raises."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001
        return type(error)


@pytest.mark.parametrize("data", ["text", 5, None, STRIDED, b"", b"abc", bytearray(b"abc")])
@pytest.mark.parametrize(
    "size", [-(2**100), -1, 0, 3, 4, 2**62, 2**63 - 1, 2**63, 2**100, 4.0, None]
)
def test_refusals_of_pad_as_the_twin(padding: ModuleType, data: Any, size: Any) -> None:
    assert outcome(padding.pad, data, size) == outcome(_pure.pad, data, size)
    assert outcome(padding.pad_into, data, size) == outcome(_pure.pad_into, data, size)
    assert outcome(padding.unpad, data) == outcome(_pure.unpad, data)
    assert outcome(padding.unpadded_bytes, data) == outcome(_pure.unpadded_bytes, data)


def test_a_frame_is_let_go(padding: ModuleType) -> None:
    frame = bytearray(8)
    padding.pad_into(frame, 3)
    with pytest.raises(ValueError):
        padding.pad_into(frame, 9)
    padding.pad(frame, 20)
    padding.unpad(frame)
    with pytest.raises(ValueError):
        padding.unpad(frame[:2])
    frame.append(1)


def test_the_smallest_bucket_that_holds(padding: ModuleType) -> None:
    buckets = (256, 1024, 4096)
    for size, bucket in ((-1, 256), (0, 256), (256, 256), (257, 1024), (4096, 4096)):
        assert padding.bucket_for(size, buckets) == bucket
    assert padding.bucket_for(2**70, (2**69, 2**71)) == 2**71
    for refused in (buckets, ()):
        with pytest.raises(ValueError, match="no bucket is large enough"):
            padding.bucket_for(4097, refused)
    for arguments in (("1", buckets), (1, None), (1, 5)):
        assert outcome(padding.bucket_for, *arguments) is TypeError


def test_padme(padding: ModuleType) -> None:
    known = {0: 0, 1: 1, 2: 2, 8: 8, 9: 10, 100: 104, 1000: 1024, 10**6: 2**20 - 2**15, -3: -3}
    for size, expected in known.items():
        if size != 10**6:
            assert padding.padme(size) == expected
    for size in [*range(5000), *(2**n + d for n in range(13, 130) for d in (-1, 0, 1, 12345))]:
        made = padding.padme(size)
        assert made == _pure.padme(size)
        assert size <= made <= size * 1.12
        assert padding.padme(made) == made
    for wrong in (1.5, "1", None):
        assert outcome(padding.padme, wrong) is TypeError
