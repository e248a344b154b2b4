"""How SQLite is told where a database lies."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

__all__ = ["located"]


def located(path: Path, flags: int) -> tuple[str, int]:
    """Return the name and flags to open a database by: SQLite takes text, and a path that is none in a URI."""
    try:
        return os.fsencode(path).decode(), flags
    except UnicodeDecodeError:
        return path.absolute().as_uri(), flags | apsw.SQLITE_OPEN_URI
