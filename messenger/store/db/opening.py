"""Opens a connection to the database: with its key, the promised durability and the current schema."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import apsw

from peerpost.errors import DamagedError

from . import migrations
from .ballast import WriteConnection
from .database import located
from .failure import explain

__all__ = ["keep_log", "prepare", "unlock"]

BUSY_TIMEOUT_MS = 5000
WRITE_CACHE_KIB = 8192
"""The writer's cache of decrypted pages. It is large because ids are random, so a new row touches pages of any age."""


def unlock(connection: apsw.Connection, key: bytes) -> None:
    """Give a connection the key of the database and the settings that all connections have."""
    connection.pragma("cipher", "chacha20")
    connection.pragma("key", f"raw:{key.hex()}")
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("foreign_keys", "on")
    connection.pragma("trusted_schema", "off")
    connection.pragma("cell_size_check", "on")


def prepare(
    path: Path,
    key: bytes,
    *,
    vfs: str | None,
    synchronous: str,
    wal_hook: Callable[[apsw.Connection, str, int], int],
) -> WriteConnection:
    """Open or create the database to write, check it and bring its schema up to date.

    `wal_hook` replaces the automatic checkpoint. Raises StorageError, DamagedError, StoreFullError.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection: WriteConnection | None = None
    try:
        connection = WriteConnection(*located(path, flags), vfs=vfs)
        unlock(connection, key)
        # A store of a later version must not be changed at all.
        migrations.check_version(connection)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", synchronous)
        connection.pragma("fullfsync", "on")
        connection.pragma("checkpoint_fullfsync", "on")
        connection.pragma("secure_delete", "on")
        connection.pragma("cache_size", -WRITE_CACHE_KIB)
        connection.set_wal_hook(wal_hook)
        connection.pragma("journal_size_limit", 16 << 20)
        verdict = connection.pragma("quick_check", 1)
        if verdict != "ok":
            raise DamagedError(f"the store is damaged: {verdict}")
        migrations.migrate(connection)
    except BaseException as error:
        explained = explain(error, connection) if isinstance(error, apsw.Error) else error
        if connection is not None:
            connection.close(force=True)
        raise explained from error
    return connection


def keep_log(connection: apsw.Connection) -> None:
    """Let the log stay when this connection closes as the last one, which would delete it.

    On a full disk whatever has filled it would take that space at once, and the next start needs a log again.
    """
    connection.pragma("journal_size_limit", -1)
    keep = ctypes.c_int(1)
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(keep))
