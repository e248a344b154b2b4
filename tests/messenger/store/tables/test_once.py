"""A key of the sender's: what a contact was sent under it is queued once, however often it is asked for."""

from __future__ import annotations

import dataclasses

import pytest

from peerpost.store.tables import outbox
from peerpost.store.tables.outbox import Draft, Entry
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def draft(contact_id: str, text: str, once: str | None) -> Draft:
    return Draft(
        contact_id=contact_id, lane=0, message_kind=wire.Kind.TEXT, body=text.encode(),
        size=len(text), now_ms=NOW_MS, once=once,
    )  # fmt: skip


def enqueue(rig: Rig, *drafts: Draft) -> list[Entry]:
    return rig.write(outbox.enqueue_many, drafts)


def texts(rig: Rig) -> list[bytes]:
    entries = rig.read(outbox.select, "1 ORDER BY row_id")
    return [wire.decode(entry.inner).body for entry in entries]


def test_it_is_queued_once(rig: Rig, bob: str) -> None:
    (first,) = enqueue(rig, draft(bob, "12:00", "k"))
    (again,) = enqueue(rig, draft(bob, "12:01", "k"))
    assert not first.repeated
    assert again == dataclasses.replace(first, repeated=True)
    assert texts(rig) == [b"12:00"]


def test_within_one_batch_too_and_the_numbers_have_no_gap(rig: Rig, bob: str) -> None:
    entries = enqueue(
        rig, draft(bob, "a", "k"), draft(bob, "b", None), draft(bob, "c", "k"), draft(bob, "d", "l")
    )
    assert [entry.repeated for entry in entries] == [False, False, True, False]
    assert [entry.seq for entry in entries] == [1, 2, 1, 3]
    assert texts(rig) == [b"a", b"b", b"d"]
    prevs = [wire.decode(entry.inner).prev for entry in entries]
    assert len(set(prevs)) == 3


def test_a_key_is_of_one_contact(rig: Rig, bob: str) -> None:
    carol = rig.make_contact("carol").id
    enqueue(rig, draft(bob, "a", "k"), draft(carol, "a", "k"))
    assert texts(rig) == [b"a", b"a"]


def test_what_has_become_of_the_first_does_not_matter(rig: Rig, bob: str) -> None:
    (first,) = enqueue(rig, draft(bob, "a", "k"))
    rig.write(outbox.cancel, first.id)
    (again,) = enqueue(rig, draft(bob, "a", "k"))
    assert (again.id, again.state, again.repeated) == (first.id, "cancelled", True)


def test_without_a_key_the_same_is_sent_again(rig: Rig, bob: str) -> None:
    enqueue(rig, draft(bob, "a", None), draft(bob, "a", None))
    assert texts(rig) == [b"a", b"a"]


def test_what_fails_uses_up_no_key(rig: Rig, bob: str) -> None:
    too_long = dataclasses.replace(draft(bob, "", "k"), body=bytes(1 << 20))
    with pytest.raises(ValueError, match=r".+"):
        enqueue(rig, too_long)
    (entry,) = enqueue(rig, draft(bob, "a", "k"))
    assert not entry.repeated
