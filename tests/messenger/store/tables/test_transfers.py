"""Transfers: what a restart needs to go on, and a file that is shown once."""

from __future__ import annotations

import pytest

from peerpost.errors import NotFoundError
from peerpost.store.tables import contacts, inbox, transfers
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, message, offer

FILE = bytes([7]) * 16
FINISH = wire.Finish(file_id=FILE, size=900_000, count=4, root=bytes([1]) * 32)


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def outgoing(
    rig: Rig, contact_id: str, file_id: bytes = FILE, finish: wire.Finish | None = None
) -> transfers.Transfer:
    rig.write(
        transfers.add_outgoing,
        contact_id=contact_id,
        file_id=file_id,
        key=bytes([2]) * 32,
        chunk_log2=18,
        name="report.pdf",
        as_text=False,
        size=900_000,
        finish=finish,
        source='{"path": "/somewhere"}',
        now_ms=NOW_MS,
    )
    row = rig.read(transfers.get, contact_id, file_id, incoming=False)
    assert row is not None
    return row


def incoming(
    rig: Rig, contact_id: str, file_id: bytes = FILE, *, as_text: bool = False, seq: int = 1
) -> transfers.Transfer:
    body = offer(file_id, as_text=as_text)
    made = message(seq, kind=wire.Kind.OFFER, body=body, outbox_id=bytes([3]) * 16, lane=1)
    rig.write(inbox.receive_many, contact_id, [made], NOW_MS)
    row = rig.read(transfers.get, contact_id, file_id, incoming=True)
    assert row is not None
    return row


def test_an_outgoing_file_comes_back_as_it_was_put(rig: Rig, bob: str) -> None:
    row = outgoing(rig, bob, finish=FINISH)
    assert (row.incoming, row.state, row.as_text) == (False, "offered", False)
    assert (row.key, row.source, row.finish) == (bytes([2]) * 32, '{"path": "/somewhere"}', FINISH)
    assert rig.read(transfers.find, row.id[:5]) == row
    assert "\\x02" not in repr(row)


def test_the_same_file_may_go_to_several_and_come_from_several(rig: Rig, bob: str) -> None:
    carol, dave = rig.make_contact("carol").id, rig.make_contact("dave").id
    rows = [outgoing(rig, bob), outgoing(rig, carol), incoming(rig, dave)]
    assert len({row.id for row in rows}) == 3
    assert rig.read(transfers.get, bob, bytes(16), incoming=True) is None
    assert {row.id for row in rig.read(transfers.of_contact, bob)} == {rows[0].id}


def test_an_offer_of_what_we_offer_to_the_same_contact_is_none(rig: Rig, bob: str) -> None:
    row = outgoing(rig, bob)
    offer = wire.encode_offer(
        wire.Offer(
            file_id=row.file_id, key=bytes(32), chunk_log2=18, size=1, name="a", as_text=False
        )
    )
    made = message(1, kind=wire.Kind.OFFER, body=offer)
    assert rig.write(inbox.receive_many, bob, [made], NOW_MS).offers == []
    assert rig.read(transfers.get, bob, row.file_id, incoming=True) is None


def test_only_open_transfers_are_resumed(rig: Rig, bob: str) -> None:
    rows = [outgoing(rig, bob, bytes([number]) * 16) for number in range(7)]
    states = [*transfers.OPEN_STATES, "done", "failed", "cancelled"]
    for row, state in zip(rows, states, strict=True):
        changed = rig.write(transfers.set_state, row.id, state, "why")
        assert (changed.state, changed.error) == (state, "why")
    found = {row.state for row in rig.read(transfers.of_contact, bob)}
    assert found == set(transfers.OPEN_STATES)
    assert len(rig.read(transfers.list_transfers, 100)) == 7
    assert len(rig.read(transfers.list_transfers, 3)) == 3


def test_a_new_state_clears_the_error_of_the_last(rig: Rig, bob: str) -> None:
    row = incoming(rig, bob)
    rig.write(transfers.set_state, row.id, "paused", "the disk is full")
    assert rig.write(transfers.set_state, row.id, "active").error is None
    with pytest.raises(NotFoundError):
        rig.write(transfers.set_state, "nothing", "done")


def test_a_checkpoint_is_there_after_a_restart(rig: Rig, bob: str) -> None:
    row = incoming(rig, bob)
    rig.write(transfers.set_state, row.id, "active")
    rig.write(transfers.checkpoint, row.id, b"\x05", 524_288, None)
    rig.write(transfers.checkpoint, row.id, b"\x0d", 786_432, FINISH)
    folder = rig.path.parent
    rig.close()
    with Rig(folder) as again:
        (found,) = again.read(transfers.of_contact, bob)
        assert (found.have, found.progress_bytes, found.finish) == (b"\x0d", 786_432, FINISH)


def test_a_whole_file_is_shown_once(rig: Rig, bob: str) -> None:
    row = incoming(rig, bob)
    rig.write(transfers.set_state, row.id, "active")
    item = rig.write(inbox.complete_incoming, row.id, FINISH, "report.pdf", NOW_MS + 9)
    assert item is not None
    assert (item.kind, item.name, item.size, item.file_id) == ("file", "report.pdf", 900_000, FILE)
    assert (item.body, item.preview, item.unread) == (None, "report.pdf", True)
    assert (item.sent_ms, item.received_ms) == (NOW_MS - 1000, NOW_MS + 9)
    assert rig.write(inbox.complete_incoming, row.id, FINISH, "report.pdf", NOW_MS) is None
    done = rig.read(transfers.find, row.id)
    assert (done.state, done.progress_bytes, done.finish) == ("done", 900_000, FINISH)
    assert rig.read(inbox.unread_counts) == {bob: 1}


def test_a_long_text_is_shown_as_a_text(rig: Rig, bob: str) -> None:
    row = incoming(rig, bob, as_text=True)
    item = rig.write(inbox.complete_incoming, row.id, FINISH, "", NOW_MS)
    assert item is not None
    assert (item.kind, item.name, item.preview) == ("text", None, "")


def test_a_checkpoint_that_comes_late_changes_nothing(rig: Rig, bob: str) -> None:
    row = incoming(rig, bob)
    rig.write(inbox.complete_incoming, row.id, FINISH, "report.pdf", NOW_MS)
    rig.write(transfers.checkpoint, row.id, b"\x01", 262_144, None)
    done = rig.read(transfers.find, row.id)
    assert (done.have, done.progress_bytes) == (b"", 900_000)


def test_a_file_that_has_come_outlives_its_contact(rig: Rig, bob: str) -> None:
    outgoing(rig, bob, bytes([8]) * 16)
    row = incoming(rig, bob)
    rig.write(inbox.complete_incoming, row.id, FINISH, "report.pdf", NOW_MS)
    incoming(rig, bob, bytes([9]) * 16, seq=2)
    rig.write(contacts.remove, bob)
    kept = rig.read(transfers.get, bob, FILE, incoming=True)
    assert kept is not None
    assert (kept.key, kept.finish) == (row.key, FINISH)
    assert rig.rows("SELECT count(*) FROM transfers") == [(1,)]
