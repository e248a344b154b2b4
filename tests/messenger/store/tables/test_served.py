"""What was queued behind the removal of a contact, or its block, writes nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.errors import NotFoundError, PeerpostError, UntrustedError
from peerpost.store.tables import agreement, contacts, endings, inbox, outbox
from peerpost.wire import history
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, add_upload, chain, message, offer

FILE_ID = bytes([7]) * 16
THEIRS = bytes([3]) * 16
Work = Callable[[apsw.Connection, str], object]


def _comes(db: apsw.Connection, contact_id: str) -> object:
    return inbox.receive_many(db, contact_id, chain(2, outbox_id=THEIRS), NOW_MS)


def _is_offered(db: apsw.Connection, contact_id: str) -> object:
    made = message(1, body=offer(FILE_ID), kind=wire.Kind.OFFER, outbox_id=THEIRS, lane=1)
    return inbox.receive_many(db, contact_id, [made], NOW_MS)


def _goes(db: apsw.Connection, contact_id: str) -> object:
    return outbox.enqueue(
        db,
        contact_id=contact_id,
        lane=0,
        message_kind=wire.Kind.TEXT,
        body=b"hello",
        size=5,
        now_ms=NOW_MS,
    )


def _file_goes(db: apsw.Connection, contact_id: str) -> object:
    add_upload(db, contact_id, FILE_ID)
    return _goes(db, contact_id)


def _agrees(db: apsw.Connection, contact_id: str) -> object:
    have = [(db.execute("SELECT outbox_id FROM identity").get, 0, 99)]
    return agreement.agree(db, contact_id, have, None, complete=True, now_ms=NOW_MS)


def _doubts(db: apsw.Connection, contact_id: str) -> object:
    current = db.execute("SELECT outbox_id FROM identity").get
    return agreement.doubted(db, contact_id, current, NOW_MS)


def _is_behind(db: apsw.Connection, contact_id: str) -> object:
    return agreement.note_if_behind(db, contact_id, THEIRS, 0, 99, NOW_MS)


def _answers(db: apsw.Connection, contact_id: str) -> object:
    return agreement.heard(db, contact_id, THEIRS, 0, history.BACK, NOW_MS)


def _was_put_back(db: apsw.Connection, contact_id: str) -> object:
    return agreement.put_back(db, contact_id, "theirs", NOW_MS)


def _is_whole(db: apsw.Connection, _contact_id: str) -> object:
    finish = wire.Finish(file_id=FILE_ID, size=1, count=1, root=bytes(32))
    return inbox.complete_incoming(db, "the one that came", finish, "a", NOW_MS)


WRITES: list[Work] = [
    _comes,
    _is_offered,
    _goes,
    _file_goes,
    _agrees,
    _doubts,
    _is_behind,
    _answers,
    _was_put_back,
    _is_whole,
]
SAY_NOTHING: list[Work] = [
    lambda db, id_: endings.delivered(db, id_, FILE_ID, NOW_MS),
    lambda db, id_: endings.ended(db, id_, FILE_ID, "refused", "no"),
    lambda db, id_: contacts.touch(db, id_, NOW_MS),
    lambda db, id_: contacts.expire(db, id_, "no"),
]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as made:
        made.make_identity()
        yield made


def _of_contact(db: apsw.Connection) -> dict[str, list[Any]]:
    """Return all rows of every table that names a contact, but for the journal: that it was removed stays there."""
    tables = [
        str(row[0]) for row in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")
    ]
    return {
        table: db.execute(f"SELECT * FROM {table}").fetchall()
        for table in tables
        if table != "changes"
        and any(
            column[1] == "contact_id" or table == "contacts"
            for column in db.execute(f"PRAGMA table_info({table})")
        )
    }


def _together(rig: Rig, first: Work, then: Work, contact_id: str) -> list[Any]:
    """Queue two jobs in one turn, the second behind the first; return the outcomes."""

    async def both() -> list[Any]:
        return await asyncio.gather(
            rig.store.write(first, contact_id),
            rig.store.write(then, contact_id),
            return_exceptions=True,
        )

    outcomes: list[Any] = rig.run(both())
    return outcomes


@pytest.mark.parametrize("work", WRITES)
def test_what_waits_behind_a_removal_writes_no_row(rig: Rig, work: Work) -> None:
    bob = rig.make_contact("bob").id
    made = message(1, body=offer(FILE_ID), kind=wire.Kind.OFFER, outbox_id=THEIRS, lane=1)
    if work is _is_whole:
        rig.write(inbox.receive_many, bob, [made], NOW_MS)
        rig.write(lambda db: db.execute("UPDATE transfers SET id = 'the one that came'"))
        rig.renamed = True
    before = rig.read(_of_contact)
    removed, outcome = _together(rig, contacts.remove, work, bob)
    assert removed is None
    assert isinstance(outcome, NotFoundError), outcome
    after = rig.read(_of_contact)
    assert after["contacts"] == []
    assert after["transfers"] == []
    for table in before.keys() - {"contacts", "transfers", "usage"}:
        assert after[table] == before[table], table
    assert [row[1:] for row in after["usage"]] in ([], [(0, 0)])


@pytest.mark.parametrize("work", SAY_NOTHING)
def test_what_only_changes_rows_finds_none(rig: Rig, work: Work) -> None:
    bob = rig.make_contact("bob").id
    _, outcome = _together(rig, contacts.remove, work, bob)
    assert not isinstance(outcome, BaseException) or isinstance(outcome, PeerpostError), outcome
    assert not any(rig.read(_of_contact).values())


@pytest.mark.parametrize("work", [_comes, _is_offered, _agrees])
def test_what_came_waits_behind_a_block_and_is_not_taken(rig: Rig, work: Work) -> None:
    bob = rig.make_contact("bob").id
    before = rig.read(_of_contact)
    _, outcome = _together(rig, contacts.block, work, bob)
    assert isinstance(outcome, UntrustedError), outcome
    after = rig.read(_of_contact)
    assert {**after, "contacts": ()} == {**before, "contacts": ()}
    rig.write(contacts.unblock, bob)
    rig.write(work, bob)
