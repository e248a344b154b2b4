"""Readers of the inbox: each has a place of its own that only moves forward, and finds all that is in the inbox."""

from __future__ import annotations

import pytest

from peerpost.errors import BadInputError, NotFoundError, UnavailableError
from peerpost.store.tables import deletion, inbox, readers
from tests.support.store_rig import NOW_MS, Rig, chain, message


@pytest.fixture
def bob(rig: Rig) -> str:
    return rig.make_contact("bob").id


def receive(rig: Rig, bob: str, count: int, tag: str = "text") -> list[inbox.Item]:
    outbox_id = tag.encode().ljust(16, b".")
    return rig.write(
        inbox.receive_many, bob, chain(count, outbox_id=outbox_id, tag=tag), NOW_MS
    ).items


def ahead(rig: Rig, name: str) -> list[bytes | None]:
    """Return the texts that wait for a reader."""
    found: list[inbox.Item] = []
    after = rig.read(readers.find, name).row_id
    while some := rig.read(inbox.following, after):
        found += some
        after = some[-1].row_id
    return [item.body for item in found]


def delete(rig: Rig, *items: inbox.Item) -> None:
    rig.write(deletion.delete, [item.id for item in items], None, NOW_MS)


def test_each_reader_has_a_place_of_its_own(rig: Rig, bob: str) -> None:
    items = receive(rig, bob, 3)
    rig.write(readers.acknowledge, "echo", items[1].row_id, NOW_MS)
    assert ahead(rig, "echo") == [b"text 3"]
    assert ahead(rig, "log") == [b"text 1", b"text 2", b"text 3"]
    rig.write(readers.acknowledge, "log", items[0].row_id, NOW_MS + 1)
    listed = rig.read(readers.list_all)
    assert [(one.name, one.row_id, one.waiting) for one in listed] == [
        ("echo", items[1].row_id, 1),
        ("log", items[0].row_id, 2),
    ]
    assert [one.acknowledged_ms for one in listed] == [NOW_MS, NOW_MS + 1]


def test_a_reader_never_goes_back(rig: Rig, bob: str) -> None:
    items = receive(rig, bob, 3)
    for at in (2, 0, 1, 2):
        moved = rig.write(readers.acknowledge, "echo", items[at].row_id, NOW_MS + at)
        assert (moved.row_id, moved.acknowledged_ms) == (items[2].row_id, NOW_MS + 2)


def test_beyond_what_was_ever_there_is_refused_and_changes_nothing(rig: Rig, bob: str) -> None:
    with pytest.raises(BadInputError, match="newest cursor of this inbox is 0"):
        rig.write(readers.acknowledge, "echo", 1, NOW_MS)
    items = receive(rig, bob, 2)
    delete(rig, items[1])
    rig.write(readers.acknowledge, "echo", items[1].row_id, NOW_MS)
    with pytest.raises(BadInputError):
        rig.write(readers.acknowledge, "echo", items[1].row_id + 1, NOW_MS)
    assert rig.read(readers.find, "echo").row_id == items[1].row_id


def test_a_number_is_never_given_twice(rig: Rig, bob: str) -> None:
    first = receive(rig, bob, 3, "first")
    rig.write(readers.acknowledge, "echo", first[-1].row_id, NOW_MS)
    delete(rig, *first)
    assert rig.read(readers.newest) == first[-1].row_id
    receive(rig, bob, 1, "second")
    assert ahead(rig, "echo") == [b"second 1"]


def test_to_begin_with_what_comes(rig: Rig, bob: str) -> None:
    assert rig.write(readers.acknowledge, "new", None, NOW_MS).row_id == 0
    receive(rig, bob, 3, "old")
    rig.write(readers.acknowledge, "echo", None, NOW_MS)
    receive(rig, bob, 1, "new")
    assert ahead(rig, "echo") == [b"new 1"]
    assert len(ahead(rig, "new")) == 4


def test_one_that_is_removed_begins_anew(rig: Rig, bob: str) -> None:
    receive(rig, bob, 2)
    rig.write(readers.acknowledge, "echo", None, NOW_MS)
    assert rig.write(readers.remove, "echo").row_id == 2
    assert ahead(rig, "echo") == [b"text 1", b"text 2"]
    with pytest.raises(NotFoundError):
        rig.write(readers.remove, "echo")


def test_no_more_than_so_many_are_kept(rig: Rig, bob: str) -> None:
    (item,) = receive(rig, bob, 1)
    for number in range(readers.MOST_READERS):
        rig.write(readers.acknowledge, f"r{number}", item.row_id, NOW_MS)
    with pytest.raises(UnavailableError, match="100 readers"):
        rig.write(readers.acknowledge, "one more", item.row_id, NOW_MS)
    rig.write(readers.acknowledge, "r7", item.row_id, NOW_MS)
    rig.write(readers.remove, "r7")
    rig.write(readers.acknowledge, "one more", item.row_id, NOW_MS)


def test_what_is_read_at_once_is_bounded_in_rows_and_in_bytes(rig: Rig, bob: str) -> None:
    receive(rig, bob, inbox.FOLLOWED_ROWS + 1)
    assert len(rig.read(inbox.following, 0)) == inbox.FOLLOWED_ROWS
    large, prev = [], bytes(16)
    for seq in range(1, 21):
        made = message(seq, prev if seq > 1 else bytes(16), body=bytes(60_000), outbox_id=b"L" * 16)
        large.append(made)
        prev = made[1]
    items = rig.write(inbox.receive_many, bob, large, NOW_MS).items
    some = rig.read(inbox.following, items[0].row_id - 1)
    assert 1 <= len(some) < 7
    assert sum(len(item.body or b"") for item in some[:-1]) < inbox.FOLLOWED_BYTES
