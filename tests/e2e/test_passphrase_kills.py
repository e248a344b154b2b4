"""The short form of tests/e2e/passphrase_kills.py; `python3 dev.py kill9 passphrase` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.passphrase_kills import kill_and_open

KILLS = int(os.environ.get("KILL9_PASSPHRASE_KILLS", "4"))


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(180 + 40 * KILLS)
async def test_a_home_opens_with_one_of_the_two_passphrases_after_kill_9(folder: Path) -> None:
    figures = await kill_and_open(folder, kills=KILLS, seed=16)
    print(figures)  # noqa: T201
    assert figures.kills == KILLS
