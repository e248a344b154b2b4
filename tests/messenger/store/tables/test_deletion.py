"""What the user deletes is gone with what it took up, and never shown again, whoever sends it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec
import pytest

from peerpost.errors import AmbiguousError, NotFoundError
from peerpost.store.tables import blobs, counts, deletion, inbox, lanes, quota, transfers
from peerpost.wire import history
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, chain, message, offer

FILE = bytes([7]) * 16
OTHER_OUTBOX = bytes([9]) * 16
Numbered = tuple[wire.Message, bytes]


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def receive(rig: Rig, contact_id: str, *messages: Numbered) -> inbox.ReceivedBatch:
    return rig.write(inbox.receive_many, contact_id, messages, NOW_MS)


def items(rig: Rig) -> list[inbox.Item]:
    return rig.read(inbox.list_items, contact_id=None, unread=False, limit=10**6, since_ms=None)


def delete_all(rig: Rig) -> list[deletion.Deleted]:
    ids = [item.id for item in items(rig)]
    return rig.write(deletion.delete, ids, None, NOW_MS)


def moved(made: Numbered, seq: int, *, outbox_id: bytes = OTHER_OUTBOX) -> Numbered:
    """Return a message as a sender that was put back sends it: under another number, naming the one it had."""
    old, link = made
    was = history.encode_was([history.Earlier(old.outbox_id, old.lane, old.seq, link)])
    new = msgspec.structs.replace(old, outbox_id=outbox_id, seq=seq, ext={history.WAS: was})
    return new, wire.link(wire.encode(new), new)


def whole_file(rig: Rig, contact_id: str, seq: int = 1) -> tuple[Numbered, transfers.Transfer]:
    made = message(seq, kind=wire.Kind.OFFER, body=offer(FILE), lane=1)
    receive(rig, contact_id, made)
    row = rig.read(transfers.get, contact_id, FILE, incoming=True)
    assert row is not None
    end = wire.Finish(file_id=FILE, size=1000, count=1, root=bytes(32))
    assert rig.write(inbox.complete_incoming, row.id, end, "report.pdf", NOW_MS) is not None
    return made, rig.read(transfers.find, row.id)


# -- what goes


def test_it_is_gone_and_its_room_is_free(rig: Rig, bob: str) -> None:
    receive(rig, bob, *chain(3))
    before = rig.read(quota.usage, bob)
    first = items(rig)[-1]
    (gone,) = rig.write(deletion.delete, [first.id[:6], first.id], None, NOW_MS)
    assert (gone.id, gone.contact_id, gone.kind, gone.size) == (first.id, bob, "text", 6)
    after = rig.read(quota.usage, bob)
    assert (before.bytes - after.bytes, after.rows) == (6 + quota.ROW_BYTES, 2)
    assert [item.body for item in items(rig)] == [b"text 3", b"text 2"]
    assert rig.read(counts.count, bob).received == 3  # So many came.
    delete_all(rig)
    assert rig.read(quota.usage, bob) == quota.Usage(bytes=0, rows=0, quota_bytes=None)


def test_all_or_none(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    receive(rig, bob, *chain(2))
    receive(rig, carol, *chain(1))
    of_carol, *of_bob = (item.id for item in items(rig))
    for ids, contact_id in (
        ([*of_bob, "nosuchid"], None),
        ([*of_bob, ""], None),
        ([*of_bob, of_carol], bob),
    ):
        with pytest.raises(NotFoundError):
            rig.write(deletion.delete, ids, contact_id, NOW_MS)
    rig.write(lambda db: db.execute("UPDATE inbox SET id = 'same' || row_id"))
    rig.renamed = True
    with pytest.raises(AmbiguousError):
        rig.write(deletion.delete, ["same"], None, NOW_MS)
    assert len(items(rig)) == 3
    assert rig.rows("SELECT count(*) FROM deleted") == [(0,)]
    assert rig.write(deletion.delete, [], None, NOW_MS) == []


def test_by_age_the_oldest_first(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    for at, one in enumerate(chain(5)):
        rig.write(inbox.receive_many, bob, [one], NOW_MS + at)
    rig.write(inbox.receive_many, carol, chain(1, tag="carol"), NOW_MS)
    assert rig.read(deletion.older, NOW_MS + 3, None) == (4, 3 * 6 + 7)
    assert rig.read(deletion.older, NOW_MS + 3, bob) == (3, 18)
    assert rig.read(deletion.older, NOW_MS, None) == (0, 0)
    assert len(rig.write(deletion.delete_older, NOW_MS + 3, bob, 2, NOW_MS)) == 2
    assert [item.body for item in items(rig)] == [b"carol 1", b"text 5", b"text 4", b"text 3"]
    assert len(rig.write(deletion.delete_older, NOW_MS + 3, bob, 2, NOW_MS)) == 1
    assert [item.body for item in items(rig)] == [b"carol 1", b"text 5", b"text 4"]


def test_by_age_no_more_at_once_than_the_log_may_take(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "AT_ONCE_BYTES", 13)
    receive(rig, bob, *chain(5))
    whole_file(rig, bob, seq=6)  # What lies beside the store does not count.
    counts = []
    while gone := rig.write(deletion.delete_older, NOW_MS + 1, None, 99, NOW_MS):
        counts.append(len(gone))
    assert counts == [2, 2, 2]
    receive(rig, bob, *chain(7)[5:])
    monkeypatch.setattr(deletion, "AT_ONCE_BYTES", 1)
    assert len(rig.write(deletion.delete_older, NOW_MS + 1, None, 99, NOW_MS)) == 1


def test_it_costs_what_goes_and_not_what_stays(rig: Rig, bob: str) -> None:
    """In hundreds of steps of SQLite's machine."""

    def steps(work: Callable[[apsw.Connection], object]) -> int:
        def counted(db: apsw.Connection) -> int:
            taken = 0

            def count() -> bool:
                nonlocal taken
                taken += 1
                return False

            db.set_progress_handler(count, 100)
            work(db)
            db.set_progress_handler(None)
            return taken

        return rig.write(counted)

    receive(rig, bob, *chain(5000))
    whole_file(rig, bob, seq=4000)
    assert steps(lambda db: deletion.older(db, NOW_MS, None)) < 5
    assert steps(lambda db: deletion.older(db, NOW_MS, bob)) < 5
    assert steps(lambda db: deletion.delete_older(db, NOW_MS, bob, 1000, NOW_MS)) < 5
    assert steps(deletion.kept_files) < 5
    first = items(rig)[-1].id
    assert steps(lambda db: deletion.delete(db, [first], None, NOW_MS)) < 10


