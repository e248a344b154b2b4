"""Outbox and inbox of two people against a model of some lines, with a wire that does its worst.

Whatever is queued, taken back, sent twice, out of order or not at all, acknowledged late, and
whoever restarts or is removed and added again meanwhile: both stores are what the model says, and
in the end everything that was queued and not taken back has arrived once.
`PEERPOST_EXAMPLES=2000` draws that many fresh examples instead of the fixed few, and makes one that
fails as small as it can, which takes minutes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peerpost.store.db.engine import Store
from peerpost.store.tables import contacts, endings, inbox, outbox, transfers
from peerpost.store.tables import entries as store_entries
from peerpost.wire import inner as wire
from tests.support.store_rig import NOW_MS, Rig

EXAMPLES = int(os.environ.get("PEERPOST_EXAMPLES", "0"))
LANES = st.sampled_from([0, 1])
OPEN = ("queued", "sent")
PICK = st.integers(0, 10**6)
CALM = 4
"""Sendings between two disturbances; else most steps are those, and nothing is on its way."""
BACKLOG = 12
"""Entries not acknowledged, above which nothing is queued: for the same reason."""


@dataclass
class Sent:
    """What the model knows of an entry of the outbox."""

    id: str
    row_id: int
    lane: int
    seq: int
    body: bytes
    file_id: bytes | None
    state: str = "queued"
    settled: bool = False
    skipped: bool = False

    @property
    def open(self) -> bool:
        return self.state in OPEN

    def end(self, state: str) -> None:
        """End it undelivered: a tombstone goes on, if its number is not acknowledged."""
        self.state = state
        self.skipped = self.skipped or not self.settled


@dataclass
class Receipt:
    """What a receipt says, and what was taken when it was made."""

    mark: inbox.Mark
    taken: frozenset[int]


class UnsyncedStore(Store):
    """A store that does not wait for the disk: power cuts are another test's."""

    synchronous = "off"


