"""Whether a file fits: an offer that would fill the disk is not accepted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from peerpost.errors import StoreFullError

__all__ = ["RESERVE_BYTES", "check_space"]

RESERVE_BYTES: Final = 1 << 30
"""Left free whatever a peer sends, unless the configuration says otherwise (storage.min_free)."""


def check_space(
    folder: Path,
    size_bytes: int,
    *,
    reserve_bytes: int = RESERVE_BYTES,
) -> None:
    """Raise StoreFullError unless `size_bytes` more fit beside the reserve."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes + reserve_bytes:
        short = size_bytes + reserve_bytes - free_bytes
        raise StoreFullError(
            f"the disk lacks {short} bytes for this file and a reserve of {reserve_bytes}",
            hint="free some space; the file goes on by itself",
        )
