"""Calls drawn at random, right ones and wrong ones, end the same way in the twin and compiled.

PEERPOST_FUZZ_S makes the search as many seconds long, from a seed of its own.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from peerpost.fastpath import _pure

FUZZ_S = float(os.environ.get("PEERPOST_FUZZ_S", "0"))
pytestmark = pytest.mark.timeout(120 + FUZZ_S * 2)

ODD = [None, "text", 1.5, [], object(), b"", memoryview(bytes(60))[::3], (1, 2), True, -1, 2**100]
NUMBERS = [
    0,
    1,
    -1,
    2,
    7,
    64,
    65,
    2**31,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63),
    2**90,
]
PAINT = bytes(i % 251 for i in range(100_000))


def rounds(count: int) -> Iterator[random.Random]:
    """Yield a source of random numbers for each case."""
    seed = time.time_ns() if FUZZ_S else 0
    draw, ends = random.Random(seed), time.monotonic() + FUZZ_S
    done = 0
    while done < count or time.monotonic() < ends:
        yield draw
        done += 1
    if FUZZ_S:
        print(f"{done} cases from seed {seed}")  # noqa: T201


def outcome(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return what a call returns, or the class of what it raises."""
    try:
        return function(*arguments, **named)
    except Exception as error:  # noqa: BLE001
        return type(error)


def maybe_odd(draw: random.Random, value: Any) -> Any:
    return draw.choice(ODD + NUMBERS) if draw.random() < 0.02 else value


def data_of(draw: random.Random, most: int) -> Any:
    start = draw.randrange(100)
    data = memoryview(PAINT)[start : start + draw.randrange(most + 1)]
    return draw.choice([bytes, bytearray, memoryview])(data)


def tree_of(draw: random.Random) -> tuple[Any, ...]:
    most = (256, 256, 2**32, 256, 66, 2**64, 2)
    return tuple(maybe_odd(draw, draw.randrange(number)) for number in most)


def test_hashing(hashing: ModuleType) -> None:
    for draw in rounds(1500):
        size = draw.choice([draw.randrange(1, 40), draw.randrange(100, 300), 1024])
        # The small odd chunk sizes of ODD and NUMBERS must not make a leaf of every byte of much.
        data = maybe_odd(draw, data_of(draw, size * draw.randrange(20)))
        count = max(1, -(-len(data) // size)) if isinstance(data, bytes) else 3
        chunk_bytes = maybe_odd(draw, size)
        named = {
            "key": maybe_odd(draw, data_of(draw, 66)),
            "person": maybe_odd(draw, data_of(draw, 17)),
        }
        digested = {
            **named,
            "salt": maybe_odd(draw, data_of(draw, 17)),
            "digest_bytes": maybe_odd(draw, draw.randrange(0, 66)),
            "tree": maybe_odd(draw, draw.choice([None, tree_of(draw)])),
        }
        named["first_index"] = maybe_odd(draw, draw.getrandbits(draw.randrange(64)))
        named["last"] = maybe_odd(draw, draw.random() < 0.5)
        leaves = outcome(_pure.leaves, data, chunk_bytes, **named)
        if isinstance(leaves, type) or draw.random() < 0.3:
            leaves = maybe_odd(draw, bytes(32 * count))
        room = draw.choice([0, 100, 30_000])
        for name, arguments, keywords in (
            ("digests", (data, chunk_bytes), digested),
            ("leaves", (data, chunk_bytes), named),
            ("verify", (data, chunk_bytes, leaves), named),
        ):
            into = [bytearray(room), bytearray(room)] if draw.random() < 0.3 else [None, None]
            ours = outcome(getattr(hashing, name), *arguments, **keywords, into=into[0])
            twin = outcome(getattr(_pure, name), *arguments, **keywords, into=into[1])
            assert ours == twin, (name, arguments, keywords, room)
            if name != "verify" or twin == -1:
                assert into[0] == into[1]


def test_padding(padding: ModuleType) -> None:
    for draw in rounds(10_000):
        data = maybe_odd(draw, data_of(draw, 70))
        if isinstance(data, bytearray) and data:
            data[draw.randrange(len(data)) :] = b"\x80" + bytes(draw.randrange(20))
        size = draw.choice([draw.randrange(100), draw.choice(NUMBERS[:5]), draw.choice(ODD)])
        assert outcome(padding.pad, data, size) == outcome(_pure.pad, data, size)
        assert outcome(padding.unpad, data) == outcome(_pure.unpad, data)
        assert outcome(padding.unpadded_bytes, data) == outcome(_pure.unpadded_bytes, data)
        frames = [bytearray(PAINT[:50]), bytearray(PAINT[:50])]
        assert outcome(padding.pad_into, frames[0], size) == outcome(
            _pure.pad_into, frames[1], size
        )
        assert frames[0] == frames[1]
        number = draw.choice([draw.getrandbits(draw.randrange(1, 100)), draw.choice(ODD + NUMBERS)])
        assert outcome(padding.padme, number) == outcome(_pure.padme, number)


def test_buckets(bucket_class: type[_pure.TokenBucket]) -> None:
    for draw in rounds(1000):

        def number(draw: random.Random = draw) -> Any:
            if draw.random() < 0.1:
                return draw.choice(ODD + NUMBERS)
            return draw.getrandbits(draw.randrange(1, 64)) * draw.choice([1, 1, 1, 1, -1])

        pair = []
        made = (number(), number(), number())
        for kind in (bucket_class, _pure.TokenBucket):
            above = kind(10**9, 2**40, 0)
            bucket = outcome(kind, *made, above)
            pair.append(bucket)
        if isinstance(pair[0], type) or isinstance(pair[1], type):
            assert pair[0] == pair[1]
            continue
        for _ in range(10):
            name, count = draw.choice(
                [("take", 2), ("wait_time", 2), ("set_rate", 3), ("level", 1)]
            )
            arguments = [number() for _ in range(count)]
            ours, twin = (outcome(getattr(bucket, name), *arguments) for bucket in pair)
            assert ours == twin, (made, name, arguments)
