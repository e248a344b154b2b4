"""The journal: each transition leaves its row, in its transaction; it stays short; a commit tells what it changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import apsw
import pytest

from peerpost.store.db import follower, journal
from peerpost.store.db.journal import Transition
from peerpost.store.tables import (
    contacts,
    deletion,
    endings,
    forgetting,
    inbox,
    invites,
    limits,
    outbox,
    transfers,
)
from peerpost.wire import inner as wire
from tests.messenger.store.tables.test_writers import WRITERS
from tests.support import replay
from tests.support.store_rig import NOW_MS, Rig, chain, message, offer, public_of, statement_of

FILE = bytes([7]) * 16
FINISH = wire.Finish(file_id=FILE, size=1000, count=1, root=bytes(32))
INVITE = bytes(range(8))
Row = tuple[str, str | None, str | None, str | None]


def rows(rig: Rig, after: int = 0) -> list[Transition]:
    return rig.read(journal.after, after)


def told(rig: Rig, work: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Row]:
    """Do something in a transaction of its own; return what the journal says of it."""
    before = rig.read(journal.newest)
    rig.write(work, *args, **kwargs)
    return [(one.kind, one.before, one.after, one.what) for one in rows(rig, before)]


def send_file(db: apsw.Connection, contact_id: str) -> None:
    transfers.add_outgoing(
        db, contact_id=contact_id, file_id=FILE, key=bytes(32), chunk_log2=18, name="report.pdf",
        as_text=False, size=1000, finish=None, source='{"path": "/somewhere"}', now_ms=NOW_MS,
    )  # fmt: skip
    outbox.enqueue(
        db, contact_id=contact_id, lane=1, message_kind=wire.Kind.OFFER, body=offer(FILE),
        kind="file", size=1000, now_ms=NOW_MS, name="report.pdf", file_id=FILE,
    )  # fmt: skip


def receive_offer(rig: Rig, contact_id: str) -> transfers.Transfer:
    made = message(1, kind=wire.Kind.OFFER, body=offer(FILE), lane=1)
    assert told(rig, inbox.receive_many, contact_id, [made], NOW_MS) == [
        ("download", None, "offered", None)
    ]
    (row,) = rig.read(transfers.of_contact, contact_id)
    return row


# -- each transition


def test_a_text_that_we_send(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    first, second, third = (rig.queue(bob, expires_ms=NOW_MS + 1) for _ in range(3))
    (*_, row) = rows(rig)
    assert row == Transition(
        id=row.id, at_ms=row.at_ms, kind="entry", subject=third.id, contact_id=bob,
        before=None, after="queued", what=None,
    )  # fmt: skip
    assert told(rig, outbox.mark_sent, [first.row_id]) == [("entry", "queued", "sent", None)]
    assert told(rig, outbox.mark_sent, [first.row_id]) == []
    rig.acknowledge(first, 1)
    assert rows(rig)[-1].after == "delivered"
    # A delivery has the time that the outbox has.
    assert rows(rig)[-1].at_ms == rig.read(outbox.find, first.id).delivered_ms == NOW_MS + 1
    assert told(rig, outbox.cancel, second.id) == [("entry", "queued", "cancelled", None)]
    assert told(rig, outbox.cancel, second.id) == []
    assert told(rig, outbox.expire, NOW_MS + 2) == [("entry", "queued", "expired", None)]
    rig.acknowledge(third, 3)
    assert told(rig, outbox.forget, bob) == [
        ("entry", "delivered", None, None),
        ("entry", "cancelled", None, None),
        ("entry", "expired", None, None),
    ]


def test_a_text_that_we_receive(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    new = ("item", None, "unread", None)
    assert told(rig, inbox.receive_many, bob, chain(2), NOW_MS) == [new, new]
    assert told(rig, inbox.receive_many, bob, chain(2), NOW_MS) == []
    (first, _) = rig.read(
        inbox.list_items, contact_id=None, unread=True, limit=9, since_ms=None, oldest=True
    )
    assert told(rig, inbox.mark, [first.id], unread=False) == [("item", "unread", "read", None)]
    assert told(rig, inbox.mark, [first.id], unread=False) == []
    assert told(rig, inbox.mark, [first.id], unread=True) == [("item", "read", "unread", None)]
    assert told(rig, deletion.delete, [first.id], None, NOW_MS) == [("item", "unread", None, None)]


def test_a_file_that_we_send(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    assert told(rig, send_file, bob) == [
        ("upload", None, "offered", None),
        ("entry", None, "queued", None),
    ]
    (row,) = rig.read(transfers.of_contact, bob)
    assert told(rig, transfers.activate, row.id) == [("upload", "offered", "active", None)]
    assert told(rig, transfers.set_peer_pause, row.id, "full") == [
        ("upload", "active", "active", "peer")
    ]
    assert told(rig, transfers.set_state, row.id, "paused", "by the user") == [
        ("upload", "active", "paused", "reason")
    ]
    assert told(rig, endings.delivered, bob, FILE, NOW_MS) == [
        ("upload", "paused", "done", "reason"),
        ("entry", "queued", "delivered", None),
    ]
    assert told(rig, endings.delivered, bob, FILE, NOW_MS) == []


def test_a_file_that_we_offer_again(rig: Rig) -> None:
    """Only its number changes: whoever follows the journal must not see another entry, or lose this one."""
    bob = rig.make_contact("bob").id
    rig.write(send_file, bob)
    (entry,) = rig.read(outbox.unsettled, bob, 1, 0, 9)
    rig.write(outbox.mark_sent, [entry.row_id])
    rig.acknowledge(entry, 1)
    later = rig.queue(bob, lane=1)
    assert told(rig, outbox.offer_again, bob) == []
    waiting = rig.read(outbox.unsettled, bob, 1, 0, 9)
    assert [(one.id, one.seq, one.state) for one in waiting] == [
        (later.id, 2, "queued"),
        (entry.id, 3, "sent"),
    ]
    sent_again = wire.decode(waiting[1].inner)
    assert isinstance(sent_again, wire.Message)
    assert (sent_again.seq, sent_again.body) == (3, offer(FILE))
    rig.read(replay.check)


def test_a_file_of_ours_that_is_refused(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    rig.write(send_file, bob)
    assert told(rig, endings.ended, bob, FILE, "refused", "no", transfer=("failed", "no")) == [
        ("upload", "offered", "failed", "reason"),
        ("entry", "queued", "refused", None),
    ]


def test_a_file_that_we_receive(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    row = receive_offer(rig, bob)
    assert told(rig, transfers.ask, bob, 10) == [("download", "offered", "asking", None)]
    assert told(rig, transfers.unask, bob, 10_000) == [("download", "asking", "offered", None)]
    assert told(rig, transfers.let_come, row.id, 5) == [
        ("download", "offered", "offered", "accepted")
    ]
    assert told(rig, transfers.set_state, row.id, "active") == [
        ("download", "offered", "active", None)
    ]
    assert told(rig, transfers.set_state, row.id, "active", "no space") == [
        ("download", "active", "active", "reason")
    ]
    assert told(rig, transfers.checkpoint, row.id, b"\x01", 10, None) == []
    assert told(rig, inbox.complete_incoming, row.id, FINISH, "report.pdf", NOW_MS) == [
        ("download", "active", "done", "reason"),
        ("item", None, "unread", None),
    ]
    assert told(rig, contacts.remove, bob) == [("contact", "active", None, None)]


def test_a_file_that_is_given_up(rig: Rig) -> None:
    row = receive_offer(rig, rig.make_contact("bob").id)
    assert told(rig, transfers.end, row.id, "cancelled", "no", peer_knows=False) == [
        ("download", "offered", "cancelled", "reason")
    ]
    assert told(rig, transfers.set_state, row.id, "active") == []


def test_a_contact(rig: Rig) -> None:
    public, statement = public_of("bob"), statement_of("bob", 1)
    assert told(rig, contacts.add, name="bob", id_public=public, now_ms=NOW_MS) == [
        ("contact", None, "pending", None)
    ]
    (bob,) = rig.read(contacts.list_all)

    def change(work: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return what one change leaves, without its kind; nothing if it leaves nothing."""
        found = told(rig, work, bob.id, *args, **kwargs)
        return found[0][1:] if found else ()

    assert change(contacts.proved, statement, NOW_MS) == ("pending", "active", None)
    assert change(contacts.proved, statement, NOW_MS + 1) == ()
    assert change(contacts.touch, NOW_MS + 2) == ()
    assert change(contacts.edit, name="bobby") == ("active", "active", "renamed")
    assert change(contacts.edit, note="a friend") == ("active", "active", "edited")
    assert change(contacts.edit, note="a friend") == ()
    assert change(contacts.edit, addresses=("/ip4/192.0.2.1/tcp/1",))[2] == "edited"
    assert change(contacts.edit, accept="never")[2] == "edited"
    assert change(contacts.set_quota, 10)[2] == "edited"
    assert change(contacts.went_back, NOW_MS)[2] == "put back"
    assert change(contacts.refuses_us, NOW_MS + 10) == ("active", "removed", None)
    assert change(contacts.proved, statement, NOW_MS + 11) == ("removed", "active", None)
    assert change(contacts.verify, NOW_MS) == ("active", "active", "verified")
    other = statement_of("bob", 2)
    assert change(contacts.in_conflict, other, "two") == ("active", "changed", None)
    assert change(contacts.in_conflict, other, "three") == ("changed", "changed", "reason")
    assert change(contacts.block) == ("changed", "blocked", None)
    assert change(contacts.unblock) == ("blocked", "changed", None)
    assert change(contacts.verify, NOW_MS) == ("changed", "active", "verified")
    rig.write(limits.put, limits.RateLimit(contact_id=bob.id, up_bytes_s=5))
    assert told(rig, contacts.remove, bob.id) == [
        ("limit", "set", None, None),
        ("contact", "active", None, None),
    ]


