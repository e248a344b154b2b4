"""How far a file is and how fast it goes, with the keys of docs/cli.md."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Moving", "figures"]


class Moving(Protocol):
    """What moves a file: a Download or an Upload."""

    @property
    def size(self) -> int | None:
        """Bytes, where the end is known."""

    @property
    def progress_bytes(self) -> int | None:
        """How many of them the receiver has, as far as that is known here."""

    @property
    def rate_bytes_s(self) -> float:
        """How fast that grows."""


def figures(
    size: int | None, moving: Moving | None, done_bytes: int | None = None
) -> dict[str, Any]:
    """Return size, progress, rate and what is left to wait; null is what nobody knows.

    `done_bytes` is what the record says, for what does not move now.
    """
    rate = None
    if moving is not None:
        size = moving.size if size is None else size
        done_bytes, rate = moving.progress_bytes, round(moving.rate_bytes_s)
    known = done_bytes is not None and size is not None
    return {
        "size": size,
        "progress": min(1.0, (done_bytes or 0) / size) if known and size else None,
        "done_bytes": done_bytes,
        "rate_bytes_s": rate,
        "eta_s": -(-max(0, (size or 0) - (done_bytes or 0)) // rate) if known and rate else None,
    }
