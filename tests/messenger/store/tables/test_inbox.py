"""The inbox: each message once, in whatever order and however often it comes."""

from __future__ import annotations

import random

import apsw
import msgspec
import pytest

from peerpost.errors import NotFoundError, QuotaError
from peerpost.store.tables import contacts, inbox, transfers
from peerpost.store.tables.preview import PREVIEW_CHARS
from peerpost.wire import inner as wire
from peerpost.wire import limits
from tests.support.store_rig import NOW_MS, Rig, chain, message, offer

OUTBOX_A, OUTBOX_B = bytes([0xA]) * 16, bytes([0xB]) * 16


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def receive(
    rig: Rig, contact_id: str, *messages: tuple[wire.Message, bytes]
) -> inbox.ReceivedBatch:
    return rig.write(inbox.receive_many, contact_id, messages, NOW_MS)


def bodies(rig: Rig) -> list[bytes | None]:
    items = rig.read(inbox.list_items, contact_id=None, unread=False, limit=10**6, since_ms=None)
    return [item.body for item in reversed(items)]


def numbers(mark: inbox.Mark) -> set[int]:
    """Return what a receipt of this mark acknowledges."""
    beyond = {
        mark.watermark + 2 + 8 * at + bit
        for at, byte in enumerate(mark.sack)
        for bit in range(8)
        if byte >> bit & 1
    }
    return beyond | set(range(1, mark.watermark + 1))


# -- once each


def test_a_batch_in_order(rig: Rig, bob: str) -> None:
    batch = receive(rig, bob, *chain(3))
    assert [item.body for item in batch.items] == [b"text 1", b"text 2", b"text 3"]
    assert [item.gap for item in batch.items] == [False] * 3
    assert all(item.unread and item.received_ms == NOW_MS for item in batch.items)
    (mark,) = batch.marks
    assert (mark.watermark, mark.sack, mark.link) == (3, b"", chain(3)[-1][1])
    assert batch.offers == []


def test_a_duplicate_is_acknowledged_again_and_not_shown_again(rig: Rig, bob: str) -> None:
    messages = chain(3)
    receive(rig, bob, *messages)
    batch = receive(rig, bob, *messages, *messages)
    assert batch.items == []
    assert [mark.watermark for mark in batch.marks] == [3]
    assert len(bodies(rig)) == 3


def test_a_duplicate_within_one_batch_and_beyond_the_watermark(rig: Rig, bob: str) -> None:
    messages = chain(6)
    batch = receive(rig, bob, messages[4], messages[4], messages[0], messages[0], messages[4])
    assert [item.body for item in batch.items] == [b"text 5", b"text 1"]
    assert receive(rig, bob, messages[4]).items == []


def test_one_number_twice_with_another_text_is_the_first(rig: Rig, bob: str) -> None:
    receive(rig, bob, message(1, body=b"first"))
    receive(rig, bob, message(1, body=b"second"))
    assert bodies(rig) == [b"first"]


