"""Readable reference of the native functions: the oracle they are tested against, their fallback, their types.

What a function takes and refuses is settled here, in the order in which the native one looks.
"""

# ruff: noqa: SLF001 - a bucket asks its parents

from __future__ import annotations

import ctypes
import hmac
from collections.abc import Iterator
from hashlib import blake2b
from operator import index

from typing_extensions import Buffer

__all__ = [
    "TokenBucket",
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
_MAX_COUNT = 2**63 - 1
_SECOND_NS = 1_000_000_000


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


def digests(
    data: Buffer,
    chunk_bytes: int,
    *,
    digest_bytes: int = 32,
    key: Buffer = b"",
    salt: Buffer = b"",
    person: Buffer = b"",
    into: Buffer | None = None,
) -> bytes:
    """Return the BLAKE2b digest of each chunk of data, concatenated.

    The chunks are also written to `into`, where it is given. Runs without the GIL when compiled.
    """
    chunks = cut(data, chunk_bytes)
    if not 1 <= (size := index(digest_bytes)) <= 64:
        raise ValueError("a digest has 1 to 64 bytes")
    key, salt, person = _short(key, 64), _short(salt, 16), _short(person, 16)
    target = _target(into, chunks)
    made = b"".join(
        blake2b(chunk, digest_size=size, key=key, salt=salt, person=person).digest()
        for chunk in chunks
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
    """Return the place in data of the first chunk whose leaf is another, or -1.

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


def _leaves(
    chunks: list[memoryview], key: bytes, person: bytes, first: int, last: bool
) -> Iterator[bytes]:
    end = len(chunks) - 1
    for at, chunk in enumerate(chunks):
        salt = leaf_salt(first + at, last and at == end)
        yield blake2b(chunk, digest_size=LEAF_BYTES, key=key, salt=salt, person=person).digest()


def _view(data: Buffer) -> memoryview:
    """Return a buffer as bytes. Only what lies in one piece can be read without copying."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer must be contiguous")
    if not view.nbytes:
        return memoryview(b"")
    try:
        return view.cast("B")
    except ValueError:  # a format that cast() does not know, as that of a ctypes array
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
    """Return the place to copy the chunks to, found fit for it."""
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
        # Through ctypes, for a memoryview does not take bytes where its format is another.
        ctypes.memmove((ctypes.c_char * len(data)).from_buffer(target), data, len(data))


# --- padding -----------------------------------------------------------------------------------


def bucket_for(size: int, buckets: tuple[int, ...]) -> int:
    """Return the smallest bucket that holds size. Raises ValueError where none does."""
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
    """Return how many bytes stand before the padding. Raises ValueError where `pad` made none.

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


# --- token bucket ------------------------------------------------------------------------------


class TokenBucket:
    """A rate limit: `burst` tokens at once, `per_s` a second in the long run; it starts full.

    A token is a byte, or whatever is counted. All is exact: whole tokens are taken, and between
    them the level is kept in billionths, so that nothing drifts however often it is asked. Times
    are nanoseconds of any clock, told by the caller; one that stands still or goes back lets no
    token in. With a parent (a contact's bucket under the global one) what is taken is taken from
    both, or from neither. Rates, bursts and sizes are below 2^63, times at most that either way.
    """

    __slots__ = ("_at_ns", "_burst", "_level", "_parent", "_per_s")

    FOREVER_NS = _MAX_COUNT
    """What `wait_time` returns for never, and for anything later than that."""

    def __init__(
        self, per_s: int, burst: int, now_ns: int, parent: TokenBucket | None = None
    ) -> None:
        """Make a full bucket."""
        self._per_s = _count(per_s)
        self._burst = _count(burst)
        self._at_ns = _time(now_ns)
        if parent is not None and not isinstance(parent, TokenBucket):
            raise TypeError("the parent must be a TokenBucket")
        self._parent = parent
        self._level = self._burst * _SECOND_NS  # in billionths

    @property
    def per_s(self) -> int:
        """Tokens that come in each second."""
        return self._per_s

    @property
    def burst(self) -> int:
        """Tokens that it holds when it is full."""
        return self._burst

    def level(self, now_ns: int) -> int:
        """Return how many whole tokens it holds, its parent left aside."""
        self._settle(_time(now_ns))
        return self._level // _SECOND_NS

    def take(self, size: int, now_ns: int) -> bool:
        """Take size tokens if it and its parents hold them; tell whether they did.

        Raises ValueError if one of them never holds as many.
        """
        size, now_ns = _count(size), _time(now_ns)
        chain = self._asked(size, now_ns)
        if any(bucket._level < size * _SECOND_NS for bucket in chain):
            return False
        for bucket in chain:
            bucket._level -= size * _SECOND_NS
        return True

    def wait_time(self, size: int, now_ns: int) -> int:
        """Return in how many nanoseconds `take` would succeed, if nobody took before; exactly.

        Raises ValueError if it or one of its parents never holds as many.
        """
        size, now_ns = _count(size), _time(now_ns)
        chain = self._asked(size, now_ns)
        return max(bucket._wait(size * _SECOND_NS, now_ns) for bucket in chain)

    def refund(self, size: int) -> None:
        """Give back tokens taken and not used, to it and to its parents; they fill at most."""
        size = _count(size)
        bucket: TokenBucket | None = self
        while bucket is not None:
            bucket._level = min(bucket._burst * _SECOND_NS, bucket._level + size * _SECOND_NS)
            bucket = bucket._parent

    def set_rate(self, per_s: int, burst: int, now_ns: int) -> None:
        """Change the rate and the burst from now on; what it holds beyond the burst is lost."""
        per_s, burst = _count(per_s), _count(burst)
        self._settle(_time(now_ns))
        self._per_s, self._burst = per_s, burst
        self._level = min(self._level, burst * _SECOND_NS)

    def _settle(self, now_ns: int) -> None:
        passed = max(0, now_ns - self._at_ns)
        self._at_ns += passed
        self._level = min(self._burst * _SECOND_NS, self._level + passed * self._per_s)

    def _asked(self, size: int, now_ns: int) -> list[TokenBucket]:
        """Return it and its parents, each settled and large enough."""
        chain: list[TokenBucket] = []
        bucket: TokenBucket | None = self
        while bucket is not None:
            if size > bucket._burst:
                raise ValueError("more than the burst: it never holds as many")
            chain.append(bucket)
            bucket = bucket._parent
        for bucket in chain:
            bucket._settle(now_ns)
        return chain

    def _wait(self, needed: int, now_ns: int) -> int:
        if self._level >= needed:
            return 0
        if not self._per_s:
            return self.FOREVER_NS
        wait_ns = -((self._level - needed) // self._per_s)
        return min(self.FOREVER_NS, wait_ns + self._at_ns - now_ns)


def _count(value: int) -> int:
    if not 0 <= (value := index(value)) <= _MAX_COUNT:
        raise ValueError("a rate, a burst and a size must be in 0..2^63-1")
    return value


def _time(now_ns: int) -> int:
    if not -_MAX_COUNT - 1 <= (now_ns := index(now_ns)) <= _MAX_COUNT:
        raise ValueError("a time must fit in 64 bits")
    return now_ns
