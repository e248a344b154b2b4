"""Whoever follows the store is told after each commit what it has changed, once, or to look at everything."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import apsw
import pytest

from peerpost.store.db import follower
from peerpost.store.db.journal import Transition
from peerpost.store.tables import contacts, inbox
from tests.support.journal_rig import rows
from tests.support.store_rig import NOW_MS, Rig, chain


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
