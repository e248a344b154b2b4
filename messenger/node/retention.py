"""Retention: the oldest messages beyond what the configuration keeps are deleted from the inbox."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import apsw

from peerpost.client.keeping import Keep, parse
from peerpost.errors import ConfigError, NotFoundError
from peerpost.store.tables import contacts, deletion, retention
from peerpost.store.tables.deletion import Deleted
from peerpost.store.tables.retention import Scope

if TYPE_CHECKING:
    from peerpost.client.config import Storage
    from peerpost.node.files.arrived import Arrived

    from .services import Services

__all__ = ["Retention"]

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""How often to check. So what arrives exceeds the bounds for this time at most."""


class Retention:
    """The retention rules of one home."""

    def __init__(self, services: Services, arrived: Arrived) -> None:
        """Read the rules from the configuration, which was checked before."""
        self._services = services
        self._arrived = arrived
        storage: Storage = services.config.storage
        self._unread_too = not storage.keep_unread
        self._of = [parse(text) for text in storage.keep_of]
        self._everybody = Keep(
            age_s=None if storage.keep_for == "off" else storage.keep_for,
            size_bytes=None if storage.keep_size == "off" else storage.keep_size,
            count=None if storage.keep_count == "off" else storage.keep_count,
        )

    @property
    def limits(self) -> bool:
        """Whether anything is ever deleted."""
        return self._everybody.limits or any(keep.limits for _, keep in self._of)

    async def follow(self) -> None:
        """Delete what exceeds the rules, until cancelled. Raises ConfigError if a rule names an unknown contact."""
        while True:
            for scope, keep in await self._scopes():
                if keep.limits:
                    await self._apply(scope, keep)
            await asyncio.sleep(LOOK_S)

    async def _scopes(self) -> list[tuple[Scope, Keep]]:
        """Return whom each rule applies to; the rule for everybody else comes last.

        If a rule names nobody (mistyped or renamed), messages might be deleted that should stay. Then none is deleted.
        """
        found: dict[str, Keep] = {}
        for name, keep in self._of:
            try:
                contact_id = (await self._services.store.read(contacts.find, name)).id
            except NotFoundError:
                raise ConfigError(
                    f"[storage] keep_of: there is no contact {name!r}, so nothing is deleted",
                    hint="correct or take out the line in config.toml, then: peerpost node reload",
                ) from None
            if contact_id in found:
                raise ConfigError(f"[storage] keep_of: {name!r} has two lines")
            found[contact_id] = keep
        own = [
            (Scope(of=contact_id, unread_too=self._unread_too), keep)
            for contact_id, keep in found.items()
        ]
        rest = Scope(of=None, besides=tuple(found), unread_too=self._unread_too)
        return [*own, (rest, self._everybody)]

    async def _apply(self, scope: Scope, keep: Keep) -> None:
        def beyond(db: apsw.Connection) -> list[tuple[str, int]]:
            return retention.beyond(
                db,
                scope,
                before_ms=None
                if keep.age_s is None
                else self._services.clock.now_ms() - int(keep.age_s * 1000),
                size_bytes=keep.size_bytes,
                count=keep.count,
            )

        def some(db: apsw.Connection) -> list[Deleted]:
            # Checked again: meanwhile something may have been marked as unread.
            return deletion.delete_some(db, beyond(db), self._services.clock.now_ms())

        while await self._services.store.read(beyond):
            gone = await self._arrived.delete_by(some)
            log.info("deleted %d messages beyond what is kept", len(gone))
