"""Readable reference of the native functions: the oracle they are tested against, their fallback, their types."""

from __future__ import annotations

import hmac
from hashlib import blake2b

from typing_extensions import Buffer

__all__ = ["bucket_for", "cut", "digests", "leaf_salt", "leaves", "pad", "padme", "unpad", "verify"]


def leaf_salt(index: int, last: bool) -> bytes:  # noqa: FBT001
    """Return the 16-byte salt of a leaf: u64 little-endian index, 1 for the last chunk, zeros."""
    return index.to_bytes(8, "little") + bytes([last]) + bytes(7)


def cut(data: Buffer, chunk_bytes: int) -> list[memoryview]:
    """Return the chunks of data as views, the last perhaps short; one empty chunk for no data."""
    if chunk_bytes <= 0:
        raise ValueError("chunk_bytes must be positive")
    view = memoryview(data).cast("B")
    return [view[at : at + chunk_bytes] for at in range(0, len(view), chunk_bytes)] or [view]


def digests(
    data: Buffer,
    chunk_bytes: int,
    *,
    digest_bytes: int = 32,
    key: bytes = b"",
    salt: bytes = b"",
    person: bytes = b"",
) -> bytes:
    """Return the BLAKE2b digest of each chunk of data, concatenated."""
    return b"".join(
        blake2b(chunk, digest_size=digest_bytes, key=key, salt=salt, person=person).digest()
        for chunk in cut(data, chunk_bytes)
    )


def leaves(
    data: Buffer, chunk_bytes: int, *, key: bytes, person: bytes, first_index: int, last: bool
) -> bytes:
    """Return the 32-byte keyed leaf of each chunk of data, concatenated.

    `last` says that the final chunk of data is the last of the file.
    """
    chunks = cut(data, chunk_bytes)
    end = len(chunks) - 1
    return b"".join(
        blake2b(
            chunk,
            digest_size=32,
            key=key,
            salt=leaf_salt(first_index + at, last and at == end),
            person=person,
        ).digest()
        for at, chunk in enumerate(chunks)
    )


def verify(
    data: Buffer,
    chunk_bytes: int,
    leaves: bytes,  # noqa: A002
    *,
    key: bytes,
    person: bytes,
    first_index: int,
    last: bool,
) -> int:
    """Return the place in data of the first chunk whose leaf is another, or -1."""
    chunks = cut(data, chunk_bytes)
    if len(leaves) != 32 * len(chunks):
        raise ValueError("one leaf of 32 bytes for each chunk")
    end = len(chunks) - 1
    for at, chunk in enumerate(chunks):
        salt = leaf_salt(first_index + at, last and at == end)
        leaf = blake2b(chunk, digest_size=32, key=key, salt=salt, person=person).digest()
        if leaf != leaves[32 * at : 32 * at + 32]:
            return at
    return -1


def bucket_for(size: int, buckets: tuple[int, ...]) -> int:
    """Return the smallest bucket that holds size. Raises ValueError where none does."""
    for bucket in buckets:
        if bucket >= size:
            return bucket
    raise ValueError("no bucket is large enough")


def pad(data: bytes, total_bytes: int) -> bytes:
    """Return data padded to total_bytes by 0x80 and zeros (ISO/IEC 7816-4)."""
    fill = total_bytes - len(data) - 1
    if fill < 0:
        raise ValueError("the padded size must be larger than the data")
    return data + b"\x80" + bytes(fill)


def unpad(data: bytes) -> bytes:
    """Return what `pad` was given. Raises ValueError for anything that it cannot have made."""
    end = len(data.rstrip(b"\0"))
    if not end or not hmac.compare_digest(data[end - 1 : end], b"\x80"):
        raise ValueError("malformed padding")
    return data[: end - 1]


def padme(size: int) -> int:
    """Return the Padmé size that hides size: at most 12 % more (Nikitin et al., PETS 2019)."""
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask
