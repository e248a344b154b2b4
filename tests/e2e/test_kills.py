"""The short form of tests/e2e/kill9.py; `python3 dev.py kill9` is the long one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kill9 import Campaign, Figures

KILLS = int(os.environ.get("KILL9_KILLS", "12"))
MESSAGES = int(os.environ.get("KILL9_MESSAGES", "300"))


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * KILLS)
async def test_nothing_is_lost_doubled_or_reordered_by_kill_9(folder: Path) -> None:
    campaign = Campaign(folder, kills=KILLS, messages=MESSAGES, seed=9)
    figures = await campaign.run()
    print(campaign.log_text, figures)  # noqa: T201
    assert figures.faults == 0, figures
    assert figures.kills >= KILLS
    assert figures.queued + figures.unanswered == MESSAGES
    assert figures.queued <= figures.received <= MESSAGES
    # The kills did not miss: what they cut off is next to nothing, and most was sent in spite of them.
    assert figures.queued >= MESSAGES * 3 // 4


def numbers(count: int) -> list[int]:
    return list(range(1, count + 1))


@pytest.fixture
def campaign(folder: Path) -> Iterator[Campaign]:
    found = Campaign(folder, kills=1, messages=10, seed=1)
    for number in numbers(10):
        found._journal.note("try", number)
        found._journal.note("queued", number)
    yield found
    found._journal.close()


@pytest.mark.parametrize(
    ("got", "faults"),
    [
        (numbers(10), Figures()),
        (numbers(9), Figures(lost=1, uneven=1)),
        ([*numbers(10), 10], Figures(duplicated=1, uneven=1)),
        ([2, 1, *numbers(10)[2:]], Figures(reordered=1)),
        ([*numbers(10), 11], Figures(unknown=1, uneven=1)),
    ],
)
def test_the_counting_sees_what_is_wrong(
    campaign: Campaign, got: list[int], faults: Figures
) -> None:
    campaign._compare(0, got, [{} for _ in range(10)])
    found = campaign._journal.figures
    names = ("lost", "duplicated", "reordered", "unknown", "uneven")
    assert {name: getattr(found, name) for name in names} == {
        name: getattr(faults, name) for name in names
    }
