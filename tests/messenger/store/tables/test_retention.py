"""What is beyond what is kept: the oldest that were read, of whom it is said, and no more of them than needed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from peerpost.store.tables import deletion, inbox, quota, retention
from peerpost.store.tables.retention import Scope
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig, message

EVERYBODY = Scope(of=None)


def fill(rig: Rig, *who: str, count: int = 10, size: int = 100) -> dict[str, str]:
    """Have each of them send so many texts, a second between two; return ids by text, all of them read."""
    for contact in who:
        contact_id = rig.make_contact(contact).id
        for seq in range(1, count + 1):
            body = f"{contact}{seq}".ljust(size).encode()
            made: tuple[wire.Message, bytes] = message(seq, body=body)
            rig.write(inbox.receive_many, contact_id, [made], NOW_MS + 1000 * seq)
    ids = {item.preview: item.id for item in items(rig)}
    rig.write(inbox.mark, ids.values(), unread=False)
    return ids


def items(rig: Rig) -> list[inbox.Item]:
    return rig.read(inbox.list_items, contact_id=None, unread=False, limit=10**6, since_ms=None)


def left(rig: Rig) -> set[str]:
    return {item.preview for item in items(rig)}


def delete(rig: Rig, scope: Scope, **rule: Any) -> int:
    rule = {"before_ms": None, "size_bytes": None, "count": None} | rule
    deleted = 0
    while found := rig.read(retention.beyond, scope, **rule):
        deleted += len(rig.write(deletion.delete_some, found, NOW_MS))
    return deleted


def test_by_age(rig: Rig) -> None:
    fill(rig, "bob")
    assert delete(rig, EVERYBODY, before_ms=NOW_MS + 4000) == 3
    assert left(rig) == {f"bob{seq}" for seq in range(4, 11)}


def test_by_number(rig: Rig) -> None:
    fill(rig, "bob", "carol")
    assert delete(rig, EVERYBODY, count=5) == 15
    assert len(left(rig)) == 5
    assert {"bob10", "carol10", "bob9", "carol9"} < left(rig)
    assert delete(rig, EVERYBODY, count=5) == 0


def test_by_size_as_quotas_count_it(rig: Rig) -> None:
    fill(rig, "bob")
    each = 100 + quota.ROW_BYTES
    assert delete(rig, EVERYBODY, size_bytes=10 * each) == 0
    assert delete(rig, EVERYBODY, size_bytes=7 * each + each // 2) == 3
    assert left(rig) == {f"bob{seq}" for seq in range(4, 11)}
    assert delete(rig, EVERYBODY, size_bytes=1) == 7


def test_of_one_contact_and_of_the_others(rig: Rig) -> None:
    ids = fill(rig, "bob", "carol")
    carol = next(item.contact_id for item in items(rig) if item.id == ids["carol1"])
    assert delete(rig, Scope(of=carol), count=2) == 8
    assert delete(rig, Scope(of=None, besides=(carol,)), count=1) == 9
    assert left(rig) == {"carol9", "carol10", "bob10"}


def test_what_was_not_read_stays_and_counts(rig: Rig) -> None:
    ids = fill(rig, "bob")
    rig.write(inbox.mark, [ids[f"bob{seq}"] for seq in (1, 2, 3, 9)], unread=True)
    assert delete(rig, EVERYBODY, count=6) == 4
    assert left(rig) == {"bob1", "bob2", "bob3", "bob8", "bob9", "bob10"}
    assert delete(rig, EVERYBODY, count=1) == 2
    assert delete(rig, EVERYBODY, before_ms=NOW_MS + 10**9, size_bytes=1) == 0
    assert left(rig) == {"bob1", "bob2", "bob3", "bob9"}
    assert delete(rig, Scope(of=None, unread_too=True), count=1) == 3
    assert left(rig) == {"bob9"}


def test_no_more_goes_in_one_transaction_than_others_can_wait_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(rig, "bob", count=20)
    monkeypatch.setattr(deletion, "AT_ONCE_BYTES", 450)
    monkeypatch.setattr(retention, "_ROWS", 7)
    found = rig.read(
        retention.beyond, EVERYBODY, before_ms=NOW_MS + 10**9, size_bytes=None, count=None
    )
    assert len(found) == 7
    assert len(rig.write(deletion.delete_some, found, NOW_MS)) == 4
    assert delete(rig, EVERYBODY, before_ms=NOW_MS + 10**9) == 16


def test_any_limits_leave_the_newest(rig: Rig) -> None:
    """Against a list that says what it means."""
    fill(rig, "bob", "carol", count=15)
    draw = random.Random(5)
    for _ in range(8):
        for item in draw.sample(items(rig), 2):
            rig.write(inbox.mark, [item.id], unread=True)
        before = sorted(items(rig), key=lambda item: (item.received_ms, item.row_id))
        count = draw.randrange(1, len(before) + 2)
        goes = [item for item in before if not item.unread][: max(0, len(before) - count)]
        assert delete(rig, EVERYBODY, count=count) == len(goes)
        assert {item.id for item in items(rig)} == {i.id for i in before} - {i.id for i in goes}


def test_it_is_found_without_a_look_at_what_was_not_read(rig: Rig) -> None:
    for scope in (EVERYBODY, Scope(of="someone"), Scope(of=None, besides=("a", "b"))):
        places = (0, *scope.values, 10)
        plan = str(
            rig.read(
                lambda db, s=scope, p=places: list(db.execute(f"EXPLAIN QUERY PLAN {s.oldest}", p))
            )
        )
        assert "inbox_read" in plan
        assert "TEMP B-TREE" not in plan
