"""The outbox: numbers without gaps, states that only go on, tombstones for what is taken back."""

from __future__ import annotations

from typing import Any

import pytest

from peerpost.errors import AmbiguousError, NotFoundError, UsageError
from peerpost.store.tables import contacts, endings, offered, outbox
from peerpost.store.tables import entries as store_entries
from peerpost.store.tables.numbered import link_of
from peerpost.wire import inner as wire
from peerpost.wire import limits
from tests.support.store_rig import NOW_MS, Rig

FILE = bytes([9]) * 16


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def decoded(entry: outbox.Entry) -> wire.Message:
    made = wire.decode(entry.inner)
    assert isinstance(made, wire.Message)
    return made


def state(rig: Rig, entry: outbox.Entry) -> str:
    return rig.read(outbox.find, entry.id).state


# -- numbers and links


def test_numbers_run_from_one_for_each_contact_and_lane(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    lanes = [(bob, 0), (bob, 1), (carol, 0)]
    for _ in range(4):
        for contact_id, lane in lanes:
            rig.queue(contact_id, lane=lane)
    for contact_id, lane in lanes:
        assert [entry.seq for entry in rig.unsettled(contact_id, lane)] == [1, 2, 3, 4]


def test_each_links_to_the_one_before(rig: Rig, bob: str) -> None:
    for number in range(5):
        rig.queue(bob, f"text {number}")
    prev = wire.FIRST_LINK
    for entry in rig.unsettled(bob):
        made = decoded(entry)
        assert (made.seq, made.outbox_id) == (entry.seq, entry.outbox_id)
        assert made.prev == prev
        prev = wire.link(entry.inner, made)


def test_a_failed_entry_leaves_no_gap(rig: Rig, bob: str) -> None:
    rig.queue(bob)

    def queue_and_fail(db: Any) -> None:
        outbox.enqueue(
            db,
            contact_id=bob,
            lane=0,
            message_kind=wire.Kind.TEXT,
            body=b"x",
            size=1,
            now_ms=NOW_MS,
        )
        raise UsageError("not after all")

    with pytest.raises(UsageError):
        rig.write(queue_and_fail)
    assert rig.queue(bob).seq == 2


def test_numbers_go_on_after_a_restart(rig: Rig, bob: str, tmp_path: Any) -> None:
    first = rig.queue(bob)
    rig.acknowledge(first, 1)
    rig.close()
    with Rig(tmp_path) as again:
        second = again.queue(bob)
        assert second.seq == 2
        assert second.outbox_id == first.outbox_id
        assert decoded(second).prev == wire.link(first.inner, decoded(first))


def test_what_is_too_long_is_not_taken(rig: Rig, bob: str) -> None:
    with pytest.raises(ValueError, match="MAX_INNER_BYTES"):
        rig.queue(bob, "x" * limits.MAX_INNER_BYTES)
    assert rig.queue(bob).seq == 1


def test_what_has_no_number_has_no_link() -> None:
    with pytest.raises(ValueError, match="numbered"):
        link_of(wire.encode(wire.Receipt(outbox_id=bytes(16), lane=0, watermark=0)))


def test_nothing_is_queued_for_a_contact_that_was_removed_meanwhile(rig: Rig, bob: str) -> None:
    rig.write(contacts.remove, bob)
    with pytest.raises(NotFoundError):
        rig.queue(bob)
    assert rig.read(store_entries.depths) == {}


# -- states


def test_a_text_is_queued_then_sent_then_delivered(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob)
    assert (entry.state, entry.settled, entry.delivered_ms) == ("queued", False, None)
    (sent,) = rig.write(outbox.mark_sent, [entry.row_id])
    assert (sent.state, sent.settled) == ("sent", False)
    assert rig.unsettled(bob) == [sent]
    (delivered,) = rig.acknowledge(entry, 1)
    assert (delivered.state, delivered.settled) == ("delivered", True)
    assert delivered.delivered_ms == NOW_MS + 1
    assert rig.unsettled(bob) == []


def test_sent_is_told_once_and_never_takes_a_delivery_back(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob)
    assert len(rig.write(outbox.mark_sent, [entry.row_id])) == 1
    assert rig.write(outbox.mark_sent, [entry.row_id, 12345]) == []
    rig.acknowledge(entry, 1)
    assert rig.write(outbox.mark_sent, [entry.row_id]) == []
    assert state(rig, entry) == "delivered"


def test_a_receipt_may_come_before_the_note_that_it_was_sent(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob)
    rig.acknowledge(entry, 1)
    assert state(rig, entry) == "delivered"


def test_a_receipt_covers_its_lane_and_outbox_only(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    entry = rig.queue(bob)
    others = [rig.queue(bob, lane=1), rig.queue(carol)]
    rig.write(outbox.acknowledge, bob, bytes(16), 0, 9, b"", NOW_MS)
    assert state(rig, entry) == "queued"
    rig.acknowledge(entry, 9)
    assert state(rig, entry) == "delivered"
    assert [state(rig, other) for other in others] == ["queued", "queued"]


def test_watermark_and_sack(rig: Rig, bob: str) -> None:
    entries = [rig.queue(bob) for _ in range(12)]
    # Up to 2; 3 is missing; the bits stand for 4, 5, ... 11 and 12: take 4, 6, 11 and 12.
    settled = rig.acknowledge(entries[0], 2, bytes([0b10000101, 0b1]))
    assert sorted(entry.seq for entry in settled) == [1, 2, 4, 6, 11, 12]
    assert [entry.seq for entry in rig.unsettled(bob)] == [3, 5, 7, 8, 9, 10]


def test_a_receipt_twice_or_an_older_one_changes_nothing(rig: Rig, bob: str) -> None:
    entries = [rig.queue(bob) for _ in range(3)]
    assert len(rig.acknowledge(entries[0], 3)) == 3
    assert rig.acknowledge(entries[0], 3) == []
    assert rig.acknowledge(entries[0], 1) == []
    assert rig.unsettled(bob) == []


def test_a_receipt_for_numbers_beyond_all_bounds_is_harmless(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob)
    settled = rig.acknowledge(entry, limits.MAX_SEQ, b"\xff" * limits.MAX_SACK_BYTES)
    assert [done.id for done in settled] == [entry.id]


def test_a_file_is_delivered_by_its_end_not_by_the_receipt_of_its_offer(rig: Rig, bob: str) -> None:
    entry = rig.queue_file(bob, FILE)
    rig.acknowledge(entry, 1)
    assert rig.read(outbox.find, entry.id).settled
    assert state(rig, entry) == "sent"
    done = rig.write(endings.delivered, bob, FILE, NOW_MS + 5)
    assert done is not None
    assert (done.state, done.delivered_ms) == ("delivered", NOW_MS + 5)
    assert rig.write(endings.delivered, bob, FILE, NOW_MS + 6) is None


def test_a_long_text_is_delivered_like_the_file_that_carries_it(rig: Rig, bob: str) -> None:
    entry = rig.queue_file(bob, FILE, kind="text")
    rig.acknowledge(entry, 1)
    assert state(rig, entry) == "sent"
    done = rig.write(endings.delivered, bob, FILE, NOW_MS + 5)
    assert done is not None
    assert done.state == "delivered"


def test_so_many_files_are_offered_and_the_next_as_one_of_them_ends(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offered, "MAX_OFFERED", 2)
    files = [rig.queue_file(bob, bytes([number]) * 16) for number in range(4)]
    lane = files[0].lane

    def left(after: int = 0) -> list[str]:
        entries, end = rig.read(outbox.load, bob, lane, after, 100)
        assert end is None
        return [entry.id for entry in entries]

    assert left() == [files[0].id, files[1].id]
    assert left(files[1].row_id) == []
    rig.write(outbox.mark_sent, [file.row_id for file in files[:2]])
    # What has left once leaves again in the next session.
    assert left() == [files[0].id, files[1].id]
    rig.write(endings.delivered, bob, bytes([1]) * 16, NOW_MS)
    assert left(files[1].row_id) == [files[2].id]


def test_a_file_that_is_refused(rig: Rig, bob: str) -> None:
    entry = rig.queue_file(bob, FILE)
    rig.acknowledge(entry, 1)
    ended = rig.write(endings.ended, bob, FILE, "refused", "no thanks")
    assert ended is not None
    assert (ended.state, ended.last_error) == ("refused", "no thanks")
    assert rig.write(endings.ended, bob, FILE, "refused", "again") is None


# -- taken back


def test_a_cancelled_entry_goes_on_as_a_tombstone(rig: Rig, bob: str) -> None:
    entries = [rig.queue(bob, f"secret {number}") for number in range(3)]
    cancelled = rig.write(outbox.cancel, entries[1].id)
    assert cancelled.state == "cancelled"
    waiting = rig.unsettled(bob)
    assert [entry.seq for entry in waiting] == [1, 2, 3]
    skip = decoded(waiting[1])
    was = decoded(entries[1])
    assert skip.kind == wire.Kind.SKIP
    assert (skip.outbox_id, skip.lane, skip.seq, skip.prev) == (
        was.outbox_id,
        was.lane,
        was.seq,
        was.prev,
    )
    # The link of a tombstone is that of what it stands for, so the next one still fits.
    assert wire.link(waiting[1].inner, skip) == wire.link(entries[1].inner, was)
    assert decoded(waiting[2]).prev == wire.link(waiting[1].inner, skip)
    assert b"secret 1" not in waiting[1].inner


def test_a_tombstone_is_settled_by_a_receipt_and_stays_cancelled(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob)
    rig.write(outbox.cancel, entry.id)
    assert rig.read(outbox.has_open, bob)
    assert rig.read(store_entries.depths) == {}
    (settled,) = rig.acknowledge(entry, 1)
    assert (settled.state, settled.delivered_ms) == ("cancelled", None)
    assert not rig.read(outbox.has_open, bob)


def test_what_has_ended_cannot_be_cancelled(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob)
    rig.acknowledge(entry, 1)
    with pytest.raises(NotFoundError, match="delivered already"):
        rig.write(outbox.cancel, entry.id)
    other = rig.queue(bob)
    cancelled = rig.write(outbox.cancel, other.id)
    assert rig.write(outbox.cancel, other.id) == cancelled


def test_expiry_ends_only_what_is_due_and_open(rig: Rig, bob: str) -> None:
    due = rig.queue(bob, expires_ms=NOW_MS + 10)
    later = rig.queue(bob, expires_ms=NOW_MS + 11)
    never = rig.queue(bob)
    done = rig.queue(bob, lane=1, expires_ms=NOW_MS + 10)
    rig.acknowledge(done, 1)
    assert rig.write(outbox.expire, NOW_MS + 9) == []
    (expired,) = rig.write(outbox.expire, NOW_MS + 10)
    assert (expired.id, expired.state) == (due.id, "expired")
    assert expired.last_error == "not delivered in time"
    assert [state(rig, entry) for entry in (later, never, done)] == [
        "queued",
        "queued",
        "delivered",
    ]
    assert decoded(rig.unsettled(bob)[0]).kind == wire.Kind.SKIP


# -- order and lists


def test_unsettled_goes_on_behind_a_row(rig: Rig, bob: str) -> None:
    entries = [rig.queue(bob) for _ in range(6)]
    page = rig.read(outbox.unsettled, bob, 0, entries[1].row_id, 3)
    assert [entry.seq for entry in page] == [3, 4, 5]


def test_lists_are_open_oldest_first_and_all_newest_first(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    ids = [rig.queue(contact_id).id for contact_id in (bob, carol, bob, bob)]
    rig.acknowledge(rig.read(outbox.find, ids[0]), 1)

    def listed(contact_id: str | None, *, pending: bool, limit: int = 100) -> list[str]:
        entries = rig.read(
            store_entries.list_entries, contact_id=contact_id, pending=pending, limit=limit
        )
        return [entry.id for entry in entries]

    assert listed(None, pending=True) == ids[1:]
    assert listed(bob, pending=True) == ids[2:]
    assert listed(None, pending=False) == ids[::-1]
    assert listed(None, pending=False, limit=2) == [ids[3], ids[2]]
    assert listed(carol, pending=False) == [ids[1]]
    assert rig.read(store_entries.depths) == {bob: 2, carol: 1}


def test_an_entry_is_found_by_any_unique_beginning(rig: Rig, bob: str) -> None:
    entries = [rig.queue(bob) for _ in range(3)]

    def rename(db: Any) -> None:
        for entry, id_ in zip(entries, ("aaaabbbb", "aaaacccc", "aaaa"), strict=True):
            db.execute("UPDATE outbox SET id = ? WHERE row_id = ?", (id_, entry.row_id))

    rig.write(rename)
    rig.renamed = True
    assert rig.read(outbox.find, " AAAAB ").row_id == entries[0].row_id
    assert rig.read(outbox.find, "aaaa").row_id == entries[2].row_id
    with pytest.raises(AmbiguousError) as ambiguous:
        rig.read(outbox.find, "aaa")
    assert "aaaabbbb" in str(ambiguous.value.hint)
    for nothing in ("zzz", "", " ", "%", "_"):
        with pytest.raises(NotFoundError):
            rig.read(outbox.find, nothing)


def test_the_inner_bytes_are_kept_verbatim(rig: Rig, bob: str) -> None:
    entry = rig.queue(bob, "as it is")
    made = decoded(entry)
    assert (made.seq, made.prev, made.lane) == (1, wire.FIRST_LINK, 0)
    assert (made.kind, made.sent_at_ms, made.body) == (wire.Kind.TEXT, NOW_MS, b"as it is")
    assert entry.inner == wire.encode(made)
    rig.write(outbox.mark_sent, [1])
    assert [kept.inner for kept in rig.unsettled(bob)] == [entry.inner]
