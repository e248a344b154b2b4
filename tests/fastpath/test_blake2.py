"""Many chunks hashed at once are what hashlib makes of each, whatever the kernel."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import ModuleType

import pytest

from peerpost.fastpath import LANES, Tree, leaf_salt
from tests.support.foreign_vectors import Ran, blake2b_chain
from tests.support.foreign_vectors import blake2b as official_answers

KEY, PERSON = bytes(range(40, 72)), b"peerpost/v1/leaf"
# Painted with a prime period: lanes or blocks that change places show.
PAINT = bytes(i % 251 for i in range(1 << 20))


def chunks_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


def leaf_of(chunk: bytes, index: int, last: bool) -> bytes:
    salt = leaf_salt(index, last)
    return blake2b(chunk, digest_size=32, key=KEY, salt=salt, person=PERSON).digest()


def leaves_of(data: bytes, size: int, first: int, *, last: bool) -> bytes:
    chunks = chunks_of(data, size)
    end = len(chunks) - 1
    return b"".join(leaf_of(c, first + i, last and i == end) for i, c in enumerate(chunks))


def borders() -> Iterator[tuple[int, int]]:
    """Yield (chunk size, bytes of data) around the borders of blocks, chunks and lanes."""
    for size in (1, 7, 64, 127, 128, 129, 255, 256, 257, 384, 1000):
        for count in range(20):
            for rest in {0, 1, size // 2, size - 1}:
                yield size, count * size + rest


def test_the_official_answers(hashing: ModuleType, ran: Ran) -> None:
    cases = 0
    for data, key, expected in official_answers():
        cases += 1
        # Alone, and in every lane of a full batch.
        assert hashing.digests(data, 1000, digest_bytes=64, key=key) == expected
        if data:
            made = hashing.digests(data * 8, len(data), digest_bytes=64, key=key)
            assert made == expected * 8
    assert cases == 256
    ran(cases)


@pytest.mark.parametrize("name", ["tv1.txt", "tv2.txt"])
def test_every_size_of_a_digest_and_of_a_key(hashing: ModuleType, name: str, ran: Ran) -> None:
    """Each answer is the last of 100, each of which hashes those before it, the latest first."""
    answers = blake2b_chain(name)
    for size, expected in enumerate(answers, 1):
        key, digest_bytes = (b"", size) if name == "tv1.txt" else (b"A" * size, 64)
        data, digest = b"", b""
        for _ in range(100):
            digest = hashing.digests(data, 1 << 16, digest_bytes=digest_bytes, key=key)
            data = digest + data
        assert digest == expected, size
    assert len(answers) == 63
    ran(63)


def test_digests_at_the_borders(hashing: ModuleType) -> None:
    for size, total in borders():
        data = PAINT[3 : 3 + total]
        expected = b"".join(blake2b(c, digest_size=32).digest() for c in chunks_of(data, size))
        assert hashing.digests(data, size) == expected, (size, total)


def test_leaves_at_the_borders(hashing: ModuleType) -> None:
    for size, total in borders():
        data = PAINT[5 : 5 + total]
        for last in (False, True):
            made = hashing.leaves(
                data, size, key=KEY, person=PERSON, first_index=2**40 + 3, last=last
            )
            assert made == leaves_of(data, size, 2**40 + 3, last=last), (size, total)


def test_every_parameter(hashing: ModuleType) -> None:
    draw = random.Random(2)
    for _ in range(500):
        size = draw.choice([draw.randrange(1, 300), 4096])
        data = draw.randbytes(draw.randrange(size * 18 + 1))
        digest_bytes = draw.randrange(1, 65)
        key, salt, person = (draw.randbytes(draw.randrange(n + 1)) for n in (64, 16, 16))
        expected = b"".join(
            blake2b(c, digest_size=digest_bytes, key=key, salt=salt, person=person).digest()
            for c in chunks_of(data, size)
        )
        made = hashing.digests(
            data, size, digest_bytes=digest_bytes, key=key, salt=salt, person=person
        )
        assert made == expected


def test_nodes_of_a_tree(hashing: ModuleType) -> None:
    draw = random.Random(6)
    for _ in range(200):
        size = draw.randrange(1, 300)
        data = draw.randbytes(draw.randrange(size * 18 + 1))
        tree = Tree(
            fanout=draw.randrange(256),
            depth=draw.randrange(1, 256),
            leaf_bytes=draw.getrandbits(32),
            node_depth=draw.randrange(256),
            inner_bytes=draw.randrange(65),
            first_node=draw.getrandbits(64) >> 6,
            last=draw.random() < 0.5,
        )
        chunks = chunks_of(data, size)
        expected = b"".join(
            blake2b(
                chunk,
                digest_size=64,
                key=KEY,
                fanout=tree.fanout,
                depth=tree.depth,
                leaf_size=tree.leaf_bytes,
                node_offset=tree.first_node + at,
                node_depth=tree.node_depth,
                inner_size=tree.inner_bytes,
                last_node=tree.last and at == len(chunks) - 1,
            ).digest()
            for at, chunk in enumerate(chunks)
        )
        assert hashing.digests(data, size, digest_bytes=64, key=KEY, tree=tree) == expected


def test_unaligned_data(hashing: ModuleType) -> None:
    view = memoryview(PAINT)
    for shift in range(17):
        data = view[shift : shift + 11 * 640]
        assert hashing.digests(data, 640) == b"".join(
            blake2b(data[at : at + 640], digest_size=32).digest() for at in range(0, 11 * 640, 640)
        )


def test_verify_names_the_first_bad_chunk(hashing: ModuleType) -> None:
    for count in range(1, 20):
        data = PAINT[: count * 300 - 7]
        known = {"key": KEY, "person": PERSON, "first_index": 9, "last": True}
        leaves = leaves_of(data, 300, 9, last=True)
        assert hashing.verify(data, 300, leaves, **known) == -1
        for bad in range(count):
            spoiled = bytearray(data)
            spoiled[bad * 300 + 11] ^= 1
            spoiled[-1] ^= 128  # a later one is not the first
            assert hashing.verify(spoiled, 300, leaves, **known) == bad
            wrong = bytearray(leaves)
            wrong[32 * bad + 31] ^= 4
            assert hashing.verify(data, 300, bytes(wrong), **known) == bad
        assert hashing.verify(data, 300, leaves, **{**known, "last": False}) == count - 1
        assert hashing.verify(data, 300, leaves, **{**known, "first_index": 8}) == 0


@pytest.mark.parametrize("size", [1, 100, 128, 640, 5000])
def test_the_chunks_are_copied_while_hashed(hashing: ModuleType, size: int) -> None:
    for total in (0, 1, size, 3 * size, 8 * size, 19 * size - 1):
        data = PAINT[9 : 9 + total]
        known = {"key": KEY, "person": PERSON, "first_index": 0, "last": True}
        leaves = leaves_of(data, size, 0, last=True)
        into = bytearray(b"\xee") * (total + 33)
        assert hashing.leaves(data, size, into=memoryview(into)[1:], **known) == leaves
        assert into == b"\xee" + data + b"\xee" * 32
        into = bytearray(total)
        assert hashing.digests(data, size, into=into) == hashing.digests(data, size)
        assert into == data
        into = bytearray(total)
        assert hashing.verify(data, size, leaves, into=into, **known) == -1
        assert into == data


def test_what_stands_before_a_bad_chunk_is_copied(hashing: ModuleType) -> None:
    data = PAINT[: 12 * 256]
    leaves = bytearray(leaves_of(data, 256, 0, last=False))
    leaves[32 * 10] ^= 1
    into = bytearray(len(data))
    bad = hashing.verify(
        data, 256, leaves, key=KEY, person=PERSON, first_index=0, last=False, into=into
    )
    assert bad == 10
    assert into[: 10 * 256] == data[: 10 * 256]


@pytest.mark.parametrize("shift", [-700, -1, 0, 1, 700])
def test_a_copy_over_the_data_itself(hashing: ModuleType, shift: int) -> None:
    memory = bytearray(PAINT[: 1000 + 9 * 512])
    view = memoryview(memory)
    data = view[800 : 800 + 8 * 512]
    expected = hashing.digests(data, 512)
    before = bytes(data)
    assert hashing.digests(data, 512, into=view[800 + shift :]) == expected
    assert bytes(view[800 + shift : 800 + shift + len(before)]) == before


def test_the_largest_index(hashing: ModuleType) -> None:
    data = PAINT[:640]
    made = hashing.leaves(data, 64, key=KEY, person=PERSON, first_index=2**64 - 10, last=True)
    assert made == leaves_of(data, 64, 2**64 - 10, last=True)
    with pytest.raises(OverflowError):
        hashing.leaves(data, 64, key=KEY, person=PERSON, first_index=2**64 - 9, last=True)


def test_lanes_are_those_of_the_widest_kernel() -> None:
    header = Path(__file__).parents[2] / "fastpath" / "src" / "b2_many.h"
    assert f"#define B2_MAX_LANES {LANES}\n" in header.read_text()
