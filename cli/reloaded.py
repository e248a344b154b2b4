"""What came of a node's reading its configuration anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peerpost.errors import PeerpostError

if TYPE_CHECKING:
    from .app import App

__all__ = ["Told", "in_words"]


def in_words(found: dict[str, Any]) -> str:
    """Return the answer of `node.reload` as a sentence or a few."""
    applied, waiting = found["applied"], found["needs_restart"]
    said = ["Nothing has changed for the running node."]
    if applied:
        said = [f"Applied: {', '.join(applied)}."]
    if waiting:
        keys = ", ".join(waiting)
        said.append(f"Waits for a new start of the node (peerpost node stop, then again): {keys}.")
    said += [f"{one['key']} is decided by {one['by']} there." for one in found["overridden"]]
    return " ".join(said)


@dataclass(frozen=True, slots=True)
class Told:
    """What a running node said when it was told of a key that was changed."""

    answer: dict[str, Any] | None
    error: PeerpostError | None

    def _decided_by(self, key: str) -> str | None:
        overridden = [] if self.answer is None else self.answer["overridden"]
        return next((str(one["by"]) for one in overridden if one["key"] == key), None)

    def of(self, key: str) -> str:
        """Return what the node does about the key: applied, needs_restart, overridden or not_told."""
        if self.answer is None:
            return "not_told"
        if key in self.answer["needs_restart"]:
            return "needs_restart"
        return "applied" if self._decided_by(key) is None else "overridden"

    def say(self, app: App, key: str) -> None:
        """Say it."""
        match self.of(key):
            case "applied":
                app.terminal.note("The running node has it.")
            case "needs_restart":
                app.terminal.note(
                    "The running node takes it at its next start: peerpost node stop, then again."
                )
            case "overridden":
                by = self._decided_by(key)
                app.terminal.warn(f"In the running node {by} decides instead.")
            case _:
                why = "" if self.error is None else f" ({self.error.message})"
                app.terminal.warn(
                    f"It is written, and the running node was not told{why}; try: peerpost node reload"
                )
