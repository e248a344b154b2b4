"""How soon a contact may have its messages opened again: each takes the time of all contacts."""

from __future__ import annotations

import apsw
import pytest

from peerpost.errors import ProtocolError
from peerpost.store.tables import agreement, identity, outbox
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig

COUNT = 4000
"""Opened anew, they are not opened again for 20 s."""


@pytest.fixture
def bob(rig: Rig) -> str:
    """Return a contact to whom so many messages were delivered."""
    contact_id = rig.make_contact("bob").id

    def fill(db: apsw.Connection) -> None:
        for number in range(COUNT):
            outbox.enqueue(
                db,
                contact_id=contact_id,
                lane=0,
                message_kind=wire.Kind.TEXT,
                body=str(number).encode(),
                size=1,
                now_ms=NOW_MS,
            )
        outbox_id = identity.outbox_id_for(db, contact_id)
        outbox.acknowledge(db, contact_id, outbox_id, 0, COUNT, b"", NOW_MS)

    rig.write(fill)
    return contact_id


def agree(rig: Rig, contact_id: str, watermark: int, at_ms: int) -> agreement.Agreement:
    outbox_id = rig.read(identity.outbox_id_for, contact_id)
    have = [(outbox_id, 0, watermark)] if watermark else []
    return rig.write(agreement.agree, contact_id, have, None, complete=True, now_ms=NOW_MS + at_ms)


def open_count(rig: Rig) -> int:
    return rig.read(lambda db: db.execute("SELECT count(*) FROM outbox WHERE settled = 0").get)


def acknowledge(rig: Rig, contact_id: str) -> None:
    def work(db: apsw.Connection) -> None:
        outbox_id = identity.outbox_id_for(db, contact_id)
        outbox.acknowledge(db, contact_id, outbox_id, 0, COUNT, b"", NOW_MS)

    rig.write(work)


def test_who_says_again_and_again_that_it_lacks_all_has_to_wait(rig: Rig, bob: str) -> None:
    agree(rig, bob, 0, 0)
    assert open_count(rig) == COUNT
    acknowledge(rig, bob)
    for at_ms in (1, 9_999, 10_001, 5 * COUNT - 1):
        with pytest.raises(ProtocolError, match="again and again"):
            agree(rig, bob, 0, at_ms)
        assert open_count(rig) == 0
    agree(rig, bob, 0, 5 * COUNT)
    assert open_count(rig) == COUNT


def test_who_takes_what_it_lacks_in_many_sessions_does_not_wait(rig: Rig, bob: str) -> None:
    """A line that breaks again and again, while all of it comes once more."""
    for watermark in (0, 10, 11, 500):
        agree(rig, bob, watermark, watermark)
        assert open_count(rig) == COUNT - watermark
