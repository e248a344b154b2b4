"""`send-net` of a stream: the command lives as long as its source."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from peerpost.errors import BadInputError, NotFoundError, PeerpostError, StorageError
from peerpost.store.tables import endings, outbox
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire

from .queue import describe

if TYPE_CHECKING:
    from peerpost.node.files.pipes import Pipe
    from peerpost.node.opened import Opened

__all__ = ["read_stream"]

log = logging.getLogger(__name__)

GRACE_S = 0.1
"""A source that ends within this time is queued as a file with a known size."""
TELL_S = 0.5
"""How often to report how much was read."""


class _InterruptedError(BadInputError):
    """The command that reads the source has ended: Ctrl-C, a signal, or a closed terminal."""

    def __init__(self) -> None:
        super().__init__("the command that read the input ended before the input did")


async def read_stream(
    opened: Opened,
    fd: int,
    *,
    contact_id: str,
    name: str,
    lane: wire.Lane,
    expires_ms: int | None,
    confirm_end: bool,
) -> AsyncGenerator[object, None]:
    """Queue a source and read it to its end. Yield rows on the way, and at last the outbox entry.

    Takes ownership of `fd`. With `confirm_end` an event `{"confirm": token}` asks for the call that says that
    this was the end. If the generator is closed before, the transfer is cancelled.
    """
    transfers = opened.transfers
    pipe = await transfers.pipes.open(fd)
    entry: outbox.Entry | None = None
    why: PeerpostError = _InterruptedError()
    try:
        if not await pipe.at_end(GRACE_S):
            entry = await transfers.queue.put_stream(
                contact_id, pipe, name=name, lane=lane, expires_ms=expires_ms
            )
            opened.network.queued(entry)
            yield describe(opened, entry)
            read_bytes = -1
            while not await pipe.at_end(TELL_S):
                if pipe.read_bytes != read_bytes:
                    read_bytes = pipe.read_bytes
                    entry = await opened.store.read(outbox.find, entry.id)
                    yield {**describe(opened, entry), "read_bytes": read_bytes}
        if confirm_end:
            yield {"confirm": pipe.token}
            await pipe.wait_confirmed()
        if entry is None:
            entry = await transfers.queue.put_stream(
                contact_id, pipe, name=name, lane=lane, expires_ms=expires_ms
            )
            transfers.pipes.settle(pipe)
            opened.network.queued(entry)
        else:
            await _record_end(opened, pipe, entry)
    except PeerpostError as error:
        why = error
        raise
    finally:
        if not pipe.settled:
            await _give_up(opened, pipe, contact_id, why)
    yield await opened.store.read(outbox.find, entry.id)


async def _cancel(opened: Opened, pipe: Pipe, contact_id: str, reason: str) -> None:
    """Cancel the entry before the source reports a failure: whoever interrupts a command wants it cancelled."""
    file_id = pipe.file_id
    try:
        entry = await opened.store.write(endings.ended, contact_id, file_id, "cancelled", reason)
    except StorageError as error:
        # The stream then ends as a failure, which is recorded as soon as the disk allows.
        log.warning("a stream that was interrupted cannot be cancelled: %s", error.message)
        return
    await opened.transfers.cancel_outgoing(contact_id, file_id, reason)
    if entry is not None:
        opened.network.poke(contact_id)


async def _record_end(opened: Opened, pipe: Pipe, entry: outbox.Entry) -> None:
    row = await opened.store.read(rows.get, entry.contact_id, pipe.file_id, incoming=False)
    if row is None:
        raise NotFoundError("the contact was removed")
    await opened.transfers.pipes.record_end(pipe, row.id)


async def _give_up(opened: Opened, pipe: Pipe, contact_id: str, why: PeerpostError) -> None:
    # The client may have left while its entry was being stored. After this, the entry is there.
    await opened.store.behind_what_is_queued()
    if isinstance(why, _InterruptedError):
        await _cancel(opened, pipe, contact_id, why.message)
    await opened.transfers.pipes.give_up(pipe, why)
    await opened.transfers.fail_outgoing(contact_id, pipe.file_id, why.message)
    await opened.services.in_thread(opened.transfers.spool.remove, pipe.file_id)
