"""The settings in force: replaced as a whole by `node reload`, except those that hold from the start of the node on."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from peerpost.client.config import Config

__all__ = ["FIXED", "Settings"]

FIXED: Final = frozenset(
    {
        "network.listen",
        "padding.mode",
        "padding.buckets",
        "storage.ballast",
        "storage.downloads",
        "log.format",
        "log.size",
        "log.kept",
    }
)
"""Keys that need a new start: they are built into what lives as long as the node or a session."""


class Settings:
    """What everybody of one node reads its settings from, at the moment of use."""

    def __init__(self, config: Config) -> None:
        self.now = config
        """The settings in force."""

    def take(self, config: Config) -> tuple[list[str], list[str]]:
        """Put other settings in force as far as that is possible; return the keys that changed, and those that wait.

        Those that wait for a new start keep their value here, and are named again each time.
        """
        changed: list[str] = []
        waiting: list[str] = []
        sections: dict[str, Any] = {}
        for section in config.__struct_fields__:
            old, new = getattr(self.now, section), getattr(config, section)
            kept: dict[str, Any] = {}
            for name in new.__struct_fields__:
                if getattr(old, name) == getattr(new, name):
                    continue
                key = f"{section}.{name}"
                (waiting if key in FIXED else changed).append(key)
                if key in FIXED:
                    kept[name] = getattr(old, name)
            sections[section] = msgspec.structs.replace(new, **kept)
        self.now = Config(**sections)
        return changed, waiting