def test_a_ticket_that_renews_and_one_that_expires(rig: Rig) -> None:
    bob = rig.make_contact("bob")
    ticket = {"ticket_secret": bytes(16), "ticket_expires_s": NOW_MS // 1000}
    again = {"name": "bob", "id_public": public_of("bob"), "now_ms": NOW_MS}
    assert told(rig, contacts.add, **again, **ticket) == [
        ("contact", "active", "pending", "ticket")
    ]
    assert told(rig, contacts.expire, bob.id, "too late", NOW_MS) == [
        ("contact", "pending", "expired", None)
    ]
    assert told(rig, contacts.expire, bob.id, "too late", NOW_MS) == []


def test_an_invitation(rig: Rig) -> None:
    def create(number: int, name: str) -> list[Row]:
        invite, secret = bytes([number]) * 8, bytes(16)
        return told(rig, invites.create, invite, secret, name, NOW_MS // 1000 + 60, NOW_MS)

    new = ("invite", None, "open", None)
    assert [create(number, f"guest {number}") for number in range(4)] == [[new]] * 4
    assert rows(rig)[-1].subject == "03" * 8
    assert told(rig, invites.redeem, bytes(8), public_of("guest"), NOW_MS) == [
        ("invite", "open", "used", None),
        ("contact", None, "active", None),
    ]
    assert told(rig, invites.burn, b"\x01" * 8, NOW_MS, "by another") == [
        ("invite", "open", "refused", "reason")
    ]
    assert told(rig, invites.redeem, b"\x02" * 8, public_of("guest"), NOW_MS) == [
        ("invite", "open", "used", None),
        ("invite", "used", "refused", "reason"),
    ]
    assert told(rig, invites.withdraw, "0303", NOW_MS) == [("invite", "open", None, None)]


def test_a_limit(rig: Rig) -> None:
    row = limits.RateLimit(up_bytes_s=5)
    assert told(rig, limits.put, row) == [("limit", None, "set", None)]
    assert rows(rig)[-1].subject == ""
    assert told(rig, limits.put, row) == []
    assert told(rig, limits.put, limits.RateLimit(up_bytes_s=6)) == [
        ("limit", "set", "set", "edited")
    ]
    assert rig.read(limits.list_all) == [limits.RateLimit(up_bytes_s=6)]


# -- no way around it

JOURNALLED: dict[str, tuple[set[str], set[str]]] = {
    "contacts": (
        {"state", "name", "addresses", "ticket_secret", "note", "accept", "verified_at_ms"}
        | {"quota_bytes", "conflict_body", "went_back_ms", "why", "removed_us_ms"},
        # Who it is, what its newest statement says, and when it was here.
        {"id", "id_public", "statement_body", "statement_sig", "transport_public", "conflict_sig"}
        | {"ticket_expires_s", "added_ms", "last_seen_ms"},
    ),
    "inbox": (
        {"unread"},
        {"row_id", "id", "contact_id", "kind", "outbox_id", "lane", "seq", "gap", "size", "name"}
        | {"body", "file_id", "sent_ms", "received_ms", "files", "link", "foreign_kind"},
    ),
    "invites": (
        {"used_ms", "why"},
        {"invite_id", "secret", "name", "expires_s", "created_ms"},
    ),
    "outbox": (
        {"state"},
        # What the other side has been sent and has acknowledged is no state that anybody is shown.
        {"row_id", "id", "contact_id", "lane", "kind", "outbox_id", "seq", "settled", "inner"}
        | {"link", "size", "name", "file_id", "created_ms", "delivered_ms", "expires_ms"}
        | {"last_error"},
    ),
    "rate_limits": ({"up_bytes_s", "down_bytes_s", "messages_s", "burst_bytes"}, {"contact_id"}),
    "transfers": (
        {"state", "error", "peer_pause", "accepted_bytes"},
        # Progress, and what is found out about a file on its way.
        {"file_id", "incoming", "id", "contact_id", "name", "as_text", "size", "chunk_log2", "key"}
        | {"finish_size", "finish_count", "finish_root", "have", "progress_bytes", "source"}
        | {"outbox_id", "lane", "seq", "sent_ms", "created_ms", "content_id", "told", "files"}
        | {"mode", "mtime_s"},
    ),
}
"""Of each table that has transitions: the columns whose change is one, and all others."""
OTHER_STATES = {"outbox": "sent", "transfers": "active", "contacts": "expired"}
NOT_JOURNALLED = {
    "how lanes and their numbers stand": {"beyond", "chains", "marks", "seen", "unheard"},
    "our own keys": {"contents_key", "identity", "outbox_ids", "prekeys"},
    "follows from what is journalled": {"contents", "deleted", "former_contacts", "usage"},
    "about the state of a home": {"put_back"},
    "where files of the inbox lie": {"plain"},
    "itself": {"changes"},
}


def fill(rig: Rig) -> None:
    """Put a row into each table that has transitions."""
    bob = rig.make_contact("bob").id
    rig.write(send_file, bob)
    rig.write(inbox.receive_many, bob, chain(1), NOW_MS)
    rig.write(invites.create, INVITE, bytes(16), "carol", NOW_MS // 1000 + 60, NOW_MS)
    rig.write(limits.put, limits.RateLimit(contact_id=bob, up_bytes_s=1))


def test_each_table_and_each_column_is_a_transition_or_is_said_to_be_none(rig: Rig) -> None:
    assert set(WRITERS) == set(JOURNALLED).union(*NOT_JOURNALLED.values())
    for table, (transitions, others) in JOURNALLED.items():
        columns = {row[1] for row in rig.rows(f"PRAGMA table_info({table})")}
        assert columns == transitions | others, table
        assert not transitions & others


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table, (columns, _) in JOURNALLED.items() for column in sorted(columns)],
)
def test_whoever_changes_a_column_leaves_a_row(rig: Rig, table: str, column: str) -> None:
    """However it is done: here without any function of the store."""
    fill(rig)
    value: Any = {"unread": 0, "state": OTHER_STATES.get(table)}.get(column, 7)
    if column in ("conflict_body", "ticket_secret"):
        value = bytes(16)
    forgets = ", secret = NULL" if column == "used_ms" else ""

    def change(db: apsw.Connection) -> None:
        db.execute(f"UPDATE {table} SET {column} = ?{forgets}", (value,))

    assert len(told(rig, change)) == 1
    assert told(rig, change) == []


@pytest.mark.parametrize("table", sorted(JOURNALLED))
def test_whoever_deletes_leaves_a_row(rig: Rig, table: str) -> None:
    fill(rig)
    found = told(rig, lambda db: db.execute(f"DELETE FROM {table}") and None)
    assert [after for _, _, after, _ in found] == [None] * len(found) != []
    rig.read(replay.check)


def test_a_replay_finds_what_was_left_out(rig: Rig) -> None:
    """The check that stands behind every test of the store: it sees a journal without one of its rows."""
    fill(rig)
    rig.read(replay.check)
    rig.write(lambda db: db.execute("DROP TRIGGER entry_changed"))
    rig.write(lambda db: db.execute("UPDATE outbox SET state = 'sent'") and None)
    with pytest.raises(AssertionError):
        rig.read(replay.check)
    rig.renamed = True


# -- its transaction


def test_what_fails_leaves_nothing_and_what_is_committed_with_it_stays(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    before = rig.read(journal.newest)

    def fails(db: apsw.Connection) -> None:
        contacts.edit(db, bob, note="lost")
        assert journal.newest(db) > before
        raise ValueError("no")

    async def both() -> list[Any]:
        waiting = [
            rig.store.write(fails),
            rig.store.write(contacts.edit, bob, name="bobby"),
            rig.store.write(fails),
        ]
        return await asyncio.gather(*waiting, return_exceptions=True)

    failed, contact, again = rig.run(both())
    assert isinstance(failed, ValueError)
    assert isinstance(again, ValueError)
    assert contact.name == "bobby"
    assert [(row.what, row.id) for row in rows(rig, before)] == [("renamed", before + 1)]


def test_numbers_rise_and_are_never_given_twice(rig: Rig) -> None:
    fill(rig)
    numbers = [row.id for row in rows(rig)]
    assert numbers == list(range(1, len(numbers) + 1))
    rig.write(lambda db: db.execute("DELETE FROM changes") and None)
    rig.make_contact("carol")
    assert [row.id for row in rows(rig)] == [numbers[-1], numbers[-1] + 1]


# -- it stays short


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEPT_ROWS", 100)
    monkeypatch.setattr(journal, "SPARE_ROWS", 20)
    monkeypatch.setattr(journal, "PRUNED_ROWS", 50)


@pytest.mark.usefixtures("short")
def test_the_oldest_rows_go_with_the_commits_that_there_are(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    commits = 400
    for number in range(commits):
        rig.write(contacts.edit, bob, note=f"{number}")
    kept = [row.id for row in rows(rig)]
    assert 100 <= len(kept) <= 120 + follower.PRUNE_COMMITS
    assert kept == list(range(commits + 2 - len(kept), commits + 2))


@pytest.mark.usefixtures("short")
def test_of_many_rows_at_once_some_go_with_each_pruning(rig: Rig) -> None:
    bob = rig.make_contact("bob").id
    rig.write(inbox.receive_many, bob, chain(1000), NOW_MS)
    for number in range(follower.PRUNE_COMMITS * 40):
        before = len(rows(rig))
        rig.write(contacts.edit, bob, note=f"{number}")
        assert len(rows(rig)) >= before + 1 - 50
    assert len(rows(rig)) <= 120 + follower.PRUNE_COMMITS


def test_old_rows_go_and_new_ones_stay(rig: Rig) -> None:
    fill(rig)
    count = len(rows(rig))
    rig.write(lambda db: db.execute("UPDATE changes SET at_ms = at_ms - 31 * 86400000") and None)
    bob = rig.read(contacts.list_all)[0].id
    for number in range(follower.PRUNE_COMMITS):
        rig.write(contacts.edit, bob, note=f"{number}")
    # The newest of that time may stay, for the sake of its number.
    assert [row.id for row in rows(rig) if row.id != count] == [
        count + 1 + number for number in range(follower.PRUNE_COMMITS)
    ]


def test_a_history_that_is_forgotten_leaves_the_journal(rig: Rig) -> None:
    bob, carol = rig.make_contact("bob").id, rig.make_contact("carol").id
    entry = rig.queue(bob)
    rig.acknowledge(entry, 1)
    rig.write(contacts.remove, bob)
    before = rig.read(journal.newest)
    rig.write(forgetting.forget, bob)
    assert {row.contact_id for row in rows(rig) if row.id < before} == {carol}
    # That it was forgotten is told.
    assert [(row.subject, row.after) for row in rows(rig, before)] == [(entry.id, None)]


# -- told after the commit


class Listener:
    """Follows a store, as the events of the node do."""

    def __init__(self, rig: Rig) -> None:
        self.wants = True
        self.told: list[Sequence[Transition] | None] = []
        self._rig = rig
        rig.store.follower.followed = lambda: self.wants
        rig.store.follower.tell = self._take

    def _take(self, changes: Sequence[Transition] | None) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.told.append(changes)

    def since(self) -> list[Transition] | None:
        """Return what was told since the last time, in one; None if anything may have changed."""
        # What is told after a commit comes behind its result.
        self._rig.run(self._rig.store.behind_what_is_queued())
        taken, self.told = self.told, []
        if any(changes is None for changes in taken):
            return None
        return [change for changes in taken for change in changes or ()]


def test_a_commit_tells_its_rows_once(rig: Rig) -> None:
    listener = Listener(rig)
    bob = rig.make_contact("bob").id
    rig.write(contacts.edit, bob, name="bobby")
    changes = listener.since()
    assert changes == rows(rig)
    assert [change.what for change in changes or ()] == [None, "renamed"]
    with pytest.raises(ValueError, match="no"):
        rig.write(fail)
    assert listener.since() == []
    rig.write(contacts.remove, bob)
    assert [change.after for change in listener.since() or ()] == [None]


def fail(db: apsw.Connection) -> None:
    db.execute("UPDATE contacts SET note = 'lost'")
    raise ValueError("no")


def test_who_begins_to_follow_is_told_what_it_may_have_missed(rig: Rig) -> None:
    listener = Listener(rig)
    listener.wants = False
    bob = rig.make_contact("bob").id
    assert listener.since() is None
    listener.wants = True
    rig.write(contacts.edit, bob, note="first")
    assert [change.what for change in listener.since() or ()] == ["edited"]
    listener.wants = False
    rig.write(contacts.edit, bob, note="second")
    listener.wants = True
    rig.write(contacts.edit, bob, name="bobby")
    rig.store.follower.followed = lambda: True
    assert [change.what for change in rows(rig)[-2:]] == ["edited", "renamed"]
    assert listener.since() is None


def test_too_many_changes_are_told_as_one_and_the_next_ones_singly(rig: Rig) -> None:
    listener = Listener(rig)
    bob = rig.make_contact("bob").id
    assert listener.since() == rows(rig)
    rig.write(inbox.receive_many, bob, chain(follower.TOLD_ROWS + 1), NOW_MS)
    assert listener.since() is None
    rig.write(contacts.edit, bob, name="bobby")
    assert listener.since() == rows(rig)[-1:]
