"""Chunks put together from pieces, and the buffers that they lie in."""

from __future__ import annotations

import weakref

import pytest

from peerpost.protocol.assembly import Assembly, BufferPool, Fit
from tests.messenger.protocol.test_receiving import CHUNK, FULL, Content, receive


@pytest.mark.parametrize(("first", "second"), [(40, 64), (64, 40), (100, 7), (7, 1000)])
def test_a_copy_that_is_cut_elsewhere_continues_the_one_before(first: int, second: int) -> None:
    chunk = bytes(range(200)) * 5
    assembly = Assembly(BufferPool(len(chunk)))
    for at in range(0, 600, first):
        assert assembly.put(at, chunk[at : at + first], len(chunk)) is Fit.TAKEN
    fits = [
        assembly.put(at, memoryview(chunk)[at : at + second], len(chunk))
        for at in range(0, len(chunk), second)
    ]
    assert fits[-1] is Fit.WHOLE
    assert set(fits[:-1]) <= {Fit.IGNORED, Fit.TAKEN}
    assert bytes(assembly.view()) == chunk


@pytest.mark.parametrize("check", ["right", "wrong", "not written"])
@pytest.mark.parametrize("how", ["cancel", "pause", "session_down"])
def test_a_transfer_that_rests_or_has_ended_holds_no_buffer(how: str, check: str) -> None:
    class Buffer(bytearray):
        pass

    made: list[weakref.ref[Buffer]] = []

    def allocate(size_bytes: int) -> memoryview:
        buffer = Buffer(size_bytes)
        made.append(weakref.ref(buffer))
        return memoryview(buffer)

    rig = receive(Content(8 * CHUNK), allocate=allocate)
    rig.take()
    rig.give(5)
    checked = [chunk.index for chunk in rig.checked()]
    assert checked == [5]
    for index in (0, 1, 3):
        rig.give(index)
    assert len([ref for ref in made if ref() is not None]) == 4
    {
        "cancel": lambda: rig.machine.cancel("enough"),
        "pause": lambda: rig.machine.pause("later"),
        "session_down": rig.machine.session_down,
    }[how]()
    assert len([ref for ref in made if ref() is not None]) == 1
    {
        "right": lambda: rig.machine.verified(checked, [], rig.now_s),
        "wrong": lambda: rig.machine.verified([], checked, rig.now_s),
        "not written": lambda: rig.machine.store_failed(checked, FULL),
    }[check]()
    assert not any(ref() for ref in made)