class TwoPeople(RuleBasedStateMachine):
    """Alice queues for Bob; between them is a bag from which anything may come at any time."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="peerpost-model-"))
        self.rigs: dict[str, Rig] = {}
        for name in ("alice", "bob"):
            (self.folder / name).mkdir()
            self.rigs[name] = Rig(self.folder / name, store_class=UnsyncedStore)
            self.rigs[name].make_identity()
            self.rigs[name].hold_states()
        self.bob = self.rigs["alice"].make_contact("bob").id
        self.alice = self.rigs["bob"].make_contact("alice").id
        self.sent: list[Sent] = []
        self.last: dict[int, int] = {0: 0, 1: 0}
        self.bag: list[tuple[wire.Message, bytes]] = []
        self.receipts: list[Receipt] = []
        self.taken: dict[int, set[int]] = {0: set(), 1: set()}
        self.shown: list[bytes] = []
        self.offers: set[bytes] = set()
        self.calm = 0

    # -- Alice

    @precondition(lambda self: sum(not one.settled for one in self.sent) < BACKLOG)
    @rule(lane=LANES, count=st.integers(1, 4), kind=st.sampled_from(["text", "expiring", "file"]))
    def queue(self, lane: int, count: int, kind: str) -> None:
        alice = self.rigs["alice"]
        for number in range(count):
            if kind == "file":
                file_id = bytes([lane]) + self.last[lane].to_bytes(15)
                as_text = "text" if number % 2 else "file"
                self.note(alice.queue_file(self.bob, file_id, kind=as_text, lane=lane), b"")
            else:
                body = f"{kind} {lane} {self.last[lane]}"
                at_ms = NOW_MS + 100 if kind == "expiring" else None
                entry = alice.queue(self.bob, body, lane=lane, expires_ms=at_ms)
                self.note(entry, body.encode())

    def note(self, entry: outbox.Entry, body: bytes) -> None:
        self.last[entry.lane] += 1
        assert entry.seq == self.last[entry.lane]
        self.sent.append(Sent(entry.id, entry.row_id, entry.lane, entry.seq, body, entry.file_id))

    @precondition(lambda self: self.calm and any(one.open for one in self.sent))
    @rule(pick=PICK, how=st.sampled_from(["cancel", "expire", "file delivered", "file refused"]))
    def end(self, pick: int, how: str) -> None:
        """End an entry otherwise than by a receipt."""
        alice = self.rigs["alice"]
        if how == "expire":
            expired = {entry.id for entry in alice.write(outbox.expire, NOW_MS + 100)}
            for one in self.sent:
                if one.id in expired:
                    assert one.open
                    one.end("expired")
            return
        candidates = [one for one in self.sent if one.open]
        one = candidates[pick % len(candidates)]
        if how == "cancel":
            assert alice.write(outbox.cancel, one.id).state == "cancelled"
            one.end("cancelled")
        elif one.file_id is not None and how == "file delivered":
            alice.write(endings.delivered, self.bob, one.file_id, NOW_MS)
            one.state = "delivered"
        elif one.file_id is not None:
            alice.write(endings.ended, self.bob, one.file_id, "refused", "no")
            one.end("refused")

    # -- the wire

    @rule(
        lane=LANES,
        count=st.integers(1, 5),
        draw=st.randoms(use_true_random=False),
        fate=st.sampled_from(["lost", "taken", "answered", "answered"]),
    )
    def send(self, lane: int, count: int, draw: Any, fate: str) -> None:
        """Put some of what is not acknowledged into the bag; have some of the bag arrive."""
        self.calm += 1
        self.put(lane, 0, count)
        if not self.bag or fate == "lost":
            return
        self.take(draw.choices(self.bag[-8:] if count % 2 else self.bag, k=count))
        if fate == "answered":
            self.take_receipt(self.receipts[-1])

    def put(self, lane: int, behind: int, count: int) -> None:
        alice = self.rigs["alice"]
        entries = alice.read(outbox.unsettled, self.bob, lane, behind, count)
        for entry in entries:
            made = wire.decode(entry.inner)
            assert isinstance(made, wire.Message)
            self.bag.append((made, wire.link(entry.inner, made)))
        alice.write(outbox.mark_sent, [entry.row_id for entry in entries])
        row_ids = {entry.row_id for entry in entries}
        for one in self.sent:
            if one.row_id in row_ids and one.state == "queued":
                one.state = "sent"

    @precondition(lambda self: self.calm and self.receipts)
    @rule(pick=PICK)
    def acknowledge(self, pick: int) -> None:
        """Take any receipt that ever was, an old one too."""
        self.take_receipt(self.receipts[pick % len(self.receipts)])

    def take_receipt(self, receipt: Receipt) -> None:
        mark = receipt.mark
        self.rigs["alice"].write(
            outbox.acknowledge,
            self.bob,
            mark.outbox_id,
            mark.lane,
            mark.watermark,
            mark.sack,
            NOW_MS,
        )
        for one in self.sent:
            if one.lane == mark.lane and one.seq in receipt.taken and not one.settled:
                one.settled = True
                if one.open:
                    one.state = "sent" if one.file_id else "delivered"

    # -- Bob

    def take(self, batch: list[tuple[wire.Message, bytes]]) -> None:
        received = self.rigs["bob"].write(inbox.receive_many, self.alice, batch, NOW_MS)
        fresh: list[bytes] = []
        offered: list[bytes] = []
        for made, _ in batch:
            if made.seq in self.taken[made.lane]:
                continue
            self.taken[made.lane].add(made.seq)
            if made.kind == wire.Kind.TEXT:
                fresh.append(made.body)
            elif made.kind == wire.Kind.OFFER:
                offered.append(wire.decode_offer(made.body).file_id)
        assert [item.body for item in received.items] == fresh
        assert received.offers == offered
        self.shown += fresh
        self.offers.update(offered)
        assert {mark.lane for mark in received.marks} == {made.lane for made, _ in batch}
        for mark in received.marks:
            taken = frozenset(self.taken[mark.lane])
            assert numbers(mark) == taken
            self.receipts.append(Receipt(mark, taken))

    # -- both

    @precondition(lambda self: self.calm >= CALM)
    @rule(name=st.sampled_from(["alice", "bob"]))
    def restart(self, name: str) -> None:
        self.calm = 0
        self.rigs[name].close()
        self.rigs[name] = Rig(self.folder / name, store_class=UnsyncedStore)
        self.rigs[name].hold_states()

    @precondition(lambda self: self.calm >= CALM)
    @rule(name=st.sampled_from(["alice", "bob"]))
    def remove_and_add_again(self, name: str) -> None:
        self.calm = 0
        other, contact_id = ("bob", self.bob) if name == "alice" else ("alice", self.alice)
        self.rigs[name].write(contacts.remove, contact_id)
        assert self.rigs[name].make_contact(other).id == contact_id
        if name == "bob":
            self.offers.clear()
            return
        self.sent = [one for one in self.sent if not one.settled or one.state == "delivered"]
        for one in self.sent:
            if one.state == "delivered":
                one.end("delivered")
            else:
                one.end("cancelled")
                one.file_id = None

    @invariant()
    def alice_is_as_the_model_says(self) -> None:
        if not hasattr(self, "rigs"):
            return
        alice = self.rigs["alice"]
        found = alice.read(store_entries.list_entries, contact_id=None, pending=False, limit=10**6)
        assert [(e.id, e.seq, e.lane, e.state, e.settled) for e in reversed(found)] == [
            (one.id, one.seq, one.lane, one.state, one.settled) for one in self.sent
        ]
        for lane in (0, 1):
            waiting = [one for one in self.sent if one.lane == lane and not one.settled]
            entries = alice.unsettled(self.bob, lane)
            assert [entry.id for entry in entries] == [one.id for one in waiting]
            for entry, one in zip(entries, waiting, strict=True):
                made = wire.decode(entry.inner)
                assert isinstance(made, wire.Message)
                assert (made.kind == wire.Kind.SKIP) == one.skipped
        waiting_count = sum(one.open for one in self.sent)
        depths = {self.bob: waiting_count} if waiting_count else {}
        assert alice.read(store_entries.depths) == depths
        anything = any(one.open or not one.settled for one in self.sent)
        assert alice.read(outbox.has_open, self.bob) == anything

    @invariant()
    def bob_is_as_the_model_says(self) -> None:
        if not hasattr(self, "rigs"):
            return
        bob = self.rigs["bob"]
        items = bob.read(
            inbox.list_items, contact_id=None, unread=False, limit=10**6, since_ms=None
        )
        assert [item.body for item in reversed(items)] == self.shown
        offered = {row.file_id for row in bob.read(transfers.of_contact, self.alice)}
        assert offered == self.offers
        for mark in bob.read(inbox.watermarks, self.alice):
            taken = self.taken[mark.lane]
            assert set(range(1, mark.watermark + 1)) <= taken
            assert mark.watermark + 1 not in taken

    @invariant()
    def nothing_is_called_delivered_that_bob_has_not(self) -> None:
        for one in getattr(self, "sent", ()):
            if one.state == "delivered" and one.file_id is None:
                assert one.body in self.shown

    def teardown(self) -> None:
        if not hasattr(self, "rigs"):
            return
        try:
            self.drain()
        finally:
            for rig in self.rigs.values():
                rig.close()
            shutil.rmtree(self.folder)

    def drain(self) -> None:
        """With a wire that works, everything arrives."""
        for lane in (0, 1):
            self.bag.clear()
            self.put(lane, 0, 10**6)
            if self.bag:
                self.take(self.bag)
                self.take_receipt(self.receipts[-1])
        self.alice_is_as_the_model_says()
        self.bob_is_as_the_model_says()
        assert all(one.settled for one in self.sent)
        assert len(set(self.shown)) == len(self.shown)
        texts = [one for one in self.sent if one.file_id is None and one.body]
        assert all(one.state != "sent" for one in texts)
        for one in texts:
            if one.state == "delivered":
                assert one.body in self.shown


def numbers(mark: Any) -> set[int]:
    """Return what a receipt of this mark acknowledges, read as the protocol says."""
    beyond = {
        mark.watermark + 2 + at
        for at in range(8 * len(mark.sack))
        if mark.sack[at // 8] >> at % 8 & 1
    }
    return set(range(1, mark.watermark + 1)) | beyond


TestTwoPeople = TwoPeople.TestCase
TestTwoPeople.settings = settings(
    max_examples=EXAMPLES or 25,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
    phases=list(Phase) if EXAMPLES else [Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestTwoPeople.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]
