"""Whether a file fits: an offer that would fill the disk is not accepted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from peerpost.errors import StoreFullError

__all__ = ["RESERVE_BYTES", "RESERVE_FRACTION", "check_space"]

RESERVE_BYTES: Final = 1 << 30
"""Left free whatever a peer sends, at least."""
RESERVE_FRACTION: Final = 0.05
"""And this part of the disk, if that is more: file systems degrade when full."""


def check_space(
    folder: Path,
    size_bytes: int,
    *,
    reserve_bytes: int = RESERVE_BYTES,
    reserve_fraction: float = RESERVE_FRACTION,
) -> None:
    """Raise StoreFullError unless `size_bytes` more fit beside the reserve."""
    usage = shutil.disk_usage(folder)
    reserve = max(reserve_bytes, int(usage.total * reserve_fraction))
    if usage.free < size_bytes + reserve:
        short = size_bytes + reserve - usage.free
        raise StoreFullError(
            f"the disk lacks {short} bytes for this file and a reserve of {reserve}",
            hint="free some space, then accept the file again",
        )
