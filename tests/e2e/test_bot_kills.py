"""The short form of tests/e2e/bot_kills.py; `python3 dev.py kill9 bot` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.bot_kills import kill_and_count

KILLS = int(os.environ.get("KILL9_BOT_KILLS", "12"))


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(240 + 10 * KILLS)
async def test_the_bot_of_the_page_answers_each_text_once_over_kill_9(folder: Path) -> None:
    figures = await kill_and_count(folder, kills=KILLS, seed=17)
    print(figures)  # noqa: T201
    assert sum(figures.kills.values()) >= KILLS
    assert figures.asked >= KILLS
