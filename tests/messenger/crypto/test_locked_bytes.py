from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from peerpost.crypto.locked_bytes import LockedBytes

KEY = bytes(range(1, 33))


def test_it_is_there_until_it_is_wiped() -> None:
    key = LockedBytes(KEY)
    assert key.reveal() == KEY
    assert KEY.hex() not in repr(key)
    at = ctypes.addressof(ctypes.c_char.from_buffer(key._data))
    # The buffer must not be held when it is wiped; its memory stays readable, as it is the heap's.
    assert ctypes.string_at(at, 32) == KEY
    key.wipe()
    assert ctypes.string_at(at, 32) != KEY
    with pytest.raises(ValueError, match="wiped"):
        key.reveal()
    key.wipe()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_its_memory_is_locked() -> None:
    def locked_kib() -> int:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmLck:")[1].split()[0])

    before = locked_kib()
    key = LockedBytes(KEY)
    if not key.locked:
        pytest.skip("no memory may be locked here (ulimit -l)")
    assert locked_kib() > before
    key.wipe()
    assert locked_kib() == before
