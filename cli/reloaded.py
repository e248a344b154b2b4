"""What came of a node's reading its configuration anew, in words."""

from __future__ import annotations

from typing import Any

__all__ = ["in_words"]


def in_words(found: dict[str, Any]) -> str:
    """Return the answer of `node.reload` as a sentence or a few."""
    applied, waiting = found["applied"], found["needs_restart"]
    said = [
        f"Applied: {', '.join(applied)}."
        if applied
        else "Nothing has changed for the running node."
    ]
    if waiting:
        said.append(
            f"Waits for a new start of the node: {', '.join(waiting)} (peerpost node stop, then again)."
        )
    said += [f"{one['key']} is decided by {one['by']} there." for one in found["overridden"]]
    return " ".join(said)
