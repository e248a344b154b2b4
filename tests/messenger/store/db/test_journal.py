"""The journal: nobody changes a state around it, it is one with its transaction, and it stays short."""

from __future__ import annotations

import asyncio
from typing import Any

import apsw
import pytest

from peerpost.store.db import follower, journal
from peerpost.store.tables import contacts, forgetting, inbox
from tests.messenger.store.tables.test_writers import WRITERS
from tests.support import replay
from tests.support.journal_rig import fill, rows, told
from tests.support.store_rig import NOW_MS, Rig, chain

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
        | {"body", "file_id", "sent_ms", "received_ms", "files", "link", "foreign_kind"}
        | {"origin"},
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
        | {"last_error", "once", "origin"},
    ),
    "rate_limits": ({"up_bytes_s", "down_bytes_s", "messages_s", "burst_bytes"}, {"contact_id"}),
    "transfers": (
        {"state", "error", "peer_pause", "accepted_bytes"},
        # Progress, and what is found out about a file on its way.
        {"file_id", "incoming", "id", "contact_id", "name", "as_text", "size", "chunk_log2", "key"}
        | {"finish_size", "finish_count", "finish_root", "have", "progress_bytes", "source"}
        | {"outbox_id", "lane", "seq", "sent_ms", "created_ms", "content_id", "told", "files"}
        | {"mode", "mtime_s", "imported"},
    ),
}
"""Of each table that has transitions: the columns whose change is one, and all others."""
OTHER_STATES = {"outbox": "sent", "transfers": "active", "contacts": "expired"}
NOT_JOURNALLED = {
    "how lanes and their numbers stand": {"beyond", "chains", "marks", "seen", "unheard"},
    "our own keys": {"contents_key", "identity", "outbox_ids", "prekeys"},
    "follows from what is journalled": {"contents", "deleted", "former_contacts", "usage"},
    "about the state of a home": {"backups", "lives", "met_runs", "runs"},
    "a trigger of its own tells of it as a change of the contact": {"copied", "put_back"},
    "where files of the inbox lie": {"plain"},
    "how far who reads the inbox has come": {"readers"},
    "our own words for contacts": {"tags"},
    "itself": {"changes"},
    "made of the messages, for the search": {
        *("inbox_grams", "inbox_slices", "long_texts", "outbox_grams", "outbox_slices")
    },
}


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


@pytest.mark.slow
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
