"""The identity of the home: one row, with all secrets that the node needs to be the same after a restart."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import apsw

from peerpost.errors import NoIdentityError
from peerpost.wire.statement import Signed

__all__ = ["Identity", "create", "load", "outbox_id_for", "save_statement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this home is."""

    name: str
    id_seed: bytes = field(repr=False)
    ik_seed: bytes = field(repr=False)
    tk_seed: bytes = field(repr=False)
    listen_port: int
    """Chosen once, so that tickets stay true."""
    outbox_id: bytes
    """16 bytes; a new one after a rollback of the store."""
    statement: Signed | None
    """Our newest key statement."""
    created_ms: int


def create(db: apsw.Connection, name: str, listen_port: int, now_ms: int) -> None:
    """Make the identity with fresh keys."""
    db.execute(
        "INSERT INTO identity (one, name, id_seed, ik_seed, tk_seed, listen_port, outbox_id,"
        " created_ms) VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        (
            name,
            os.urandom(32),
            os.urandom(32),
            os.urandom(32),
            listen_port,
            os.urandom(16),
            now_ms,
        ),
    )


def load(db: apsw.Connection) -> Identity:
    """Return the identity. Raises NoIdentityError."""
    row = db.execute(
        "SELECT name, id_seed, ik_seed, tk_seed, listen_port, outbox_id, statement_body,"
        " statement_sig, created_ms FROM identity"
    ).fetchone()
    if row is None:
        raise NoIdentityError("the store has no identity", hint="restore a backup of the home")
    return Identity(
        name=row[0],
        id_seed=row[1],
        ik_seed=row[2],
        tk_seed=row[3],
        listen_port=row[4],
        outbox_id=row[5],
        statement=None if row[6] is None else Signed(body=row[6], sig=row[7]),
        created_ms=row[8],
    )


def save_statement(db: apsw.Connection, signed: Signed) -> None:
    """Keep our newest key statement."""
    db.execute(
        "UPDATE identity SET statement_body = ?, statement_sig = ?", (signed.body, signed.sig)
    )


def outbox_id_for(db: apsw.Connection, contact_id: str) -> bytes:
    """Return the outbox id under which messages to a contact are numbered now."""
    own = db.execute("SELECT outbox_id FROM outbox_ids WHERE contact_id = ?", (contact_id,)).get
    found: bytes = own or db.execute("SELECT outbox_id FROM identity").get
    return found
