"""What the two sides of a file transfer share: the commands, and the types in them.

`Sending` and `Receiving` are machines without I/O, in aioquic's manner: whoever drives one calls
its methods with what happened and the time, then `take(now_s)` for the commands to carry out; `take`
also when `next_timer_s` has come. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from peerpost.wire import inner as wire
from peerpost.wire import limits

__all__ = [
    "Cancelled",
    "Checkpoint",
    "Completed",
    "Delivered",
    "Exceeded",
    "Failed",
    "Finalize",
    "FindEnd",
    "HeldUp",
    "LetGo",
    "Prepare",
    "ReadChunks",
    "ReadLeaves",
    "ReceiveCommand",
    "Refused",
    "Rejected",
    "SendChunk",
    "SendCommand",
    "SendControl",
    "Stalled",
    "TryAgain",
    "Verify",
    "WholeChunk",
    "clip_reason",
    "runs_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendControl:
    """Send an inner message on a lane of the session that is up; without one, forget it."""

    message: wire.Inner
    lane: wire.Lane = wire.Lane.URGENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The transfer is over and will not be tried again; the peer has been told."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The transfer is over: the peer gave it up."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """Close the file when nothing uses it any more, because of an error of ours; then call `let_go`."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """The wait after an error of ours is over: call `try_again`, or of a receiver `wait_on` if it would be in vain."""


# -- of a receiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Open the part file and check what is in it; then call `prepared`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeChunk:
    """A chunk to be opened, checked against its leaf and, if right, written."""

    index: int
    last: bool
    leaf: bytes
    sealed: memoryview
    """Ciphertext and tag; valid until `verified` or `store_failed` is called for the chunk."""
    block: memoryview
    """The whole allocated buffer; `sealed` is its beginning, and the rest is undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Check and write these chunks, ascending, off the caller's path; then call `verified`.

    There may be another one before that, of other chunks, but no third (`receiving.CHECKS`).
    """

    chunks: tuple[WholeChunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Flush the part file to the disk, then record this progress.

    The record may name fewer chunks than are on the disk, but never more.
    """

    have: bytes
    """Bitmap of the chunks that are written."""
    progress_bytes: int
    finish: wire.Finish | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalize:
    """Check the root over the leaves, flush, put the file in place, record; then `finalized`."""

    finish: wire.Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The file is whole, in place and recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A stream is longer than what was accepted: the machine has paused for good.

    The chunks so far stay; if the user allows more, a machine with a higher limit goes on.
    """

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldUp:
    """The disk is in the way for now: record the cause. The file stays open, and `TryAgain` comes later."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The transfer is over: our user gave it up, and the peer has been told."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """No good chunk has come for a long time.

    The machine goes on asking; its driver may give its slot to another transfer.
    """

    cause: str


ReceiveCommand = (
    SendControl
    | Prepare
    | Verify
    | Checkpoint
    | Finalize
    | Completed
    | Exceeded
    | Stalled
    | HeldUp
    | LetGo
    | TryAgain
    | Failed
    | Cancelled
    | Rejected
)


# -- of a sender


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadChunks:
    """Read, or read and seal, these chunks in a thread; then call `chunks_read`."""

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLeaves:
    """Read these leaves in a thread; then call `leaves_read`."""

    first: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FindEnd:
    """Find size, count and root of the source, reading what was not read yet; then `finished`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendChunk:
    """Send a sealed chunk on the bulk lane, in segments; call `chunk_sent` when it was sent."""

    index: int
    sealed: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver has the whole file, verified and durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The receiver does not want the file."""

    cause: str


SendCommand = (
    SendControl
    | ReadChunks
    | ReadLeaves
    | FindEnd
    | SendChunk
    | LetGo
    | TryAgain
    | Delivered
    | Refused
    | Failed
    | Cancelled
)


def runs_of(indexes: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as (first, count) of each run."""
    runs: list[tuple[int, int]] = []
    first = count = 0
    for index in indexes:
        if count and index == first + count:
            count += 1
            continue
        if count:
            runs.append((first, count))
        first, count = index, 1
    if count:
        runs.append((first, count))
    return runs


def clip_reason(text: str) -> str:
    """Return a cause in the form that may be sent: one line of bounded length."""
    return " ".join(text.split())[: limits.MAX_REASON_CHARS]
