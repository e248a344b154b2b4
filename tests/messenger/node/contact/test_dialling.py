"""Turns to dial: a bound over all contacts, and who goes first."""

from __future__ import annotations

import asyncio

import pytest

from peerpost.node.contact.dialling import DialPace
from tests.support.virtual_time import on_virtual_time, running


@on_virtual_time
async def test_no_more_than_the_rate_and_its_burst() -> None:
    pace = DialPace(per_s=200, burst=10, clock=running().clock)
    begun_s = running().time()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(pace.turn(str(number), soon=False))
    took_s = running().time() - begun_s
    assert took_s == pytest.approx(50 / 200)


@on_virtual_time
async def test_who_is_wanted_now_goes_first() -> None:
    pace = DialPace(per_s=50, burst=1, clock=running().clock)
    order: list[str] = []

    async def dial(name: str, *, soon: bool) -> None:
        await pace.turn(name, soon=soon)
        order.append(name)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for name in ("first", "a", "b", "c"):
            group.create_task(dial(name, soon=False))
        await asyncio.sleep(0)
        group.create_task(dial("wanted", soon=True))
        await asyncio.sleep(0)
        pace.hasten("c")
        pace.hasten("nobody")
    assert order == ["first", "c", "wanted", "a", "b"]


@on_virtual_time
async def test_who_gives_up_takes_no_turn() -> None:
    pace = DialPace(per_s=20, burst=1, clock=running().clock)
    await pace.turn("first", soon=False)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        given_up = group.create_task(pace.turn("a", soon=False))
        await asyncio.sleep(0)
        begun_s = running().time()
        behind = group.create_task(pace.turn("b", soon=False))
        await asyncio.sleep(0)
        given_up.cancel()
        await behind
    assert running().time() - begun_s == pytest.approx(1 / 20), "a turn went to nobody"


@on_virtual_time
async def test_an_error_when_the_next_is_due_ends_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pace = DialPace(per_s=20, burst=1, clock=running().clock)
    await pace.turn("first", soon=False)
    waiting = asyncio.create_task(pace.turn("a", soon=False))
    await asyncio.sleep(0)

    def fails(*_: object) -> bool:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(pace, "_grant", fails)
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await waiting
        await pace.turn("a", soon=False)
