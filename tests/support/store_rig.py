"""A store for tests that are not coroutines, and messages to put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import apsw

from peerpost.crypto import keys
from peerpost.crypto import statement as statements
from peerpost.store.db.engine import Store
from peerpost.store.tables import chains, contacts, identity, outbox, states, transfers
from peerpost.wire import inner as wire
from peerpost.wire.statement import KeyStatement, Signed, TransportKey, encode_statement

P = ParamSpec("P")
T = TypeVar("T")

KEY = bytes(range(32))
NOW_MS = 1_800_000_000_000


class Rig:
    """A real store in a folder, with a loop of its own."""

    def __init__(
        self, folder: Path, *, store_class: type[Store] = Store, ballast_bytes: int = 0
    ) -> None:
        self.path = folder / "store.db"
        self.renamed = False
        """Whether a test has given rows other ids, which the product never does: the journal has the old ones."""
        self.loop = asyncio.new_event_loop()
        try:
            self.store: Store = self.run(
                store_class.open(self.path, KEY, loop=self.loop, ballast_bytes=ballast_bytes)
            )
        except BaseException:
            self.loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not self.loop.is_closed():
            self.run(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def write(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        result: T = self.run(self.store.write(work, *args, **kwargs))
        return result

    def read(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        result: T = self.run(self.store.read(work, *args, **kwargs))
        return result

    def rows(self, sql: str, *values: Any) -> list[Any]:
        return self.read(lambda db: db.execute(sql, values).fetchall())

    def hold_states(self) -> None:
        """Have every change of a state fail that the tables of `states` do not name."""
        self.write(_hold_states)

    # -- people

    def make_identity(self) -> identity.Identity:
        self.write(identity.create, "me", 4001, NOW_MS)
        return self.read(identity.load)

    def make_contact(self, name: str, *, state: str = "active") -> contacts.Contact:
        return self.write(
            contacts.add, name=name, id_public=public_of(name), state=state, now_ms=NOW_MS
        )

    # -- messages

    def queue(
        self, contact_id: str, text: str = "hello", *, lane: int = 0, expires_ms: int | None = None
    ) -> outbox.Entry:
        """Queue a text."""
        return self.write(
            outbox.enqueue,
            contact_id=contact_id,
            lane=lane,
            message_kind=wire.Kind.TEXT,
            body=text.encode(),
            size=len(text.encode()),
            now_ms=NOW_MS,
            expires_ms=expires_ms,
        )

    def queue_file(
        self, contact_id: str, file_id: bytes, *, kind: str = "file", lane: int = 1
    ) -> outbox.Entry:
        """Queue the offer of a file; of kind "text" it carries a long text."""
        return self.write(
            outbox.enqueue,
            contact_id=contact_id,
            lane=lane,
            message_kind=wire.Kind.OFFER,
            body=offer(file_id, as_text=kind == "text"),
            kind=kind,
            size=1000,
            now_ms=NOW_MS,
            name="report.pdf",
            file_id=file_id,
        )

    def unsettled(self, contact_id: str, lane: int = 0) -> list[outbox.Entry]:
        return self.read(outbox.unsettled, contact_id, lane, 0, 100_000)

    def acknowledge(
        self, entry: outbox.Entry, watermark: int, sack: bytes = b""
    ) -> list[outbox.Entry]:
        """Take a receipt for the lane of an entry."""
        return self.write(
            outbox.acknowledge,
            entry.contact_id,
            entry.outbox_id,
            entry.lane,
            watermark,
            sack,
            NOW_MS + 1,
        )


def _hold_states(db: apsw.Connection) -> None:
    """Add triggers, which this connection alone has. Of a contact that was removed any entry may become cancelled."""
    removing = (
        "new.state = 'cancelled' AND (old.state IN ('refused', 'expired')"
        " OR NOT EXISTS (SELECT 1 FROM contacts WHERE id = new.contact_id))"
    )
    for table, following, besides in (
        ("outbox", states.ENTRY_NEXT, removing),
        ("transfers", states.TRANSFER_NEXT, "0"),
    ):
        pairs = ", ".join(f"'{a} {b}'" for a, after in following.items() for b in after)
        db.execute(
            f"CREATE TEMP TRIGGER held_{table} BEFORE UPDATE OF state ON main.{table}"
            f" WHEN old.state <> new.state AND NOT ({besides})"
            f" AND old.state || ' ' || new.state NOT IN ({pairs})"
            " BEGIN SELECT RAISE(ABORT, 'no state that may follow'); END"
        )


def public_of(name: str) -> bytes:
    """Return an identity key; it opens nothing."""
    return identity_of(name).public


def identity_of(name: str) -> keys.Ed25519KeyPair:
    return keys.Ed25519KeyPair.from_seed(name.encode().ljust(32, b"."))


def statement_of(name: str, seq: int, prev: Signed | None = None, flags: int = 0) -> Signed:
    """Return the key statement of that number of somebody, signed."""
    pair = identity_of(name)
    transport = keys.Ed25519KeyPair.from_seed(bytes([seq % 256]) * 32)
    body = encode_statement(
        KeyStatement(
            id_public=pair.public,
            seq=seq,
            prev=bytes(32) if prev is None else statements.digest(prev.body),
            created_s=NOW_MS // 1000 + seq,
            flags=flags,
            ik=keys.X25519KeyPair.from_seed(bytes([7]) * 32).public,
            tk=(
                TransportKey(
                    public=transport.public, not_after_s=0, addresses=("/ip4/192.0.2.7/tcp/4001",)
                ),
            ),
        )
    )
    return statements.sign(body, pair)


def message(
    seq: int,
    prev: bytes = wire.FIRST_LINK,
    *,
    body: bytes = b"hello",
    kind: int = wire.Kind.TEXT,
    outbox_id: bytes = bytes(16),
    lane: int = 0,
) -> tuple[wire.Message, bytes]:
    """Return a message with its link, as they come out of an envelope."""
    made = wire.Message(
        kind=kind,
        outbox_id=outbox_id,
        lane=lane,
        seq=seq,
        prev=prev,
        sent_at_ms=NOW_MS - 1000,
        body=body,
    )
    return made, wire.link(wire.encode(made), made)


def chain(
    count: int, *, outbox_id: bytes = bytes(16), lane: int = 0, tag: str = "text"
) -> list[tuple[wire.Message, bytes]]:
    """Return messages 1 to count, each linked to the one before."""
    made: list[tuple[wire.Message, bytes]] = []
    prev = wire.FIRST_LINK
    for seq in range(1, count + 1):
        made.append(
            message(seq, prev, body=f"{tag} {seq}".encode(), outbox_id=outbox_id, lane=lane)
        )
        prev = made[-1][1]
    return made


def offer(file_id: bytes, *, as_text: bool = False, name: str = "report.pdf") -> bytes:
    """Return the body of an offer."""
    return wire.encode_offer(
        wire.Offer(
            file_id=file_id, key=bytes(32), chunk_log2=18, size=1000, name=name, as_text=as_text
        )
    )


def queue_next(db: apsw.Connection, contact_id: str, body: Callable[[int], str]) -> outbox.Entry:
    """Queue the text that belongs to the next number of the first lane."""
    outbox_id = identity.outbox_id_for(db, contact_id)
    last_seq, _ = chains.last(db, contact_id, outbox_id, 0) or (0, b"")
    return outbox.enqueue(
        db,
        contact_id=contact_id,
        lane=0,
        message_kind=wire.Kind.TEXT,
        body=body(last_seq + 1).encode(),
        size=1,
        now_ms=NOW_MS,
    )


def add_upload(db: apsw.Connection, contact_id: str, file_id: bytes) -> None:
    """Note a file that is to be sent, as `offer` describes it; its entry in the outbox is not made."""
    transfers.add_outgoing(
        db,
        contact_id=contact_id,
        file_id=file_id,
        key=bytes(32),
        chunk_log2=18,
        name="report.pdf",
        as_text=False,
        size=1000,
        finish=None,
        source='{"path": "/somewhere"}',
        now_ms=NOW_MS,
    )
