"""Where received files lie: under the ids of their transfers, which are ours, never under what a peer chose.

blobs/<transfer id>.part, .leaves       while it comes
blobs/<transfer id>.sealed, .leaves     whole
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .transfers import Transfer

__all__ = ["SUFFIXES", "discard", "path", "sweep"]

SUFFIXES = (".part", ".sealed", ".leaves")


def path(folder: Path, row: Transfer, suffix: str) -> Path:
    """Return where a file of an incoming transfer lies."""
    return folder / f"{row.id}{suffix}"


def discard(folder: Path, row: Transfer) -> None:
    """Remove everything that was received of a file."""
    for suffix in SUFFIXES:
        path(folder, row, suffix).unlink(missing_ok=True)


def sweep(folder: Path, kept: Iterable[Transfer]) -> None:
    """Rename files of earlier versions, and remove those that belong to no transfer (`deletion.kept_files`)."""
    kept = list(kept)
    for row in kept:
        for suffix in SUFFIXES:
            old, new = folder / f"{row.file_id.hex()}{suffix}", path(folder, row, suffix)
            if old.exists() and not new.exists():
                os.rename(old, new)  # noqa: PTH104 - never over another file
    names = {row.id for row in kept}
    for found in folder.iterdir():
        if found.suffix in SUFFIXES and found.stem not in names:
            found.unlink(missing_ok=True)
