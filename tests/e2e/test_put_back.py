"""The short form of tests/e2e/put_back.py; `python3 dev.py putback` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.put_back import SIDES, put_back


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("went_back", SIDES)
async def test_a_home_put_back_loses_nothing(folder: Path, went_back: str, seed: int) -> None:
    outcome = await put_back(folder, seed=seed, went_back=went_back)
    assert outcome.right, outcome
