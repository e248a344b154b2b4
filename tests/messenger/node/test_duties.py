"""Duties that fail begin again, and say so meanwhile."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import StoreFullError
from peerpost.node import network
from peerpost.node.clock import now_ms
from peerpost.node.duties import STEADY_S, Duties
from peerpost.store import outbox
from tests.support.network_rig import acquainted, until


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.mark.parametrize(
    "error", [StoreFullError("the disk is full"), OSError(5, "EIO"), KeyError("x")]
)
@in_loop
async def test_a_duty_begins_again_after_every_failure(error: Exception) -> None:
    now_s, waits, calls = 0.0, [], 0

    async def sleep(wait_s: float) -> None:
        nonlocal now_s
        (shown,) = duties.failing()
        assert (shown["name"], shown["failures"]) == ("expire", calls)
        assert shown["next_try_s"] == round(wait_s, 1)
        waits.append(wait_s)
        now_s += wait_s

    async def work() -> None:
        nonlocal calls, now_s
        calls += 1
        if calls <= 8:
            raise error
        now_s += STEADY_S
        assert duties.failing() == []

    duties = Duties(sleep=sleep, now_s=lambda: now_s, draw=lambda: 0.99)
    await duties.keep("expire", work)
    assert calls == 9
    assert waits == sorted(waits)
    assert waits[-1] < 31


@in_loop
async def test_messages_expire_after_the_store_was_full_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = outbox.expire, 0

    def expire(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise StoreFullError("the disk is full")
        return real(*args)

    monkeypatch.setattr(outbox, "expire", expire)
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        duties = alice.home.services.duties
        await until(lambda: "expire-messages" in [f["name"] for f in duties.failing()])
        await until(lambda: calls > 4)


@in_loop
async def test_a_contact_is_called_again_after_an_unforeseen_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        real, failed = network.Network.dial, asyncio.Event()

        async def dial(self: network.Network, peer: Any) -> None:
            if not failed.is_set():
                failed.set()
                raise ZeroDivisionError
            await real(self, peer)

        monkeypatch.setattr(network.Network, "dial", dial)
        await alice.peer.drop("a test")
        await until(failed.is_set)
        entry = await alice.queue(f"after the error, {now_ms()}")
        await until(lambda: alice.delivered(entry))
