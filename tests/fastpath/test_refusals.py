"""What is refused, and by which exception, is the same for the twin and for the compiled form."""

from __future__ import annotations

import array
import ctypes
from types import ModuleType
from typing import Any

import pytest

from peerpost.fastpath import _pure

KNOWN: dict[str, Any] = {"key": b"k", "person": b"p", "first_index": 0, "last": True}
DATA = bytes(range(200)) * 20
STRIDED = memoryview(DATA)[::2]
HUGE = 2**100
NO_BUFFERS = ["text", 5, None, [1, 2]]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        *(({"data": data}, TypeError) for data in NO_BUFFERS),
        ({"data": STRIDED}, BufferError),
        *(({"chunk_bytes": size}, ValueError) for size in (0, -1, -HUGE)),
        *(({"chunk_bytes": size}, TypeError) for size in (1.0, "1", None)),
        *(({"key": key}, ValueError) for key in (bytes(65), bytearray(1000))),
        *(({"key": key}, TypeError) for key in NO_BUFFERS),
        ({"key": STRIDED}, BufferError),
        ({"person": bytes(17)}, ValueError),
        ({"person": None}, TypeError),
        *(({"first_index": at}, OverflowError) for at in (-1, 2**64, -HUGE, HUGE)),
        *(({"first_index": at}, TypeError) for at in (0.0, None)),
        *(({"into": into}, TypeError) for into in ("text", 5)),
        *(({"into": into}, BufferError) for into in (DATA, memoryview(DATA))),
        ({"into": memoryview(bytearray(2 * len(DATA)))[::2]}, BufferError),
        ({"into": bytearray(len(DATA) - 1)}, ValueError),
    ],
)
def test_leaves_and_verify_refuse(
    hashing: ModuleType, changed: dict[str, Any], error: type[Exception]
) -> None:
    arguments = {"data": DATA, "chunk_bytes": 1000, **KNOWN, **changed}
    data, size = arguments.pop("data"), arguments.pop("chunk_bytes")
    with pytest.raises(error) as refused:
        hashing.leaves(data, size, **arguments)
    assert refused.type is error
    with pytest.raises(error) as refused:
        hashing.verify(data, size, bytes(128), **arguments)
    assert refused.type is error


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        *(({"digest_bytes": size}, ValueError) for size in (0, 65, -1, HUGE, -HUGE)),
        *(({"digest_bytes": size}, TypeError) for size in (32.0, None)),
        ({"salt": bytes(17)}, ValueError),
        ({"salt": "salt"}, TypeError),
        ({"key": bytes(65)}, ValueError),
        ({"into": bytearray(1)}, ValueError),
        *(({"tree": tree}, TypeError) for tree in (5, (2, 2, 0, 0, None, 0, True))),
        *(({"tree": tree}, ValueError) for tree in ((), (1,) * 6, (1,) * 8)),
        *(({"tree": (n, 2, 0, 0, 64, 0, True)}, ValueError) for n in (-1, 256, HUGE)),
        *(({"tree": (2, n, 0, 0, 64, 0, True)}, ValueError) for n in (0, 256)),
        *(({"tree": (2, 2, n, 0, 64, 0, True)}, ValueError) for n in (-1, 2**32)),
        *(({"tree": (2, 2, 0, n, 64, 0, True)}, ValueError) for n in (-1, 256)),
        *(({"tree": (2, 2, 0, 0, n, 0, True)}, ValueError) for n in (-1, 65)),
        *(({"tree": (2, 2, 0, 0, 64, n, True)}, OverflowError) for n in (-1, 2**64 - 3)),
    ],
)
def test_digests_refuses(
    hashing: ModuleType, changed: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as refused:
        hashing.digests(DATA, 1000, **changed)
    assert refused.type is error


@pytest.mark.parametrize("leaves", [b"", bytes(127), bytes(129), bytes(160)])
def test_verify_wants_one_leaf_for_each_chunk(hashing: ModuleType, leaves: bytes) -> None:
    with pytest.raises(ValueError, match="one leaf of 32 bytes for each chunk"):
        hashing.verify(DATA, 1000, leaves, **KNOWN)


def test_whatever_holds_bytes_is_taken(hashing: ModuleType) -> None:
    expected = _pure.digests(DATA, 999)
    rows = (ctypes.c_uint32 * 10 * 100).from_buffer_copy(DATA)
    numbers = array.array("I", DATA)
    for data in (bytearray(DATA), memoryview(DATA), numbers, rows):
        assert hashing.digests(data, 999) == expected
    assert hashing.digests(DATA, HUGE) == _pure.digests(DATA, len(DATA))
    into = (ctypes.c_uint32 * 1000)()
    assert hashing.digests(DATA, 999, into=into) == expected
    assert bytes(into) == DATA
    assert hashing.digests(array.array("I"), 999, key=bytearray(b"k")) == _pure.digests(
        b"", 999, key=b"k"
    )


def test_a_buffer_is_let_go(hashing: ModuleType) -> None:
    data, into = bytearray(DATA), bytearray(len(DATA))
    hashing.leaves(data, 1000, into=into, **KNOWN)
    with pytest.raises(ValueError):
        hashing.leaves(data, 0, **KNOWN)
    with pytest.raises(TypeError):
        hashing.leaves(data, 1000, into=into, **{**KNOWN, "first_index": None})
    with pytest.raises(ValueError):
        hashing.verify(data, 1000, bytearray(3), **KNOWN)
    data.append(0)  # a BufferError if anyone held it
    into.append(0)


def test_kernels_by_name(hashing: ModuleType) -> None:
    before = hashing.kernel()
    assert before in hashing.kernels()
    with pytest.raises(ValueError, match=r"hash kernel 'sse9'"):
        hashing.use_kernel("sse9")
    absent = {"portable", "neon", "avx2", "avx512"} - set(hashing.kernels())
    for name in absent:
        with pytest.raises(RuntimeError, match=name):
            hashing.use_kernel(name)
    assert hashing.kernel() == before
    hashing.use_kernel("")
    assert hashing.kernel() == hashing.kernels()[-1]
