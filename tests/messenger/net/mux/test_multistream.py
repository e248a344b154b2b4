"""Agreeing on a protocol: both sides of it, in pieces of any size, and against nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.net.mux.multistream import MAX_LINE_BYTES, MAX_PROPOSALS, answer, line, propose

HEADER = line(b"/multistream/1.0.0")


class Ends:
    """One end of a stream that says what it is told to say, in pieces."""

    def __init__(self, says: bytes, piece: int = 65536) -> None:
        self.says = says
        self.heard = b""
        self.asked = 0
        self._piece = piece

    async def read(self, size: int) -> bytes:
        self.asked = max(self.asked, size)
        taken = self.says[: min(size, self._piece)]
        self.says = self.says[len(taken) :]
        return taken

    async def write(self, data: bytes) -> None:
        self.heard += data


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_the_two_sides_understand_each_other(piece: int) -> None:
    dialler = Ends(HEADER + line(b"/b/1") + b"and more", piece)
    run(propose(dialler.read, dialler.write, "/b/1"))
    assert dialler.heard == b"\x13/multistream/1.0.0\n\x05/b/1\n"
    assert dialler.says == b"and more", "what follows is left where it is"
    listener = Ends(dialler.heard + b"and more", piece)
    assert run(answer(listener.read, listener.write, ["/a/1", "/b/1"])) == "/b/1"
    assert listener.heard == HEADER + line(b"/b/1")
    assert listener.says == b"and more"


def test_what_is_unknown_is_answered_and_passed_over() -> None:
    unknown = [b"/none/1", b"ls", b"\xff\xfe", b"", b"/b/1\n", b"/B/1"]
    listener = Ends(HEADER + b"".join(map(line, unknown)) + line(b"/b/1"))
    assert run(answer(listener.read, listener.write, ["/b/1"])) == "/b/1"
    assert listener.heard == HEADER + line(b"na") * len(unknown) + line(b"/b/1")


def test_patience_has_an_end() -> None:
    listener = Ends(HEADER + line(b"/none/1") * (MAX_PROPOSALS + 5))
    with pytest.raises(ProtocolError, match="none of our"):
        run(answer(listener.read, listener.write, ["/b/1"]))
    assert listener.heard.count(line(b"na")) == MAX_PROPOSALS


@pytest.mark.parametrize(
    "said",
    [
        line(b"na"),
        HEADER + line(b"na"),
        HEADER + line(b"/other/1"),
        HEADER + b"\x05/b/1X",
        line(b"/multistream/2.0.0") + line(b"/b/1"),
        HEADER,
        b"",
    ],
)
def test_dialler_takes_nothing_but_its_own_protocol(said: bytes) -> None:
    dialler = Ends(said)
    with pytest.raises(ProtocolError):
        run(propose(dialler.read, dialler.write, "/b/1"))


@pytest.mark.parametrize("size", [MAX_LINE_BYTES + 1, 2**14, 2**31, 2**62, 2**200])
def test_claimed_length_is_not_believed(size: int) -> None:
    varint = bytearray()
    while size > 0x7F:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    varint.append(size)
    listener = Ends(bytes(varint) + bytes(10_000))
    with pytest.raises(ProtocolError, match="too long"):
        run(answer(listener.read, listener.write, ["/b/1"]))
    assert listener.asked == 1


def test_longest_line_is_read() -> None:
    name = "/" + "x" * (MAX_LINE_BYTES - 2)
    listener = Ends(HEADER + line(name.encode()))
    assert run(answer(listener.read, listener.write, [name])) == name


@given(st.binary(max_size=400), st.booleans())
def test_nonsense_is_a_protocol_error(data: bytes, greeted: bool) -> None:
    said = HEADER + data if greeted else data
    for side in ("answer", "propose"):
        end = Ends(said)
        work: Coroutine[Any, Any, Any] = (
            answer(end.read, end.write, ["/b/1"])
            if side == "answer"
            else propose(end.read, end.write, "/b/1")
        )
        try:
            agreed = run(work)
        except ProtocolError:
            continue
        assert line(b"/b/1") in said, agreed


def test_it_can_be_cancelled() -> None:
    async def main() -> None:
        async def silent(_size: int) -> bytes:
            await asyncio.sleep(60)
            return b""

        end = Ends(b"")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(propose(silent, end.write, "/b/1"), 0.01)

    asyncio.run(main())
