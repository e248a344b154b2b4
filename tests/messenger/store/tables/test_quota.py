"""What a contact may take up here: counted with every row, and asked for at the price of a look-up."""

from __future__ import annotations

from peerpost.store.tables import contacts, inbox, quota, transfers
from peerpost.wire import inner as wire
from peerpost.wire import limits
from tests.support.store_rig import NOW_MS, Rig, chain, message, offer

ROW = 256


def test_what_is_shown_and_offered_counts_and_what_is_deleted_no_more(rig: Rig) -> None:
    bob, carol = rig.make_contact("bob").id, rig.make_contact("carol").id
    rig.write(inbox.receive_many, bob, chain(3), NOW_MS)
    texts = 3 * (len(b"text 1") + ROW)
    assert rig.read(quota.usage, bob) == quota.Usage(bytes=texts, rows=3, quota_bytes=None)
    assert rig.read(quota.room, bob, 10_000) == 10_000 - texts
    assert rig.read(quota.room, carol, 10_000) == 10_000
    rig.write(lambda db: db.execute("DELETE FROM inbox WHERE seq = 1"))
    assert rig.read(quota.usage, bob).rows == 2
    rig.write(lambda db: db.execute("DELETE FROM inbox"))
    assert rig.read(quota.room, bob, 10_000) == 10_000


def test_a_file_counts_with_its_whole_size_from_when_it_is_accepted(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    rig.write(
        inbox.receive_many, bob, [message(1, body=offer(b"f" * 16), kind=wire.Kind.OFFER)], NOW_MS
    )
    (row,) = rig.read(transfers.of_contact, bob)
    before = rig.read(quota.room, bob, 10_000)
    assert before == 10_000 - ROW
    rig.write(lambda db: db.execute("UPDATE transfers SET state = 'active'"))
    assert rig.read(quota.room, bob, 10_000) == before - (row.size or 0)
    assert rig.read(quota.room, bob, 10_000, besides=b"f" * 16) == before


def test_what_is_said_of_one_contact_holds_for_it_alone(rig: Rig) -> None:
    bob, carol = rig.make_contact("bob").id, rig.make_contact("carol").id
    rig.write(contacts.set_quota, bob, 5)
    assert [rig.read(quota.room, who, 100) for who in (bob, carol)] == [5, 100]
    rig.write(contacts.set_quota, bob, None)
    assert rig.read(quota.room, bob, 100) == 100


def test_whose_quota_is_used_up_is_told_before_its_texts_are_refused(rig: Rig) -> None:
    bob, carol = rig.make_contact("bob").id, rig.make_contact("carol").id
    assert rig.read(quota.all_used_up, 10 << 20) == []
    rig.write(inbox.receive_many, bob, chain(3), NOW_MS)
    rig.write(contacts.set_quota, bob, limits.MAX_INNER_BYTES + 1)
    assert rig.read(quota.all_used_up, 10 << 20) == [bob]
    # One who has sent nothing yet may be held to nothing.
    rig.write(contacts.set_quota, carol, 0)
    assert sorted(rig.read(quota.all_used_up, 10 << 20)) == sorted([bob, carol])
