"""What tests with stock on one side lean on: nothing of it is left behind, and nothing that was given up goes on."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import stock_net, stock_process
from tests.support.net_rig import on_loop, pair


@on_loop
async def test_process_whose_test_fails_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        async with stock_net.process("bob"):
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before


@on_loop
async def test_what_is_given_up_at_once_never_begins() -> None:
    async with pair(stock_net.mixed(stock_dials=False)) as net:
        near, far = await net.streams()
        assert isinstance(far, stock_net.StockStream)
        asked = (2**32, "read", far._number, 1), (2**32, "give up")
        far._line._writer.write(b"".join(map(stock_process.packed, asked)))
        await near.write(b"x")
        async with asyncio.timeout(5):
            assert await far.read() == b"x"
