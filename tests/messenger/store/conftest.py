"""Stores for these tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from peerpost.errors import DamagedError, TransientError
from peerpost.store.db.engine import Store
from tests.support import indexed, replay
from tests.support.powercut import VFS_NAME, Disk
from tests.support.store_rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return an open store with an identity in it. Whatever a test does to it, journal and index must have."""
    with Rig(tmp_path) as made:
        made.make_identity()
        made.hold_states()
        yield made
        if not made.renamed and not made.loop.is_closed():
            with suppress(
                TransientError, DamagedError
            ):  # where a test has closed it, or damaged it
                made.read(replay.check)
                made.read(indexed.check)


class RecordedStore(Store):
    """A store on a disk that remembers what was done to it."""

    vfs = VFS_NAME


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """Return the disk under `recording`."""
    return Disk(tmp_path)


@pytest.fixture
def recording(tmp_path: Path, disk: Disk) -> Iterator[Rig]:
    """Return an open store whose `disk` tells what was done to it."""
    with Rig(tmp_path, store_class=RecordedStore) as made:
        yield made
