"""Stores for these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.store_rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return an open store with an identity in it."""
    with Rig(tmp_path) as made:
        made.make_identity()
        yield made
