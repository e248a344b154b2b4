"""The short form of tests/e2e/transfer_kills.py; `python3 dev.py kill9 transfer` is the long one."""

from __future__ import annotations

import pytest

from peerpost.protocol.chunk_window import MAX_WINDOW_BYTES
from tests.e2e.transfer_kills import kill_and_send, make_file
from tests.support.nodes import Friend

SIZE = 40_000_000
KILLS = 3
RATE_BYTES_S = 20_000_000


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_file_survives_kills_of_either_side(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = RATE_BYTES_S
    file = alice.home.parent / "big.bin"
    digest = make_file(file, SIZE, seed=7)
    figures = await kill_and_send(alice, bob, file, digest, kills=KILLS, seed=7)
    assert figures.again_per_kill < MAX_WINDOW_BYTES
