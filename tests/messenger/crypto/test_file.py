from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from peerpost import fastpath
from peerpost.crypto import file
from peerpost.errors import ProtocolError
from tests.support.chunk import open_chunk, root

KEY, ID = b"k" * 32, b"i" * 16


def leaf_of(data: bytes, index: int, last: bool) -> bytes:
    """Return the leaf as hashlib makes it, in one call."""
    return hashlib.blake2b(
        data,
        digest_size=32,
        key=file.leaf_key(KEY),
        salt=index.to_bytes(8, "little") + bytes([last]) + bytes(7),
        person=file.LEAF_PERSON,
    ).digest()


def seal_with_sodium(index: int, last: bool, leaf: bytes, data: bytes) -> bytes:
    """Seal a chunk with libsodium: the twin of seal_chunk."""
    return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
        data,
        ID + index.to_bytes(8, "big") + bytes([last]),
        bytes(12),
        file.chunk_key(KEY, index, leaf),
    )


@settings(max_examples=60)
@given(st.binary(max_size=3000), st.integers(0, 2**26), st.booleans())
def test_both_libraries_agree_and_it_opens(data: bytes, index: int, last: bool) -> None:
    leaf = leaf_of(data, index, last)
    sealed = file.seal_chunk(KEY, ID, index, last, leaf, data)
    assert sealed == seal_with_sodium(index, last, leaf, data)
    assert open_chunk(KEY, ID, index, last, leaf, sealed) == data


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 16384, 262144, 1 << 20])
def test_lengths(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    leaf = leaf_of(data, 3, False)
    sealed = file.seal_chunk(KEY, ID, 3, False, leaf, memoryview(data))
    assert sealed == seal_with_sodium(3, False, leaf, data)
    assert open_chunk(KEY, ID, 3, False, leaf, bytearray(sealed)) == data


def test_leaves_are_what_one_hashlib_call_makes() -> None:
    data = bytes(i % 251 for i in range(3 * 4096 + 5))
    made = fastpath.leaves(
        data, 4096, key=file.leaf_key(KEY), person=file.LEAF_PERSON, first_index=7, last=True
    )
    pieces = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    assert made == b"".join(leaf_of(piece, 7 + i, i == 3) for i, piece in enumerate(pieces))


def test_everything_is_bound() -> None:
    data = b"some chunk"
    leaf = leaf_of(data, 1, False)
    sealed = file.seal_chunk(KEY, ID, 1, False, leaf, data)
    wrong = [
        (b"K" * 32, ID, 1, False, leaf),
        (KEY, b"I" * 16, 1, False, leaf),
        (KEY, ID, 2, False, leaf),
        (KEY, ID, 1, True, leaf),
        (KEY, ID, 1, False, leaf_of(data, 1, True)),
    ]
    for key, file_id, index, last, other in wrong:
        with pytest.raises(ProtocolError):
            open_chunk(key, file_id, index, last, other, sealed)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            open_chunk(KEY, ID, 1, False, leaf, changed)


@pytest.mark.parametrize("size", [0, 15])
def test_lengths_that_no_chunk_has(size: int) -> None:
    with pytest.raises(ProtocolError):
        open_chunk(KEY, ID, 0, False, bytes(32), bytes(size))


def test_a_changed_source_never_meets_the_same_key() -> None:
    assert file.chunk_key(KEY, 0, leaf_of(b"before", 0, True)) != file.chunk_key(
        KEY, 0, leaf_of(b"after", 0, True)
    )


def test_the_root_depends_on_the_leaves_and_is_no_leaf() -> None:
    a, b = leaf_of(b"a", 0, False), leaf_of(b"b", 1, True)
    assert len({root(a + b), root(b + a), root(a), leaf_of(a + b, 0, True)}) == 4
    assert root(memoryview(a + b)) == root(a + b)


def test_opening_into_a_buffer_gives_the_same_bytes() -> None:
    data = bytes(i % 251 for i in range(5000))
    leaf = leaf_of(data, 2, True)
    sealed = file.seal_chunk(KEY, ID, 2, True, leaf, data)
    out = bytearray(len(data) + 10)
    file.open_chunk_into(KEY, ID, 2, True, leaf, sealed, memoryview(out)[5:-5])
    assert out == bytes(5) + data + bytes(5)
    for size in (len(data) - 1, len(data) + 1):
        with pytest.raises(ProtocolError):
            file.open_chunk_into(KEY, ID, 2, True, leaf, sealed, memoryview(bytearray(size)))
    with pytest.raises(ProtocolError):
        file.open_chunk_into(KEY, ID, 2, True, leaf, sealed[:-1] + b"\0", memoryview(out)[5:-5])
    with pytest.raises(ProtocolError):
        file.open_chunk_into(KEY, ID, 2, True, leaf, b"short", memoryview(bytearray()))