def test_contacts_outboxes_and_lanes_do_not_mix(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    for contact_id in (bob, carol):
        batch = receive(
            rig,
            contact_id,
            *chain(2, outbox_id=OUTBOX_A, tag="a"),
            *chain(1, outbox_id=OUTBOX_B, tag="b"),
            *chain(3, outbox_id=OUTBOX_A, lane=1, tag="bulk"),
        )
        assert len(batch.items) == 6
        told = {(mark.outbox_id, mark.lane): mark.watermark for mark in batch.marks}
        assert told == {(OUTBOX_A, 0): 2, (OUTBOX_B, 0): 1, (OUTBOX_A, 1): 3}
    assert len(bodies(rig)) == 12


def test_marks_survive_a_restart(rig: Rig, bob: str, tmp_path: object) -> None:
    messages = chain(5)
    receive(rig, bob, *messages[:2], messages[4])
    folder = rig.path.parent
    rig.close()
    with Rig(folder) as again:
        batch = receive(again, bob, *messages)
        assert [item.body for item in batch.items] == [b"text 3", b"text 4"]
        assert batch.marks[0].watermark == 5


# -- out of order


def test_what_comes_ahead_is_taken_and_noted(rig: Rig, bob: str) -> None:
    messages = chain(12)
    batch = receive(rig, bob, messages[0], messages[2], messages[9], messages[10])
    (mark,) = batch.marks
    assert mark.watermark == 1
    assert numbers(mark) == {1, 3, 10, 11}
    assert [item.gap for item in batch.items] == [False, True, True, True]
    (mark,) = receive(rig, bob, messages[1]).marks
    assert numbers(mark) == {1, 2, 3, 10, 11}
    (mark,) = receive(rig, bob, *messages[3:9]).marks
    assert (mark.watermark, mark.sack) == (11, b"")
    assert mark.link == messages[10][1]
    assert rig.rows("SELECT count(*) FROM beyond") == [(0,)]


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_any_repetition_shows_each_once(rig: Rig, bob: str, seed: int) -> None:
    draw = random.Random(seed)
    messages = chain(60)
    arrivals = [*messages, *draw.choices(messages, k=60)]
    draw.shuffle(arrivals)
    while arrivals:
        size = draw.randint(1, 25)
        batch, arrivals = arrivals[:size], arrivals[size:]
        receive(rig, bob, *batch)
    assert sorted(bodies(rig), key=str) == sorted((m.body for m, _ in messages), key=str)
    (mark,) = rig.read(inbox.watermarks, bob)
    assert (mark.watermark, mark.link) == (60, messages[-1][1])


def test_the_furthest_number_that_is_held(rig: Rig, bob: str) -> None:
    furthest = 1 + limits.MAX_SPARSE
    batch = receive(rig, bob, message(furthest), message(furthest + 1))
    assert len(batch.items) == 1
    (mark,) = batch.marks
    assert len(mark.sack) == limits.MAX_SACK_BYTES
    assert numbers(mark) == {furthest}
    # What was too far is taken once there is room.
    batch = receive(rig, bob, message(1), message(furthest + 1))
    assert len(batch.items) == 2


def test_a_number_at_the_end_of_all_numbers(rig: Rig, bob: str) -> None:
    assert receive(rig, bob, message(limits.MAX_SEQ)).items == []
    rig.write(
        lambda db: (
            db.execute(
                "UPDATE marks SET watermark = ? WHERE contact_id = ?", (limits.MAX_SEQ - 2, bob)
            )
            and None
        )
    )
    (mark,) = receive(rig, bob, message(limits.MAX_SEQ)).marks
    assert mark.sack == b"\1"
    (mark,) = receive(rig, bob, message(limits.MAX_SEQ - 1)).marks
    assert (mark.watermark, mark.sack) == (limits.MAX_SEQ, b"")


# -- the chain


def test_a_link_that_does_not_fit_is_shown_as_a_gap(rig: Rig, bob: str) -> None:
    first, second, third = chain(3)
    odd = message(2, prev=bytes([1]) * 16, body=b"odd")
    items = receive(rig, bob, first, odd, third).items
    assert [item.gap for item in items] == [False, True, True]
    assert receive(rig, bob, second).items == []


def test_a_tombstone_moves_the_watermark_and_shows_nothing(rig: Rig, bob: str) -> None:
    first, second, third = chain(3)
    skip = message(2, prev=second[0].prev, kind=wire.Kind.SKIP, body=second[1])
    batch = receive(rig, bob, first, skip, third)
    assert [item.body for item in batch.items] == [b"text 1", b"text 3"]
    assert [item.gap for item in batch.items] == [False, False]
    assert batch.marks[0].watermark == 3


def test_a_kind_of_a_later_version_is_shown_as_such_and_acknowledged(rig: Rig, bob: str) -> None:
    batch = receive(rig, bob, message(1, kind=200, body=b"\xff"))
    assert [(item.kind, item.body) for item in batch.items] == [("unknown", None)]
    (item,) = rig.read(inbox.list_items, contact_id=None, unread=False, limit=9, since_ms=None)
    assert (item.kind, item.body, item.preview, item.size) == ("unknown", None, "", 1)
    assert batch.marks[0].watermark == 1


# -- offers and files


@pytest.mark.parametrize(
    ("size", "as_text"),
    [(0, True), (limits.MAX_TEXT_BYTES, True), (limits.MAX_TEXT_BYTES + 1, False), (None, False)],
)
def test_a_text_without_bound_is_a_file(
    rig: Rig, bob: str, size: int | None, as_text: bool
) -> None:
    made = wire.decode_offer(offer(bytes([7]) * 16, as_text=True))
    body = wire.encode_offer(msgspec.structs.replace(made, size=size))
    receive(rig, bob, message(1, kind=wire.Kind.OFFER, body=body))
    (row,) = rig.read(transfers.of_contact, bob)
    assert (row.as_text, row.size) == (as_text, size)


def test_an_offer_becomes_a_transfer_once(rig: Rig, bob: str) -> None:
    file_id = bytes([7]) * 16
    first = message(1, kind=wire.Kind.OFFER, body=offer(file_id))
    second = message(2, first[1], kind=wire.Kind.OFFER, body=offer(file_id, name="other"))
    batch = receive(rig, bob, first, second, first)
    assert (batch.offers, batch.items) == ([file_id], [])
    assert batch.marks[0].watermark == 2
    row = rig.read(transfers.get, bob, file_id, incoming=True)
    assert row is not None
    assert (row.state, row.name, row.size, row.seq) == ("offered", "report.pdf", 1000, 1)


# -- reading


def test_offers_beyond_what_may_be_open_are_left_to_be_sent_again(
    rig: Rig, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_OPEN_OFFERS", 2)
    bodies = [offer(bytes([number]) * 16) for number in range(4)]
    made = [message(at, kind=wire.Kind.OFFER, body=body) for at, body in enumerate(bodies, 1)]
    text = message(5, body=b"a text behind them")
    batch = rig.write(inbox.receive_many, bob, [*made, text], NOW_MS)
    assert (len(batch.offers), batch.held, batch.marks[0].watermark) == (2, 3, 2)
    # What follows on the lane waits with them: order is kept, and no gap is shown where nothing is missing.
    assert batch.items == []
    row = rig.read(transfers.get, bob, batch.offers[0], incoming=True)
    assert row is not None
    rig.write(transfers.set_state, row.id, "cancelled")
    again = rig.write(inbox.receive_many, bob, [*made, text], NOW_MS)
    assert (len(again.offers), again.held, again.marks[0].watermark) == (1, 2, 3)


def test_lists(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    rig.write(inbox.receive_many, bob, chain(3), NOW_MS)
    rig.write(inbox.receive_many, carol, chain(2, tag="carol"), NOW_MS + 10)

    def listed(
        contact_id: str | None = None,
        *,
        unread: bool = False,
        limit: int = 99,
        since_ms: int | None = None,
    ) -> list[bytes | None]:
        found = rig.read(
            inbox.list_items, contact_id=contact_id, unread=unread, limit=limit, since_ms=since_ms
        )
        return [item.body for item in found]

    assert listed() == [b"carol 2", b"carol 1", b"text 3", b"text 2", b"text 1"]
    assert listed(bob, limit=2) == [b"text 3", b"text 2"]
    assert listed(since_ms=NOW_MS + 10) == [b"carol 2", b"carol 1"]
    assert rig.read(inbox.unread_counts) == {bob: 3, carol: 2}
    items = rig.read(inbox.list_items, contact_id=bob, unread=False, limit=9, since_ms=None)
    rig.write(inbox.mark, [items[0].id, items[1].id, "no such"], unread=False)
    assert listed(bob, unread=True) == [b"text 1"]
    rig.write(inbox.mark, [items[0].id], unread=True)
    assert rig.read(inbox.unread_counts) == {bob: 2, carol: 2}
    assert rig.read(inbox.find, items[0].id[:6]).id == items[0].id
    with pytest.raises(NotFoundError):
        rig.read(inbox.find, "!")


def test_a_preview_is_one_short_line(rig: Rig, bob: str) -> None:
    receive(
        rig,
        bob,
        message(1, body=b"  two\n\tlines "),
        message(2, body=("é" * 500).encode()),
        message(3, body=b"a" + "\U0001f600".encode() * 500),
    )
    items = rig.read(inbox.list_items, contact_id=bob, unread=False, limit=9, since_ms=None)
    assert items[2].preview == "two lines"
    assert items[1].preview == "é" * PREVIEW_CHARS
    assert items[0].preview.startswith("a\U0001f600")


def test_watermarks_for_hello(rig: Rig, bob: str) -> None:
    assert rig.read(inbox.watermarks, bob) == []
    for number in range(limits.MAX_HAVE + 4):
        receive(rig, bob, *chain(number + 1, outbox_id=bytes([number]) * 16))
    marks = rig.read(inbox.watermarks, bob)
    assert len(marks) == limits.MAX_HAVE
    assert [mark.watermark for mark in marks] == list(range(limits.MAX_HAVE + 4, 4, -1))


# -- what is remembered of a contact is bounded


def test_a_stranger_under_a_known_number_is_not_acknowledged(rig: Rig, bob: str) -> None:
    messages = chain(3)
    receive(rig, bob, *messages, message(6, body=b"parked"))
    for seq in (1, 3, 6):
        batch = receive(rig, bob, message(seq, body=b"another"))
        assert (batch.marks, batch.conflicts) == ([], [(bytes(16), 0)])
    assert receive(rig, bob, *messages).conflicts == []
    skip = message(4, messages[-1][1], kind=wire.Kind.SKIP, body=bytes(16))
    receive(rig, bob, skip)
    assert receive(rig, bob, skip).conflicts == []
    assert receive(rig, bob, message(4, body=b"in the place of a tombstone")).conflicts != []


def test_sixteen_outbox_ids_are_remembered_those_used_last(rig: Rig, bob: str) -> None:
    for number in range(40):
        receive(rig, bob, message(2, outbox_id=bytes([number]) * 16))
        receive(rig, bob, message(1, outbox_id=bytes([0]) * 16))
    found = {outbox_id[0] for (outbox_id,) in rig.rows("SELECT DISTINCT outbox_id FROM marks")}
    assert found == {0, *range(25, 40)}
    in_one_batch = [message(2, outbox_id=bytes([number]) * 16) for number in range(100, 200)]
    assert len(receive(rig, bob, *in_one_batch).items) == 100
    assert rig.rows("SELECT count(DISTINCT outbox_id), count(*) FROM marks") == [(16, 16)]
    assert len(rig.read(inbox.watermarks, bob)) == limits.MAX_HAVE


def test_numbers_beyond_the_watermark_are_bounded_over_all_lanes(rig: Rig, bob: str) -> None:
    """The lane that was left gives way to the one in use; both lanes of one outbox id share the places."""
    for number in range(4):
        outbox_id = bytes([number]) * 16
        parked = [message(2 + n, outbox_id=outbox_id) for n in range(3000)]
        assert len(receive(rig, bob, *parked).items) == 3000
        ((held,),) = rig.rows("SELECT count(*) FROM beyond")
        assert held <= limits.MAX_SPARSE
    other = [message(2 + n, outbox_id=outbox_id, lane=1) for n in range(3000)]
    assert len(receive(rig, bob, *other).items) == limits.MAX_SPARSE - 3000
    assert rig.rows("SELECT count(*) FROM beyond") == [(limits.MAX_SPARSE,)]
    gone_on = receive(rig, bob, message(1, outbox_id=outbox_id))
    assert [mark.watermark for mark in gone_on.marks] == [3001]
    assert len(receive(rig, bob, *other).items) == 2 * 3000 - limits.MAX_SPARSE


def test_a_batch_costs_what_it_holds_whatever_is_parked(rig: Rig, bob: str) -> None:
    def steps(*messages: tuple[wire.Message, bytes]) -> int:
        def work(db: apsw.Connection) -> int:
            taken = 0

            def count() -> bool:
                nonlocal taken
                taken += 1
                return False

            db.set_progress_handler(count, 100)
            inbox.receive_many(db, bob, messages, NOW_MS)
            db.set_progress_handler(None)
            return taken

        return rig.write(work)

    for number in range(250):
        outbox_id = bytes([number]) * 16
        receive(rig, bob, *[message(2 + n, outbox_id=outbox_id) for n in range(40)])
    # In hundreds of steps of SQLite's machine; all that may be held at once costs little more.
    assert 0 < steps(*[message(2, outbox_id=bytes([n]) * 16) for n in range(250)]) < 2_000


def test_a_contact_beyond_its_quota_has_nothing_taken(rig: Rig, bob: str) -> None:
    rig.write(contacts.set_quota, bob, 1000)
    receive(rig, bob, *chain(3))
    with pytest.raises(QuotaError):
        receive(rig, bob, *chain(5)[3:])
    assert len(bodies(rig)) == 3
    carol = rig.make_contact("carol").id
    assert len(receive(rig, carol, *chain(5)).items) == 5
    rig.write(lambda db: db.execute("DELETE FROM inbox WHERE contact_id = ?", (bob,)))
    assert len(receive(rig, bob, *chain(5)[3:]).items) == 2