# -- what is sent again


def test_what_was_deleted_is_a_duplicate_and_acknowledged(rig: Rig, bob: str) -> None:
    """At the watermark, below it and beyond it."""
    messages = chain(6)
    receive(rig, bob, *messages[:3], messages[5])
    assert len(delete_all(rig)) == 4
    for _ in range(2):
        again = receive(rig, bob, *messages[:3], messages[5])
        assert (again.items, again.conflicts) == ([], [])
        assert [mark.watermark for mark in again.marks] == [3]
    late = receive(rig, bob, *messages)
    assert [item.body for item in late.items] == [b"text 4", b"text 5"]
    assert (late.conflicts, late.marks[0].watermark) == ([], 6)
    assert receive(rig, bob, *messages).items == []


def test_far_below_the_watermark_and_from_another_lane_or_outbox(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Farther than the links of offers are kept, which are pruned as more of them come."""
    monkeypatch.setattr(lanes, "REMEMBERED", 2)
    messages = chain(4)
    receive(rig, bob, *messages)
    delete_all(rig)
    skips = [
        message(seq, kind=wire.Kind.SKIP, body=bytes([seq]) * wire.LINK_BYTES)
        for seq in range(5, 30)
    ]
    receive(rig, bob, *skips)
    assert rig.rows("SELECT min(seq) FROM seen") > [(4,)]
    again = receive(rig, bob, *messages)
    assert (again.items, again.conflicts, again.marks[0].watermark) == ([], [], 29)
    other = chain(4, lane=1), chain(4, outbox_id=OTHER_OUTBOX)
    assert [len(receive(rig, bob, *ones).items) for ones in other] == [4, 4]


def test_another_message_under_a_deleted_number_is_still_told_from_it(rig: Rig, bob: str) -> None:
    receive(rig, bob, *chain(3))
    delete_all(rig)
    batch = receive(rig, bob, message(1, body=b"another"))
    assert (batch.marks, batch.conflicts) == ([], [(bytes(16), 0)])


def test_a_sender_put_back_sends_it_again_under_another_number(rig: Rig, bob: str) -> None:
    messages = chain(3)
    receive(rig, bob, *messages)
    delete_all(rig)
    fresh = message(1, body=b"another under number 1")
    again = receive(rig, bob, moved(messages[0], 1), moved(messages[2], 2), moved(fresh, 3))
    assert [item.body for item in again.items] == [b"another under number 1"]
    assert {mark.outbox_id: mark.watermark for mark in again.marks}[OTHER_OUTBOX] == 3


def test_what_was_taken_back_and_is_there_again_after_all_is_shown(rig: Rig, bob: str) -> None:
    """A tombstone has the link of its message: that is no deletion."""
    (made,) = chain(1)
    skip = message(1, kind=wire.Kind.SKIP, body=made[1])
    receive(rig, bob, skip)
    again = receive(rig, bob, moved(made, 1))
    assert [item.body for item in again.items] == [b"text 1"]


def test_what_came_before_links_were_kept_is_known_by_when_it_was_sent(rig: Rig, bob: str) -> None:
    messages = chain(3)
    receive(rig, bob, *messages)
    rig.write(lambda db: db.execute("UPDATE inbox SET link = NULL"))
    delete_all(rig)
    again = receive(rig, bob, messages[0], moved(messages[1], 1))
    assert (again.items, again.conflicts) == ([], [])
    other = msgspec.structs.replace(messages[0][0], sent_at_ms=NOW_MS + 5)
    assert receive(rig, bob, (other, bytes([5]) * 16)).conflicts != []


def test_what_is_remembered_is_bounded_and_the_first_deleted_is_forgotten_first(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "REMEMBERED", 4)
    carol = rig.make_contact("carol").id
    receive(rig, carol, *chain(3))
    receive(rig, bob, *chain(6))
    delete_all(rig)
    assert rig.rows("SELECT seq FROM deleted WHERE contact_id = ?", bob) == [
        (3,),
        (4,),
        (5,),
        (6,),
    ]
    assert rig.rows("SELECT count(*) FROM deleted WHERE contact_id = ?", carol) == [(3,)]


# -- files


def test_a_file_goes_and_its_transfer_stays_done(rig: Rig, bob: str, tmp_path: Path) -> None:
    made, row = whole_file(rig, bob)
    before = rig.read(quota.usage, bob).bytes
    (gone,) = delete_all(rig)
    assert gone.file is not None
    assert (gone.kind, gone.file.id) == ("file", row.id)
    assert before == 1000 + 2 * quota.ROW_BYTES
    assert rig.read(quota.usage, bob) == quota.Usage(bytes=0, rows=0, quota_bytes=None)
    after = rig.read(transfers.find, row.id)
    assert (after.state, len(row.key), after.key) == ("done", 32, b"")
    for again in (made, moved(made, 1)):
        batch = receive(rig, bob, again)
        assert (batch.offers, batch.items, batch.conflicts) == ([], [], [])
    # Its sender, put back or not, hears that the file has arrived.
    assert batch.ended == [(FILE, "done")]
    end = wire.Finish(file_id=FILE, size=1000, count=1, root=bytes(32))
    assert rig.write(inbox.complete_incoming, row.id, end, "report.pdf", NOW_MS) is None


def test_the_transfer_is_forgotten_with_what_was_deleted_first(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "REMEMBERED", 2)
    _, row = whole_file(rig, bob)
    delete_all(rig)
    receive(rig, bob, *chain(2))
    rig.write(deletion.delete_older, NOW_MS + 1, None, 9, NOW_MS + 1)
    assert rig.rows("SELECT count(*) FROM transfers") == [(0,)]
    assert rig.read(quota.usage, bob) == quota.Usage(bytes=0, rows=0, quota_bytes=None)
    assert row.id not in [kept.id for kept in rig.read(deletion.kept_files)]


def test_an_end_between_commit_and_discard_is_mended_by_the_next_start(
    rig: Rig, bob: str, tmp_path: Path
) -> None:
    _, row = whole_file(rig, bob)
    carol = rig.make_contact("carol").id
    _, kept = whole_file(rig, carol)  # The same file id from another contact, and not deleted.
    folder = tmp_path / "blobs"
    folder.mkdir()
    for one in (row, kept):
        for suffix in (".sealed", ".leaves"):
            blobs.path(folder, one, suffix).write_bytes(b"bytes")
    blobs.sweep(folder, rig.read(deletion.kept_files))
    assert len(list(folder.iterdir())) == 4
    (of_bob,) = (item.id for item in items(rig) if item.contact_id == bob)
    rig.write(deletion.delete, [of_bob], None, NOW_MS)
    rig.close()
    with Rig(rig.path.parent) as again:
        blobs.sweep(folder, again.read(deletion.kept_files))
    assert {path.name for path in folder.iterdir()} == {f"{kept.id}.sealed", f"{kept.id}.leaves"}


def test_a_file_on_its_way_is_refused_with_a_hint(rig: Rig, bob: str) -> None:
    receive(rig, bob, message(1, kind=wire.Kind.OFFER, body=offer(FILE), lane=1))
    row = rig.read(transfers.get, bob, FILE, incoming=True)
    assert row is not None
    with pytest.raises(NotFoundError, match="still on its way") as no:
        rig.write(deletion.delete, [row.id], None, NOW_MS)
    assert f"transfers reject {row.id}" in str(no.value.hint)
    assert rig.read(transfers.find, row.id).state == "offered"
