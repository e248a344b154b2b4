"""Sources of unknown length: read into the spool and sent at the same time.

Data is sealed chunk by chunk, and a chunk can be pulled as soon as one more byte has arrived after it. It becomes a
file only when the source ends and the command that reads the source confirms that. An interrupted pipeline ends its
pipe too, and a file that was cut short must not look complete. A stream that is given up, or whose node ends, fails
with its cause on both sides.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import apsw

from peerpost.errors import (
    NotFoundError,
    PeerpostError,
    RefusedError,
    StoreFullError,
    UnavailableError,
)
from peerpost.node.causes import cause_of
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.store.files.sealed import End
from peerpost.store.files.source import Source
from peerpost.store.tables import contents, endings
from peerpost.store.tables import transfers as rows
from peerpost.store.tables.contents import Content
from peerpost.wire import inner as wire

if TYPE_CHECKING:
    from peerpost.node.services import Services

    from .spool import Spool

__all__ = ["NODE_ENDED", "Pipe", "Pipes", "cause_of_failure", "failed"]

log = logging.getLogger(__name__)

MAX_STREAMS = 32
"""Sources that are read at once, each by a thread of its own. More have to wait, which holds up only their writers."""
_FAILED = "it failed, and the contact did not refuse it: "
NODE_ENDED = "the sender's node ended while the source was still being read"


class Pipe:
    """One source on its way into the spool."""

    def __init__(self, fd: int) -> None:
        """Take ownership of the descriptor."""
        self.token = secrets.token_hex(8)
        """The name by which the command that reads the source confirms its end."""
        self.file_id = secrets.token_bytes(16)
        self.key = secrets.token_bytes(32)
        self.source = Source(fd)
        self.available = 0
        """Chunks in the spool, none of which is the last."""
        self.read_bytes = 0
        self.finish: wire.Finish | None = None
        """Size, count and root, once the end is confirmed and recorded."""
        self.content: Content | None = None
        self.end: End | None = None
        self.error: PeerpostError | None = None
        self.settled = False
        """Whether it has become a file, or has been given up."""
        self.on_change: Callable[[], None] = lambda: None
        self.on_failure: Callable[[str], None] = lambda _: None
        """Called with the cause of a failure; set by the driver that sends the stream."""
        self.filled = asyncio.Event()
        self.confirmed = asyncio.Event()

    async def at_end(self, within_s: float) -> bool:
        """Wait for the end of the source. Return whether it has come; raise the error that prevented it."""
        try:
            async with asyncio.timeout(within_s):
                await self.filled.wait()
        except TimeoutError:
            return False
        if self.error is not None:
            raise self.error
        return True

    async def wait_confirmed(self) -> None:
        """Wait until the command confirms the end of the source. A command that is stopped (SIGSTOP) confirms later.

        Raises the error that ended the stream meanwhile.
        """
        await self.confirmed.wait()
        if self.error is not None:
            raise self.error

    def grown(self, available: int, read_bytes: int) -> None:
        """Note that more has arrived."""
        self.available, self.read_bytes = available, read_bytes
        self.on_change()

    def stop(self, error: PeerpostError) -> None:
        """Stop reading, for this reason."""
        if not self.filled.is_set():
            self.fail(error)
            self.source.stop()
        elif not self.settled:
            # Reading has ended already; only the confirmation is missing, and it is not waited for any more.
            self.fail(error)
            self.confirmed.set()

    def fail(self, error: PeerpostError) -> None:
        """Note why it will not be completed. Of several causes, the first one is reported."""
        if self.error is None:
            self.error = error
            self.on_failure(error.message)


def failed(cause: str) -> str:
    """Return the reason that the outbox gets for a failure here, as a message has no state for it but `refused`."""
    return f"{_FAILED}{cause}"


def cause_of_failure(last_error: str | None) -> str | None:
    """Return the cause that was given to `failed`; None if the contact has refused, or nothing has ended."""
    said = last_error or ""
    return said.removeprefix(_FAILED) if said.startswith(_FAILED) else None


class Pipes:
    """The streams of one home."""

    def __init__(self, services: Services, spool: Spool) -> None:
        self._services = services
        self._spool = spool
        self._open: dict[str, Pipe] = {}
        self._places = asyncio.Semaphore(MAX_STREAMS)
        self._tasks = Tasks()

    async def open(self, fd: int) -> Pipe:
        """Begin to read a source, which this takes ownership of, once there is a place for it."""
        pipe = Pipe(fd)
        try:
            await self._places.acquire()
        except BaseException:
            pipe.source.close()
            raise
        self._open[pipe.token] = pipe
        self._tasks.spawn(
            self._fill(pipe),
            name="fill-spool",
            on_failure=EndsOwner(lambda error: pipe.fail(PeerpostError(cause_of(error)))),
        )
        return pipe

    async def _fill(self, pipe: Pipe) -> None:
        loop = asyncio.get_running_loop()

        def on_chunks(available: int, read_bytes: int) -> None:
            loop.call_soon_threadsafe(pipe.grown, available, read_bytes)

        # A source may keep its reader waiting for hours.
        thread = ThreadPoolExecutor(1, thread_name_prefix="stream")
        try:
            pipe.content, pipe.end = await self._spool.put(
                pipe.source,
                file_id=pipe.file_id,
                key=pipe.key,
                on_chunks=on_chunks,
                thread=thread,
                tidy=False,
            )
            pipe.read_bytes = pipe.end.size
        except Exception as error:
            try:
                # This comes before anything is written: the disk may be full because of it.
                await self._services.in_thread(self._spool.empty, pipe.file_id)
            finally:
                pipe.fail(
                    error if isinstance(error, PeerpostError) else PeerpostError(cause_of(error))
                )
            if not isinstance(error, PeerpostError):
                raise
        finally:
            pipe.source.stop()
            await loop.run_in_executor(None, thread.shutdown)
            pipe.source.close()
            pipe.filled.set()

    def confirm(self, token: str) -> None:
        """Note that the source of a stream has ended completely. Raises NotFoundError."""
        if token not in self._open:
            raise NotFoundError("there is no such stream")
        self._open[token].confirmed.set()

    def of(self, file_id: bytes) -> Pipe | None:
        """Return the stream that an outgoing file is read from, while it is being read."""
        return next((s for s in self._open.values() if s.file_id == file_id), None)

    async def record_end(self, pipe: Pipe, transfer_id: str) -> None:
        """Make a file of a stream that has come to its end."""
        content, end = pipe.content, pipe.end
        if content is None or end is None:
            raise UnavailableError("the stream has not come to its end")
        finish = wire.Finish(file_id=pipe.file_id, size=end.size, count=end.count, root=end.root)

        def work(db: apsw.Connection) -> bytes:
            if rows.find(db, transfer_id).state not in rows.OPEN_STATES:
                raise RefusedError("the transfer has ended")
            kept = contents.add(db, content)
            endings.source_ended(db, transfer_id, finish, kept.id)
            return kept.id

        kept_id = await self._services.store.write(work)
        pipe.finish = finish
        self.settle(pipe)
        pipe.on_change()
        if kept_id != pipe.file_id:
            # The same bytes were in the spool already. Whoever still reads this copy has it open.
            await self._spool.tidy({pipe.file_id})

    def settle(self, pipe: Pipe) -> None:
        """Forget a stream: it has become a file, or was given up."""
        pipe.settled = True
        if self._open.pop(pipe.token, None) is not None:
            self._places.release()

    async def give_up(self, pipe: Pipe, error: PeerpostError) -> None:
        """Stop reading. What was read stays, so that its driver can tell the receiver first why there is no more."""
        pipe.stop(error)
        await pipe.filled.wait()
        self.settle(pipe)

    async def fail_cut_off(self) -> None:
        """End what an earlier run of the node was reading when it ended; call it at the start."""

        def work(db: apsw.Connection) -> None:
            for row in rows.cut_streams(db):
                endings.ended(
                    db, row.contact_id, row.file_id, "refused", failed(NODE_ENDED),
                    transfer=("failed", NODE_ENDED),
                )  # fmt: skip

        try:
            await self._services.store.write(work)
        except StoreFullError as error:
            # Each then ends when the receiver asks for it, because its spooled part is gone.
            log.warning("cannot record that streams were cut off: %s", error.message)

    async def stop(self) -> None:
        """Give up all that is being read."""
        for pipe in list(self._open.values()):
            pipe.stop(UnavailableError(NODE_ENDED))
            await pipe.filled.wait()
        await self._tasks.stop()
