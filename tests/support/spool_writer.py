"""A process that queues a file three times, ends the transfers one by one, and is killed on the way.

Run as `python -m tests.support.spool_writer HOME STEP`: it dies by SIGKILL before the step of that number, where a
step is a file opened or removed under the home's spool, or a commit of the store. It exits with 0 when it was never
killed: then it has done all that it does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from peerpost.client.config import Config
from peerpost.node.events import Events
from peerpost.node.files.queue import FileQueue
from peerpost.node.files.spool import Spool
from peerpost.node.services import Services
from peerpost.node.session.rates import RateLimits
from peerpost.node.settings import Settings
from peerpost.store.db.engine import Store
from peerpost.store.tables import transfers
from peerpost.wire.inner import Lane
from tests.support.store_rig import KEY

DATA = bytes(range(256)) * 2048


class Steps:
    """Counts what is done to the disk, and dies before one of them."""

    def __init__(self, folder: Path, fatal: int) -> None:
        self._folder, self._left = str(folder), fatal
        sys.addaudithook(self._hook)
        commit = Store._commit

        def counted(store: Store, connection: Any, batch: Any) -> None:
            self.step()
            commit(store, connection, batch)

        Store._commit = counted  # type: ignore[method-assign]

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.remove"} and str(arguments[0]).startswith(self._folder):
            self.step()

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def services_of(home: Path, store: Store) -> Services:
    """Return what a node shares, of a home without one."""
    return Services(
        home=home,
        store=store,
        settings=Settings(Config()),
        events=Events(store),
        threads=ThreadPoolExecutor(2),
        limits=RateLimits(),
    )


async def run(home: Path, fatal: int) -> None:
    loop = asyncio.get_running_loop()
    store = await Store.open(home / "store.db", KEY, loop=loop, ballast_bytes=0)
    services = services_of(home, store)
    folder = home / "spool"
    Steps(folder, fatal)
    spool = Spool(services, folder)
    await spool.sweep()
    queue = FileQueue(services, spool)
    people = await store.read(lambda db: [row[0] for row in db.execute("SELECT id FROM contacts")])
    for contact_id in people:
        reading, writing = os.pipe()
        # The second comes by a pipe, whose size nobody knows before its end.
        source = (home.parent / "source").open("rb")
        if contact_id == people[1]:
            feeder = loop.run_in_executor(None, _feed, writing)
            await _put(queue, contact_id, reading)
            await feeder
        else:
            os.close(writing)
            await _put(queue, contact_id, source.fileno())
        os.close(reading)
        source.close()
    for contact_id in people:
        for row in await store.read(transfers.of_contact, contact_id):
            await store.write(transfers.set_state, row.id, "done")
            await spool.tidy_after([row])
    await store.close()


def _feed(fd: int) -> None:
    with os.fdopen(fd, "wb") as pipe:
        pipe.write(DATA)


async def _put(queue: FileQueue, contact_id: str, fd: int) -> None:
    await queue.put(contact_id, fd, name="a", path_hint=None, lane=Lane.BULK, expires_ms=None)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
