"""Readable reference of the native functions: the oracle they are tested against, their fallback, their types.

This module defines what a function accepts and refuses. It checks in the same order as the native one.
"""

from __future__ import annotations

import ctypes
import hmac
from collections.abc import Iterator
from hashlib import blake2b
from operator import index
from typing import Any, NamedTuple

from typing_extensions import Buffer

from ._pure_bucket import TokenBucket

__all__ = [
    "TokenBucket",
    "Tree",
    "bucket_for",
    "cut",
    "digests",
    "kernel",
    "kernels",
    "leaf_salt",
    "leaves",
    "pad",
    "pad_into",
    "padme",
    "unpad",
    "unpadded_bytes",
    "use_kernel",
    "verify",
]

LEAF_BYTES = 32
_MAX_INDEX = 2**64 - 1  # a leaf's salt has eight bytes for it


# --- kernels ------------------------------------------------------------------------------------


def kernels() -> tuple[str, ...]:
    """Return the names of the hash kernels that this machine runs, the best one last."""
    return ("pure",)


def kernel() -> str:
    """Return the name of the hash kernel in use."""
    return "pure"


def use_kernel(name: str) -> None:
    """Hash with another kernel from now on, in every thread; with "" by the best one.

    Raises ValueError for one that does not exist, RuntimeError for one that cannot run here.
    """
    if name not in {"", "pure"}:
        known = name in {"portable", "neon", "avx2", "avx512"}
        error = RuntimeError if known else ValueError
        raise error(f"the pure twin serves, which has no hash kernel {name!r}")


# --- hashing many chunks -----------------------------------------------------------------------


def leaf_salt(index: int, last: bool) -> bytes:
    """Return the 16-byte salt of a leaf: u64 little-endian index, 1 for the last chunk, zeros."""
    return index.to_bytes(8, "little") + bytes([bool(last)]) + bytes(7)


def cut(data: Buffer, chunk_bytes: int) -> list[memoryview]:
    """Return the chunks of data as views, the last perhaps short; one empty chunk for no data."""
    view = _view(data)
    size = _chunk_bytes(chunk_bytes)
    return [view[at : at + size] for at in range(0, len(view), size)] or [view]


class Tree(NamedTuple):
    """What makes the chunks nodes of one level of a tree hash (section 2.10 of the BLAKE2 paper)."""

    fanout: int
    depth: int
    leaf_bytes: int
    node_depth: int
    inner_bytes: int
    first_node: int
    """Offset of the first chunk; the others follow."""
    last: bool
    """Whether the final chunk is the last node of its level."""


def digests(
    data: Buffer,
    chunk_bytes: int,
    *,
    digest_bytes: int = 32,
    key: Buffer = b"",
    salt: Buffer = b"",
    person: Buffer = b"",
    tree: Tree | None = None,
    into: Buffer | None = None,
) -> bytes:
    """Return the BLAKE2b digest of each chunk of data, concatenated.

    The chunks are also written to `into`, where it is given. Runs without the GIL when compiled.
    """
    chunks = cut(data, chunk_bytes)
    if not 1 <= (size := index(digest_bytes)) <= 64:
        raise ValueError("a digest has 1 to 64 bytes")
    key, salt, person = _short(key, 64), _short(salt, 16), _short(person, 16)
    known: dict[str, Any] = {"digest_size": size, "key": key, "salt": salt, "person": person}
    nodes: list[dict[str, Any]]
    nodes = [{}] * len(chunks) if tree is None else _nodes(_tree(tree, len(chunks)), len(chunks))
    target = _target(into, chunks)
    made = b"".join(
        blake2b(chunk, **known, **node).digest() for chunk, node in zip(chunks, nodes, strict=True)
    )
    _copy(target, chunks)
    return made


def leaves(
    data: Buffer,
    chunk_bytes: int,
    *,
    key: Buffer,
    person: Buffer,
    first_index: int,
    last: bool,
    into: Buffer | None = None,
) -> bytes:
    """Return the 32-byte keyed leaf of each chunk of data, concatenated.

    `last` says that the final chunk of data is the last of the file. The chunks are also written
    to `into`, where it is given.
    """
    chunks = cut(data, chunk_bytes)
    key, person = _short(key, 64), _short(person, 16)
    first = _first_index(first_index, len(chunks))
    target = _target(into, chunks)
    made = b"".join(_leaves(chunks, key, person, first, last))
    _copy(target, chunks)
    return made


def verify(
    data: Buffer,
    chunk_bytes: int,
    leaves: Buffer,
    *,
    key: Buffer,
    person: Buffer,
    first_index: int,
    last: bool,
    into: Buffer | None = None,
) -> int:
    """Return the position in data of the first chunk whose leaf differs, or -1.

    The chunks before it are also written to `into`, where it is given; what stands there after
    them is undefined.
    """
    chunks = cut(data, chunk_bytes)
    expected = bytes(_view(leaves))
    if len(expected) != LEAF_BYTES * len(chunks):
        raise ValueError("one leaf of 32 bytes for each chunk")
    key, person = _short(key, 64), _short(person, 16)
    first = _first_index(first_index, len(chunks))
    target = _target(into, chunks)
    bad = -1
    for at, leaf in enumerate(_leaves(chunks, key, person, first, last)):
        if leaf != expected[LEAF_BYTES * at : LEAF_BYTES * (at + 1)]:
            bad = at
            break
    _copy(target, chunks)
    return bad


