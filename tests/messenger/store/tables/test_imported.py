"""What is imported is as it was exported, and is nothing but history: no session, reader, quota or rule meets it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings

from peerpost.bundle.record import Card, Record
from peerpost.errors import BadInputError
from peerpost.store.tables import (
    contacts,
    deletion,
    entries,
    exported,
    former,
    identity,
    imported,
    inbox,
    outbox,
    quota,
    readers,
    retention,
)
from peerpost.store.tables import search as store_search
from peerpost.store.tables.imported import Arrival, Taken
from peerpost.store.tables.retention import Scope
from peerpost.store.tables.search import Wanted
from tests.support.bundles import BOB, CARDS, CAROL, histories, id_of, received, sent
from tests.support.store_rig import NOW_MS, Rig, message, public_of


def take(rig: Rig, records: Iterable[Record], cards: Sequence[Card] = CARDS) -> Taken:
    return rig.write(imported.take, cards, [Arrival(record=record) for record in records])


def history(rig: Rig) -> tuple[list[Record], dict[str, Card]]:
    """Return all that would be exported, page by page, and the cards."""
    found: list[Record] = []
    for direction in ("received", "sent"):
        beyond = None
        while page := rig.read(
            exported.page,
            direction,
            contact_id=None,
            since_ms=None,
            limit=3,
            beyond=beyond,
            oldest=False,
        ):
            found += [one.record for one in page]
            beyond = page[-1].row_id
    ids = list({record.contact for record in found})
    return found, {card.id: card for card in rig.read(exported.cards, ids)}


def with_names(records: Iterable[Record], cards: dict[str, Card]) -> list[Record]:
    """Return records with their contacts' names for ids, which differ from home to home."""
    return [
        msgspec.structs.replace(record, contact=cards[record.contact].name) for record in records
    ]


GIVEN = {card.id: card for card in CARDS}


@pytest.mark.slow
@given(histories())
@settings(deadline=None, max_examples=60)
def test_a_home_has_what_was_exported_and_exports_it_again(records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder)) as rig:
        rig.make_identity()
        taken = take(rig, records)
        assert (taken.imported, taken.duplicates, taken.renamed) == (len(records), 0, 0)
        found, cards = history(rig)
        assert with_names(found, cards) == with_names(records, GIVEN)
        assert {card.identity for card in cards.values()} <= {BOB.identity, None}
        # Once more, from what was exported here: nothing is new, and nothing changes.
        again = take(rig, found, list(cards.values()))
        assert (again.imported, again.duplicates) == (0, len(records))
        assert take(rig, records).duplicates == len(records)
        assert history(rig)[0] == found


def test_an_import_that_was_cut_off_goes_on_in_the_same_order(rig: Rig) -> None:
    records = [received(n) for n in (5, 4, 3, 2, 1)] + [sent(n) for n in (3, 2, 1)]
    take(rig, records[:2])
    assert take(rig, records).duplicates == 2
    found, cards = history(rig)
    assert with_names(found, cards) == with_names(records, GIVEN)


def test_it_is_older_than_what_is_here(rig: Rig) -> None:
    me = rig.read(identity.load)
    bob = rig.make_contact("bob")
    card = Card(id="b", name="bob", identity=bob.id_public.hex())
    rig.write(inbox.receive_many, bob.id, [message(1, body=b"here before")], NOW_MS)
    rig.queue(bob.id, "sent before")
    take(rig, [received(2, contact="b"), received(1, contact="b"), sent(1, contact="b")], [card])
    rig.write(inbox.receive_many, bob.id, [message(2, body=b"came after")], NOW_MS)
    rig.queue(bob.id, "sent after")
    items = rig.read(inbox.list_items, contact_id=bob.id, unread=False, limit=9, since_ms=None)
    assert [item.preview for item in items] == ["came after", "here before", "hello", "hello"]
    assert [item.imported for item in items] == [False, False, True, True]
    listed = rig.read(entries.list_entries, contact_id=bob.id, pending=False, limit=9)
    assert [entry.imported for entry in listed] == [False, False, True]
    assert me.outbox_id == listed[0].outbox_id != listed[2].outbox_id


def test_it_is_never_sent_and_what_is_queued_after_it_is(rig: Rig) -> None:
    me = rig.read(identity.load)
    bob = rig.make_contact("bob")
    card = Card(id="b", name="bob", identity=bob.id_public.hex())
    # The numbers that this home itself would give, in every state that a bundle may name.
    states = ("queued", "sent", "delivered", "cancelled", "refused", "expired")
    ours = [
        sent(number, contact="b", state=state, outbox=me.outbox_id.hex(), seq=number, expires_ms=1)
        for number, state in enumerate(states, 1)
    ]
    assert take(rig, reversed(ours), [card]).imported == len(states)
    assert not rig.read(outbox.any_open)
    assert not rig.read(outbox.has_open, bob.id)
    assert rig.write(outbox.expire, NOW_MS) == []
    assert rig.write(outbox.reopen, bob.id, me.outbox_id, 0, 0) == []
    found = rig.read(entries.list_entries, contact_id=bob.id, pending=False, limit=9)
    assert [entry.state for entry in reversed(found)] == [*("cancelled",) * 2, *states[2:]]
    assert found[-1].last_error == imported.NOT_DELIVERED
    entry = rig.queue(bob.id, "the first that is sent")
    assert (entry.seq, entry.outbox_id) == (1, me.outbox_id)
    window_begins = -(1 << 62)
    loaded, _ = rig.read(outbox.load, bob.id, 0, window_begins, 100)
    assert [one.id for one in loaded] == [entry.id]
    assert [one.id for one in rig.acknowledge(entry, 1)] == [entry.id]


def test_a_message_with_its_number_is_taken_all_the_same(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    card = Card(id="b", name="bob", identity=bob.id_public.hex())
    for forged in (b"forged", b"hello"):
        real, link = message(1 if forged == b"forged" else 2, body=b"hello")
        take(
            rig,
            [
                received(
                    real.seq,
                    forged.decode(),
                    id=id_of(real.seq),
                    contact="b",
                    outbox=real.outbox_id.hex(),
                    lane=int(real.lane),
                    sent_ms=real.sent_at_ms,
                )
            ],
            [card],
        )
        batch = rig.write(inbox.receive_many, bob.id, [(real, link)], NOW_MS)
        assert [item.preview for item in batch.items] == ["hello"]
        assert batch.conflicts == []


def test_no_reader_is_given_it_and_no_journal_tells_of_it(rig: Rig) -> None:
    before = rig.rows("SELECT count(*) FROM changes")
    take(rig, [received(2), received(1), sent(1)])
    assert rig.rows("SELECT count(*) FROM changes") == before
    assert rig.read(inbox.following, 0) == []
    assert rig.read(readers.newest) == 0
    assert rig.write(readers.acknowledge, "bot", None, NOW_MS).row_id == 0
    bob = rig.make_contact("dora")
    rig.write(inbox.receive_many, bob.id, [message(1, body=b"new")], NOW_MS)
    assert [item.preview for item in rig.read(inbox.following, 0)] == ["new"]


def test_no_quota_counts_it_and_no_rule_deletes_it(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    card = Card(id="b", name="bob", identity=bob.id_public.hex())
    take(rig, [received(number, contact="b", unread=False) for number in (3, 2, 1)], [card])
    assert rig.read(quota.usage, bob.id).rows == 0
    rule = Scope(of=None)
    rules = {"before_ms": NOW_MS * 2, "size_bytes": 0, "count": 0}
    assert rig.read(retention.beyond, rule, **rules) == []
    rig.write(inbox.receive_many, bob.id, [message(1, body=b"new")], NOW_MS)
    (new,) = rig.read(inbox.following, 0)
    rig.write(inbox.mark, [new.id], unread=False)
    assert [id_ for id_, _ in rig.read(retention.beyond, rule, **rules)] == [new.id]


def test_it_can_be_deleted_and_imported_again(rig: Rig) -> None:
    records = [received(2), received(1)]
    take(rig, records)
    deleted = rig.write(deletion.delete, [id_of(1), id_of(2)], None, NOW_MS)
    assert len(deleted) == 2
    assert rig.rows("SELECT count(*) FROM deleted") == [(0,)]
    assert take(rig, records).imported == 2


def test_what_was_deleted_here_comes_back_from_a_bundle(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    rig.write(inbox.receive_many, bob.id, [message(1, body=b"dear")], NOW_MS)
    records, cards = history(rig)
    rig.write(deletion.delete, [records[0].id], None, NOW_MS)
    assert take(rig, records, list(cards.values())).imported == 1
    assert history(rig)[0] == records


def test_a_taken_id_is_replaced(rig: Rig) -> None:
    take(rig, [received(1)])
    other = received(2, "another", id=id_of(1))
    taken = take(rig, [other])
    assert (taken.imported, taken.renamed) == (1, 1)
    found, _ = history(rig)
    assert len({record.id for record in found}) == 2
    assert take(rig, [other]).duplicates == 1


def test_a_record_that_is_there_twice_in_one_batch_is_taken_once(rig: Rig) -> None:
    for record in (received(1), sent(1)):
        taken = take(rig, [record, msgspec.structs.replace(record, id=id_of(77))])
        assert (taken.imported, taken.duplicates) == (1, 1)


def test_a_contact_without_a_card_is_refused_and_nothing_is_kept(rig: Rig) -> None:
    with pytest.raises(BadInputError):
        take(rig, [received(2), received(1, contact="nobody")])
    assert history(rig) == ([], {})
    assert rig.read(former.names) == {}


def test_nobody_becomes_a_contact_and_who_becomes_one_has_it(rig: Rig) -> None:
    dora = Card(id="d", name="dora", identity=public_of("dora").hex())
    taken = take(rig, [received(1, contact="d"), sent(1, contact="d")], [dora])
    (id_,) = taken.former
    assert taken.former == {id_: "dora"}
    assert rig.read(contacts.list_all) == []
    assert rig.read(contacts.id_of, "dora") == id_
    assert rig.make_contact("dora").id == id_
    rig.write(contacts.remove, id_)
    assert rig.read(exported.cards, [id_])[0].identity == dora.identity


def test_somebody_without_an_identity_is_the_same_each_time(rig: Rig) -> None:
    take(rig, [received(2, contact=CAROL.id)])
    take(rig, [received(1, contact=CAROL.id)])
    assert list(rig.read(former.names).values()) == ["carol"]


def test_it_is_searched(rig: Rig) -> None:
    take(rig, [received(2, "an old INVOICE"), sent(1, "another invoice")])
    wanted = Wanted(term="invoice")
    assert len(rig.read(store_search.received, wanted, 10, None).rows) == 1
    assert len(rig.read(store_search.sent, wanted, 10, None).rows) == 1
    since = Wanted(term="invoice", since_ms=1)
    assert len(rig.read(store_search.received, since, 10, None).rows) == 1
