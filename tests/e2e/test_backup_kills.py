"""The short form of tests/e2e/backup_kills.py; `python3 dev.py kill9 backup` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.backup_kills import kills


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_kill_leaves_all_of_it_or_nothing(folder: Path) -> None:
    figures = await kills(folder, seed=7, count=10)
    assert figures.wrong == []
    assert figures.kills == 10
