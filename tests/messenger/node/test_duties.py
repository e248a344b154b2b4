"""Duties that fail begin again, and say so meanwhile."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import PeerpostError, StoreFullError
from peerpost.node.clock import Clock
from peerpost.node.contact import agreement, exchange
from peerpost.node.contact.reach import Reach
from peerpost.node.duties import STEADY_S, Duties
from peerpost.node.files.spool import Spool
from peerpost.store.tables import outbox
from peerpost.store.tables import transfers as transfer_rows
from peerpost.wire import history
from peerpost.wire import inner as wire
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

    duties = Duties(sleep=sleep, clock=Clock(monotonic_s=lambda: now_s), draw=lambda: 0.99)
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
        real, failed = Reach.dial, asyncio.Event()

        async def dial(self: Reach, contact: Any) -> Any:
            if not failed.is_set():
                failed.set()
                raise ZeroDivisionError
            return await real(self, contact)

        monkeypatch.setattr(Reach, "dial", dial)
        alice.peer.cut("a test")
        await until(failed.is_set)
        entry = await alice.queue(f"after the error, {alice.home.clock.now_ms()}")
        await until(lambda: alice.delivered(entry))


@in_loop
async def test_transfers_are_resumed_after_an_unforeseen_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        real, calls = transfer_rows.untold, 0

        def untold(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ZeroDivisionError
            return real(*args)

        monkeypatch.setattr(transfer_rows, "untold", untold)
        session = alice.peer.session
        alice.peer.cut("a test")
        await until(lambda: alice.peer.session not in (None, session))
        first = alice.peer.session
        await until(lambda: calls > 1)
        assert alice.peer.session is first


@in_loop
async def test_a_session_whose_commit_is_not_followed_up_ends_and_another_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        real, causes = exchange.Exchange._send_receipts, list[str | None]()
        session = bob.peer.session
        assert session is not None

        def send_receipts(self: exchange.Exchange, marks: Any) -> None:
            if not causes:
                causes.append("failed")
                raise ZeroDivisionError
            real(self, marks)

        monkeypatch.setattr(exchange.Exchange, "_send_receipts", send_receipts)
        entry = await alice.queue("its receipt fails")
        await until(lambda: alice.delivered(entry))
        assert session.cause == "internal error: ZeroDivisionError()"
        assert bob.peer.session is not session


@in_loop
async def test_a_stream_that_meets_an_unforeseen_error_fails_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_args: Any, **_kwargs: Any) -> Any:
        raise ZeroDivisionError

    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        monkeypatch.setattr(Spool, "put", put)
        reader, writer = os.pipe()
        os.close(writer)
        stream, told = await alice.home.transfers.pipes.open(reader), list[str]()
        stream.on_failure = told.append
        with pytest.raises(PeerpostError, match="ZeroDivisionError"):
            await stream.at_end(5)
        assert told == ["internal error: ZeroDivisionError()"]


@in_loop
async def test_a_session_ends_that_cannot_say_what_it_has_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behind(*_args: Any) -> None:
        raise ZeroDivisionError

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        monkeypatch.setattr(agreement.LaneMemory, "_behind", behind)
        session = bob.peer.session
        assert session is not None
        told = wire.Receipt(
            outbox_id=bytes(16), lane=wire.Lane.URGENT, watermark=0, ext={history.AGAIN: b""}
        )
        sending = alice.peer.session
        assert sending is not None
        sending.send(wire.Lane.URGENT, wire.encode(told))
        await until(lambda: session.cause)
        assert session.cause == "internal error: ZeroDivisionError()"
