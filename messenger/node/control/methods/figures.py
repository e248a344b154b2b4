"""How far a file is and how fast it goes, with the keys of docs/cli.md."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Moving", "figures"]


class Moving(Protocol):
    """The driver of a file: a Download or an Upload."""

    @property
    def size(self) -> int | None:
        """Bytes, if the end is known."""

    @property
    def progress_bytes(self) -> int | None:
        """How many of them the receiver has, as far as we know."""

    @property
    def rate_bytes_s(self) -> float:
        """How fast `progress_bytes` grows."""


def figures(
    size: int | None, moving: Moving | None, done_bytes: int | None = None
) -> dict[str, Any]:
    """Return size, progress, rate and remaining time; null means not known.

    `done_bytes` is the recorded progress, used for a file without a driver.
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
