"""What tests with stock on one side lean on: nothing of it is left behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import stock_net
from tests.support.net_rig import on_loop


@on_loop
async def test_process_whose_test_fails_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        async with stock_net.process("bob"):
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before
