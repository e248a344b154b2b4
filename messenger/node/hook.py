"""The hook: a program of the user's that is run for each message, one after the other, until it exits with 0.

It is a reader of the inbox like any other (`readers`), which begins with what comes once it is configured. A run that
fails or takes too long is a failure of this duty: it is shown, and tried again with backoff. So a message may be handed
over more than once, and none is passed over unless the user acknowledges it under the hook's name.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peerpost.errors import NotFoundError, StorageError, TransientError, UnavailableError
from peerpost.store.tables import inbox, readers
from peerpost.system import processes

from .described import described
from .encoded import encoded
from .events import coming

if TYPE_CHECKING:
    from .contact.network import Network
    from .files.arrived import Arrived
    from .services import Services

__all__ = ["READER", "Hook"]

READER: Final = "hook"
"""As which reader it acknowledges."""


class Hook:
    """The program of one home."""

    def __init__(self, services: Services, network: Network, arrived: Arrived) -> None:
        self._services = services
        self._network = network
        self._arrived = arrived
        self._argv = services.config.hooks.on_message
        self._limit_s = services.config.hooks.time_limit

    @property
    def is_set(self) -> bool:
        """Whether there is a program to run."""
        return bool(self._argv)

    async def follow(self) -> None:
        """Run it for each message, until cancelled. Raises UnavailableError if a run fails, StorageError."""
        store = self._services.store
        with self._services.events.subscribe() as events:
            reader = await store.read(readers.find, READER)
            if reader.acknowledged_ms is None:
                await self._acknowledge(None)
            while True:
                # Looked up each time: the user may have acknowledged what it fails for.
                reader = await store.read(readers.find, READER)
                items = await store.read(inbox.following, reader.row_id, 1)
                for item in items:
                    await self._hand_over(item)
                    await self._acknowledge(item.row_id)
                if not items:
                    await coming(events)

    async def _acknowledge(self, row_id: int | None) -> None:
        now_ms = self._services.clock.now_ms()
        await self._services.store.write(readers.acknowledge, READER, row_id, now_ms)

    async def _hand_over(self, item: inbox.Item) -> None:
        row = described(item, self._network.name_of(item.contact_id))
        try:
            row |= {"body": None, "error": None} | await self._content(item)
        except NotFoundError:
            return  # It was deleted meanwhile.
        failed = await self._run(encoded(row) + b"\n")
        if failed is not None:
            raise UnavailableError(
                f"[hooks] on_message: {self._argv[0]} {failed} for message {item.id}",
                hint=f"to pass it over: peerpost inbox ack {item.row_id} --as {READER}",
            )

    async def _content(self, item: inbox.Item) -> dict[str, Any]:
        """Return the body of a text, or why it cannot be read. Raises NotFoundError, TransientError."""
        if item.body is not None:
            return {"body": item.body.decode()}
        if item.kind != "text" or item.file_id is None:
            return {}
        try:
            told = await self._arrived.describe(item)
        except (NotFoundError, TransientError):
            raise
        except StorageError as error:
            return {"error": error.message}
        return {"body": told["body"]} if "body" in told else {}

    async def _run(self, data: bytes) -> str | None:
        """Run the program with data on its stdin. Return what went wrong, or None."""
        run = _Run(self._argv, self._services.home)
        try:
            return await asyncio.to_thread(run.to_its_end, data, self._limit_s)
        finally:
            run.end()


class _Run:
    """One run of the program, which blocks a thread: uvloop raises RuntimeError where one dies before it was fed."""

    def __init__(self, argv: tuple[str, ...], home: Path) -> None:
        self._argv = argv
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._turn = threading.Lock()

    def to_its_end(self, data: bytes, limit_s: float) -> str | None:
        """Run it with data on its stdin. Return what went wrong, or None."""
        with self._turn:
            if self._ended:
                return "was not run"
            try:
                process = self._process = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=os.environ | {"PEERPOST_HOME": str(self._home)},
                    **processes.detached(),
                )
            except OSError as error:
                return f"cannot be started ({error.strerror})"
        try:
            process.communicate(data, limit_s)
        except subprocess.TimeoutExpired:
            return f"has taken longer than {limit_s:g} s"
        finally:
            self.end()
        code = process.returncode
        if code:
            return (
                f"has ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            )
        return None

    def end(self) -> None:
        """End it, and all that it has started in its process group, if it still runs."""
        with self._turn:
            self._ended = True
            process = self._process
            if process is not None and process.poll() is None:
                processes.end_group(process.pid)
                process.wait()
