"""How far each lane of a contact was received, and which message each recent number had.

What is remembered of a contact is bounded: the sixteen outbox ids that it used last, and 4,096 numbers beyond all of
their watermarks together. The cost of a batch depends only on its size.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import apsw

from peerpost.wire import history, limits
from peerpost.wire import inner as wire

__all__ = ["MAX_OUTBOX_IDS", "Lanes", "Mark", "Place", "watermarks"]

MAX_OUTBOX_IDS: Final = 16
"""Outbox ids remembered of one contact. An honest one draws a new one only when its home was put back."""
REMEMBERED: Final = 2 * limits.MAX_SPARSE
"""How far below the watermark the links of messages are kept that are not shown: a sender has fewer in flight."""
_UNSHOWN: Final = (wire.Kind.OFFER, wire.Kind.SKIP)
_KEY = "contact_id = ? AND outbox_id = ? AND lane = ?"
_FORGET = (
    "DELETE FROM marks WHERE contact_id = ? AND outbox_id = ?",
    "DELETE FROM beyond WHERE contact_id = ? AND outbox_id = ?",
    "DELETE FROM seen WHERE contact_id = ? AND outbox_id = ?",
)
_Key: TypeAlias = tuple[bytes, int]
_MayPark: TypeAlias = "Callable[[_Lane, int], bool]"


@dataclass(slots=True, kw_only=True)
class Mark:
    """How far one lane of one outbox of a contact has got."""

    outbox_id: bytes
    lane: int
    watermark: int
    link: bytes
    sack: bytes = b""
    """Which numbers beyond the watermark are held, as in a Receipt."""
    top: int = 0
    """The highest number held; `top_link` is its link."""
    top_link: bytes = wire.FIRST_LINK


class Place(enum.Enum):
    """How a number fits into its lane."""

    NEXT = enum.auto()
    GAP = enum.auto()
    """New, and the message before it is missing or is not the one that it follows."""
    DUPLICATE = enum.auto()
    CONFLICT = enum.auto()
    """Another message had this number."""
    LATER = enum.auto()
    """Too far ahead to be taken."""


class Lanes:
    """The lanes of one contact while a batch is taken."""

    def __init__(self, db: apsw.Connection, contact_id: str) -> None:
        self._db = db
        self._contact_id = contact_id
        self._lanes: dict[_Key, _Lane] = {}
        self._parked: int | None = None
        self._used = db.execute(
            "SELECT coalesce(max(used), 0) FROM marks WHERE contact_id = ?", (contact_id,)
        ).get
        self.conflicts: list[_Key] = []
        """Lanes on which a number came again with another message; they are not acknowledged."""

    def place(self, message: wire.Message, link: bytes) -> Place:
        """Note a number and say what it is."""
        key = (message.outbox_id, message.lane)
        lane = self._lanes.get(key) or self._open(key)
        lane.touched = True
        place = lane.place(message, link, self._may_park)
        if message.kind in _UNSHOWN and place in (Place.NEXT, Place.GAP):
            lane.unshown.append((message.seq, link))
        if place is Place.CONFLICT and key not in self.conflicts:
            self.conflicts.append(key)
        return place

    def is_new(self, message: wire.Message) -> bool:
        """Return whether a number has not come yet."""
        key = (message.outbox_id, message.lane)
        return (self._lanes.get(key) or self._open(key)).is_new(message.seq)

    def known_before(self, message: wire.Message) -> bool:
        """Return whether a message came already under an earlier number of its own; end the lanes of those numbers.

        A sender that renumbers a message has abandoned the older outbox id, so what is missing there will not come.
        """
        known = False
        for earlier in history.decode_was(message.ext.get(history.WAS, b"")):
            if earlier.outbox_id == message.outbox_id:
                continue
            # A file is taken once, whatever number its offer has; and its sender may have to be told how it ended.
            if message.kind != wire.Kind.OFFER:
                known = known or self._had(message, *earlier)
            for lane in wire.Lane:
                self._close((earlier.outbox_id, int(lane)))
        return known

    def store(self) -> list[Mark]:
        """Store how far each lane has got; return what to acknowledge."""
        marks = []
        for lane in self._lanes.values():
            mark = lane.store(self._used + 1)
            if lane.touched and (mark.outbox_id, mark.lane) not in self.conflicts:
                marks.append(mark)
        return marks

    def _open(self, key: _Key) -> _Lane:
        row = self._db.execute(
            f"SELECT watermark, link FROM marks WHERE {_KEY}",  # noqa: S608
            (self._contact_id, *key),
        ).fetchone()
        if row is None:
            self._make_place(key[0])
            self._used += 1
            row = (0, wire.FIRST_LINK)
            self._db.execute(
                "INSERT INTO marks (contact_id, outbox_id, lane, watermark, link, used)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (self._contact_id, *key, *row, self._used),
            )
        lane = self._lanes[key] = _Lane(self._db, (self._contact_id, *key), *row)
        return lane

    def _make_place(self, outbox_id: bytes) -> None:
        """Forget the outbox id that was used least recently, if there would be one too many."""
        last_used = dict(
            self._db.execute(
                "SELECT outbox_id, max(used) FROM marks WHERE contact_id = ? GROUP BY outbox_id",
                (self._contact_id,),
            )
        )
        if outbox_id in last_used or len(last_used) < MAX_OUTBOX_IDS:
            return
        oldest = min(last_used, key=last_used.__getitem__)
        for forget in _FORGET:
            self._db.execute(forget, (self._contact_id, oldest))
        for lane in wire.Lane:
            forgotten = self._lanes.pop((oldest, int(lane)), None)
            if forgotten is not None and self._parked is not None:
                self._parked = None

    def _may_park(self, lane: _Lane, count: int) -> bool:
        """Return whether `count` more numbers may be held beyond the watermarks; make room from abandoned lanes."""
        if self._parked is None:
            stored = self._db.execute(
                "SELECT count(*) FROM beyond WHERE contact_id = ?", (self._contact_id,)
            ).get
            self._parked = stored + sum(one.unstored for one in self._lanes.values())
        if self._parked + count > limits.MAX_SPARSE:
            self._leave_oldest(lane)
        if self._parked + count > limits.MAX_SPARSE:
            return False
        self._parked += count
        return True

    def _leave_oldest(self, lane: _Lane) -> None:
        row = self._db.execute(
            "SELECT outbox_id FROM marks WHERE contact_id = ?1 AND outbox_id <> ?2 AND EXISTS ("
            " SELECT 1 FROM beyond WHERE beyond.contact_id = ?1"
            " AND beyond.outbox_id = marks.outbox_id) ORDER BY used LIMIT 1",
            (self._contact_id, lane.outbox_id),
        ).fetchone()
        if row is not None:
            for number in wire.Lane:
                self._close((row[0], int(number)))

    def _close(self, key: _Key) -> None:
        """Give up what a lane lacks before the last number held."""
        lane = self._lanes.get(key)
        if lane is None:
            known = self._db.execute(
                f"SELECT 1 FROM marks WHERE {_KEY}",  # noqa: S608
                (self._contact_id, *key),
            ).fetchone()
            if known is None:
                return
            lane = self._open(key)
        freed = lane.close()
        if self._parked is not None:
            self._parked -= freed

    def _had(
        self, message: wire.Message, outbox_id: bytes, lane: int, seq: int, link: bytes
    ) -> bool:
        """Return whether a message with this number and link was shown, even if it was deleted since."""
        key = (self._contact_id, outbox_id, lane, seq)
        shown = self._db.execute(f"SELECT link FROM inbox WHERE {_KEY} AND seq = ?", key).get  # noqa: S608
        return link == shown or bool(_was_deleted(self._db, key, message, link))


class _Lane:
    """How far one lane has got, in memory while a batch is taken."""

    def __init__(
        self, db: apsw.Connection, key: tuple[str, bytes, int], watermark: int, link: bytes
    ) -> None:
        self._db = db
        self._key = key
        self._mark = Mark(outbox_id=key[1], lane=key[2], watermark=watermark, link=link)
        # All numbers in one row: reading thousands of rows one by one would delay the messages of all contacts.
        held = db.execute(f"SELECT group_concat(seq, ' ') FROM beyond WHERE {_KEY}", key).get  # noqa: S608
        self._beyond = {int(seq) for seq in (held or "").split()}
        self._stored = len(self._beyond)
        self._parked: dict[int, bytes] = {}
        self._fresh: dict[int, bytes] = {}
        self.touched = False
        self.unshown: list[tuple[int, bytes]] = []

    @property
    def outbox_id(self) -> bytes:
        return self._key[1]

    @property
    def unstored(self) -> int:
        """How many numbers are held beyond the watermark that are not stored yet."""
        return len(self._beyond) - self._stored

    def is_new(self, seq: int) -> bool:
        """Return whether a number has not come yet."""
        return seq > self._mark.watermark and seq not in self._beyond

    def place(self, message: wire.Message, link: bytes, may_park: _MayPark) -> Place:
        """Note a number and say what it is."""
        seq, mark = message.seq, self._mark
        if seq == mark.watermark + 1 and seq not in self._beyond:
            place = Place.NEXT if message.prev == mark.link else Place.GAP
            mark.watermark, mark.link = seq, link
            self._fresh[seq] = link
            if self._beyond:
                self._absorb(may_park)
            return place
        if seq <= mark.watermark:
            known = link if self._seen_before(message, link) else b""
        elif seq > mark.watermark + 1 + limits.MAX_SPARSE:
            return Place.LATER
        elif seq in self._beyond:
            known = self._held_link(seq)
        elif not may_park(self, 1):
            return Place.LATER
        else:
            self._beyond.add(seq)
            self._parked[seq] = self._fresh[seq] = link
            return Place.GAP
        return Place.DUPLICATE if known == link else Place.CONFLICT

    def _seen_before(self, message: wire.Message, link: bytes) -> bool:
        """Return whether this same message came under its number before, as far as that is still known."""
        if message.seq == self._mark.watermark:
            return link == self._mark.link
        if (fresh := self._fresh.get(message.seq)) is not None:
            return link == fresh
        key = (*self._key, message.seq)
        seen = self._db.execute(f"SELECT link FROM seen WHERE {_KEY} AND seq = ?", key).get  # noqa: S608
        if seen is not None:
            return bool(link == seen)
        deleted = _was_deleted(self._db, key, message, link)
        if deleted is not None:
            return deleted
        row = self._db.execute(
            f"SELECT link, body, sent_ms FROM inbox WHERE {_KEY} AND seq = ?",  # noqa: S608
            key,
        ).fetchone()
        if row is not None and row[0] is not None:
            return bool(row[0] == link)
        if message.kind == wire.Kind.OFFER:
            # A file has the same id whatever number its offer has, and is taken once.
            offer = wire.decode_offer(message.body)
            return bool(
                self._db.execute(
                    "SELECT 1 FROM transfers WHERE contact_id = ? AND file_id = ? AND incoming = 1",
                    (self._key[0], offer.file_id),
                ).fetchone()
            )
        if row is not None:  # Stored by a version that did not keep links.
            return bool(row[1] == message.body and row[2] == message.sent_at_ms)
        return message.kind == wire.Kind.SKIP

    def _held_link(self, seq: int) -> bytes:
        """Return the link of a number that is held beyond the watermark."""
        if seq in self._parked:
            return self._parked[seq]
        key = (*self._key, seq)
        link: bytes = self._db.execute(f"SELECT link FROM beyond WHERE {_KEY} AND seq = ?", key).get  # noqa: S608
        return link

    def _absorb(self, may_park: _MayPark) -> None:
        """Move the watermark over what was held beyond it."""
        seq = self._mark.watermark
        while seq + 1 in self._beyond:
            seq += 1
            self._beyond.remove(seq)
        if count := seq - self._mark.watermark:
            self._mark.watermark, self._mark.link = seq, self._held_link(seq)
            may_park(self, -count)

    def close(self) -> int:
        """Move the watermark over all that is held; return how many numbers that were."""
        count = len(self._beyond)
        if count:
            self._mark.watermark = max(self._beyond)
            self._mark.link = self._held_link(self._mark.watermark)
            self._beyond.clear()
        return count

    def store(self, used: int) -> Mark:
        """Write how far it has got, and return it."""
        mark = self._mark
        self._db.execute(
            f"UPDATE marks SET watermark = ?, link = ?, used = iif(?, ?, used) WHERE {_KEY}",  # noqa: S608
            (mark.watermark, mark.link, self.touched, used, *self._key),
        )
        if self._stored:
            passed = (*self._key, mark.watermark)
            self._db.execute(f"DELETE FROM beyond WHERE {_KEY} AND seq <= ?", passed)  # noqa: S608
        parked = [(*self._key, *one) for one in self._parked.items() if one[0] in self._beyond]
        if parked:
            self._db.executemany("INSERT INTO beyond VALUES (?, ?, ?, ?, ?)", parked)
        if self.unshown:
            rows = [(*self._key, *one) for one in self.unshown]
            self._db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute(
                f"DELETE FROM seen WHERE {_KEY} AND seq < ?",  # noqa: S608
                (*self._key, mark.watermark - REMEMBERED),
            )
        mark.sack = self._sack()
        return mark

    def _sack(self) -> bytes:
        if not self._beyond:
            return b""
        first = self._mark.watermark + 2
        last = min(max(self._beyond) - first, 8 * limits.MAX_SACK_BYTES - 1)
        # Built as a string of binary digits, the lowest number last: fast enough for thousands, with each batch.
        digits = bytearray(b"0") * (last + 1)
        for seq in self._beyond:
            if seq - first <= last:
                digits[last - (seq - first)] = ord("1")
        return int(digits, 2).to_bytes(last // 8 + 1, "little").rstrip(b"\0")


def _was_deleted(
    db: apsw.Connection, key: tuple[str, bytes, int, int], message: wire.Message, link: bytes
) -> bool | None:
    """Return whether the user has deleted this message; None if no message with its number was deleted."""
    row = db.execute(f"SELECT link, sent_ms FROM deleted WHERE {_KEY} AND seq = ?", key).fetchone()  # noqa: S608
    if row is None:
        return None
    return bool(row[1] == message.sent_at_ms if row[0] is None else row[0] == link)


def watermarks(db: apsw.Connection, contact_id: str) -> list[Mark]:
    """Return how far the lanes of a contact have got that were used last, the last one first."""
    rows: list[Any] = db.execute(
        "SELECT outbox_id, lane, watermark, link FROM marks WHERE contact_id = ?"
        " ORDER BY used DESC, watermark DESC LIMIT ?",
        (contact_id, limits.MAX_HAVE),
    ).fetchall()
    marks = [Mark(outbox_id=o, lane=lane, watermark=w, link=link) for o, lane, w, link in rows]
    for mark in marks:
        held = db.execute(
            f"SELECT seq, link FROM beyond WHERE {_KEY} ORDER BY seq DESC LIMIT 1",  # noqa: S608
            (contact_id, mark.outbox_id, mark.lane),
        ).fetchone()
        mark.top, mark.top_link = held or (mark.watermark, mark.link)
    return marks
