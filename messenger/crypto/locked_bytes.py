"""A key that is kept for long: in memory that the system does not write to its swap space, wiped when it is let go.

It is one copy among others: what SQLite, libsodium and Python make of a key while they use it lies elsewhere, and
Python gives such memory back without wiping it. SECURITY.md says what that leaves.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LockedBytes"]

try:
    # PyNaCl has these and does not export them.
    from nacl._sodium import ffi, lib  # type: ignore[import-not-found]

    _SODIUM: Any = (ffi, lib) if hasattr(lib, "sodium_mlock") else None
except ImportError:  # pragma: no cover - another PyNaCl
    _SODIUM = None


class LockedBytes:
    """A copy of some bytes; `wipe` ends it, as its end does."""

    __slots__ = ("_at", "_data", "locked")

    def __init__(self, secret: bytes) -> None:
        self._data = bytearray(secret)
        self._at: Any = None
        self.locked = False
        """Whether the system keeps it out of its swap space; it may have no more room for that."""
        if _SODIUM is not None:
            ffi, lib = _SODIUM
            self._at = ffi.from_buffer(self._data)
            self.locked = lib.sodium_mlock(self._at, len(self._data)) == 0

    def reveal(self) -> bytes:
        """Return a copy, for as short a time as it takes to use it. Raises ValueError if it was wiped."""
        if not self._data:
            raise ValueError("the key was wiped")
        return bytes(self._data)

    def wipe(self) -> None:
        """Overwrite it. Doing that twice is harmless."""
        if self._at is not None:
            _, lib = _SODIUM
            lib.sodium_munlock(self._at, len(self._data))  # which overwrites it first
            self._at = None
        self._data[:] = bytes(len(self._data))
        self._data.clear()

    def __del__(self) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "LockedBytes(...)"