def _tree(tree: Tree, chunks: int) -> Tree:
    """Return the parameters of a tree, after checking their ranges."""
    fanout, depth, leaf_bytes, node_depth, inner_bytes, first, last = tree
    return Tree(
        _limited(fanout, 0, 255),
        _limited(depth, 1, 255),
        _limited(leaf_bytes, 0, 2**32 - 1),
        _limited(node_depth, 0, 255),
        _limited(inner_bytes, 0, 64),
        _first_index(first, chunks),
        bool(last),
    )


def _nodes(tree: Tree, chunks: int) -> list[dict[str, Any]]:
    """Return hashlib's parameters for the position of each chunk."""
    common = {"fanout": tree.fanout, "depth": tree.depth, "leaf_size": tree.leaf_bytes}
    common |= {"node_depth": tree.node_depth, "inner_size": tree.inner_bytes}
    return [
        {**common, "node_offset": tree.first_node + at, "last_node": tree.last and at == chunks - 1}
        for at in range(chunks)
    ]


def _limited(value: int, least: int, most: int) -> int:
    if not least <= (value := index(value)) <= most:
        raise ValueError("a parameter of the tree is out of range")
    return value


def _leaves(
    chunks: list[memoryview], key: bytes, person: bytes, first: int, last: bool
) -> Iterator[bytes]:
    end = len(chunks) - 1
    for at, chunk in enumerate(chunks):
        salt = leaf_salt(first + at, last and at == end)
        yield blake2b(chunk, digest_size=LEAF_BYTES, key=key, salt=salt, person=person).digest()


def _view(data: Buffer) -> memoryview:
    """Return a view of a buffer as bytes. The buffer must be contiguous, because it is not copied."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer must be contiguous")
    if not view.nbytes:
        return memoryview(b"")
    try:
        return view.cast("B")
    except ValueError:  # a format that cast() does not know, such as that of a ctypes array
        return memoryview(view.tobytes())


def _chunk_bytes(size: int) -> int:
    if (size := index(size)) <= 0:
        raise ValueError("chunk_bytes must be positive")
    return size


def _short(parameter: Buffer, most_bytes: int) -> bytes:
    view = _view(parameter)
    if len(view) > most_bytes:
        raise ValueError("a key has at most 64 bytes, a salt and a person 16")
    return bytes(view)


def _first_index(first: int, chunks: int) -> int:
    first = index(first)
    if not 0 <= first <= _MAX_INDEX - (chunks - 1):
        raise OverflowError("the index of a chunk has 64 bits")
    return first


def _target(into: Buffer | None, chunks: list[memoryview]) -> memoryview | None:
    """Return a view of the buffer to copy the chunks to, after checking it."""
    if into is None:
        return None
    target = memoryview(into)
    if target.readonly or not target.c_contiguous:
        raise BufferError("the buffer to copy into must be writable and contiguous")
    if target.nbytes < sum(len(chunk) for chunk in chunks):
        raise ValueError("the buffer to copy into is too small")
    return target


def _copy(target: memoryview | None, chunks: list[memoryview]) -> None:
    if target is not None and (data := b"".join(chunks)):
        # Through ctypes, because bytes cannot be assigned to a memoryview of another format.
        ctypes.memmove((ctypes.c_char * len(data)).from_buffer(target), data, len(data))


# --- padding -----------------------------------------------------------------------------------


def bucket_for(size: int, buckets: tuple[int, ...]) -> int:
    """Return the smallest bucket that holds size. Raises ValueError if none does."""
    for bucket in buckets:
        if bucket >= size:
            return bucket
    raise ValueError("no bucket is large enough")


def pad(data: Buffer, total_bytes: int) -> bytes:
    """Return data padded to total_bytes by 0x80 and zeros (ISO/IEC 7816-4)."""
    view = _view(data)
    fill = index(total_bytes) - len(view) - 1
    if fill < 0:
        raise ValueError("the padded size must be larger than the data")
    return b"".join((view, b"\x80", bytes(fill)))


def pad_into(frame: Buffer, data_bytes: int) -> None:
    """Pad in place what the first data_bytes of a frame hold, to the size of the frame."""
    view = memoryview(frame)
    if view.readonly or not view.c_contiguous:
        raise BufferError("the frame must be writable and contiguous")
    if not 0 <= (at := index(data_bytes)) < view.nbytes:
        raise ValueError("the padded size must be larger than the data")
    place = (ctypes.c_char * view.nbytes).from_buffer(view)
    ctypes.memmove(ctypes.byref(place, at), b"\x80" + bytes(view.nbytes - at - 1), view.nbytes - at)


def unpadded_bytes(data: Buffer) -> int:
    """Return how many bytes stand before the padding. Raises ValueError if `pad` made none.

    When compiled it takes the same time for all data of one size.
    """
    view = bytes(_view(data))
    end = len(view.rstrip(b"\0"))
    if not end or not hmac.compare_digest(view[end - 1 : end], b"\x80"):
        raise ValueError("malformed padding")
    return end - 1


def unpad(data: Buffer) -> bytes:
    """Return what `pad` was given. Raises ValueError for anything that it cannot have made."""
    return bytes(_view(data)[: unpadded_bytes(data)])


def padme(size: int) -> int:
    """Return the Padmé size that hides size: at most 12 % more (Nikitin et al., PETS 2019)."""
    size = index(size)
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask
