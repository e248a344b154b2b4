"""Agree on a stream's protocol: multistream-select 1.0, the dialler proposing.

Source: the multistream-select specification of libp2p. Messages are lines behind a varint length; ours are ASCII and
short, so anything longer than `MAX_LINE_BYTES` is refused before it is read. What a peer proposes is compared as
bytes: nothing of it is decoded, so nothing of it can fail to decode.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from peerpost.errors import ProtocolError

__all__ = ["MAX_LINE_BYTES", "answer", "propose"]

HEADER = b"/multistream/1.0.0"
NOT_AVAILABLE = b"na"
MAX_LINE_BYTES = 256
MAX_PROPOSALS = 16

Read = Callable[[int], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


def line(text: bytes) -> bytes:
    """Return text as it goes over the wire."""
    return _varint(len(text) + 1) + text + b"\n"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


async def _exactly(read: Read, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await read(size - len(data))
        if not piece:
            raise ProtocolError("the stream ended while its protocol was being agreed on")
        data += piece
    return data


async def _read_line(read: Read) -> bytes:
    size = shift = 0
    while True:
        byte = (await _exactly(read, 1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if size > MAX_LINE_BYTES or shift > 14:
            raise ProtocolError("a multistream line is too long")
        if byte < 0x80:
            break
    text = await _exactly(read, size)
    if not text.endswith(b"\n"):
        raise ProtocolError("a multistream line does not end")
    return text[:-1]


async def propose(read: Read, write: Write, protocol: str) -> None:
    """Ask for protocol. Raises ProtocolError if the peer does not speak it."""
    wanted = protocol.encode("ascii")
    await write(line(HEADER) + line(wanted))
    if await _read_line(read) != HEADER or await _read_line(read) != wanted:
        raise ProtocolError(f"the peer does not speak {protocol}")


async def _at_once() -> None:
    """Agree without waiting for anything."""


async def answer(
    read: Read,
    write: Write,
    protocols: Collection[str],
    may_agree: Callable[[], Awaitable[None]] = _at_once,
) -> str:
    """Take the first of our protocols that the peer asks for, and return it; agree once `may_agree` returns.

    Raises ProtocolError after `MAX_PROPOSALS` of others.
    """
    ours = {name.encode("ascii"): name for name in protocols}
    if await _read_line(read) != HEADER:
        raise ProtocolError("the stream does not begin with multistream-select")
    await write(line(HEADER))
    for _ in range(MAX_PROPOSALS):
        wanted = await _read_line(read)
        if wanted in ours:
            await may_agree()
            await write(line(wanted))
            return ours[wanted]
        # What we speak is nobody's business: `ls` is answered like any unknown protocol.
        await write(line(NOT_AVAILABLE))
    raise ProtocolError("the peer asks for none of our protocols")
