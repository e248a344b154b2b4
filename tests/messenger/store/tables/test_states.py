"""The tables of states: nothing else may follow, and the conditions made of them are those of the schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerpost.errors import PeerpostError
from peerpost.store.db import migrations
from peerpost.store.tables import inbox, outbox, states, transfers
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, message, offer

FILE = bytes([7]) * 16


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def asking(rig: Rig, bob: str) -> str:
    """Have a file offered and the user asked; return the id of the transfer."""
    told, link = message(1, body=offer(FILE), kind=wire.Kind.OFFER)
    rig.write(inbox.receive_many, bob, [(told, link)], NOW_MS, quota_bytes=1 << 30)
    (id_,) = rig.write(transfers.ask, bob, None)
    return id_


def test_a_state_that_cannot_follow_is_not_set(rig: Rig, bob: str) -> None:
    id_ = asking(rig, bob)
    assert rig.write(transfers.set_state, id_, "paused").state == "asking"
    assert rig.write(transfers.set_state, id_, "active").state == "active"
    assert rig.write(transfers.set_state, id_, "cancelled", "why").state == "cancelled"
    for state in states.TRANSFER_NEXT:
        row = rig.write(transfers.set_state, id_, state)
        assert (row.state, row.error) == ("cancelled", "why")


@pytest.mark.parametrize("state", [s for s in states.ENTRY_NEXT if s != "queued"])
def test_the_tests_of_the_store_hold_the_tables(rig: Rig, bob: str, state: str) -> None:
    entry = rig.queue(bob)
    other = rig.queue(bob)
    update = "UPDATE outbox SET state = ? WHERE id = ?"
    rig.write(lambda db: db.execute(update, (state, entry.id)) and None)
    with pytest.raises(PeerpostError, match="no state that may follow"):
        rig.write(lambda db: db.execute(update, ("queued", entry.id)) and None)
    assert rig.read(outbox.find, entry.id).state == state
    assert rig.read(outbox.find, other.id).state == "queued"


def test_the_indexes_have_the_conditions_of_the_tables() -> None:
    schema = Path(migrations.__file__).with_name("schema")
    sql = " ".join(path.read_text(encoding="utf-8") for path in sorted(schema.glob("*.sql")))
    assert states.TRANSFER_OPEN in sql
    assert states.ENTRY_OPEN in sql
