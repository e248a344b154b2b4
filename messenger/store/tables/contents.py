"""The contents of the spool: each is stored once, however many transfers need it.

A content is sealed under the id and key of the transfer that spooled it, which sends its chunks as
they are stored. Another transfer of the same bytes keeps its own id and key, and seals them anew
when they are asked for (`spool.SharedSource`). So two contacts never have a key in common, from
which either could tell that the other gets the file too.

The same bytes are found by their keyed BLAKE3. A row lives as long as an open transfer names it.
Triggers of the schema enforce that, so that no way of ending a transfer can forget it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import apsw
from blake3 import blake3

from peerpost.store.files.spool import Hasher

from .states import TRANSFER_OPEN

__all__ = [
    "Content",
    "add",
    "by_digest",
    "digest_key",
    "get",
    "has_size",
    "hasher",
    "missing",
    "unneeded",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One sealed file of the spool."""

    id: bytes
    key: bytes = field(repr=False)
    chunk_log2: int
    size: int
    digest: bytes | None = field(repr=False)
    """Keyed BLAKE3-256 of the plaintext; None if the content cannot be shared."""


def hasher(key: bytes) -> Hasher:
    """Return a keyed BLAKE3 that uses one thread: the second core is needed by the loop."""
    return blake3(key=key, max_threads=1)


def digest_key(db: apsw.Connection) -> bytes:
    """Return the 32-byte key of this home's digests, made when it is first asked for."""
    db.execute("INSERT OR IGNORE INTO contents_key VALUES (1, ?)", (os.urandom(32),))
    key: bytes = db.execute("SELECT key FROM contents_key").get
    return key


def has_size(db: apsw.Connection, size: int) -> bool:
    """Return whether any content has that size, so that hashing before spooling may be worth it."""
    query = "SELECT 1 FROM contents WHERE size = ? AND digest IS NOT NULL LIMIT 1"
    return db.execute(query, (size,)).fetchone() is not None


def by_digest(db: apsw.Connection, digest: bytes, chunk_log2: int) -> Content | None:
    """Return the content with these bytes and this chunk size, if there is one."""
    row = db.execute(
        "SELECT id, key, chunk_log2, size, digest FROM contents"
        " WHERE digest = ? AND chunk_log2 = ?",
        (digest, chunk_log2),
    ).fetchone()
    return None if row is None else _content(row)


def get(db: apsw.Connection, id_: bytes) -> Content | None:
    """Return a content, or None if no open transfer needs it any more."""
    row = db.execute(
        "SELECT id, key, chunk_log2, size, digest FROM contents WHERE id = ?", (id_,)
    ).fetchone()
    return None if row is None else _content(row)


def add(db: apsw.Connection, content: Content) -> Content:
    """Store a content that was spooled, and return it; or return the one that has the same bytes already."""
    if content.digest is not None:
        there = by_digest(db, content.digest, content.chunk_log2)
        if there is not None:
            return there
    db.execute(
        "INSERT INTO contents (id, key, chunk_log2, size, digest) VALUES (?, ?, ?, ?, ?)",
        (content.id, content.key, content.chunk_log2, content.size, content.digest),
    )
    return content


def missing(db: apsw.Connection, ids: Iterable[bytes]) -> list[bytes]:
    """Return which of these ids name no content."""
    query = "SELECT 1 FROM contents WHERE id = ?"
    return [id_ for id_ in ids if db.execute(query, (id_,)).fetchone() is None]


def unneeded(db: apsw.Connection, ids: Iterable[bytes]) -> list[bytes]:
    """Return which of these ids name neither a content nor an open outgoing file."""
    query = f"SELECT 1 FROM transfers WHERE file_id = ? AND incoming = 0 AND {TRANSFER_OPEN}"  # noqa: S608
    return [id_ for id_ in missing(db, ids) if db.execute(query, (id_,)).fetchone() is None]


def _content(row: tuple[object, ...]) -> Content:
    return Content(**dict(zip(Content.__slots__, row, strict=True)))  # type: ignore[arg-type]
