"""Whether a contact remembers our lanes as we do, and what follows if it does not.

Either home may have been put back to an older state: a copy was restored, a machine rolled back, a log lost. If it was
ours, the contact has other messages under the numbers that we would give next, so we go on under a new outbox id. If it
was the contact's, it lacks messages that it had acknowledged, so these are sent again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import apsw

from peerpost.errors import ProtocolError
from peerpost.wire import history
from peerpost.wire import inner as wire
from peerpost.wire.history import Earlier
from peerpost.wire.life import Life

from . import chains, identity, lives, outbox
from .numbered import link_of
from .served import require_known, require_served

__all__ = [
    "Again",
    "Agreement",
    "Unheard",
    "agree",
    "doubted",
    "heard",
    "note_if_behind",
    "put_back",
    "put_back_all",
    "put_back_at",
    "renew",
]

RENEW_AGAIN_MS: Final = 10_000
"""How soon numbers may be in doubt again: a contact must not make us renumber all the time."""
RENEW_AGAIN_MS_EACH: Final = 5
"""Added to that for each message reopened or renumbered, because each takes about 60 us of everybody's time."""
ANSWER_AGAIN_MS: Final = 600_000
"""How long the same answer is repeated, for sessions that follow each other quickly and contacts that restart."""
_KEY = "contact_id = ? AND outbox_id = ? AND lane = ?"
_DELIVERED: Final = (
    f"{_KEY} AND seq > ? AND settled = 1 AND state IN ('queued', 'sent', 'delivered')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A lane on which the contact lacks messages that it had acknowledged."""

    outbox_id: bytes
    lane: int
    acknowledged: int
    """The number up to which it had acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheard:
    """Something that a contact must be told and has not answered yet."""

    outbox_id: bytes
    lane: int
    what: str
    """history.AGAIN or history.RENEWED."""
    watermark: int


@dataclass(slots=True, kw_only=True)
class Agreement:
    """The result of the comparison."""

    settled: list[outbox.Entry] = field(default_factory=list)
    ours: bool = False
    """It was our home that was put back."""
    copied: bool = False
    """The contact has met another home of our identity while this one ran."""
    theirs: bytes | None = None
    """Two copies of the contact's home run, of which it has to be told: the id of the run that came in between."""
    unheard: list[Unheard] = field(default_factory=list)


def agree(
    db: apsw.Connection,
    contact_id: str,
    have: Sequence[tuple[bytes, int, int]],
    tops: Sequence[tuple[int, bytes]] | None,
    *,
    complete: bool,
    now_ms: int,
    life: Life | None = None,
) -> Agreement:
    """Settle what a contact has of ours by its HELLO, if it agrees with ours, and repair what does not.

    `have` is (outbox id, lane, watermark) each; `tops` is the highest number held of each with its link, if the contact
    says that; `complete` means that it has nothing on a lane that is not named; `life` is what it says of the runs of
    both homes. Call this before anything is sent.
    Raises ProtocolError if numbers are in doubt again and again, and what `served.require_served` raises.
    """
    require_served(db, contact_id)
    agreement = Agreement()
    verdict = lives.compare(db, contact_id, life, now_ms)
    agreement.copied = verdict is lives.Verdict.COPIED
    agreement.theirs = lives.owed(db, contact_id)
    current = identity.outbox_id_for(db, contact_id)
    told = dict.fromkeys(chains.given(db, contact_id), 0) if complete else {}
    told |= {(o, lane): watermark for o, lane, watermark in have}
    held = dict(zip(((o, lane) for o, lane, _ in have), tops or (), strict=False))
    lacking: list[tuple[Again, int, int]] = []
    older: list[tuple[tuple[str, bytes, int], int]] = []
    for (outbox_id, lane), watermark in told.items():
        key = (contact_id, outbox_id, lane)
        chain = chains.last(db, *key)
        last_seq = 0 if chain is None else chain[0]
        top, top_link = held.get((outbox_id, lane), (watermark, None))
        if max(top, watermark) > last_seq or not _same(db, key, chain, top, top_link):
            agreement.ours = agreement.ours or outbox_id == current
            continue
        if watermark:
            agreement.settled += outbox.acknowledge(db, *key, watermark, b"", now_ms)
        if outbox_id != current:
            if _delivered_beyond(db, key, watermark):
                older.append((key, watermark))
        elif (again := _lacks(db, key, watermark, last_seq)) is not None:
            lacking.append((again, watermark, last_seq))
    if lacking or older:
        _take_pace(
            db, contact_id, now_ms, of=sum(again.acknowledged - w for again, w, _ in lacking)
        )
    for key, watermark in older:
        _open_again(db, key, watermark)
    whole = [_send_again(db, contact_id, *one) for one in lacking]
    gap = not all(whole)
    for again, _, _ in lacking:
        _tell(db, contact_id, again.outbox_id, again.lane, history.AGAIN, again.acknowledged)
    agreement.ours = agreement.ours or verdict is lives.Verdict.PUT_BACK
    if agreement.ours or agreement.copied or gap or older:
        # Nothing more is sent under an abandoned outbox id: what the contact lacks there gets new numbers too.
        renew(db, contact_id, now_ms, gap=gap, paced=bool(lacking or older))
    if agreement.ours:
        _found_ours(db, contact_id, current, now_ms)
    agreement.unheard = _unheard(db, contact_id)
    return agreement


def _delivered_beyond(db: apsw.Connection, key: tuple[str, bytes, int], watermark: int) -> bool:
    query = f"SELECT 1 FROM outbox WHERE {_DELIVERED} LIMIT 1"  # noqa: S608
    return db.execute(query, (*key, watermark)).fetchone() is not None


def _open_again(db: apsw.Connection, key: tuple[str, bytes, int], watermark: int) -> None:
    """Open what was delivered beyond a watermark of an outbox id that was left."""
    _tell(db, *key, history.AGAIN, max(outbox.reopen(db, *key, watermark, delivered=True)))


def _take_pace(db: apsw.Connection, contact_id: str, now_ms: int, *, of: int = 0) -> None:
    """Note that so many messages are reopened or renumbered now. Raises ProtocolError if that is too soon.

    The work takes time from all contacts, so one contact must not cause it as often as it likes.
    """
    row = db.execute(
        "SELECT renewed_ms FROM outbox_ids WHERE contact_id = ?", (contact_id,)
    ).fetchone()
    if row is not None:
        open_: int = db.execute(
            "SELECT count(*) FROM outbox WHERE contact_id = ? AND settled = 0", (contact_id,)
        ).get
        since_ms = now_ms - row[0]
        if 0 <= since_ms < max(RENEW_AGAIN_MS, RENEW_AGAIN_MS_EACH * (of + open_)):
            raise ProtocolError("the contact doubts our numbers again and again")
    db.execute(
        "INSERT INTO outbox_ids VALUES (?, ?, ?) ON CONFLICT (contact_id) DO UPDATE"
        " SET renewed_ms = excluded.renewed_ms",
        (contact_id, identity.outbox_id_for(db, contact_id), now_ms),
    )


def _same(
    db: apsw.Connection,
    key: tuple[str, bytes, int],
    chain: tuple[int, bytes] | None,
    seq: int,
    link: bytes | None,
) -> bool:
    """Return whether a number of ours has this link, which covers all before it too; true if that is not known."""
    if link is None or chain is None or seq == 0:
        return True
    if seq == chain[0]:
        return link == chain[1]
    ours = db.execute(f"SELECT link FROM outbox WHERE {_KEY} AND seq = ?", (*key, seq)).get  # noqa: S608
    return ours is None or link == ours


def _lacks(
    db: apsw.Connection, key: tuple[str, bytes, int], watermark: int, last_seq: int
) -> Again | None:
    """Return the lane if the number after a watermark was acknowledged before: then the watermark was higher once."""
    if watermark >= last_seq:
        return None
    first_open = db.execute(
        f"SELECT min(seq) FROM outbox WHERE {_KEY} AND settled = 0 AND seq > ?",  # noqa: S608
        (*key, watermark),
    ).get
    acknowledged = last_seq if first_open is None else first_open - 1
    if acknowledged == watermark:
        return None
    return Again(outbox_id=key[1], lane=key[2], acknowledged=acknowledged)


def _send_again(
    db: apsw.Connection, contact_id: str, again: Again, watermark: int, last_seq: int
) -> bool:
    """Mark what a contact lacks to be sent again; return False if some of it is no longer here."""
    key = (contact_id, again.outbox_id, again.lane)
    ended: list[Any] = db.execute(
        f"SELECT row_id FROM outbox WHERE {_KEY} AND seq > ? AND settled = 1"  # noqa: S608
        " AND state IN ('cancelled', 'refused', 'expired')",
        (*key, watermark),
    ).fetchall()
    for (row_id,) in ended:
        outbox.make_tombstone(db, row_id)
    outbox.reopen(db, *key, watermark)
    here = db.execute(
        f"SELECT count(*) FROM outbox WHERE {_KEY} AND seq > ?",  # noqa: S608
        (*key, watermark),
    ).get
    return bool(here == last_seq - watermark)


def renew(
    db: apsw.Connection, contact_id: str, now_ms: int, *, gap: bool = False, paced: bool = False
) -> int:
    """Draw a new outbox id for a contact and renumber what it has not acknowledged; return how many.

    Each message says which number it had, because the contact may have received it under that one. `gap`: messages are
    missing before these. `paced`: the pace was checked already. Raises ProtocolError if this was done just now,
    NotFoundError if the contact was removed.
    """
    require_known(db, contact_id)
    if not paced:
        _take_pace(db, contact_id, now_ms)
    fresh = secrets.token_bytes(16)
    db.execute("UPDATE outbox_ids SET outbox_id = ? WHERE contact_id = ?", (fresh, contact_id))
    return sum(_renumber(db, contact_id, int(lane), fresh, gap=gap) for lane in wire.Lane)


def _renumber(
    db: apsw.Connection, contact_id: str, lane: int, outbox_id: bytes, *, gap: bool
) -> int:
    seq, prev = 0, bytes(wire.LINK_BYTES - 1) + b"\1" if gap else wire.FIRST_LINK
    rows: list[Any] = db.execute(
        "SELECT row_id, inner, link FROM outbox WHERE contact_id = ? AND lane = ? AND settled = 0"
        " ORDER BY row_id",
        (contact_id, lane),
    ).fetchall()
    for row_id, inner, link in rows:
        message = wire.decode(inner)
        if not isinstance(message, wire.Message) or message.kind == wire.Kind.SKIP:
            # It filled a number of the old id, where nothing comes any more.
            outbox.settle(db, row_id)
            continue
        seq += 1
        inner = _moved(message, link, outbox_id, seq, prev)
        prev = link_of(inner)
        outbox.renumber(db, row_id, outbox_id, seq, inner, prev)
    if seq:
        chains.put(db, contact_id, outbox_id, lane, seq, prev)
    return seq


def _moved(message: wire.Message, link: bytes, outbox_id: bytes, seq: int, prev: bytes) -> bytes:
    """Return a message with another number, naming the numbers that it had before."""
    was = [Earlier(message.outbox_id, message.lane, message.seq, link)]
    was += history.decode_was(message.ext.get(history.WAS, b""))
    fields: dict[str, Any] = {name: getattr(message, name) for name in message.__struct_fields__}
    fields |= {"outbox_id": outbox_id, "seq": seq, "prev": prev}
    fields["ext"] = {**message.ext, history.WAS: history.encode_was(was)}
    return wire.encode(wire.Message(**fields))


def put_back(db: apsw.Connection, contact_id: str, side: str, now_ms: int) -> None:
    """Note that a home was found put back to an older state: `ours` or `theirs`. Raises NotFoundError."""
    require_known(db, contact_id)
    db.execute("INSERT OR REPLACE INTO put_back VALUES (?, ?, ?)", (contact_id, side, now_ms))


def put_back_at(db: apsw.Connection, contact_id: str) -> dict[str, int]:
    """Return when each side's home was last found put back, for one contact."""
    rows: Iterable[Any] = db.execute(
        "SELECT side, at_ms FROM put_back WHERE contact_id = ?", (contact_id,)
    )
    return dict(rows)


def put_back_all(db: apsw.Connection) -> list[tuple[str, str, int]]:
    """Return (contact id, side, when) of all that was found put back, the latest first."""
    rows: list[Any] = db.execute(
        "SELECT contact_id, side, at_ms FROM put_back ORDER BY at_ms DESC"
    ).fetchall()
    return rows


def note_if_behind(
    db: apsw.Connection,
    contact_id: str,
    outbox_id: bytes,
    lane: int,
    acknowledged: int,
    now_ms: int,
) -> bool:
    """Note that our home was put back if it has less of a lane than it had acknowledged; return whether it was.

    Also true if that was noted just now: the missing messages may have arrived since, but our answer may be lost.
    """
    watermark = db.execute(
        f"SELECT watermark FROM marks WHERE {_KEY}",  # noqa: S608
        (contact_id, outbox_id, lane),
    ).get
    if (watermark or 0) >= acknowledged:
        return now_ms - put_back_at(db, contact_id).get("ours", 0) < ANSWER_AGAIN_MS
    put_back(db, contact_id, "ours", now_ms)
    return True


def doubted(db: apsw.Connection, contact_id: str, outbox_id: bytes, now_ms: int) -> bool:
    """Renumber what waits, if a contact has other messages under the numbers of our current outbox id.

    Raises ProtocolError as `renew` does.
    """
    if outbox_id != identity.outbox_id_for(db, contact_id):
        return False
    renew(db, contact_id, now_ms)
    _found_ours(db, contact_id, outbox_id, now_ms)
    return True


def _found_ours(db: apsw.Connection, contact_id: str, left: bytes, now_ms: int) -> None:
    """Note that our home was put back, and that the contact must be told which outbox id we have abandoned."""
    put_back(db, contact_id, "ours", now_ms)
    db.execute(
        "DELETE FROM unheard WHERE contact_id = ? AND what = ?", (contact_id, history.RENEWED)
    )
    _tell(db, contact_id, left, 0, history.RENEWED, 0)


def _tell(
    db: apsw.Connection, contact_id: str, outbox_id: bytes, lane: int, what: str, watermark: int
) -> None:
    # Messages about still older outbox ids are no longer needed.
    db.execute(
        "DELETE FROM unheard WHERE contact_id = ? AND what = ? AND outbox_id <> ?",
        (contact_id, what, outbox_id),
    )
    row = (contact_id, outbox_id, lane, what, watermark)
    db.execute("INSERT OR REPLACE INTO unheard VALUES (?, ?, ?, ?, ?)", row)


def _unheard(db: apsw.Connection, contact_id: str) -> list[Unheard]:
    query = "SELECT outbox_id, lane, what, watermark FROM unheard WHERE contact_id = ?"
    rows: Iterable[Any] = db.execute(query, (contact_id,))
    return [Unheard(outbox_id=o, lane=n, what=what, watermark=w) for o, n, what, w in rows]


def heard(
    db: apsw.Connection,
    contact_id: str,
    outbox_id: bytes,
    lane: int,
    answer: str,
    now_ms: int,
) -> None:
    """Take the answer to what we told, which is not repeated then; note what it says about the contact's home."""
    if answer == history.HEARD:
        lives.hears_of(db, contact_id, outbox_id)
    what = history.RENEWED if answer == history.HEARD else history.AGAIN
    key = (contact_id, outbox_id, lane, what)
    db.execute(f"DELETE FROM unheard WHERE {_KEY} AND what = ?", key)  # noqa: S608
    if answer == history.BACK:
        put_back(db, contact_id, "theirs", now_ms)
