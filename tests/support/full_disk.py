"""What a store does on a full disk, as a process of its own on a disk of its own.

Run as `python -m tests.support.full_disk SCENARIO FOLDER`, where FOLDER is a file system of 4 MiB. Ends
with 0 where all holds.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peerpost.errors import StoreFullError
from peerpost.store import keyfile
from peerpost.store.db import engine
from peerpost.store.tables import deletion, inbox, outbox, quota
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, chain

TEXT = "x" * 20_000
BALLAST_BYTES = 512 << 10
FILLER = "filler"


def fill(folder: Path, leave_bytes: int) -> None:
    """Fill the disk except for this many bytes."""
    room = shutil.disk_usage(folder).free - leave_bytes
    with (folder / FILLER).open("ab") as file:
        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, room)


def make_room(folder: Path) -> None:
    (folder / FILLER).unlink()


def queue_until_full(rig: Rig, contact_id: str, hint: str = "space") -> list[outbox.Entry]:
    """Queue until the disk is full, which is said with this in the hint; return what was answered."""
    answered: list[outbox.Entry] = []
    for _ in range(1000):
        try:
            answered.append(rig.queue(contact_id, f"{len(answered)} {TEXT}"))
        except StoreFullError as error:
            if error.exit_code != 74 or hint not in str(error.hint):
                raise
            return answered
    raise AssertionError("the disk was never full")


def refused(ask: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    try:
        ask(*args, **kwargs)
    except StoreFullError:
        return True
    return False


def hold(rig: Rig, contact_id: str, answered: list[outbox.Entry]) -> None:
    """Check that everything that was answered is there, and that no number is missing."""
    found = {entry.id: entry for entry in rig.unsettled(contact_id)}
    for entry in answered:
        assert found[entry.id].inner == entry.inner, "an answered entry is gone"
    numbers = [entry.seq for entry in found.values()]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    assert rig.read(lambda db: db.pragma("integrity_check")) == "ok"


# -- scenarios


def goes_on(folder: Path) -> None:
    """Full, nothing lost; space is made: it goes on, with the next number."""
    fill(folder, 2 << 20)
    with Rig(folder) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        answered = queue_until_full(rig, bob)
        assert len(answered) > 10
        hold(rig, bob, answered)
        for _ in range(5):
            assert refused(rig.queue, bob, TEXT)
        hold(rig, bob, answered)
        make_room(folder)
        answered.append(rig.queue(bob, TEXT))
        assert answered[-1].seq == len(answered)
        hold(rig, bob, answered)
    with Rig(folder) as again:
        hold(again, bob, answered)
        again.queue(bob)


def batches(folder: Path) -> None:
    """Many writers at once: each has its answer, and every yes is true."""
    fill(folder, 2 << 20)

    async def ask(rig: Rig, bob: str) -> list[Any]:
        return await asyncio.gather(
            *(
                rig.store.write(
                    outbox.enqueue,
                    contact_id=bob,
                    lane=0,
                    message_kind=wire.Kind.TEXT,
                    body=TEXT.encode(),
                    size=1,
                    now_ms=NOW_MS,
                )
                for _ in range(20)
            ),
            return_exceptions=True,
        )

    with Rig(folder) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        answered: list[outbox.Entry] = []
        errors: list[BaseException] = []
        while len(errors) < 30:
            for result in rig.run(ask(rig, bob)):
                (errors if isinstance(result, BaseException) else answered).append(result)
        assert all(isinstance(error, StoreFullError) for error in errors), errors
        assert answered
        hold(rig, bob, answered)
        make_room(folder)
        answered.append(rig.queue(bob))
        hold(rig, bob, answered)


def reserve(folder: Path) -> None:
    """With a reserve: what is queued drains on the full disk, and nothing new is taken."""
    # The same ratio as 64 MiB to the log's 4 MiB: the log is checkpointed before it has used up the reserve.
    engine.WAL_CHECKPOINT_PAGES = engine.WAL_BUSY_PAGES = BALLAST_BYTES // 4096 // 16
    fill(folder, 2 << 20)
    ballast = folder / "ballast"
    with Rig(folder, ballast_bytes=BALLAST_BYTES) as rig:
        assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
        rig.make_identity()
        bob = rig.make_contact("bob").id
        seen = chain(3)
        rig.write(inbox.receive_many, bob, seen[:2], NOW_MS)
        answered = queue_until_full(rig, bob)
        assert ballast.stat().st_size < BALLAST_BYTES
        # There is room now, but it is not for this.
        assert refused(rig.queue, bob, "short")
        assert refused(rig.write, inbox.receive_many, bob, seen, NOW_MS)
        assert rig.write(inbox.receive_many, bob, seen[:2], NOW_MS).marks[0].watermark == 2
        for entry in answered:
            assert len(rig.write(outbox.mark_sent, [entry.row_id])) == 1
            (settled,) = rig.acknowledge(entry, entry.seq)
            assert settled.state == "delivered"
        assert refused(rig.queue, bob, "short")
        make_room(folder)
        assert rig.queue(bob, "short").seq == len(answered) + 1
        assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
        assert len(rig.write(inbox.receive_many, bob, seen, NOW_MS).items) == 1


def deleting(folder: Path) -> None:
    """What was received can be deleted on the full disk: never more at once than the reserve holds."""
    engine.WAL_CHECKPOINT_PAGES = engine.WAL_BUSY_PAGES = BALLAST_BYTES // 4096 // 16
    deletion.AT_ONCE_BYTES = BALLAST_BYTES // 16  # type: ignore[misc]  # As 4 MiB beside 64.
    with Rig(folder, ballast_bytes=BALLAST_BYTES) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        for message in chain(60, tag=TEXT):
            rig.write(inbox.receive_many, bob, [message], NOW_MS)
        fill(folder, 200_000)
        queue_until_full(rig, bob)
        assert (folder / "ballast").stat().st_size < BALLAST_BYTES
        count = 0
        while gone := rig.write(deletion.delete_older, NOW_MS + 1, None, 1000, NOW_MS):
            count += len(gone)
        assert count == 60
        assert rig.read(quota.usage, bob).rows == 0
        assert rig.read(lambda db: db.pragma("integrity_check")) == "ok"
        assert refused(rig.queue, bob)


def opening(folder: Path) -> None:
    """A disk that is full from the start: a clear error; and the reserve opens what is there."""
    home, new = folder / "home", folder / "new"
    home.mkdir()
    new.mkdir()
    with Rig(home, ballast_bytes=BALLAST_BYTES) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        entry = rig.queue(bob)
    fill(folder, 0)
    assert refused(Rig, new)
    assert refused(keyfile.create, new)
    assert not keyfile.exists(new)
    with Rig(home, ballast_bytes=BALLAST_BYTES) as rig:
        assert refused(rig.queue, bob)
        assert rig.acknowledge(entry, 1)[0].state == "delivered"
    make_room(folder)
    with Rig(home, ballast_bytes=BALLAST_BYTES) as rig:
        assert rig.queue(bob).seq == 2
    with Rig(new) as rig:
        rig.make_identity()


def every_page(folder: Path) -> None:
    """Full at each page in turn: every refusal says so, and every yes is kept."""
    home = folder / "home"
    home.mkdir()
    with Rig(home) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        first = [rig.queue(bob, TEXT) for _ in range(3)]
    kept = home / "store.db"
    original = kept.read_bytes()
    for pages in range(0, 60, 2):
        for path in home.iterdir():
            path.unlink()
        kept.write_bytes(original)
        fill(folder, pages * 4096)
        answered = list(first)
        try:
            with Rig(home) as rig:
                for size in (10, 9000, 10, 5000, 20_000, 10):
                    try:
                        answered.append(rig.queue(bob, "z" * size))
                    except StoreFullError:
                        continue
                hold(rig, bob, answered)
        except StoreFullError:
            assert len(answered) == 3
        make_room(folder)
        with Rig(home) as rig:
            hold(rig, bob, answered)
            rig.queue(bob)


def limited(folder: Path) -> None:
    """A limit on the size of files, which the system reports in another way, is the same."""
    with Rig(folder) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        was = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, was[1]))
        answered = queue_until_full(rig, bob, "ulimit -f")
        hold(rig, bob, answered)
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        answered.append(rig.queue(bob))
        hold(rig, bob, answered)
    with Rig(folder) as again:
        hold(again, bob, answered)


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (goes_on, batches, reserve, deleting, opening, every_page, limited)
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
