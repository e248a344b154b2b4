"""A process that writes until it is killed, and prints what it was told is safe.

Run as `python -m tests.support.store_writer HOME WRITERS`: WRITERS tasks queue texts for one contact
and take in messages of it, each as fast as the store answers. A line is printed after the answer and
never before: `q NUMBER` for a queued text, `r NUMBER` for a message taken in.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from peerpost.errors import NoIdentityError
from peerpost.store.db.engine import Store
from peerpost.store.tables import contacts, identity, inbox
from tests.support.store_rig import KEY, NOW_MS, message, public_of, queue_next


def say(line: str) -> None:
    """Print a line at once: what is still in a buffer is lost when the process is killed."""
    os.write(1, line.encode() + b"\n")


async def queue(store: Store, contact_id: str) -> None:
    while True:
        entry = await store.write(queue_next, contact_id, body)
        say(f"q {entry.seq}")


def body(seq: int) -> str:
    """Return the text under a number: up to some pages of the database."""
    return f"{seq} " + "x" * (seq * 7919 % 9000)


async def receive(store: Store, contact_id: str) -> None:
    marks = await store.read(inbox.watermarks, contact_id)
    first = marks[0].watermark + 1 if marks else 1
    prev = marks[0].link if marks else bytes(16)
    for seq in itertools.count(first):
        made = message(seq, prev, body=body(seq).encode())
        prev = made[1]
        batch = await store.write(inbox.receive_many, contact_id, [made], NOW_MS)
        say(f"r {batch.marks[0].watermark}")


async def run(home: Path, writers: int) -> None:
    loop = asyncio.get_running_loop()
    store = await Store.open(home / "store.db", KEY, loop=loop, ballast_bytes=0)
    try:
        await store.read(identity.load)
    except NoIdentityError:
        await store.write(identity.create, "me", 4001, NOW_MS)
    bob = await store.read(contacts.by_public, public_of("bob"))
    if bob is None:
        bob = await store.write(
            contacts.add, name="bob", id_public=public_of("bob"), state="active", now_ms=NOW_MS
        )
    say("ready")
    await asyncio.gather(receive(store, bob.id), *(queue(store, bob.id) for _ in range(writers)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
