"""How to name a database to SQLite."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

__all__ = ["located"]


def located(path: Path, flags: int) -> tuple[str, int]:
    """Return the name and flags to open a database with. SQLite takes only text, so any other path becomes a URI."""
    try:
        return os.fsencode(path).decode(), flags
    except UnicodeDecodeError:
        return path.absolute().as_uri(), flags | apsw.SQLITE_OPEN_URI
