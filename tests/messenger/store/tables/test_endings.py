"""A file that we send ends once: its entry and its transfer together, whoever ends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peerpost.store.tables import endings, outbox, transfers
from tests.support.store_rig import NOW_MS, Rig, add_upload

FILE = bytes([9]) * 16


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def queued(rig: Rig, bob: str) -> outbox.Entry:
    rig.write(add_upload, bob, FILE)
    return rig.queue_file(bob, FILE)


def transfer(rig: Rig, bob: str) -> transfers.Transfer:
    row = rig.read(transfers.get, bob, FILE, incoming=False)
    assert row is not None
    return row


ENDS: dict[str, Callable[[Rig, str, outbox.Entry], object]] = {
    "cancelled": lambda rig, _, entry: rig.write(outbox.cancel, entry.id),
    "expired": lambda rig, _, __: rig.write(outbox.expire, NOW_MS + 10**9),
    "refused": lambda rig, bob, _: rig.write(endings.ended, bob, FILE, "refused", "no"),
    "delivered": lambda rig, bob, _: rig.write(endings.delivered, bob, FILE, NOW_MS),
}


@pytest.mark.parametrize("state", ENDS)
def test_an_entry_and_its_transfer_end_together(rig: Rig, bob: str, state: str) -> None:
    entry = queued(rig, bob)
    rig.write(lambda db: db.execute("UPDATE outbox SET expires_ms = ?", (NOW_MS + 1,)))
    ENDS[state](rig, bob, entry)
    assert rig.read(outbox.find, entry.id).state == state
    row = transfer(rig, bob)
    assert row.state == ("done" if state == "delivered" else "cancelled")
    untold = [row.id for row in rig.read(transfers.untold, bob)]
    assert untold == ([] if state == "delivered" else [row.id])
    # What has ended stays so, whoever comes late.
    assert rig.write(transfers.set_state, row.id, "paused").state == row.state
    assert rig.write(endings.delivered, bob, FILE, NOW_MS) is None
    assert rig.read(outbox.find, entry.id).state == state


@pytest.mark.parametrize(("state", "now"), [("cancelled", "cancelled"), ("delivered", "done")])
def test_a_transfer_that_an_older_version_left_open_is_ended(
    rig: Rig, bob: str, state: str, now: str
) -> None:
    queued(rig, bob)
    rig.write(lambda db: db.execute("UPDATE outbox SET state = ?", (state,)))
    assert rig.write(endings.reconcile) == 1
    assert transfer(rig, bob).state == now
    assert rig.write(endings.reconcile) == 0


@pytest.mark.parametrize(("state", "now"), [("failed", "refused"), ("done", "delivered")])
def test_an_entry_that_an_older_version_left_open_is_ended(
    rig: Rig, bob: str, state: str, now: str
) -> None:
    entry = queued(rig, bob)
    rig.write(lambda db: db.execute("UPDATE transfers SET state = ?, error = 'why'", (state,)))
    assert rig.write(endings.reconcile) == 1
    assert rig.read(outbox.find, entry.id).state == now
    assert rig.write(endings.reconcile) == 0
