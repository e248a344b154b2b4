"""`node reload`: the configuration is read anew, and what can change while the node runs is changed.

A file that is wrong changes nothing. What each key is used for decides how it is applied: most are read at the moment
of use, some need a duty to begin anew (`configured.py`), and some need a new start (`settings.FIXED`).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from peerpost.client import config as configuration
from peerpost.client.paths import HomePaths

from . import log_levels

if TYPE_CHECKING:
    from peerpost.client.config import Config

    from .home import Home
    from .settings import Settings

__all__ = ["Reloaded", "Reloading"]

log = logging.getLogger(__name__)

LEVEL = "log.level"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What came of it, by key."""

    applied: list[str]
    needs_restart: list[str]
    overridden: dict[str, str] = field(default_factory=dict)
    """Keys that the file has, and that something else decides for this node: the name of that."""


class Reloading:
    """Puts other settings in force, one reading after another."""

    def __init__(self, settings: Settings, home: Home) -> None:
        self._settings = settings
        self._home = home
        self._alone = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Read the configuration and apply it. Raises ConfigError, with nothing changed."""
        async with self._alone:
            path = HomePaths(self._home.path).config
            config, overridden = await asyncio.to_thread(configuration.read_with_overrides, path)
            return await self._apply(config, overridden)

    async def _apply(self, config: Config, overridden: dict[str, str]) -> Reloaded:
        changed, waiting = self._settings.take(config)
        if LEVEL in changed and (by := log_levels.follow_file(config.log.level)) is not None:
            changed.remove(LEVEL)
            overridden[LEVEL] = by
        if changed:
            await self._home.begin_anew(changed)
        log.info("the configuration was read again: %d keys applied", len(changed))
        return Reloaded(applied=changed, needs_restart=waiting, overridden=overridden)
